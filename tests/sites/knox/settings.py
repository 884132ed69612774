"""A site with an API: tokens by django-rest-knox and by Django REST framework, beside pages with sessions."""

from ..base import *  # noqa: F403
from ..base import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "rest_framework", "rest_framework.authtoken", "knox"]
ROOT_URLCONF = "tests.sites.knox.urls"
LOGIN_URL = "admin:login"
TAP_PROVIDER_REGISTRABLE_METHODS = ["password"]
