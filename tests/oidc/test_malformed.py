"""Whatever is sent to an OAuth endpoint, the answer is the specification's: never a server error, never a bare page.

RFC 6749 §3.2, §5.2; RFC 6750 §3.1; RFC 7009 §2.2.1; RFC 7662 §2.3; RFC 8628 §3.2; RFC 8707 §2.
"""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client
from oauth2_provider.models import get_application_model

from .conftest import INTROSPECT, REDIRECT_URI, REVOKE, TOKEN, USERINFO, Party, sign_in_with_password, toolkit_settings

FORM = "application/x-www-form-urlencoded"
DEVICE_AUTHORIZATION, LOGOUT = "/o/device-authorization/", "/o/logout/"
DEVICE_CODE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"

SENT: dict[str, dict[str, str]] = {
    "code": {
        "grant_type": "authorization_code",
        "code": "unknown",
        "redirect_uri": REDIRECT_URI,
        "code_verifier": "x" * 43,
        "scope": "openid",
        "resource": "https://api.test/",
    },
    "refresh": {"grant_type": "refresh_token", "refresh_token": "unknown", "scope": "openid"},
    "client_credentials": {"grant_type": "client_credentials", "scope": "openid", "resource": "https://api.test/"},
    "password": {"grant_type": "password", "username": "kim", "password": "unknown", "scope": "openid"},
    "device": {"grant_type": DEVICE_CODE_GRANT, "device_code": "unknown", "scope": "openid"},
    "revocation": {"token": "unknown", "token_type_hint": "access_token"},
    "introspection": {"token": "unknown", "token_type_hint": "access_token"},
    "device_authorization": {"scope": "openid"},
}
WHERE = {"revocation": REVOKE, "introspection": INTROSPECT, "device_authorization": DEVICE_AUTHORIZATION}
GRANT_TYPES = {
    "client_credentials": "client-credentials",
    "password": "password",
    "device": DEVICE_CODE_GRANT,
    "device_authorization": DEVICE_CODE_GRANT,
}
PARAMETERS = [
    (name, parameter) for name, sent in SENT.items() for parameter in (*sent, "client_id", "client_secret", "unknown")
]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")


@pytest.fixture(autouse=True)
def _password_grant_is_on() -> Any:
    with toolkit_settings(COMPLIANT_BCP_RFC9700_PASSWORD_GRANT=False):
        yield


@pytest.fixture
def party_for(make_party: Callable[..., Party], kim: Any) -> Callable[[str], Party]:
    def party(name: str) -> Party:
        grant_type = GRANT_TYPES.get(name, get_application_model().GRANT_AUTHORIZATION_CODE)
        return make_party("party", authorization_grant_type=grant_type)

    return party


def post(name: str, body: Any, **more: Any) -> Any:
    content = body if isinstance(body, str | bytes) else urlencode(body, doseq=True)
    server = Client(raise_request_exception=False)
    return server.post(WHERE.get(name, TOKEN), content, content_type=more.pop("content_type", FORM), **more)


def error_of(response: Any, status: int = 400) -> str:
    """Return the error of an OAuth error response (RFC 6749 §5.2)."""
    assert response.status_code == status, (response.status_code, response.content[:300])
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Pragma"] == "no-cache"
    return str(response.json()["error"])


@pytest.mark.compliance("RFC 6749 §5.2")
@pytest.mark.parametrize(("name", "parameter"), PARAMETERS)
@pytest.mark.parametrize(
    "value",
    [
        "a\x00b",
        "\x00",
        "%00",
        "\ud800".encode("utf-8", "surrogatepass"),
        b"\xff\xfe",
        "\ufffd",
        "\U0001f511",
        "é\u0301",
    ],
    ids=["nul_inside", "nul", "escaped_nul", "surrogate", "no_utf8", "replacement", "beyond_the_plane", "accents"],
)
def test_malformed__value_of_any_parameter_is_an_oauth_error(
    party_for: Callable[[str], Party], name: str, parameter: str, value: Any
) -> None:
    credentials = party_for(name).credentials
    response = post(name, {**credentials, **SENT[name], parameter: value})

    assert_is_the_specifications(response, name)
    if isinstance(value, str) and value != "%00" and "\x00" in value:
        assert error_of(response) == "invalid_request"


