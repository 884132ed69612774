"""How long a wrong passcode takes, so that the time does not tell an unknown user from one who holds a pass."""

from __future__ import annotations

from contextlib import contextmanager
from time import perf_counter, sleep
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Pace:
    """Ends an attempt no sooner than after twice the time of its hash.

    Attempts that send the same statements still differ by a few hundredths of a millisecond: a row that is found is
    turned into an object. The hash costs the same for every user and so gives the measure. Everything else takes less
    than a second hash would.
    """

    def __init__(self) -> None:
        self.started = perf_counter()
        self.hash_seconds = 0.0

    @contextmanager
    def hashing(self) -> Iterator[None]:
        """Measure the hash that is computed within."""
        begun = perf_counter()
        yield
        self.hash_seconds = perf_counter() - begun

    def wait(self) -> None:
        """Wait until the attempt has taken twice the time of its hash."""
        sleep(max(0.0, self.started + 2 * self.hash_seconds - perf_counter()))
