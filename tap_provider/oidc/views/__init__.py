"""Views over django-oauth-toolkit's, one module an endpoint."""

from .authorization import AuthorizationView
from .device import DeviceAuthorizationView, DeviceConfirmView
from .introspection import IntrospectTokenView
from .logout import RPInitiatedLogoutView
from .token import RevokeTokenView, TokenView, UserInfoView

__all__ = [
    "AuthorizationView",
    "DeviceAuthorizationView",
    "DeviceConfirmView",
    "IntrospectTokenView",
    "RPInitiatedLogoutView",
    "RevokeTokenView",
    "TokenView",
    "UserInfoView",
]
