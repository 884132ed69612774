"""Conflicts of transactions: known by the database's own codes, and the verb sent again, where that is its to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from threading import Barrier, BrokenBarrierError
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings
from django.db import IntegrityError, OperationalError, connection, transaction
from django.test import RequestFactory
from django_otp.plugins.otp_totp.models import TOTPDevice
from django_otp_webauthn.models import WebAuthnCredential

from tap_provider import conflicts
from tap_provider.conflicts import TRIES, is_conflict, retry_conflicts
from tap_provider.issue import issue_pass, revoke_pass
from tap_provider.methods.changes import lose_method, remove_method
from tap_provider.methods.own import own_method
from tap_provider.models import AttemptCounter, AuditEvent, Level, SignIn
from tap_provider.own_pass import discard_own_pass
from tap_provider.policy import change_policy
from tap_provider.redeem import redeem_pass
from tap_provider.sign_in import (
    SESSION_KEY,
    Client,
    begin_sign_in,
    end_overdue_sign_ins,
    end_sign_in,
    has_same_password,
    new_session,
    serving,
    sign_in_ending,
)
from tap_provider.sign_out import end_own_sign_in, sign_out_everywhere

from .conftest import DAY, NOW, all_at_once


def caused(error: Exception, **attributes: Any) -> Exception:
    """Return Django's error as it is raised from a driver's that has these attributes."""
    cause = type("DriverError", (Exception,), attributes)()
    error.__cause__ = cause
    return error


CONFLICTS = {
    "PostgreSQL: deadlock_detected": caused(OperationalError("deadlock detected"), sqlstate="40P01"),
    "PostgreSQL: serialization_failure": caused(OperationalError("could not serialize"), sqlstate="40001"),
    "PostgreSQL by psycopg2": caused(OperationalError("deadlock detected"), pgcode="40P01"),
    "MariaDB: deadlock": caused(OperationalError(1213, "Deadlock found")),
    "MariaDB: lock wait timeout": caused(OperationalError(1205, "Lock wait timeout exceeded")),
    "MariaDB: snapshot": caused(OperationalError(1020, "Record has changed since last read")),
    "SQLite: SQLITE_BUSY": caused(OperationalError("database is locked"), sqlite_errorcode=sqlite3.SQLITE_BUSY),
    "SQLite: SQLITE_BUSY_SNAPSHOT": caused(
        OperationalError("database is locked"), sqlite_errorcode=sqlite3.SQLITE_BUSY_SNAPSHOT
    ),
    "SQLite: SQLITE_LOCKED": caused(OperationalError("table is locked"), sqlite_errorcode=sqlite3.SQLITE_LOCKED),
}

OTHERS = {
    "PostgreSQL: the server is gone": caused(OperationalError("server closed"), sqlstate="57P01"),
    "PostgreSQL: no connection": caused(OperationalError("connection refused"), sqlstate=None),
    "MariaDB: the server is gone": caused(OperationalError(2006, "Server has gone away")),
    "SQLite: no table": caused(OperationalError("no such table"), sqlite_errorcode=sqlite3.SQLITE_ERROR),
    "without a cause": OperationalError("deadlock"),
    "without arguments": OperationalError(),
    "a unique key": caused(IntegrityError(1062, "Duplicate entry"), sqlstate="23505"),
    "of no database": ValueError(1213),
}


@pytest.mark.parametrize("name", CONFLICTS)
def test_is_conflict__knows_the_codes_of_each_database(name: str) -> None:
    assert is_conflict(CONFLICTS[name])


@pytest.mark.parametrize("name", OTHERS)
def test_is_conflict__is_nothing_else(name: str) -> None:
    assert not is_conflict(OTHERS[name])


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="transactions come one after the other there")
def test_is_conflict__knows_a_deadlock_of_this_database() -> None:
    for minute in (1, 2):
        AttemptCounter.objects.create(digest="x", minute=minute, count=0)
    both_hold_one = Barrier(2)

    def lock(*minutes: int) -> None:
        with transaction.atomic():
            for minute in minutes:
                list(AttemptCounter.objects.select_for_update().filter(digest="x", minute=minute))
                with suppress(BrokenBarrierError):
                    both_hold_one.wait(timeout=20)
                both_hold_one.abort()  # the second row is waited for without it

    outcomes = all_at_once(partial(lock, 1, 2), partial(lock, 2, 1))
    failed = [outcome for outcome in outcomes if outcome is not None]
    assert len(failed) == 1
    assert is_conflict(failed[0])


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "sqlite", reason="the other databases lock rows")
def test_is_conflict__knows_that_this_database_is_locked() -> None:
    def write_at_once() -> None:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout = 0")
        with transaction.atomic():
            AttemptCounter.objects.create(digest="x", minute=1, count=0)

    with transaction.atomic():
        (outcome,) = all_at_once(write_at_once)
    assert is_conflict(outcome)


# Sending it again


@pytest.fixture
def verb() -> Callable[..., Any]:
    """A verb that fails as often as it is told, and counts."""

    def make(error: Exception, times: int) -> Any:
        counted = SimpleNamespace(calls=0)

        @retry_conflicts
        def act(value: str, *, named: str) -> str:
            counted.calls += 1
            if counted.calls <= times:
                raise error
            return f"{value} {named}"

        counted.act = partial(act, "a", named="b")
        return counted

    return make


DEADLOCK = CONFLICTS["MariaDB: deadlock"]


@pytest.mark.django_db(transaction=True)
def test_retry_conflicts__begins_again_until_it_succeeds(verb: Callable[..., Any]) -> None:
    made = verb(DEADLOCK, TRIES - 1)
    assert made.act() == "a b"
    assert made.calls == TRIES


@pytest.mark.django_db(transaction=True)
def test_retry_conflicts__gives_up_with_the_last_error(verb: Callable[..., Any]) -> None:
    made = verb(DEADLOCK, TRIES + 1)
    with pytest.raises(OperationalError):
        made.act()
    assert made.calls == TRIES


@pytest.mark.django_db(transaction=True)
def test_retry_conflicts__does_not_begin_again_after_a_long_wait(
    verb: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has waited for MariaDB's 50 seconds would wait as long again."""
    monkeypatch.setattr(conflicts, "PATIENCE", -1.0)
    made = verb(DEADLOCK, 1)
    with pytest.raises(OperationalError):
        made.act()
    assert made.calls == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", [name for name in OTHERS if name != "of no database"])
