"""Asking for more through clients that we did not write, and relying on what they then accept."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.clients.conftest import Provider
from tests.clients.person import Browser, Person, register_passkey, register_totp
from tests.clients.relying_parties import REFRESHABLE, Connect, essential_acr
from tests.oidc.conftest import MULTI_FACTOR_ACR, PASSWORD_ACR, PHISHING_RESISTANT_ACR

pytestmark = pytest.mark.clients

OpenBrowser = Callable[..., Browser]


@pytest.fixture
def signed_in(connect: Connect, person: Person, open_browser: OpenBrowser) -> Browser:
    """A browser whose person has just signed in with the password, for a client that asked for nothing more."""
    browser, party = open_browser(person), connect("ordinary")
    assert party.take(browser.visit(party.ask())).claims["acr"] == PASSWORD_ACR
    assert browser.acts == ["password"]
    browser.acts.clear()
    return browser


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_acr_values__lead_from_the_password_to_the_second_factor(
    provider: Provider, connect: Connect, signed_in: Browser
) -> None:
    register_totp(provider.url, signed_in.person)
    party = connect("ordinary")
    tokens = party.take(signed_in.visit(party.ask(acr_values=MULTI_FACTOR_ACR)))
    assert tokens.claims["acr"] == MULTI_FACTOR_ACR
    assert signed_in.acts == ["code"]


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_acr_values__that_the_user_cannot_reach_are_no_error(connect: Connect, signed_in: Browser) -> None:
    party = connect("ordinary")
    tokens = party.take(signed_in.visit(party.ask(acr_values=PHISHING_RESISTANT_ACR)))
    assert tokens.claims["acr"] == PASSWORD_ACR


@pytest.mark.compliance("OpenID Connect Core 1.0 §5.5.1.1")
def test_essential_acr__leads_from_the_password_to_the_passkey(
    provider: Provider, connect: Connect, signed_in: Browser
) -> None:
    register_passkey(provider.url, signed_in.person)
    signed_in.means = "passkey"
    party = connect("ordinary")
    tokens = party.take(signed_in.visit(party.ask(claims=essential_acr(PHISHING_RESISTANT_ACR))))
    assert tokens.claims["acr"] == PHISHING_RESISTANT_ACR
    assert signed_in.acts == ["passkey"]


@pytest.mark.compliance("OpenID Connect Core 1.0 §5.5.1.1")
def test_essential_acr__is_met_by_the_one_of_several_that_was_reached(
    provider: Provider, connect: Connect, signed_in: Browser
) -> None:
    register_totp(provider.url, signed_in.person)
    party = connect("ordinary")
    asked = party.ask(claims=essential_acr(PHISHING_RESISTANT_ACR, MULTI_FACTOR_ACR))
    assert party.take(signed_in.visit(asked)).claims["acr"] == MULTI_FACTOR_ACR


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1", "OpenID Connect Core 1.0 §15.1")
def test_max_age__of_nothing_makes_the_user_authenticate_again(connect: Connect, signed_in: Browser) -> None:
    party = connect("ordinary")
    tokens = party.take(signed_in.visit(party.ask(max_age="0")))
    assert signed_in.acts == ["password"]
    assert "auth_time" in tokens.claims


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1", "OpenID Connect Core 1.0 §15.1")
def test_max_age__of_an_hour_is_met_by_the_sign_in_that_there_is(connect: Connect, signed_in: Browser) -> None:
    party = connect("ordinary")
    tokens = party.take(signed_in.visit(party.ask(max_age="3600")))
    assert signed_in.acts == []
    assert "auth_time" in tokens.claims


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_prompt_login__makes_the_user_authenticate_again(connect: Connect, signed_in: Browser) -> None:
    party = connect("ordinary")
    party.take(signed_in.visit(party.ask(prompt="login")))
    assert signed_in.acts == ["password"]


@pytest.mark.compliance("OpenID Connect Core 1.0 §12.2")
def test_step_up__does_not_raise_what_was_issued_before(
    provider: Provider, connect: Connect, person: Person, open_browser: OpenBrowser
) -> None:
    browser, before = open_browser(person), connect("ordinary")
    tokens = before.take(browser.visit(before.ask(**REFRESHABLE)))
    register_totp(provider.url, person)
    party = connect("ordinary")
    assert party.take(browser.visit(party.ask(acr_values=MULTI_FACTOR_ACR))).claims["acr"] == MULTI_FACTOR_ACR
    assert before.refresh(tokens).claims["acr"] == PASSWORD_ACR
