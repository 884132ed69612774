from django.http import HttpResponse
from django.urls import include, path

urlpatterns = [
    path("", lambda request: HttpResponse(request.user.get_username()), name="home"),
    path("account/", include("tap_provider.urls")),
]