@pytest.mark.compliance("RFC 6749 §5.2")
@pytest.mark.parametrize(("name", "parameter"), PARAMETERS)
@pytest.mark.parametrize("length", [10_000, 1_000_000], ids=["10kB", "1MB"])
def test_malformed__length_of_any_parameter_is_an_oauth_error(
    party_for: Callable[[str], Party], name: str, parameter: str, length: int
) -> None:
    response = post(name, {**party_for(name).credentials, **SENT[name], parameter: "x" * length})

    assert_is_the_specifications(response, name)


def assert_is_the_specifications(response: Any, name: str) -> None:
    """Assert an OAuth error, or an answer that is due whatever the token or the scope is called."""
    assert response.headers["Cache-Control"] == "no-store"
    if response.status_code == 200:
        return
    assert error_of(response, response.status_code)
    assert response.status_code in {400, 401}


@pytest.mark.compliance("RFC 6749 §3.2", "RFC 6749 §5.2")
@pytest.mark.parametrize(("name", "parameter"), PARAMETERS)
def test_repeated__parameter_is_invalid_request(party_for: Callable[[str], Party], name: str, parameter: str) -> None:
    """RFC 6749 §3.2: parameters MUST NOT be included more than once; `resource` may (RFC 8707 §2)."""
    body = {**party_for(name).credentials, **SENT[name]}
    response = post(name, {**body, parameter: ["a", "a"]})

    if parameter == "resource":
        assert response.json().get("error") in {"invalid_grant", "invalid_target"}
    else:
        assert error_of(response) == "invalid_request"


@pytest.mark.compliance("RFC 8707 §2")
def test_repeated__resource_brings_a_token_for_each(party_for: Callable[[str], Party]) -> None:
    body = {**party_for("client_credentials").credentials, **SENT["client_credentials"]}
    granted = post("client_credentials", {**body, "resource": ["https://a.test/", "https://b.test/"]}).json()

    told = post(
        "introspection",
        {"token": granted["access_token"], "client_id": "party", "client_secret": body["client_secret"]},
    )
    assert told.json()["aud"] == ["https://a.test/", "https://b.test/"]


@pytest.mark.compliance("RFC 8707 §2")
@pytest.mark.parametrize(
    "resource", ["https://[", "https://[::1", "https://a.test:port/", "//\u2100.test/", "no address"]
)
def test_malformed__resource_is_invalid_target(party_for: Callable[[str], Party], resource: str) -> None:
    """RFC 8707 §2."""
    body = {**party_for("client_credentials").credentials, **SENT["client_credentials"], "resource": resource}

    assert error_of(post("client_credentials", body)) == "invalid_target"


# Bodies


@pytest.mark.compliance("RFC 6749 §3.2", "RFC 7009 §2.1", "RFC 7662 §2.1", "RFC 8628 §3.1")
@pytest.mark.parametrize("name", SENT)
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (json.dumps({"grant_type": "client_credentials"}), "application/json"),
        ("{", "application/json"),
        ("grant_type=client_credentials", "text/plain"),
        ("grant_type=client_credentials", ""),
        ("<x/>", "application/xml"),
        (b"\xff\xfe", "application/octet-stream"),
        ("no boundary", "multipart/form-data"),
        ("--x\r\nContent-Disposition: form-data; name=a\r\n", "multipart/form-data; boundary=\x00"),
        ("grant_type=x", "application/x-www-form-urlencoded; charset=utf-16"),
        ("&".join(f"p{number}=x" for number in range(2000)), FORM),
        ("x=" + "x" * 3_000_000, FORM),
    ],
    ids=[
        "json",
        "unparsable_json",
        "text",
        "no_type",
        "xml",
        "binary",
        "no_boundary",
        "odd_boundary",
        "another_charset",
        "too_many_parameters",
        "too_large",
    ],
)
def test_malformed__body_is_invalid_request(
    party_for: Callable[[str], Party], name: str, body: str | bytes, content_type: str
) -> None:
    """RFC 6749 §3.2, RFC 7009 §2.1, RFC 7662 §2.1, RFC 8628 §3.1: the body is a form."""
    party_for(name)

    assert error_of(post(name, body, content_type=content_type)) in {"invalid_request", "unsupported_grant_type"}


