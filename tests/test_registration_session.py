"""Step 4: what a pass opens counts for registering sign-in methods and for nothing else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import SESSION_KEY as DJANGO_SESSION_KEY
from django.contrib.auth.models import Group
from django.contrib.sessions.backends.db import SessionStore as DatabaseSession
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.http import HttpRequest, QueryDict
from django.middleware.csrf import _does_token_match, get_token
from django.test import Client as Browser
from django.test import RequestFactory
from django.test.utils import override_script_prefix
from django.utils import timezone

from tap_provider.exceptions import PasscodeNotAccepted
from tap_provider.issue import IssuedPass, issue_pass, revoke_pass
from tap_provider.models import AuditEvent, SignIn, TemporaryAccessPass
from tap_provider.policy import change_policy, resolve_policy
from tap_provider.redeem import redeem_pass, sign_in_with_pass
from tap_provider.registration_session import (
    allow,
    current,
    deadline_for,
    end,
    is_live,
    reaches,
    takes_part,
    why_over,
)
from tap_provider.sign_in import SESSION_KEY, Client, find_sign_in, sign_in_of_session

from .conftest import DAY, HOUR, MINUTE, NOW

MakeUser = Callable[..., Any]
Issue = Callable[..., IssuedPass]
Reason = SignIn.EndedReason

SECOND = timedelta(seconds=1)
SECURITY_INFO = "/account/security-info/"

pytestmark = pytest.mark.django_db


@pytest.fixture
def request_(rf: RequestFactory) -> HttpRequest:
    return with_session(rf.post("/"))


def with_session(request: HttpRequest, session: Any = None) -> HttpRequest:
    request.session = session if session is not None else SessionStore()
    return request


def redeem(user: Any, passcode: str, *, at: datetime = NOW) -> SignIn:
    return redeem_pass(upn=user.upn, passcode=passcode, client=Client(), now=at)


def found(sign_in: SignIn) -> SignIn:
    """The sign-in as the next request finds it."""
    read = find_sign_in(sign_in.pk)
    assert read is not None
    return read


# Its deadline


@pytest.mark.parametrize(
    ("is_usable_once", "window", "lifetime", "signed_in_at", "deadline"),
    [
        (False, 10, HOUR, NOW, NOW + HOUR),
        (False, 10, HOUR, NOW + 59 * MINUTE, NOW + HOUR),
        (True, 10, HOUR, NOW, NOW + 10 * MINUTE),
        (True, 10, HOUR, NOW + 30 * MINUTE, NOW + 40 * MINUTE),
        (True, 10, HOUR, NOW + 50 * MINUTE, NOW + HOUR),
        (True, 10, HOUR, NOW + 55 * MINUTE, NOW + HOUR),
        (True, 25, HOUR, NOW, NOW + 25 * MINUTE),
        (True, 1, HOUR, NOW, NOW + MINUTE),
        (True, 60, 8 * HOUR, NOW, NOW + HOUR),
    ],
)
def test_deadline_for__expiry_of_the_pass_sooner_for_a_one_time_pass(
    is_usable_once: bool,
    window: int,
    lifetime: timedelta,
    signed_in_at: datetime,
    deadline: datetime,
    robin: Any,
    admin: Any,
    issue: Issue,
) -> None:
    """Peer failure 13: the session never outlives the pass."""
    change_policy(actor=admin, now=NOW, registration_window_minutes=window)
    issued = issue(robin, now=NOW, is_usable_once=is_usable_once, lifetime=lifetime)
    assert deadline_for(issued.temporary_access_pass, resolve_policy(robin), now=signed_in_at) == deadline
    assert redeem(robin, issued.passcode.reveal(), at=signed_in_at).deadline == deadline


def test_redeem__a_second_sign_in_restarts_the_freshness_clock(robin: Any, issue: Issue) -> None:
    issued = issue(robin, now=NOW, is_usable_once=False)
    first = redeem(robin, issued.passcode.reveal())
    second = redeem(robin, issued.passcode.reveal(), at=NOW + 30 * MINUTE)
    assert (first.authenticated_at, second.authenticated_at) == (NOW, NOW + 30 * MINUTE)
    assert first.deadline == second.deadline == NOW + HOUR


# Why it is over


def test_why_over__it_lives_until_its_deadline(robin: Any, issue: Issue) -> None:
    sign_in = found(redeem(robin, issue(robin, now=NOW).passcode.reveal()))
    assert why_over(sign_in, now=NOW) is None
    assert why_over(sign_in, now=NOW + HOUR - SECOND) is None
    assert why_over(sign_in, now=NOW + HOUR) is Reason.DEADLINE
    assert why_over(sign_in, now=NOW + DAY) is Reason.DEADLINE


def test_why_over__of_a_one_time_pass_after_ten_minutes(robin: Any, issue: Issue) -> None:
    sign_in = found(redeem(robin, issue(robin, now=NOW, is_usable_once=True).passcode.reveal()))
    assert why_over(sign_in, now=NOW + 10 * MINUTE - SECOND) is None
    assert why_over(sign_in, now=NOW + 10 * MINUTE) is Reason.DEADLINE


def test_why_over__costs_one_query(robin: Any, issue: Issue, django_assert_num_queries: Any) -> None:
    sign_in = found(redeem(robin, issue(robin, now=NOW).passcode.reveal()))
    with django_assert_num_queries(1):
        why_over(sign_in, now=NOW)


def revoke(robin: Any, admin: Any) -> None:
    revoke_pass(actor=admin, temporary_access_pass=TemporaryAccessPass.objects.get(), now=timezone.now())


def replace(robin: Any, admin: Any) -> None:
    issue_pass(actor=admin, user=robin, now=timezone.now())


def delete_raw(robin: Any, admin: Any) -> None:
    TemporaryAccessPass.objects.all()._raw_delete("default")


def replace_raw(robin: Any, admin: Any) -> None:
    old = TemporaryAccessPass.objects.get()
    old.delete()
    TemporaryAccessPass.objects.create(
        user=robin,
        passcode_hash=old.passcode_hash,
        created_at=old.created_at,
        starts_at=old.starts_at,
        expires_at=old.expires_at,
        lifetime_minutes=old.lifetime_minutes,
    )


def policy_off(robin: Any, admin: Any) -> None:
    change_policy(actor=admin, now=timezone.now(), enabled=False)


def policy_off_raw(robin: Any, admin: Any) -> None:
    type(change_policy(actor=admin, now=NOW)).objects.update(enabled=False)


def exclude(robin: Any, admin: Any) -> None:
    change_policy(actor=admin, now=timezone.now(), excluded_users=[robin])


def exclude_by_membership(robin: Any, admin: Any) -> None:
    group = Group.objects.create(name="left")
    change_policy(actor=admin, now=timezone.now(), excluded_groups=[group])
    robin.groups.add(group)  # no verb of ours hears of it


def include_others_only(robin: Any, admin: Any) -> None:
    change_policy(actor=admin, now=timezone.now(), include_all_users=False)


def one_time_only(robin: Any, admin: Any) -> None:
    change_policy(actor=admin, now=timezone.now(), one_time_only=True)


def one_time_only_raw(robin: Any, admin: Any) -> None:
    type(change_policy(actor=admin, now=NOW)).objects.update(one_time_only=True)


def deactivate(robin: Any, admin: Any) -> None:
    type(robin).objects.filter(pk=robin.pk).update(is_active=False)


def delete_user(robin: Any, admin: Any) -> None:
    type(robin).objects.get(pk=robin.pk).delete()


def reach_the_deadline(robin: Any, admin: Any) -> None:
    SignIn.objects.update(deadline=timezone.now() - SECOND)


ENDINGS: dict[Callable[[Any, Any], None], Reason] = {
    revoke: Reason.PASS_REVOKED,
    replace: Reason.PASS_REPLACED,
    delete_raw: Reason.PASS_REVOKED,
    replace_raw: Reason.PASS_REVOKED,
    policy_off: Reason.POLICY,
    policy_off_raw: Reason.POLICY,
    exclude: Reason.POLICY,
    exclude_by_membership: Reason.POLICY,
    include_others_only: Reason.POLICY,
    one_time_only: Reason.POLICY,
    one_time_only_raw: Reason.POLICY,
    deactivate: Reason.USER_DEACTIVATED,
    reach_the_deadline: Reason.DEADLINE,
}


def name_of(value: Any) -> str:
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize(("happens", "reason"), ENDINGS.items(), ids=name_of)
def test_registration_session__ends_at_the_next_request(
    happens: Callable[[Any, Any], None], reason: Reason, robin: Any, admin: Any, holder_client: Browser
) -> None:
    """Issue 2, the story's seventh step. Peer failures 7, 15 and 20."""
    assert holder_client.get(SECURITY_INFO).status_code == 200
    happens(robin, admin)
    response = holder_client.get(SECURITY_INFO)
    assert response.status_code == 302
    assert response.headers["Location"].startswith("/account/sign-in/?")
    assert SESSION_KEY not in holder_client.session
    assert SignIn.objects.get().ended_reason == reason
    assert AuditEvent.objects.filter(kind=AuditEvent.Kind.SIGN_IN_ENDED).count() == 1
    assert holder_client.get(SECURITY_INFO).status_code == 302


