"""What the holder of a pass sees of it, and deleting it."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any
from uuid import uuid4

import pytest

from tap_provider.models import AuditEvent, SignIn, TemporaryAccessPass
from tap_provider.own_pass import DISCARDED, OwnPass, discard_own_pass, own_pass
from tap_provider.policy import resolve_policy
from tap_provider.redeem import redeem_pass
from tap_provider.sign_in import Client
from tap_provider.signals import pass_revoked
from tap_provider.usability import UsabilityReason

from .conftest import HOUR, MINUTE, NOW
from .test_sign_out import HERE, begin, reasons

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("hasher")]  # a cheap one


def seen(user: Any, *, now: Any = NOW) -> OwnPass | None:
    return own_pass(user, policy=resolve_policy(user), now=now)


def discard(sign_in: SignIn, pass_id: Any) -> bool:
    return discard_own_pass(sign_in=sign_in, pass_id=pass_id, client=HERE, now=NOW + MINUTE)


def test_own_pass__tells_from_when_until_when_how_often_and_whether_used(robin: Any, issue: Any) -> None:
    issued = issue(robin, now=NOW, starts_at=NOW + MINUTE, is_usable_once=True)
    held = issued.temporary_access_pass
    told = OwnPass(
        id=held.pk,
        starts_at=NOW + MINUTE,
        expires_at=NOW + MINUTE + HOUR,
        is_usable_once=True,
        last_used_at=None,
        usability=UsabilityReason.NOT_YET_VALID,
    )
    assert seen(robin) == told
    redeem_pass(upn=robin.upn, passcode=issued.passcode.reveal(), client=Client(), now=NOW + 2 * MINUTE)
    used = seen(robin)
    assert used is not None
    assert (used.last_used_at, used.usability) == (NOW + 2 * MINUTE, UsabilityReason.ONE_TIME_USED)


def test_own_pass__holds_nothing_that_opens_it_nor_who_issued_it_and_why(robin: Any, issue: Any, admin: Any) -> None:
    issued = issue(robin, now=NOW, reason="identified by passport")
    told = repr(asdict(seen(robin)))  # type: ignore[arg-type]
    secrets = (issued.passcode.reveal(), issued.temporary_access_pass.passcode_hash, "passport", admin.upn)
    assert [secret for secret in secrets if secret in told] == []
    names = {field.name for field in fields(OwnPass)}
    assert names == {"id", "starts_at", "expires_at", "is_usable_once", "last_used_at", "usability"}


def test_own_pass__is_ones_own(robin: Any, admin: Any, issue: Any) -> None:
    issue(robin, now=NOW)
    assert seen(admin) is None


def test_discard_own_pass__ends_it_and_what_it_opened_this_session_too(robin: Any, issue: Any) -> None:
    issued = issue(robin, now=NOW)
    by_pass = [
        redeem_pass(upn=robin.upn, passcode=issued.passcode.reveal(), client=Client(), now=NOW) for _ in range(2)
    ]
    full = begin(robin)
    assert discard(by_pass[0], str(issued.temporary_access_pass.pk))
    assert not TemporaryAccessPass.objects.exists()
    revoked = SignIn.EndedReason.PASS_REVOKED
    assert reasons() == {by_pass[0].pk: revoked, by_pass[1].pk: revoked, full.pk: ""}


def test_discard_own_pass__is_in_the_trail_with_who_whence_and_why(robin: Any, issue: Any) -> None:
    held, full = issue(robin, now=NOW).temporary_access_pass, begin(robin)
    discard(full, held.pk)
    event = AuditEvent.objects.get(kind=AuditEvent.Kind.PASS_REVOKED)
    assert (event.actor_name, event.user_name, event.at) == (robin.upn, robin.upn, NOW + MINUTE)
    assert (event.pass_id, event.sign_in_id, event.address) == (held.pk, full.pk, HERE.address)
    assert event.detail == {"reason": DISCARDED}


@pytest.mark.django_db(transaction=True)
def test_discard_own_pass__is_told_as_revoked_by_its_holder(robin: Any, issue: Any) -> None:
    told: list[Any] = []

    def note(sender: Any, pass_id: Any, user: Any, actor: Any, **kwargs: Any) -> None:
        told.append((pass_id, user, actor))

    held = issue(robin, now=NOW).temporary_access_pass
    pass_revoked.connect(note)
    try:
        discard(begin(robin), held.pk)
        discard(begin(robin), held.pk)
    finally:
        pass_revoked.disconnect(note)
    assert told == [(held.pk, robin, robin)]


@pytest.mark.parametrize("what", ["another user's", "replaced", "unknown", "", "x", "\x00", "\ud800", None], ids=repr)
def test_discard_own_pass__of_any_other_pass_deletes_nothing(robin: Any, admin: Any, issue: Any, what: Any) -> None:
    replaced = issue(robin, now=NOW).temporary_access_pass.pk
    issue(robin, now=NOW)
    others = TemporaryAccessPass.objects.create(
        user=admin,
        passcode_hash="x",
        created_at=NOW,
        starts_at=NOW,
        lifetime_minutes=60,
        expires_at=NOW + HOUR,
    )
    pass_id = {"another user's": others.pk, "replaced": replaced, "unknown": uuid4()}.get(what, what)
    assert not discard(begin(robin), pass_id)
    assert TemporaryAccessPass.objects.count() == 2
    assert not AuditEvent.objects.filter(kind=AuditEvent.Kind.PASS_REVOKED).exists()
