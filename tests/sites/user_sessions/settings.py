"""A site with django-user-sessions: a session engine of its own, which saves and deletes in its own way."""

from tests.sites.base import *  # noqa: F403

INSTALLED_APPS = ["user_sessions" if app == "django.contrib.sessions" else app for app in INSTALLED_APPS]  # noqa: F405
MIDDLEWARE = [name.replace("django.contrib.sessions", "user_sessions") for name in MIDDLEWARE]  # noqa: F405
SESSION_ENGINE = "user_sessions.backends.db"
ROOT_URLCONF = "tests.sites.user_sessions.urls"
