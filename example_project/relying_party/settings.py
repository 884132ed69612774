"""Django settings of the relying party: no database, sessions in this process's memory, all else from the environment.

Run it as one process with threads: a second process would not know the sessions of the first.
"""

import os

from django.core.management.utils import get_random_secret_key

from .configuration import configuration

DEBUG = False
# Without one in the environment, a restart signs everybody out: which it does anyway, as sessions live in memory.
SECRET_KEY = os.environ.get("SECRET_KEY") or get_random_secret_key()

ALLOWED_HOSTS = [configuration().host, "localhost"]
CSRF_TRUSTED_ORIGINS = [configuration().url]
ROOT_URLCONF = "example_project.relying_party.urls"
WSGI_APPLICATION = "example_project.relying_party.wsgi.application"

INSTALLED_APPS = [
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "example_project.relying_party",
]

MIDDLEWARE = [
    "example_project.relying_party.middleware.PageHeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    },
]

DATABASES: dict[str, dict[str, str]] = {}

# Tokens belong to the server: signed cookies would hand them to the browser, and an old cookie would bring them back.
SESSION_ENGINE = "django.contrib.sessions.backends.cache"
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "OPTIONS": {"MAX_ENTRIES": 10_000},
    },
}
SESSION_COOKIE_AGE = 60 * 60

# Cookies do not tell ports apart: under Django's own names this site and the provider would overwrite each other's.
SESSION_COOKIE_NAME = "rp_sessionid"
CSRF_COOKIE_NAME = "rp_csrftoken"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = configuration().is_https
CSRF_COOKIE_HTTPONLY = True

STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True

LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = os.environ.get("TIME_ZONE") or "UTC"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"example_project.relying_party": {"handlers": ["console"], "level": "INFO"}},
}
