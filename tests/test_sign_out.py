"""Where one is signed in, and ending that: one sign-in or all, one's own and nobody else's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tap_provider import audit
from tap_provider.exceptions import SignInNotFound
from tap_provider.models import AuditEvent, Level, SignIn
from tap_provider.sign_in import Client, adopt_session, begin_sign_in, end_sign_in
from tap_provider.sign_out import (
    MOST_LISTED,
    end_own_sign_in,
    open_sign_ins,
    sign_out_everywhere,
    signing_out_everywhere,
)
from tap_provider.signals import signed_out_everywhere

from .conftest import HOUR, MINUTE, NOW, all_at_once
from .test_sign_in import with_session

Reason = SignIn.EndedReason
HERE = Client(address="203.0.113.7", user_agent="Browser/1.0")

pytestmark = pytest.mark.django_db


def begin(user: Any, **more: Any) -> SignIn:
    facts: dict[str, Any] = {"methods": ["password"], "amr": ["pwd"], "level": Level.SINGLE_FACTOR, "client": Client()}
    return begin_sign_in(user=user, **{**facts, "now": NOW, "authenticated_at": NOW, **more})


def end_from(sign_in: SignIn, sign_in_id: Any, **more: Any) -> SignIn:
    return end_own_sign_in(sign_in=sign_in, sign_in_id=sign_in_id, client=HERE, **{"now": NOW, **more})


def everywhere(sign_in: SignIn, *, keep: bool, **more: Any) -> int:
    return sign_out_everywhere(sign_in=sign_in, keep_current=keep, client=HERE, **{"now": NOW, **more})


def reasons() -> dict[Any, str]:
    return dict(SignIn.objects.values_list("pk", "ended_reason"))


# Where one is signed in


def test_open_sign_ins__are_neither_ended_nor_past_their_deadline_newest_first(robin: Any, admin: Any) -> None:
    old, new = begin(robin, now=NOW - HOUR), begin(robin, deadline=NOW + MINUTE)
    begin(robin, deadline=NOW)
    end_sign_in(begin(robin), reason=Reason.SIGNED_OUT, now=NOW)
    begin(admin)
    assert open_sign_ins(robin, now=NOW) == [new, old]


def test_open_sign_ins__are_as_many_as_a_page_takes(robin: Any) -> None:
    newest = begin(robin, now=NOW + HOUR)
    for _ in range(MOST_LISTED):
        begin(robin)
    found = open_sign_ins(robin, now=NOW)
    assert len(found) == MOST_LISTED
    assert found[0] == newest


def test_open_sign_ins__are_not_those_whose_session_has_run_out(robin: Any) -> None:
    """Whoever signs in each fortnight would read through a year of them."""
    used, unused = (begin(robin, session_expires_at=NOW + HOUR) for _ in range(2))
    SignIn.objects.filter(pk=used.pk).update(session_expires_at=NOW + 2 * HOUR)
    at_the_latest = NOW + HOUR + 5 * MINUTE  # seen again within five minutes, which is not noted
    assert set(open_sign_ins(robin, now=at_the_latest - timedelta(seconds=1))) == {used, unused}
    assert open_sign_ins(robin, now=at_the_latest) == [used]


def test_open_sign_ins__are_ordered_by_when_they_were_last_seen(robin: Any) -> None:
    first, second = begin(robin), begin(robin, now=NOW + MINUTE)
    SignIn.objects.filter(pk=first.pk).update(last_seen_at=NOW + HOUR)
    assert open_sign_ins(robin, now=NOW + HOUR) == [first, second]


# Ending one


def test_end_own_sign_in__ends_that_one_and_says_from_where(robin: Any) -> None:
    here, there, elsewhere = begin(robin), begin(robin), begin(robin)
    assert end_from(here, str(there.pk)) == there
    assert reasons() == {here.pk: "", there.pk: Reason.ENDED_ELSEWHERE, elsewhere.pk: ""}
    event = AuditEvent.objects.get()
    assert (event.kind, event.sign_in_id, event.actor_name) == ("sign_in_ended", there.pk, robin.upn)
    assert (event.user_name, event.address, event.detail) == (robin.upn, HERE.address, {"reason": "ended_elsewhere"})


def test_end_own_sign_in__of_this_one_is_signing_out(robin: Any) -> None:
    here, there = begin(robin), begin(robin)
    assert end_from(here, here.pk) == here
    assert reasons() == {here.pk: Reason.SIGNED_OUT, there.pk: ""}


@pytest.mark.parametrize("what", ["another user's", "ended", "past its deadline", "unknown"])
def test_end_own_sign_in__of_what_is_not_ones_own_and_open_is_refused_alike(robin: Any, admin: Any, what: str) -> None:
    here = begin(robin)
    ended = begin(robin)
    end_sign_in(ended, reason=Reason.SIGNED_OUT, now=NOW)
    ids = {
        "another user's": begin(admin).pk,
        "ended": ended.pk,
        "past its deadline": begin(robin, deadline=NOW).pk,
        "unknown": uuid4(),
    }
    before = reasons()
    with CaptureQueriesContext(connection) as statements, pytest.raises(SignInNotFound) as refusal:
        end_from(here, ids[what])
    with CaptureQueriesContext(connection) as others, pytest.raises(SignInNotFound) as other:
        end_from(here, uuid4())
    assert len(statements) == len(others)
    assert (refusal.value.code, refusal.value.message) == (other.value.code, other.value.message)
    assert reasons() == before


@pytest.mark.parametrize("junk", ["", "x", "\x00", "1", "{}", "' OR 1=1", "\ud800", "0" * 10_000, 7, None], ids=repr)
def test_end_own_sign_in__of_an_id_that_is_none_is_refused_alike(robin: Any, junk: Any) -> None:
    here = begin(robin)
    with pytest.raises(SignInNotFound) as refusal:
        end_from(here, junk)
    with pytest.raises(SignInNotFound) as other:
        end_from(here, uuid4())
    assert refusal.value.message == other.value.message
    assert reasons() == {here.pk: ""}


@pytest.mark.parametrize("over", ["ended", "deadline"])
def test_end_own_sign_in__from_one_that_is_over_ends_nothing(robin: Any, over: str) -> None:
    here, there = begin(robin, deadline=NOW + MINUTE), begin(robin)
    now = NOW + HOUR if over == "deadline" else NOW
    if over == "ended":
        SignIn.objects.filter(pk=here.pk).update(ended_at=NOW, ended_reason=Reason.SIGNED_OUT)
    with pytest.raises(SignInNotFound):
        end_from(here, there.pk, now=now)
    assert reasons()[there.pk] == ""


# Ending all


@pytest.mark.parametrize("keep", [True, False])
def test_sign_out_everywhere__ends_all_of_the_users_but_the_one_that_is_kept(
    robin: Any, admin: Any, keep: bool
) -> None:
    here, there, other = begin(robin), begin(robin), begin(admin)
    gone = begin(robin)
    end_sign_in(gone, reason=Reason.FINISHED, now=NOW)
    assert everywhere(here, keep=keep) == (1 if keep else 2)
    assert reasons() == {
        here.pk: "" if keep else Reason.SIGNED_OUT_EVERYWHERE,
        there.pk: Reason.SIGNED_OUT_EVERYWHERE,
        gone.pk: Reason.FINISHED,
        other.pk: "",
    }
    event = AuditEvent.objects.get(kind=AuditEvent.Kind.SIGNED_OUT_EVERYWHERE)
    assert (event.actor_name, event.user_name, event.sign_in_id) == (robin.upn, robin.upn, here.pk)
    assert (event.address, event.detail) == (HERE.address, {"ended": 1 if keep else 2, "kept": keep})


def test_sign_out_everywhere__ends_more_than_a_page_lists(robin: Any) -> None:
    here = begin(robin)
    for _ in range(MOST_LISTED + 1):
        begin(robin)
    assert everywhere(here, keep=True) == MOST_LISTED + 1
    assert open_sign_ins(robin, now=NOW) == [here]


def test_sign_out_everywhere__of_fifty_costs_no_more_statements_than_of_two(robin: Any) -> None:
    spent = []
    for number in (2, 50):
        here = begin(robin)
        for _ in range(number):
            begin(robin)
        with CaptureQueriesContext(connection) as statements:
            everywhere(here, keep=False)
        spent.append(len(statements))
    assert spent[0] == spent[1]


@pytest.mark.parametrize("over", ["ended", "deadline"])
def test_sign_out_everywhere__from_one_that_is_over_ends_nothing(robin: Any, over: str) -> None:
    here, there = begin(robin, deadline=NOW + MINUTE), begin(robin)
    now = NOW + HOUR if over == "deadline" else NOW
    if over == "ended":
        SignIn.objects.filter(pk=here.pk).update(ended_at=NOW, ended_reason=Reason.SIGNED_OUT)
    with pytest.raises(SignInNotFound):
        everywhere(here, keep=True, now=now)
    assert reasons()[there.pk] == ""
    assert not AuditEvent.objects.filter(kind=AuditEvent.Kind.SIGNED_OUT_EVERYWHERE).exists()


@pytest.mark.django_db(transaction=True)
def test_sign_out_everywhere__of_two_at_once_one_is_left(robin: Any) -> None:
    """Somebody and a thief, each keeping their own: not both are signed out, nor do both stay."""
    sign_ins = [begin(robin) for _ in range(4)]
    outcomes = all_at_once(*[partial(everywhere, sign_in, keep=True) for sign_in in sign_ins])
    assert sorted(str(outcome) for outcome in outcomes) == ["3", *["That sign-in is not open any more."] * 3]
    assert len(open_sign_ins(robin, now=NOW)) == 1


@pytest.fixture
def undone() -> Iterator[None]:
    """A receiver within the transaction fails."""

    def fail(**kwargs: Any) -> None:
        raise ZeroDivisionError

    signing_out_everywhere.connect(fail)
    yield
    signing_out_everywhere.disconnect(fail)


@pytest.mark.django_db(transaction=True)
def test_sign_out_everywhere__is_all_or_nothing(robin: Any, undone: None) -> None:
    here, there = begin(robin), begin(robin)
    with pytest.raises(ZeroDivisionError):
        everywhere(here, keep=False)
    assert reasons() == {here.pk: "", there.pk: ""}
    assert not AuditEvent.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("keep", [True, False])
def test_sign_out_everywhere__is_told_within_the_transaction_and_after_it(robin: Any, keep: bool) -> None:
    told: list[Any] = []

    def note_within(sender: Any, user: Any, kept: Any, now: Any, **kwargs: Any) -> None:
        assert connection.in_atomic_block
        told.append((sender, user, kept, now))

    def note_after(sender: Any, user: Any, sign_in: Any, ended: int, **kwargs: Any) -> None:
        assert not connection.in_atomic_block
        told.append((sender, user, sign_in, ended))

    here = begin(robin)
    begin(robin)
    signing_out_everywhere.connect(note_within)
    signed_out_everywhere.connect(note_after)
    try:
        ended = everywhere(here, keep=keep)
    finally:
        signing_out_everywhere.disconnect(note_within)
        signed_out_everywhere.disconnect(note_after)
    assert told == [(SignIn, robin, here if keep else None, NOW), (SignIn, robin, here, ended)]
    assert (here.ended_at is None) is keep


# Sessions from before the installation


def test_adopt_session__not_once_its_user_has_signed_out_everywhere(robin: Any, admin: Any, rf: Any) -> None:
    everywhere(begin(robin), keep=True)
    assert adopt_session(with_session(rf.get("/")), robin, now=NOW) is None
    assert adopt_session(with_session(rf.get("/")), admin, now=NOW) is not None
    assert SignIn.objects.filter(user=robin).count() == 1


def test_adopt_session__not_once_its_user_has_lost_a_method(robin: Any, admin: Any, rf: Any) -> None:
    """Nobody knows what a session from before the installation was made with: on the lost phone, perhaps."""
    audit.record(AuditEvent.Kind.METHOD_LOST, now=NOW, user=robin)

    assert adopt_session(with_session(rf.get("/")), robin, now=NOW) is None
    assert adopt_session(with_session(rf.get("/")), admin, now=NOW) is not None


@pytest.mark.django_db(transaction=True)
def test_adopt_session__at_the_very_moment_outlives_nothing(robin: Any, rf: Any) -> None:
    here = begin(robin)
    adopt = [partial(adopt_session, with_session(rf.get("/")), robin, now=NOW) for _ in range(7)]
    outcomes = all_at_once(partial(everywhere, here, keep=True), *adopt)
    assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == []
    assert open_sign_ins(robin, now=NOW) == [here]
