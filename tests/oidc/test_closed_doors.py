"""What a registration-only session must not reach at the authorization server (peer failure 7), one door a test.

Each door is shown to open for somebody fully signed in, so that a closed one means something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from oauth2_provider.models import (
    get_access_token_model,
    get_application_model,
    get_device_grant_model,
    get_refresh_token_model,
)

from tap_provider.issue import IssuedPass
from tap_provider.models import SignIn, TemporaryAccessPass
from tap_provider.sign_in import SESSION_KEY

from .conftest import (
    CLIENT_SECRET,
    INTROSPECT,
    PASSWORD,
    REDIRECT_URI,
    REGISTRATION_SCOPE,
    REVOKE,
    TOKEN,
    Party,
    is_sign_in_page,
    sign_in_of,
    sign_in_with_passkey,
    sign_in_with_password,
    toolkit_settings,
)


@pytest.fixture
def robins_full_session(robin: Any, holder: Client) -> Client:
    """The same person, signed in with a passkey: for whom the doors open."""
    return sign_in_with_passkey(robin)


@pytest.fixture
def own_application(robin: Any, make_party: Callable[..., Party]) -> Any:
    """An application that Robin registered at some other time."""
    return make_party("robins", user=robin).application


# Applications


@pytest.mark.parametrize(
    "path",
    ["", "register/", "{pk}/", "{pk}/update/", "{pk}/delete/"],
    ids=["list", "register", "detail", "update", "delete"],
)
def test_applications__page_is_closed(
    holder: Client, robins_full_session: Client, own_application: Any, path: str
) -> None:
    url = f"/o/applications/{path.format(pk=own_application.pk)}"

    assert is_sign_in_page(holder.get(url))
    assert robins_full_session.get(url).status_code == 200


def application_form(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "client_id": name,
        "client_secret": CLIENT_SECRET,
        "client_type": "confidential",
        "authorization_grant_type": "authorization-code",
        "redirect_uris": REDIRECT_URI,
        "algorithm": "RS256",
    }


def test_applications__nothing_is_registered(holder: Client, robins_full_session: Client) -> None:
    names = get_application_model().objects.values_list("name", flat=True)

    assert is_sign_in_page(holder.post("/o/applications/register/", application_form("by-pass")))
    assert robins_full_session.post("/o/applications/register/", application_form("by-passkey")).status_code == 302

    assert list(names.all()) == ["by-passkey"]


def test_applications__nothing_is_updated(holder: Client, robins_full_session: Client, own_application: Any) -> None:
    url = f"/o/applications/{own_application.pk}/update/"

    assert is_sign_in_page(holder.post(url, application_form("by-pass")))
    own_application.refresh_from_db()
    assert own_application.name == "robins"

    robins_full_session.post(url, application_form("by-passkey"))
    own_application.refresh_from_db()
    assert own_application.name == "by-passkey"


def test_applications__nothing_is_deleted(holder: Client, robins_full_session: Client, own_application: Any) -> None:
    url = f"/o/applications/{own_application.pk}/delete/"

    assert is_sign_in_page(holder.post(url))
    assert get_application_model().objects.filter(pk=own_application.pk).exists()

    robins_full_session.post(url)
    assert not get_application_model().objects.filter(pk=own_application.pk).exists()


# Authorized tokens


@pytest.fixture
def own_token(robin: Any, own_application: Any) -> Any:
    return get_access_token_model().objects.create(
        user=robin, application=own_application, token="a-token", expires=timezone.now() + timedelta(hours=1)
    )


def test_authorized_tokens__list_is_closed(holder: Client, robins_full_session: Client, own_token: Any) -> None:
    assert is_sign_in_page(holder.get("/o/authorized_tokens/"))
    assert b"robins" in robins_full_session.get("/o/authorized_tokens/").content


def test_authorized_tokens__nothing_is_deleted(holder: Client, robins_full_session: Client, own_token: Any) -> None:
    url = f"/o/authorized_tokens/{own_token.pk}/delete/"

    assert is_sign_in_page(holder.get(url))
    assert is_sign_in_page(holder.post(url))
    assert get_access_token_model().objects.filter(pk=own_token.pk).exists()

    robins_full_session.post(url)
    assert not get_access_token_model().objects.filter(pk=own_token.pk).exists()


# Device grant


@pytest.fixture
def device_party(make_party: Callable[..., Party]) -> Party:
    """A client for devices that may, besides, host registration."""
    grant_type = get_application_model().GRANT_DEVICE_CODE
    return make_party("television", may_host_registration=True, authorization_grant_type=grant_type)


@pytest.fixture
def device(device_party: Party) -> Any:
    """A device that waits for somebody to approve it."""
    model = get_device_grant_model()
    return model.objects.create(
        client_id=device_party.client_id,
        device_code="device-code",
        user_code="WDJBMJHT",
        scope="openid profile",
        expires=timezone.now() + timedelta(minutes=10),
        interval=5,
        status=model.AUTHORIZATION_PENDING,
    )


def test_device__page_for_the_code_is_closed(holder: Client, robins_full_session: Client, device: Any) -> None:
    assert is_sign_in_page(holder.get("/o/device/?user_code=WDJBMJHT"))
    assert robins_full_session.get("/o/device/?user_code=WDJBMJHT").status_code == 200


def test_device__is_not_taken_up(holder: Client, robins_full_session: Client, robin: Any, device: Any) -> None:
    assert is_sign_in_page(holder.post("/o/device/", {"user_code": "WDJBMJHT"}))
    device.refresh_from_db()
    assert device.user is None

    robins_full_session.post("/o/device/", {"user_code": "WDJBMJHT"})
    device.refresh_from_db()
    assert device.user == robin


def test_device__is_not_approved(holder: Client, robins_full_session: Client, robin: Any, device: Any) -> None:
    device.user = robin
    device.save()
    url = f"/o/device-confirm/{device.client_id}/{device.user_code}"

    assert is_sign_in_page(holder.get(url))
    assert is_sign_in_page(holder.post(url, {"action": "accept"}))
    device.refresh_from_db()
    assert device.status == device.AUTHORIZATION_PENDING

    robins_full_session.post(url, {"action": "accept"})
    device.refresh_from_db()
    assert device.status == device.AUTHORIZED


def test_device__status_is_closed(holder: Client, robins_full_session: Client, robin: Any, device: Any) -> None:
    device.user = robin
    device.save()
    url = f"/o/device-grant-status/{device.client_id}/{device.user_code}"

    assert is_sign_in_page(holder.get(url))
    assert robins_full_session.get(url).status_code == 200


# Dynamic client registration


def test_dynamic_registration__is_closed(holder: Client, robins_full_session: Client) -> None:
    metadata = {"redirect_uris": [REDIRECT_URI], "grant_types": ["authorization_code"], "client_name": "New"}
    with toolkit_settings(DCR_ENABLED=True):
        response = holder.post("/o/register/", metadata, content_type="application/json")
        assert response.status_code in {401, 403}
        assert not get_application_model().objects.exists()

        response = robins_full_session.post("/o/register/", metadata, content_type="application/json")
        assert response.status_code == 201


def test_dynamic_registration__is_closed_to_the_sessions_token_as_well(holder: Client, portal: Party) -> None:
    token = portal.tokens(holder, scope=REGISTRATION_SCOPE).access_token
    bearer = {"authorization": f"Bearer {token}"}
    metadata = {"redirect_uris": [REDIRECT_URI], "grant_types": ["authorization_code"]}
    with toolkit_settings(DCR_ENABLED=True):
        for browser in (holder, Client()):
            response = browser.post("/o/register/", metadata, content_type="application/json", headers=bearer)
            assert response.status_code in {401, 403}
        response = Client().get(f"/o/register/{portal.client_id}/", headers=bearer)
        assert response.status_code in {401, 403, 404}

    assert get_application_model().objects.count() == 1


# The token endpoint


@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
@pytest.mark.parametrize("is_usable_once", [True, False])
def test_password_grant__a_passcode_is_no_password(
    robin: Any,
    kim: Any,
    issue: Callable[..., IssuedPass],
    make_party: Callable[..., Party],
    is_usable_once: bool,
) -> None:
    """And trying does not spend the pass: Django tries every backend that takes the credentials by name."""
    grant_type = get_application_model().GRANT_PASSWORD
    party = make_party("legacy", may_host_registration=True, authorization_grant_type=grant_type)
    issued = issue(robin, is_usable_once=is_usable_once)
    body = {"grant_type": "password", "scope": "openid method_registration", **party.credentials}

    with toolkit_settings(COMPLIANT_BCP_RFC9700_PASSWORD_GRANT=False):
        for username in (robin.username, robin.upn):
            for extra in ({}, {"upn": robin.upn, "tap_secret": issued.passcode}):
                response = party.server.post(
                    TOKEN, {**body, "username": username, "password": issued.passcode, **extra}
                )
                assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
        opened = party.server.post(TOKEN, {**body, "username": kim.username, "password": PASSWORD})

    assert opened.status_code == 200
    assert TemporaryAccessPass.objects.get().redemption_count == 0
    assert not SignIn.objects.exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
def test_password_grant__in_the_browser_of_a_registration_only_session_has_nobody_behind_it(
    holder: Client, make_party: Callable[..., Party]
) -> None:
    grant_type = get_application_model().GRANT_PASSWORD
    party = make_party("legacy", may_host_registration=True, authorization_grant_type=grant_type)
    with toolkit_settings(COMPLIANT_BCP_RFC9700_PASSWORD_GRANT=False):
        response = holder.post(TOKEN, {"grant_type": "password", "scope": "openid", **party.credentials})

    assert response.status_code == 400
    assert not get_access_token_model().objects.exists()


def test_refresh__a_token_of_the_session_is_no_refresh_token(holder: Client, portal: Party) -> None:
    code, asked = portal.code(holder)
    tokens = portal.read(portal.exchange(code, asked), nonce=asked.query["nonce"])

    for secret in (code, tokens.access_token, tokens.response["id_token"], str(sign_in_of(holder).pk)):
        response = portal.refresh(secret)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    assert not get_refresh_token_model().objects.exists()


def test_code__the_ids_of_sign_in_and_pass_are_no_codes(holder: Client, portal: Party) -> None:
    """Secrets and names of one kind are never accepted as another (peer failure 6)."""
    _, asked = portal.code(holder)
    sign_in = sign_in_of(holder)

    for name in (str(sign_in.pk), sign_in.pk.hex, str(sign_in.pass_id)):
        assert portal.exchange(name, asked).json()["error"] == "invalid_grant"
        assert portal.userinfo(name).status_code == 401
        assert portal.introspect(name) == {"active": False}


# Introspection and revocation


@pytest.fixture
def with_introspection_scope() -> Iterator[None]:
    with toolkit_settings(SCOPES={"openid": "", "method_registration": "", "introspection": "Introspect tokens"}):
        yield


@pytest.mark.usefixtures("with_introspection_scope")
def test_introspection__is_closed_to_session_and_token(
    holder: Client, robins_full_session: Client, portal: Party
) -> None:
    scope = "openid method_registration introspection"
    mine = portal.tokens(holder, scope=scope).access_token
    full = portal.tokens(robins_full_session, scope=scope).access_token

    def introspect(browser: Client, **headers: str) -> int:
        return int(browser.post(INTROSPECT, {"token": full}, headers=headers).status_code)

    assert introspect(holder) == 403
    assert introspect(Client(), authorization=f"Bearer {mine}") == 403
    assert introspect(Client(), authorization=f"Bearer {full}") == 200


def test_revocation__is_closed_to_the_session(holder: Client, robins_full_session: Client, portal: Party) -> None:
    token = portal.tokens(robins_full_session).access_token

    response = holder.post(REVOKE, {"token": token, "client_id": portal.client_id})

    assert response.status_code in {401, 403}
    assert portal.userinfo(token).status_code == 200


# Signing out by a relying party


def test_logout__of_a_registration_only_session_ends_nobody_elses(
    holder: Client, kim: Any, portal: Party, intranet: Party
) -> None:
    """The toolkit takes the holder for an anonymous visitor."""
    elsewhere = sign_in_with_password(kim)
    theirs, mine = intranet.tokens(elsewhere), portal.tokens(holder)

    response = holder.post("/o/logout/", {"client_id": "portal", "allow": "True"})

    assert response.status_code == 302
    assert SESSION_KEY not in holder.session
    assert portal.userinfo(mine.access_token).status_code == 401
    assert intranet.userinfo(theirs.access_token).status_code == 200
    assert elsewhere.get("/members/").status_code == 200


def test_logout__asks_before_it_ends_a_registration_only_session(
    holder: Client, robins_full_session: Client, portal: Party
) -> None:
    """A link must not end it, least of all that of a one-time pass (OpenID Connect RP-Initiated Logout §2)."""
    assert robins_full_session.get("/o/logout/").status_code == 200

    response = holder.get("/o/logout/")

    assert response.status_code == 200
    assert holder.get("/account/security-info/").status_code == 200


def test_logout__denied_leaves_the_registration_only_session_alone(holder: Client, portal: Party) -> None:
    tokens = portal.tokens(holder)

    holder.post("/o/logout/", {"client_id": "portal", "id_token_hint": tokens.response["id_token"]})

    assert holder.get("/account/security-info/").status_code == 200
    assert portal.userinfo(tokens.access_token).status_code == 200
