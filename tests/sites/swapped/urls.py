from django.contrib import admin
from django.http import HttpResponse
from django.urls import include, path

urlpatterns = [
    path("account/", include("tap_provider.urls")),
    path("admin/", admin.site.urls),
    path("o/", include("tap_provider.oidc.urls")),
    path("", lambda request: HttpResponse(request.user.get_username())),
]
