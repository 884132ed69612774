"""Simultaneous redemptions: threads that meet in the database, each with a connection of its own.

They run on SQLite, PostgreSQL and MariaDB alike; `select_for_update` would not hold on the first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.test import Client as Browser

from tap_provider.exceptions import PasscodeNotAccepted, PassNotUsable, RedemptionRefused, TooManyAttempts
from tap_provider.handle import first_group_of
from tap_provider.hooks import Hooks
from tap_provider.issue import IssuedPass, issue_pass, revoke_pass
from tap_provider.models import AttemptCounter, AuditEvent, SignIn, TemporaryAccessPass
from tap_provider.policy import change_policy
from tap_provider.redeem import _spend_row, redeem_pass
from tap_provider.registration_session import why_over
from tap_provider.sign_in import Client, find_sign_in
from tap_provider.throttle import MOST_BY_UPN
from tap_provider.usability import UsabilityReason

from .conftest import NOW, CountingHasher, all_at_once

MakeUser = Callable[..., Any]
Issue = Callable[..., IssuedPass]

MANY = 32
WRONG = "00000000"

pytestmark = pytest.mark.django_db(transaction=True)


class Aliases(Hooks):
    """A directory in which `robin+7@…` is an alias of `robin@…`.

    The throttle counts what is typed, so that attempts by different aliases all get to the pass.
    """

    def find_user(self, upn: str) -> Any | None:
        name, _, domain = upn.partition("@")
        return super().find_user(f"{name.partition('+')[0]}@{domain}")


@pytest.fixture
def aliases(settings: Any) -> None:
    settings.TAP_PROVIDER_HOOKS = "tests.test_redeem_concurrency.Aliases"


def redeem(passcode: str, *, number: int | None = None) -> SignIn:
    """Redeem Robin's pass, as the nth of several people with addresses and aliases of their own."""
    upn = "robin@example.test" if number is None else f"robin+{number}@example.test"
    client = Client(address=None if number is None else f"198.51.100.{number}")
    return redeem_pass(upn=upn, passcode=passcode, client=client, now=NOW)


def kinds(outcomes: list[Any]) -> Counter[str]:
    return Counter(type(outcome).__name__ for outcome in outcomes)


def assert_spent_once() -> None:
    held = TemporaryAccessPass.objects.get()
    assert held.redemption_count == 1
    assert SignIn.objects.get().pass_id == held.pk
    assert AuditEvent.objects.filter(kind=AuditEvent.Kind.PASS_REDEEMED).count() == 1


# Issue 2, row "a second use of a one-time pass, also by 32 requests at once": exactly one wins. Peer failure 1.


def test_redeem__of_32_at_once_exactly_one_spends_a_one_time_pass(robin: Any, issue: Issue, aliases: None) -> None:
    """The whole verb, with the real hash; by aliases, so that the throttle keeps nobody from the race."""
    issued = issue(robin, now=NOW, is_usable_once=True)
    outcomes = all_at_once(*[partial(redeem, issued.passcode.reveal(), number=number) for number in range(MANY)])
    assert kinds(outcomes) == {"SignIn": 1, "PassNotUsable": MANY - 1}, outcomes
    reasons = {outcome.reason for outcome in outcomes if isinstance(outcome, PassNotUsable)}
    assert reasons == {UsabilityReason.ONE_TIME_USED}
    assert_spent_once()


def test_spend_row__of_32_at_once_exactly_one_writes(robin: Any, issue: Issue) -> None:
    """The one statement that decides, alone."""
    held = issue(robin, now=NOW, is_usable_once=True).temporary_access_pass
    outcomes = all_at_once(*[partial(_spend_row, held, now=NOW)] * MANY)
    assert Counter(outcomes) == {True: 1, False: MANY - 1}, outcomes
    assert TemporaryAccessPass.objects.get().redemption_count == 1


@pytest.mark.parametrize("again", range(3))
def test_redeem__of_32_at_once_by_one_upn_exactly_one_wins(
    again: int, robin: Any, issue: Issue, hasher: type[CountingHasher]
) -> None:
    """As somebody who was handed a one-time pass would race for it: throttled, and yet one gets through."""
    issued = issue(robin, now=NOW, is_usable_once=True)
    hasher.computed.clear()
    outcomes = all_at_once(*[partial(redeem, issued.passcode.reveal())] * MANY)
    assert kinds(outcomes)["SignIn"] == 1, kinds(outcomes)
    assert set(kinds(outcomes)) <= {"SignIn", "PassNotUsable", "TooManyAttempts"}, outcomes
    assert len(hasher.computed) <= MOST_BY_UPN + 1  # the winner's attempt is taken back
    assert_spent_once()