def test_registration_session__ends_with_its_user(robin: Any, admin: Any, holder_client: Browser) -> None:
    delete_user(robin, admin)
    assert holder_client.get(SECURITY_INFO).status_code == 302


@pytest.mark.parametrize(("happens", "reason"), ENDINGS.items(), ids=name_of)
def test_why_over__tells_why(
    happens: Callable[[Any, Any], None], reason: Reason, robin: Any, admin: Any, issue: Issue
) -> None:
    """Computed from the facts whenever it is asked (peer failure 9)."""
    now = timezone.now()
    sign_in = redeem(robin, issue(robin, now=now).passcode.reveal(), at=now)
    happens(robin, admin)
    assert why_over(found(sign_in), now=timezone.now()) is reason


def test_registration_session__of_a_one_time_pass_survives_a_one_time_policy(
    robin: Any, admin: Any, issue: Issue, client: Browser, sign_in_with_pass: Callable[..., Any]
) -> None:
    issued = issue(robin, is_usable_once=True)
    sign_in_with_pass(robin.upn, issued.passcode.reveal())
    one_time_only(robin, admin)
    assert client.get(SECURITY_INFO).status_code == 200


# It is not a login, and whatever the session was before is gone (over HTTP: `test_middleware`)


def test_registration_session__is_no_login_in_the_users_record(robin: Any, holder_client: Browser) -> None:
    """Peer failure 7: closed by construction."""
    robin.refresh_from_db()
    assert robin.last_login is None
    assert set(holder_client.session.keys()) == {SESSION_KEY, "_session_expiry"}
    assert holder_client.get("/").context["user"].is_anonymous


