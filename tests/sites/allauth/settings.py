"""A site with django-allauth: its account pages, its second factors, mandatory verification of addresses."""

from ..base import *  # noqa: F403
from ..base import INSTALLED_APPS, MIDDLEWARE

INSTALLED_APPS = [*INSTALLED_APPS, "allauth", "allauth.account", "allauth.mfa"]
MIDDLEWARE = [*MIDDLEWARE, "allauth.account.middleware.AccountMiddleware"]
AUTHENTICATION_BACKENDS = [
    "tests.sites.allauth.accounts.AllauthBackend",
    "tap_provider.backends.TemporaryAccessPassBackend",
]
ROOT_URLCONF = "tests.sites.allauth.urls"
LOGIN_URL = "account_login"
ACCOUNT_ADAPTER = "tests.sites.allauth.accounts.AccountAdapter"
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_RATE_LIMITS = False
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
TAP_PROVIDER_REGISTRABLE_METHODS = ["password"]
