"""Past-tense signals: sent after the commit, never carrying a passcode, and no receiver disturbs anybody."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, transaction
from django.dispatch import Signal

from tap_provider import signals
from tap_provider.exceptions import IssueNotAllowed, PasscodeNotAccepted, PassNotUsable
from tap_provider.issue import issue_pass, revoke_pass
from tap_provider.models import SignIn, TemporaryAccessPass, TemporaryAccessPassPolicy
from tap_provider.policy import change_policy
from tap_provider.redeem import redeem_pass
from tap_provider.sign_in import Client

from .conftest import HOUR, NOW

EVERY_SIGNAL = {name: value for name, value in vars(signals).items() if isinstance(value, Signal)}

Heard = list[tuple[str, dict[str, Any]]]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def heard() -> Iterator[Heard]:
    """What was sent, in order: the signal's name and what it carried."""
    said: Heard = []
    receivers = []
    for name, signal in EVERY_SIGNAL.items():

        def note(sender: Any, signal: Signal, name: str = name, **payload: Any) -> None:
            assert not connection.in_atomic_block, f"{name} was sent before the commit"
            said.append((name, {"sender": sender, **payload}))

        signal.connect(note)
        receivers.append((signal, note))
    yield said
    for signal, note in receivers:
        signal.disconnect(note)


def redeem(user: Any, passcode: str, *, at: Any = NOW) -> SignIn:
    return redeem_pass(upn=user.upn, passcode=passcode, client=Client(), now=at)


def test_signals__tell_of_a_life_in_order(robin: Any, admin: Any, heard: Heard) -> None:
    policy = change_policy(actor=admin, now=NOW, enabled=True)
    issued = issue_pass(actor=admin, user=robin, now=NOW)
    held = issued.temporary_access_pass
    with pytest.raises(PasscodeNotAccepted):
        redeem(robin, "00000000")
    sign_in = redeem(robin, issued.passcode.reveal())
    with pytest.raises(PassNotUsable):
        redeem(robin, issued.passcode.reveal(), at=NOW + HOUR)
    revoke_pass(actor=admin, temporary_access_pass=held, now=NOW)

    of_pass = {"sender": TemporaryAccessPass}
    assert heard == [
        ("policy_changed", {"sender": TemporaryAccessPassPolicy, "policy": policy, "actor": admin}),
        ("pass_issued", {**of_pass, "temporary_access_pass": held, "actor": admin}),
        ("pass_refused", {**of_pass, "user": robin, "code": "passcode_not_accepted"}),
        ("sign_in_begun", {"sender": SignIn, "sign_in": sign_in}),
        ("pass_redeemed", {**of_pass, "user": robin, "sign_in": sign_in}),
        ("pass_refused", {**of_pass, "user": robin, "code": "pass_not_usable"}),
        ("sign_in_ended", {"sender": SignIn, "sign_in": sign_in}),
        ("pass_revoked", {**of_pass, "pass_id": sign_in.pass_id, "user": robin, "actor": admin}),
    ]
    assert heard[-2][1]["sign_in"].ended_reason == SignIn.EndedReason.PASS_REVOKED


def test_pass_refused__of_an_unknown_user_names_nobody(policy_on: Any, heard: Heard) -> None:
    with pytest.raises(PasscodeNotAccepted):
        redeem_pass(upn="nobody@example.test", passcode="00000000", client=Client(), now=NOW)
    assert [(name, payload["user"]) for name, payload in heard] == [("pass_refused", None)]


def test_signals__of_what_was_rolled_back_are_never_sent(robin: Any, admin: Any, policy_on: Any, heard: Heard) -> None:
    with transaction.atomic():
        issued = issue_pass(actor=admin, user=robin, now=NOW)
        redeem(robin, issued.passcode.reveal())
        revoke_pass(actor=admin, temporary_access_pass=issued.temporary_access_pass, now=NOW)
        change_policy(actor=admin, now=NOW, enabled=False)
        assert heard == []
        transaction.set_rollback(True)
    assert heard == []


