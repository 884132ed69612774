"""Swapped models are used wherever the library's own would be."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_application_model

from tap_provider.databases import deciding_models
from tap_provider.issue import issue_pass
from tap_provider.models import SignIn
from tap_provider.policy import change_policy
from tests.oidc.conftest import CLIENT_SECRET, REDIRECT_URI, Party
from tests.sites.swapped.models import AccessToken, Application, Credential
from tests.softauthn import SoftAuthenticator, register_passkey, sign_in_with_passkey

INFO, PASS = "/account/security-info/", "/account/sign-in/pass/"

pytestmark = pytest.mark.django_db


@pytest.fixture
def robin(make_user: Callable[..., Any]) -> Any:
    return make_user("robin", password="a-long-enough-phrase")


@pytest.fixture
def holder(robin: Any, make_user: Callable[..., Any]) -> Client:
    """A browser in a registration-only session."""
    admin, now = make_user("admin", is_staff=True, is_superuser=True), timezone.now()
    change_policy(actor=admin, now=now, enabled=True)
    issued = issue_pass(actor=admin, user=robin, now=now, lifetime=timedelta(hours=1))
    browser = Client()
    assert browser.post(PASS, {"upn": "robin", "passcode": issued.passcode.reveal()}).status_code == 302
    return browser


def test_passkey__of_a_swapped_model_is_listed_and_signs_in(holder: Client, robin: Any) -> None:
    authenticator = SoftAuthenticator()
    assert register_passkey(holder, authenticator).status_code == 200
    credential = Credential.objects.get(user=robin)
    assert f"{INFO}methods/passkey/{credential.pk}/" in holder.get(INFO).content.decode()

    browser = Client()
    assert sign_in_with_passkey(browser, authenticator).status_code == 200
    assert browser.get("/").content == b"robin"
    (method,) = SignIn.objects.get(user=robin, pass_id=None).used_methods.all()
    assert (method.kind, method.method_id) == ("passkey", str(credential.pk))

    assert browser.post(f"{INFO}methods/passkey/{credential.pk}/remove/").status_code == 302
    assert not Credential.objects.exists()


def test_tokens__of_swapped_models_end_with_their_sign_in(robin: Any) -> None:
    assert (get_application_model(), get_access_token_model()) == (Application, AccessToken)
    application = Application.objects.create(
        client_id="portal",
        client_secret=CLIENT_SECRET,
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
        algorithm=Application.RS256_ALGORITHM,
        redirect_uris=REDIRECT_URI,
        skip_authorization=True,
    )
    party, browser = Party(application, issuer="http://testserver/o"), Client()
    browser.post("/account/sign-in/", {"upn": "robin", "password": "a-long-enough-phrase"})
    tokens = party.tokens(browser, scope="openid profile offline_access")
    assert party.userinfo(tokens.access_token).json()["preferred_username"] == "robin"
    refreshed = party.refresh(tokens.response["refresh_token"]).json()
    assert AccessToken.objects.filter(user=robin).exists()

    page = browser.get("/account/security-info/sign-out-everywhere/").content.decode()
    assert re.search("<form", page)
    browser.post("/account/security-info/sign-out-everywhere/", {"here": "leave"})

    assert party.userinfo(refreshed["access_token"]).status_code == 401
    assert party.refresh(refreshed["refresh_token"]).status_code == 400


def test_databases__know_swapped_models_as_deciding() -> None:
    assert {Credential, Application, AccessToken} <= deciding_models()
