"""A site with Channels, set up as its documentation says: consumers find who is signed in by the session."""

from tests.sites.base import *  # noqa: F403

INSTALLED_APPS = ["channels", *INSTALLED_APPS]  # noqa: F405
ROOT_URLCONF = "tests.sites.channels.urls"
ASGI_APPLICATION = "tests.sites.channels.asgi.application"