def test_sign_in_with_pass__of_32_posts_at_once_exactly_one_wins(robin: Any, issue: Issue) -> None:
    issued = issue(robin, is_usable_once=True)

    def post() -> int:
        typed = {"upn": robin.upn, "passcode": issued.passcode.reveal()}
        return Browser().post("/account/sign-in/pass/", typed).status_code

    outcomes = Counter(all_at_once(*[post] * MANY))
    assert outcomes[302] == 1, outcomes
    assert set(outcomes) <= {302, 200, 429}, outcomes
    assert_spent_once()


def test_redeem__of_many_at_once_all_use_a_multi_use_pass(robin: Any, issue: Issue, aliases: None, hasher: Any) -> None:
    issued = issue(robin, now=NOW, is_usable_once=False)
    outcomes = all_at_once(*[partial(redeem, issued.passcode.reveal(), number=number) for number in range(16)])
    assert kinds(outcomes) == {"SignIn": 16}, outcomes
    assert TemporaryAccessPass.objects.get().redemption_count == 16
    assert SignIn.objects.count() == 16


def test_redeem__of_many_people_from_one_address_all_get_in(make_user: MakeUser, issue: Issue, hasher: Any) -> None:
    """A classroom at nine o'clock: no deadlock in the counters that they share."""
    people = [make_user(f"user-{number}", email="") for number in range(24)]  # who are told nothing by mail
    passes = [issue(user, now=NOW, is_usable_once=True) for user in people]
    client = Client(address="203.0.113.7")
    calls = [
        partial(
            redeem_pass,
            upn=issued.temporary_access_pass.user.upn,
            passcode=issued.passcode.reveal(),
            client=client,
            now=NOW,
        )
        for issued in passes
    ]
    outcomes = all_at_once(*calls)
    assert kinds(outcomes) == {"SignIn": len(passes)}, outcomes
    assert set(AttemptCounter.objects.values_list("count", flat=True)) == {0}


# Issue 2, row "eleventh wrong guess": also when they come at once


@pytest.mark.parametrize("upn", ["robin@example.test", "nobody@example.test"])
def test_redeem__of_32_wrong_guesses_at_once_at_most_ten_are_hashed(
    upn: str, robin: Any, issue: Issue, hasher: type[CountingHasher]
) -> None:
    issue(robin, now=NOW)
    hasher.computed.clear()
    near_miss = first_group_of(TemporaryAccessPass.objects.get().pk).reveal() + "0000"
    guess = partial(redeem_pass, upn=upn, passcode=near_miss, client=Client(), now=NOW)
    outcomes = all_at_once(*[guess] * MANY)
    assert {type(outcome) for outcome in outcomes} <= {PasscodeNotAccepted, TooManyAttempts}, outcomes
    assert 1 <= len(hasher.computed) <= MOST_BY_UPN
    assert kinds(outcomes)["PasscodeNotAccepted"] == len(hasher.computed)
    if upn == robin.upn:
        assert TemporaryAccessPass.objects.get().failed_attempts == len(hasher.computed)


def test_redeem__wrong_guesses_at_once_are_all_counted_against_the_pass(
    robin: Any, issue: Issue, aliases: None, hasher: Any
) -> None:
    """NIST SP 800-63B-4 §3.2.2: no lost update hides a failure."""
    issue(robin, now=NOW)
    near_miss = first_group_of(TemporaryAccessPass.objects.get().pk).reveal() + "0000"
    outcomes = all_at_once(*[partial(redeem, near_miss, number=number) for number in range(MANY)])
    assert kinds(outcomes) == {"PasscodeNotAccepted": MANY}, outcomes
    assert TemporaryAccessPass.objects.get().failed_attempts == MANY


# Redeeming while administrators act on the same pass: somebody is first, and nobody sees an error of the database


def assert_nothing_is_left_open() -> None:
    """A sign-in by a pass that is gone is over, whoever was first."""
    held = set(TemporaryAccessPass.objects.values_list("pk", flat=True))
    for sign_in in SignIn.objects.opened_by_a_pass():
        found = find_sign_in(sign_in.pk)
        assert found is not None
        assert (why_over(found, now=NOW) is None) <= (found.pass_id in held)


def redeem_on_and_on(passcode: str, *, number: int) -> list[SignIn | RedemptionRefused]:
    outcomes: list[SignIn | RedemptionRefused] = []
    for _ in range(3):  # of eight, which is below what one pass opens in ten minutes
        try:
            outcomes.append(redeem(passcode, number=number))
        except RedemptionRefused as refusal:
            outcomes.append(refusal)
    return outcomes