@pytest.mark.compliance("RFC 6749 §5.2")
@pytest.mark.parametrize("name", SENT)
def test_empty__body_is_an_oauth_error(party_for: Callable[[str], Party], name: str) -> None:
    party_for(name)

    assert_is_the_specifications(post(name, ""), name)


@pytest.mark.compliance("RFC 6749 §5.2")
@pytest.mark.parametrize("name", ["code", "device", "device_authorization"])
@pytest.mark.parametrize("missing", ["client_id", "device_code", "code", "grant_type"])
def test_missing__parameter_is_an_oauth_error(party_for: Callable[[str], Party], name: str, missing: str) -> None:
    body = {**party_for(name).credentials, **SENT[name]}
    body.pop(missing, None)

    assert_is_the_specifications(post(name, body), name)


@pytest.mark.compliance("RFC 6749 §5.2")
@pytest.mark.parametrize("name", [*SENT, "userinfo"])
@pytest.mark.parametrize(
    "query", ["x=%zz", "x=%", "x=%00", "token=a&token=b", "access_token=a&access_token=b", "&".join(["a=1"] * 2000)]
)
def test_malformed__query_is_an_oauth_error(party_for: Callable[[str], Party], name: str, query: str) -> None:
    credentials = party_for(name).credentials
    where = USERINFO if name == "userinfo" else WHERE.get(name, TOKEN)
    server = Client(raise_request_exception=False)

    response = server.post(f"{where}?{query}", urlencode({**credentials, **SENT.get(name, {})}), content_type=FORM)

    assert error_of(response) == "invalid_request"


@pytest.mark.parametrize("body", ['{"token": "\\u0000"}', '{"token": "\\ud800"}', '{"\\ud800": 1}', "[]"])
def test_malformed__json_is_invalid_request_where_the_site_reads_json(
    party_for: Callable[[str], Party], body: str
) -> None:
    """The toolkit has a back end for it."""
    party_for("introspection")
    with toolkit_settings(OAUTH2_BACKEND_CLASS="oauth2_provider.oauth2_backends.JSONOAuthLibCore"):
        for name in ("code", "revocation", "introspection"):
            assert error_of(post(name, body, content_type="application/json")) == "invalid_request"


def test_json__is_read_where_the_site_reads_json(party_for: Callable[[str], Party]) -> None:
    credentials = party_for("client_credentials").credentials
    body = json.dumps({**credentials, **SENT["client_credentials"]})
    with toolkit_settings(OAUTH2_BACKEND_CLASS="oauth2_provider.oauth2_backends.JSONOAuthLibCore"):
        assert post("client_credentials", body, content_type="application/json").status_code == 200


# Credentials

BROKEN_BASIC = {
    "nothing": "Basic",
    "blank": "Basic ",
    "no_base64": "Basic !!!",
    "padding": "Basic YQ",
    "no_ascii": "Basic \xe9\xe9\xe9\xe9",
    "no_colon": "Basic " + b64encode(b"party").decode(),
    "no_utf8": "Basic " + b64encode(b"\xff\xfe:x").decode(),
    "nul": "Basic " + b64encode(b"pa\x00rty:x").decode(),
    "escaped_nul": "Basic " + b64encode(b"pa%00rty:x").decode(),
    "another_case": "basic !!!",
    "unknown": "Basic " + b64encode(b"unknown:x").decode(),
    "wrong": "Basic " + b64encode(b"party:wrong").decode(),
}


