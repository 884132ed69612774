"""A site whose support staff act as users: by django-loginas, django-hijack and django-impersonate."""

from ..base import *  # noqa: F403
from ..base import INSTALLED_APPS, MIDDLEWARE

INSTALLED_APPS = [*INSTALLED_APPS, "loginas", "hijack", "impersonate"]
MIDDLEWARE = [*MIDDLEWARE, "hijack.middleware.HijackUserMiddleware", "impersonate.middleware.ImpersonateMiddleware"]
ROOT_URLCONF = "tests.sites.loginas.urls"
LOGIN_URL = "admin:login"
LOGINAS_REDIRECT_URL = LOGINAS_LOGOUT_REDIRECT_URL = LOGOUT_REDIRECT_URL = "/"
TAP_PROVIDER_REGISTRABLE_METHODS = ["totp", "password"]
