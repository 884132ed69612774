"""What a registration-only session must not reach at the authorization server (peer failure 7), one door a test.

Each door is shown to open for somebody fully signed in, so that a closed one means something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.utils import timezone
from oauth2_provider.models import (
    get_access_token_model,
    get_application_model,
    get_device_grant_model,
    get_grant_model,
    get_refresh_token_model,
)

from tap_provider.issue import IssuedPass
from tap_provider.models import SignIn, TemporaryAccessPass
from tap_provider.oidc.contexts import remember_code
from tap_provider.oidc.device_codes import DEVICE_CODE_GRANT
from tap_provider.oidc.models import RelyingParty
from tap_provider.sign_in import SESSION_KEY

from .conftest import (
    CLIENT_SECRET,
    INTROSPECT,
    PASSWORD,
    PHISHING_RESISTANT_ACR,
    REDIRECT_URI,
    REGISTRATION_SCOPE,
    REVOKE,
    TOKEN,
    Party,
    deactivate,
    is_sign_in_page,
    session_from_before,
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
    """An application that Robin registered at some other time, and still may."""
    application = make_party("robins", user=robin).application
    robin.user_permissions.set(permissions_of(type(application)))
    return application


def permissions_of(model: Any) -> Any:
    return Permission.objects.filter(content_type=ContentType.objects.get_for_model(model))


# Applications


@pytest.mark.urls("tests.oidc.managed_urls")
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


@pytest.mark.urls("tests.oidc.managed_urls")
def test_applications__nothing_is_registered(holder: Client, robin: Any, robins_full_session: Client) -> None:
    robin.user_permissions.set(permissions_of(get_application_model()))
    names = get_application_model().objects.values_list("name", flat=True)

    assert is_sign_in_page(holder.post("/o/applications/register/", application_form("by-pass")))
    assert robins_full_session.post("/o/applications/register/", application_form("by-passkey")).status_code == 302

    assert list(names.all()) == ["by-passkey"]


@pytest.mark.urls("tests.oidc.managed_urls")
def test_applications__nothing_is_updated(holder: Client, robins_full_session: Client, own_application: Any) -> None:
    url = f"/o/applications/{own_application.pk}/update/"

    assert is_sign_in_page(holder.post(url, application_form("by-pass")))
    own_application.refresh_from_db()
    assert own_application.name == "robins"

    robins_full_session.post(url, application_form("by-passkey"))
    own_application.refresh_from_db()
    assert own_application.name == "by-passkey"


@pytest.mark.urls("tests.oidc.managed_urls")
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


@pytest.mark.compliance("RFC 8628 §3.3")
def test_device__is_not_taken_up(holder: Client, robins_full_session: Client, robin: Any, device: Any) -> None:
    assert is_sign_in_page(holder.post("/o/device/", {"user_code": "WDJBMJHT"}))
    device.refresh_from_db()
    assert device.user is None

    robins_full_session.post("/o/device/", {"user_code": "WDJBMJHT"})
    device.refresh_from_db()
    assert device.user == robin


@pytest.mark.compliance("RFC 8628 §3.3")
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


def test_device__gets_nothing_where_its_clients_minimum_was_raised_since(
    robins_full_session: Client, device: Any, device_party: Party
) -> None:
    SignIn.objects.filter(pk=sign_in_of(robins_full_session).pk).update(level="single_factor")
    robins_full_session.post("/o/device/", {"user_code": device.user_code})
    url = f"/o/device-confirm/{device.client_id}/{device.user_code}"
    robins_full_session.post(url, {"action": "accept"})
    for level, status in (("phishing_resistant", 400), ("", 200)):
        RelyingParty.objects.update_or_create(client_id=device.client_id, defaults={"minimum_level": level})
        assert device_tokens(device_party).status_code == status


def test_device__status_is_closed(holder: Client, robins_full_session: Client, robin: Any, device: Any) -> None:
    device.user = robin
    device.save()
    url = f"/o/device-grant-status/{device.client_id}/{device.user_code}"

    assert is_sign_in_page(holder.get(url))
    assert robins_full_session.get(url).status_code == 200


def device_tokens(party: Party, **changes: Any) -> Any:
    body = {"grant_type": DEVICE_CODE_GRANT, "device_code": "device-code", **party.credentials, **changes}
    return party.server.post(TOKEN, body)


@pytest.mark.compliance("RFC 8628 §3.3")
def test_device__is_not_denied(holder: Client, robins_full_session: Client, robin: Any, device: Any) -> None:
    device.user = robin
    device.save()
    url = f"/o/device-confirm/{device.client_id}/{device.user_code}"

    assert is_sign_in_page(holder.post(url, {"action": "deny"}))
    device.refresh_from_db()
    assert device.status == device.AUTHORIZATION_PENDING

    robins_full_session.post(url, {"action": "deny"})
    device.refresh_from_db()
    assert device.status == device.DENIED


def test_device__gets_no_tokens_by_a_registration_only_session(
    holder: Client, robin: Any, device: Any, device_party: Party
) -> None:
    """Even if one had approved it, behind every door: the last gate is where tokens are stored."""
    device.user, device.status = robin, device.AUTHORIZED
    device.save()
    remember_code("device-code", sign_in_of(holder), client_id=device_party.client_id, now=timezone.now())

    assert device_tokens(device_party).json()["error"] == "login_required"
    assert not get_access_token_model().objects.exists()


@pytest.fixture
def approved(robins_full_session: Client, device: Any) -> Any:
    """The device, approved in Robin's full session."""
    robins_full_session.post("/o/device/", {"user_code": device.user_code})
    robins_full_session.post(f"/o/device-confirm/{device.client_id}/{device.user_code}", {"action": "accept"})
    device.refresh_from_db()
    assert device.status == device.AUTHORIZED
    return device


