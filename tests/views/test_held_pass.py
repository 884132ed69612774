"""The pass that one holds, as Security info shows it, and the page that deletes it."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from tap_provider.models import AuditEvent, TemporaryAccessPass
from tap_provider.sign_in import SESSION_KEY

from ..conftest import HOUR
from .test_pages import Page, age_pass, text_of
from .test_where_signed_in import SECURITY_INFO, browser, still_there, strict

__all__ = ["browser"]  # a fixture

DELETE = "/account/security-info/pass/delete/"

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("hasher")]  # a cheap one


def card(response: Any) -> str:
    """Return what the page says of the pass, or nothing."""
    if "pass" not in Page(response).ids:
        return ""
    return text_of(response).partition("Your Temporary Access Pass")[2].partition("Where you are signed in")[0]


def test_card__is_there_with_a_pass_and_only_then(passkey_client: Client, robin: Any, issue: Any) -> None:
    TemporaryAccessPass.objects.all().delete()
    assert card(passkey_client.get(SECURITY_INFO)) == ""
    issue(robin)
    told = card(passkey_client.get(SECURITY_INFO))
    assert "Can be used several times" in told
    assert "Not used yet" in told
    assert "Cannot be used" not in told


def test_card__says_when_it_was_used_and_why_it_cannot_be(holder_client: Client, robin: Any, issue: Any) -> None:
    assert "Last used" in card(holder_client.get(SECURITY_INFO))
    client = Client()
    client.force_login(robin)
    issue(robin, is_usable_once=True)
    age_pass(robin, by=2 * HOUR)
    told = card(client.get(SECURITY_INFO))
    assert "Can be used once" in told
    assert "Cannot be used now: expired" in told


def test_card__shows_no_passcode_hash_reason_or_issuer(
    passkey_client: Client, robin: Any, issue: Any, admin: Any
) -> None:
    issued = issue(robin, reason="identified by passport")
    for url in (SECURITY_INFO, DELETE):
        shown = passkey_client.get(url).content.decode()
        held = issued.temporary_access_pass
        secrets = (
            issued.passcode.reveal(),
            issued.passcode_for_reading.reveal(),
            held.passcode_hash,
            "passport",
            admin.upn,
        )
        assert [secret for secret in secrets if secret in shown] == []


def test_delete__in_a_full_session(passkey_client: Client, robin: Any, issue: Any) -> None:
    issue(robin)
    page = Page(passkey_client.get(DELETE))
    answer = passkey_client.post(DELETE, {"pass": page.value_of("pass")}, follow=True)
    assert "Your Temporary Access Pass is deleted." in text_of(answer)
    assert card(answer) == ""
    assert not TemporaryAccessPass.objects.exists()


def test_delete__of_the_pass_that_one_is_here_with_says_so_and_signs_out(holder_client: Client) -> None:
    response = holder_client.get(DELETE)
    assert "You are here with this pass" in text_of(response)
    answer = holder_client.post(DELETE, {"pass": Page(response).value_of("pass")}, follow=True)
    assert "and you are signed out" in text_of(answer)
    assert SESSION_KEY not in holder_client.session
    assert not still_there(holder_client)
    assert not TemporaryAccessPass.objects.exists()


def test_delete__of_one_that_was_replaced_meanwhile_leaves_the_new_one(
    passkey_client: Client, robin: Any, issue: Any
) -> None:
    issue(robin)
    shown = Page(passkey_client.get(DELETE)).value_of("pass")
    issue(robin)
    assert passkey_client.post(DELETE, {"pass": shown})["Location"] == SECURITY_INFO
    assert TemporaryAccessPass.objects.count() == 1


@pytest.mark.parametrize("junk", [None, "", "x", "\x00", "1" * 10_000], ids=str)
def test_delete__of_none_deletes_nothing(browser: Client, robin: Any, junk: str | None) -> None:
    passes = TemporaryAccessPass.objects.count()
    assert browser.post(DELETE, {} if junk is None else {"pass": junk})["Location"] == SECURITY_INFO
    assert TemporaryAccessPass.objects.count() == passes
    assert still_there(browser)


def test_delete__without_a_pass_leads_back(passkey_client: Client) -> None:
    TemporaryAccessPass.objects.all().delete()
    assert passkey_client.get(DELETE)["Location"] == SECURITY_INFO


@pytest.mark.parametrize("method", ["get", "head"])
def test_delete__by_get_deletes_nothing(holder_client: Client, method: str) -> None:
    shown = Page(holder_client.get(DELETE)).value_of("pass")
    events = AuditEvent.objects.count()
    assert getattr(holder_client, method)(DELETE, {"pass": shown}).status_code == 200
    assert TemporaryAccessPass.objects.count() == 1
    assert AuditEvent.objects.count() == events


@pytest.mark.parametrize("site_has_middleware", [True, False])
def test_delete__asks_for_the_csrf_token(holder_client: Client, settings: Any, site_has_middleware: bool) -> None:
    shown = Page(holder_client.get(DELETE)).value_of("pass")
    if not site_has_middleware:
        settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if not name.endswith("CsrfViewMiddleware")]
    assert strict(holder_client).post(DELETE, {"pass": shown}).status_code == 403
    assert TemporaryAccessPass.objects.count() == 1


def test_delete__sends_strangers_to_the_sign_in_page(client: Client, robin: Any, issue: Any) -> None:
    held = issue(robin).temporary_access_pass
    for response in (client.get(DELETE), client.post(DELETE, {"pass": str(held.pk)})):
        assert response["Location"].startswith("/account/sign-in/?next=")
    assert TemporaryAccessPass.objects.count() == 1
