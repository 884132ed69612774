"""The authorization endpoint: what a request asks for, it gets, or an error that says why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.core import signing
from django.db.models.signals import pre_save
from django.test import Client
from django.utils import timezone
from django_otp.oath import totp
from django_otp.plugins.otp_totp.models import TOTPDevice

from tap_provider.models import SignIn
from tap_provider.oidc import authorization_return
from tap_provider.oidc.authorization_checks import REQUEST_CHECKS, SESSION_CHECKS
from tap_provider.oidc.models import CodeContext, RelyingParty, TokenContext
from tap_provider.oidc.validator import TapOAuth2Validator

from .conftest import (
    AUTHORIZE,
    ISSUER,
    MULTI_FACTOR_ACR,
    PASSWORD,
    PASSWORD_ACR,
    PHISHING_RESISTANT_ACR,
    REDIRECT_URI,
    Asked,
    Party,
    answer_of,
    consent_page,
    is_sign_in_page,
    session_from_before,
    sign_in_of,
    sign_in_with_passkey,
    sign_in_with_password,
    toolkit_settings,
)

HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
STEP_UP = "/account/sign-in/step-up/"


def aged(browser: Client, age: timedelta) -> Client:
    SignIn.objects.filter(pk=sign_in_of(browser).pk).update(authenticated_at=timezone.now() - age)
    return browser


def next_of(response: Any) -> str:
    """Where the browser is sent back to from the page that it was sent to."""
    return parse_qs(urlsplit(response.headers["Location"]).query)["next"][0]


def otherwise_of(response: Any) -> str:
    return parse_qs(urlsplit(response.headers["Location"]).query)["otherwise"][0]


def is_step_up_page(response: Any) -> bool:
    return bool(response.status_code == 302 and response.headers["Location"].startswith(STEP_UP))


def sign_in_again(browser: Client, response: Any, *, password: str = PASSWORD, name: str = "kim") -> Any:
    """Fill in the sign-in page that a browser was sent to, and return where that leads."""
    assert is_sign_in_page(response), response.headers
    return browser.post("/account/sign-in/", {"upn": name, "password": password, "next": next_of(response)})


def claims_of(party: Party, browser: Client, asked: Asked, url: str | None = None) -> dict[str, Any]:
    code = answer_of(browser.get(url or asked.url))["code"]
    return party.read(party.exchange(code, asked), nonce=asked.query["nonce"]).claims


def error_of(browser: Client, asked: Asked) -> str:
    answer = answer_of(browser.get(asked.url))
    assert answer["iss"] == ISSUER
    assert answer.get("state") == asked.query.get("state")
    return answer["error"]


def essential(*values: str) -> str:
    return json.dumps({"id_token": {"acr": {"essential": True, "values": list(values)}}})


def voluntary(*values: str) -> str:
    return json.dumps({"id_token": {"acr": {"values": list(values)}}})


@pytest.fixture
def app(kim: Any) -> TOTPDevice:
    return TOTPDevice.objects.create(user=kim, confirmed=True, name="app")


def code_of(device: TOTPDevice) -> str:
    device.refresh_from_db()
    return f"{totp(device.bin_key):06d}"


# The tables.


def test_checks__each_has_a_name_and_the_section_that_asks_for_it() -> None:
    checks = [*REQUEST_CHECKS, *SESSION_CHECKS]
    assert len({check.name for check in checks}) == len(checks)
    assert all("§" in check.section for check in checks)


# max_age (OpenID Connect Core 1.0 §3.1.2.1).


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_max_age__recent_enough_is_answered_with_the_time(full: Client, intranet: Party) -> None:
    asked = intranet.request(max_age="300")
    claims = claims_of(intranet, aged(full, 299 * SECOND), asked)
    assert claims["auth_time"] == int(sign_in_of(full).authenticated_at.timestamp())  # type: ignore[union-attr]


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
@pytest.mark.parametrize("asked_age", ["0", "299"])
def test_max_age__too_old_signs_in_again_and_really_newer(asked_age: str, full: Client, intranet: Party) -> None:
    aged(full, 300 * SECOND)
    before, asked = sign_in_of(full), intranet.request(max_age=asked_age)
    sent_away = full.get(asked.url)
    back = sign_in_again(full, sent_away)
    claims = claims_of(intranet, full, asked, back.headers["Location"])
    assert claims["auth_time"] > int(before.authenticated_at.timestamp())  # type: ignore[union-attr]
    assert claims["sid"] == str(before.pk)


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_max_age__going_back_without_signing_in_is_an_error_and_no_loop(full: Client, intranet: Party) -> None:
    """As by a login page with `redirect_authenticated_user`, or by hand."""
    asked = intranet.request(max_age="0")
    sent_away = full.get(asked.url)
    assert is_sign_in_page(sent_away)
    assert answer_of(full.get(next_of(sent_away)))["error"] == "login_required"
    assert is_sign_in_page(full.get(asked.url))  # the request itself may be made again


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_max_age__the_return_is_good_once(full: Client, intranet: Party) -> None:
    asked = intranet.request(max_age="0")
    back = sign_in_again(full, full.get(asked.url)).headers["Location"]
    assert "code" in answer_of(full.get(back))
    assert is_sign_in_page(full.get(back))


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_max_age__the_return_is_good_for_this_request_only(full: Client, intranet: Party) -> None:
    back = sign_in_again(full, full.get(intranet.request(max_age="0").url)).headers["Location"]
    signed = parse_qs(urlsplit(back).query)["tap_return"][0]
    other = intranet.request(max_age="0")
    assert is_sign_in_page(full.get(f"{other.url}&{urlencode({'tap_return': signed})}"))


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_max_age__the_return_is_good_for_a_while(
    full: Client, intranet: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = sign_in_again(full, full.get(intranet.request(max_age="0").url)).headers["Location"]
    monkeypatch.setattr(authorization_return, "LASTS", timedelta(seconds=-1))
    assert is_sign_in_page(full.get(back))


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
@pytest.mark.parametrize(
    "forged", ["", "x", "a:b:c", signing.dumps(["i", "f", 0.0, False, ""], salt="another")], ids=range(4)
)
def test_max_age__a_forged_return_is_none(forged: str, full: Client, intranet: Party) -> None:
    asked = intranet.request(max_age="0")
    assert is_sign_in_page(full.get(f"{asked.url}&{urlencode({'tap_return': forged})}"))


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_max_age__anonymous_visitors_sign_in_once(kim: Any, intranet: Party) -> None:
    browser, asked = Client(), intranet.request(max_age="0")
    back = sign_in_again(browser, browser.get(asked.url))
    assert "auth_time" in claims_of(intranet, browser, asked, back.headers["Location"])


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_max_age__signing_in_as_somebody_else_is_newer_too(full: Client, admin: Any, intranet: Party) -> None:
    """Django flushes the session then; what was signed travels in the address."""
    asked = intranet.request(max_age="0")
    back = sign_in_again(full, full.get(asked.url), name="admin", password="admin-password")
    assert claims_of(intranet, full, asked, back.headers["Location"])["sub"] == str(admin.pk)


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_max_age__silently_too_old_is_login_required(full: Client, intranet: Party) -> None:
    aged(full, HOUR)
    assert error_of(full, intranet.request(max_age="3599", prompt="none")) == "login_required"
    assert "code" in answer_of(full.get(intranet.request(max_age="3700", prompt="none").url))


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
@pytest.mark.parametrize("sent", ["-1", "abc", "1.5"])
def test_max_age__that_is_no_number_is_invalid(sent: str, full: Client, intranet: Party) -> None:
    assert error_of(full, intranet.request(max_age=sent)) == "invalid_request"


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_max_age__huge_is_never_too_old(full: Client, intranet: Party) -> None:
    aged(full, 1000 * HOUR)
    assert "code" in answer_of(full.get(intranet.request(max_age="9" * 40).url))


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_max_age__holds_for_the_consent_post_too(full: Client, make_party: Callable[..., Party]) -> None:
    party = make_party("asks-first", skip_authorization=False)
    asked = party.request(max_age="300")
    fields = consent_page(full, asked)
    aged(full, 301 * SECOND)
    sent_away = full.post(asked.url, fields)
    back = sign_in_again(full, sent_away).headers["Location"]
    assert full.get(back).status_code == 200  # the consent page again, for the same request
    assert "code" in answer_of(full.post(back, fields))


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_max_age__zero_gets_through_the_consent_page(full: Client, make_party: Callable[..., Party]) -> None:
    party = make_party("asks-first", skip_authorization=False)
    asked = party.request(max_age="0")
    back = sign_in_again(full, full.get(asked.url)).headers["Location"]
    page = full.get(back)
    assert page.status_code == 200
    fields = {name: value for name, value in page.context["form"].initial.items() if value is not None}
    assert "code" in answer_of(full.post(back, {**fields, "allow": "Authorize"}))
    assert is_sign_in_page(full.post(back, {**fields, "allow": "Authorize"}))  # once


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_max_age__of_an_adopted_session_is_too_old(kim: Any, intranet: Party) -> None:
    """Nobody knows when it began."""
    browser = session_from_before(kim)
    assert error_of(browser, intranet.request(max_age="999999", prompt="none")) == "login_required"
    asked = intranet.request(max_age="999999")
    back = sign_in_again(browser, browser.get(asked.url))
    assert "auth_time" in claims_of(intranet, browser, asked, back.headers["Location"])


WITHOUT_PROOF = [
    ({"max_age": "999999"}, "login_required"),
    ({"max_age": "0"}, "login_required"),
    ({"prompt": "login"}, "login_required"),
    ({"claims": json.dumps({"id_token": {"auth_time": {"essential": True}}})}, "login_required"),
    ({"claims": essential(MULTI_FACTOR_ACR)}, "login_required"),
]


@pytest.mark.parametrize(("wishes", "error"), WITHOUT_PROOF)
@pytest.mark.parametrize("already_in", [True, False])
def test_login_without_proof__ends_in_an_answer_and_no_loop(
    kim: Any, intranet: Party, wishes: dict[str, str], error: str, already_in: bool
) -> None:
    """By support staff who act as a user, or a page that authenticates nobody: it never counts as newly signed in."""
    browser = Client()
    if already_in:
        browser.force_login(kim)
    url, sent_away = intranet.request(**wishes).url, 0
    while is_sign_in_page(response := browser.get(url)):
        sent_away += 1
        assert sent_away <= 2
        browser.force_login(kim)
        url = next_of(response)
    assert answer_of(response)["error"] == error


def test_login_without_proof__tells_neither_how_nor_when(kim: Any, intranet: Party) -> None:
    browser, asked = Client(), intranet.request()
    browser.force_login(kim)
    claims = claims_of(intranet, browser, asked)
    assert claims["sub"] == str(kim.pk)
    assert {"acr", "amr", "auth_time"} & set(claims) == set()


@pytest.mark.compliance("OpenID Connect Dynamic Client Registration 1.0 §2")
def test_max_age__of_the_client_holds_where_the_request_says_none(full: Client, intranet: Party) -> None:
    """OpenID Connect Dynamic Client Registration 1.0 §2, default_max_age."""
    RelyingParty.objects.update(default_max_age=60)
    aged(full, 2 * MINUTE)
    assert error_of(full, intranet.request(prompt="none")) == "login_required"
    assert "code" in answer_of(full.get(intranet.request(prompt="none", max_age="180").url))


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_max_age__of_a_registration_only_session(holder: Client, portal: Party) -> None:
    """The holder of a multi-use pass signs in with it again."""
    aged(holder, 2 * MINUTE)
    assert error_of(holder, portal.request(max_age="60", prompt="none")) == "login_required"
    assert is_sign_in_page(holder.get(portal.request(max_age="60").url))
    assert "code" in answer_of(holder.get(portal.request(max_age="180").url))


# auth_time and acr requested as claims (§5.5.1).


@pytest.mark.compliance("OpenID Connect Core 1.0 §5.5.1")
def test_claims__essential_auth_time_of_an_adopted_session_signs_in(kim: Any, intranet: Party) -> None:
    browser = session_from_before(kim)
    wish = json.dumps({"id_token": {"auth_time": {"essential": True}}})
    assert error_of(browser, intranet.request(claims=wish, prompt="none")) == "login_required"
    asked = intranet.request(claims=wish)
    back = sign_in_again(browser, browser.get(asked.url))
    assert "auth_time" in claims_of(intranet, browser, asked, back.headers["Location"])


@pytest.mark.compliance("OpenID Connect Core 1.0 §5.5.1")
def test_claims__auth_time_and_amr_are_told_when_asked_for(full: Client, intranet: Party) -> None:
    asked = intranet.request(claims=json.dumps({"id_token": {"auth_time": None, "amr": None}}))
    claims = claims_of(intranet, full, asked)
    assert (claims["amr"], "auth_time" in claims) == (["pwd"], True)


@pytest.mark.compliance("OpenID Connect Core 1.0 §5.5")
@pytest.mark.parametrize("sent", ["{", "[1]", '{"id_token": 5}', '{"id_token": {"acr": {"essential": "x"}}}'])
@pytest.mark.parametrize("prompt", [None, "none"])
def test_claims__malformed_is_invalid(sent: str, prompt: str | None, full: Client, intranet: Party) -> None:
    """§5.5."""
    assert error_of(full, intranet.request(claims=sent, prompt=prompt)) == "invalid_request"


@pytest.mark.compliance("RFC 6749 §4.1.2.1")
def test_malformed__is_told_before_what_the_toolkit_finds(full: Client, intranet: Party) -> None:
    """The order of the tables: what cannot be read cannot be judged."""
    asked = intranet.request(max_age="x", scope="unknown", code_challenge=None)
    assert error_of(full, asked) == "invalid_request"
    assert "max_age" in answer_of(full.get(asked.url))["error_description"]


@pytest.mark.compliance("RFC 7636 §4.2", "RFC 7636 §4.3", "RFC 9700 §4.8.2")
@pytest.mark.parametrize("required", [True, False], ids=["pkce_required", "exempt"])
@pytest.mark.parametrize(
    "sent",
    [
        {"code_challenge": None},
        {"code_challenge": ""},
        {"code_challenge": "x" * 42},
        {"code_challenge": "x" * 42 + "="},
        {"code_challenge": "x" * 129},
        {"code_challenge": "x" * 43, "code_challenge_method": "S512"},
    ],
    ids=["missing", "empty", "short", "padded", "long", "unknown_method"],
)
def test_challenge__that_protects_nothing_is_invalid(
    full: Client, intranet: Party, sent: dict[str, Any], required: bool
) -> None:
    """A client that names a method means PKCE, whether or not it has to: it learns that nothing would be protected."""
    with toolkit_settings(PKCE_REQUIRED=required, COMPLIANT_BCP_RFC9700_PKCE_REQUIRED=required):
        assert error_of(full, intranet.request(**sent)) == "invalid_request"


@pytest.mark.compliance("RFC 7636 §4.3", "RFC 9700 §2.1.1")
def test_challenge__without_a_method_is_plain_which_the_site_may_refuse(full: Client, intranet: Party) -> None:
    assert error_of(full, intranet.request(code_challenge_method=None)) == "invalid_request"


@pytest.mark.compliance("OpenID Connect Core 1.0 §5.5.1")
def test_claims__sub_of_somebody_else_is_not_answered(full: Client, intranet: Party, admin: Any, kim: Any) -> None:
    """§5.5.1: a value requested for `sub` names who must be signed in."""

    def request(user: Any, **more: Any) -> Asked:
        return intranet.request(claims=json.dumps({"id_token": {"sub": {"value": str(user.pk)}}}), **more)

    assert "code" in answer_of(full.get(request(kim).url))
    assert error_of(full, request(admin, prompt="none")) == "login_required"
    assert full.get(request(admin).url).context["continue_url"] == ""


# prompt (§3.1.2.1).


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.6")
def test_prompt_none__anonymous_is_login_required(intranet: Party) -> None:
    assert error_of(Client(), intranet.request(prompt="none")) == "login_required"


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.6")
def test_prompt_none__without_consent_is_consent_required(full: Client, make_party: Callable[..., Party]) -> None:
    party = make_party("asks-first", skip_authorization=False)
    assert error_of(full, party.request(prompt="none")) == "consent_required"


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.6")
def test_prompt_none__what_a_step_up_would_reach_is_interaction_required(
    full: Client, intranet: Party, app: TOTPDevice
) -> None:
    assert error_of(full, intranet.request(prompt="none", claims=essential(MULTI_FACTOR_ACR))) == "interaction_required"


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.6")
def test_prompt_none__granted_is_a_code(full: Client, intranet: Party) -> None:
    assert "code" in answer_of(full.get(intranet.request(prompt="none").url))


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.6")
@pytest.mark.parametrize("prompt", ["none login", "none consent", "login none select_account"])
def test_prompt_none__with_anything_else_is_invalid(prompt: str, full: Client, intranet: Party) -> None:
    assert error_of(full, intranet.request(prompt=prompt)) == "invalid_request"
    assert error_of(Client(), intranet.request(prompt=prompt)) == "invalid_request"


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
@pytest.mark.parametrize("prompt", ["never", "LOGIN", "login never"])
def test_prompt__unknown_is_invalid(prompt: str, full: Client, intranet: Party) -> None:
    assert error_of(full, intranet.request(prompt=prompt)) == "invalid_request"


@pytest.mark.compliance("Initiating User Registration via OpenID Connect 1.0 §4.1")
def test_prompt_create__is_unknown_where_it_is_off(full: Client, intranet: Party) -> None:
    for browser in (full, Client()):
        assert error_of(browser, intranet.request(prompt="create")) == "invalid_request"


@pytest.mark.compliance("Initiating User Registration via OpenID Connect 1.0 §4.1")
def test_prompt_create__leads_to_the_sites_registration_where_it_is_on(full: Client, intranet: Party) -> None:
    """OpenID Connect Prompt Create 1.0 §4.1; the toolkit's, whose contract stays."""
    changes = {"OIDC_RP_INITIATED_REGISTRATION_ENABLED": True, "OIDC_RP_INITIATED_REGISTRATION_URL": "/register/"}
    with toolkit_settings(**changes):
        response = Client().get(intranet.request(prompt="create login").url)
        assert response.headers["Location"].startswith("/register/?next=")
        assert parse_qs(urlsplit(next_of(response)).query)["prompt"] == ["login"]
        assert "code" in answer_of(full.get(intranet.request(prompt="create").url))
        response = Client().get(intranet.request(prompt="create", redirect_uri="https://attacker.test/").url)
        assert response.status_code == 400


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_prompt_login__really_signs_in_again(full: Client, intranet: Party) -> None:
    asked, before = intranet.request(prompt="login"), sign_in_of(full)
    sent_away = full.get(asked.url)
    assert is_sign_in_page(sent_away)
    assert answer_of(full.get(next_of(sent_away)))["error"] == "login_required"
    back = sign_in_again(full, full.get(asked.url))
    claims = claims_of(intranet, full, asked, back.headers["Location"])
    assert claims["sid"] == str(before.pk)
    assert sign_in_of(full).authenticated_at > before.authenticated_at  # type: ignore[operator]
    assert is_sign_in_page(full.get(back.headers["Location"]))  # and once more for another code


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_prompt_login__anonymous_visitors_sign_in_once(kim: Any, intranet: Party) -> None:
    browser, asked = Client(), intranet.request(prompt="login")
    back = sign_in_again(browser, browser.get(asked.url))
    assert "acr" in claims_of(intranet, browser, asked, back.headers["Location"])


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_prompt_consent__is_shown_even_where_approval_is_skipped(full: Client, intranet: Party) -> None:
    asked = intranet.request(prompt="consent")
    page = full.get(asked.url)
    assert (page.status_code, "form" in page.context) == (200, True)
    assert "code" in answer_of(full.post(asked.url, consent_page(full, asked)))


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_prompt_consent__is_shown_even_where_it_was_given(full: Client, make_party: Callable[..., Party]) -> None:
    party = make_party("asks-first", skip_authorization=False)
    first = party.request()
    assert party.exchange(answer_of(full.post(first.url, consent_page(full, first)))["code"], first).status_code == 200
    with toolkit_settings(REQUEST_APPROVAL_PROMPT="auto"):
        assert "code" in answer_of(full.get(party.request().url))
        assert full.get(party.request(prompt="consent").url).status_code == 200


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_prompt_select_account__asks_and_goes_on_with_this_one(full: Client, intranet: Party) -> None:
    asked = intranet.request(prompt="select_account")
    page = full.get(asked.url)
    assert page.status_code == 200
    assert "kim@example.test" in page.content.decode()
    assert "sub" in claims_of(intranet, full, asked, page.context["continue_url"])
    assert full.get(page.context["continue_url"]).status_code == 200  # asked again for another code


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_prompt_select_account__switches(full: Client, admin: Any, intranet: Party) -> None:
    asked = intranet.request(prompt="select_account")
    url = full.get(asked.url).context["sign_in_url"]
    back = full.post(url, {"upn": "admin", "password": "admin-password"}, query_params=None).headers["Location"]
    assert claims_of(intranet, full, asked, back)["sub"] == str(admin.pk)


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_prompt_select_account__can_be_cancelled(full: Client, intranet: Party) -> None:
    page = full.get(intranet.request(prompt="select_account").url)
    assert answer_of(full.get(page.context["cancel_url"]))["error"] == "account_selection_required"


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_prompt_select_account__another_accounts_choice_does_not_count(
    full: Client, admin: Any, intranet: Party
) -> None:
    page = full.get(intranet.request(prompt="select_account").url)
    other = Client()
    other.force_login(admin)
    assert other.get(page.context["continue_url"]).status_code == 200


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_prompt__combined_is_walked_in_order(full: Client, intranet: Party) -> None:
    asked = intranet.request(prompt="select_account login consent")
    sent_away = full.get(full.get(asked.url).context["continue_url"])
    back = sign_in_again(full, sent_away).headers["Location"]
    page = full.get(back)
    assert "form" in page.context
    fields = {name: value for name, value in page.context["form"].initial.items() if value is not None}
    assert "code" in answer_of(full.post(back, {**fields, "allow": "Authorize"}))


