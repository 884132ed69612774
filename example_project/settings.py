"""Settings of the example, from the environment; without one, a development site on SQLite below `var/`.

DATABASE_URL    default: SQLite in var/           BASE_URL                where browsers reach the site
CACHE_URL       default: local memory             OIDC_RSA_PRIVATE_KEY    default: var/oidc.pem, made on first use
SECRET_KEY      default: var/secret_key, made on first use
DEBUG           default: off                      ALLOWED_HOSTS           default: localhost, 127.0.0.1
TIME_ZONE       default: UTC                      PREPARED_STATEMENTS     default: on (PostgreSQL only)
EMAIL_URL       default: files in var/mail, with https SMTP on localhost   DEFAULT_FROM_EMAIL      default: Django's
BACKCHANNEL_NETWORKS    where logout tokens may go besides public addresses; default: nowhere, without https loopback
"""

from pathlib import Path
from urllib.parse import urlsplit

import django
import environ
from django.conf import global_settings
from django.core.management.utils import get_random_secret_key

from example_project.kept_secrets import kept_secret, new_signing_key

env = environ.Env()

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = Path(env.str("VAR_DIR", default="") or BASE_DIR / "var")  # set but empty: not this folder

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="") or kept_secret(VAR_DIR / "secret_key", get_random_secret_key)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1"])
BASE_URL = env.str("BASE_URL", default="http://localhost:8000").rstrip("/")
IS_SECURE = BASE_URL.startswith("https://")

INSTALLED_APPS = [
    "example_project",
    "example_project.accounts",
    "tap_provider",
    "tap_provider.oidc",
    "oauth2_provider",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp_webauthn",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "tap_provider.middleware.SignInMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

AUTHENTICATION_BACKENDS = [
    "tap_provider.backends.ModelBackend",
    "tap_provider.methods.passkey.PasskeyBackend",
    "tap_provider.backends.TemporaryAccessPassBackend",
]

ROOT_URLCONF = "example_project.urls"
WSGI_APPLICATION = "example_project.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

database_url = env.str("DATABASE_URL", default="") or f"sqlite:///{VAR_DIR / 'example.sqlite3'}"
DATABASES = {"default": env.db_url_config(database_url)}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
else:
    DATABASES["default"]["CONN_MAX_AGE"] = 60
if DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql" and env.bool("PREPARED_STATEMENTS", default=True):
    # Planning our statements anew costs a third of what a sign-in costs beside its hash. A pooler that changes the
    # connection between transactions forbids them.
    DATABASES["default"]["OPTIONS"] = {"server_side_binding": True, "prepare_threshold": 3}

CACHES = {"default": env.cache_url_config(env.str("CACHE_URL", default="") or "locmemcache://")}

AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
PASSWORD_HASHERS = [*global_settings.PASSWORD_HASHERS, "tap_provider.oidc.hashers.ClientSecretHasher"]
LOGIN_URL = "tap_provider:sign_in"
LOGIN_REDIRECT_URL = "home"

USE_TZ = True
TIME_ZONE = env.str("TIME_ZONE", default="UTC")
LANGUAGE_CODE = "en"

STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # WhiteNoise warns where there is none
WHITENOISE_USE_FINDERS = True  # serves static files without a `collectstatic` first

# Cookies and transport: strict where the site is reached over https.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = IS_SECURE
SECURE_HSTS_SECONDS = 31_536_000 if IS_SECURE else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = IS_SECURE
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("BEHIND_PROXY", default=False) else None
CSRF_TRUSTED_ORIGINS = [BASE_URL]

# Mail: by SMTP where EMAIL_URL names a server (`smtp+tls://user:password@mail.example.com:587`); else by
# the one of this machine, and in development, where there is no https, into files.
EMAIL_SECONDS = 10  # how long to wait for the server
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default=global_settings.DEFAULT_FROM_EMAIL)
email = env.email_url_config(
    env.str("EMAIL_URL", default="") or ("smtp://localhost:25" if IS_SECURE else "filemail://")
)
email["EMAIL_FILE_PATH"] = email["EMAIL_FILE_PATH"] or str(VAR_DIR / "mail")
if django.VERSION < (6, 1):
    EMAIL_BACKEND, EMAIL_FILE_PATH, EMAIL_TIMEOUT = email["EMAIL_BACKEND"], email["EMAIL_FILE_PATH"], EMAIL_SECONDS
    EMAIL_HOST, EMAIL_PORT = email["EMAIL_HOST"] or "localhost", email["EMAIL_PORT"] or 25
    EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = email["EMAIL_HOST_USER"] or "", email["EMAIL_HOST_PASSWORD"] or ""
    EMAIL_USE_TLS, EMAIL_USE_SSL = email.get("EMAIL_USE_TLS", False), email.get("EMAIL_USE_SSL", False)