@pytest.mark.compliance("RFC 6749 §5.2", "RFC 7009 §2.2.1")
@pytest.mark.parametrize("name", ["code", "refresh", "client_credentials", "revocation", "device_authorization"])
@pytest.mark.parametrize("header", BROKEN_BASIC.values(), ids=BROKEN_BASIC)
def test_malformed__basic_header_is_invalid_client(party_for: Callable[[str], Party], name: str, header: str) -> None:
    """RFC 6749 §5.2: 401, and the scheme that the client used in WWW-Authenticate."""
    client_id = party_for(name).client_id
    response = post(name, {**SENT[name], "client_id": client_id}, headers={"authorization": header})

    assert error_of(response, 401) == "invalid_client"
    assert response.headers["WWW-Authenticate"].startswith("Basic realm=")


@pytest.mark.compliance("RFC 7662 §2.3")
@pytest.mark.parametrize("header", [header for key, header in BROKEN_BASIC.items() if key not in {"unknown", "wrong"}])
def test_malformed__basic_header_is_invalid_client_at_introspection(
    party_for: Callable[[str], Party], header: str
) -> None:
    """RFC 7662 §2.3."""
    party_for("introspection")
    response = post("introspection", {"token": "x"}, headers={"authorization": header})

    assert error_of(response, 401) == "invalid_client"
    assert response.headers["WWW-Authenticate"].startswith("Basic realm=")


def test_malformed__secret_in_the_body_is_answered_as_by_the_toolkit(party_for: Callable[[str], Party]) -> None:
    response = post("code", {**party_for("code").credentials, **SENT["code"], "client_secret": "wrong"})

    assert error_of(response, 401) == "invalid_client"
    assert response.headers["WWW-Authenticate"].startswith("Bearer ")


def jwt_of(header: Any, claims: Any) -> str:
    parts = (part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims))
    return ".".join(urlsafe_b64encode(part).decode().rstrip("=") for part in (*parts, b"signature"))


BROKEN_BEARER = {
    "nothing": "Bearer",
    "blank": "Bearer ",
    "two": "Bearer a b",
    "nul": "Bearer a\x00b",
    "no_ascii": "Bearer \xe9",
    "endless": "Bearer " + "x" * 100_000,
    "like_jwt": "Bearer ey.a.b",
    "like_jwe": "Bearer ey.a.b.c.d",
    "no_json": "Bearer " + jwt_of({"alg": "RS256"}, b"{"),
    "no_utf8": "Bearer " + jwt_of({"alg": "RS256"}, b"\xff"),
    "header_is_no_json": "Bearer ey" + jwt_of(b"{", {"aud": "party"}),
    "header_is_a_list": "Bearer " + jwt_of(b'{"alg"', {"aud": "party"}),
    "claims_are_a_list": "Bearer " + jwt_of({"alg": "RS256"}, ["aud"]),
    "claims_are_a_number": "Bearer " + jwt_of({"alg": "RS256"}, 1),
    "no_audience": "Bearer " + jwt_of({"alg": "RS256"}, {}),
    "audience_is_a_number": "Bearer " + jwt_of({"alg": "RS256"}, {"aud": 1}),
    "audience_is_a_dictionary": "Bearer " + jwt_of({"alg": "RS256"}, {"aud": {"a": 1}}),
    "audience_with_nul": "Bearer " + jwt_of({"alg": "RS256"}, {"aud": "a\x00"}),
    "audience_with_surrogate": "Bearer " + jwt_of({"alg": "RS256"}, {"aud": ["\ud800"]}),
    "wrong_signature": "Bearer " + jwt_of({"alg": "RS256"}, {"aud": "party"}),
    "no_algorithm": "Bearer " + jwt_of({"alg": "none"}, {"aud": "party"}),
    "algorithm_is_a_number": "Bearer " + jwt_of({"alg": 1}, {"aud": "party"}),
    "algorithm_is_a_list": "Bearer " + jwt_of({"alg": []}, {"aud": "party"}),
    "critical": "Bearer " + jwt_of({"alg": "RS256", "crit": 1}, {"aud": "party"}),
    "deep": "Bearer " + jwt_of({"alg": "RS256"}, b"[" * 100_000),
}


