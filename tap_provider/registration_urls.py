"""Registration-only mode, for a site that has a login page of its own: `include("tap_provider.registration_urls")`.

Pass sign-in, *Security info*, step-up and sign-out, under the same names as in `urls`. No page takes a password, and
nothing opens a full session: that stays with the site's own page and what it asks for.
"""

from django.urls import path

from .urls import app_name, pages_of_both
from .views import site_login

__all__ = ["app_name", "urlpatterns"]

urlpatterns = [path("sign-in/", site_login.sign_in, name="sign_in"), *pages_of_both]
