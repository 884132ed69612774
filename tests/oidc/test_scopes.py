"""Scopes: never more than was asked for, and some only by a right that an administrator has given (RFC 6749 §3.3)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client
from django.utils import timezone
from oauth2_provider.models import (
    get_access_token_model,
    get_application_model,
    get_device_grant_model,
    get_id_token_model,
    get_refresh_token_model,
)
from oauth2_provider.views import ScopedProtectedResourceView

from tap_provider.oidc.models import RelyingParty
from tap_provider.oidc.scopes import NEVER_BY_DEFAULT
from tap_provider.oidc.token_validator import DEVICE_CODE_GRANT

from .conftest import PASSWORD, REGISTRATION_SCOPE, TOKEN, Party, answer_of, consent, consent_page, toolkit_settings

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")]

EVERYTHING = {
    "openid": "Know who you are",
    "profile": "Know your name",
    "offline_access": "Stay",
    "method_registration": "Register",
    "introspection": "Introspect",
    "payments": "Pay",
}


@pytest.fixture(autouse=True)
def _scopes() -> Any:
    with toolkit_settings(SCOPES=EVERYTHING, COMPLIANT_BCP_RFC9700_PASSWORD_GRANT=False):
        yield


@pytest.fixture
def machine(make_party: Callable[..., Party]) -> Callable[..., Party]:
    def make(**fields: Any) -> Party:
        return make_party("machine", authorization_grant_type="client-credentials", **fields)

    return make


@pytest.fixture
def legacy(make_party: Callable[..., Party]) -> Callable[..., Party]:
    """A client with the password grant."""

    def make(**fields: Any) -> Party:
        return make_party("legacy", authorization_grant_type="password", **fields)

    return make


@pytest.fixture
def television(make_party: Callable[..., Party]) -> Callable[..., Party]:
    def make(**fields: Any) -> Party:
        return make_party("television", authorization_grant_type=get_application_model().GRANT_DEVICE_CODE, **fields)

    return make


def by_machine(party: Party, **body: str) -> Any:
    return party.server.post(TOKEN, {"grant_type": "client_credentials", **party.credentials, **body})


def by_password(party: Party, **body: str) -> Any:
    person = {"username": "kim", "password": PASSWORD}
    return party.server.post(TOKEN, {"grant_type": "password", **person, **party.credentials, **body})


def by_device(party: Party, **body: str) -> Any:
    form = urlencode({**party.credentials, **body})
    return party.server.post("/o/device-authorization/", form, content_type="application/x-www-form-urlencoded")


# Without a scope


@pytest.mark.compliance("RFC 6749 §3.3", "RFC 6749 §4.4.2")
def test_client_credentials__asked_for_no_scope_is_invalid(machine: Callable[..., Party]) -> None:
    response = by_machine(machine())

    assert (response.status_code, response.json()["error"]) == (400, "invalid_scope")
    assert not get_access_token_model().objects.exists()


@pytest.mark.compliance("RFC 6749 §3.3", "RFC 6749 §4.3.2")
def test_password_grant__asked_for_no_scope_is_invalid(kim: Any, legacy: Callable[..., Party]) -> None:
    response = by_password(legacy())

    assert (response.status_code, response.json()["error"]) == (400, "invalid_scope")
    assert not get_access_token_model().objects.exists()


@pytest.mark.compliance("RFC 6749 §3.3", "RFC 8628 §3.1")
def test_device_authorization__asked_for_no_scope_is_invalid(television: Callable[..., Party]) -> None:
    response = by_device(television())

    assert (response.status_code, response.json()["error"]) == (400, "invalid_scope")
    assert not get_device_grant_model().objects.exists()


@pytest.mark.compliance("RFC 6749 §6")
def test_refresh__asked_for_no_scope_has_what_was_granted(full: Client, intranet: Party) -> None:
    tokens = intranet.tokens(full, scope="openid offline_access")

    assert intranet.refresh(tokens.refresh_token).json()["scope"] == "openid offline_access"


@pytest.mark.compliance("RFC 6749 §3.3")
def test_default_scopes__are_the_sites_but_what_must_be_asked_for(
    full: Client, intranet: Party, machine: Callable[..., Party]
) -> None:
    with toolkit_settings(DEFAULT_SCOPES=["profile", *sorted(NEVER_BY_DEFAULT)]):
        assert intranet.exchange(*intranet.code(full, scope=None)).json()["scope"] == "profile"
        assert by_machine(machine()).json()["scope"] == "profile"


# The scope `method_registration`


def test_registration_scope__is_refused_at_the_authorization_endpoint(full: Client, intranet: Party) -> None:
    answer = answer_of(full.get(intranet.request(scope=REGISTRATION_SCOPE.replace(" email", "")).url))

    assert answer["error"] == "invalid_scope"


@pytest.mark.parametrize("may_host_registration", [True, False])
def test_registration_scope__is_refused_by_client_credentials(
    may_host_registration: bool, machine: Callable[..., Party]
) -> None:
    """Whatever the client's rights: a user registers methods, and none is there."""
    response = by_machine(machine(may_host_registration=may_host_registration), scope="profile method_registration")

    assert (response.status_code, response.json()["error"]) == (400, "invalid_scope")


