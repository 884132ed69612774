"""Signing in through clients that we did not write: code, PKCE, ID token, userinfo, refresh, and signing out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.clients.conftest import Provider
from tests.clients.person import Browser, Person, register_passkey, register_totp
from tests.clients.relying_parties import REFRESHABLE, Connect, Refused
from tests.oidc.conftest import MULTI_FACTOR_ACR, PASSWORD_ACR, PHISHING_RESISTANT_ACR

pytestmark = pytest.mark.clients


@pytest.mark.parametrize(
    ("means", "acts", "acr", "amr"),
    [
        ("password", ["password"], PASSWORD_ACR, ["pwd"]),
        ("totp", ["password", "code"], MULTI_FACTOR_ACR, ["mfa", "otp", "pwd"]),
        ("passkey", ["passkey"], PHISHING_RESISTANT_ACR, ["hwk", "mfa", "pop", "user"]),
    ],
)
@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.3.7", "RFC 7636 §4", "RFC 9207 §2")
def test_sign_in__the_client_accepts_the_id_token_and_is_told_the_context(
    provider: Provider,
    connect: Connect,
    person: Person,
    open_browser: Callable[..., Browser],
    means: str,
    acts: list[str],
    acr: str,
    amr: list[str],
) -> None:
    if means == "passkey":
        register_passkey(provider.url, person)
    if means == "totp":
        register_totp(provider.url, person)
    party, browser = connect("ordinary"), open_browser(person, means=means)
    callback = browser.visit(party.ask())
    assert browser.acts == acts
    assert callback.parameters["iss"] == provider.issuer
    tokens = party.take(callback)
    assert (tokens.claims["acr"], tokens.claims["amr"]) == (acr, amr)
    assert "at_hash" in tokens.claims


@pytest.mark.compliance("OpenID Connect Core 1.0 §5.3.2", "OpenID Connect Core 1.0 §5.4")
def test_userinfo__tells_the_subject_of_the_id_token_and_the_claims_of_the_scope(
    connect: Connect, person: Person, open_browser: Callable[..., Browser]
) -> None:
    party = connect("ordinary")
    tokens = party.take(open_browser(person).visit(party.ask()))
    told = party.userinfo(tokens)
    assert told["sub"] == tokens.claims["sub"]
    assert told["email"] == person.upn


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.4", "RFC 6749 §2.1")
def test_sign_in__a_client_without_a_secret_is_answered_after_consent(
    connect: Connect, person: Person, open_browser: Callable[..., Browser]
) -> None:
    party, browser = connect("public"), open_browser(person)
    tokens = party.take(browser.visit(party.ask()))
    assert browser.acts == ["password", "consent"]
    assert tokens.claims["acr"] == PASSWORD_ACR


@pytest.mark.compliance("OAuth 2.0 Form Post Response Mode 1.0 §2")
def test_sign_in__the_client_accepts_an_answer_by_form_post(
    connect: Connect, person: Person, open_browser: Callable[..., Browser]
) -> None:
    party = connect("ordinary")
    callback = open_browser(person).visit(party.ask(response_mode="form_post"))
    assert callback.form is not None, callback
    assert party.take(callback).claims["acr"] == PASSWORD_ACR


@pytest.mark.compliance("OpenID Connect Core 1.0 §12.2", "OpenID Connect Core 1.0 §11")
def test_refresh__keeps_the_context_of_the_sign_in(
    connect: Connect, person: Person, open_browser: Callable[..., Browser]
) -> None:
    party = connect("ordinary")
    tokens = party.take(open_browser(person).visit(party.ask(**REFRESHABLE)))
    refreshed = party.refresh(tokens)
    assert refreshed.access_token != tokens.access_token
    kept = {name: tokens.claims[name] for name in ("acr", "amr", "auth_time", "sid", "sub")}
    assert {name: refreshed.claims.get(name) for name in kept} == kept
    assert party.userinfo(refreshed)["sub"] == tokens.claims["sub"]


@pytest.mark.compliance("OpenID Connect RP-Initiated Logout 1.0 §2", "OpenID Connect RP-Initiated Logout 1.0 §3")
def test_logout__ends_the_sign_in_and_leads_back_with_the_state(
    provider: Provider, connect: Connect, person: Person, open_browser: Callable[..., Browser]
) -> None:
    party, browser = connect("ordinary"), open_browser(person)
    tokens = party.take(browser.visit(party.ask()))
    home = f"{provider.relying_party_url}/"
    back = browser.visit(party.end_session(tokens, post_logout_redirect_uri=home, state="kept"))
    assert back.url == f"{home}?state=kept"
    with pytest.raises(Refused) as refused:
        party.userinfo(tokens)
    assert refused.value.error == "invalid_token"
    with pytest.raises(Refused) as refused:
        party.take(browser.visit(party.ask(prompt="none")))
    assert refused.value.error == "login_required"