@pytest.mark.compliance("RFC 6750 §3.1", "OpenID Connect Core 1.0 §5.3.3")
@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("header", BROKEN_BEARER.values(), ids=BROKEN_BEARER)
def test_malformed__bearer_token_is_invalid_token_at_userinfo(
    party_for: Callable[[str], Party], method: str, header: str
) -> None:
    """RFC 6750 §3.1; OpenID Connect Core §5.3.3."""
    party_for("code")
    server = Client(raise_request_exception=False)
    response = getattr(server, method)(USERINFO, headers={"authorization": header})

    assert response.status_code == 401, response.content[:300]
    # Nothing at all is no authentication information.
    expected = "Bearer realm=" if header.strip() == "Bearer" else 'Bearer error="invalid_token"'
    assert response.headers["WWW-Authenticate"].startswith(expected)
    assert ("error=" in response.headers["WWW-Authenticate"]) is (header.strip() != "Bearer")
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.compliance("RFC 7662 §2.1")
@pytest.mark.parametrize("header", BROKEN_BEARER.values(), ids=BROKEN_BEARER)
def test_malformed__bearer_token_opens_no_introspection(party_for: Callable[[str], Party], header: str) -> None:
    """RFC 7662 §2.3."""
    party_for("code")
    response = post("introspection", {"token": "x"}, headers={"authorization": header})

    assert response.status_code == 401
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("token", ["a\x00b", "\U0001f511", "x" * 1_000_000])
def test_malformed__token_in_the_body_is_an_error_at_userinfo(party_for: Callable[[str], Party], token: str) -> None:
    party_for("code")
    response = Client(raise_request_exception=False).post(USERINFO, {"access_token": token})

    assert response.status_code in {400, 401}


@pytest.mark.compliance("RFC 6750 §3")
@pytest.mark.parametrize("header", [BROKEN_BASIC["no_base64"], BROKEN_BASIC["wrong"]])
def test_malformed__basic_header_is_no_bearer_token_at_userinfo(db: None, header: str) -> None:
    """RFC 6750 §3: no client authenticates there, so the challenge is that of bearer tokens."""
    response = Client().get(USERINFO, headers={"authorization": header})

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer ")


@pytest.mark.compliance("OpenID Connect Core 1.0 §5.3.1")
def test_userinfo__by_post_needs_no_body(full: Client, intranet: Party) -> None:
    """OpenID Connect Core §5.3.1."""
    token = intranet.tokens(full).access_token
    bearer = {"authorization": f"Bearer {token}"}

    for content_type in (FORM, "", "application/json"):
        response = intranet.server.post(USERINFO, "", content_type=content_type, headers=bearer)
        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "no-store"


# Logging out


@pytest.mark.compliance("OpenID Connect RP-Initiated Logout 1.0 §4")
@pytest.mark.parametrize(
    "parameter", ["id_token_hint", "client_id", "post_logout_redirect_uri", "state", "logout_hint", "ui_locales"]
)
@pytest.mark.parametrize(
    "value",
    ["a\x00b", "\U0001f511", "x" * 10_000, "https://[", "unknown", jwt_of({"alg": "RS256"}, {"aud": 1}), "a.b.c"],
    ids=["nul", "beyond_the_plane", "10kB", "no_address", "unknown", "odd_claims", "like_jwt"],
)
def test_malformed__parameter_of_logout_is_never_a_server_error(
    full: Client, intranet: Party, parameter: str, value: str
) -> None:
    """OpenID Connect RP-Initiated Logout §4: an error page, and nobody is signed out."""
    browser = Client(raise_request_exception=False)
    browser.cookies = full.cookies
    query = {"client_id": intranet.client_id, parameter: value}

    for response in (browser.get(LOGOUT, query), browser.post(LOGOUT, query)):
        assert response.status_code in ({400} if "\x00" in value else {200, 400, 401}), response.content[:300]
        assert response.templates, "a page"
    assert full.get("/members/").status_code == 200


