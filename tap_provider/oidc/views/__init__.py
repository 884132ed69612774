"""Views over django-oauth-toolkit's, one module an endpoint."""

from .authorization import AuthorizationView
from .introspection import IntrospectTokenView
from .logout import RPInitiatedLogoutView
from .token import DeviceAuthorizationView, RevokeTokenView, TokenView, UserInfoView

__all__ = [
    "AuthorizationView",
    "DeviceAuthorizationView",
    "IntrospectTokenView",
    "RPInitiatedLogoutView",
    "RevokeTokenView",
    "TokenView",
    "UserInfoView",
]
