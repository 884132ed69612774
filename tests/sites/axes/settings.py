"""A site with django-axes, whose login page is ours."""

from pathlib import Path

from ..base import *  # noqa: F403
from ..base import INSTALLED_APPS, MIDDLEWARE, TEMPLATES

INSTALLED_APPS = [*INSTALLED_APPS, "axes"]
MIDDLEWARE = [*MIDDLEWARE, "axes.middleware.AxesMiddleware"]
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "tap_provider.backends.ModelBackend",
    "tap_provider.backends.TemporaryAccessPassBackend",
]
TEMPLATES = [{**TEMPLATES[0], "DIRS": [Path(__file__).parent / "templates"]}]
ROOT_URLCONF = "tests.sites.axes.urls"
LOGIN_URL = "tap_provider:sign_in"
AXES_FAILURE_LIMIT = 3
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_TEMPLATE = "lockout.html"
AXES_USERNAME_CALLABLE = "tests.sites.axes.names.username"
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "passcode", "code"]
