"""A site with a user model of its own, without Django's permissions, groups or admin."""

from tests.sites.base import *  # noqa: F403
from tests.sites.base import INSTALLED_APPS

INSTALLED_APPS = [
    *(app for app in INSTALLED_APPS if app != "django.contrib.admin"),
    "tests.sites.plain_users.apps.PlainUsersConfig",
]
AUTH_USER_MODEL = "plain_users.Person"
ROOT_URLCONF = "tests.sites.plain_users.urls"
LOGIN_URL = "tap_provider:sign_in"
