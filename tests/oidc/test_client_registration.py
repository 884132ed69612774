"""Dynamic registration: off by default, by those who have the permission, under a name of their own (RFC 7591)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from oauth2_provider.models import get_application_model

from .conftest import REDIRECT_URI, Party, toolkit_settings

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