# acr_values and essential acr (§3.1.2.1, §5.5.1.1), step-up.


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_acr_values__reached_is_answered_at_once(kim: Any, intranet: Party) -> None:
    browser = sign_in_with_passkey(kim)
    asked = intranet.request(acr_values=PHISHING_RESISTANT_ACR)
    assert claims_of(intranet, browser, asked)["acr"] == PHISHING_RESISTANT_ACR


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_acr_values__a_step_up_is_offered_and_raises_this_sign_in(
    full: Client, intranet: Party, app: TOTPDevice
) -> None:
    aged(full, MINUTE)
    before, asked = sign_in_of(full), intranet.request(acr_values=MULTI_FACTOR_ACR)
    sent_away = full.get(asked.url)
    assert is_step_up_page(sent_away)
    back = full.post(sent_away.headers["Location"], {"code": code_of(app)}).headers["Location"]
    claims = claims_of(intranet, full, asked, back)
    assert (claims["acr"], claims["amr"]) == (MULTI_FACTOR_ACR, ["mfa", "otp", "pwd"])
    assert claims["sid"] == str(before.pk)
    assert claims["auth_time"] > int(before.authenticated_at.timestamp())  # type: ignore[union-attr]
    assert "code" in answer_of(full.get(intranet.request(acr_values=MULTI_FACTOR_ACR).url))  # and stays raised


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_acr_values__a_raised_context_does_not_outlive_max_age(full: Client, intranet: Party, app: TOTPDevice) -> None:
    sent_away = full.get(intranet.request(acr_values=MULTI_FACTOR_ACR).url)
    full.post(sent_away.headers["Location"], {"code": code_of(app)})
    aged(full, 2 * MINUTE)
    assert is_sign_in_page(full.get(intranet.request(acr_values=MULTI_FACTOR_ACR, max_age="60").url))


