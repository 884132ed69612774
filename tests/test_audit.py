"""The audit trail: append-only, complete, in the transaction that it records, and without a secret."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from django.db import DatabaseError, transaction

from tap_provider import audit
from tap_provider.exceptions import IssueNotAllowed, PasscodeNotAccepted
from tap_provider.hooks import Hooks
from tap_provider.issue import issue_pass, revoke_pass
from tap_provider.models import AuditEvent
from tap_provider.policy import change_policy
from tap_provider.redeem import redeem_pass
from tap_provider.sign_in import Client

from .conftest import HOUR, MINUTE, NOW

Kind = AuditEvent.Kind
ORIGIN = Client(address="203.0.113.7", user_agent="Browser/1.0")


@pytest.fixture
def event(robin: Any, admin: Any) -> AuditEvent:
    return audit.record(Kind.PASS_ISSUED, now=NOW, actor=admin, user=robin, reason="lost phone")


def test_record__keeps_who_what_when_and_where(robin: Any, admin: Any) -> None:
    event = audit.record(Kind.PASS_REFUSED, now=NOW, actor=admin, user=robin, address="2001:db8::7", reason="why")
    event.refresh_from_db()
    assert (event.kind, event.at, event.address) == (Kind.PASS_REFUSED, NOW, "2001:db8::7")
    assert (event.actor_key, event.actor_name) == (str(admin.pk), admin.upn)
    assert (event.user_key, event.user_name) == (str(robin.pk), robin.upn)
    assert event.detail == {"reason": "why"}


def test_record__nobody_is_empty(db: None) -> None:
    event = audit.record(Kind.PASS_REFUSED, now=NOW)
    assert (event.actor_key, event.actor_name, event.user_key, event.user_name) == ("", "", "", "")


def test_record__outlives_the_people_in_it(event: AuditEvent, robin: Any, admin: Any) -> None:
    key = str(robin.pk)
    robin.delete()
    admin.delete()
    event.refresh_from_db()
    assert (event.user_key, event.user_name, event.actor_name) == (key, "robin@example.test", "admin@example.test")


def test_record__is_part_of_the_transaction_that_it_records(robin: Any) -> None:
    with transaction.atomic():
        audit.record(Kind.PASS_REDEEMED, now=NOW, user=robin)
        transaction.set_rollback(True)
    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize(
    "alter",
    [
        lambda event: event.save(),
        lambda event: event.save(update_fields=["detail"]),
        lambda event: event.delete(),
        lambda event: AuditEvent.objects.update(kind=Kind.PASS_REVOKED),
        lambda event: AuditEvent.objects.all().delete(),
        lambda event: AuditEvent.objects.filter(pk=event.pk).delete(),
        lambda event: AuditEvent.objects.bulk_update([event], ["kind"]),
        lambda event: AuditEvent.objects.update_or_create(pk=event.pk, defaults={"kind": Kind.PASS_REVOKED}),
    ],
    ids=["save", "save fields", "delete", "update", "delete all", "delete some", "bulk update", "update or create"],
)
def test_audit_event__is_append_only(alter: Callable[[AuditEvent], Any], event: AuditEvent) -> None:
    event.kind = Kind.PASS_REVOKED
    with pytest.raises(TypeError, match="append-only"), transaction.atomic():
        alter(event)
    assert [stored.kind for stored in AuditEvent.objects.all()] == [Kind.PASS_ISSUED]


def test_audit_event__cannot_be_overwritten_by_a_new_one_of_its_key(event: AuditEvent) -> None:
    """Django updates where a new object brings the key of a stored row."""
    forged = AuditEvent(pk=event.pk, kind=Kind.PASS_REVOKED, at=NOW + HOUR)
    with suppress(TypeError, DatabaseError), transaction.atomic():
        forged.save()
    assert AuditEvent.objects.get(pk=event.pk).kind == Kind.PASS_ISSUED


def test_audit_event__every_step_of_a_life_is_recorded(robin: Any, admin: Any, make_user: Callable[..., Any]) -> None:
    """Peer failure 11 and NIST SP 800-63B-4: a record of each step, with time and source."""
    change_policy(actor=admin, now=NOW, enabled=True)
    with pytest.raises(IssueNotAllowed):
        issue_pass(actor=robin, user=admin, now=NOW)
    first = issue_pass(actor=admin, user=robin, now=NOW, reason="lost phone").temporary_access_pass
    second = issue_pass(actor=admin, user=robin, now=NOW + MINUTE)
    with pytest.raises(PasscodeNotAccepted):
        redeem_pass(upn=robin.upn, passcode="0" * 8, client=ORIGIN, now=NOW + 2 * MINUTE)
    sign_in = redeem_pass(upn=robin.upn, passcode=second.passcode.reveal(), client=ORIGIN, now=NOW + 3 * MINUTE)
    held = second.temporary_access_pass
    revoke_pass(actor=admin, temporary_access_pass=held, now=NOW + 4 * MINUTE, reason="found again")

    told = [(event.kind, event.at, event.pass_id, event.sign_in_id) for event in AuditEvent.objects.order_by("pk")]
    assert told == [
        (Kind.POLICY_CHANGED, NOW, None, None),
        (Kind.ISSUE_REFUSED, NOW, None, None),
        (Kind.PASS_ISSUED, NOW, first.pk, None),
        (Kind.PASS_REPLACED, NOW + MINUTE, first.pk, None),
        (Kind.PASS_ISSUED, NOW + MINUTE, held.pk, None),
        (Kind.PASS_REFUSED, NOW + 2 * MINUTE, held.pk, None),
        (Kind.PASS_REDEEMED, NOW + 3 * MINUTE, held.pk, sign_in.pk),
        (Kind.PASS_REVOKED, NOW + 4 * MINUTE, held.pk, None),
        (Kind.SIGN_IN_ENDED, NOW + 4 * MINUTE, held.pk, sign_in.pk),
    ]
    by_kind = {event.kind: event for event in AuditEvent.objects.all()}
    assert by_kind[Kind.ISSUE_REFUSED].actor_name == robin.upn
    assert by_kind[Kind.ISSUE_REFUSED].detail == {"code": "missing_permission"}
    assert by_kind[Kind.PASS_REPLACED].detail == {"by": str(held.pk)}
    assert by_kind[Kind.PASS_REDEEMED].address == by_kind[Kind.PASS_REFUSED].address == "203.0.113.7"
    assert by_kind[Kind.PASS_REDEEMED].detail["user_agent"] == "Browser/1.0"
    assert by_kind[Kind.PASS_REVOKED].detail["reason"] == "found again"
    assert by_kind[Kind.SIGN_IN_ENDED].detail == {"reason": "pass_revoked"}
    assert by_kind[Kind.SIGN_IN_ENDED].actor_name == admin.upn


def test_audit_event__of_a_refused_redemption_holds_nothing_that_was_typed(issue: Any, robin: Any) -> None:
    """What somebody types as a passcode, or as a UPN, may be their password."""
    issue(robin, now=NOW)
    for upn in (robin.upn, "hunter2@typed.test"):
        with pytest.raises(PasscodeNotAccepted):
            redeem_pass(upn=upn, passcode="HVNTER22", client=ORIGIN, now=NOW)
    told = [str(AuditEvent.objects.filter(pk=event.pk).values()) for event in AuditEvent.objects.all()]
    assert not any("HVNTER22" in text or "hunter2" in text for text in told)


class LongNames(Hooks):
    def get_upn(self, user: Any) -> str:
        return "n" * 1000


def test_audit_event__long_names_are_cut_to_what_the_column_takes(robin: Any, settings: Any) -> None:
    settings.TAP_PROVIDER_HOOKS = "tests.test_audit.LongNames"
    assert len(audit.record(Kind.PASS_ISSUED, now=NOW, user=robin).user_name) == 255