@pytest.mark.parametrize(("may_host_registration", "status"), [(True, 200), (False, 400)])
def test_registration_scope__needs_the_right_by_password(
    may_host_registration: bool, status: int, kim: Any, legacy: Callable[..., Party]
) -> None:
    response = by_password(legacy(may_host_registration=may_host_registration), scope="method_registration")

    assert response.status_code == status


@pytest.mark.parametrize(("may_host_registration", "status"), [(True, 200), (False, 400)])
def test_registration_scope__needs_the_right_by_device(
    may_host_registration: bool, status: int, television: Callable[..., Party]
) -> None:
    response = by_device(television(may_host_registration=may_host_registration), scope="openid method_registration")

    assert response.status_code == status


@pytest.mark.parametrize("scope", ["unknown", "openid unknown"])
def test_device_authorization__unknown_scope_is_invalid(scope: str, television: Callable[..., Party]) -> None:
    assert by_device(television(), scope=scope).json()["error"] == "invalid_scope"


def test_device__gets_what_was_approved_whatever_it_asks_for_later(
    robin: Any, television: Callable[..., Party]
) -> None:
    party, devices = television(may_host_registration=True), get_device_grant_model()
    for code, scope in (("first", ""), ("second", "payments method_registration")):
        devices.objects.create(
            client_id=party.client_id,
            device_code=code,
            user_code=code.upper(),
            scope="profile",
            expires=timezone.now() + timedelta(minutes=10),
            interval=5,
            status=devices.AUTHORIZED,
            user=robin,
        )
        body = {"grant_type": DEVICE_CODE_GRANT, "device_code": code, **party.credentials}
        response = party.server.post(TOKEN, {**body, "scope": scope} if scope else body)
        assert response.json()["scope"] == "profile", response.content


def withdraw() -> None:
    RelyingParty.objects.update(may_host_registration=False)


def test_registration_scope__of_a_code_is_refused_once_the_right_is_withdrawn(full: Client, portal: Party) -> None:
    code, asked = portal.code(full, scope="openid method_registration")
    withdraw()

    assert portal.exchange(code, asked).json()["error"] == "invalid_scope"
    assert not get_access_token_model().objects.exists()


def test_registration_scope__is_left_out_of_a_refresh_once_the_right_is_withdrawn(full: Client, portal: Party) -> None:
    tokens = portal.tokens(full, scope="openid offline_access method_registration")
    withdraw()

    assert portal.refresh(tokens.refresh_token, scope="method_registration").json()["error"] == "invalid_scope"
    assert portal.refresh(tokens.refresh_token).json()["scope"] == "openid offline_access"
    assert get_refresh_token_model().objects.filter(revoked=None).count() == 1


def test_registration_scope__is_not_told_once_the_right_is_withdrawn(full: Client, portal: Party) -> None:
    """A resource server elsewhere goes by what introspection tells."""
    token = portal.tokens(full, scope="openid method_registration").access_token
    withdraw()

    assert portal.introspect(token)["scope"] == "openid"


