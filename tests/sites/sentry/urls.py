from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("account/", include("tap_provider.urls")),
    path("o/", include("tap_provider.oidc.urls")),
    path("admin/", admin.site.urls),
]
