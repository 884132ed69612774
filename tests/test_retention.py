"""What `tap sweep` deletes after the time that the site has set, and what stays."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from tap_provider import audit
from tap_provider.models import AuditEvent, Level, RegisteredMethod, SignIn
from tap_provider.retention import KEPT_EVENTS, sweep_audit_events, sweep_sign_ins
from tap_provider.sign_in import Client as WhereFrom
from tap_provider.sign_in import begin_sign_in, end_sign_in

from .conftest import DAY, NOW

pytestmark = pytest.mark.django_db

LATER = NOW + 31 * DAY


def begin(user: Any, *, ended: bool = True) -> SignIn:
    sign_in = begin_sign_in(
        user=user,
        methods=["password"],
        amr=["pwd"],
        level=Level.SINGLE_FACTOR,
        authenticated_at=NOW,
        now=NOW,
        client=WhereFrom(address="192.0.2.1", user_agent="A browser"),
    )
    if ended:
        end_sign_in(sign_in, reason=SignIn.EndedReason.SIGNED_OUT, now=NOW)
    return sign_in


@pytest.fixture
def thirty_days(settings: Any) -> None:
    settings.TAP_PROVIDER_RETENTION_DAYS = {"sign_ins": 30, "audit_events": 30}


def test_sweep__keeps_everything_by_default(robin: Any) -> None:
    begin(robin)
    assert (sweep_sign_ins(now=LATER), sweep_audit_events(now=LATER)) == (0, 0)
    assert SignIn.objects.exists()
    assert AuditEvent.objects.exists()


@pytest.mark.usefixtures("thirty_days")
def test_sweep_sign_ins__deletes_those_that_ended_long_ago(robin: Any) -> None:
    open_one, ended = begin(robin, ended=False), begin(robin)
    assert sweep_sign_ins(now=NOW + 30 * DAY) == 0
    assert sweep_sign_ins(now=LATER) == 1
    assert list(SignIn.objects.all()) == [open_one]
    assert ended.pk != open_one.pk


def test_sweep_sign_ins__keeps_one_whose_session_may_still_be_there(robin: Any, settings: Any) -> None:
    settings.TAP_PROVIDER_RETENTION_DAYS = {"sign_ins": 1}
    begin(robin)
    assert sweep_sign_ins(now=NOW + 14 * DAY) == 0  # Django's `SESSION_COOKIE_AGE`
    assert sweep_sign_ins(now=NOW + 15 * DAY) == 1


@pytest.mark.usefixtures("thirty_days")
def test_sweep_sign_ins__keeps_one_that_registered_a_method_without_where_it_was(robin: Any) -> None:
    sign_in = begin(robin)
    RegisteredMethod.objects.create(
        user=robin, kind="totp", method_id="1", registered_at=NOW, sign_in_id=sign_in.pk, removed_at=NOW
    )
    assert sweep_sign_ins(now=LATER) == 1
    kept = SignIn.objects.get()
    assert (kept.pk, kept.address, kept.user_agent) == (sign_in.pk, None, "")
    assert sweep_sign_ins(now=LATER) == 0


@pytest.mark.usefixtures("thirty_days")
def test_sweep_audit_events__keeps_those_that_are_asked_for(robin: Any) -> None:
    for kind in AuditEvent.Kind:
        audit.record(kind, now=NOW, user=robin)
    audit.record(AuditEvent.Kind.PASS_ISSUED, now=LATER, user=robin)
    assert sweep_audit_events(now=LATER) == len(AuditEvent.Kind) - len(KEPT_EVENTS)
    assert set(AuditEvent.objects.values_list("kind", flat=True)) == {*KEPT_EVENTS, AuditEvent.Kind.PASS_ISSUED}


@pytest.mark.usefixtures("thirty_days")
def test_sweep__in_parts(robin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tap_provider.databases.AT_ONCE", 2)
    for _ in range(5):
        begin(robin)
    assert sweep_sign_ins(now=LATER) == 5
    assert not SignIn.objects.exists()


@pytest.mark.usefixtures("thirty_days")
def test_session__from_before_the_installation_is_adopted_no_sooner_for_it(robin: Any) -> None:
    """Its user has signed out everywhere since: the event that says so is not swept."""
    audit.record(AuditEvent.Kind.SIGNED_OUT_EVERYWHERE, now=NOW, user=robin)
    sweep_audit_events(now=NOW + timedelta(days=4000))
    browser = Client()
    browser.force_login(robin, backend="tap_provider.backends.ModelBackend")
    session = browser.session
    SignIn.objects.filter(pk=session.pop("tap_provider_sign_in", None)).delete()
    session.save()
    assert browser.get("/members/").status_code == 302
