"""A user's authentication methods in django-admin: issue a pass, show its passcode once, revoke it."""

from __future__ import annotations

import re
import sys
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote as percent_unquote
from uuid import UUID

import pytest
from django.contrib.admin import site
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.admin.utils import unquote
from django.contrib.sessions.models import Session
from django.core.signals import got_request_exception
from django.db import connection
from django.test import Client
from django.urls import resolve, reverse
from django.utils import timezone
from django.views.debug import ExceptionReporter
from django_otp.plugins.otp_totp.models import TOTPDevice

from tap_provider.handle import handle_of
from tap_provider.hooks import Hooks
from tap_provider.models import AuditEvent, SignIn, TemporaryAccessPass
from tap_provider.policy import change_policy

from ..conftest import HOUR, MINUTE

PASSES = "/admin/tap_provider/temporaryaccesspass/"
NAME = "admin:tap_provider_user_authentication_methods"

pytestmark = pytest.mark.usefixtures("hasher")  # a cheap one


def methods_url(user: Any) -> str:
    return f"{PASSES}users/{user.pk}/"


def issue_url(user: Any) -> str:
    return f"{PASSES}users/{user.pk}/add/temporary-access-pass/"


def revoke_url(user: Any) -> str:
    return f"{PASSES}users/{user.pk}/revoke/"


def shown_passcode(response: Any) -> str:
    found = re.search(r'id="passcode"[^>]*>([0-9A-Z-]+)<', response.content.decode())
    assert found is not None
    return found[1]


def everything_stored() -> str:
    """Return the text of every column of every table, sessions decoded."""
    rows = [str(session.get_decoded()) for session in Session.objects.all()]
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            rows += [str(row) for row in cursor.fetchall()]
    return "\n".join(rows)


@pytest.fixture
def browser(admin: Any) -> Client:
    """The superuser's browser."""
    browser = Client()
    browser.force_login(admin)
    return browser


@pytest.fixture
def helpdesk_browser(helpdesk: Any, policy_on: Any) -> Client:
    browser = Client()
    browser.force_login(helpdesk)
    return browser


def when(moment: Any) -> dict[str, str]:
    return {"starts_at_0": f"{moment:%Y-%m-%d}", "starts_at_1": f"{moment:%H:%M:%S}"}


# The way there.


def test_story__from_the_user_to_the_passcode(browser: Client, robin: Any, policy_on: Any) -> None:
    user_page = browser.get(f"/admin/accounts/user/{robin.pk}/change/").content.decode()
    assert f'href="{methods_url(robin)}"' in user_page
    assert f'href="{methods_url(robin)}add/"' in browser.get(methods_url(robin)).content.decode()
    assert f'href="{issue_url(robin)}"' in browser.get(f"{methods_url(robin)}add/").content.decode()
    passcode = shown_passcode(browser.post(issue_url(robin), {"lifetime_minutes": "60"}))
    holder = Client()
    response = holder.post("/account/sign-in/pass/", {"upn": robin.upn, "passcode": passcode})
    assert response["Location"] == "/account/security-info/"


def test_user_page__shows_the_way_only_to_who_may_go_it(make_user: Any, grant: Any, robin: Any) -> None:
    staff = grant(make_user("staff", is_staff=True), "view_user")
    page = f"/admin/accounts/user/{robin.pk}/change/"
    for permissions, is_shown in ((), False), (("view_temporaryaccesspass",), True):
        browser = Client()
        browser.force_login(grant(staff, *permissions))
        response = browser.get(page)
        assert response.status_code == 200
        assert (methods_url(robin) in response.content.decode()) is is_shown


def test_user_page__adding_a_user_shows_no_way(browser: Client) -> None:
    response = browser.get("/admin/accounts/user/add/")
    assert response.status_code == 200
    assert "users/" not in response.content.decode()