@pytest.mark.compliance("OpenID Connect Core 1.0 §5.5.1.1")
def test_voluntary_acr__a_step_up_is_offered_and_may_be_declined(
    full: Client, intranet: Party, app: TOTPDevice
) -> None:
    asked = intranet.request(claims=voluntary(MULTI_FACTOR_ACR))
    offer = full.get(asked.url)
    assert is_step_up_page(offer)
    assert claims_of(intranet, full, asked, otherwise_of(offer))["acr"] == PASSWORD_ACR
    assert "code" in answer_of(full.get(intranet.request(claims=voluntary(PHISHING_RESISTANT_ACR)).url))


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_acr_values__the_offer_may_be_declined(full: Client, intranet: Party, app: TOTPDevice) -> None:
    asked = intranet.request(acr_values=MULTI_FACTOR_ACR)
    url = otherwise_of(full.get(asked.url))
    assert claims_of(intranet, full, asked, url)["acr"] == PASSWORD_ACR


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
@pytest.mark.parametrize("wanted", [MULTI_FACTOR_ACR, PHISHING_RESISTANT_ACR, "urn:unknown", "0"])
def test_acr_values__are_never_an_error(wanted: str, full: Client, intranet: Party) -> None:
    """Kim has a password and nothing else."""
    for prompt in (None, "none"):
        asked = intranet.request(acr_values=wanted, prompt=prompt)
        assert claims_of(intranet, full, asked)["acr"] == PASSWORD_ACR


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_acr_values__silently_are_best_effort(full: Client, intranet: Party, app: TOTPDevice) -> None:
    asked = intranet.request(acr_values=MULTI_FACTOR_ACR, prompt="none")
    assert claims_of(intranet, full, asked)["acr"] == PASSWORD_ACR


