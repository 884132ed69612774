"""The example with two databases, one of few and one of many users, of which a router names the one in use."""

import os

import django

from example_project.settings import *  # noqa: F403
from example_project.settings import DATABASES, env

DATABASES = {
    name: {**DATABASES["default"], **env.db_url_config(os.environ[f"{name.upper()}_URL"])} for name in ("few", "many")
}
DATABASES["default"] = DATABASES["few"]
DATABASE_ROUTERS = ["benchmarks.scale_router.CurrentDatabase"]
# What grows with the number of users is what is measured: hashes and mails do not.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", "tap_provider.oidc.hashers.ClientSecretHasher"]
TAP_PROVIDER_PASSCODE_HASHER = "tests.conftest.CountingHasher"
NO_MAIL = "django.core.mail.backends.dummy.EmailBackend"
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": NO_MAIL}}
else:
    EMAIL_BACKEND = NO_MAIL
ALLOWED_HOSTS = ["testserver"]
