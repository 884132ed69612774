"""The tests' settings on a site whose users, and all that refers to them, lie in another database than the default."""

from copy import deepcopy

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, VAR_DIR

DATABASES = {"default": deepcopy(DATABASES["default"]), "people": DATABASES["default"]}
DATABASES["default"]["TEST"] = {"NAME": "test_tap_empty", "MIGRATE": False}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"] |= {"NAME": str(VAR_DIR / "empty.sqlite3"), "TEST": {"NAME": str(VAR_DIR / "empty.sqlite3")}}
DATABASE_ROUTERS = ["tests.other_settings.routers.PeopleRouter"]
