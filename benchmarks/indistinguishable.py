"""Can a stranger tell from the time who exists and who holds a pass?

    python -m benchmarks.indistinguishable          on whatever DATABASE_URL names, in a scratch SQLite by default

Presents wrong passcodes for users in different states, in random order within each round. Prints for each pair of
states the difference of medians, p of a two-sided Mann-Whitney U test, and Cliff's delta. Delta is the chance that an
attempt at the first takes longer than one at the second, minus the chance that it takes less: 0 tells a stranger
nothing. The figure to reach with 3,000 rounds is a delta below 0.02 in every pair.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from collections import defaultdict
from datetime import timedelta
from itertools import combinations
from math import sqrt
from statistics import NormalDist, median
from typing import Any

STATES = ("unknown", "no pass", "wrong passcode", "another user's", "inactive")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"VAR_DIR": folder, "DJANGO_SETTINGS_MODULE": "example_project.settings"}
        os.environ.setdefault("DATABASE_URL", f"sqlite:///{folder}/scratch.sqlite3")
        _report(_measure(options.rounds))


def _measure(rounds: int) -> dict[str, list[float]]:
    import django

    django.setup()
    from django.core.management import call_command
    from django.utils import timezone

    from tap_provider.exceptions import PasscodeNotAccepted
    from tap_provider.redeem import redeem_pass
    from tap_provider.sign_in import Client

    call_command("migrate", verbosity=0, interactive=False)
    now = timezone.now()
    guesses = _people(now)
    times: dict[str, list[float]] = defaultdict(list)
    for number in range(rounds):
        for state in random.sample(STATES, len(STATES)):
            upn, passcode = guesses[state]
            # Far enough apart that the throttle, which would refuse before any of this, stays out of it.
            moment, client = now + timedelta(minutes=2 * number), Client(address=f"192.0.2.{number % 250}")
            started = time.perf_counter()
            try:
                redeem_pass(upn=upn, passcode=passcode, client=client, now=moment)
            except PasscodeNotAccepted:
                times[state].append(time.perf_counter() - started)
    return times


def _people(now: Any) -> dict[str, tuple[str, str]]:
    from django.contrib.auth import get_user_model

    from tap_provider.issue import issue_pass
    from tap_provider.policy import change_policy

    user_model: Any = get_user_model()
    admin = user_model.objects.create_superuser("admin", upn="admin@example.test")
    change_policy(actor=admin, now=now, enabled=True, maximum_lifetime_minutes=43_200)
    people = {name: user_model.objects.create(username=name, upn=f"{name}@example.test") for name in "abcd"}
    month = timedelta(days=30)
    for name in "bcd":
        issued = issue_pass(actor=admin, user=people[name], now=now, lifetime=month)
    user_model.objects.filter(pk=people["d"].pk).update(is_active=False)  # `save()` would end the pass
    wrong = "0" * 8
    return {
        "unknown": ("z@example.test", wrong),
        "no pass": ("a@example.test", wrong),
        "wrong passcode": ("b@example.test", wrong),
        "another user's": ("c@example.test", issued.passcode.reveal()),
        "inactive": ("d@example.test", issued.passcode.reveal()),
    }


def _report(times: dict[str, list[float]]) -> None:
    for state in STATES:
        print(f"{state}: median {median(times[state]) * 1000:.3f} ms of {len(times[state])}")
    for other, state in combinations(STATES, 2):
        difference = median(times[state]) - median(times[other])
        p, delta = _compare(times[state], times[other])
        print(f"{state + ' / ' + other:32} difference {difference * 1000:+.3f} ms   p {p:.2g}   delta {delta:+.4f}")


def _compare(ours: list[float], theirs: list[float]) -> tuple[float, float]:
    """Return p of a two-sided Mann-Whitney U test (normal approximation) and Cliff's delta."""
    pooled = sorted([(time, True) for time in ours] + [(time, False) for time in theirs])
    ranks = sum(rank for rank, (_, is_ours) in enumerate(pooled, start=1) if is_ours)
    n, m = len(ours), len(theirs)
    u = ranks - n * (n + 1) / 2
    z = (u - n * m / 2) / sqrt(n * m * (n + m + 1) / 12)
    return 2 * NormalDist().cdf(-abs(z)), 2 * u / (n * m) - 1


if __name__ == "__main__":
    main()
