"""A site with django-two-factor-auth: an app or a code by mail after the password."""

from ..base import *  # noqa: F403
from ..base import INSTALLED_APPS

INSTALLED_APPS = [
    *INSTALLED_APPS,
    "django_otp.plugins.otp_static",
    "django_otp.plugins.otp_email",
    "two_factor",
    "two_factor.plugins.email",
]
ROOT_URLCONF = "tests.sites.two_factor.urls"
LOGIN_URL = "two_factor:login"
TWO_FACTOR_REMEMBER_COOKIE_AGE = 24 * 60 * 60
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
TAP_PROVIDER_REGISTRABLE_METHODS = ["totp", "password"]
