"""Moments in the form in which a site stores them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from django.utils import timezone as django_timezone

from tap_provider.moments import as_aware, as_stored, from_timestamp

pytestmark = pytest.mark.aware_times

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
NAIVE_IN_KOLKATA = datetime(2026, 3, 2, 17, 30)  # noqa: DTZ001 as such a site stores noon


@pytest.fixture
def naive(settings: Any) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = "Asia/Kolkata"


def test_from_timestamp__knows_its_zone() -> None:
    assert from_timestamp(NOON.timestamp()) == NOON


@pytest.mark.usefixtures("naive")
def test_from_timestamp__is_naive_where_the_site_is() -> None:
    assert from_timestamp(NOON.timestamp()) == NAIVE_IN_KOLKATA


@pytest.mark.usefixtures("naive")
@pytest.mark.parametrize("given", [NOON, NOON.astimezone(timezone(timedelta(hours=-3))), NAIVE_IN_KOLKATA])
def test_as_stored__is_naive_where_the_site_is(given: datetime) -> None:
    assert as_stored(given) == NAIVE_IN_KOLKATA


def test_as_stored__takes_a_naive_moment_in_the_zone_in_force() -> None:
    with django_timezone.override("Asia/Kolkata"):
        assert as_stored(NAIVE_IN_KOLKATA) == NOON


@pytest.mark.usefixtures("naive")
def test_as_aware__is_in_the_zone_of_the_site_whatever_is_in_force() -> None:
    with django_timezone.override("America/St_Johns"):
        assert as_aware(NAIVE_IN_KOLKATA) == NOON
        assert as_aware(NOON) is NOON
