"""django-oauth-toolkit's own addresses: what ours are compared with."""

from django.urls import include, path

urlpatterns = [path("o/", include("oauth2_provider.urls"))]
