"""A site whose permissions are rules: a backend that answers `has_perm`, and lists nothing."""

from tests.sites.base import *  # noqa: F403
from tests.sites.base import AUTHENTICATION_BACKENDS, INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "rules"]
AUTHENTICATION_BACKENDS = [
    AUTHENTICATION_BACKENDS[0],
    "rules.permissions.ObjectPermissionBackend",
    *AUTHENTICATION_BACKENDS[1:],
]
ROOT_URLCONF = "tests.sites.rules.urls"
