"""Step 1: who may hold a pass, and within which bounds; off until an administrator turns it on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group
from django.db import OperationalError, connection, transaction
from django.forms.models import model_to_dict

from tap_provider.exceptions import InvalidPolicy, NotAllowed
from tap_provider.forms import PolicyForm
from tap_provider.models import AuditEvent, SignIn, TemporaryAccessPassPolicy
from tap_provider.policy import (
    change_policy,
    end_sessions_no_longer_allowed,
    hold_policy,
    resolve_policy,
)
from tap_provider.redeem import redeem_pass
from tap_provider.registration_session import why_over
from tap_provider.sign_in import Client, find_sign_in

from .conftest import DAY, HOUR, MINUTE, NOW, all_at_once

MakeUser = Callable[..., Any]
Change = Callable[..., TemporaryAccessPassPolicy]


@pytest.fixture
def change(admin: Any) -> Change:
    """Change the policy as the superuser."""

    def change_to(**changes: Any) -> TemporaryAccessPassPolicy:
        return change_policy(actor=admin, now=changes.pop("now", NOW), **changes)

    return change_to


@pytest.fixture
def group(robin: Any) -> Group:
    """A group that Robin is in."""
    group = Group.objects.create(name="newcomers")
    robin.groups.add(group)
    return group


def opened_by(issued: Any, user: Any, *, at: Any = NOW) -> SignIn:
    return redeem_pass(upn=user.upn, passcode=issued.passcode.reveal(), client=Client(), now=at)


def ended_reason(sign_in: SignIn) -> str:
    return SignIn.objects.get(pk=sign_in.pk).ended_reason


def test_resolve_policy__is_off_before_anybody_turned_it_on(robin: Any) -> None:
    """Peer failure 12; and the defaults are Entra's: 60/480/60 minutes, 8 symbols, not one-time."""
    policy = resolve_policy(robin)
    assert policy.allows_user is False
    assert (policy.minimum_lifetime, policy.maximum_lifetime, policy.default_lifetime) == (HOUR, 8 * HOUR, HOUR)
    assert (policy.passcode_length, policy.one_time_only) == (8, False)
    assert policy.registration_window == 10 * MINUTE
    assert policy.require_registration is False
    assert policy.require_strong_authentication_to_register is True


def test_resolve_policy__tells_what_is_stored(robin: Any, change: Change) -> None:
    change(
        enabled=True,
        minimum_lifetime_minutes=10,
        maximum_lifetime_minutes=43_200,
        default_lifetime_minutes=90,
        passcode_length=12,
        one_time_only=True,
        registration_window_minutes=25,
        require_registration=True,
        require_strong_authentication_to_register=False,
    )
    policy = resolve_policy(robin)
    assert policy.allows_user is True
    assert (policy.minimum_lifetime, policy.maximum_lifetime) == (10 * MINUTE, 30 * DAY)
    assert policy.default_lifetime == timedelta(minutes=90)
    assert (policy.passcode_length, policy.one_time_only) == (12, True)
    assert policy.registration_window == 25 * MINUTE
    assert policy.require_registration is True
    assert policy.require_strong_authentication_to_register is False


@pytest.mark.parametrize(
    ("stored", "is_allowed"),
    [
        ({}, True),
        ({"enabled": False}, False),
        ({"include_all_users": False}, False),
        ({"include_all_users": False, "included_users": "robin"}, True),
        ({"include_all_users": False, "included_groups": "group"}, True),
        ({"include_all_users": False, "included_users": "other"}, False),
        ({"include_all_users": False, "included_groups": "other group"}, False),
        ({"excluded_users": "robin"}, False),
        ({"excluded_groups": "group"}, False),
        ({"excluded_users": "other"}, True),
        ({"excluded_groups": "other group"}, True),
        ({"included_users": "robin", "excluded_users": "robin"}, False),
        ({"included_users": "robin", "excluded_groups": "group"}, False),
        ({"included_groups": "group", "excluded_users": "robin"}, False),
        ({"include_all_users": False, "included_groups": "group", "excluded_groups": "group"}, False),
        ({"enabled": False, "included_users": "robin"}, False),
    ],
    ids=str,
)
def test_resolve_policy__exclusion_wins_over_inclusion(
    stored: dict[str, Any], is_allowed: bool, robin: Any, group: Group, make_user: MakeUser, change: Change
) -> None:
    named = {
        "robin": [robin],
        "group": [group],
        "other": [make_user("other")],
        "other group": [Group.objects.create(name="others")],
    }
    change(**{"enabled": True, **{name: named.get(value, value) for name, value in stored.items()}})
    assert resolve_policy(robin).allows_user is is_allowed


