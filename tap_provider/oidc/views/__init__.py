"""Views over django-oauth-toolkit's, one module an endpoint."""

from .authorization import AuthorizationView
from .client_registration import DynamicClientRegistrationManagementView, DynamicClientRegistrationView
from .device import DeviceAuthorizationView, DeviceConfirmView, DeviceGrantStatusView, DeviceUserCodeView
from .discovery import ConnectDiscoveryInfoView, OAuthServerMetadataView
from .introspection import IntrospectTokenView
from .logout import RPInitiatedLogoutView
from .management import (
    ApplicationDelete,
    ApplicationDetail,
    ApplicationList,
    ApplicationRegistration,
    ApplicationUpdate,
    AuthorizedTokenDelete,
    AuthorizedTokensList,
)
from .token import RevokeTokenView, TokenView, UserInfoView

__all__ = [
    "ApplicationDelete",
    "ApplicationDetail",
    "ApplicationList",
    "ApplicationRegistration",
    "ApplicationUpdate",
    "AuthorizationView",
    "AuthorizedTokenDelete",
    "AuthorizedTokensList",
    "ConnectDiscoveryInfoView",
    "DeviceAuthorizationView",
    "DeviceConfirmView",
    "DeviceGrantStatusView",
    "DeviceUserCodeView",
    "DynamicClientRegistrationManagementView",
    "DynamicClientRegistrationView",
    "IntrospectTokenView",
    "OAuthServerMetadataView",
    "RPInitiatedLogoutView",
    "RevokeTokenView",
    "TokenView",
    "UserInfoView",
]
