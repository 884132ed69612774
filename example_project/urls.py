"""The example's addresses."""

from django.contrib import admin
from django.urls import include, path

from . import views

urlpatterns = [
    path("", views.home, name="home"),
    path("members/", views.members, name="members"),
    path("account/", include("tap_provider.urls")),
    path("admin/", admin.site.urls),
    path("o/", include("tap_provider.oidc.urls")),
    path("", include("tap_provider.oidc.well_known_urls")),
]
