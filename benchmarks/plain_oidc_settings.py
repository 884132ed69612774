"""The example's settings with django-oauth-toolkit alone, on the same database: its validator, its hash of secrets."""

from example_project.settings import *  # noqa: F403

ROOT_URLCONF = "benchmarks.plain_oidc_urls"
WSGI_APPLICATION = None
_OURS = ("tap_provider", "django_otp")
INSTALLED_APPS = [
    app
    for app in INSTALLED_APPS  # noqa: F405
    if not app.startswith(_OURS) and app not in {"example_project", "django.contrib.admin"}
]
MIDDLEWARE = [name for name in MIDDLEWARE if not name.startswith(_OURS)]  # noqa: F405
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
PASSWORD_HASHERS = [name for name in PASSWORD_HASHERS if not name.startswith(_OURS)]  # noqa: F405
_CHANGED = {"OAUTH2_VALIDATOR_CLASS", "CLIENT_SECRET_HASHER"}
OAUTH2_PROVIDER = {name: value for name, value in OAUTH2_PROVIDER.items() if name not in _CHANGED}  # noqa: F405