@pytest.mark.compliance("OpenID Connect Dynamic Client Registration 1.0 §2")
def test_acr_values__of_the_client_hold_where_the_request_says_none(
    full: Client, intranet: Party, app: TOTPDevice
) -> None:
    """OpenID Connect Dynamic Client Registration 1.0 §2, default_acr_values."""
    RelyingParty.objects.update(default_acr_values=f"{PHISHING_RESISTANT_ACR} {MULTI_FACTOR_ACR}")
    assert is_step_up_page(full.get(intranet.request().url))
    assert "code" in answer_of(full.get(intranet.request(acr_values=PASSWORD_ACR).url))


@pytest.mark.compliance("OpenID Connect Core 1.0 §5.5.1.1")
@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ([PASSWORD_ACR, MULTI_FACTOR_ACR], MULTI_FACTOR_ACR),
        ([MULTI_FACTOR_ACR, PASSWORD_ACR], MULTI_FACTOR_ACR),
        ([PASSWORD_ACR], PASSWORD_ACR),
        ([PASSWORD_ACR, PHISHING_RESISTANT_ACR, MULTI_FACTOR_ACR], PHISHING_RESISTANT_ACR),
        (["urn:unknown", MULTI_FACTOR_ACR], MULTI_FACTOR_ACR),
    ],
)
@pytest.mark.parametrize("how", ["acr_values", "essential", "voluntary"])
def test_acr__the_strongest_acceptable_that_was_reached_is_told(
    wanted: list[str], told: str, how: str, kim: Any, intranet: Party
) -> None:
    browser = sign_in_with_passkey(kim)
    asking = {
        "acr_values": {"acr_values": " ".join(wanted)},
        "essential": {"claims": essential(*wanted)},
        "voluntary": {"claims": voluntary(*wanted)},
    }
    asked = intranet.request(**asking[how])
    tokens = intranet.read(
        intranet.exchange(answer_of(browser.get(asked.url))["code"], asked), nonce=asked.query["nonce"]
    )
    assert tokens.claims["acr"] == told
    assert intranet.introspect(tokens.access_token)["acr"] == told


@pytest.mark.compliance("OpenID Connect Core 1.0 §5.5.1.1")
def test_essential_acr__is_met_by_stepping_up(full: Client, intranet: Party, app: TOTPDevice) -> None:
    asked = intranet.request(claims=essential(MULTI_FACTOR_ACR))
    sent_away = full.get(asked.url)
    assert parse_qs(urlsplit(sent_away.headers["Location"]).query)["level"] == ["multi_factor"]
    back = full.post(sent_away.headers["Location"], {"code": code_of(app)}).headers["Location"]
    assert claims_of(intranet, full, asked, back)["acr"] == MULTI_FACTOR_ACR


@pytest.mark.compliance("OpenID Connect Core 1.0 §5.5.1.1")
def test_essential_acr__going_back_without_stepping_up_asks_again(
    full: Client, intranet: Party, app: TOTPDevice
) -> None:
    sent_away = full.get(intranet.request(claims=essential(MULTI_FACTOR_ACR)).url)
    assert is_step_up_page(full.get(next_of(sent_away)))


@pytest.mark.compliance("OpenID Connect Core Error Code unmet_authentication_requirements 1.0 §1")
def test_essential_acr__declined_is_unmet(full: Client, intranet: Party, app: TOTPDevice) -> None:
    """OpenID Connect Core Error Code unmet_authentication_requirements 1.0 §1."""
    sent_away = full.get(intranet.request(claims=essential(MULTI_FACTOR_ACR)).url)
    assert answer_of(full.get(otherwise_of(sent_away)))["error"] == "unmet_authentication_requirements"


@pytest.mark.compliance("OpenID Connect Core Error Code unmet_authentication_requirements 1.0 §1")
@pytest.mark.parametrize("prompt", [None, "none"])
@pytest.mark.parametrize("wanted", [PHISHING_RESISTANT_ACR, MULTI_FACTOR_ACR, "urn:unknown"])
def test_essential_acr__that_nobody_here_can_reach_is_unmet(
    wanted: str, prompt: str | None, full: Client, intranet: Party
) -> None:
    asked = intranet.request(claims=essential(wanted), prompt=prompt)
    assert error_of(full, asked) == "unmet_authentication_requirements"


@pytest.mark.compliance("OpenID Connect Core 1.0 §5.5.1.1")
def test_essential_acr__is_unmet_from_a_registration_only_session(holder: Client, portal: Party) -> None:
    """A pass is never phishing-resistant, and is not raised."""
    asked = portal.request(claims=essential(PHISHING_RESISTANT_ACR))
    assert error_of(holder, asked) == "unmet_authentication_requirements"
    met = portal.request(claims=essential(MULTI_FACTOR_ACR), scope="openid")
    assert claims_of(portal, holder, met)["acr"] == MULTI_FACTOR_ACR


