"""Django's own password login and nothing else: what a sign-in by pass is compared with."""

from django.contrib.auth.views import LoginView
from django.urls import path

urlpatterns = [path("login/", LoginView.as_view(template_name="admin/login.html", next_page="/"), name="login")]