def test_add__asks_whom_the_pass_is_for(browser: Client, robin: Any, policy_on: Any) -> None:
    assert browser.get(f"{PASSES}add/").status_code == 200
    assert browser.get(f"{PASSES}add/", {"upn": "ROBIN@example.test"})["Location"] == issue_url(robin)
    for upn in ("nobody@example.test", "", "a\x00b", "x" * 10_000, "\u202e"):
        response = browser.get(f"{PASSES}add/", {"upn": upn})
        assert response.status_code == 200
        assert response.context["form"].errors


def test_add__two_users_who_differ_by_case_are_no_error(browser: Client, make_user: Any, settings: Any) -> None:
    settings.TAP_PROVIDER_UPN_FIELD = "email"
    make_user("quinn", email="Q@example.test")
    make_user("quincy", email="q@example.test")
    response = browser.get(f"{PASSES}add/", {"upn": "q@example.test"})
    assert response.status_code == 200
    assert "differing by case" in str(response.context["form"].errors)


def test_methods_page__lists_methods_pass_and_open_sign_ins(browser: Client, holder_client: Client, robin: Any) -> None:
    TOTPDevice.objects.create(user=robin, name="Robin's phone", confirmed=True)
    page = browser.get(methods_url(robin)).content.decode()
    assert "Robin&#x27;s phone" in page
    assert f'href="{revoke_url(robin)}"' in page
    assert "temporary_access_pass" in page
    assert "usable" in page
    assert TemporaryAccessPass.objects.get(user=robin).passcode_hash not in page


def test_methods_page__lists_no_sign_in_whose_time_is_over(browser: Client, holder_client: Client, robin: Any) -> None:
    SignIn.objects.filter(user=robin).update(deadline=timezone.now() - MINUTE)
    assert list(browser.get(methods_url(robin)).context["sign_ins"]) == []


def test_methods_page__of_somebody_without_anything(browser: Client, robin: Any) -> None:
    response = browser.get(methods_url(robin))
    assert response.status_code == 200
    assert revoke_url(robin) not in response.content.decode()


def test_passes__are_listed_with_their_usability(browser: Client, robin: Any, issue: Any) -> None:
    held = issue(robin).temporary_access_pass
    page = browser.get(PASSES).content.decode()
    assert "usable" in page
    assert held.passcode_hash not in page
    assert held.passcode_hash not in browser.get(f"{PASSES}{held.pk}/change/").content.decode()


def test_passes__are_never_altered(browser: Client, robin: Any, issue: Any) -> None:
    held = issue(robin).temporary_access_pass
    before = TemporaryAccessPass.objects.filter(pk=held.pk).values().get()
    assert browser.post(f"{PASSES}{held.pk}/change/", {"lifetime_minutes": "480"}).status_code == 403
    browser.post(PASSES, {"action": "delete_selected", "_selected_action": [held.pk], "post": "yes"})
    assert TemporaryAccessPass.objects.filter(pk=held.pk).values().get() == before
    assert "delete_selected" not in browser.get(PASSES).content.decode()


def test_passes__deleting_is_revoking(browser: Client, robin: Any, issue: Any) -> None:
    held = issue(robin).temporary_access_pass
    for response in (browser.get(f"{PASSES}{held.pk}/delete/"), browser.post(f"{PASSES}{held.pk}/delete/")):
        assert response["Location"] == revoke_url(robin)
    assert TemporaryAccessPass.objects.filter(pk=held.pk).exists()


@pytest.mark.parametrize("pass_id", ["nonsense", "7", "00000000-0000-4000-8000-000000000000", "_00", "é"])
@pytest.mark.parametrize("page", ["change", "delete", "history"])
def test_passes__a_nonsense_id_is_not_found(browser: Client, pass_id: str, page: str) -> None:
    assert browser.get(f"{PASSES}{pass_id}/{page}/").status_code in {302, 404}


# Issuing.