def test_device__tokens_tell_and_die_with_the_sign_in_that_approved_it(
    robins_full_session: Client, approved: Any, device_party: Party, end_by: Any
) -> None:
    first = device_tokens(device_party).json()
    refreshed = device_party.refresh(first["refresh_token"]).json()
    told = device_party.introspect(refreshed["access_token"])
    assert (told["sid"], told["acr"]) == (str(sign_in_of(robins_full_session).pk), PHISHING_RESISTANT_ACR)

    end_by("ended_by_an_administrator", robins_full_session)

    assert device_party.userinfo(refreshed["access_token"]).status_code == 401
    assert device_party.introspect(refreshed["access_token"]) == {"active": False}
    assert device_party.refresh(refreshed["refresh_token"]).json()["error"] == "invalid_grant"


def test_device__code_dies_with_the_sign_in_that_approved_it(
    robins_full_session: Client, approved: Any, device_party: Party, end_by: Any
) -> None:
    end_by("ended_by_an_administrator", robins_full_session)

    assert device_tokens(device_party).json()["error"] == "invalid_grant"
    assert device_tokens(device_party, device_code="DEVICE-CODE").json()["error"] == "invalid_grant"


def test_device__code_dies_with_the_users_deactivation(robin: Any, device: Any, device_party: Party) -> None:
    """Of one that was approved before the installation, too."""
    device.user, device.status = robin, device.AUTHORIZED
    device.save()
    assert device_tokens(device_party).status_code == 200

    deactivate(robin)

    assert device_tokens(device_party).json()["error"] == "invalid_grant"


@pytest.mark.compliance("RFC 8628 §3.4")
def test_device__code_is_its_own_clients(approved: Any, make_party: Callable[..., Party]) -> None:
    """RFC 8628 §3.4."""
    other = make_party("radio", authorization_grant_type=get_application_model().GRANT_DEVICE_CODE)

    assert device_tokens(other).json()["error"] == "invalid_grant"


@pytest.mark.compliance("RFC 8628 §3.5")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
@pytest.mark.parametrize(
    ("status", "error"),
    [("authorization-pending", "slow_down"), ("denied", "access_denied"), ("expired", "expired_token")],
)
def test_device__code_that_is_not_approved_brings_nothing_by_json_either(
    robin: Any, device: Any, device_party: Party, status: str, error: str
) -> None:
    device.user, device.status = robin, status
    device.save()
    body = {"grant_type": DEVICE_CODE_GRANT, "device_code": "device-code", **device_party.credentials}

    with toolkit_settings(OAUTH2_BACKEND_CLASS="oauth2_provider.oauth2_backends.JSONOAuthLibCore"):
        response = device_party.server.post(TOKEN, body, content_type="application/json")

    assert response.json()["error"] == error
    assert not get_access_token_model().objects.exists()


@pytest.mark.compliance("RFC 8628 §3.5")
def test_device__code_ends_when_it_says_so(approved: Any, device_party: Party) -> None:
    """RFC 8628 §3.5."""
    approved.expires = timezone.now()
    approved.save()

    assert device_tokens(device_party).json()["error"] == "expired_token"


# The holder's access token, and a POST in the holder's browser, at every door