@pytest.mark.compliance("OpenID Connect RP-Initiated Logout 1.0 §4")
@pytest.mark.parametrize("query", ["client_id=a&client_id=b", "state=%zz", "state=a&state=b"])
def test_malformed__query_of_logout_is_an_error_page(full: Client, query: str) -> None:
    response = full.get(f"{LOGOUT}?{query}")

    assert response.status_code == 400
    assert b"invalid_request" in response.content


# Dynamic client registration: RFC 7591 §3.2.2

METADATA = {"redirect_uris": [REDIRECT_URI], "grant_types": ["authorization_code"], "client_name": "New"}

BROKEN_METADATA: dict[str, str] = {
    "nul": json.dumps({**METADATA, "client_name": "a\x00b"}),
    "surrogate": json.dumps({**METADATA, "client_name": "\ud800"}),
    "nul_in_an_address": json.dumps({**METADATA, "redirect_uris": [f"{REDIRECT_URI}\x00"]}),
    "nul_in_a_name": json.dumps({**METADATA, "a\x00b": "c"}),
    "nul_deep_inside": json.dumps({**METADATA, "jwks": {"keys": [{"kid": "\x00"}]}}),
    "name_is_a_number": json.dumps({**METADATA, "client_name": 7}),
    "name_is_an_object": json.dumps({**METADATA, "client_name": {"a": "b"}}),
    "name_is_endless": json.dumps({**METADATA, "client_name": "x" * 100_000}),
    "no_object": "[]",
    "a_number": "7",
    "no_json": "client_name=New",
    "nested_too_deeply": "[" * 100_000 + "]" * 100_000,
    "too_long": json.dumps({**METADATA, "client_name": "x" * 3_000_000}),
    "no_utf8": "\udcff",
}


@pytest.mark.compliance("RFC 7591 §3.2.2")
@pytest.mark.parametrize("body", BROKEN_METADATA.values(), ids=BROKEN_METADATA)
def test_malformed__client_metadata_is_invalid(kim: Any, body: str) -> None:
    kim.is_superuser = True  # who may register clients
    kim.save()
    with toolkit_settings(DCR_ENABLED=True):
        browser = sign_in_with_password(kim)
        browser.raise_request_exception = False
        content = body.encode(errors="surrogateescape")
        response = browser.post("/o/register/", content, content_type="application/json")

    assert (response.status_code, response.json()["error"]) == (400, "invalid_client_metadata")
    assert not get_application_model().objects.exists()


@pytest.mark.compliance("RFC 7592 §2.2")
@pytest.mark.parametrize("body", [BROKEN_METADATA["nul"], BROKEN_METADATA["name_is_a_number"]])
def test_malformed__client_metadata_changes_nothing(kim: Any, body: str) -> None:
    kim.is_superuser = True
    kim.save()
    with toolkit_settings(DCR_ENABLED=True):
        registered = sign_in_with_password(kim).post("/o/register/", METADATA, content_type="application/json")
        assert registered.status_code == 201
        assert registered.headers["Cache-Control"] == "no-store"
        answer = registered.json()
        bearer = {"authorization": f"Bearer {answer['registration_access_token']}"}
        address = f"/o/register/{answer['client_id']}/"
        response = Client().put(address, body, content_type="application/json", headers=bearer)
        kept = Client().get(address, headers=bearer).json()

    assert (response.status_code, response.json()["error"]) == (400, "invalid_client_metadata")
    assert kept["client_name"] == "New"


def test_malformed__client_metadata_where_registration_is_off_is_not_read() -> None:
    response = Client().post("/o/register/", "[", content_type="application/json")

    assert (response.status_code, response.json()) == (404, {"error": "not_found"})