def test_issue__get_shows_the_policys_bounds_and_stores_nothing(browser: Client, robin: Any, policy_on: Any) -> None:
    response = browser.get(issue_url(robin))
    assert response.status_code == 200
    assert response.context["form"].initial == {"lifetime_minutes": 60, "is_usable_once": False}
    assert "60 to 480 minutes" in response.content.decode()
    assert not TemporaryAccessPass.objects.exists()


def test_issue__stores_what_was_asked_for(browser: Client, robin: Any, admin: Any, policy_on: Any) -> None:
    start = (timezone.now() + HOUR).replace(microsecond=0)
    data = {**when(start), "lifetime_minutes": "90", "is_usable_once": "on", "reason": "lost phone; seen in person"}
    assert browser.post(issue_url(robin), data).status_code == 200
    held = TemporaryAccessPass.objects.get(user=robin)
    assert (held.starts_at, held.expires_at) == (start, start + timedelta(minutes=90))
    assert (held.is_usable_once, held.reason, held.created_by) == (True, "lost phone; seen in person", admin)


def test_issue__without_wishes_the_policys_defaults_hold(
    browser: Client, robin: Any, admin: Any, policy_on: Any
) -> None:
    change_policy(actor=admin, now=timezone.now(), default_lifetime_minutes=120, passcode_length=16)
    response = browser.post(issue_url(robin), {"reason": ""})
    assert len(shown_passcode(response).replace("-", "")) == 16
    held = TemporaryAccessPass.objects.get(user=robin)
    assert (held.lifetime_minutes, held.is_usable_once) == (120, False)


def test_issue__shows_the_passcode_and_the_address_once(browser: Client, robin: Any, policy_on: Any) -> None:
    response = browser.post(issue_url(robin), {"lifetime_minutes": "60"})
    assert response.status_code == 200  # a redirect would have to carry the passcode
    assert "no-store" in response["Cache-Control"]
    page, shown = response.content.decode(), shown_passcode(response)
    assert page.count(shown) == 1
    assert shown.replace("-", "") not in page  # nor as a message, nor in an address
    assert 'id="sign-in-url"' in page
    handle = handle_of(TemporaryAccessPass.objects.get().pk)
    assert f"http://localhost:8000/account/sign-in/pass/?handle={handle}" in page
    assert 'data-copy="#passcode"' in page
    assert 'data-copy="#sign-in-url"' in page
    assert robin.upn in page


