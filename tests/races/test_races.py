"""Each race, a few rounds: `python -m tests.races` runs them for long."""

from __future__ import annotations

import pytest

from .runner import RACES, run

ROUNDS = 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", RACES)
def test_race__nothing_goes_wrong(name: str) -> None:
    wrong = [found for _ in range(ROUNDS) for found in run(name)]
    assert wrong == []
