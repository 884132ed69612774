"""Step 2: the administrators' verbs, and who may use them on whom."""

from __future__ import annotations

import base64
import hashlib
import logging
import pickle
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser, Group, Permission
from django.contrib.sessions.models import Session
from django.db import connection
from django.utils import timezone

from tap_provider.exceptions import InvalidPass, IssueNotAllowed, RedemptionRefused, RevokeNotAllowed
from tap_provider.hooks import Hooks
from tap_provider.issue import (
    FURTHEST_START,
    GRACE,
    ISSUE_PERMISSION,
    REVOKE_PERMISSION,
    IssuedPass,
    issue_pass,
    revoke_pass,
)
from tap_provider.models import AuditEvent, SignIn, Standing, TemporaryAccessPass
from tap_provider.policy import change_policy
from tap_provider.redeem import redeem_pass
from tap_provider.sign_in import Client

from .conftest import DAY, HOUR, MINUTE, NOW, all_at_once

MakeUser = Callable[..., Any]
Grant = Callable[..., Any]
SECOND = timedelta(seconds=1)
Kind = AuditEvent.Kind

pytestmark = pytest.mark.django_db


def values_of_database() -> Iterator[tuple[str, Any]]:
    """Every value of every table, with the table's name."""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            for row in cursor.fetchall():
                yield from ((table, value) for value in row)


def texts_of_database() -> Iterator[str]:
    for _, value in values_of_database():
        yield bytes(value).decode("latin-1") if isinstance(value, bytes | memoryview) else str(value)
    yield from (str(session.get_decoded()) for session in Session.objects.all())


def every_form_of(passcode: str) -> set[str]:
    """The passcode as somebody could find it again, unsalted fast hashes included."""
    forms = {passcode, f"{passcode[:4]}-{passcode[4:]}", f"{passcode[:4]} {passcode[4:]}"}
    forms |= {form.lower() for form in forms}
    for form in sorted(forms):
        forms |= {base64.b64encode(form.encode()).decode().rstrip("="), form.encode().hex(), form[::-1]}
        forms |= {hashlib.new(name, form.encode()).hexdigest() for name in ("md5", "sha1", "sha256", "sha512")}
    return forms


def is_found(passcode: str, texts: Iterator[str]) -> bool:
    forms = every_form_of(passcode)
    return any(form in text for text in texts for form in forms)


def stored() -> list[tuple[str, str]]:
    return sorted((table, str(value)) for table, value in values_of_database())


def redeem(user: Any, passcode: str, *, at: datetime = NOW) -> SignIn:
    return redeem_pass(upn=user.upn, passcode=passcode, client=Client(), now=at)


# What is issued


def test_issue__by_the_policys_defaults(robin: Any, admin: Any, policy_on: Any) -> None:
    issued = issue_pass(actor=admin, user=robin, now=NOW)
    held = TemporaryAccessPass.objects.get()
    assert held == issued.temporary_access_pass
    assert (held.user, held.created_by, held.created_at) == (robin, admin, NOW)
    assert (held.starts_at, held.expires_at, held.lifetime_minutes) == (NOW, NOW + HOUR, 60)
    assert held.is_usable_once is False
    assert (held.redemption_count, held.failed_attempts, held.redeemed_at, held.reason) == (0, 0, None, "")
    assert len(issued.passcode.reveal()) == 8
    assert redeem(robin, issued.passcode.reveal()).user == robin


def test_issue__as_wished(robin: Any, issue: Any) -> None:
    start = NOW + 2 * DAY
    issue(robin, now=NOW, starts_at=start, lifetime=8 * HOUR, is_usable_once=True, reason="  lost phone ")
    held = TemporaryAccessPass.objects.get()
    assert (held.starts_at, held.expires_at, held.lifetime) == (start, start + 8 * HOUR, 8 * HOUR)
    assert held.is_usable_once is True
    assert "lost phone" in held.reason


@pytest.mark.parametrize("length", [8, 13, 48])
def test_issue__passcode_is_as_long_as_the_policy_says(length: int, robin: Any, admin: Any, issue: Any) -> None:
    change_policy(actor=admin, now=NOW, passcode_length=length)
    issued = issue(robin, now=NOW)
    assert len(issued.passcode.reveal()) == length
    assert redeem(robin, issued.passcode_for_reading.reveal().lower()).user == robin


