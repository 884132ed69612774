"""The example's addresses over plain django-oauth-toolkit: what ours is compared with."""

from django.urls import include, path

from example_project import views

urlpatterns = [
    path("", views.home, name="home"),
    path("account/", include("tap_provider.urls")),
    path("o/", include("oauth2_provider.urls")),
]