@pytest.mark.default_database
def test_issue__the_passcode_is_stored_nowhere(
    browser: Client, robin: Any, policy_on: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    response = browser.post(issue_url(robin), {"lifetime_minutes": "60", "reason": "first day"})
    shown = shown_passcode(response)
    browser.get(methods_url(robin))
    stored = everything_stored()
    assert "first day" in stored  # the search does find things
    cookies = str(browser.cookies) + str(response.headers)
    for passcode in (shown, shown.replace("-", ""), shown.lower(), shown.replace("-", "").lower()):
        assert passcode not in stored
        assert passcode not in cookies
        assert passcode not in caplog.text
    entry = LogEntry.objects.get()
    assert shown not in f"{entry} {entry.change_message} {entry.object_repr}"


@pytest.mark.default_database
def test_issue__no_later_page_shows_the_passcode(browser: Client, robin: Any, policy_on: Any) -> None:
    shown = shown_passcode(browser.post(issue_url(robin), {"lifetime_minutes": "60"}))
    held = TemporaryAccessPass.objects.get(user=robin)
    entry = LogEntry.objects.get()
    for url in (
        issue_url(robin),
        methods_url(robin),
        revoke_url(robin),
        PASSES,
        f"{PASSES}{held.pk}/change/",
        f"{PASSES}{held.pk}/history/",
        "/admin/",
        "/admin/tap_provider/auditevent/",
        f"/admin/accounts/user/{robin.pk}/change/",
    ):
        response = browser.get(url)
        assert response.status_code == 200, url
        assert shown not in response.content.decode(), url
        assert shown.replace("-", "") not in response.content.decode(), url
    assert entry.object_id == str(held.pk)


def test_issue__replaces_the_pass_and_ends_what_it_opened(browser: Client, holder_client: Client, robin: Any) -> None:
    assert "This user has a pass" in browser.get(issue_url(robin)).content.decode()
    browser.post(issue_url(robin), {"lifetime_minutes": "60"})
    assert TemporaryAccessPass.objects.filter(user=robin).count() == 1
    assert holder_client.get("/account/security-info/").status_code == 302
    assert SignIn.objects.get(user=robin).ended_reason == SignIn.EndedReason.PASS_REPLACED


@pytest.mark.parametrize(
    ("data", "field", "bounds"),
    [
        ({"lifetime_minutes": "59"}, "lifetime_minutes", ["60", "480"]),
        ({"lifetime_minutes": "481"}, "lifetime_minutes", ["60", "480"]),
        ({"lifetime_minutes": "0"}, "lifetime_minutes", ["60", "480"]),
        ({"lifetime_minutes": "-60"}, "lifetime_minutes", ["60", "480"]),
        ({"lifetime_minutes": str(10**9)}, "lifetime_minutes", ["60", "480"]),
        ({"lifetime_minutes": str(10**18)}, "lifetime_minutes", ["60", "480"]),
        ({"lifetime_minutes": "9" * 1000}, "lifetime_minutes", []),
        ({"lifetime_minutes": "an hour"}, "lifetime_minutes", []),
        ({"starts_at_0": "0001-01-01", "starts_at_1": "00:00"}, "starts_at", ["5 minutes"]),
        ({"starts_at_0": "9999-12-31", "starts_at_1": "23:59"}, "starts_at", ["30 days"]),
        ({"starts_at_0": "2026-02-30", "starts_at_1": "09:00"}, "starts_at", []),
        ({"starts_at_0": "tomorrow", "starts_at_1": ""}, "starts_at", []),
        ({"reason": "x" * 1001}, "reason", ["1000"]),
        ({"reason": "a\x00b"}, "reason", []),
    ],
)
def test_issue__an_error_stands_beside_its_field_and_names_the_bound(
    browser: Client, robin: Any, policy_on: Any, data: dict[str, str], field: str, bounds: list[str]
) -> None:
    response = browser.post(issue_url(robin), data)
    assert response.status_code == 200
    errors = response.context["form"].errors
    assert set(errors) == {field}
    assert all(bound in " ".join(errors[field]) for bound in bounds)
    assert not TemporaryAccessPass.objects.exists()
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize(("ago", "is_refused"), [(4 * MINUTE, False), (6 * MINUTE, True)])
def test_issue__a_start_may_lie_five_minutes_back(
    browser: Client, robin: Any, policy_on: Any, ago: timedelta, is_refused: bool
) -> None:
    response = browser.post(issue_url(robin), {**when(timezone.now() - ago), "lifetime_minutes": "60"})
    assert TemporaryAccessPass.objects.exists() is not is_refused
    assert ("form" in response.context and bool(response.context["form"].errors)) is is_refused


def test_issue__a_one_time_policy_wants_one_time_passes(
    browser: Client, robin: Any, admin: Any, policy_on: Any
) -> None:
    change_policy(actor=admin, now=timezone.now(), one_time_only=True)
    assert browser.get(issue_url(robin)).context["form"].initial["is_usable_once"] is True
    response = browser.post(issue_url(robin), {"lifetime_minutes": "60"})
    assert set(response.context["form"].errors) == {"is_usable_once"}
    assert not TemporaryAccessPass.objects.exists()


def refusal_of(response: Any) -> str:
    assert response.status_code == 200
    assert not TemporaryAccessPass.objects.exists()
    return " ".join(response.context["form"].non_field_errors())


def test_issue__for_oneself_is_refused(browser: Client, admin: Any, policy_on: Any) -> None:
    response = browser.post(issue_url(admin), {"lifetime_minutes": "60"})
    assert refusal_of(response) == "Nobody issues a Temporary Access Pass for themselves."
    assert AuditEvent.objects.get(kind=AuditEvent.Kind.ISSUE_REFUSED).detail == {"code": "oneself"}


def test_issue__for_somebody_with_more_permissions_is_refused(
    helpdesk_browser: Client, admin: Any, make_user: Any, grant: Any
) -> None:
    editor = grant(make_user("editor"), "change_user")
    for user in (admin, editor):
        response = helpdesk_browser.post(issue_url(user), {"lifetime_minutes": "60"})
        assert refusal_of(response) == "This user has permissions that you do not have."


def test_issue__for_an_inactive_user_is_refused(browser: Client, make_user: Any, policy_on: Any) -> None:
    response = browser.post(issue_url(make_user("gone", is_active=False)), {"lifetime_minutes": "60"})
    assert refusal_of(response) == "This user is not active."


def test_issue__outside_the_policy_is_refused(browser: Client, robin: Any, admin: Any) -> None:
    said = "The policy does not allow a Temporary Access Pass for this user."
    assert refusal_of(browser.post(issue_url(robin), {"lifetime_minutes": "60"})) == said  # it is off
    change_policy(actor=admin, now=timezone.now(), enabled=True, excluded_users=[robin])
    assert refusal_of(browser.post(issue_url(robin), {"lifetime_minutes": "60"})) == said


def test_issue__by_an_administrator_who_is_demoted_while_the_passcode_is_hashed(
    helpdesk_browser: Client, helpdesk: Any, robin: Any, hasher: Any
) -> None:
    hasher.meanwhile = helpdesk.user_permissions.clear
    response = helpdesk_browser.post(issue_url(robin), {"lifetime_minutes": "60"})
    assert refusal_of(response) == "You may not issue Temporary Access Passes."
    assert 'id="passcode"' not in response.content.decode()
    assert not LogEntry.objects.exists()


def test_issue__for_a_user_who_is_deleted_while_the_passcode_is_hashed(
    browser: Client, robin: Any, policy_on: Any, hasher: Any
) -> None:
    hasher.meanwhile = robin.delete
    response = browser.post(issue_url(robin), {"lifetime_minutes": "60"})
    assert refusal_of(response) == "There is no such user."


def test_issue__the_permission_to_issue_is_enough(helpdesk_browser: Client, robin: Any) -> None:
    shown_passcode(helpdesk_browser.post(issue_url(robin), {"lifetime_minutes": "60"}))
    assert TemporaryAccessPass.objects.get(user=robin).created_by.username == "helpdesk"


def test_issue__needs_the_csrf_token(browser: Client, robin: Any, policy_on: Any) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = browser.cookies
    assert strict.post(issue_url(robin), {"lifetime_minutes": "60"}).status_code == 403
    assert strict.post(revoke_url(robin)).status_code == 403
    assert not TemporaryAccessPass.objects.exists()


@pytest.mark.parametrize("method", ["get", "head"])
def test_issue__by_get_issues_nothing(browser: Client, robin: Any, policy_on: Any, method: str) -> None:
    assert getattr(browser, method)(issue_url(robin), {"lifetime_minutes": "60"}).status_code == 200
    assert not TemporaryAccessPass.objects.exists()


class BrokenHooks(Hooks):
    """A site's own, with a fault in it."""

    def may_issue_for(self, actor: Any, user: Any) -> bool:
        raise RuntimeError("the directory is down")


def test_issue__an_error_report_does_not_tell_the_passcode(
    browser: Client, robin: Any, policy_on: Any, settings: Any
) -> None:
    settings.TAP_PROVIDER_HOOKS = "tests.admin.test_passes.BrokenHooks"
    browser.raise_request_exception = False
    told: list[tuple[str, str]] = []

    def remember(request: Any, **kwargs: Any) -> None:
        reporter = ExceptionReporter(request, *passes_exc_info())
        told.extend(pair for frame in reporter.get_traceback_data()["frames"] for pair in frame["vars"])

    got_request_exception.connect(remember, weak=False, dispatch_uid="remember")
    try:
        assert browser.post(issue_url(robin), {"lifetime_minutes": "60"}).status_code == 500
    finally:
        got_request_exception.disconnect(dispatch_uid="remember")
    assert "policy" in {name for name, _ in told}  # the frame of the verb is there
    assert [value for name, value in told if name == "passcode" and "*" not in value] == []


def passes_exc_info() -> Any:
    return sys.exc_info()


# Revoking.


def test_revoke__get_asks_and_changes_nothing(browser: Client, holder_client: Client, robin: Any) -> None:
    for method in (browser.get, browser.head):
        assert method(revoke_url(robin)).status_code == 200
    assert TemporaryAccessPass.objects.filter(user=robin).exists()
    assert holder_client.get("/account/security-info/").status_code == 200


@pytest.mark.default_database
def test_revoke__post_ends_the_pass_and_what_it_opened(
    browser: Client, holder_client: Client, robin: Any, admin: Any
) -> None:
    pass_id = TemporaryAccessPass.objects.get(user=robin).pk
    assert browser.post(revoke_url(robin))["Location"] == methods_url(robin)
    assert not TemporaryAccessPass.objects.exists()
    assert holder_client.get("/account/security-info/").status_code == 302
    event = AuditEvent.objects.get(kind=AuditEvent.Kind.PASS_REVOKED)
    assert (event.pass_id, event.actor_name) == (pass_id, admin.upn)
    assert LogEntry.objects.filter(action_flag=DELETION, object_id=str(pass_id)).count() == 1


def test_revoke__there_is_nothing_left_to_revoke(browser: Client, robin: Any, issue: Any) -> None:
    issue(robin)
    browser.post(revoke_url(robin))
    assert browser.get(revoke_url(robin)).status_code == 404
    assert browser.post(revoke_url(robin)).status_code == 404


def test_revoke__the_pass_of_somebody_with_more_permissions_is_refused(
    helpdesk_browser: Client, make_user: Any, admin: Any, issue: Any
) -> None:
    boss = make_user("boss", is_superuser=True)
    issue(boss)
    helpdesk_browser.post(revoke_url(boss))
    assert TemporaryAccessPass.objects.filter(user=boss).exists()
    assert not LogEntry.objects.filter(action_flag=DELETION).exists()  # the log does not tell of what did not happen
    said = [str(message) for message in helpdesk_browser.get("/admin/").context["messages"]]
    assert said == ["This user has permissions that you do not have."]


# Who may.


@pytest.mark.parametrize("page", ["", "add/", "add/temporary-access-pass/", "revoke/"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_pages__staff_without_permissions_are_refused(
    make_user: Any, robin: Any, issue: Any, page: str, method: str
) -> None:
    issue(robin)
    browser = Client()
    browser.force_login(make_user("staff", is_staff=True))
    assert getattr(browser, method)(f"{methods_url(robin)}{page}").status_code == 403
    assert TemporaryAccessPass.objects.count() == 1


@pytest.mark.parametrize("url", [PASSES, f"{PASSES}add/", f"{PASSES}add/?upn=robin@example.test"])
def test_pages__staff_without_permissions_do_not_even_find_users(
    make_user: Any, robin: Any, policy_on: Any, url: str
) -> None:
    browser = Client()
    browser.force_login(make_user("staff", is_staff=True))
    assert browser.get(url).status_code == 403


@pytest.mark.parametrize("page", ["", "add/", "add/temporary-access-pass/", "revoke/"])
def test_pages__others_are_asked_to_sign_in(client: Client, holder_client: Client, robin: Any, page: str) -> None:
    person = Client()
    person.force_login(robin)
    for browser in (Client(), holder_client, person):
        for method in (browser.get, browser.post):
            response = method(f"{methods_url(robin)}{page}")
            assert response.status_code == 302
            assert response["Location"].startswith("/admin/login/")
    assert TemporaryAccessPass.objects.count() == 1


@pytest.mark.parametrize(
    ("permission", "allowed"),
    [
        ("view_temporaryaccesspass", {""}),
        ("add_temporaryaccesspass", {"add/", "add/temporary-access-pass/"}),
        ("delete_temporaryaccesspass", {"revoke/"}),
        ("change_temporaryaccesspass", {""}),  # in django-admin, who may change may look
        ("issue_privileged_pass", set()),
    ],
)
def test_pages__each_permission_opens_its_own(
    make_user: Any, grant: Any, robin: Any, issue: Any, permission: str, allowed: set[str]
) -> None:
    issue(robin)
    browser = Client()
    browser.force_login(grant(make_user("staff", is_staff=True), permission))
    pages = {"", "add/", "add/temporary-access-pass/", "revoke/"}
    assert {page for page in pages if browser.get(f"{methods_url(robin)}{page}").status_code == 200} == allowed


# Whatever is in the address.


@pytest.mark.parametrize(
    "user_id",
    [
        "nonsense",
        "0",
        "-1",
        "999999",
        "9" * 30,
        "1.5",
        "1e3",
        "0b2d3bd0-76d1-4e8b-8f3a-3a5c0f0f6f1e",
        "%00",
        "_00",
        "1/2",
        "%C3%A9",
        "%FF",
        "%20",
        "None",
    ],
)
@pytest.mark.parametrize("page", ["", "add/", "add/temporary-access-pass/", "revoke/"])
def test_pages__a_nonsense_user_is_not_found(browser: Client, policy_on: Any, user_id: str, page: str) -> None:
    for method in (browser.get, browser.post):
        assert method(f"{PASSES}users/{user_id}/{page}").status_code == 404


@pytest.mark.parametrize(
    "key", [7, UUID("0b2d3bd0-76d1-4e8b-8f3a-3a5c0f0f6f1e"), "robin@example.test", "a/b", "a b", "é", "a_5F"]
)
@pytest.mark.parametrize("name", ["", "add", "issue", "revoke"])
def test_pages__an_address_names_the_user_it_was_made_for(key: Any, name: str) -> None:
    # User models have keys of many kinds; `_5F` is how the admin writes `_` in an address.
    address = site._registry[TemporaryAccessPass]._url(name, SimpleNamespace(pk=key))
    match = resolve(percent_unquote(address))
    assert match.view_name == f"{NAME}_{name}" if name else NAME
    assert unquote(match.kwargs["user_id"]) == str(key)


def test_pages__are_reversible_for_a_sites_own_templates(robin: Any) -> None:
    assert reverse(NAME, args=[robin.pk]) == methods_url(robin)
    assert reverse(f"{NAME}_issue", args=[robin.pk]) == issue_url(robin)


def test_pages__a_hostile_name_is_escaped(browser: Client, make_user: Any, issue: Any) -> None:
    hostile = "<script>alert(1)</script>"
    quinn = make_user("quinn", upn=f"{hostile}@example.test", first_name=hostile)
    issue(quinn, reason=hostile)
    TOTPDevice.objects.create(user=quinn, name=hostile, confirmed=True)
    responses = [browser.get(f"{methods_url(quinn)}{page}") for page in ("", "add/", "revoke/")]
    responses += [
        browser.get(issue_url(quinn)),
        browser.post(issue_url(quinn), {"reason": hostile}),
        browser.get(PASSES),
    ]
    for response in responses:
        assert response.status_code == 200
        assert hostile not in response.content.decode()


@pytest.mark.parametrize("lookup", ["passcode_hash", "passcode_hash__startswith", "passcode_hash__regex"])
def test_passes__cannot_be_asked_about_their_hashes(browser: Client, robin: Any, issue: Any, lookup: str) -> None:
    # A character at a time, a list that may be filtered by it gives the whole hash away.
    issue(robin)
    url = reverse("admin:tap_provider_temporaryaccesspass_changelist")
    assert browser.get(url, {lookup: "argon2"}).status_code == 400