def test_retry_conflicts__passes_on_whatever_else_happens(name: str, verb: Callable[..., Any]) -> None:
    made = verb(OTHERS[name], 1)
    with pytest.raises(type(OTHERS[name])):
        made.act()
    assert made.calls == 1


@pytest.mark.django_db(transaction=True)
def test_retry_conflicts__within_a_transaction_is_called_once(verb: Callable[..., Any]) -> None:
    """That transaction has failed as a whole: only its beginner can begin it again."""
    made = verb(DEADLOCK, 1)
    with pytest.raises(OperationalError), transaction.atomic():
        made.act()
    assert made.calls == 1


# The verbs that end


@dataclass
class Scene:
    """Somebody with two sign-ins by password, one by a pass, and one by an authenticator app that changes methods."""

    admin: Any
    robin: Any
    issued: Any
    current: SignIn
    opened: SignIn

    def lose(self) -> Any:
        own = own_method(self.robin, "password", "password")
        assert own is not None
        return lose_method(sign_in=self.current, own=own, client=Client(), now=NOW)

    def remove(self) -> Any:
        own = own_method(self.robin, "password", "password")
        assert own is not None
        return remove_method(sign_in=self.current, own=own, client=Client(), now=NOW)

    def set_password(self) -> None:
        """In the session of `current`, which goes on."""
        self.robin.set_password("another-long-enough-phrase")
        request = RequestFactory().post("/")
        request.session = new_session()
        request.session[SESSION_KEY] = str(self.current.pk)
        request.session.save()
        request.COOKIES[settings.SESSION_COOKIE_NAME] = str(request.session.session_key)
        with serving(request):
            self.robin.save()
        kept = SignIn.objects.select_related("user").get(pk=self.current.pk)
        assert kept.ended_at is None
        assert has_same_password(kept)

    def deactivate(self) -> None:
        self.robin.is_active = False
        self.robin.save()


