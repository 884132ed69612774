"""Tokens of an API: getting one and giving it up touch no session, and leave a browser that is signed in alone."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.checks import run_checks
from django.test import Client

from tap_provider.models import AuditEvent, SignIn
from tap_provider.sign_in import SESSION_KEY

PASSWORD = "correct-horse"
BASIC = {"HTTP_AUTHORIZATION": "Basic " + b64encode(f"kim:{PASSWORD}".encode()).decode()}
WRONG = {"HTTP_AUTHORIZATION": "Basic " + b64encode(b"kim:wrong").decode()}


@pytest.fixture
def kim(make_user: Any) -> Any:
    return make_user("kim", password=PASSWORD, is_staff=True)


def get_token(client: Client) -> str:
    response = client.post("/api/knox/login/", **BASIC)
    assert response.status_code == 200
    return str(response.json()["token"])


def sign_in_of(browser: Client) -> SignIn:
    return SignIn.objects.get(pk=browser.session[SESSION_KEY])


@pytest.fixture
def browser(client: Client, kim: Any) -> Client:
    """A browser that Kim has signed in with."""
    client.post("/admin/login/?next=/", {"username": "kim", "password": PASSWORD})
    assert sign_in_of(client).methods == ["password"]
    return client


def test_checks__of_the_site_are_silent(db: None) -> None:
    assert [message for message in run_checks() if str(message.id).startswith("tap_provider")] == []


def test_token__is_got_and_given_up_without_a_session(client: Client, kim: Any) -> None:
    for _number in range(3):
        response = client.post("/api/knox/login/", **BASIC)
        assert response.status_code == 200
        assert not response.cookies
    authorization = {"HTTP_AUTHORIZATION": f"Token {response.json()['token']}"}
    for path in ("/api/knox/logout/", "/api/knox/logout-all/"):
        token = {"HTTP_AUTHORIZATION": f"Token {get_token(client)}"}
        response = client.post(path, **token)
        assert response.status_code == 204
        assert not response.cookies
    assert client.post("/api/knox/logout/", **authorization).status_code == 401
    assert client.post("/api/knox/login/", **WRONG).status_code == 401
    response = client.post("/api/token/", {"username": "kim", "password": PASSWORD})
    assert (response.status_code, list(response.cookies)) == (200, [])
    assert not Session.objects.exists()
    assert not SignIn.objects.exists()
    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize("path", ["/api/knox/logout/", "/api/knox/logout-all/"])
def test_token__leaves_the_session_of_the_same_browser_alone(browser: Client, kim: Any, path: str) -> None:
    before, cookie = sign_in_of(browser), browser.cookies["sessionid"].value
    response = browser.post("/api/knox/login/", **BASIC)
    assert not response.cookies
    browser.post(path, HTTP_AUTHORIZATION=f"Token {response.json()['token']}")
    after = sign_in_of(browser)
    assert (after.pk, after.ended_at, after.authenticated_at) == (before.pk, None, before.authenticated_at)
    assert browser.cookies["sessionid"].value == cookie
    assert SignIn.objects.count() == 1
    assert browser.get("/").content == b"kim"


def test_token__of_somebody_else_leaves_the_session_of_the_same_browser_alone(browser: Client, make_user: Any) -> None:
    make_user("robin", password=PASSWORD)
    basic = "Basic " + b64encode(f"robin:{PASSWORD}".encode()).decode()
    token = browser.post("/api/knox/login/", HTTP_AUTHORIZATION=basic).json()["token"]
    browser.post("/api/knox/logout/", HTTP_AUTHORIZATION=f"Token {token}")
    assert sign_in_of(browser).ended_at is None
    assert browser.get("/").content == b"kim"


def test_session__that_an_api_view_opens_is_a_sign_in(client: Client, kim: Any) -> None:
    client.post("/api/session/", {"username": "kim", "password": PASSWORD})
    sign_in = sign_in_of(client)
    assert (sign_in.user, sign_in.methods) == (kim, ["password"])
    client.delete("/api/session/")
    sign_in.refresh_from_db()
    assert sign_in.ended_reason == "signed_out"
    assert client.get("/").content == b""