def test_begin__flushes_whatever_the_session_was(
    robin: Any, make_user: MakeUser, issue: Issue, rf: RequestFactory
) -> None:
    """Issue 2, rows "a signed-in user redeems …" and "session cookie from before the sign-in". Peer failure 5."""
    kay = make_user("kay")
    full = SignIn.objects.create(user=kay, level="multi_factor", created_at=NOW, authenticated_at=NOW)
    request = with_session(rf.post("/"), DatabaseSession())
    request.user = kay
    request.session.update({DJANGO_SESSION_KEY: str(kay.pk), SESSION_KEY: str(full.pk), "cart": "of kay"})
    request.session.save()
    before, token = request.session.session_key, get_token(request)

    sign_in = sign_in_with_pass(
        request, upn=robin.upn, passcode=issue(robin, now=NOW).passcode.reveal(), now=NOW + MINUTE
    )
    assert set(request.session.keys()) == {SESSION_KEY, "_session_expiry"}
    assert request.session[SESSION_KEY] == str(sign_in.pk)
    assert request.session.session_key != before
    assert not request.session.exists(before)
    assert not _does_token_match(token, request.META["CSRF_COOKIE"])
    assert request.user.is_anonymous
    full.refresh_from_db()
    assert (full.ended_reason, full.ended_at) == (Reason.SIGNED_IN_ANEW, NOW + MINUTE)


def test_begin__is_not_reached_by_a_refused_passcode(robin: Any, issue: Issue, request_: HttpRequest) -> None:
    issue(robin, now=NOW)
    request_.session["cart"] = "of kay"
    with pytest.raises(PasscodeNotAccepted):
        sign_in_with_pass(request_, upn=robin.upn, passcode="00000000", now=NOW)
    assert dict(request_.session.items()) == {"cart": "of kay"}


def test_begin__the_session_expires_soon_after_the_sign_in(robin: Any, issue: Issue, request_: HttpRequest) -> None:
    issued = issue(robin, now=NOW, is_usable_once=True)
    sign_in = sign_in_with_pass(request_, upn=robin.upn, passcode=issued.passcode.reveal(), now=NOW + 55 * MINUTE)
    assert sign_in.deadline == NOW + HOUR
    assert request_.session.get_expiry_age() == 300 + 600  # so that who comes too late is told
    assert sign_in_of_session(request_) == sign_in
    assert request_.user.is_anonymous


