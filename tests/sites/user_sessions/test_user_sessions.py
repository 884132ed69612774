"""Sessions of django-user-sessions end with their sign-ins, and are known to nobody afterwards."""

from tests.sites.sessions import *  # noqa: F403
