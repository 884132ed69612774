"""How often may one guess: by UPN and by address, within any ten minutes, counted before it is judged."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.db.models import Sum

from tap_provider.exceptions import TooManyAttempts
from tap_provider.models import AttemptCounter
from tap_provider.throttle import MOST_BY_UPN, MOST_FROM_ADDRESS, SPAN, Attempt, count_attempt, sweep, take_back

from .conftest import DAY, HOUR, MINUTE, NOW, all_at_once

SECOND = timedelta(seconds=1)
UPN = "robin@example.test"

pytestmark = pytest.mark.django_db


def attempt(
    *, at: datetime = NOW, upn: str = UPN, address: str | None = None, purpose: str = "pass"
) -> Attempt | TooManyAttempts:
    """Return the attempt, or the refusal."""
    try:
        return count_attempt(purpose=purpose, upn=upn, address=address, now=at)
    except TooManyAttempts as refusal:
        return refusal


def passes(**more: Any) -> bool:
    return isinstance(attempt(**more), Attempt)


def wait(**more: Any) -> timedelta:
    refusal = attempt(**more)
    assert isinstance(refusal, TooManyAttempts)
    return refusal.retry_after


def counted() -> int:
    return AttemptCounter.objects.aggregate(total=Sum("count"))["total"] or 0


def test_count_attempt__the_limits_are_ten_by_upn_and_a_hundred_from_an_address() -> None:
    """Issue 2, row "eleventh wrong guess within ten minutes for a UPN, or 100 from an address"."""
    assert (MOST_BY_UPN, MOST_FROM_ADDRESS, SPAN) == (10, 100, 10 * MINUTE)


def test_count_attempt__the_eleventh_within_ten_minutes_is_refused() -> None:
    assert [passes() for _ in range(12)] == [True] * 10 + [False] * 2
    assert passes(upn="another@example.test")


@pytest.mark.parametrize("second", [0, 1, 30, 59])
@pytest.mark.parametrize("later", [SECOND, MINUTE, 5 * MINUTE, 9 * MINUTE, SPAN - SECOND])
def test_count_attempt__within_any_ten_minutes(second: int, later: timedelta) -> None:
    """Wherever in a minute the ten fell: the window slides, it does not start anew with the clock."""
    first = NOW + second * SECOND
    assert all(passes(at=first) for _ in range(10))
    assert not passes(at=first + later)


def test_count_attempt__within_any_ten_minutes_of_a_long_siege() -> None:
    drawn = random.Random(20260302)
    moments = sorted(NOW + timedelta(seconds=drawn.uniform(0, 3600)) for _ in range(250))
    passed = [moment for moment in moments if passes(at=moment)]
    assert all(sum(moment - SPAN < other <= moment for other in passed) <= MOST_BY_UPN for moment in passed)
    assert len(passed) >= 5 * MOST_BY_UPN  # nor is it much tighter than told: eleven minutes at most


def test_count_attempt__a_hundred_from_an_address_whatever_the_upn() -> None:
    address = "203.0.113.7"
    assert all(passes(upn=f"user-{number}@example.test", address=address) for number in range(100))
    assert not passes(upn="one-more@example.test", address=address)
    assert passes(upn="one-more@example.test", address="203.0.113.8")


def test_count_attempt__an_ipv6_client_is_its_whole_64() -> None:
    """Whoever has one IPv6 address has 2^64 of them."""
    assert all(passes(upn=f"user-{number}@example.test", address=f"2001:db8::{number:x}") for number in range(100))
    assert not passes(upn="one-more@example.test", address="2001:db8::ffff:ffff:ffff:ffff")
    assert passes(upn="one-more@example.test", address="2001:db8:0:1::1")


def test_count_attempt__ipv4_clients_of_a_dual_stack_socket_are_told_apart() -> None:
    """A server that listens on `[::]` tells IPv4 clients as `::ffff:203.0.113.7`; all of them lie in one /64."""
    assert all(passes(upn=f"user-{number}@example.test", address="::ffff:203.0.113.7") for number in range(100))
    assert not passes(upn="one-more@example.test", address="::ffff:203.0.113.7")
    assert passes(upn="one-more@example.test", address="::ffff:198.51.100.1")


def test_count_attempt__an_unknown_address_counts_by_upn_alone() -> None:
    assert all(passes(upn=f"user-{number}@example.test", address=None) for number in range(101))


@pytest.mark.parametrize(
    "moments",
    [
        [NOW] * 10,
        [NOW + 59 * SECOND] * 10,
        [NOW + number * MINUTE for number in range(10)],
        [NOW + number * 50 * SECOND for number in range(10)],
        [NOW] * 3 + [NOW + 7 * MINUTE + 31 * SECOND] * 7,
        [NOW] + [NOW + 9 * MINUTE] * 9,
    ],
    ids=["at once", "at the end of a minute", "one a minute", "across minutes", "in two bursts", "late"],
)
@pytest.mark.parametrize("later", [timedelta(), 17 * SECOND + timedelta(milliseconds=250)])
def test_count_attempt__retry_after_is_honest(moments: list[datetime], later: timedelta) -> None:
    """After that wait an attempt passes, and no second earlier."""
    assert all(passes(at=moment) for moment in moments)
    refused_at = moments[-1] + later
    retry_after = wait(at=refused_at)
    assert timedelta() < retry_after <= SPAN + MINUTE
    assert wait(at=refused_at + retry_after - SECOND) <= SECOND
    assert passes(at=refused_at + retry_after)


def test_count_attempt__retry_after_is_that_of_the_limit_that_lasts_longer() -> None:
    address = "203.0.113.7"
    for number in range(90):
        attempt(upn=f"user-{number}@example.test", address=address, at=NOW)
    for _ in range(10):
        attempt(address=address, at=NOW + 5 * MINUTE)
    refused_at = NOW + 6 * MINUTE
    assert refused_at + wait(address=address, at=refused_at) == NOW + 16 * MINUTE
    assert refused_at + wait(upn="other@example.test", address=address, at=refused_at) == NOW + 11 * MINUTE


def test_count_attempt__refused_attempts_do_not_prolong_the_wait() -> None:
    for _ in range(10):
        attempt()
    free_at = NOW + wait()
    for second in range(0, 600, 15):
        assert NOW + second * SECOND + wait(at=NOW + second * SECOND) == free_at
    assert passes(at=free_at)


def test_count_attempt__refused_by_upn_does_not_use_up_the_address() -> None:
    address = "203.0.113.7"
    for _ in range(200):
        attempt(address=address)
    assert all(passes(upn=f"user-{number}@example.test", address=address) for number in range(90))


def test_count_attempt__upns_that_differ_by_case_only_are_one() -> None:
    spellings = ["robin@example.test", "ROBIN@EXAMPLE.TEST", "Robin@Example.Test"]
    assert all(passes(upn=spellings[number % 3]) for number in range(10))
    assert not any(passes(upn=spelling) for spelling in spellings)
    assert all(passes(upn="STRASSE@example.test") for number in range(10))
    assert not passes(upn="stra\N{LATIN SMALL LETTER SHARP S}e@example.test")


def test_count_attempt__purposes_are_counted_apart() -> None:
    """Otherwise wrong passwords would lock somebody out of their pass."""
    for _ in range(10):
        attempt(purpose="password")
    assert passes(purpose="pass")
    assert not passes(purpose="password")


@pytest.mark.parametrize("upn", ["\ud800", "\x00", "' OR 1=1", "a" * 100_000, ""], ids=lambda upn: ascii(upn[:8]))
def test_count_attempt__whatever_was_typed(upn: str) -> None:
    """Issue 2, row "lone surrogates …": never a 500, never a database error."""
    assert [passes(upn=upn) for _ in range(11)] == [True] * 10 + [False]


def test_take_back__uncounts_this_attempt_and_no_other() -> None:
    """Peer failure 17: a success that cleared the counter would re-arm an attacker."""
    address = "203.0.113.7"
    earlier = [attempt(address=address) for _ in range(9)]
    assert len(earlier) == 9
    last = attempt(address=address)
    assert isinstance(last, Attempt)
    assert counted() == 20
    take_back(last)
    assert counted() == 18
    assert passes(address=address)
    assert not passes(address=address)


def test_take_back__in_a_later_minute_uncounts_the_minute_of_the_attempt() -> None:
    early = attempt(at=NOW)
    attempt(at=NOW + MINUTE)
    assert isinstance(early, Attempt)
    take_back(early)
    assert dict(AttemptCounter.objects.values_list("minute", "count")) == {
        int(NOW.timestamp()) // 60: 0,
        int(NOW.timestamp()) // 60 + 1: 1,
    }


def test_take_back__after_a_sweep_counts_nothing_below_zero() -> None:
    done = attempt()
    assert isinstance(done, Attempt)
    sweep(now=NOW + DAY)
    take_back(done)
    assert counted() == 0


@pytest.mark.default_database
def test_count_attempt__costs_two_statements(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(2):
        attempt(address="203.0.113.7")


def test_attempt_counter__tells_nobody_which_upns_and_addresses_were_tried(settings: Any) -> None:
    attempt(address="203.0.113.7")
    digests = set(AttemptCounter.objects.values_list("digest", flat=True))
    assert all(len(digest) == 64 and set(digest) <= set("0123456789abcdef") for digest in digests)
    settings.SECRET_KEY = "another"  # who has the table but not the key cannot try names on it
    attempt(address="203.0.113.7")
    assert AttemptCounter.objects.count() == 4


def test_sweep__deletes_what_no_longer_counts_and_nothing_else() -> None:
    attempt(at=NOW - DAY)
    attempt(at=NOW - HOUR, upn="another@example.test")
    for _ in range(10):
        attempt(at=NOW - SPAN)
    assert sweep(now=NOW) == 2
    assert not passes(at=NOW)
    assert sweep(now=NOW) == 0


@pytest.mark.django_db(transaction=True)
def test_count_attempt__of_32_at_once_no_more_than_ten_pass_and_somebody_does() -> None:
    outcomes = all_at_once(*[attempt] * 32)
    assert {type(outcome) for outcome in outcomes} <= {Attempt, TooManyAttempts}
    passed = sum(isinstance(outcome, Attempt) for outcome in outcomes)
    assert 1 <= passed <= MOST_BY_UPN
    assert counted() == passed  # who was refused left no trace


@pytest.mark.default_database
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("act", ["count", "take back"])
def test_throttle__a_deadlocks_victim_is_sent_again(act: str) -> None:
    """MariaDB breaks off one of two simultaneous upserts now and then."""
    failures = iter([OperationalError(1213, "Deadlock found"), OperationalError(1213, "Deadlock found")])

    def break_off(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        error = next(failures, None) if sql.startswith("INSERT") else None
        if error is not None:
            raise error
        return execute(sql, params, many, context)

    made = attempt() if act == "take back" else None
    with connection.execute_wrapper(break_off):
        attempt() if made is None else take_back(made)
    assert next(failures, None) is None
    assert counted() == (1 if made is None else 0)


@pytest.mark.default_database
@pytest.mark.django_db(transaction=True)
def test_throttle__within_a_transaction_a_broken_statement_is_not_sent_again() -> None:
    """It is lost with what went before: whoever began the transaction begins it again."""
    sent: list[str] = []

    def break_off(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        sent.append(sql)
        raise OperationalError(1213, "Deadlock found")

    with pytest.raises(OperationalError), transaction.atomic(), connection.execute_wrapper(break_off):
        attempt()
    assert len(sent) == 1


@pytest.mark.django_db(transaction=True)
def test_count_attempt__by_32_people_from_one_address_at_once_all_pass() -> None:
    """A class registering at nine o'clock: nobody waits, and no database error (deadlocks are sent again)."""
    calls = [
        lambda number=number: attempt(upn=f"user-{number}@example.test", address="203.0.113.7") for number in range(32)
    ]
    outcomes = all_at_once(*calls)
    assert all(isinstance(outcome, Attempt) for outcome in outcomes), outcomes
    assert counted() == 64
