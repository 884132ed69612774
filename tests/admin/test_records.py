"""The records in django-admin: sign-ins and audit events render, and nobody alters them, superusers included."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from tap_provider.issue import revoke_pass
from tap_provider.models import AuditEvent, SignIn, TemporaryAccessPass

SIGN_INS = "/admin/tap_provider/signin/"
EVENTS = "/admin/tap_provider/auditevent/"

pytestmark = pytest.mark.usefixtures("hasher")  # a cheap one


@pytest.fixture
def admin_browser(admin: Any) -> Client:
    browser = Client()
    browser.force_login(admin)
    return browser


@pytest.fixture
def history(holder_client: Client, admin: Any, robin: Any, client: Client) -> None:
    """Some of each: a pass issued, refused, redeemed and revoked, sign-ins open and ended."""
    client.post("/account/sign-in/pass/", {"upn": robin.upn, "passcode": "ABCD-EFGH"})
    client.post("/account/sign-in/", {"upn": "nobody@example.test", "password": "wrong"})
    revoke_pass(actor=admin, temporary_access_pass=TemporaryAccessPass.objects.get(user=robin), now=timezone.now())


@pytest.fixture(params=["sign-in", "audit event"])
def record(request: pytest.FixtureRequest, history: None, admin_browser: Client) -> tuple[str, Any]:
    """The list's address and one record of each kind."""
    if request.param == "sign-in":
        return SIGN_INS, SignIn.objects.exclude(pass_id=None).get()
    return EVENTS, AuditEvent.objects.filter(kind=AuditEvent.Kind.PASS_REVOKED).get()


def test_records__the_list_and_each_record_render(admin_browser: Client, record: tuple[str, Any]) -> None:
    url, _ = record
    assert admin_browser.get(url).status_code == 200
    for each in (SignIn if url == SIGN_INS else AuditEvent).objects.all():
        assert admin_browser.get(f"{url}{each.pk}/change/").status_code == 200


def test_records__are_read_only(admin_browser: Client, record: tuple[str, Any]) -> None:
    url, each = record
    before = type(each).objects.filter(pk=each.pk).values().get()
    assert admin_browser.get(f"{url}add/").status_code == 403
    assert admin_browser.post(f"{url}add/", {"kind": "pass_issued"}).status_code == 403
    assert admin_browser.post(f"{url}{each.pk}/change/", {"kind": "pass_issued", "ended_at_0": ""}).status_code == 403
    assert admin_browser.get(f"{url}{each.pk}/delete/").status_code == 403
    assert admin_browser.post(f"{url}{each.pk}/delete/", {"post": "yes"}).status_code == 403
    page = admin_browser.get(f"{url}{each.pk}/change/").content.decode()
    assert 'name="_save"' not in page
    assert "deletelink" not in page
    admin_browser.post(url, {"action": "delete_selected", "_selected_action": [each.pk], "post": "yes"})
    assert type(each).objects.filter(pk=each.pk).values().get() == before


def test_records__offer_no_bulk_deletion(admin_browser: Client, record: tuple[str, Any]) -> None:
    assert "delete_selected" not in admin_browser.get(record[0]).content.decode()


def test_records__staff_without_the_permission_are_refused(
    client: Client, make_user: Any, record: tuple[str, Any]
) -> None:
    url, each = record
    browser = Client()
    browser.force_login(make_user("staff", is_staff=True))
    assert browser.get(url).status_code == browser.get(f"{url}{each.pk}/change/").status_code == 403


def test_records__the_permission_to_look_is_enough(make_user: Any, grant: Any, record: tuple[str, Any]) -> None:
    url, each = record
    browser = Client()
    browser.force_login(grant(make_user("staff", is_staff=True), "view_signin", "view_auditevent"))
    assert browser.get(url).status_code == browser.get(f"{url}{each.pk}/change/").status_code == 200


@pytest.mark.parametrize("record_id", ["nonsense", "999999", "00000000-0000-4000-8000-000000000000", "_00"])
@pytest.mark.parametrize("url", [SIGN_INS, EVENTS])
def test_records__a_nonsense_id_is_no_error(admin_browser: Client, url: str, record_id: str) -> None:
    assert admin_browser.get(f"{url}{record_id}/change/").status_code in {302, 404}


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    "url",
    [
        f"{EVENTS}?kind=pass_revoked",
        f"{EVENTS}?kind=nonsense",
        f"{EVENTS}?q=robin",
        f"{EVENTS}?q=%00",
        f"{EVENTS}?at__year=2026",
        f"{EVENTS}?at__year=2026&at__month=11",
        f"{EVENTS}?at__year=nonsense",
        f"{EVENTS}?o=1.2",
        f"{SIGN_INS}?level=multi_factor",
        f"{SIGN_INS}?ended_reason=pass_revoked",
        f"{SIGN_INS}?created_at__year=2026",
        f"{SIGN_INS}?user__password__startswith=p",
    ],
)
def test_records__filters_and_searches_are_no_error(admin_browser: Client, url: str) -> None:
    assert admin_browser.get(url).status_code in {200, 302, 400}


def test_records__a_hostile_name_is_escaped(admin_browser: Client, make_user: Any, client: Client) -> None:
    hostile = "<script>alert(1)</script>"
    quinn = make_user("quinn", upn=f"{hostile}@example.test")
    client.force_login(quinn)
    client.get("/members/", HTTP_USER_AGENT=hostile)
    client.post("/account/sign-in/pass/", {"upn": quinn.upn, "passcode": "ABCD-EFGH"}, HTTP_USER_AGENT=hostile)
    client.post("/account/sign-out/")
    for url in (SIGN_INS, EVENTS):
        assert hostile not in admin_browser.get(url).content.decode()


def test_sign_ins__do_not_keep_an_administrator_from_deleting_a_user(admin_browser: Client, robin: Any) -> None:
    # The audit trail outlives people; a table of sign-ins that nobody may delete would make users undeletable.
    Client().force_login(robin)
    assert SignIn.objects.filter(user=robin).exists()
    response = admin_browser.post(f"/admin/accounts/user/{robin.pk}/delete/", {"post": "yes"})
    assert response.status_code == 302
    assert not type(robin)._default_manager.filter(pk=robin.pk).exists()


def test_records__a_sign_in_shows_nothing_of_its_sessions_key(holder_client: Client, admin_browser: Client) -> None:
    sign_in = SignIn.objects.exclude(pass_id=None).get()
    page = admin_browser.get(f"{SIGN_INS}{sign_in.pk}/change/").content.decode()
    for secret in (sign_in.session_digest, sign_in.sealed_session_key, sign_in.password_stamp):
        assert len(secret) >= 64
        assert secret not in page
