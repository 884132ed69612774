"""An existing site that swaps our validator and URLs in sees no plain flow change.

Each flow runs against plain django-oauth-toolkit and against ours; status, body and headers must agree. Ours may say
`no-store` where the toolkit says nothing (RFC 6749 §5.1).
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils import timezone
from oauth2_provider.models import get_application_model, get_refresh_token_model

from ..conftest import HOUR
from .conftest import (
    PASSWORD,
    REDIRECT_URI,
    TOKEN,
    Party,
    plain_toolkit,
    sign_in_with_password,
    toolkit_settings,
)

SAID_BY_US = {"sub", "sid", "acr", "amr", "auth_time", "iss", "token_type"}  # at introspection (RFC 9470 §6.2)
KEPT = {"error", "error_description", "expires_in", "token_type", "scope", "active", "username", "aud"}
HEADERS = ("WWW-Authenticate", "Location", "Access-Control-Allow-Origin")
NEVER = "max-age=0, no-cache, no-store, must-revalidate, private"  # of pages and redirects
MORE_CAREFUL = {"Cache-Control": {None, "no-store", NEVER}, "Pragma": {None, "no-cache"}}


def shape(response: Any) -> Any:
    """Return what may be compared of two answers: all but random values and times."""
    if response.wsgi_request.path == "/o/introspect/" and response.status_code in {401, 403}:
        return "may not introspect"  # the toolkit answers a bare 403 (RFC 7662 §2.3)
    body = json.loads(response.content) if response.content.startswith(b"{") else None
    if body is not None:
        said_by_us = SAID_BY_US if "active" in body else set()
        body = {name: value if name in KEPT else "…" for name, value in body.items() if name not in said_by_us}
    headers = {name: response.headers.get(name) for name in HEADERS}
    if "code=" in (headers["Location"] or "") or "/account/" in (headers["Location"] or ""):
        headers.pop("Location")
    return response.status_code, body, headers


def assert_same(ours: list[Any], plain: list[Any]) -> None:
    assert [shape(response) for response in ours] == [shape(response) for response in plain]
    for our, their in zip(ours, plain, strict=True):
        for name, careful in MORE_CAREFUL.items():
            told = their.headers.get(name)
            assert our.headers.get(name) in (careful if told is None else {told})
        if their.content and their.headers.get("Content-Type") != our.headers.get("Content-Type"):
            # The toolkit sends some of its JSON as HTML.
            assert (their.content[:1], our.headers["Content-Type"]) == (b"{", "application/json")


def run_client_credentials(party: Party, browser: Client) -> list[Any]:
    body = {"grant_type": "client_credentials", "scope": "profile", **party.credentials}
    granted = party.server.post(TOKEN, body)
    token = granted.json()["access_token"]
    return [
        granted,
        party.server.post(TOKEN, {**body, "client_secret": "wrong"}),
        party.server.post(TOKEN, {**body, "scope": "introspection"}),
        party.server.post("/o/introspect/", {"token": token, **party.credentials}),
        party.userinfo(token),
        party.revoke(token),
        party.server.post("/o/introspect/", {"token": token, **party.credentials}),
        party.server.post("/o/introspect/", {"token": token}),
        party.server.post("/o/introspect/", {**party.credentials}),
    ]


def run_refresh(party: Party, browser: Client) -> list[Any]:
    code, asked = party.code(browser, scope="profile")
    granted = party.exchange(code, asked)
    first = granted.json()
    refreshed = party.refresh(first["refresh_token"])
    return [
        granted,
        refreshed,
        party.userinfo(first["access_token"]),
        party.refresh(refreshed.json()["refresh_token"], scope="profile email"),
        party.refresh("unknown"),
        party.refresh(first["refresh_token"]),  # a replay: the whole family is revoked
        party.refresh(refreshed.json()["refresh_token"]),
    ]


def run_revocation(party: Party, browser: Client) -> list[Any]:
    first = party.exchange(*party.code(browser)).json()
    second = party.exchange(*party.code(browser)).json()
    return [
        party.revoke(first["access_token"], token_type_hint="access_token"),
        party.userinfo(first["access_token"]),
        party.refresh(first["refresh_token"]),
        party.revoke(second["refresh_token"], token_type_hint="refresh_token"),
        party.refresh(second["refresh_token"]),
        party.userinfo(second["access_token"]),
        party.revoke("unknown"),
        party.server.post("/o/revoke_token/", {"token": "unknown", "client_id": party.client_id}),
    ]


def run_logout(party: Party, browser: Client) -> list[Any]:
    tokens = party.exchange(*party.code(browser, scope="openid offline_access")).json()
    query = {"client_id": party.client_id, "post_logout_redirect_uri": "https://relying-party.test/bye/", "state": "s"}
    asked = browser.get("/o/logout/", query)
    fields = {**query, "id_token_hint": tokens["id_token"]}
    refused = browser.post("/o/logout/", fields)
    still = party.userinfo(tokens["access_token"])
    allowed = browser.post("/o/logout/", {**fields, "allow": "True"})
    return [
        asked,
        refused,
        still,
        allowed,
        party.userinfo(tokens["access_token"]),
        party.refresh(tokens["refresh_token"]),
        browser.get(party.request().url),
    ]


def run_logout_with_hint(party: Party, browser: Client) -> list[Any]:
    tokens = party.exchange(*party.code(browser, scope="openid offline_access")).json()
    query = {"id_token_hint": tokens["id_token"], "post_logout_redirect_uri": "https://relying-party.test/bye/"}
    return [
        browser.get("/o/logout/", {**query, "id_token_hint": "x"}),
        browser.get("/o/logout/", {**query, "post_logout_redirect_uri": "https://elsewhere.test/"}),
        party.userinfo(tokens["access_token"]),
        browser.get("/o/logout/", query),  # says whose session it is: no question
        party.userinfo(tokens["access_token"]),
        browser.get(party.request().url),
        Client().get("/o/logout/"),
    ]


def run_dynamic_registration(party: Party, browser: Client) -> list[Any]:
    user = get_user_model().objects.get(pk=browser.session["_auth_user_id"])
    user.is_superuser = True  # ours asks for a permission
    user.save()
    metadata = {"redirect_uris": [REDIRECT_URI], "client_name": "New", "grant_types": ["authorization_code"]}
    registered = browser.post("/o/register/", metadata, content_type="application/json")
    answer = registered.json()
    management = f"/o/register/{answer['client_id']}/"
    bearer = {"authorization": f"Bearer {answer['registration_access_token']}"}
    return [
        registered,
        Client().post("/o/register/", metadata, content_type="application/json"),
        browser.post("/o/register/", {"redirect_uris": 7}, content_type="application/json"),
        Client().get(management, headers=bearer),
        Client().get(management),
        Client().put(management, metadata, content_type="application/json", headers=bearer),
        Client().delete(management, headers=bearer),
        Client().get(management, headers=bearer),
    ]


def run_code(party: Party, browser: Client) -> list[Any]:
    code, asked = party.code(browser)
    return [
        party.exchange("unknown", asked),
        party.exchange(code, asked, client_secret="wrong"),
        party.exchange(code, asked, redirect_uri="https://elsewhere.test/"),
        party.exchange(code, asked),
        party.exchange(code, asked),
        party.server.get(TOKEN),
        party.userinfo("unknown"),
        party.server.get("/o/.well-known/jwks.json"),
        browser.get(party.request(redirect_uri="https://elsewhere.test/").url),
        browser.get(party.request(client_id="unknown").url),
    ]


def run_public_client(party: Party, browser: Client) -> list[Any]:
    """Public clients name themselves and prove the code by PKCE (RFC 7636 §4.5)."""
    code, asked = party.code(browser, scope="profile")
    other, other_asked = party.code(browser, scope="profile")
    anonymous: dict[str, Any] = {"client_secret": ""}
    granted = party.exchange(code, asked, **anonymous)
    return [
        party.exchange(other, other_asked, **anonymous, code_verifier=""),
        party.exchange(other, other_asked, **anonymous, code_verifier="x" * 43),
        granted,
        party.refresh(granted.json()["refresh_token"], **anonymous),
        party.revoke(granted.json()["access_token"], **anonymous),
        party.exchange("unknown", asked, **anonymous, client_id="unknown"),
    ]


def run_basic(party: Party, browser: Client) -> list[Any]:
    """RFC 6749 §2.3.1: credentials in the header."""
    right = b64encode(f"{party.client_id}:{party.secret}".encode()).decode()
    code, asked = party.code(browser, scope="profile")
    body = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": REDIRECT_URI,
        "code_verifier": asked.verifier,
    }
    form = "application/x-www-form-urlencoded"
    encoded = "&".join(f"{name}={value}" for name, value in body.items())
    granted = party.server.post(TOKEN, encoded, content_type=form, headers={"authorization": f"Basic {right}"})
    token = granted.json()["access_token"]
    return [
        granted,
        party.server.post("/o/introspect/", {"token": token}, headers={"authorization": f"Basic {right}"}),
        party.server.get("/o/introspect/", {"token": token}, headers={"authorization": f"Basic {right}"}),
        party.server.post("/o/introspect/", {"token": token}, headers={"authorization": f"Bearer {token}"}),
        party.server.post("/o/revoke_token/", {"token": token}, headers={"authorization": f"Basic {right}"}),
    ]


def run_resource(party: Party, browser: Client) -> list[Any]:
    """RFC 8707: `resource` may be repeated, narrowed, and restricts the token."""
    resources = ["https://a.test/", "https://b.test/"]

    def ask(*wanted: str) -> Any:
        code, asked = party.code(browser, scope="profile", resource=resources[0])
        return party.exchange(code, asked, **({"resource": list(wanted)} if wanted else {}))

    first, narrowed = ask(), ask(resources[0])
    return [
        first,
        narrowed,
        ask(*resources),
        ask("no address"),
        party.server.post("/o/introspect/", {"token": first.json()["access_token"], **party.credentials}),
        party.userinfo(first.json()["access_token"]),
    ]


RUNS: dict[str, tuple[Callable[[Party, Client], list[Any]], dict[str, Any]]] = {
    "authorization_code": (run_code, {}),
    "client_credentials": (run_client_credentials, {"authorization_grant_type": "client-credentials"}),
    "refresh": (run_refresh, {}),
    "revocation": (run_revocation, {}),
    "rp_initiated_logout": (run_logout, {"post_logout_redirect_uris": "https://relying-party.test/bye/"}),
    "rp_initiated_logout_with_hint": (
        run_logout_with_hint,
        {"post_logout_redirect_uris": "https://relying-party.test/bye/"},
    ),
    "dynamic_registration": (run_dynamic_registration, {}),
    "public_client": (run_public_client, {"client_type": "public"}),
    "basic_authentication": (run_basic, {}),
    "resource": (run_resource, {}),
}


@pytest.mark.parametrize("name", RUNS)
def test_toolkit__behaves_as_without_us(name: str, kim: Any, make_party: Callable[..., Party]) -> None:
    run, fields = RUNS[name]
    with toolkit_settings(DCR_ENABLED=True):
        with plain_toolkit():
            party = make_party("plain", **fields)
            there = Client()
            there.force_login(kim, "tap_provider.backends.ModelBackend")
            plain = run(party, there)
        get_application_model().objects.all().delete()
        ours = run(make_party("plain", **fields), sign_in_with_password(kim))

    assert len(plain) >= 5
    assert_same(ours, plain)


@pytest.mark.parametrize("protected", [True, False], ids=["reuse_protection", "without_reuse_protection"])
@pytest.mark.parametrize("grace", [0, 60], ids=["no_grace", "grace_period"])
@pytest.mark.parametrize("rotates", [True, False], ids=["rotation", "without_rotation"])
def test_toolkit__refreshes_as_without_us(
    kim: Any, make_party: Callable[..., Party], protected: bool, grace: int, rotates: bool
) -> None:
    def run(party: Party, browser: Client) -> list[Any]:
        granted = party.exchange(*party.code(browser, scope="profile"))
        first = granted.json()["refresh_token"]
        refreshed = party.refresh(first)
        again = party.refresh(first)
        return [granted, refreshed, again, party.refresh(refreshed.json()["refresh_token"])]

    changes = {
        "REFRESH_TOKEN_REUSE_PROTECTION": protected,
        "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": grace,
        "ROTATE_REFRESH_TOKEN": rotates,
        "COMPLIANT_BCP_RFC9700_REFRESH_TOKEN": None,
        "COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": False,  # the grace period tells the token that was stored
    }
    with toolkit_settings(**changes):
        with plain_toolkit():
            there = Client()
            there.force_login(kim, "tap_provider.backends.ModelBackend")
            plain = run(make_party("plain"), there)
        ours = run(make_party("ours"), sign_in_with_password(kim))

    assert [response.status_code for response in plain][:2] == [200, 200]
    assert_same(ours, plain)


def test_toolkit__refresh_tokens_expire_as_without_us(kim: Any, make_party: Callable[..., Party]) -> None:
    def run(party: Party, browser: Client) -> list[Any]:
        tokens = party.exchange(*party.code(browser, scope="profile")).json()
        issued = get_refresh_token_model().objects.get(application=party.application)
        issued.access_token.expires = timezone.now() - 24 * 15 * HOUR
        issued.access_token.save()
        return [party.refresh(tokens["refresh_token"])]

    with plain_toolkit():
        there = Client()
        there.force_login(kim, "tap_provider.backends.ModelBackend")
        plain = run(make_party("plain"), there)
    ours = run(make_party("ours"), sign_in_with_password(kim))

    assert plain[0].json() == {"error": "invalid_grant"}
    assert_same(ours, plain)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
def test_toolkit__password_grant_behaves_as_without_us(kim: Any, make_party: Callable[..., Party]) -> None:
    fields = {"authorization_grant_type": get_application_model().GRANT_PASSWORD}

    def run(party: Party) -> list[Any]:
        body = {"grant_type": "password", "scope": "openid profile", **party.credentials}
        granted = party.server.post(TOKEN, {**body, "username": kim.username, "password": PASSWORD})
        return [
            granted,
            party.server.post(TOKEN, {**body, "username": kim.username, "password": "wrong"}),
            party.server.post(TOKEN, {**body, "username": kim.upn, "password": PASSWORD}),
            party.refresh(granted.json()["refresh_token"]),
        ]

    with toolkit_settings(COMPLIANT_BCP_RFC9700_PASSWORD_GRANT=False):
        with plain_toolkit():
            plain = run(make_party("plain", **fields))
        ours = run(make_party("ours", **fields))

    assert [response.status_code for response in ours] == [200, 400, 400, 200]
    assert_same(ours, plain)


def test_toolkit__openid_codes_bring_refresh_tokens_as_without_us_where_offline_access_is_not_offered(
    kim: Any, make_party: Callable[..., Party]
) -> None:
    with toolkit_settings(SCOPES={"openid": "", "profile": ""}):
        with plain_toolkit():
            there = Client()
            there.force_login(kim, "tap_provider.backends.ModelBackend")
            party = make_party("plain")
            plain = [party.exchange(*party.code(there, scope="openid profile"))]
        party = make_party("ours")
        ours = [party.exchange(*party.code(sign_in_with_password(kim), scope="openid profile"))]

    assert "refresh_token" in plain[0].json()
    assert_same(ours, plain)