@pytest.mark.compliance("OpenID Connect Core 1.0 §5.5.1.1")
def test_essential_acr__without_values_wants_one_that_is_known(kim: Any, full: Client, intranet: Party) -> None:
    wish = json.dumps({"id_token": {"acr": {"essential": True}}})
    assert claims_of(intranet, full, intranet.request(claims=wish))["acr"] == PASSWORD_ACR
    assert is_sign_in_page(session_from_before(kim).get(intranet.request(claims=wish).url))


@pytest.mark.compliance("OpenID Connect Core 1.0 §5.5.1.1")
def test_essential_acr__posted_with_the_consent_holds(
    full: Client, make_party: Callable[..., Party], app: TOTPDevice
) -> None:
    """What the toolkit stores is what the form says, so that is judged."""
    party = make_party("asks-first", skip_authorization=False)
    asked = party.request()
    fields = {**consent_page(full, asked), "claims": essential(MULTI_FACTOR_ACR)}
    assert is_step_up_page(full.post(asked.url, fields))


@pytest.mark.compliance("OpenID Connect Core 1.0 §5.5.1.1")
def test_essential_acr__values_that_are_no_text_are_no_acr(full: Client, intranet: Party) -> None:
    wish = json.dumps({"id_token": {"acr": {"essential": True, "values": [1, None, ["phr"], {}]}}})
    assert error_of(full, intranet.request(claims=wish)) == "unmet_authentication_requirements"


@pytest.mark.compliance("OpenID Connect Core Error Code unmet_authentication_requirements 1.0 §1")
def test_minimum_level__of_a_client_holds_whatever_it_asks_for(
    full: Client, kim: Any, intranet: Party, app: TOTPDevice
) -> None:
    RelyingParty.objects.update(minimum_level="phishing_resistant")
    assert error_of(full, intranet.request()) == "unmet_authentication_requirements"
    assert (
        error_of(full, intranet.request(acr_values=PASSWORD_ACR, prompt="none")) == "unmet_authentication_requirements"
    )
    RelyingParty.objects.update(minimum_level="multi_factor")
    assert is_step_up_page(full.get(intranet.request(acr_values=PASSWORD_ACR).url))
    assert "code" in answer_of(sign_in_with_passkey(kim).get(intranet.request().url))
    assert is_sign_in_page(session_from_before(kim).get(intranet.request().url))


def test_minimum_level__holds_at_a_refresh_too(full: Client, intranet: Party) -> None:
    """It may have been raised since; what was refused is good again where it is lowered."""
    refresh_token = intranet.tokens(full).refresh_token
    RelyingParty.objects.update(minimum_level="multi_factor")

    response = intranet.refresh(refresh_token)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")

    RelyingParty.objects.update(minimum_level="single_factor")
    assert intranet.refresh(refresh_token).status_code == 200


def test_minimum_level__holds_at_a_refresh_of_tokens_from_before_the_installation(
    full: Client, intranet: Party
) -> None:
    refresh_token = intranet.tokens(full).refresh_token
    TokenContext.objects.all().delete()
    RelyingParty.objects.update(minimum_level="multi_factor")

    assert intranet.refresh(refresh_token).status_code == 400


def test_relying_party__without_a_row_has_safe_defaults(full: Client, intranet: Party, holder: Client) -> None:
    RelyingParty.objects.all().delete()
    assert "code" in answer_of(full.get(intranet.request().url))
    assert is_sign_in_page(holder.get(intranet.request().url))


# Hints (§3.1.2.1).


def id_token_of(party: Party, browser: Client) -> str:
    code, asked = party.code(browser)
    return str(party.exchange(code, asked).json()["id_token"])


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_id_token_hint__of_the_same_user_is_answered(full: Client, intranet: Party) -> None:
    hint = id_token_of(intranet, full)
    assert "code" in answer_of(full.get(intranet.request(id_token_hint=hint, prompt="none").url))


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_id_token_hint__of_somebody_else(full: Client, admin: Any, intranet: Party) -> None:
    other = Client()
    other.force_login(admin)
    hint = id_token_of(intranet, other)
    assert error_of(full, intranet.request(id_token_hint=hint, prompt="none")) == "login_required"
    asked = intranet.request(id_token_hint=hint)
    page = full.get(asked.url)
    assert (page.status_code, page.context["continue_url"]) == (200, "")
    assert answer_of(full.get(page.context["cancel_url"]))["error"] == "login_required"
    back = full.post(page.context["sign_in_url"], {"upn": "admin", "password": "admin-password"}).headers["Location"]
    assert claims_of(intranet, full, asked, back)["sub"] == str(admin.pk)


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_id_token_hint__signing_in_as_the_wrong_one_again_asks_again(full: Client, admin: Any, intranet: Party) -> None:
    other = Client()
    other.force_login(admin)
    page = full.get(intranet.request(id_token_hint=id_token_of(intranet, other)).url)
    back = full.post(page.context["sign_in_url"], {"upn": "kim", "password": PASSWORD}).headers["Location"]
    assert full.get(back).context["continue_url"] == ""


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
@pytest.mark.parametrize("hint", ["x", "a.b.c", "{}", "é", "a" * 5000])
@pytest.mark.parametrize("prompt", [None, "none"])
def test_id_token_hint__that_is_none_of_ours_is_invalid(
    hint: str, prompt: str | None, full: Client, intranet: Party
) -> None:
    assert error_of(full, intranet.request(id_token_hint=hint, prompt=prompt)) == "invalid_request"
    assert error_of(Client(), intranet.request(id_token_hint=hint)) == "invalid_request"


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
@pytest.mark.parametrize("hint", ["kim@example.test", "KIM@example.test", "kim"])
def test_login_hint__of_the_same_user_is_answered(hint: str, full: Client, intranet: Party) -> None:
    assert "code" in answer_of(full.get(intranet.request(login_hint=hint, prompt="none").url))


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_login_hint__of_somebody_else_is_a_choice(full: Client, kim: Any, intranet: Party) -> None:
    hint = "somebody@example.test"
    assert error_of(full, intranet.request(login_hint=hint, prompt="none")) == "login_required"
    asked = intranet.request(login_hint=hint)
    page = full.get(asked.url)
    assert hint in page.content.decode()
    assert claims_of(intranet, full, asked, page.context["continue_url"])["sub"] == str(kim.pk)


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_login_hint__whoever_signs_in_for_it_has_chosen(kim: Any, intranet: Party) -> None:
    """Who was not signed in, and signs in as somebody else than was hinted at, is not asked once more."""
    browser = Client()
    back = sign_in_again(browser, browser.get(intranet.request(login_hint="admin").url)).headers["Location"]
    assert "code" in answer_of(browser.get(back))


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_login_hint__is_filled_in_on_the_sign_in_page(intranet: Party) -> None:
    browser, hint = Client(), '"><script>@example.test'
    response = browser.get(intranet.request(login_hint=hint).url)
    page = browser.get(response.headers["Location"]).content.decode()
    assert "<script>@" not in page
    assert hint in unescape(page)


# What is not supported, and malformed input (RFC 6749 §4.1.2.1).


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.6")
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("request", "request_not_supported"),
        ("request_uri", "request_uri_not_supported"),
        ("registration", "registration_not_supported"),
    ],
)
def test_request_objects__are_refused_by_name(name: str, error: str, full: Client, intranet: Party) -> None:
    """OpenID Connect Core 1.0 §3.1.2.6."""
    assert error_of(full, intranet.request(**{name: "x"})) == error
    assert error_of(Client(), intranet.request(**{name: "x"})) == error
    assert "code" in answer_of(full.get(intranet.request(**{name: ""}).url))  # RFC 6749 §3.1: as if it were omitted


