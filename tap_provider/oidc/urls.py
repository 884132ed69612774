"""The toolkit's addresses with our views in front: `path("o/", include("tap_provider.oidc.urls"))`.

Mounted in place of `oauth2_provider.urls`; the namespace stays the toolkit's, whose own code reverses by it. Left out
are the pages where applications are registered and changed: see `management_urls`.
"""

from django.urls import path, re_path
from oauth2_provider import urls as toolkit

from . import views, well_known_urls
from .pages import provider_pages

app_name = "oauth2_provider"

_ours = [
    path("authorize/", views.AuthorizationView.as_view(), name="authorize"),
    path("token/", views.TokenView.as_view(), name="token"),
    path("revoke_token/", views.RevokeTokenView.as_view(), name="revoke-token"),
    path("device-authorization/", views.DeviceAuthorizationView.as_view(), name="device-authorization"),
    path("device/", views.DeviceUserCodeView.as_view(), name="device"),
    path("device-confirm/<slug:client_id>/<slug:user_code>", views.DeviceConfirmView.as_view(), name="device-confirm"),
    path(
        "device-grant-status/<slug:client_id>/<slug:user_code>",
        views.DeviceGrantStatusView.as_view(),
        name="device-grant-status",
    ),
    path("userinfo/", views.UserInfoView.as_view(), name="user-info"),
    path("introspect/", views.IntrospectTokenView.as_view(), name="introspect"),
    path("register/", views.DynamicClientRegistrationView.as_view(), name="dcr-register"),
    path(
        "register/<str:client_id>/",
        views.DynamicClientRegistrationManagementView.as_view(),
        name="dcr-register-management",
    ),
    path("authorized_tokens/", views.AuthorizedTokensList.as_view(), name="authorized-token-list"),
    path("authorized_tokens/<slug:pk>/delete/", views.AuthorizedTokenDelete.as_view(), name="authorized-token-delete"),
    path("logout/", views.RPInitiatedLogoutView.as_view(), name="rp-initiated-logout"),
    re_path(
        r"^\.well-known/openid-configuration/?$",
        views.ConnectDiscoveryInfoView.as_view(),
        name="oidc-connect-discovery-info",
    ),
    *well_known_urls.urlpatterns,
]
_toolkits = [
    *toolkit.metadata_urlpatterns,
    *toolkit.base_urlpatterns,
    *toolkit.oidc_urlpatterns,
    *toolkit.dcr_urlpatterns,
]
urlpatterns = provider_pages([*_ours, *_toolkits])
