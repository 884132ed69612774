from django.contrib import admin
from django.contrib.auth import authenticate, login, logout
from django.http import HttpResponse
from django.urls import include, path
from knox.views import LoginView, LogoutAllView, LogoutView
from rest_framework.authentication import BasicAuthentication
from rest_framework.authtoken.views import obtain_auth_token
from rest_framework.response import Response
from rest_framework.views import APIView


class BasicLoginView(LoginView):
    authentication_classes = [BasicAuthentication]


class SessionLoginView(APIView):
    """A page without reloads signs in here: an API view that opens a session."""

    authentication_classes = permission_classes = []

    def post(self, request):
        user = authenticate(request, username=request.data["username"], password=request.data["password"])
        login(request, user)
        return Response({})

    def delete(self, request):
        logout(request)
        return Response({})


urlpatterns = [
    path("", lambda request: HttpResponse(request.user.get_username()), name="home"),
    path("api/knox/login/", BasicLoginView.as_view()),
    path("api/knox/logout/", LogoutView.as_view()),
    path("api/knox/logout-all/", LogoutAllView.as_view()),
    path("api/token/", obtain_auth_token),
    path("api/session/", SessionLoginView.as_view()),
    path("security/", include("tap_provider.registration_urls")),
    path("admin/", admin.site.urls),
]
