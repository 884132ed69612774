"""A registration-only session, as clients that we did not write are told of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.clients.person import Browser, Person
from tests.clients.relying_parties import Connect, Refused, Tokens
from tests.oidc.conftest import MULTI_FACTOR_ACR, REGISTRATION_SCOPE

pytestmark = pytest.mark.clients

OpenBrowser = Callable[..., Browser]
ALL = f"{REGISTRATION_SCOPE} offline_access"


@pytest.fixture
def browser(person: Person, open_browser: OpenBrowser) -> Browser:
    """A browser whose person signs in with a pass."""
    return open_browser(person, means="pass")


def tokens_of(connect: Connect, browser: Browser) -> Tokens:
    party = connect("registration")
    return party.take(browser.visit(party.ask(scope=ALL)))


@pytest.mark.compliance("OpenID Connect Core 1.0 §2")
def test_registration_client__is_told_strong_by_a_pass(connect: Connect, browser: Browser) -> None:
    claims = tokens_of(connect, browser).claims
    assert browser.acts == ["passcode"]
    assert (claims["acr"], claims["amr"]) == (MULTI_FACTOR_ACR, ["mfa", "tap"])
    assert "auth_time" in claims


@pytest.mark.compliance("RFC 6749 §5.1", "OpenID Connect Core 1.0 §11")
def test_registration_client__gets_tokens_until_the_deadline_and_none_to_refresh(
    connect: Connect, browser: Browser
) -> None:
    tokens = tokens_of(connect, browser)
    assert tokens.claims["exp"] == browser.person.pass_ends
    assert 0 < tokens.response["expires_in"] <= browser.person.pass_ends - tokens.claims["auth_time"]
    assert "refresh_token" not in tokens.response
    assert set(tokens.response["scope"].split()) == set(REGISTRATION_SCOPE.split())


@pytest.mark.compliance("RFC 6750 §3.1")
def test_registration_client__is_refused_once_the_session_has_ended(connect: Connect, browser: Browser) -> None:
    party = connect("registration")
    tokens = party.take(browser.visit(party.ask()))
    assert party.userinfo(tokens)["sub"] == tokens.claims["sub"]
    browser.sign_out()
    with pytest.raises(Refused) as refused:
        party.userinfo(tokens)
    assert refused.value.error == "invalid_token"


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_registration_client__is_answered_silently_where_an_ordinary_one_is_not(
    connect: Connect, browser: Browser
) -> None:
    tokens_of(connect, browser)
    registration, ordinary = connect("registration"), connect("ordinary")
    assert registration.take(browser.visit(registration.ask(prompt="none"))).claims["amr"] == ["mfa", "tap"]
    with pytest.raises(Refused) as refused:
        ordinary.take(browser.visit(ordinary.ask(prompt="none")))
    assert refused.value.error == "login_required"
