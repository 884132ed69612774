from django.urls import include, path

urlpatterns = [path("account/", include("tap_provider.urls"))]
