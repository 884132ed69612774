"""What the site had by mistake: our login page beside allauth's."""

from django.urls import include, path

from . import urls

urlpatterns = [path("security/", include("tap_provider.urls")), *urls.urlpatterns]