def test_begin__at_the_last_moment_does_not_open_a_browser_session(
    robin: Any, issue: Issue, request_: HttpRequest
) -> None:
    """Django reads an expiry of 0 as "until the browser closes", which may be never."""
    issued = issue(robin, now=NOW)
    at = NOW + HOUR - timedelta(milliseconds=1)
    sign_in_with_pass(request_, upn=robin.upn, passcode=issued.passcode.reveal(), now=at)
    assert not request_.session.get_expire_at_browser_close()


# current and end, as views use them


def test_current__is_the_live_sign_in(robin: Any, issue: Issue, request_: HttpRequest) -> None:
    sign_in = sign_in_with_pass(request_, upn=robin.upn, passcode=issue(robin, now=NOW).passcode.reveal(), now=NOW)
    assert current(request_, now=NOW + MINUTE) == sign_in
    assert current(with_session(RequestFactory().get("/"), request_.session), now=NOW + MINUTE) == sign_in


def test_current__ends_and_forgets_what_has_died(robin: Any, issue: Issue, request_: HttpRequest) -> None:
    sign_in_with_pass(request_, upn=robin.upn, passcode=issue(robin, now=NOW).passcode.reveal(), now=NOW)
    assert current(request_, now=NOW + HOUR) is None
    assert SESSION_KEY not in request_.session
    ended = SignIn.objects.get()
    assert (ended.ended_at, ended.ended_reason) == (NOW + HOUR, Reason.DEADLINE)


def test_is_live__ends_what_has_died_once(robin: Any, issue: Issue) -> None:
    """Relying parties are told of an ending, not of a deadline that has merely passed."""
    issued = issue(robin, now=NOW)
    sign_in = find_sign_in(redeem_pass(upn=robin.upn, passcode=issued.passcode.reveal(), client=Client(), now=NOW).pk)
    assert sign_in is not None
    assert is_live(sign_in, now=NOW)
    assert sign_in.ended_at is None
    over = issued.temporary_access_pass.expires_at
    assert not is_live(sign_in, now=over)
    assert not is_live(sign_in, now=over + HOUR)
    found = SignIn.objects.get(pk=sign_in.pk)
    assert (found.ended_at, found.ended_reason) == (over, SignIn.EndedReason.DEADLINE)


def test_current__is_none_for_everybody_else(robin: Any, request_: HttpRequest) -> None:
    assert current(request_, now=NOW) is None
    full = SignIn.objects.create(user=robin, level="multi_factor", created_at=NOW, authenticated_at=NOW)
    request_.session[SESSION_KEY] = str(full.pk)
    assert current(request_, now=NOW) is None
    assert SESSION_KEY in request_.session  # a full session is not this module's to end


def test_end__ends_the_sign_in_and_forgets_the_session(robin: Any, issue: Issue, request_: HttpRequest) -> None:
    sign_in_with_pass(request_, upn=robin.upn, passcode=issue(robin, now=NOW).passcode.reveal(), now=NOW)
    end(request_, reason=Reason.FINISHED, now=NOW + MINUTE)
    assert SignIn.objects.get().ended_reason == Reason.FINISHED
    assert dict(request_.session.items()) == {}
    assert request_.user.is_anonymous


def test_end__of_no_session_is_no_error(request_: HttpRequest) -> None:
    end(request_, reason=Reason.SIGNED_OUT, now=NOW)
    assert not SignIn.objects.exists()


# Which views it reaches


@pytest.mark.parametrize(
    ("url", "is_reached"),
    [
        ("/account/security-info/", True),
        ("/account/security-info/?x=1#there", True),
        ("/account/security-info/add/totp/", True),
        ("/account/sign-out/", True),
        ("/account/sign-in/", False),
        ("/members/", False),
        ("/", False),
        ("/admin/", False),
        ("/admin/login/?next=/account/security-info/", False),
        ("/o/applications/", False),
        ("/no/such/page/", False),
        ("", False),
        ("https://elsewhere.test/account/security-info/", False),
        ("//elsewhere.test/account/security-info/", False),
        ("/account/security-info\x00/", False),
    ],
    ids=ascii,
)
def test_reaches__only_what_takes_part_in_registration(url: str, is_reached: bool) -> None:
    assert reaches(url) is is_reached