@pytest.mark.urls("tests.oidc.managed_urls")
@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize(
    "path",
    [
        "applications/",
        "applications/register/",
        "applications/{pk}/",
        "applications/{pk}/update/",
        "applications/{pk}/delete/",
        "authorized_tokens/",
        "authorized_tokens/{token}/delete/",
        "device/",
        "device-confirm/television/WDJBMJHT",
        "device-grant-status/television/WDJBMJHT",
    ],
)
def test_doors__are_closed_to_the_session_and_to_its_access_token(
    holder: Client, portal: Party, own_application: Any, own_token: Any, device: Any, method: str, path: str
) -> None:
    url = f"/o/{path.format(pk=own_application.pk, token=own_token.pk)}"
    bearer = {"authorization": f"Bearer {portal.tokens(holder, scope=REGISTRATION_SCOPE).access_token}"}

    for browser in (holder, Client()):
        response = getattr(browser, method)(url, headers=bearer)
        assert is_sign_in_page(response) or response.status_code == 405, response.status_code


@pytest.mark.compliance(
    "RFC 6749 §4.2",
    "OAuth 2.0 Multiple Response Type Encoding Practices 1.0 §3",
    "OAuth 2.0 Multiple Response Type Encoding Practices 1.0 §5",
)
@pytest.mark.parametrize(
    "response_type", ["token", "id_token", "id_token token", "code id_token", "code token", "code id_token token"]
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
def test_implicit_and_hybrid__responses_bring_the_session_and_its_token_nothing(
    holder: Client, make_party: Callable[..., Party], portal: Party, response_type: str
) -> None:
    """OAuth 2.0 Multiple Response Types §3, §5; RFC 6749 §4.2: by GET and by the consent form's POST."""
    application_model = get_application_model()
    grant_type = application_model.GRANT_OPENID_HYBRID if "code" in response_type else application_model.GRANT_IMPLICIT
    party = make_party("legacy", may_host_registration=True, authorization_grant_type=grant_type)
    asked = party.request(response_type=response_type, scope=REGISTRATION_SCOPE)
    token = portal.tokens(holder, scope=REGISTRATION_SCOPE).access_token
    before = get_access_token_model().objects.count()

    with toolkit_settings(COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT=False):
        for browser in (holder, Client()):
            for response in (
                browser.get(asked.url, headers={"authorization": f"Bearer {token}"}),
                browser.post(asked.url, {**asked.query, "allow": "Authorize"}),
            ):
                location = response.headers.get("Location", "")
                assert not {"code", "access_token", "id_token"} & set(parse_qs(urlsplit(location).fragment))
                assert not {"code", "access_token", "id_token"} & set(parse_qs(urlsplit(location).query))

    assert get_access_token_model().objects.count() == before
    assert not get_grant_model().objects.exists()


@pytest.mark.compliance("RFC 6749 §4.3")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
def test_password_grant__the_sessions_token_is_no_credential(
    holder: Client, robin: Any, portal: Party, make_party: Callable[..., Party]
) -> None:
    grant_type = get_application_model().GRANT_PASSWORD
    party = make_party("legacy", may_host_registration=True, authorization_grant_type=grant_type)
    token = portal.tokens(holder, scope=REGISTRATION_SCOPE).access_token
    body = {"grant_type": "password", "scope": "openid", "username": robin.username, **party.credentials}

    with toolkit_settings(COMPLIANT_BCP_RFC9700_PASSWORD_GRANT=False):
        for browser in (holder, Client()):
            response = browser.post(TOKEN, {**body, "password": token}, headers={"authorization": f"Bearer {token}"})
            assert response.json()["error"] == "invalid_grant"
    assert get_access_token_model().objects.count() == 1


@pytest.mark.compliance("RFC 7592 §2")
@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_dynamic_registration__management_is_closed(holder: Client, portal: Party, method: str) -> None:
    """RFC 7592 §2: a registration access token opens it, and nothing of the session's."""
    token = portal.tokens(holder, scope=REGISTRATION_SCOPE).access_token
    metadata = {"redirect_uris": ["https://elsewhere.test/"]}
    with toolkit_settings(DCR_ENABLED=True):
        for headers in ({}, {"authorization": f"Bearer {token}"}):
            response = getattr(holder, method)(
                f"/o/register/{portal.client_id}/",
                **({"data": metadata} if method == "put" else {}),
                content_type="application/json",
                headers=headers,
            )
            assert response.status_code in {401, 403, 404}

    portal.application.refresh_from_db()
    assert portal.application.redirect_uris == REDIRECT_URI


# Dynamic client registration


@pytest.mark.compliance("RFC 7591 §3")
def test_dynamic_registration__is_closed(holder: Client, robin: Any, robins_full_session: Client) -> None:
    robin.user_permissions.set(permissions_of(get_application_model()))
    metadata = {"redirect_uris": [REDIRECT_URI], "grant_types": ["authorization_code"], "client_name": "New"}
    with toolkit_settings(DCR_ENABLED=True):
        response = holder.post("/o/register/", metadata, content_type="application/json")
        assert response.status_code in {401, 403}
        assert not get_application_model().objects.exists()

        response = robins_full_session.post("/o/register/", metadata, content_type="application/json")
        assert response.status_code == 201


@pytest.mark.compliance("RFC 7591 §3")
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
@pytest.mark.compliance("RFC 6749 §4.3")
def test_password_grant__is_refused_to_a_client_whose_minimum_is_more(
    kim: Any, make_party: Callable[..., Party]
) -> None:
    party = make_party(
        "legacy", may_host_registration=False, authorization_grant_type=get_application_model().GRANT_PASSWORD
    )
    body = {"grant_type": "password", "username": kim.username, "password": PASSWORD, "scope": "profile"}
    body |= party.credentials
    with toolkit_settings(COMPLIANT_BCP_RFC9700_PASSWORD_GRANT=False):
        for level, status in (("multi_factor", 400), ("phishing_resistant", 400), ("single_factor", 200), ("", 200)):
            RelyingParty.objects.update(minimum_level=level)
            assert party.server.post(TOKEN, body).status_code == status


@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
@pytest.mark.parametrize("is_usable_once", [True, False])
@pytest.mark.compliance("RFC 6749 §4.3")
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
            for extra in ({}, {"upn": robin.upn, "tap_secret": issued.passcode.reveal()}):
                response = party.server.post(
                    TOKEN, {**body, "username": username, "password": issued.passcode.reveal(), **extra}
                )
                assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
        opened = party.server.post(TOKEN, {**body, "username": kim.username, "password": PASSWORD})

    assert opened.status_code == 200
    assert TemporaryAccessPass.objects.get().redemption_count == 0
    assert not SignIn.objects.exists()


@pytest.mark.compliance("RFC 6749 §4.3")
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


@pytest.mark.compliance("RFC 6749 §6")
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


@pytest.mark.compliance("RFC 7662 §2.1")
@pytest.mark.usefixtures("with_introspection_scope")
def test_introspection__is_closed_to_session_and_token(
    holder: Client, robins_full_session: Client, portal: Party
) -> None:
    scope = "openid method_registration introspection"
    mine = portal.tokens(holder, scope=scope).access_token
    full = portal.tokens(robins_full_session, scope=scope).access_token

    def introspect(browser: Client, **headers: str) -> int:
        return int(browser.post(INTROSPECT, {"token": full}, headers=headers).status_code)

    assert introspect(holder) == 401
    assert introspect(Client(), authorization=f"Bearer {mine}") == 403
    assert introspect(Client(), authorization=f"Bearer {full}") == 200


@pytest.mark.compliance("RFC 7009 §2.1")
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


@pytest.mark.compliance("OpenID Connect RP-Initiated Logout 1.0 §2")
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


def test_device__is_not_approved_from_a_sign_in_weaker_than_its_clients_minimum(
    robins_full_session: Client, device: Any
) -> None:
    """`RelyingParty.minimum_level`: the user adds what is missing first."""
    RelyingParty.objects.update_or_create(client_id=device.client_id, defaults={"minimum_level": "phishing_resistant"})
    SignIn.objects.filter(pk=sign_in_of(robins_full_session).pk).update(level="single_factor")
    robins_full_session.post("/o/device/", {"user_code": device.user_code})
    url = f"/o/device-confirm/{device.client_id}/{device.user_code}"
    response = robins_full_session.post(url, {"action": "accept"})
    assert response.headers["Location"].startswith("/account/sign-in/step-up/?level=phishing_resistant&next=")
    device.refresh_from_db()
    assert device.status == device.AUTHORIZATION_PENDING
    SignIn.objects.filter(pk=sign_in_of(robins_full_session).pk).update(level="phishing_resistant")
    robins_full_session.post(url, {"action": "accept"})
    device.refresh_from_db()
    assert device.status == device.AUTHORIZED


def test_device__is_not_approved_from_an_adopted_session_where_its_client_has_a_minimum(
    robin: Any, device: Any
) -> None:
    """Nobody knows by what it was: not even that the weakest level was reached."""
    RelyingParty.objects.update_or_create(client_id=device.client_id, defaults={"minimum_level": "single_factor"})
    browser = session_from_before(robin)
    browser.post("/o/device/", {"user_code": device.user_code})
    response = browser.post(f"/o/device-confirm/{device.client_id}/{device.user_code}", {"action": "accept"})
    assert response.headers["Location"].startswith("/account/sign-in/step-up/")
    device.refresh_from_db()
    assert device.status == device.AUTHORIZATION_PENDING