class Registration(ScopedProtectedResourceView):
    required_scopes = ("method_registration",)

    def get(self, request: Any) -> Any:
        raise AssertionError("reached")


def test_registration_scope__opens_nothing_once_the_right_is_withdrawn(full: Client, portal: Party, rf: Any) -> None:
    token = portal.tokens(full, scope="openid method_registration").access_token
    request = rf.get("/", headers={"authorization": f"Bearer {token}"})
    with pytest.raises(AssertionError, match="reached"):
        Registration.as_view()(request)
    withdraw()

    assert Registration.as_view()(request).status_code == 403


def test_machine__opens_no_resource_of_the_toolkits_that_demands_a_user(machine: Callable[..., Party], rf: Any) -> None:
    """A token from before this rule: what stands in the database does not open it either."""
    party = machine(may_host_registration=True)
    token = by_machine(party, scope="profile openid").json()["access_token"]
    get_access_token_model().objects.update(scope="openid method_registration")

    assert Registration.as_view()(rf.get("/", headers={"authorization": f"Bearer {token}"})).status_code == 403
    assert party.userinfo(token).status_code == 401


# Tokens that manage a client


def test_registration_access_token__opens_no_resource(full: Client, kim: Any, rf: Any) -> None:
    """RFC 7592 §3: it manages one client. The toolkit stores it as an access token of the user's."""
    kim.is_superuser = True
    kim.save()
    metadata = {"redirect_uris": ["https://new.test/"], "client_name": "New"}
    with toolkit_settings(DCR_ENABLED=True):
        answer = full.post("/o/register/", metadata, content_type="application/json").json()
    request = rf.get("/", headers={"authorization": f"Bearer {answer['registration_access_token']}"})

    class Anything(ScopedProtectedResourceView):
        required_scopes = ()

    assert Anything.as_view()(request).status_code == 403


def test_registration_access_tokens_scope__is_granted_to_no_client(machine: Callable[..., Party]) -> None:
    scope = "oauth2_provider:registration"
    with toolkit_settings(SCOPES={scope: "Manage clients", "profile": ""}):
        assert by_machine(machine(), scope=scope).json()["error"] == "invalid_scope"


# What was asked for, and nothing more


@pytest.mark.parametrize("scope", ["payments", "openid payments", "method_registration", ""])
def test_consent__grants_no_more_than_was_asked_for(full: Client, make_party: Callable[..., Party], scope: str) -> None:
    """A hidden field is what a browser sends, not what was asked for and shown."""
    party = make_party("careful", may_host_registration=True, skip_authorization=False)
    asked = party.request(scope="openid profile")

    answer = answer_of(consent(full, asked, scope=scope))

    if scope == "openid payments":
        assert party.exchange(answer["code"], asked).json()["scope"] == "openid"
    else:
        assert (answer["error"], answer["state"]) == ("invalid_scope", asked.query["state"])


def test_consent__denied_is_denied_whatever_is_posted(full: Client, make_party: Callable[..., Party]) -> None:
    party = make_party("careful", skip_authorization=False)
    asked = party.request(scope="openid")
    fields = {**consent_page(full, asked), "scope": "payments"}
    del fields["allow"]

    assert answer_of(full.post(asked.url, fields))["error"] == "access_denied"


@pytest.mark.parametrize("grant", ["code", "refresh"])
def test_id_token__is_stored_with_what_was_granted(grant: str, full: Client, intranet: Party) -> None:
    """The toolkit stores what the token request names, unasked, and takes ID tokens for bearer tokens."""
    code, asked = intranet.code(full, scope="openid offline_access")
    response = intranet.exchange(code, asked, scope="openid offline_access payments")
    if grant == "refresh":
        response = intranet.refresh(response.json()["refresh_token"], scope="openid")

    assert response.status_code == 200
    granted = set(response.json()["scope"].split())
    assert set(get_id_token_model().objects.latest("created").scope.split()) == granted
    assert "payments" not in granted
