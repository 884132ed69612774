"""The example's settings without anything of ours, on the same database."""

from example_project.settings import *  # noqa: F403

ROOT_URLCONF = "benchmarks.plain_urls"
WSGI_APPLICATION = None
_FOREIGN = ("tap_provider", "oauth2_provider", "django_otp")
INSTALLED_APPS = [
    app
    for app in INSTALLED_APPS  # noqa: F405
    if not app.startswith(_FOREIGN) and app not in {"example_project", "django.contrib.admin"}
]
MIDDLEWARE = [name for name in MIDDLEWARE if not name.startswith(_FOREIGN)]  # noqa: F405
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