def test_resolve_policy__a_change_of_membership_takes_effect_at_once(robin: Any, group: Group, change: Change) -> None:
    change(enabled=True, excluded_groups=[group])
    robin.groups.clear()
    assert resolve_policy(robin).allows_user
    robin.groups.add(group)
    assert not resolve_policy(robin).allows_user


def test_resolve_policy__nobody_is_allowed_nothing(change: Change) -> None:
    change(enabled=True)
    assert resolve_policy(None).allows_user is False


@pytest.mark.default_database
@pytest.mark.parametrize("is_stored", [False, True], ids=["before anybody saved it", "stored"])
@pytest.mark.parametrize("who", ["robin", "nobody", "excluded"])
def test_resolve_policy__is_always_one_query(
    who: str, is_stored: bool, robin: Any, group: Group, change: Change, django_assert_num_queries: Any
) -> None:
    """Peer failure 16: nothing to tell from how much was asked."""
    if is_stored:
        change(enabled=True, excluded_groups=[group] if who == "excluded" else [])
    with django_assert_num_queries(1):
        resolve_policy(None if who == "nobody" else robin)


@pytest.mark.parametrize(
    ("one_time_only", "is_usable_once", "is_allowed"),
    [(False, False, True), (False, True, True), (True, True, True), (True, False, False)],
)
def test_allows_pass__one_time_only(
    one_time_only: bool, is_usable_once: bool, is_allowed: bool, robin: Any, change: Change
) -> None:
    change(enabled=True, one_time_only=one_time_only)
    assert resolve_policy(robin).allows_pass(is_usable_once=is_usable_once, highest_standing=0) is is_allowed
    change(enabled=False)
    assert resolve_policy(robin).allows_pass(is_usable_once=is_usable_once, highest_standing=0) is False


def test_change_policy__stores_who_and_when_and_records_what(robin: Any, admin: Any, change: Change) -> None:
    change(enabled=True, passcode_length=10, excluded_users=[robin])
    policy = TemporaryAccessPassPolicy.objects.get()
    assert (policy.changed_by, policy.changed_at, policy.passcode_length) == (admin, NOW, 10)
    event = AuditEvent.objects.get()
    assert (event.kind, event.actor_name) == (AuditEvent.Kind.POLICY_CHANGED, admin.upn)
    assert event.detail == {"enabled": True, "passcode_length": 10, "excluded_users": [str(robin.pk)]}


def test_change_policy__what_is_not_named_stays(robin: Any, change: Change) -> None:
    change(enabled=True, passcode_length=10, excluded_users=[robin])
    change(default_lifetime_minutes=120)
    policy = TemporaryAccessPassPolicy.objects.get()
    assert (policy.enabled, policy.passcode_length, policy.default_lifetime_minutes) == (True, 10, 120)
    assert list(policy.excluded_users.all()) == [robin]


BOUNDS = [
    ({"minimum_lifetime_minutes": 9}, "minimum_lifetime_minutes", "10"),
    ({"maximum_lifetime_minutes": 43_201}, "maximum_lifetime_minutes", "43200"),
    ({"default_lifetime_minutes": 9}, "default_lifetime_minutes", "10"),
    ({"default_lifetime_minutes": 59}, "default_lifetime_minutes", "60"),
    ({"default_lifetime_minutes": 481}, "default_lifetime_minutes", "480"),
    ({"minimum_lifetime_minutes": 481}, "minimum_lifetime_minutes", "480"),
    ({"minimum_lifetime_minutes": 61}, "default_lifetime_minutes", "61"),
    ({"maximum_lifetime_minutes": 59}, "minimum_lifetime_minutes", "59"),
    ({"passcode_length": 7}, "passcode_length", "8"),
    ({"passcode_length": 49}, "passcode_length", "48"),
    ({"registration_window_minutes": 0}, "registration_window_minutes", "1"),
    ({"registration_window_minutes": 61}, "registration_window_minutes", "60"),
]