@pytest.mark.compliance("RFC 6749 §3.1")
@pytest.mark.parametrize("name", ["scope", "response_type", "nonce", "prompt", "max_age", "code_challenge", "whatever"])
def test_repeated__parameters_are_invalid(name: str, full: Client, intranet: Party) -> None:
    """RFC 6749 §3.1."""
    asked = intranet.request(**{name: intranet.request().query.get(name, "1")})
    answer = answer_of(full.get(f"{asked.url}&{name}=2"))
    assert (answer["error"], answer["state"], answer["iss"]) == ("invalid_request", asked.query["state"], ISSUER)


@pytest.mark.compliance("RFC 6749 §3.1")
def test_repeated__state_is_not_guessed(full: Client, intranet: Party) -> None:
    answer = answer_of(full.get(f"{intranet.request().url}&state=another"))
    assert (answer["error"], "state" in answer) == ("invalid_request", False)


@pytest.mark.compliance("RFC 6749 §3.1")
@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
def test_repeated__client_or_redirect_uri_is_an_error_page(name: str, full: Client, intranet: Party) -> None:
    asked = intranet.request()
    for value in (asked.query[name], "https://attacker.test/"):
        response = full.get(f"{asked.url}&{urlencode({name: value})}")
        assert (response.status_code, "Location" in response.headers) == (400, False)


@pytest.mark.compliance("RFC 8707 §2")
def test_resource__may_be_repeated(full: Client, intranet: Party) -> None:
    """RFC 8707 §2."""
    url = f"{intranet.request().url}&resource=https://a.test/&resource=https://b.test/"
    assert "code" in answer_of(full.get(url))


@pytest.mark.compliance("RFC 6749 §4.1.2.1")
@pytest.mark.parametrize(
    "changes",
    [{"client_id": "unknown"}, {"redirect_uri": "https://attacker.test/"}, {"client_id": "x\x00"}, {"client_id": ""}],
)
def test_untrusted__redirect_uri_is_an_error_page(changes: dict[str, str], full: Client, intranet: Party) -> None:
    """RFC 6749 §4.1.2.1: nobody is redirected there, whatever else is wrong."""
    for more in ({}, {"prompt": "none"}, {"claims": "{"}, {"request": "x"}):
        for browser in (full, Client()):
            response = browser.get(intranet.request(**changes, **more).url)
            assert (response.status_code, "Location" in response.headers) == (400, False)
            assert "text/html" in response.headers["Content-Type"]


ODD = ["%00", "%ff", "%zz", "%", "%C3%28", "\x7f", "%0d%0aSet-Cookie:x=1", "%ED%A0%80", "a" * 7000, "<script>", "'\"--"]


@pytest.mark.compliance("RFC 6749 §4.1.2.1")
@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize(
    "name",
    [
        "response_type",
        "scope",
        "state",
        "nonce",
        "response_mode",
        "display",
        "prompt",
        "max_age",
        "ui_locales",
        "claims_locales",
        "id_token_hint",
        "login_hint",
        "acr_values",
        "claims",
        "request",
        "request_uri",
        "registration",
        "code_challenge",
        "code_challenge_method",
        "resource",
        "approval_prompt",
        "tap_return",
        "tap_sign_in",
        "user",
        "client",
        "unheard_of",
    ],
)
def test_malformed__is_an_answer_to_the_client_and_no_error_of_ours(
    name: str, odd: str, full: Client, intranet: Party
) -> None:
    asked = intranet.request(**{name: None})
    url = f"{asked.url}&{name}={odd}"
    for browser in (full, Client()):
        response = browser.get(url)
        assert response.status_code in {200, 302}, response.content
        location = response.headers.get("Location", "")
        if location.startswith(REDIRECT_URI):
            answer = answer_of(response)
            assert ("code" in answer) != ("error" in answer)
            assert answer["iss"] == ISSUER
            assert name == "state" or answer["state"] == asked.query["state"]


@pytest.mark.compliance("RFC 6749 §4.1.2.1")
@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
def test_malformed__client_or_redirect_uri_is_an_error_page(name: str, odd: str, full: Client, intranet: Party) -> None:
    url = f"{intranet.request(**{name: None}).url}&{name}={odd}"
    for browser in (full, Client()):
        response = browser.get(url)
        assert (response.status_code, "Location" in response.headers) == (400, False)


@pytest.mark.compliance("RFC 6749 §4.1.2.1")
@pytest.mark.parametrize("name", ["claims", "nonce", "scope", "state", "code_challenge", "redirect_uri", "client_id"])
@pytest.mark.parametrize("odd", ["\x00", "{", "a" * 3000, "\ud800"])
def test_malformed__consent_posts_too(name: str, odd: str, full: Client, make_party: Callable[..., Party]) -> None:
    asked = make_party("asks-first", skip_authorization=False).request()
    fields = {**consent_page(full, asked), name: odd}
    body = urlencode({key: value.encode("utf-8", "surrogatepass") for key, value in fields.items()})
    response = full.post(asked.url, body, content_type="application/x-www-form-urlencoded")
    assert response.status_code in {200, 302, 400}
    assert "text/html" in response.headers["Content-Type"]
    assert urlsplit(response.headers.get("Location", "")).netloc in {"", urlsplit(REDIRECT_URI).netloc}


@pytest.mark.compliance("RFC 6749 §4.1.2")
@pytest.mark.parametrize("name", ["state", "nonce"])
def test_state_and_nonce__come_back_as_they_were(name: str, full: Client, intranet: Party) -> None:
    odd = "é🔑 &=+%2B;#?/\\\"'<>"
    asked = intranet.request(**{name: odd})
    answer = answer_of(full.get(asked.url))
    claims = intranet.read(intranet.exchange(answer["code"], asked), nonce=asked.query["nonce"]).claims
    assert {"state": answer["state"], "nonce": claims["nonce"]}[name] == odd


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_post__a_relying_party_may_post_its_request(full: Client, intranet: Party) -> None:
    """OpenID Connect Core 1.0 §3.1.2.1: GET and POST. A cookie that is SameSite=Lax comes with the redirect only."""
    asked = intranet.request()
    stranger = Client(enforce_csrf_checks=True)
    response = stranger.post(AUTHORIZE, asked.query)
    assert response.status_code == 302
    assert "code" in answer_of(full.get(response.headers["Location"]))


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.4")
def test_consent__cannot_be_posted_without_the_token(full: Client, make_party: Callable[..., Party]) -> None:
    asked = make_party("asks-first", skip_authorization=False).request()
    fields = consent_page(full, asked)
    browser = Client(enforce_csrf_checks=True)
    browser.cookies = full.cookies
    without = {name: value for name, value in fields.items() if name != "csrfmiddlewaretoken"}
    assert browser.post(asked.url, without).status_code == 403
    assert browser.post(AUTHORIZE, without).status_code == 403


# Response modes.


@pytest.mark.compliance("OAuth 2.0 Form Post Response Mode 1.0 §2")
def test_form_post__posts_the_answer(full: Client, intranet: Party) -> None:
    """OAuth 2.0 Form Post Response Mode 1.0 §2."""
    asked = intranet.request(response_mode="form_post")
    response = full.get(asked.url)
    told = {name: value.reveal() for name, value in response.context["fields"]}
    assert (response.status_code, response.context["action"]) == (200, REDIRECT_URI)
    assert (told["state"], told["iss"]) == (asked.query["state"], ISSUER)
    assert intranet.exchange(told["code"], asked).status_code == 200
    policy = response.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "form-action" not in policy
    assert "no-store" in response.headers["Cache-Control"]


