"""The example's addresses with the application pages: what a site mounts that wants them."""

from django.urls import include, path

from example_project import views

urlpatterns = [
    path("", views.home, name="home"),
    path("members/", views.members, name="members"),
    path("account/", include("tap_provider.urls")),
    path("o/", include("tap_provider.oidc.management_urls")),
]