@pytest.mark.parametrize(("changes", "field", "bound"), BOUNDS, ids=str)
def test_change_policy__out_of_bounds_names_the_bound_and_stores_nothing(
    changes: dict[str, Any], field: str, bound: str, change: Change
) -> None:
    """Issue 2, row "length outside 8 to 48": an error that names the bound. Peer failure 13: never clamped silently."""
    with pytest.raises(InvalidPolicy, match=rf"\b{bound}\b") as refused:
        change(enabled=True, **changes)
    assert refused.value.field == field
    assert not TemporaryAccessPassPolicy.objects.exists()
    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize(("changes", "field", "bound"), BOUNDS, ids=str)
def test_policy_form__out_of_bounds_names_the_bound_beside_the_field(
    changes: dict[str, Any], field: str, bound: str, db: None
) -> None:
    """Issue 2, row "length outside 8 to 48": a form error that names the bound."""
    data = {**model_to_dict(TemporaryAccessPassPolicy(), exclude=["id"]), **changes}
    form = PolicyForm(data)
    assert not form.is_valid()
    assert any(bound in error for error in form.errors[field]), form.errors


@pytest.mark.parametrize(
    "changes",
    [
        {"minimum_lifetime_minutes": 10, "default_lifetime_minutes": 10, "maximum_lifetime_minutes": 10},
        {"minimum_lifetime_minutes": 10, "default_lifetime_minutes": 43_200, "maximum_lifetime_minutes": 43_200},
        {"passcode_length": 8},
        {"passcode_length": 48},
        {"registration_window_minutes": 1},
        {"registration_window_minutes": 60},
    ],
    ids=str,
)
def test_change_policy__the_bounds_themselves_are_within(changes: dict[str, Any], change: Change) -> None:
    change(**changes)
    stored = TemporaryAccessPassPolicy.objects.get()
    assert {name: getattr(stored, name) for name in changes} == changes


@pytest.mark.parametrize("who", ["without permission", "staff", "inactive superuser"])
def test_change_policy__needs_the_permission(who: str, make_user: MakeUser) -> None:
    actor = {
        "without permission": lambda: make_user("actor"),
        "staff": lambda: make_user("actor", is_staff=True),
        "inactive superuser": lambda: make_user("actor", is_superuser=True, is_active=False),
    }[who]()
    with pytest.raises(NotAllowed) as refused:
        change_policy(actor=actor, now=NOW, enabled=True)
    assert refused.value.code == "missing_permission"
    assert not TemporaryAccessPassPolicy.objects.exists()


def test_change_policy__the_permission_suffices(make_user: MakeUser, grant: Callable[..., Any]) -> None:
    change_policy(actor=grant(make_user("actor"), "change_temporaryaccesspasspolicy"), now=NOW, enabled=True)
    assert TemporaryAccessPassPolicy.objects.get().enabled


def test_change_policy__by_an_administrator_who_has_lost_the_right_meanwhile(
    make_user: MakeUser, grant: Callable[..., Any]
) -> None:
    """The row is judged: the object keeps the permissions and flags of the moment when it was read."""
    changes: list[Callable[[Any], Any]] = [
        lambda user: user.user_permissions.clear(),
        lambda user: type(user).objects.filter(pk=user.pk).update(is_active=False),
        lambda user: type(user).objects.filter(pk=user.pk).delete(),
    ]
    for number, change in enumerate(changes):
        actor = grant(make_user(f"actor{number}"), "change_temporaryaccesspasspolicy")
        assert actor.has_perm("tap_provider.change_temporaryaccesspasspolicy")
        change(actor)
        with pytest.raises(NotAllowed) as refused:
            change_policy(actor=actor, now=NOW, enabled=True)
        assert refused.value.code == "missing_permission"
    assert not TemporaryAccessPassPolicy.objects.exists()
    assert not AuditEvent.objects.exists()


def test_change_policy__by_nobody_who_is_signed_in(db: None) -> None:
    with pytest.raises(NotAllowed):
        change_policy(actor=AnonymousUser(), now=NOW, enabled=True)