@pytest.mark.compliance("OAuth 2.0 Form Post Response Mode 1.0 §2")
def test_form_post__errors_too(full: Client, intranet: Party) -> None:
    response = full.get(intranet.request(response_mode="form_post", scope="unknown").url)
    assert dict(response.context["fields"])["error"].reveal() == "invalid_scope"
    response = full.get(intranet.request(response_mode="form_post", max_age="x", state='"><script>').url)
    assert dict(response.context["fields"])["error"].reveal() == "invalid_request"
    assert '"><script>' not in response.content.decode()


@pytest.mark.compliance("OAuth 2.0 Form Post Response Mode 1.0 §2")
def test_form_post__keeps_what_the_redirect_uri_brought_along(full: Client, make_party: Callable[..., Party]) -> None:
    party = make_party("with-query", redirect_uris=f"{REDIRECT_URI}?kept=1")
    response = full.get(party.request(response_mode="form_post", redirect_uri=f"{REDIRECT_URI}?kept=1").url)
    assert response.context["action"] == f"{REDIRECT_URI}?kept=1"
    assert "kept" not in dict(response.context["fields"])


@pytest.mark.compliance("OAuth 2.0 Multiple Response Type Encoding Practices 1.0 §2.1")
def test_fragment__answers_in_the_fragment(full: Client, intranet: Party) -> None:
    """OAuth 2.0 Multiple Response Type Encoding Practices 1.0 §2.1; RFC 9207 §2."""
    response = full.get(intranet.request(response_mode="fragment").url)
    parts = urlsplit(response.headers["Location"])
    assert parts.query == ""
    assert set(parse_qs(parts.fragment)) == {"code", "state", "iss"}


# The record of it.


def test_code__keeps_what_was_told_and_the_return_that_it_used(full: Client, intranet: Party) -> None:
    asked = intranet.request(max_age="0", acr_values=PASSWORD_ACR)
    full.get(sign_in_again(full, full.get(asked.url)).headers["Location"])
    context = CodeContext.objects.get()
    assert (context.told_acr, len(context.returned or "")) == (PASSWORD_ACR, 32)


@pytest.mark.compliance("OpenID Connect Core 1.0 §12.2")
def test_refresh__never_tells_of_a_context_that_was_reached_later(
    full: Client, intranet: Party, app: TOTPDevice
) -> None:
    aged(full, MINUTE)
    tokens = intranet.tokens(full, scope="openid offline_access")
    sent_away = full.get(intranet.request(acr_values=MULTI_FACTOR_ACR).url)
    full.post(sent_away.headers["Location"], {"code": code_of(app)})
    refreshed = intranet.read(intranet.refresh(tokens.refresh_token), nonce=None).claims
    assert (refreshed["acr"], refreshed["auth_time"]) == (PASSWORD_ACR, tokens.claims["auth_time"])
    assert refreshed["amr"] == ["pwd"]


def test_authorize__asks_no_more_of_a_second_session(kim: Any, full: Client, intranet: Party) -> None:
    """One session's renewal says nothing of another's."""
    other = sign_in_with_password(kim)
    aged(other, HOUR)
    asked = intranet.request(max_age="0")
    sign_in_again(full, full.get(asked.url))
    assert error_of(other, intranet.request(max_age="60", prompt="none")) == "login_required"


# What an attack found.


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_age", "0"),
        ("prompt", "login"),
        ("prompt", "none"),
        ("acr_values", PHISHING_RESISTANT_ACR),
        ("id_token_hint", "x"),
        ("login_hint", "kim"),
        ("response_mode", "form_post"),
        ("request", "x"),
        ("resource", "https://a.test/"),
    ],
)
def test_post__a_posted_request_keeps_every_parameter(name: str, value: str, intranet: Party) -> None:
    asked = intranet.request(**{name: value})
    location = Client().post(AUTHORIZE, asked.query).headers["Location"]
    assert {key: values[0] for key, values in parse_qs(urlsplit(location).query).items()} == asked.query


@pytest.mark.compliance("RFC 6749 §3.1")
def test_post__a_parameter_in_the_address_and_in_the_body_is_repeated(full: Client, intranet: Party) -> None:
    asked = intranet.request(nonce="a")
    response = full.post(f"{AUTHORIZE}?nonce=b", asked.query)
    assert answer_of(full.get(response.headers["Location"]))["error"] == "invalid_request"


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_consent__a_page_that_posts_without_the_query_loses_nothing(
    full: Client, make_party: Callable[..., Party]
) -> None:
    """A site's own template may: our form remembers the query, signed."""
    asked = make_party("asks-first", skip_authorization=False).request(max_age="300", response_mode="form_post")
    fields = consent_page(full, asked)
    aged(full, HOUR)
    assert is_sign_in_page(full.post(AUTHORIZE, fields))
    assert is_sign_in_page(full.post(asked.url, fields))
    aged(full, MINUTE)
    assert "code" in dict(full.post(AUTHORIZE, fields).context["fields"])
    aged(full, HOUR)
    forged = {**fields, "tap_query": signing.dumps("client_id=asks-first", salt="another")}
    assert "code" in answer_of(full.post(AUTHORIZE, forged))  # as with the toolkit: nothing is known of the query


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_max_age__of_nothing_is_met_by_signing_in_for_it_and_for_a_moment(full: Client, intranet: Party) -> None:
    back = sign_in_again(full, full.get(intranet.request(max_age="0").url)).headers["Location"]
    aged(full, 2 * MINUTE)
    SignIn.objects.update(signed_in_at=timezone.now())
    assert is_sign_in_page(full.get(back))


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_max_age__of_nothing_is_not_met_by_a_clock_that_is_ahead(full: Client, intranet: Party) -> None:
    aged(full, -HOUR)
    assert is_sign_in_page(full.get(intranet.request(max_age="0").url))


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_prompt_login__is_not_met_by_a_second_factor_alone(full: Client, intranet: Party, app: TOTPDevice) -> None:
    sent_away = full.get(intranet.request(prompt="login").url)
    full.post(STEP_UP, {"code": code_of(app)})
    assert answer_of(full.get(next_of(sent_away)))["error"] == "login_required"


@pytest.mark.compliance("OpenID Connect Core 1.0 §5.5.1.1")
@pytest.mark.parametrize("wish", [essential(PASSWORD_ACR), json.dumps({"id_token": {"acr": {"essential": True}}})])
def test_essential_acr__of_a_sign_in_that_nobody_knows_is_unmet_after_one_attempt(
    wish: str, kim: Any, intranet: Party
) -> None:
    """As with a single sign-on of the site's own that answers at once: no loop."""
    browser = session_from_before(kim)
    back = next_of(browser.get(intranet.request(claims=wish).url))
    browser.get("/members/")  # adopts the session
    SignIn.objects.update(signed_in_at=timezone.now(), authenticated_at=timezone.now())
    assert answer_of(browser.get(back))["error"] == "unmet_authentication_requirements"


@pytest.mark.compliance("OpenID Connect Core 1.0 §5.5.1")
def test_claims__sub_of_several_is_met_by_one_of_them(full: Client, kim: Any, intranet: Party) -> None:
    wish = json.dumps({"id_token": {"sub": {"values": ["somebody", str(kim.pk)]}}})
    assert "code" in answer_of(full.get(intranet.request(claims=wish).url))


class OwnSubject(TapOAuth2Validator):
    def get_additional_claims(self, request: Any) -> dict[str, Any]:
        return {**super().get_additional_claims(request), "sub": f"subject-of-{request.user.username}"}


