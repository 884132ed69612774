"""Views over django-oauth-toolkit's, one module an endpoint."""

from .authorization import AuthorizationView
from .discovery import ConnectDiscoveryInfoView, OAuthServerMetadataView
from .introspection import IntrospectTokenView
from .logout import RPInitiatedLogoutView

__all__ = [
    "AuthorizationView",
    "ConnectDiscoveryInfoView",
    "IntrospectTokenView",
    "OAuthServerMetadataView",
    "RPInitiatedLogoutView",
]
