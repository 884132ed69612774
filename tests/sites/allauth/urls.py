from django.contrib import admin
from django.http import HttpResponse
from django.urls import include, path

urlpatterns = [
    path("", lambda request: HttpResponse(request.user.get_username()), name="home"),
    path("accounts/", include("allauth.urls")),
    path("security/", include("tap_provider.registration_urls")),
    path("admin/", admin.site.urls),
]
