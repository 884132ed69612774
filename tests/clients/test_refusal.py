"""Refusals reach clients that we did not write as the OAuth errors that they know."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.clients.conftest import Provider
from tests.clients.person import SECURITY_INFO, Browser, Person
from tests.clients.relying_parties import REFRESHABLE, Connect, Refused, essential_acr
from tests.oidc.conftest import PHISHING_RESISTANT_ACR

pytestmark = pytest.mark.clients

OpenBrowser = Callable[..., Browser]


@pytest.fixture
def holder(provider: Provider, person: Person, open_browser: OpenBrowser) -> Browser:
    """A browser in a registration-only session."""
    browser = open_browser(person, means="pass")
    browser.visit(provider.url + SECURITY_INFO)
    assert browser.acts == ["passcode"]
    return browser


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.6", "RFC 9207 §2")
def test_silent__an_ordinary_client_is_told_login_required_in_a_registration_only_session(
    connect: Connect, holder: Browser
) -> None:
    party = connect("ordinary")
    with pytest.raises(Refused) as refused:
        party.take(holder.visit(party.ask(prompt="none")))
    assert refused.value.error == "login_required"


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.6")
def test_silent__a_client_that_needs_consent_is_told_consent_required(
    connect: Connect, person: Person, open_browser: OpenBrowser
) -> None:
    browser, known, asking = open_browser(person), connect("ordinary"), connect("public")
    known.take(browser.visit(known.ask()))
    with pytest.raises(Refused) as refused:
        asking.take(browser.visit(asking.ask(prompt="none")))
    assert refused.value.error == "consent_required"


@pytest.mark.compliance(
    "OpenID Connect Core 1.0 §5.5.1.1", "OpenID Connect Core Error Code unmet_authentication_requirements 1.0 §1"
)
def test_essential_acr__that_the_user_cannot_reach_is_told_so(
    connect: Connect, person: Person, open_browser: OpenBrowser
) -> None:
    party, browser = connect("ordinary"), open_browser(person)
    with pytest.raises(Refused) as refused:
        party.take(browser.visit(party.ask(claims=essential_acr(PHISHING_RESISTANT_ACR))))
    assert refused.value.error == "unmet_authentication_requirements"


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_prompt_none__together_with_another_is_told_invalid_request(
    connect: Connect, person: Person, open_browser: OpenBrowser
) -> None:
    party = connect("ordinary")
    with pytest.raises(Refused) as refused:
        party.take(open_browser(person).visit(party.ask(prompt="none login")))
    assert refused.value.error == "invalid_request"


@pytest.mark.compliance("RFC 6749 §5.2")
def test_exchange__with_a_wrong_secret_is_told_invalid_client(
    connect: Connect, person: Person, open_browser: OpenBrowser
) -> None:
    party = connect("ordinary", client_secret="not-the-secret")
    callback = open_browser(person).visit(party.ask())
    with pytest.raises(Refused) as refused:
        party.take(callback)
    # One of them reads the challenge (RFC 6749 §5.2), where that is, rather than the body.
    assert refused.value.error == "invalid_client" or refused.value.kind == "WWWAuthenticateChallengeError"


@pytest.mark.compliance("RFC 6749 §4.1.2")
def test_exchange__of_one_code_twice_is_told_invalid_grant(
    connect: Connect, person: Person, open_browser: OpenBrowser
) -> None:
    party = connect("ordinary")
    callback = open_browser(person).visit(party.ask())
    party.take(callback)
    with pytest.raises(Refused) as refused:
        party.take(callback)
    assert refused.value.error == "invalid_grant"


@pytest.mark.compliance("RFC 6749 §4.1.2")
def test_exchange__of_one_code_twice_ends_the_tokens_of_its_first_use(
    connect: Connect, person: Person, open_browser: OpenBrowser
) -> None:
    party = connect("ordinary")
    callback = open_browser(person).visit(party.ask())
    tokens = party.take(callback)
    with pytest.raises(Refused):
        party.take(callback)
    with pytest.raises(Refused) as refused:
        party.userinfo(tokens)
    assert refused.value.error == "invalid_token"


@pytest.mark.compliance("OpenID Connect Core 1.0 §5.3.3", "RFC 6750 §3.1")
def test_userinfo__is_refused_once_the_sign_in_has_ended(
    connect: Connect, person: Person, open_browser: OpenBrowser
) -> None:
    party, browser = connect("ordinary"), open_browser(person)
    tokens = party.take(browser.visit(party.ask()))
    browser.sign_out()
    with pytest.raises(Refused) as refused:
        party.userinfo(tokens)
    assert refused.value.error == "invalid_token"


@pytest.mark.compliance("OpenID Connect Core 1.0 §12.3", "RFC 6749 §5.2")
def test_refresh__is_refused_once_the_sign_in_has_ended(
    connect: Connect, person: Person, open_browser: OpenBrowser
) -> None:
    party, browser = connect("ordinary"), open_browser(person)
    tokens = party.take(browser.visit(party.ask(**REFRESHABLE)))
    browser.sign_out()
    with pytest.raises(Refused) as refused:
        party.refresh(tokens)
    assert refused.value.error == "invalid_grant"
