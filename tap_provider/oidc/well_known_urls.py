"""RFC 8414's document at the root of the host: `path("", include("tap_provider.oidc.well_known_urls"))`."""

from oauth2_provider.urls import metadata_urlpatterns

urlpatterns = list(metadata_urlpatterns)