@pytest.mark.compliance("OpenID Connect Core 1.0 §2")
def test_sub__of_a_sites_own_is_the_same_everywhere(full: Client, intranet: Party) -> None:
    with toolkit_settings(OAUTH2_VALIDATOR_CLASS=f"{__name__}.OwnSubject"):
        asked = intranet.request()
        response = intranet.exchange(answer_of(full.get(asked.url))["code"], asked)
        tokens = intranet.read(response, nonce=asked.query["nonce"])
        assert tokens.claims["sub"] == "subject-of-kim"
        assert intranet.introspect(tokens.access_token)["sub"] == "subject-of-kim"
        hint = tokens.response["id_token"]
        assert "code" in answer_of(full.get(intranet.request(prompt="none", id_token_hint=hint).url))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
@pytest.mark.compliance("OpenID Connect Core 1.0 §3.2.2.6")
def test_fragment__errors_come_where_answers_come(full: Client, make_party: Callable[..., Party]) -> None:
    with toolkit_settings(COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT=False):
        party = make_party("implicit", authorization_grant_type="implicit")
        plain = {"code_challenge": None, "code_challenge_method": None}
        for browser, changes in (
            (Client(), {"prompt": "none"}),
            (full, {"scope": "unknown"}),
            (full, {"max_age": "x"}),
        ):
            location = browser.get(party.request(response_type="id_token", **plain, **changes).url).headers["Location"]
            parts = urlsplit(location)
            assert parts.query == ""
            assert {"error", "state", "iss"} <= set(parse_qs(parts.fragment))


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
def test_prompt_login__a_return_brings_one_answer_without_a_code_too(
    full: Client, make_party: Callable[..., Party]
) -> None:
    with toolkit_settings(COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT=False):
        party = make_party("implicit", authorization_grant_type="implicit")
        asked = party.request(response_type="id_token", prompt="login", code_challenge=None, code_challenge_method=None)
        back = sign_in_again(full, full.get(asked.url)).headers["Location"]
        assert "id_token=" in full.get(back).headers["Location"]
        assert is_sign_in_page(full.get(back))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
@pytest.mark.compliance("OpenID Connect Core 1.0 §3.2.2.6")
def test_prompt_login__a_return_that_another_window_uses_up_just_now_is_an_error(
    full: Client, make_party: Callable[..., Party]
) -> None:
    def another_window(sender: Any, instance: CodeContext, **kwargs: Any) -> None:
        CodeContext.objects.bulk_create([CodeContext(**{**kept_of(instance), "digest": "another"})])

    def kept_of(instance: CodeContext) -> dict[str, Any]:
        return {field.attname: getattr(instance, field.attname) for field in CodeContext._meta.concrete_fields}

    with toolkit_settings(COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT=False):
        party = make_party("implicit", authorization_grant_type="implicit")
        asked = party.request(response_type="id_token", prompt="login", code_challenge=None, code_challenge_method=None)
        back = sign_in_again(full, full.get(asked.url)).headers["Location"]
        pre_save.connect(another_window, sender=CodeContext)
        try:
            location = full.get(back).headers["Location"]
        finally:
            pre_save.disconnect(another_window, sender=CodeContext)
    assert parse_qs(urlsplit(location).fragment)["error"] == ["login_required"]
    assert SignIn.objects.exists()  # a transaction around the request goes on


@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_prompt_login__without_a_code_gets_through_the_consent_page(
    full: Client, make_party: Callable[..., Party]
) -> None:
    with toolkit_settings(COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT=False):
        party = make_party("implicit", authorization_grant_type="implicit", skip_authorization=False)
        asked = party.request(response_type="id_token", prompt="login", code_challenge=None, code_challenge_method=None)
        back = sign_in_again(full, full.get(asked.url)).headers["Location"]
        assert full.get(back).status_code == full.get(back).status_code == 200  # reading it uses nothing up
        fields = {**asked.query, "allow": "Authorize"}
        assert "id_token=" in full.post(back, fields).headers["Location"]
        assert is_sign_in_page(full.post(back, fields))


@pytest.mark.compliance("RFC 8707 §2")
@pytest.mark.parametrize("resource", ["http://[", "http://[::1"])
def test_resource__that_is_no_address_is_invalid(
    resource: str, full: Client, make_party: Callable[..., Party], intranet: Party
) -> None:
    assert error_of(full, intranet.request(resource=resource)) == "invalid_target"
    asked = make_party("asks-first", skip_authorization=False).request()
    fields = {**consent_page(full, asked), "resource": resource}
    assert answer_of(full.post(asked.url, fields))["error"] == "invalid_target"


@pytest.mark.compliance("RFC 8707 §2")
def test_resource__in_the_query_but_not_in_the_form_is_kept(full: Client, make_party: Callable[..., Party]) -> None:
    """As with templates from before the toolkit knew of it."""
    asked = make_party("asks-first", skip_authorization=False).request(resource="https://a.test/")
    fields = {name: value for name, value in consent_page(full, asked).items() if name != "resource"}
    assert "code" in answer_of(full.post(asked.url, fields))


@pytest.mark.compliance("RFC 6749 §4.1.2.1")
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=x", b"--x\r\nbroken"),
        ("application/x-www-form-urlencoded; charset=utf-16", b"a=b"),
        ("application/x-www-form-urlencoded; charset=nope", b"a=b"),
        ("application/x-www-form-urlencoded", b"&".join(b"a=b" for _ in range(2000))),
    ],
)
def test_malformed__bodies_are_an_error_page(
    content_type: str, body: bytes, full: Client, holder: Client, intranet: Party
) -> None:
    for browser in (full, holder, Client()):
        for url in (AUTHORIZE, intranet.request().url):
            response = browser.generic("POST", url, body, content_type=content_type)
            assert response.status_code in {200, 302, 400, 403}
            if response.status_code == 400:
                assert b"cannot be parsed" in response.content or b"<html" in response.content


@pytest.mark.compliance("RFC 6749 §4.1.2.1")
def test_malformed__more_parameters_than_anybody_reads_are_an_error_page(
    full: Client, holder: Client, intranet: Party, portal: Party
) -> None:
    for browser, party in ((full, intranet), (holder, portal)):
        response = browser.get(f"{party.request().url}&{'&'.join(f'x{number}=1' for number in range(1500))}")
        assert (response.status_code, "cannot be parsed" in response.content.decode()) == (400, True)


def test_sign_in__on_another_host_gets_an_address_that_leads_back(intranet: Party, settings: Any) -> None:
    settings.LOGIN_URL = "https://login.test/sign-in/"
    response = Client().get(intranet.request().url)
    assert response.headers["Location"].startswith("https://login.test/sign-in/?")
    assert next_of(response).startswith("http://testserver/o/authorize/?")


@pytest.mark.compliance("RFC 6749 §3.1.2.3")
def test_form_post__without_a_redirect_uri_goes_to_the_one_that_is_registered(full: Client, intranet: Party) -> None:
    """RFC 6749 §3.1.2.3; for a request that is not OpenID's."""
    response = full.get(intranet.request(response_mode="form_post", redirect_uri=None, scope="profile").url)
    assert response.context["action"] == REDIRECT_URI


def test_step_up__with_sessions_in_cookies_leaves_the_old_cookie_behind(
    kim: Any, intranet: Party, app: TOTPDevice, settings: Any
) -> None:
    """A copy of it names the sign-in, so another takes its place."""
    app.delete()
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    browser = sign_in_with_password(kim)
    device = TOTPDevice.objects.create(user=kim, confirmed=True, name="app")
    copied = Client()
    copied.cookies["sessionid"] = browser.cookies["sessionid"].value
    started_at = sign_in_of(browser).signed_in_at
    assert browser.post(STEP_UP, {"code": code_of(device)}).status_code == 302
    assert sign_in_of(browser).signed_in_at == started_at
    assert "code" in answer_of(browser.get(intranet.request(claims=essential(MULTI_FACTOR_ACR)).url))
    assert is_sign_in_page(copied.get(intranet.request(claims=essential(MULTI_FACTOR_ACR)).url))
