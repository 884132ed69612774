"""A Django site with mozilla-django-oidc as relying party: sign-in, step-up, refusal, silent renewal, logout.

The library turns every OAuth error into its failure page.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.clients.conftest import Provider
from tests.clients.person import SECURITY_INFO, Arrival, Browser, Person, register_totp
from tests.clients.relying_parties import essential_acr
from tests.oidc.conftest import MULTI_FACTOR_ACR, PASSWORD_ACR, PHISHING_RESISTANT_ACR
from tests.serving import ROOT, environment_of, served

pytestmark = pytest.mark.clients

Visit = Callable[..., Arrival]


@pytest.fixture(scope="session")
def site(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The site, served where the demo's relying party would be."""
    place, client = tmp_path_factory.mktemp("mozilla"), provider.client("ordinary")
    environment = environment_of(
        VAR_DIR=str(place),
        DJANGO_SETTINGS_MODULE="tests.clients.mozilla_site.settings",
        SECRET_KEY=secrets.token_urlsafe(32),
        ISSUER=provider.issuer,
        CLIENT_ID=client.client_id,
        CLIENT_SECRET=client.client_secret,
    )
    subprocess.run([sys.executable, "-m", "django", "migrate", "-v0"], cwd=ROOT, env=environment, check=True)
    url = provider.relying_party_url
    with served("django.core.wsgi:get_wsgi_application()", url, environment=environment, log=place / "site.log"):
        yield url


@pytest.fixture
def browser(site: str, person: Person, open_browser: Callable[..., Browser]) -> Browser:
    return open_browser(person, sites=[site])


@pytest.fixture
def sign_in(site: str) -> Visit:
    """Sign in at the site, which asks the provider for these."""
    return lambda browser, **asked: browser.visit(f"{site}/sign-in/?{urlencode(asked)}")


def told(arrival: Arrival) -> dict[str, Any]:
    assert arrival.response is not None, arrival
    assert arrival.response.headers["Content-Type"] == "application/json", arrival.response.text
    answer: dict[str, Any] = arrival.response.json()
    return answer


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.3.7", "RFC 7636 §4")
def test_sign_in__the_site_knows_the_user_and_the_context(site: str, browser: Browser, sign_in: Visit) -> None:
    arrived = sign_in(browser)
    assert arrived.url == f"{site}/"
    assert told(arrived)["email"] == browser.person.upn
    assert (told(arrived)["claims"]["acr"], told(arrived)["claims"]["amr"]) == (PASSWORD_ACR, ["pwd"])


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_acr_values__lead_from_the_password_to_the_second_factor(
    provider: Provider, browser: Browser, sign_in: Visit
) -> None:
    assert told(sign_in(browser))["claims"]["acr"] == PASSWORD_ACR
    register_totp(provider.url, browser.person)
    browser.acts.clear()
    assert told(sign_in(browser, acr_values=MULTI_FACTOR_ACR))["claims"]["acr"] == MULTI_FACTOR_ACR
    assert browser.acts == ["code"]


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_max_age__of_nothing_makes_the_user_authenticate_again(browser: Browser, sign_in: Visit) -> None:
    sign_in(browser)
    assert "auth_time" in told(sign_in(browser, max_age="0"))["claims"]
    assert browser.acts == ["password", "password"]


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.6")
def test_silent__in_a_registration_only_session_the_site_signs_nobody_in(
    provider: Provider, site: str, browser: Browser, sign_in: Visit
) -> None:
    browser.means = "pass"
    browser.visit(provider.url + SECURITY_INFO)
    arrived = sign_in(browser, prompt="none")
    assert arrived.url == f"{site}/failed/"
    assert browser.acts == ["passcode"]
    assert told(browser.visit(f"{site}/"))["email"] is None


@pytest.mark.compliance("OpenID Connect Core 1.0 §5.5.1.1")
def test_essential_acr__that_the_user_cannot_reach_signs_nobody_in(site: str, browser: Browser, sign_in: Visit) -> None:
    arrived = sign_in(browser, claims=essential_acr(PHISHING_RESISTANT_ACR))
    assert arrived.url == f"{site}/failed/"
    assert told(browser.visit(f"{site}/"))["email"] is None


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_silent_renewal__keeps_the_user_signed_in_while_the_sign_in_lives(
    site: str, browser: Browser, sign_in: Visit
) -> None:
    before = told(sign_in(browser))["claims"]
    after = told(browser.visit(f"{site}/renew/"))["claims"]
    assert browser.acts == ["password"]
    assert after["jti"] != before["jti"]
    assert (after["sid"], after["auth_time"]) == (before["sid"], before["auth_time"])


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.6")
def test_silent_renewal__signs_the_user_out_once_the_sign_in_has_ended(
    site: str, browser: Browser, sign_in: Visit
) -> None:
    sign_in(browser)
    browser.sign_out()
    assert browser.visit(f"{site}/renew/").url == f"{site}/failed/"
    assert told(browser.visit(f"{site}/"))["email"] is None


@pytest.mark.compliance("OpenID Connect RP-Initiated Logout 1.0 §2")
def test_logout__at_the_site_ends_the_sign_in_at_the_provider(site: str, browser: Browser, sign_in: Visit) -> None:
    sign_in(browser)
    leaving = browser.http.post(f"{site}/sign-out/")
    assert browser.visit(leaving.headers["Location"]).url == f"{site}/"
    assert sign_in(browser, prompt="none").url == f"{site}/failed/"
