"""Sign-ins: one record per authentication event; the session carries only its id."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.sessions.backends.db import SessionStore as DatabaseSession
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.db import OperationalError, connection, transaction
from django.db.models.signals import pre_delete
from django.http import HttpRequest
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from tap_provider.models import AuditEvent, Level, SignIn
from tap_provider.sign_in import (
    SESSION_KEY,
    Client,
    adopt_session,
    begin_sign_in,
    end_overdue_sign_ins,
    end_sign_in,
    end_sign_ins,
    find_sign_in,
    hold_sign_in,
    hold_user,
    put_in_session,
    replace_sign_in,
    sign_in_ending,
    sign_in_of_session,
)

from .conftest import HOUR, MINUTE, NOW, all_at_once

Reason = SignIn.EndedReason

pytestmark = pytest.mark.django_db


@pytest.fixture
def request_(rf: RequestFactory) -> HttpRequest:
    """A request with an empty session."""
    return with_session(rf.get("/", headers={"user-agent": "Browser/1.0"}))


def with_session(request: HttpRequest, session: Any = None) -> HttpRequest:
    request.session = SessionStore() if session is None else session  # an empty one is false from Django 6.1 on
    return request


def begin(user: Any, **more: Any) -> SignIn:
    facts: dict[str, Any] = {
        "methods": ["password"],
        "amr": ["pwd"],
        "level": Level.SINGLE_FACTOR,
        "client": Client(),
        "now": NOW,
        "authenticated_at": NOW,
    }
    return begin_sign_in(user=user, **{**facts, **more})


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("Browser/1.0", "Browser/1.0"),
        ("", ""),
        ("A" * 1000, "A" * 256),
        ("Brow\x00ser", "Browser"),
        ("\xff\xfe\N{SNOWMAN}", "\xff\xfe\N{SNOWMAN}"),
    ],
    ids=ascii,
)
def test_client__keeps_of_the_user_agent_what_a_column_takes(
    told: str, kept: str, rf: RequestFactory, robin: Any
) -> None:
    client = Client.of(rf.get("/", HTTP_USER_AGENT=told, REMOTE_ADDR="203.0.113.7"))
    assert client == Client(address="203.0.113.7", user_agent=kept)
    sign_in = begin(robin, client=client)
    sign_in.refresh_from_db()
    assert (sign_in.address, sign_in.user_agent) == ("203.0.113.7", kept)


def test_begin_sign_in__records_what_is_known(robin: Any) -> None:
    sign_in = begin(robin, methods=("password", "totp"), amr=("mfa", "otp", "pwd"), level=Level.MULTI_FACTOR)
    sign_in.refresh_from_db()
    assert (sign_in.methods, sign_in.amr, sign_in.level) == (
        ["password", "totp"],
        ["mfa", "otp", "pwd"],
        "multi_factor",
    )
    assert (sign_in.user, sign_in.authenticated_at, sign_in.created_at) == (robin, NOW, NOW)
    assert (sign_in.deadline, sign_in.ended_at, sign_in.pass_id) == (None, None, None)


def test_adopt_session__claims_nothing(robin: Any, request_: HttpRequest) -> None:
    """A full session that predates the installation: single factor, and nobody knows when."""
    sign_in = adopt_session(request_, robin, now=NOW)
    sign_in.refresh_from_db()
    assert (sign_in.level, sign_in.authenticated_at) == (Level.SINGLE_FACTOR, None)
    assert (sign_in.methods, sign_in.amr) == ([], [])
    assert request_.session[SESSION_KEY] == str(sign_in.pk)


def test_adopt_session__of_a_session_in_a_cookie_happens_once(rf: RequestFactory, robin: Any) -> None:
    """A copy of the old cookie names no sign-in, and would be adopted again each time it is sent."""
    adopted = adopt_session(with_session(rf.get("/")), robin, now=NOW)
    other = adopt_session(with_session(rf.get("/")), robin, now=NOW)  # another old browser
    assert None not in {adopted, other}
    end_sign_in(adopted, reason=Reason.ENDED_ELSEWHERE, now=NOW)
    assert adopt_session(with_session(rf.get("/")), robin, now=NOW) is None
    elsewhere = with_session(rf.get("/"), DatabaseSession())
    assert adopt_session(elsewhere, robin, now=NOW) is not None  # that one keeps what it carries


def test_put_in_session__carries_only_the_id(robin: Any, request_: HttpRequest) -> None:
    sign_in = begin(robin)
    put_in_session(request_, sign_in)
    assert dict(request_.session.items()) == {SESSION_KEY: str(sign_in.pk)}


@pytest.mark.default_database
def test_sign_in_of_session__is_one_query_kept_on_the_request(
    robin: Any, request_: HttpRequest, rf: RequestFactory, django_assert_num_queries: Any
) -> None:
    sign_in = begin(robin)
    put_in_session(request_, sign_in)
    again = with_session(rf.get("/"), request_.session)
    with django_assert_num_queries(1):
        found = sign_in_of_session(again)
        assert found == sign_in
        assert found.user == robin
        assert sign_in_of_session(again) is found


def test_sign_in_of_session__anonymous_visitors_cost_nothing(
    request_: HttpRequest, rf: RequestFactory, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(0):
        assert sign_in_of_session(request_) is None
        assert sign_in_of_session(rf.get("/")) is None  # no session middleware at all


def test_sign_in_of_session__follows_the_session_not_the_request(robin: Any, request_: HttpRequest) -> None:
    """Peer failure 5: after a change of the session, what the request remembers of the old one is wrong."""
    first, second = begin(robin), begin(robin)
    put_in_session(request_, first)
    assert sign_in_of_session(request_) == first
    request_.session[SESSION_KEY] = str(second.pk)
    assert sign_in_of_session(request_) == second
    request_.session.flush()
    assert sign_in_of_session(request_) is None


@pytest.mark.parametrize("junk", ["", "x", "\x00", "1", "0" * 32, "{}", "' OR 1=1", "\ud800", 7], ids=ascii)
def test_find_sign_in__of_anything_else_is_none(junk: Any) -> None:
    assert find_sign_in(junk) is None


def test_find_sign_in__takes_no_other_kind_of_id(robin: Any, issue: Any) -> None:
    """Peer failure 6: a pass's id, a passcode or a user's key never find a sign-in."""
    issued = issue(robin, now=NOW)
    begin(robin)
    for secret in (issued.temporary_access_pass.pk, issued.passcode.reveal(), robin.pk, uuid4()):
        assert find_sign_in(secret) is None


def test_find_sign_in__tells_what_is_left_of_the_pass(robin: Any, issue: Any) -> None:
    held = issue(robin, now=NOW, is_usable_once=True).temporary_access_pass
    sign_in = begin(robin, pass_id=held.pk, deadline=held.expires_at, level=Level.MULTI_FACTOR)
    assert find_sign_in(sign_in.pk).pass_is_usable_once is True  # type: ignore[union-attr]
    held.delete()
    assert find_sign_in(str(sign_in.pk)).pass_is_usable_once is None  # type: ignore[union-attr]
    assert find_sign_in(begin(robin).pk).pass_is_usable_once is None  # type: ignore[union-attr]


@pytest.mark.default_database
def test_find_sign_in__takes_a_user_who_was_read_already(
    robin: Any, issue: Any, django_assert_num_queries: Any
) -> None:
    held = issue(robin, now=NOW, is_usable_once=True).temporary_access_pass
    sign_in = begin(robin, pass_id=held.pk, deadline=held.expires_at, level=Level.MULTI_FACTOR)
    with django_assert_num_queries(1):
        found = find_sign_in(sign_in.pk, user=robin)
        assert found is not None
        assert found.user is robin
    assert found.pass_is_usable_once
    assert found.pass_highest_standing == held.highest_standing


def test_find_sign_in__belongs_to_whom_it_belongs_whoever_is_named(robin: Any, admin: Any) -> None:
    found = find_sign_in(begin(robin).pk, user=admin)
    assert found is not None
    assert found.user == robin


def test_end_sign_in__notes_when_and_why_and_records_who(robin: Any, admin: Any) -> None:
    sign_in = begin(robin)
    end_sign_in(sign_in, reason=Reason.PASS_REVOKED, now=NOW + MINUTE, actor=admin)
    assert (sign_in.ended_at, sign_in.ended_reason) == (NOW + MINUTE, Reason.PASS_REVOKED)
    stored = SignIn.objects.get()
    assert (stored.ended_at, stored.ended_reason) == (NOW + MINUTE, Reason.PASS_REVOKED)
    event = AuditEvent.objects.get()
    assert (event.kind, event.sign_in_id, event.at) == (AuditEvent.Kind.SIGN_IN_ENDED, sign_in.pk, NOW + MINUTE)
    assert (event.actor_name, event.user_name, event.detail) == (admin.upn, robin.upn, {"reason": "pass_revoked"})


def test_end_sign_in__twice_keeps_the_first_reason(robin: Any) -> None:
    sign_in = begin(robin)
    old = SignIn.objects.get(pk=sign_in.pk)  # as another request still holds it
    end_sign_in(sign_in, reason=Reason.SIGNED_OUT, now=NOW)
    end_sign_in(old, reason=Reason.POLICY, now=NOW + HOUR)
    stored = SignIn.objects.get()
    assert (stored.ended_at, stored.ended_reason) == (NOW, Reason.SIGNED_OUT)
    assert AuditEvent.objects.count() == 1


def test_end_sign_ins__tells_how_many_were_not_over_before(robin: Any) -> None:
    sign_ins = [begin(robin) for _ in range(3)]
    end_sign_in(sign_ins[0], reason=Reason.SIGNED_OUT, now=NOW)
    assert end_sign_ins(sign_ins, reason=Reason.POLICY, now=NOW) == 2
    assert end_sign_ins(sign_ins, reason=Reason.POLICY, now=NOW) == 0
    assert end_sign_ins([], reason=Reason.POLICY, now=NOW) == 0


@pytest.mark.django_db(transaction=True)
def test_end_sign_ins__of_fifty_costs_no_more_statements_than_of_two(robin: Any) -> None:
    spent = []
    for number in (2, 50):
        sign_ins = [begin(robin) for _ in range(number)]
        with CaptureQueriesContext(connection) as statements:
            assert end_sign_ins(sign_ins, reason=Reason.POLICY, now=NOW) == number
        spent.append(len(statements))
    assert spent[0] == spent[1]
    ended = AuditEvent.objects.filter(kind=AuditEvent.Kind.SIGN_IN_ENDED).values_list("sign_in_id", flat=True)
    assert len(set(ended)) == len(ended) == 52


@pytest.mark.django_db(transaction=True)
def test_end_sign_ins__of_those_who_end_the_same_at_once_each_ends_once(robin: Any) -> None:
    sign_ins = [begin(robin) for _ in range(20)]
    there, back = (partial(end_sign_ins, some, reason=Reason.POLICY, now=NOW) for some in (sign_ins, sign_ins[::-1]))
    ended = all_at_once(there, back, there, back)
    assert sorted(ended) == [0, 0, 0, 20]
    assert AuditEvent.objects.filter(kind=AuditEvent.Kind.SIGN_IN_ENDED).count() == 20


# Every way in which a sign-in ends is told inside its transaction


@pytest.fixture
def ending() -> Iterator[list[Any]]:
    """The ids of the sign-ins whose ending was told, each inside a transaction that could still be undone."""
    told: list[Any] = []

    def note(sender: Any, sign_ins: list[SignIn], **kwargs: Any) -> None:
        assert connection.in_atomic_block
        for sign_in in sign_ins:
            assert SignIn.objects.get(pk=sign_in.pk).ended_at == sign_in.ended_at is not None
            told.append(sign_in.pk)

    sign_in_ending.connect(note)
    yield told
    sign_in_ending.disconnect(note)


def test_sign_in_ending__is_told_once(robin: Any, ending: list[Any]) -> None:
    sign_in = begin(robin)
    end_sign_in(sign_in, reason=Reason.SIGNED_OUT, now=NOW)
    end_sign_in(sign_in, reason=Reason.SIGNED_OUT, now=NOW)
    assert ending == [sign_in.pk]


@pytest.mark.django_db(transaction=True)
def test_sign_in_ending__a_receiver_that_fails_undoes_the_ending(robin: Any) -> None:
    def fail(**kwargs: Any) -> None:
        raise ZeroDivisionError

    sign_in = begin(robin)
    sign_in_ending.connect(fail)
    try:
        with pytest.raises(ZeroDivisionError):
            end_sign_in(sign_in, reason=Reason.SIGNED_OUT, now=NOW)
    finally:
        sign_in_ending.disconnect(fail)
    assert SignIn.objects.get().ended_at is None
    assert not AuditEvent.objects.filter(kind=AuditEvent.Kind.SIGN_IN_ENDED).exists()


def test_end_overdue_sign_ins__ends_what_is_past_its_deadline_and_nothing_else(robin: Any, ending: list[Any]) -> None:
    over, open_, endless = begin(robin, deadline=NOW), begin(robin, deadline=NOW + MINUTE), begin(robin)
    gone = begin(robin, deadline=NOW)
    end_sign_in(gone, reason=Reason.FINISHED, now=NOW - MINUTE)

    assert end_overdue_sign_ins(now=NOW) == 1

    assert ending == [gone.pk, over.pk]
    reasons = dict(SignIn.objects.values_list("pk", "ended_reason"))
    assert reasons == {over.pk: Reason.DEADLINE, open_.pk: "", endless.pk: "", gone.pk: Reason.FINISHED}


def test_deactivation__ends_every_sign_in_of_the_user_and_of_nobody_else(
    robin: Any, admin: Any, ending: list[Any]
) -> None:
    sign_ins, other = [begin(robin), begin(robin)], begin(admin)

    robin.is_active = False
    robin.save()

    assert set(ending) == {sign_in.pk for sign_in in sign_ins}
    other.refresh_from_db()
    assert other.ended_at is None
    assert {found.ended_reason for found in SignIn.objects.filter(user=robin)} == {Reason.USER_DEACTIVATED}


def test_deactivation__a_user_who_is_saved_as_active_keeps_their_sign_ins(robin: Any, ending: list[Any]) -> None:
    begin(robin)
    robin.save()
    assert ending == []


def test_deletion__of_the_user_ends_their_sign_ins_first(robin: Any, ending: list[Any]) -> None:
    sign_in, gone = begin(robin), begin(robin)
    end_sign_in(gone, reason=Reason.SIGNED_OUT, now=NOW)
    ending.clear()
    before = sign_in.pk
    robin.delete()
    assert ending == [before]
    events = AuditEvent.objects.filter(kind=AuditEvent.Kind.SIGN_IN_ENDED, sign_in_id=before)
    assert [event.detail for event in events] == [{"reason": "user_deactivated"}]


def test_deletion__of_a_user_who_signs_in_meanwhile_takes_that_along(robin: Any, ending: list[Any]) -> None:
    """Django gathers what goes with a user before it deletes them, and a row that comes then would stop it."""
    begin(robin)
    late: list[Any] = []

    def meanwhile(sender: Any, **kwargs: Any) -> None:
        if not late:
            late.append(begin(robin).pk)

    pre_delete.connect(meanwhile, sender=SignIn)
    try:
        robin.delete()
    finally:
        pre_delete.disconnect(meanwhile, sender=SignIn)
    assert not SignIn.objects.exists()
    assert late[0] in ending


# Holding


def test_hold_user__returns_them_as_they_are_now(robin: Any) -> None:
    type(robin)._default_manager.filter(pk=robin.pk).update(is_active=False)
    with transaction.atomic():
        held = hold_user(robin)
    assert held == robin
    assert not held.is_active


def test_hold_user__of_a_user_who_is_gone_returns_none(robin: Any) -> None:
    type(robin)._default_manager.filter(pk=robin.pk).delete()
    with transaction.atomic():
        assert hold_user(robin) is None


def test_hold_sign_in__tells_whether_it_has_not_ended(robin: Any) -> None:
    sign_in, ended, gone = begin(robin), begin(robin), begin(robin)
    end_sign_in(SignIn.objects.get(pk=ended.pk), reason=Reason.SIGNED_OUT, now=NOW)
    SignIn.objects.get(pk=gone.pk).delete()
    with transaction.atomic():
        assert [hold_sign_in(one) for one in (sign_in, ended, gone)] == [True, False, False]


@pytest.mark.default_database
@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="transactions come one after the other there")
def test_hold_sign_in__lets_no_end_pass_by(robin: Any) -> None:
    sign_in = begin(robin)

    def hold_at_once() -> None:
        with transaction.atomic():
            SignIn.objects.select_for_update(nowait=True).get(pk=sign_in.pk)

    with transaction.atomic():
        hold_sign_in(sign_in)
        (outcome,) = all_at_once(hold_at_once)
    assert type(outcome) is OperationalError


def test_adopt_session__of_a_user_who_was_just_deactivated_records_nothing(
    robin: Any, request_: HttpRequest, rf: RequestFactory
) -> None:
    request = with_session(rf.get("/"))
    type(robin)._default_manager.filter(pk=robin.pk).update(is_active=False)
    assert adopt_session(request, robin, now=NOW) is None
    assert not SignIn.objects.exists()


def test_replace_sign_in__of_a_user_who_was_just_deactivated_begins_nothing(robin: Any) -> None:
    sign_in = begin(robin)
    type(robin)._default_manager.filter(pk=robin.pk).update(is_active=False)
    assert replace_sign_in(sign_in, reason=Reason.SIGNED_IN_ANEW, client=Client(), now=NOW) is None
    assert SignIn.objects.count() == 1
