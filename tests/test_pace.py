"""How long a wrong passcode takes: twice the time of its hash, whatever else is done."""

from __future__ import annotations

import pytest

from tap_provider import pace
from tap_provider.pace import Pace


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Note how long an attempt would wait, without waiting."""
    waits: list[float] = []
    monkeypatch.setattr(pace, "sleep", waits.append)
    return waits


def test_wait__lasts_until_twice_the_hash(slept: list[float]) -> None:
    measured = Pace()
    measured.hash_seconds = 1000.0
    measured.wait()
    assert 1990 < slept[0] <= 2000


def test_wait__is_over_at_once_where_all_else_took_longer(slept: list[float]) -> None:
    measured = Pace()
    measured.started -= 5000
    measured.hash_seconds = 1000.0
    measured.wait()
    assert slept == [0.0]


def test_hashing__measures_what_is_computed_within(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 10.0, 12.5])
    monkeypatch.setattr(pace, "perf_counter", lambda: next(moments))
    measured = Pace()
    with measured.hashing():
        pass
    assert (measured.started, measured.hash_seconds) == (0.0, 2.5)
