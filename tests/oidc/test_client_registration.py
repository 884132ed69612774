"""Dynamic registration: off by default, by those who have the permission, under a name of their own (RFC 7591)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client
from oauth2_provider.models import get_application_model

from tap_provider.oidc.models import RelyingParty

from .conftest import PASSWORD, REDIRECT_URI, Party, deactivate, toolkit_settings

pytestmark = pytest.mark.django_db
REGISTER = "/o/register/"
METADATA = {"redirect_uris": [REDIRECT_URI], "grant_types": ["authorization_code"], "client_name": "New"}


@pytest.fixture
def _is_on() -> Iterator[None]:
    with toolkit_settings(DCR_ENABLED=True):
        yield


@pytest.fixture
def permitted(kim: Any, full: Client) -> Client:
    kim.user_permissions.add(Permission.objects.get(codename="add_application"))
    return full


def register(browser: Client, **changes: Any) -> Any:
    return browser.post(REGISTER, {**METADATA, **changes}, content_type="application/json")


def test_registration__is_off_by_default(permitted: Client) -> None:
    assert register(permitted).status_code == 404
    assert not get_application_model().objects.exists()


@pytest.mark.usefixtures("_is_on")
@pytest.mark.compliance("RFC 7591 §3")
def test_registration__needs_the_permission(full: Client, kim: Any) -> None:
    response = register(full)
    assert (response.status_code, response.json()["error"]) == (403, "access_denied")
    assert not get_application_model().objects.exists()
    kim.user_permissions.add(Permission.objects.get(codename="add_application"))

    assert register(full).status_code == 201


def test_registration__is_open_where_the_site_says_so(full: Client) -> None:
    with toolkit_settings(
        DCR_ENABLED=True, DCR_REGISTRATION_PERMISSION_CLASSES=["oauth2_provider.dcr.AllowAllDCRPermission"]
    ):
        assert register(Client()).status_code == 201
        assert register(full, client_name="Newer").status_code == 201


@pytest.mark.usefixtures("_is_on")
@pytest.mark.compliance("RFC 7591 §3.2.2")
@pytest.mark.parametrize("name", ["Intranet", "intranet", "In tranet", "In\u200btranet", "\uff29ntranet"])
def test_registration__under_the_name_of_another_client_is_refused(
    name: str, permitted: Client, make_party: Callable[..., Party]
) -> None:
    make_party("first", name="Intranet")

    response = register(permitted, client_name=name, logo_uri="https://intranet.test/logo.png")

    assert (response.status_code, response.json()["error"]) == (400, "invalid_client_metadata")
    assert get_application_model().objects.count() == 1


@pytest.mark.usefixtures("_is_on")
def test_registration__tells_a_stranger_no_names(make_party: Callable[..., Party], full: Client) -> None:
    make_party("first", name="Intranet")

    for browser in (Client(), full):
        assert register(browser, client_name="Intranet").json() == register(browser, client_name="Free").json()


@pytest.mark.usefixtures("_is_on")
@pytest.mark.compliance("RFC 7592 §2.2", "RFC 7591 §3.2.2")
def test_update__to_the_name_of_another_client_is_refused(permitted: Client, make_party: Callable[..., Party]) -> None:
    make_party("first", name="Intranet")
    answer = register(permitted).json()
    management = f"{REGISTER}{answer['client_id']}/"
    bearer = {"authorization": f"Bearer {answer['registration_access_token']}"}

    def update(name: str, **headers: Any) -> Any:
        body = {**METADATA, "client_name": name}
        return Client().put(management, body, content_type="application/json", headers=headers)

    response = update("INTRANET", **bearer)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_client_metadata")
    assert update("Intranet").json() == update("Free").json()  # without its token: no word of names
    assert update("new", **bearer).status_code == 200  # its own
    assert get_application_model().objects.get(client_id=answer["client_id"]).name == "new"


@pytest.mark.usefixtures("_is_on")
@pytest.mark.compliance("RFC 7592 §2.2")
@pytest.mark.parametrize("right", ["skip_authorization", "relying party"])
def test_update__of_a_client_that_an_administrator_has_given_rights_is_refused(right: str, permitted: Client) -> None:
    """They were given to what the client was then: to its name, and to where it is answered."""
    answer = register(permitted).json()
    client_id, bearer = answer["client_id"], {"authorization": f"Bearer {answer['registration_access_token']}"}
    if right == "relying party":
        RelyingParty.objects.create(client_id=client_id, may_host_registration=True)
    else:
        get_application_model().objects.filter(client_id=client_id).update(skip_authorization=True)
    body = {**METADATA, "redirect_uris": ["https://elsewhere.test/"]}
    management = f"{REGISTER}{client_id}/"

    response = Client().put(management, body, content_type="application/json", headers=bearer)

    assert (response.status_code, response.json()["error"]) == (403, "access_denied")
    assert get_application_model().objects.get(client_id=client_id).redirect_uris == REDIRECT_URI
    assert Client().get(management, headers=bearer).status_code == 200


@pytest.mark.usefixtures("_is_on")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
def test_registration__gives_no_right_to_ask_for_passwords(permitted: Client, kim: Any) -> None:
    """Where a site has the password grant on for one client of its administrator's (RFC 9700 §2.4)."""
    answer = register(permitted, grant_types=["password"], redirect_uris=[]).json()
    kim.set_password(PASSWORD)
    kim.save()
    body = {"grant_type": "password", "username": kim.username, "password": PASSWORD, "scope": "profile"}
    body |= {"client_id": answer["client_id"], "client_secret": answer["client_secret"]}
    with toolkit_settings(DCR_ENABLED=True, COMPLIANT_BCP_RFC9700_PASSWORD_GRANT=False):
        response = Client().post("/o/token/", body)
    assert (response.status_code, response.json()["error"]) == (400, "unauthorized_client")


@pytest.mark.usefixtures("_is_on")
@pytest.mark.compliance("RFC 7662 §2.2")
def test_introspection__of_a_token_that_manages_a_client_is_inactive(
    permitted: Client, make_party: Callable[..., Party]
) -> None:
    """A resource server that demands no scope would take its bearer for the user who registered the client."""
    token = register(permitted).json()["registration_access_token"]
    assert make_party("server").introspect(token) == {"active": False}


def deactivate_by_statement(user: Any) -> None:
    get_user_model()._default_manager.filter(pk=user.pk).update(is_active=False)


@pytest.mark.usefixtures("_is_on")
@pytest.mark.compliance("RFC 7592 §2")
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (deactivate_by_statement, 401),
        (deactivate, 401),
        (lambda user: user.user_permissions.clear(), 403),
    ],
    ids=["statement", "save", "permission withdrawn"],
)
@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_management__is_of_a_user_who_may_still_register_clients(
    method: str, change: Callable[[Any], Any], expected: int, permitted: Client, kim: Any
) -> None:
    answer = register(permitted).json()
    management = f"{REGISTER}{answer['client_id']}/"
    bearer = {"authorization": f"Bearer {answer['registration_access_token']}"}
    sent = {"data": {**METADATA, "redirect_uris": ["https://elsewhere.test/"]}, "content_type": "application/json"}
    assert Client().get(management, headers=bearer).status_code == 200

    change(kim)
    response = getattr(Client(), method)(management, headers=bearer, **(sent if method == "put" else {}))

    assert response.status_code == expected
    assert get_application_model().objects.get(client_id=answer["client_id"]).redirect_uris == REDIRECT_URI
