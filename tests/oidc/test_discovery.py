"""Discovery (OpenID Connect Discovery 1.0 §3, RFC 8414 §2): every document tells what is true, and the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client, override_settings
from django.urls import clear_url_caches, include, path, resolve

from tap_provider.oidc import urls

from .conftest import (
    ISSUER,
    JWKS,
    MULTI_FACTOR_ACR,
    PASSWORD_ACR,
    PHISHING_RESISTANT_ACR,
    Party,
    plain_toolkit,
    toolkit_settings,
)

OPENID = "/o/.well-known/openid-configuration"
OAUTH = "/.well-known/oauth-authorization-server"
DOCUMENTS = [OPENID, OAUTH, f"{OAUTH}/o", f"/o{OAUTH}"]
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


def told(path: str = OPENID, client: Client | None = None) -> dict[str, Any]:
    response = (client or Client()).get(path)
    assert response.status_code == 200
    document: dict[str, Any] = response.json()
    return document


@pytest.mark.compliance(
    "OpenID Connect Discovery 1.0 §3",
    "RFC 8414 §2",
    "OpenID Connect Back-Channel Logout 1.0 §2.1",
    "OpenID Connect RP-Initiated Logout 1.0 §2.1",
    "RFC 9207 §3",
    "RFC 9470 §7",
    "RFC 8628 §4",
)
@pytest.mark.parametrize("document", DOCUMENTS)
def test_discovery__tells_what_is_true(document: str) -> None:
    """Issue 3, line 11: each name and its value, in each document."""
    metadata = told(document)

    expected = {
        "issuer": ISSUER,
        "acr_values_supported": [PASSWORD_ACR, MULTI_FACTOR_ACR, PHISHING_RESISTANT_ACR],
        "authorization_response_iss_parameter_supported": True,
        "backchannel_logout_session_supported": True,
        "backchannel_logout_supported": True,
        "claims_parameter_supported": True,
        "code_challenge_methods_supported": ["S256"],
        "device_authorization_endpoint": f"{ISSUER}/device-authorization/",
        "end_session_endpoint": f"{ISSUER}/logout/",
        "grant_types_supported": ["authorization_code", "client_credentials", "refresh_token", DEVICE_GRANT],
        "introspection_endpoint": f"{ISSUER}/introspect/",
        "introspection_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "jwks_uri": f"{ISSUER}/.well-known/jwks.json",
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "require_request_uri_registration": False,
        "response_modes_supported": ["query", "fragment", "form_post"],
        "response_types_supported": ["code"],
        "revocation_endpoint": f"{ISSUER}/revoke_token/",
        "revocation_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "scopes_supported": ["email", "method_registration", "offline_access", "openid", "profile"],
        "subject_types_supported": ["public"],
        "token_endpoint": f"{ISSUER}/token/",
        "userinfo_endpoint": f"{ISSUER}/userinfo/",
    }
    assert {name: metadata.get(name) for name in expected} == expected


@pytest.mark.compliance("OpenID Connect Discovery 1.0 §3")
@pytest.mark.parametrize("document", DOCUMENTS)
def test_discovery__names_the_claims_that_we_tell(document: str) -> None:
    claims = told(document)["claims_supported"]

    assert claims == sorted(set(claims))
    of_user = {"sub", "name", "given_name", "family_name", "preferred_username", "email", "email_verified"}
    assert {*of_user, "acr", "amr", "auth_time", "sid"} == set(claims)


@pytest.mark.parametrize("document", DOCUMENTS[1:])
def test_discovery__is_the_same_in_every_document(document: str) -> None:
    assert told(document) == told(OPENID)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_discovery__may_be_read_by_any_origin(document: str) -> None:
    assert Client().get(document).headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("document", [OPENID, f"/o{OAUTH}"])
def test_discovery__keeps_every_member_of_the_toolkits(document: str) -> None:
    with plain_toolkit():
        plain = told(document)

    assert set(plain) <= set(told(document))


@pytest.mark.compliance("OpenID Connect Discovery 1.0 §3", "RFC 9470 §7")
@pytest.mark.parametrize("document", DOCUMENTS)
def test_acr_values_supported__are_the_sites(document: str, settings: Any) -> None:
    """OpenID Connect Discovery §3; RFC 9470 §7. Two levels of one name are one value."""
    settings.TAP_PROVIDER_ACR_VALUES = {"multi_factor": "urn:site:strong", "phishing_resistant": "urn:site:strong"}

    assert told(document)["acr_values_supported"] == [PASSWORD_ACR, "urn:site:strong"]


@pytest.mark.compliance("RFC 8414 §2")
@pytest.mark.parametrize("document", DOCUMENTS)
def test_token_endpoint_auth_methods_supported__has_none_for_public_clients(
    document: str, full: Client, make_party: Callable[..., Party]
) -> None:
    methods = told(document)["token_endpoint_auth_methods_supported"]
    assert methods.count("none") == 1
    assert {"client_secret_basic", "client_secret_post"} <= set(methods)
    party = make_party("public", client_type="public")
    assert party.exchange(*party.code(full)).status_code == 200


@pytest.mark.compliance("Initiating User Registration via OpenID Connect 1.0 §4.2")
@pytest.mark.parametrize("document", DOCUMENTS)
def test_prompt_values_supported__names_create_only_where_it_is_on(document: str) -> None:
    with toolkit_settings(OIDC_RP_INITIATED_REGISTRATION_ENABLED=True):
        assert told(document)["prompt_values_supported"][-1] == "create"


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.1")
@pytest.mark.parametrize("document", DOCUMENTS)
def test_backchannel_logout_supported__only_where_the_issuer_is_known_without_a_request(document: str) -> None:
    """OpenID Connect Back-Channel Logout §2.1, §2.4: a logout token names its issuer."""
    with toolkit_settings(OIDC_ISS_ENDPOINT=None):
        metadata = told(document)

    assert metadata["backchannel_logout_supported"] is metadata["backchannel_logout_session_supported"] is False


@pytest.mark.compliance("RFC 9207 §3")
@pytest.mark.parametrize("document", DOCUMENTS)
def test_authorization_response_iss_parameter_supported__says_so_where_it_is_off(document: str) -> None:
    """RFC 9207 §3."""
    with toolkit_settings(COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS=False):
        assert told(document)["authorization_response_iss_parameter_supported"] is False


@pytest.mark.compliance("RFC 8414 §2")
@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.parametrize(
    ("gate", "grant"),
    [("COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT", "implicit"), ("COMPLIANT_BCP_RFC9700_PASSWORD_GRANT", "password")],
)
def test_grant_types_supported__follow_the_toolkits_gates(document: str, gate: str, grant: str) -> None:
    """RFC 8414 §2."""
    with toolkit_settings(**{gate: False}):
        assert grant in told(document)["grant_types_supported"]


@pytest.mark.compliance("RFC 8628 §4")
@pytest.mark.parametrize("document", DOCUMENTS[:1])
def test_grant_types_supported__name_the_device_grant_only_where_a_device_can_ask(document: str) -> None:
    """RFC 8628 §4."""
    without = [pattern for pattern in urls.urlpatterns if not str(pattern.name).startswith("device")]
    with override_settings(ROOT_URLCONF=(path("o/", include((without, "oauth2_provider"))),)):
        clear_url_caches()
        metadata = told(document)
    clear_url_caches()

    assert DEVICE_GRANT not in metadata["grant_types_supported"]
    assert "device_authorization_endpoint" not in metadata


@pytest.mark.compliance("OpenID Connect RP-Initiated Logout 1.0 §2.1")
def test_end_session_endpoint__is_told_only_where_it_is_on() -> None:
    """OpenID Connect RP-Initiated Logout §2.1."""
    with toolkit_settings(OIDC_RP_INITIATED_LOGOUT_ENABLED=False):
        assert "end_session_endpoint" not in told(OPENID) | told(OAUTH)


@pytest.mark.compliance("RFC 8414 §3.3")
def test_issuer__of_rfc_8414s_document_is_told_by_its_address_where_none_is_set() -> None:
    """RFC 8414 §3.3: it must be the one that the document's address was made from."""
    with toolkit_settings(OIDC_ISS_ENDPOINT=None):
        assert told(f"{OAUTH}/tenant")["issuer"] == "http://testserver/tenant"
        assert told(OPENID)["issuer"] == "http://testserver/o"


