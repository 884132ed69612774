"""A site with django-qsessions: sessions in a table with the user, the browser and the address, cached besides."""

from tests.sites.base import *  # noqa: F403

INSTALLED_APPS = ["qsessions" if app == "django.contrib.sessions" else app for app in INSTALLED_APPS]  # noqa: F405
MIDDLEWARE = [name.replace("django.contrib.sessions", "qsessions") for name in MIDDLEWARE]  # noqa: F405
SESSION_ENGINE = "qsessions.backends.cached_db"
ROOT_URLCONF = "tests.sites.qsessions.urls"
