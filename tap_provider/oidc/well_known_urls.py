"""RFC 8414's document at the root of the host: `path("", include("tap_provider.oidc.well_known_urls"))`.

The toolkit's addresses, ours in front; RFC 9728's document of protected resources is the toolkit's.
"""

from django.urls import path
from oauth2_provider.urls import metadata_urlpatterns

from .views import OAuthServerMetadataView

DOCUMENT = ".well-known/oauth-authorization-server"

urlpatterns = [
    path(DOCUMENT, OAuthServerMetadataView.as_view(), name="oauth-server-metadata"),
    path(f"{DOCUMENT}/<path:issuer_path>", OAuthServerMetadataView.as_view(), name="oauth-server-metadata-issuer"),
    *metadata_urlpatterns,
]