def test_oauth_document__without_openid_has_nothing_of_it() -> None:
    """RFC 8414 is OAuth's: a site may have it without OpenID Connect."""
    with toolkit_settings(OIDC_ENABLED=False):
        assert Client().get(OPENID).status_code == 404
        metadata = told(OAUTH)

    assert metadata["issuer"] == ISSUER
    assert metadata["response_modes_supported"] == ["query", "fragment", "form_post"]
    assert not {"claims_supported", "userinfo_endpoint", "id_token_signing_alg_values_supported"} & set(metadata)


@pytest.mark.compliance("RFC 9470 §7")
def test_acr_values_supported__are_in_the_oauth_document_without_openid() -> None:
    """RFC 9470 §7: a resource server's demand is met by whatever the authorization server supports."""
    with toolkit_settings(OIDC_ENABLED=False):
        assert told(OAUTH)["acr_values_supported"] == [PASSWORD_ACR, MULTI_FACTOR_ACR, PHISHING_RESISTANT_ACR]


@pytest.mark.compliance("OpenID Connect Discovery 1.0 §3", "RFC 8414 §2")
def test_endpoints__that_are_told_are_there() -> None:
    metadata = told(OPENID)
    paths = {name: str(url).removeprefix(ISSUER) for name, url in metadata.items() if name.endswith("_endpoint")}

    assert len(paths) == 7
    for told_path in paths.values():
        assert resolve(f"/o{told_path}").namespace == "oauth2_provider"
    assert Client().get(JWKS).json()["keys"]