def view(request: HttpRequest) -> None:
    """A view of a site's own."""


def test_takes_part__a_view_that_opted_in() -> None:
    def opted_in(request: HttpRequest) -> None:
        """Another one."""

    assert not takes_part(view, "view", QueryDict())
    assert allow(opted_in) is opted_in
    assert takes_part(opted_in, "opted_in", QueryDict())


def test_takes_part__depending_on_the_query() -> None:
    def sometimes(request: HttpRequest) -> None:
        """Another one."""

    allow(sometimes, when=lambda query: query.get("client_id") == "registration")
    assert takes_part(sometimes, "sometimes", QueryDict("client_id=registration"))
    assert not takes_part(sometimes, "sometimes", QueryDict("client_id=ordinary"))
    assert not takes_part(sometimes, "sometimes", QueryDict())


def test_takes_part__by_the_view_name_in_the_setting(settings: Any) -> None:
    settings.TAP_PROVIDER_REGISTRATION_VIEWS = ["members"]
    assert takes_part(view, "members", QueryDict())
    assert not takes_part(view, "home", QueryDict())
    assert reaches("/members/")
    assert not reaches("/")


def test_reaches__below_the_prefix_that_the_site_is_mounted_at() -> None:
    with override_script_prefix("/app/"):
        assert reaches("/app/account/security-info/add/totp/?next=/")
        assert reaches("http://testserver/app/account/security-info/", host="testserver")
        assert not reaches("http://testserver/app/account/security-info/", host="elsewhere.test")
        assert not reaches("/app/members/")


# What was over once stays over, though nothing used it meanwhile


def leave_and_join(user: Any, group: Group) -> None:
    user.groups.add(group)
    user.groups.remove(group)


def be_taken_in_and_left_out(user: Any, group: Group) -> None:
    group.user_set.set([user])
    group.user_set.clear()


@pytest.mark.parametrize("change", [leave_and_join, be_taken_in_and_left_out])
def test_end_with_membership__of_an_excluded_group_stays(
    admin: Any, robin: Any, issue: Issue, change: Callable[[Any, Group], None]
) -> None:
    group, now = Group.objects.create(name="excluded"), timezone.now()
    change_policy(actor=admin, now=now, excluded_groups=[group])
    sign_in = redeem(robin, issue(robin, now=now).passcode, at=now)
    change(robin, group)
    assert found(sign_in).ended_reason == Reason.POLICY


@pytest.mark.parametrize("act", ["remove", "clear", "set", "the group's clear"])
def test_end_with_membership__of_the_only_included_group_stays(admin: Any, robin: Any, issue: Issue, act: str) -> None:
    group, now = Group.objects.create(name="included"), timezone.now()
    robin.groups.add(group)
    change_policy(actor=admin, now=now, include_all_users=False, included_groups=[group])
    sign_in = redeem(robin, issue(robin, now=now).passcode, at=now)
    acts: dict[str, Callable[[], Any]] = {
        "remove": lambda: robin.groups.remove(group),
        "clear": robin.groups.clear,
        "set": lambda: robin.groups.set([]),
        "the group's clear": group.user_set.clear,
    }
    acts[act]()
    robin.groups.add(group)
    assert found(sign_in).ended_reason == Reason.POLICY


def test_end_with_membership__of_another_group_ends_nothing(robin: Any, issue: Issue) -> None:
    now = timezone.now()
    sign_in = redeem(robin, issue(robin, now=now).passcode, at=now)
    leave_and_join(robin, Group.objects.create(name="choir"))
    assert found(sign_in).ended_at is None


@pytest.mark.parametrize("fields", [None, ["is_superuser"]])
def test_end_with_standing__of_a_user_who_was_raised_for_a_moment_stays(
    make_user: Any, robin: Any, issue: Issue, grant: Any, fields: Any
) -> None:
    help_desk, now = grant(make_user("help-desk", is_staff=True), "add_temporaryaccesspass"), timezone.now()
    sign_in = redeem(robin, issue(robin, actor=help_desk, now=now).passcode, at=now)
    for is_superuser in (True, False):
        robin.is_superuser = is_superuser
        robin.save(update_fields=fields)
    assert found(sign_in).ended_reason == Reason.POLICY
