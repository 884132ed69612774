"""The tests' settings on a site whose times are naive, in a zone of its own."""

from tests.settings import *  # noqa: F403

USE_TZ = False
TIME_ZONE = "Asia/Kolkata"