def test_signals__wait_for_the_commit_of_whoever_called(robin: Any, admin: Any, policy_on: Any, heard: Heard) -> None:
    with transaction.atomic():
        issue_pass(actor=admin, user=robin, now=NOW)
        assert heard == []
    assert [name for name, _ in heard] == ["pass_issued"]


def test_signals__of_what_was_refused_are_not_sent(robin: Any, policy_on: Any, heard: Heard) -> None:
    with pytest.raises(IssueNotAllowed):
        issue_pass(actor=robin, user=robin, now=NOW)
    assert heard == []


def test_signals__never_carry_a_passcode(robin: Any, admin: Any, policy_on: Any, heard: Heard) -> None:
    """Peer failure 19: not even deep within what they carry."""
    issued = issue_pass(actor=admin, user=robin, now=NOW)
    redeem(robin, issued.passcode.reveal())
    replaced = issue_pass(actor=admin, user=robin, now=NOW)
    with pytest.raises(PasscodeNotAccepted):
        redeem(robin, issued.passcode.reveal())
    said = everything_in(heard)
    assert len(heard) == 6
    assert issued.passcode.reveal() not in said
    assert replaced.passcode.reveal() not in said
    assert issued.passcode_for_reading.reveal() not in said


def everything_in(value: Any, *, deep: int = 6) -> str:
    if deep == 0:
        return repr(value)
    if isinstance(value, dict):
        parts = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set):
        parts = list(value)
    elif hasattr(value, "__dict__") and not isinstance(value, type):
        parts = [repr(value), *vars(value).values()]
    else:
        return repr(value)
    return " ".join(everything_in(part, deep=deep - 1) for part in parts)


def fail(sender: Any, **payload: Any) -> None:
    raise ZeroDivisionError("a receiver of the site's")


@pytest.fixture
def failing_receivers() -> Iterator[None]:
    for signal in EVERY_SIGNAL.values():
        signal.connect(fail)
    yield
    for signal in EVERY_SIGNAL.values():
        signal.disconnect(fail)


def test_signals__a_failing_receiver_disturbs_nobody(
    robin: Any, admin: Any, failing_receivers: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, logger="django.dispatch")
    change_policy(actor=admin, now=NOW, enabled=True)
    issued = issue_pass(actor=admin, user=robin, now=NOW)
    with pytest.raises(PasscodeNotAccepted):
        redeem(robin, "00000000")
    redeem(robin, issued.passcode.reveal())
    revoke_pass(actor=admin, temporary_access_pass=issued.temporary_access_pass, now=NOW)
    assert not TemporaryAccessPass.objects.exists()
    assert SignIn.objects.get().ended_reason == SignIn.EndedReason.PASS_REVOKED
    failures = [record for record in caplog.records if record.name == "django.dispatch"]
    assert len(failures) == 7  # as many as signals; each is logged with what went wrong
    assert all(record.exc_info and record.exc_info[0] is ZeroDivisionError for record in failures)
    assert issued.passcode.reveal() not in caplog.text


def test_signals__a_failing_receiver_does_not_keep_the_next_from_hearing(
    robin: Any, admin: Any, policy_on: Any, failing_receivers: None, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    issue_pass(actor=admin, user=robin, now=NOW)
    assert [name for name, _ in heard] == ["pass_issued"]


def test_signals__a_failing_receiver_does_not_disturb_the_page(
    robin: Any, issue: Any, failing_receivers: None, sign_in_with_pass: Callable[..., Any], client: Any
) -> None:
    issued = issue(robin)
    assert sign_in_with_pass(robin.upn, "00000000").status_code == 200
    assert sign_in_with_pass(robin.upn, issued.passcode.reveal()).status_code == 302
    assert client.get("/account/security-info/").status_code == 200


def test_signals__each_is_documented_with_what_it_carries() -> None:
    documented = [line.strip().partition("(")[0] for line in (signals.__doc__ or "").splitlines() if "(sender" in line]
    assert documented == list(EVERY_SIGNAL)
