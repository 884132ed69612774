"""A site that grants permissions on single objects, by django-guardian."""

from tests.sites.base import *  # noqa: F403
from tests.sites.base import AUTHENTICATION_BACKENDS, INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "guardian", "tests.sites.guardian.apps.DocumentsConfig"]
AUTHENTICATION_BACKENDS = [
    AUTHENTICATION_BACKENDS[0],
    "guardian.backends.ObjectPermissionBackend",
    *AUTHENTICATION_BACKENDS[1:],
]
ROOT_URLCONF = "tests.sites.guardian.urls"