def race(passcode: str, *acts: Callable[[], Any]) -> list[Any]:
    """Redeem on and on while others, having redeemed once themselves, act; return what the acts came to."""

    def act_amidst(act: Callable[[], Any], number: int) -> Any:
        redeem(passcode, number=number)
        return act()

    redeeming = [partial(redeem_on_and_on, passcode, number=number) for number in range(8)]
    acting = [partial(act_amidst, act, number) for number, act in enumerate(acts, start=8)]
    outcomes = all_at_once(*redeeming, *acting)
    assert all(isinstance(outcome, list) for outcome in outcomes[:8]), outcomes
    assert SignIn.objects.exists()
    return outcomes[8:]


@pytest.mark.parametrize("again", range(4))
def test_redeem__while_the_pass_is_replaced(
    again: int, robin: Any, admin: Any, issue: Issue, aliases: None, hasher: Any
) -> None:
    """Peer failure 15: whoever comes first, what the old pass opened does not survive."""
    issued = issue(robin, now=NOW)
    replace = partial(issue_pass, actor=admin, user=robin, now=NOW)
    outcomes = race(issued.passcode.reveal(), replace)
    assert kinds(outcomes) == {"IssuedPass": 1}, outcomes
    assert TemporaryAccessPass.objects.get() == outcomes[0].temporary_access_pass
    assert not SignIn.objects.not_ended().exists()
    assert_nothing_is_left_open()


@pytest.mark.parametrize("again", range(4))
def test_redeem__while_the_pass_is_revoked(
    again: int, robin: Any, admin: Any, issue: Issue, aliases: None, hasher: Any
) -> None:
    """Peer failure 15."""
    issued = issue(robin, now=NOW)
    revoke = partial(revoke_pass, actor=admin, temporary_access_pass=issued.temporary_access_pass, now=NOW)
    assert race(issued.passcode.reveal(), revoke) == [None]
    assert not SignIn.objects.not_ended().exists()
    assert_nothing_is_left_open()


@pytest.mark.parametrize("again", range(4))
def test_redeem__while_the_policy_is_turned_off(
    again: int, robin: Any, admin: Any, issue: Issue, aliases: None, hasher: Any
) -> None:
    """A redemption that read the policy before it changed may still be accepted, but opens nothing."""
    issued = issue(robin, now=NOW)
    outcomes = race(issued.passcode.reveal(), partial(change_policy, actor=admin, now=NOW, enabled=False))
    assert kinds(outcomes) == {"TemporaryAccessPassPolicy": 1}, outcomes
    for sign_in in SignIn.objects.all():
        found = find_sign_in(sign_in.pk)
        assert found is not None
        assert why_over(found, now=NOW) is SignIn.EndedReason.POLICY


def test_redeem__while_the_holder_is_signed_in_elsewhere_and_everything_happens(
    robin: Any, admin: Any, issue: Issue, aliases: None, hasher: Any
) -> None:
    """A busy minute: redeem, guess, replace, revoke and change the policy, over and over."""
    for _ in range(3):
        issued = issue(robin, now=NOW)
        held = issued.temporary_access_pass
        outcomes = all_at_once(
            *[partial(redeem, issued.passcode.reveal(), number=number) for number in range(6)],
            *[partial(redeem, WRONG, number=number) for number in range(6, 10)],
            *[partial(issue_pass, actor=admin, user=robin, now=NOW) for _ in range(2)],
            partial(revoke_pass, actor=admin, temporary_access_pass=held, now=NOW),
            partial(change_policy, actor=admin, now=NOW, passcode_length=9),
        )
        errors = [each for each in outcomes if isinstance(each, Exception) and not isinstance(each, RedemptionRefused)]
        assert not errors
        assert TemporaryAccessPass.objects.count() <= 1
        assert_nothing_is_left_open()


def test_threads__really_meet(robin: Any, issue: Issue) -> None:
    """The races above are worth something: read, then write, loses."""
    held = issue(robin, now=NOW, is_usable_once=False).temporary_access_pass

    def read_then_write() -> None:
        read = TemporaryAccessPass.objects.get(pk=held.pk)
        TemporaryAccessPass.objects.filter(pk=held.pk).update(redemption_count=read.redemption_count + 1)

    for _ in range(20):
        TemporaryAccessPass.objects.update(redemption_count=0)
        all_at_once(*[read_then_write] * 16)
        if TemporaryAccessPass.objects.get().redemption_count < 16:
            return
    pytest.fail(f"never once in 20 rounds on {connection.vendor}")