@pytest.mark.parametrize("how", ["off", "user excluded", "group excluded", "no longer included", "one-time only"])
def test_change_policy__ends_the_registration_only_sessions_it_no_longer_allows(
    how: str, robin: Any, group: Group, make_user: MakeUser, issue: Any, change: Change
) -> None:
    """Peer failure 15, and issue 2, row "policy off or excluding the user": nothing survives."""
    sign_in = opened_by(issue(robin, now=NOW, is_usable_once=False), robin)
    changes: dict[str, Any] = {
        "off": {"enabled": False},
        "user excluded": {"excluded_users": [robin]},
        "group excluded": {"excluded_groups": [group]},
        "no longer included": {"include_all_users": False, "included_users": [make_user("other")]},
        "one-time only": {"one_time_only": True},
    }[how]
    change(now=NOW + MINUTE, **changes)
    ended = SignIn.objects.get(pk=sign_in.pk)
    assert (ended.ended_reason, ended.ended_at) == (SignIn.EndedReason.POLICY, NOW + MINUTE)
    assert AuditEvent.objects.filter(kind=AuditEvent.Kind.SIGN_IN_ENDED, sign_in_id=sign_in.pk).count() == 1


def test_change_policy__leaves_what_it_still_allows(
    robin: Any, make_user: MakeUser, issue: Any, change: Change
) -> None:
    kay = make_user("kay")
    one_time = opened_by(issue(robin, now=NOW, is_usable_once=True), robin)
    multi_use = opened_by(issue(kay, now=NOW, is_usable_once=False), kay)
    change(now=NOW + MINUTE, one_time_only=True, passcode_length=20)
    assert ended_reason(one_time) == ""
    assert ended_reason(multi_use) == SignIn.EndedReason.POLICY


def test_change_policy__does_not_end_full_sessions(robin: Any, policy_on: Any, change: Change) -> None:
    full = SignIn.objects.create(user=robin, level="single_factor", created_at=NOW, authenticated_at=NOW)
    change(enabled=False)
    assert ended_reason(full) == ""


def test_change_policy__turned_on_again_revives_nothing(robin: Any, issue: Any, change: Change) -> None:
    sign_in = opened_by(issue(robin, now=NOW), robin)
    change(now=NOW + MINUTE, enabled=False)
    change(now=NOW + 2 * MINUTE, enabled=True)
    found = find_sign_in(sign_in.pk)
    assert found is not None
    assert why_over(found, now=NOW + 3 * MINUTE) is SignIn.EndedReason.POLICY


def test_end_sessions_no_longer_allowed__tells_how_many_it_ended(
    robin: Any, make_user: MakeUser, issue: Any, policy_on: Any
) -> None:
    kay = make_user("kay")
    opened_by(issue(robin, now=NOW), robin)
    stays = opened_by(issue(kay, now=NOW), kay)
    policy_on.excluded_users.add(robin)  # behind the verb's back
    assert end_sessions_no_longer_allowed(now=NOW + MINUTE) == 1
    assert end_sessions_no_longer_allowed(now=NOW + MINUTE) == 0
    assert ended_reason(stays) == ""


def test_change_policy__an_unknown_field_is_refused(change: Change) -> None:
    """A misspelt bound that is recorded as changed, yet is not, would be believed."""
    with pytest.raises((InvalidPolicy, TypeError)):
        change(pascode_length=20)
    assert not AuditEvent.objects.exists()


def test_change_policy__the_first_edit_that_is_refused_stores_nothing(change: Change) -> None:
    with pytest.raises(InvalidPolicy):
        change(passcode_length=1000)
    assert not TemporaryAccessPassPolicy.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_change_policy__first_edits_at_once_are_made_one_after_the_other(change: Change) -> None:
    edits: list[dict[str, Any]] = [{"enabled": True}, {"one_time_only": True}, {"passcode_length": 9}]
    outcomes = all_at_once(*[partial(change, **edit) for edit in edits])
    assert {type(outcome) for outcome in outcomes} == {TemporaryAccessPassPolicy}, outcomes
    policy = TemporaryAccessPassPolicy.objects.get()
    assert (policy.enabled, policy.one_time_only, policy.passcode_length) == (True, True, 9)


@pytest.mark.default_database
@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="transactions come one after the other there")
def test_hold_policy__lets_others_hold_it_and_none_change_it(policy_on: Any) -> None:
    def share() -> None:
        with transaction.atomic():
            hold_policy()

    def change_at_once() -> None:
        with transaction.atomic():
            TemporaryAccessPassPolicy.objects.select_for_update(nowait=True).get()

    with transaction.atomic():
        hold_policy()
        shared, changed = all_at_once(share, change_at_once)
    assert shared is None
    assert type(changed) is OperationalError
