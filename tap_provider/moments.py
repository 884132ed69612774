"""Moments in the form in which the site stores them: aware of their time zone, or naive where `USE_TZ` is off.

Then they are in `TIME_ZONE`, as `django.utils.timezone.now()` is. Whatever leaves the site says its distance from UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime

from django.conf import settings
from django.utils import timezone


def from_timestamp(seconds: float) -> datetime:
    """Return the moment so many seconds after the epoch."""
    return as_stored(datetime.fromtimestamp(seconds, tz=UTC))


def as_stored(moment: datetime) -> datetime:
    """Return the moment in the form of `timezone.now()`; a naive one is in the time zone in force."""
    if settings.USE_TZ:
        return timezone.make_aware(moment) if timezone.is_naive(moment) else moment
    return moment if timezone.is_naive(moment) else timezone.make_naive(moment, timezone.get_default_timezone())


def as_aware(moment: datetime) -> datetime:
    """Return a stored moment with its time zone."""
    return timezone.make_aware(moment, timezone.get_default_timezone()) if timezone.is_naive(moment) else moment