@pytest.mark.aware_times
def test_issue__naive_start_is_in_the_sites_time_zone(robin: Any, issue: Any, settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    with timezone.override("Europe/Berlin"):
        issued = issue(robin, now=NOW, starts_at=datetime(2026, 3, 2, 10, 0))  # noqa: DTZ001 as a form may give it
    assert issued.temporary_access_pass.starts_at == NOW


def test_issue__one_time_where_the_policy_allows_no_other(robin: Any, admin: Any, issue: Any) -> None:
    change_policy(actor=admin, now=NOW, one_time_only=True)
    assert issue(robin, now=NOW).temporary_access_pass.is_usable_once is True
    assert issue(robin, now=NOW, is_usable_once=True).temporary_access_pass.is_usable_once is True


# Bounds: a clear error that names the bound, and nothing stored


@pytest.mark.parametrize(
    ("wishes", "field", "code", "bounds"),
    [
        ({"lifetime": 59 * MINUTE}, "lifetime", "lifetime_out_of_bounds", ["60", "480"]),
        ({"lifetime": 481 * MINUTE}, "lifetime", "lifetime_out_of_bounds", ["60", "480"]),
        ({"lifetime": timedelta()}, "lifetime", "lifetime_out_of_bounds", ["60", "480"]),
        ({"lifetime": -HOUR}, "lifetime", "lifetime_out_of_bounds", ["60", "480"]),
        ({"lifetime": timedelta.max // 2 // MINUTE * MINUTE}, "lifetime", "lifetime_out_of_bounds", ["480"]),
        ({"lifetime": HOUR + SECOND}, "lifetime", "lifetime_not_minutes", ["whole minutes"]),
        ({"starts_at": NOW - GRACE - SECOND}, "starts_at", "start_in_past", ["5 minutes"]),
        ({"starts_at": NOW - 2 * HOUR, "lifetime": HOUR}, "starts_at", "start_in_past", ["5 minutes"]),
        ({"starts_at": NOW + FURTHEST_START + SECOND}, "starts_at", "start_too_far", ["30 days"]),
        ({"starts_at": NOW.replace(year=9999)}, "starts_at", "start_too_far", ["30 days"]),
        ({"starts_at": NOW.replace(year=1)}, "starts_at", "start_in_past", ["5 minutes"]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_issue__out_of_bounds_names_the_bound_and_stores_nothing(
    wishes: dict[str, Any], field: str, code: str, bounds: list[str], robin: Any, issue: Any
) -> None:
    """Issue 2, row "lifetime outside the policy, start in the past …, end before now". Peer failures 12 and 13."""
    before = stored()
    with pytest.raises(InvalidPass) as refused:
        issue(robin, now=NOW, **wishes)
    assert (refused.value.field, refused.value.code) == (field, code)
    assert all(bound in str(refused.value) for bound in bounds)
    assert stored() == before


@pytest.mark.parametrize(
    "wishes",
    [
        {"lifetime": HOUR},
        {"lifetime": 8 * HOUR},
        {"starts_at": NOW - GRACE},
        {"starts_at": NOW + FURTHEST_START, "lifetime": 8 * HOUR},
    ],
    ids=str,
)
def test_issue__the_bounds_themselves_are_within(wishes: dict[str, Any], robin: Any, issue: Any) -> None:
    assert issue(robin, now=NOW, **wishes).temporary_access_pass.pk


def test_issue__end_never_lies_before_now(robin: Any, admin: Any, issue: Any) -> None:
    """Issue 2, row "end before now": the shortest life that a policy may allow is longer than the grace."""
    change_policy(actor=admin, now=NOW, minimum_lifetime_minutes=10, default_lifetime_minutes=10)
    held = issue(robin, now=NOW, starts_at=NOW - GRACE).temporary_access_pass
    assert held.expires_at > NOW


def test_issue__a_default_is_held_against_the_bounds_too(robin: Any, issue: Any, policy_on: Any) -> None:
    type(policy_on).objects.update(minimum_lifetime_minutes=60, default_lifetime_minutes=60)
    assert issue(robin, now=NOW).temporary_access_pass.lifetime == HOUR


def test_issue__multi_use_under_a_one_time_policy_is_refused(robin: Any, admin: Any, issue: Any) -> None:
    change_policy(actor=admin, now=NOW, one_time_only=True)
    before = stored()
    with pytest.raises(InvalidPass, match="one-time") as refused:
        issue(robin, now=NOW, is_usable_once=False)
    assert (refused.value.field, refused.value.code) == ("is_usable_once", "one_time_only")
    assert stored() == before


def test_issue__out_of_bounds_leaves_the_pass_that_was_there(robin: Any, issue: Any) -> None:
    first = issue(robin, now=NOW)
    opened = redeem(robin, first.passcode.reveal())
    with pytest.raises(InvalidPass):
        issue(robin, now=NOW, lifetime=MINUTE)
    assert TemporaryAccessPass.objects.get() == first.temporary_access_pass
    assert SignIn.objects.get(pk=opened.pk).ended_at is None


@pytest.mark.parametrize("reason", ["lost\x00phone", "lost\ud800phone", "r" * 5_000], ids=["NUL", "surrogate", "long"])
def test_issue__whatever_is_given_as_reason(reason: str, robin: Any, issue: Any) -> None:
    """Never a database error: command lines and JSON carry such text."""
    issue(robin, now=NOW, reason=reason)
    assert len(TemporaryAccessPass.objects.get().reason) <= 1000


# Replacing


def test_issue__replaces_the_pass_and_ends_what_it_opened(robin: Any, issue: Any) -> None:
    """Peer failure 15."""
    first = issue(robin, now=NOW)
    opened = [redeem(robin, first.passcode.reveal()), redeem(robin, first.passcode.reveal())]
    second = issue(robin, now=NOW + MINUTE)
    assert TemporaryAccessPass.objects.get() == second.temporary_access_pass
    assert second.temporary_access_pass.pk != first.temporary_access_pass.pk
    for sign_in in SignIn.objects.filter(pk__in=[sign_in.pk for sign_in in opened]):
        assert (sign_in.ended_reason, sign_in.ended_at) == (SignIn.EndedReason.PASS_REPLACED, NOW + MINUTE)
    with pytest.raises(RedemptionRefused):
        redeem(robin, first.passcode.reveal(), at=NOW + MINUTE)
    assert redeem(robin, second.passcode.reveal(), at=NOW + MINUTE).user == robin


def test_issue__does_not_touch_what_others_opened(robin: Any, make_user: MakeUser, issue: Any) -> None:
    kay = make_user("kay")
    issued = issue(kay, now=NOW)
    opened = redeem(kay, issued.passcode.reveal())
    issue(robin, now=NOW)
    issue(robin, now=NOW)
    assert SignIn.objects.get(pk=opened.pk).ended_at is None
    assert redeem(kay, issued.passcode.reveal()).user == kay


@pytest.mark.django_db(transaction=True)
def test_issue__at_once_for_one_user_leaves_exactly_one_pass(
    robin: Any, admin: Any, policy_on: Any, hasher: Any
) -> None:
    outcomes = all_at_once(*[lambda: issue_pass(actor=admin, user=robin, now=NOW)] * 8)
    assert all(isinstance(outcome, IssuedPass) for outcome in outcomes), outcomes
    held = TemporaryAccessPass.objects.get()
    usable = [outcome for outcome in outcomes if outcome.temporary_access_pass == held]
    assert len(usable) == 1
    assert redeem(robin, usable[0].passcode.reveal()).pass_id == held.pk
    assert AuditEvent.objects.filter(kind=Kind.PASS_ISSUED).count() == 8
    assert AuditEvent.objects.filter(kind=Kind.PASS_REPLACED).count() == 7


@pytest.mark.django_db(transaction=True)
def test_issue__by_two_administrators_for_each_other_at_once(
    admin: Any, make_user: MakeUser, policy_on: Any, hasher: Any
) -> None:
    """Each pass refers to both of them: nobody waits for the other who waits."""
    other = make_user("other", is_superuser=True)
    for _ in range(4):
        outcomes = all_at_once(
            *[lambda: issue_pass(actor=admin, user=other, now=NOW)] * 4,
            *[lambda: issue_pass(actor=other, user=admin, now=NOW)] * 4,
        )
        assert all(isinstance(outcome, IssuedPass) for outcome in outcomes), outcomes
    assert TemporaryAccessPass.objects.count() == 2


# Who may, and for whom


class OwnDepartmentOnly(Hooks):
    def may_issue_for(self, actor: Any, user: Any) -> bool:
        return bool(actor.last_name == user.last_name)


class Everybody(Hooks):
    def may_issue_for(self, actor: Any, user: Any) -> bool:
        return True


def refused_code(*, actor: Any, user: Any, but: Any | None = None) -> str:
    """Return why issuing is refused, having seen that nothing was stored but the audit event of it.

    `but` names a user whom something else changes meanwhile.
    """
    before = [row for row in stored() if not row[0].endswith("auditevent")]
    events = AuditEvent.objects.count()
    with pytest.raises(IssueNotAllowed) as refused:
        issue_pass(actor=actor, user=user, now=NOW)
    assert not TemporaryAccessPass.objects.exists() or but is None
    assert but is not None or [row for row in stored() if not row[0].endswith("auditevent")] == before
    assert AuditEvent.objects.count() == events + 1
    event = AuditEvent.objects.latest("pk")
    assert (event.kind, event.detail) == (Kind.ISSUE_REFUSED, {"code": refused.value.code})
    assert (event.actor_key, event.user_key) == (str(actor.pk), str(user.pk))
    return refused.value.code


def test_issue__needs_the_permission(robin: Any, make_user: MakeUser, policy_on: Any) -> None:
    assert refused_code(actor=make_user("actor"), user=robin) == "missing_permission"
    assert refused_code(actor=make_user("clerk", is_staff=True), user=robin) == "missing_permission"


def test_issue__the_permission_suffices(robin: Any, helpdesk: Any, policy_on: Any) -> None:
    assert issue_pass(actor=helpdesk, user=robin, now=NOW).temporary_access_pass.created_by == helpdesk


def test_issue__an_inactive_administrator_may_not(robin: Any, make_user: MakeUser, policy_on: Any) -> None:
    actor = make_user("actor", is_superuser=True, is_active=False)
    assert refused_code(actor=actor, user=robin) == "missing_permission"


def test_issue__somebody_anonymous_may_not(robin: Any, policy_on: Any) -> None:
    with pytest.raises(IssueNotAllowed) as refused:
        issue_pass(actor=AnonymousUser(), user=robin, now=NOW)
    assert refused.value.code == "missing_permission"
    assert not TemporaryAccessPass.objects.exists()


def test_issue__never_for_oneself(admin: Any, helpdesk: Any, grant: Grant, policy_on: Any) -> None:
    """Issue 2, row "issuing for oneself …". Peer failure 11: not even with every right there is."""
    assert refused_code(actor=helpdesk, user=helpdesk) == "oneself"
    assert refused_code(actor=admin, user=admin) == "oneself"
    assert refused_code(actor=grant(helpdesk, "issue_privileged_pass"), user=helpdesk) == "oneself"


def test_issue__never_for_an_inactive_user(admin: Any, make_user: MakeUser, policy_on: Any) -> None:
    """Issue 2, row "issuing for … an inactive user". Peer failure 20."""
    assert refused_code(actor=admin, user=make_user("gone", is_active=False)) == "inactive_user"


def test_issue__sees_that_the_user_was_deactivated_meanwhile(admin: Any, robin: Any, policy_on: Any) -> None:
    type(robin).objects.filter(pk=robin.pk).update(is_active=False)
    assert robin.is_active  # the object that the caller holds is old
    assert refused_code(actor=admin, user=robin) == "inactive_user"


# What changes while the passcode is hashed counts


def demote(user: Any) -> None:
    user.user_permissions.clear()


def leave_the_group(user: Any) -> None:
    user.groups.clear()


def deactivate(user: Any) -> None:
    type(user).objects.filter(pk=user.pk).update(is_active=False)


def delete(user: Any) -> None:
    type(user).objects.filter(pk=user.pk).delete()


def raise_to_staff(user: Any) -> None:
    type(user).objects.filter(pk=user.pk).update(is_staff=True)


def raise_by_permission(user: Any) -> None:
    user.user_permissions.add(Permission.objects.get(codename="change_user"))


@pytest.fixture
def clerk(make_user: MakeUser) -> Any:
    """A user who may issue and revoke as a member of a group, and whose permissions are cached on the object."""
    group = Group.objects.create(name="clerks")
    codenames = ("add_temporaryaccesspass", "delete_temporaryaccesspass")
    group.permissions.set(Permission.objects.filter(codename__in=codenames))
    clerk = make_user("clerk")
    clerk.groups.add(group)
    assert clerk.has_perm(ISSUE_PERMISSION)
    return clerk


@pytest.mark.parametrize("change", [demote, leave_the_group, deactivate, delete])
def test_issue__by_an_administrator_who_loses_the_right_while_the_passcode_is_hashed(
    change: Callable[[Any], None], helpdesk: Any, clerk: Any, robin: Any, policy_on: Any, hasher: Any
) -> None:
    actor = clerk if change is leave_the_group else helpdesk
    assert actor.has_perm(ISSUE_PERMISSION)  # and the object goes on to say so
    actor_key, robin_key = str(actor.pk), str(robin.pk)
    hasher.meanwhile = lambda: change(actor)
    with pytest.raises(IssueNotAllowed) as refused:
        issue_pass(actor=actor, user=robin, now=NOW)
    assert refused.value.code == "missing_permission"
    assert hasher.computed == ["encode"]
    assert not TemporaryAccessPass.objects.exists()
    event = AuditEvent.objects.exclude(kind=Kind.POLICY_CHANGED).get()
    assert (event.kind, event.detail) == (Kind.ISSUE_REFUSED, {"code": "missing_permission"})
    assert (event.actor_key, event.user_key) == (actor_key, robin_key)


def test_issue__by_a_superuser_who_is_demoted_while_the_passcode_is_hashed(
    make_user: MakeUser, grant: Grant, policy_on: Any, hasher: Any
) -> None:
    """The permission to issue stays, what a superuser reaches does not."""
    actor, boss = make_user("actor", is_superuser=True), make_user("boss", is_staff=True)
    actor = grant(actor, "add_temporaryaccesspass")
    hasher.meanwhile = lambda: type(actor).objects.filter(pk=actor.pk).update(is_superuser=False)
    with pytest.raises(IssueNotAllowed) as refused:
        issue_pass(actor=actor, user=boss, now=NOW)
    assert refused.value.code == "outranked"
    assert not TemporaryAccessPass.objects.exists()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (raise_to_staff, "outranked"),
        (raise_by_permission, "outranked"),
        (deactivate, "inactive_user"),
        (delete, "no_such_user"),
    ],
)
def test_issue__for_a_user_who_changes_while_the_passcode_is_hashed(
    change: Callable[[Any], None], code: str, clerk: Any, robin: Any, policy_on: Any, hasher: Any
) -> None:
    assert robin.get_all_permissions() == set()  # and the object goes on to say so
    hasher.meanwhile = lambda: change(robin)
    assert refused_code(actor=clerk, user=robin, but=robin) == code


def test_issue__keeps_how_far_the_administrator_reaches_after_hashing(
    make_user: MakeUser, grant: Grant, robin: Any, policy_on: Any, hasher: Any
) -> None:
    actor = grant(make_user("actor", is_staff=True), "add_temporaryaccesspass")
    hasher.meanwhile = lambda: type(actor).objects.filter(pk=actor.pk).update(is_staff=False, upn="new@example.test")
    held = issue_pass(actor=actor, user=robin, now=NOW).temporary_access_pass
    assert (held.highest_standing, held.created_by.is_staff) == (Standing.MEMBER, False)
    assert AuditEvent.objects.get(kind=Kind.PASS_ISSUED).actor_name == "new@example.test"


def test_issue__by_a_user_that_was_never_stored(robin: Any, policy_on: Any) -> None:
    with pytest.raises(IssueNotAllowed) as refused:
        issue_pass(actor=type(robin)(username="ghost", is_superuser=True), user=robin, now=NOW)
    assert refused.value.code == "missing_permission"


@pytest.mark.default_database
def test_issue__reading_both_people_anew_costs_one_statement(
    helpdesk: Any, robin: Any, policy_on: Any, hasher: Any, django_assert_num_queries: Any
) -> None:
    """The policy twice; both people, two for the permissions of each, the UPN; old and new pass, event; savepoints."""
    with django_assert_num_queries(13):
        issue_pass(actor=helpdesk, user=robin, now=NOW)


@pytest.mark.parametrize("standing", ["superuser", "staff", "permission", "permission of a group"])
def test_issue__never_for_somebody_with_more_than_one_has(
    standing: str, helpdesk: Any, make_user: MakeUser, grant: Grant, policy_on: Any
) -> None:
    """Issue 2, row "issuing for … somebody with more permissions than one has": a pass would hand them over."""
    clerk = grant(make_user("clerk"), "add_temporaryaccesspass")  # not staff
    user = make_user("user", is_superuser=standing == "superuser", is_staff=standing == "staff")
    if standing == "permission":
        user = grant(user, "change_user")
    if standing == "permission of a group":
        group = Group.objects.create(name="owners")
        grant_to = grant(make_user("x"), "change_user")
        group.permissions.set(grant_to.user_permissions.all())
        user.groups.add(group)
    assert refused_code(actor=clerk, user=user) == "outranked"
    assert issue_pass(actor=grant(clerk, "issue_privileged_pass"), user=user, now=NOW)
    if standing == "staff":
        assert issue_pass(actor=helpdesk, user=user, now=NOW)  # staff themselves


def test_issue__all_permissions_do_not_make_a_superuser(
    make_user: MakeUser, admin: Any, grant: Grant, policy_on: Any
) -> None:
    actor = make_user("actor", is_staff=True)
    actor = grant(actor, "add_temporaryaccesspass", "change_user", "add_user", "delete_user")
    assert refused_code(actor=actor, user=admin) == "outranked"


def test_issue__for_an_equal_is_allowed(helpdesk: Any, make_user: MakeUser, grant: Grant, policy_on: Any) -> None:
    equal = grant(make_user("equal", is_staff=True), "add_temporaryaccesspass", "delete_temporaryaccesspass")
    assert issue_pass(actor=helpdesk, user=equal, now=NOW)


def test_issue__the_privileged_permission_alone_is_not_enough(
    robin: Any, make_user: MakeUser, grant: Grant, policy_on: Any
) -> None:
    actor = grant(make_user("actor", is_staff=True), "issue_privileged_pass")
    assert refused_code(actor=actor, user=robin) == "missing_permission"


def test_issue__a_hook_may_forbid(
    helpdesk: Any, admin: Any, make_user: MakeUser, policy_on: Any, settings: Any
) -> None:
    settings.TAP_PROVIDER_HOOKS = "tests.test_issue.OwnDepartmentOnly"
    helpdesk.last_name = "Sales"
    helpdesk.save()
    stranger, colleague = make_user("stranger", last_name="Legal"), make_user("colleague", last_name="Sales")
    assert refused_code(actor=helpdesk, user=stranger) == "not_yours"
    assert refused_code(actor=admin, user=stranger) == "not_yours"
    assert issue_pass(actor=helpdesk, user=colleague, now=NOW)


def test_issue__a_hook_cannot_widen(helpdesk: Any, admin: Any, robin: Any, policy_on: Any, settings: Any) -> None:
    settings.TAP_PROVIDER_HOOKS = "tests.test_issue.Everybody"
    assert refused_code(actor=helpdesk, user=admin) == "outranked"
    assert refused_code(actor=helpdesk, user=helpdesk) == "oneself"
    assert refused_code(actor=robin, user=admin) == "missing_permission"


@pytest.mark.parametrize("changes", [{"enabled": False}, {"excluded_users": "robin"}, {"include_all_users": False}])
def test_issue__never_outside_the_policy(changes: dict[str, Any], robin: Any, admin: Any, policy_on: Any) -> None:
    change_policy(actor=admin, now=NOW, **{n: [robin] if v == "robin" else v for n, v in changes.items()})
    assert refused_code(actor=admin, user=robin) == "policy"


def test_issue__is_off_until_somebody_turns_the_policy_on(robin: Any, admin: Any) -> None:
    assert refused_code(actor=admin, user=robin) == "policy"


def test_issue__refused_leaves_the_pass_that_was_there(robin: Any, make_user: MakeUser, issue: Any) -> None:
    first = issue(robin, now=NOW)
    opened = redeem(robin, first.passcode.reveal())
    assert refused_code(actor=make_user("actor"), user=robin) == "missing_permission"
    assert SignIn.objects.get(pk=opened.pk).ended_at is None
    assert redeem(robin, first.passcode.reveal()).user == robin


# The passcode: shown once, then nowhere


def test_issued_pass__does_not_show_the_passcode(robin: Any, issue: Any) -> None:
    """Peer failure 19."""
    issued = issue(robin, now=NOW)
    shown = f"{issued} {issued!r} {issued.temporary_access_pass} {issued.temporary_access_pass!r} {[issued]}"
    shown += str(vars(issued.temporary_access_pass))
    assert not any(form in shown for form in every_form_of(issued.passcode.reveal()))
    assert issued.passcode_for_reading.reveal() == f"{issued.passcode.reveal()[:4]}-{issued.passcode.reveal()[4:]}"


def test_issue__passcode_is_nowhere_afterwards(
    robin: Any, issue: Any, sign_in_with_pass: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Peer failure 19, and the story's second step: not in the database, session or log, not even once it was used."""
    caplog.set_level(logging.DEBUG)
    issued = issue(robin, reason="lost phone")
    assert not is_found(issued.passcode.reveal(), texts_of_database())
    assert sign_in_with_pass(robin.upn, issued.passcode_for_reading.reveal()).status_code == 302
    assert SignIn.objects.exists()
    assert not is_found(issued.passcode.reveal(), texts_of_database())
    assert not is_found(issued.passcode.reveal(), iter([caplog.text]))
    issue(robin)  # nor in what tells of its end
    assert not is_found(issued.passcode.reveal(), texts_of_database())


@pytest.mark.default_database
def test_is_found__would_find_it(robin: Any, issue: Any) -> None:
    """The search above is worth something."""
    issued = issue(robin, now=NOW)
    for form in (
        issued.passcode.reveal(),
        issued.passcode_for_reading.reveal().lower(),
        hashlib.sha256(issued.passcode.reveal().encode()).hexdigest(),
    ):
        robin.first_name, robin.last_name = "", form[:150]
        robin.save()
        assert is_found(issued.passcode.reveal(), texts_of_database())


def test_issued_pass__is_hashed_with_a_salt_and_slowly(robin: Any, issue: Any) -> None:
    """NIST SP 800-63B-4 §3.2.2: less than 112 bits need a salted password hash."""
    issued = issue(robin, now=NOW)
    assert TemporaryAccessPass.objects.get().passcode_hash.startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$")
    assert pickle.dumps(issued.temporary_access_pass).find(issued.passcode.reveal().encode()) == -1


# Revoking


def test_revoke__ends_the_pass_and_what_it_opened(robin: Any, admin: Any, issue: Any) -> None:
    """Peer failure 15."""
    issued = issue(robin, now=NOW)
    held = issued.temporary_access_pass
    opened = redeem(robin, issued.passcode.reveal())
    revoke_pass(actor=admin, temporary_access_pass=held, now=NOW + MINUTE, reason="found again")
    assert not TemporaryAccessPass.objects.exists()
    ended = SignIn.objects.get(pk=opened.pk)
    assert (ended.ended_reason, ended.ended_at) == (SignIn.EndedReason.PASS_REVOKED, NOW + MINUTE)
    event = AuditEvent.objects.get(kind=Kind.PASS_REVOKED)
    assert (event.actor_name, event.user_name, event.pass_id) == (admin.upn, robin.upn, opened.pass_id)
    with pytest.raises(RedemptionRefused):
        redeem(robin, issued.passcode.reveal(), at=NOW + MINUTE)


def test_revoke__leaves_full_sessions_and_other_people(robin: Any, admin: Any, make_user: MakeUser, issue: Any) -> None:
    kay = make_user("kay")
    held, others = issue(robin, now=NOW), issue(kay, now=NOW)
    opened = redeem(kay, others.passcode.reveal())
    full = SignIn.objects.create(user=robin, level="single_factor", created_at=NOW, authenticated_at=NOW)
    revoke_pass(actor=admin, temporary_access_pass=held.temporary_access_pass, now=NOW)
    assert not SignIn.objects.filter(pk__in=[opened.pk, full.pk]).exclude(ended_at=None).exists()
    assert TemporaryAccessPass.objects.get() == others.temporary_access_pass


def revoke_refused_code(*, actor: Any, held: TemporaryAccessPass) -> str:
    before = [row for row in stored() if not row[0].endswith("auditevent")]
    with pytest.raises(RevokeNotAllowed) as refused:
        revoke_pass(actor=actor, temporary_access_pass=held, now=NOW)
    assert [row for row in stored() if not row[0].endswith("auditevent")] == before
    return refused.value.code


def test_revoke__needs_the_permission(robin: Any, make_user: MakeUser, grant: Grant, issue: Any) -> None:
    held = issue(robin, now=NOW).temporary_access_pass
    assert revoke_refused_code(actor=make_user("actor"), held=held) == "missing_permission"
    assert revoke_refused_code(actor=robin, held=held) == "missing_permission"
    issuer_only = grant(make_user("issuer"), "add_temporaryaccesspass")
    assert revoke_refused_code(actor=issuer_only, held=held) == "missing_permission"
    inactive = make_user("inactive", is_superuser=True, is_active=False)
    assert revoke_refused_code(actor=inactive, held=held) == "missing_permission"
    revoker = grant(make_user("revoker"), "delete_temporaryaccesspass")
    revoke_pass(actor=revoker, temporary_access_pass=held, now=NOW)


def test_revoke__never_of_somebody_with_more_than_one_has(
    helpdesk: Any, make_user: MakeUser, grant: Grant, issue: Any
) -> None:
    held = issue(make_user("root", is_superuser=True), now=NOW).temporary_access_pass
    assert revoke_refused_code(actor=helpdesk, held=held) == "outranked"
    revoke_pass(actor=grant(helpdesk, "issue_privileged_pass"), temporary_access_pass=held, now=NOW)


@pytest.mark.parametrize("change", [demote, leave_the_group, deactivate, delete])
def test_revoke__by_an_administrator_who_has_lost_the_right_meanwhile(
    change: Callable[[Any], None], helpdesk: Any, clerk: Any, robin: Any, issue: Any
) -> None:
    actor = clerk if change is leave_the_group else helpdesk
    held = issue(robin, now=NOW).temporary_access_pass
    assert actor.has_perm(REVOKE_PERMISSION)  # and the object goes on to say so
    change(actor)
    assert revoke_refused_code(actor=actor, held=held) == "missing_permission"


@pytest.mark.parametrize("change", [raise_to_staff, raise_by_permission])
def test_revoke__of_a_user_who_was_raised_meanwhile(
    change: Callable[[Any], None], clerk: Any, robin: Any, issue: Any
) -> None:
    held = issue(robin, now=NOW).temporary_access_pass
    assert held.user.get_all_permissions() == set()
    change(robin)
    assert revoke_refused_code(actor=clerk, held=held) == "outranked"


def test_revoke__of_a_user_who_was_deleted_meanwhile(clerk: Any, robin: Any, issue: Any) -> None:
    held = issue(robin, now=NOW).temporary_access_pass
    delete(robin)
    assert revoke_refused_code(actor=clerk, held=held) == "no_such_user"


@pytest.mark.django_db(transaction=True)
def test_revoke__at_once_with_issuing_by_two_administrators_for_each_other(
    admin: Any, make_user: MakeUser, policy_on: Any, hasher: Any
) -> None:
    """Both verbs take their locks in one order."""
    other = make_user("other", is_superuser=True)
    for _ in range(4):
        held = [
            issue_pass(actor=actor, user=user, now=NOW).temporary_access_pass
            for actor, user in ((admin, other), (other, admin))
        ]
        outcomes = all_at_once(
            *[lambda: issue_pass(actor=admin, user=other, now=NOW)] * 2,
            *[lambda: issue_pass(actor=other, user=admin, now=NOW)] * 2,
            lambda: revoke_pass(actor=admin, temporary_access_pass=held[0], now=NOW),  # noqa: B023 called in this round
            lambda: revoke_pass(actor=other, temporary_access_pass=held[1], now=NOW),  # noqa: B023 called in this round
        )
        assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)], outcomes


def test_revoke__a_hook_may_forbid(robin: Any, admin: Any, issue: Any, settings: Any) -> None:
    held = issue(robin, now=NOW).temporary_access_pass
    settings.TAP_PROVIDER_HOOKS = "tests.test_issue.OwnDepartmentOnly"
    assert revoke_refused_code(actor=admin, held=held) == "not_yours"


def test_revoke__of_ones_own_is_allowed_to_whoever_may_revoke(helpdesk: Any, issue: Any) -> None:
    """It only takes away."""
    held = issue(helpdesk, now=NOW).temporary_access_pass
    revoke_pass(actor=helpdesk, temporary_access_pass=held, now=NOW)
    assert not TemporaryAccessPass.objects.exists()


def test_revoke__of_an_inactive_user_is_allowed(robin: Any, helpdesk: Any, issue: Any) -> None:
    held = issue(robin, now=NOW).temporary_access_pass
    type(robin).objects.filter(pk=robin.pk).update(is_active=False)
    revoke_pass(actor=helpdesk, temporary_access_pass=held, now=NOW)
    assert not TemporaryAccessPass.objects.exists()


@pytest.mark.parametrize("email", ["", " ", "\u200b"])
def test_issue__for_a_user_without_a_upn_is_refused(
    email: str, admin: Any, make_user: MakeUser, policy_on: Any, settings: Any
) -> None:
    """The holder could not name themselves."""
    settings.TAP_PROVIDER_UPN_FIELD = "email"
    assert refused_code(actor=admin, user=make_user("robin", email=email)) == "no_upn"


def test_issue__for_a_user_whose_upn_another_has_in_other_case_is_refused(
    admin: Any, robin: Any, make_user: MakeUser, policy_on: Any, settings: Any
) -> None:
    """Neither could redeem a pass: the name that is typed means both."""
    settings.TAP_PROVIDER_UPN_FIELD = "email"
    twin = make_user("twin", email="ROBIN@example.test")
    assert refused_code(actor=admin, user=robin) == refused_code(actor=admin, user=twin) == "ambiguous_upn"
    twin.email = "twin@example.test"
    twin.save()
    issue_pass(actor=admin, user=robin, now=NOW)


def test_issue__for_a_user_whose_upn_nobody_can_type_is_refused(
    admin: Any, make_user: MakeUser, policy_on: Any
) -> None:
    """What is typed is read in its compatible form (NFKC), and this one is stored in another."""
    wide = make_user("wide", upn="\N{FULLWIDTH LATIN SMALL LETTER W}ide@example.test")
    assert refused_code(actor=admin, user=wide) == "unusual_upn"


class FindsTheAdministrator(Hooks):
    def find_user(self, upn: str) -> Any:
        return get_user_model()._default_manager.filter(is_superuser=True).first()


def test_issue__for_a_user_whom_the_sites_hook_does_not_find_is_refused(
    admin: Any, robin: Any, policy_on: Any, settings: Any
) -> None:
    settings.TAP_PROVIDER_HOOKS = "tests.test_issue.FindsTheAdministrator"
    assert refused_code(actor=admin, user=robin) == "ambiguous_upn"


def test_deactivation__ends_the_pass_for_good(robin: Any, issue: Any, sign_in_with_pass: Any) -> None:
    """Otherwise a passcode from before opens the account once the user is reactivated."""
    issued = issue(robin)
    robin.first_name = "Robert"
    robin.save()
    assert TemporaryAccessPass.objects.get().user == robin

    robin.is_active = False
    robin.save()
    robin.is_active = True
    robin.save()

    assert not TemporaryAccessPass.objects.exists()
    event = AuditEvent.objects.get(kind=AuditEvent.Kind.PASS_REVOKED)
    assert (event.actor_key, event.pass_id) == ("", issued.temporary_access_pass.pk)
    assert event.detail == {"reason": "the user was deactivated"}
    assert sign_in_with_pass(robin.upn, issued.passcode).status_code == 200  # the page again, with a refusal
    assert not SignIn.objects.exists()


def test_revoke__what_is_gone_already_is_not_revoked_again(robin: Any, admin: Any, issue: Any) -> None:
    """The trail says who ended it and when; a second "revoked", or one of a replaced pass, would not be true."""
    replaced = issue(robin, now=NOW).temporary_access_pass
    held = issue(robin, now=NOW).temporary_access_pass
    again = TemporaryAccessPass.objects.get(pk=held.pk)
    revoke_pass(actor=admin, temporary_access_pass=held, now=NOW)
    revoke_pass(actor=admin, temporary_access_pass=again, now=NOW)
    revoke_pass(actor=admin, temporary_access_pass=replaced, now=NOW)
    assert AuditEvent.objects.filter(kind=Kind.PASS_REVOKED).count() == 1


@pytest.mark.parametrize(
    "reason", ["found\x00again", "found\ud800again", "r" * 5_000], ids=["NUL", "surrogate", "long"]
)
def test_revoke__whatever_is_given_as_reason(reason: str, robin: Any, admin: Any, issue: Any) -> None:
    """Never a database error: command lines and JSON carry such text."""
    held = issue(robin, now=NOW).temporary_access_pass
    revoke_pass(actor=admin, temporary_access_pass=held, now=NOW, reason=reason)
    assert not TemporaryAccessPass.objects.exists()
    assert "found" in AuditEvent.objects.get(kind=Kind.PASS_REVOKED).detail["reason"] or reason.startswith("r")