else:
    MAILERS = {"default": {"BACKEND": email["EMAIL_BACKEND"]}}
    if email["EMAIL_BACKEND"].endswith("smtp.EmailBackend"):
        MAILERS["default"]["OPTIONS"] = {
            "host": email["EMAIL_HOST"] or "localhost",
            "port": email["EMAIL_PORT"],
            "username": email["EMAIL_HOST_USER"] or "",
            "password": email["EMAIL_HOST_PASSWORD"] or "",
            "use_tls": email.get("EMAIL_USE_TLS", False),
            "use_ssl": email.get("EMAIL_USE_SSL", False),
            "timeout": EMAIL_SECONDS,
        }
    elif email["EMAIL_BACKEND"].endswith("filebased.EmailBackend"):
        MAILERS["default"]["OPTIONS"] = {"file_path": email["EMAIL_FILE_PATH"]}

# Temporary Access Passes.
TAP_PROVIDER_UPN_FIELD = "upn"
TAP_PROVIDER_BASE_URL = BASE_URL  # for links in mails
# Logout tokens go to public addresses, and in development to a relying party on this machine.
TAP_PROVIDER_BACKCHANNEL_NETWORKS = env.list(
    "BACKCHANNEL_NETWORKS", default=[] if IS_SECURE else ["127.0.0.0/8", "::1/128"]
)
TAP_PROVIDER_TRUSTED_PROXIES = env.int("TRUSTED_PROXIES", default=0)

# Passkeys: bound to this host name for good.
OTP_WEBAUTHN_RP_ID = urlsplit(BASE_URL).hostname
OTP_WEBAUTHN_RP_NAME = "tap_provider example"
OTP_WEBAUTHN_ALLOWED_ORIGINS = [BASE_URL]
OTP_TOTP_ISSUER = "tap_provider example"
OTP_ADMIN_HIDE_SENSITIVE_DATA = True  # nobody reads a secret in django-admin

# The OpenID provider.
OAUTH2_PROVIDER = {
    "OAUTH2_VALIDATOR_CLASS": "tap_provider.oidc.validator.TapOAuth2Validator",
    "OIDC_ENABLED": True,
    "OIDC_ISS_ENDPOINT": f"{BASE_URL}/o",
    "OIDC_RSA_PRIVATE_KEY": env.str("OIDC_RSA_PRIVATE_KEY", multiline=True, default="")
    or kept_secret(VAR_DIR / "oidc.pem", new_signing_key),
    "OIDC_RESPONSE_TYPES_SUPPORTED": ["code"],
    "OIDC_RP_INITIATED_LOGOUT_ENABLED": True,
    "SCOPES": {
        "openid": "Know who you are",
        "profile": "Know your name",
        "email": "Know your e-mail address",
        "offline_access": "Stay signed in for you",
        "method_registration": "Register sign-in methods with you",
    },
    "CLIENT_SECRET_HASHER": "tap_client_secret",
    "PKCE_REQUIRED": True,
    "ACCESS_TOKEN_EXPIRE_SECONDS": 3600,
    "ID_TOKEN_EXPIRE_SECONDS": 3600,
    "REFRESH_TOKEN_EXPIRE_SECONDS": 14 * 24 * 3600,
    "REFRESH_TOKEN_REUSE_PROTECTION": True,
    "ALLOWED_REDIRECT_URI_SCHEMES": ["https"] if IS_SECURE else ["http", "https"],
    "COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PASSWORD_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PKCE_METHOD": True,
    "COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT": True,
    "COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS": True,
    "COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": True,
    "COMPLIANT_BCP_RFC9700_REFRESH_TOKEN": True,
    "COMPLIANT_BCP_RFC9700_REDIRECT_URI_SCHEME": IS_SECURE,
    "COMPLIANT_BCP_RFC9700_REDIRECT_URI_MATCHING": True,
    "COMPLIANT_BCP_RFC9700_PKCE_REQUIRED": True,
}

# Reports of errors, to the log and by mail to ADMINS, if there are any: without secrets.
DEFAULT_EXCEPTION_REPORTER = "tap_provider.debug.ExceptionReporter"
DEFAULT_EXCEPTION_REPORTER_FILTER = "tap_provider.debug.ExceptionReporterFilter"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"scrub": {"()": "tap_provider.debug.ScrubbingFilter"}},
    "handlers": {
        "console": {"class": "logging.StreamHandler", "filters": ["scrub"]},
        "mail_admins": {"class": "tap_provider.debug.AdminEmailHandler", "level": "ERROR"},
    },
    "loggers": {"django": {"handlers": ["mail_admins"], "level": "INFO"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}
