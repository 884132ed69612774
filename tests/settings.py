"""Settings of the test suite: the example's, made hermetic. `DATABASE_URL` chooses the database, SQLite by default."""

import os
import tempfile

# Whatever the example keeps in its own folder, the tests keep in one that nobody else reads.
os.environ.setdefault("VAR_DIR", tempfile.mkdtemp(prefix="tap-provider-tests-"))
os.environ.setdefault("SECRET_KEY", "tests-only-" + "x" * 40)

from example_project.settings import *  # noqa: F403

PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.MD5PasswordHasher",  # passwords are not what is tested here
    "tap_provider.oidc.hashers.ClientSecretHasher",
]
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
WHITENOISE_AUTOREFRESH = True

if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":  # noqa: F405
    # A file, not memory: threads must meet in it as they do in production.
    DATABASES["default"]["TEST"] = {"NAME": str(VAR_DIR / "tests.sqlite3")}  # noqa: F405
