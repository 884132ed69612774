"""The tests' settings on a site whose users, and all that refers to them, lie in another database than the default."""

from copy import deepcopy

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, VAR_DIR

EMPTY = deepcopy(DATABASES["default"])
if EMPTY["ENGINE"] == "django.db.backends.sqlite3":
    EMPTY |= {"NAME": str(VAR_DIR / "empty.sqlite3"), "TEST": {"NAME": str(VAR_DIR / "empty-tests.sqlite3")}}
else:
    EMPTY["TEST"] = {"NAME": "test_tap_empty"}
DATABASES = {"default": EMPTY, "people": DATABASES["default"]}
DATABASE_ROUTERS = ["tests.other_settings.routers.PeopleRouter"]
