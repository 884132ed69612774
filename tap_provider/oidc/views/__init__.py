"""Views over django-oauth-toolkit's, one module an endpoint."""

from .authorization import AuthorizationView
from .introspection import IntrospectTokenView
from .logout import RPInitiatedLogoutView

__all__ = ["AuthorizationView", "IntrospectTokenView", "RPInitiatedLogoutView"]
