"""The tests' settings on a site with a read replica that lags for ever: it has tables, and never a row."""

from copy import deepcopy

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, VAR_DIR

REPLICA = deepcopy(DATABASES["default"])
if REPLICA["ENGINE"] == "django.db.backends.sqlite3":
    REPLICA |= {"NAME": str(VAR_DIR / "replica.sqlite3"), "TEST": {"NAME": str(VAR_DIR / "replica-tests.sqlite3")}}
else:
    REPLICA["TEST"] = {"NAME": "test_tap_replica"}
DATABASES = {"default": DATABASES["default"], "replica": REPLICA}
DATABASE_ROUTERS = ["tap_provider.databases.PrimaryRouter", "tests.other_settings.routers.ReplicaRouter"]
