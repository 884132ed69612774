"""Userinfo: the access token in the header, and from nowhere else (RFC 6750 §2, §3.1; RFC 9700 §4.3.2)."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from oauth2_provider.views import ProtectedResourceView

from .conftest import INTROSPECT, USERINFO, Party, toolkit_settings

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")]

BOTH = pytest.mark.parametrize("transport", [True, False, None], ids=["compliant", "lenient", "toolkits_default"])


@BOTH
@pytest.mark.compliance("RFC 6750 §2.2", "RFC 6750 §2.3", "RFC 9700 §4.3.2")
@pytest.mark.parametrize("kind", ["access_token", "id_token"])
@pytest.mark.parametrize("way", ["query", "body", "query_of_a_post", "with_another_scheme"])
def test_userinfo__a_token_outside_the_header_is_none(
    way: str, kind: str, transport: bool | None, full: Client, intranet: Party
) -> None:
    """An unsupported method of authentication: the challenge has no error code (RFC 6750 §3.1)."""
    token = {"access_token": intranet.tokens(full).response[kind]}
    ask: dict[str, Any] = {
        "query": lambda: Client().get(USERINFO, token),
        "body": lambda: Client().post(USERINFO, token),
        "query_of_a_post": lambda: Client().post(USERINFO, query_params=token),
        "with_another_scheme": lambda: Client().get(USERINFO, token, headers={"authorization": "Basic a2ltOng="}),
    }
    with toolkit_settings(COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT=transport):
        response = ask[way]()

    assert (response.status_code, response.content) == (401, b"")
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="api"'


@pytest.mark.compliance("RFC 6750 §3.1")
@pytest.mark.parametrize("method", ["get", "post"])
def test_userinfo__without_a_token_the_challenge_is_bare(method: str, full: Client) -> None:
    for browser in (Client(), full):
        response = getattr(browser, method)(USERINFO)

        assert (response.status_code, response.content) == (401, b"")
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="api"'


@BOTH
@pytest.mark.compliance("RFC 6750 §2", "RFC 6750 §3.1")
@pytest.mark.parametrize("method", ["get", "post"])
def test_userinfo__two_methods_at_once_are_invalid(
    method: str, transport: bool | None, full: Client, intranet: Party
) -> None:
    token = intranet.tokens(full).access_token
    with toolkit_settings(COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT=transport):
        response = getattr(Client(), method)(
            USERINFO, {"access_token": token}, headers={"authorization": f"Bearer {token}"}
        )

    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


class Anything(ProtectedResourceView):
    def get(self, request: Any) -> Any:
        raise AssertionError("reached")

    post = get


@BOTH
@pytest.mark.parametrize("method", ["get", "post"])
def test_resource_of_the_toolkits__a_token_outside_the_header_is_none(
    method: str, transport: bool | None, full: Client, intranet: Party, rf: Any
) -> None:
    token = intranet.tokens(full).access_token
    with toolkit_settings(COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT=transport):
        assert Anything.as_view()(getattr(rf, method)("/", {"access_token": token})).status_code == 403
        with pytest.raises(AssertionError, match="reached"):
            Anything.as_view()(getattr(rf, method)("/", headers={"authorization": f"Bearer {token}"}))


@BOTH
@pytest.mark.compliance("RFC 7662 §2.1")
def test_introspection__by_a_token_outside_the_header_is_refused(
    transport: bool | None, full: Client, portal: Party
) -> None:
    scopes = {"openid": "", "introspection": "Introspect tokens"}
    with toolkit_settings(SCOPES=scopes, COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT=transport):
        token = portal.tokens(full, scope="openid introspection").access_token
        for response in (
            Client().post(INTROSPECT, {"token": token, "access_token": token}),
            Client().post(INTROSPECT, {"token": token}, query_params={"access_token": token}),
            Client().get(INTROSPECT, {"token": token, "access_token": token}),
        ):
            assert (response.status_code, response.json()) == (401, {"error": "invalid_client"})
        right = Client().post(INTROSPECT, {"token": token}, headers={"authorization": f"Bearer {token}"})
        assert right.json()["active"]