def begin(user: Any, kind: str, method_id: str) -> SignIn:
    return begin_sign_in(
        user=user,
        methods=[kind],
        amr=["pwd"],
        level=Level.MULTI_FACTOR,
        client=Client(),
        now=NOW,
        authenticated_at=NOW,
        used=[(kind, method_id)],
    )


@pytest.fixture
def scene(admin: Any, robin: Any, issue: Any, hasher: Any) -> Scene:
    robin.set_password("a-long-enough-phrase")
    robin.save()
    app = TOTPDevice.objects.create(user=robin, confirmed=True, name="app")
    WebAuthnCredential.objects.create(user=robin, name="key", confirmed=True, credential_id=b"x", public_key=b"x")
    begin(robin, "password", "password")
    issued = issue(robin, now=NOW, is_usable_once=False)
    opened = redeem_pass(upn=robin.upn, passcode=issued.passcode, client=Client(), now=NOW)
    return Scene(admin, robin, issued, begin(robin, "totp", str(app.pk)), opened)


VERBS: dict[str, Callable[[Scene], Any]] = {
    "end_sign_in": lambda s: end_sign_in(s.opened, reason=SignIn.EndedReason.SIGNED_OUT, now=NOW),
    "end_overdue_sign_ins": lambda s: end_overdue_sign_ins(now=NOW + DAY),
    "end_own_sign_in": lambda s: end_own_sign_in(sign_in=s.current, sign_in_id=s.opened.pk, client=Client(), now=NOW),
    "sign_out_everywhere": lambda s: sign_out_everywhere(
        sign_in=s.current, keep_current=True, client=Client(), now=NOW
    ),
    "revoke_pass": lambda s: revoke_pass(actor=s.admin, temporary_access_pass=s.issued.temporary_access_pass, now=NOW),
    "discard_own_pass": lambda s: discard_own_pass(
        sign_in=s.current, pass_id=s.issued.temporary_access_pass.pk, client=Client(), now=NOW
    ),
    "issue_pass": lambda s: issue_pass(actor=s.admin, user=s.robin, now=NOW),
    "change_policy": lambda s: change_policy(actor=s.admin, now=NOW, excluded_users=[s.robin]),
    "lose_method": Scene.lose,
    "remove_method": Scene.remove,
    "deactivation": Scene.deactivate,
    "password_change": Scene.set_password,
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", VERBS)
def test_verbs__that_end_sign_ins_begin_again_after_a_conflict(name: str, scene: Scene) -> None:
    tried: list[set[Any]] = []

    def fail_twice(sender: Any, sign_ins: list[SignIn], **kwargs: Any) -> None:
        tried.append({sign_in.pk for sign_in in sign_ins})
        if len(tried) < 3:
            raise DEADLOCK

    sign_in_ending.connect(fail_twice)
    try:
        VERBS[name](scene)
    finally:
        sign_in_ending.disconnect(fail_twice)
    assert tried[0] == tried[1] == tried[2] != set()
    begun_again = set[Any]().union(*tried)  # and what the verb has ended after that
    assert set(SignIn.objects.exclude(ended_at=None).values_list("pk", flat=True)) == begun_again
    ended = AuditEvent.objects.filter(kind=AuditEvent.Kind.SIGN_IN_ENDED)
    assert set(ended.values_list("sign_in_id", flat=True)) == begun_again
    assert ended.count() == len(begun_again)
