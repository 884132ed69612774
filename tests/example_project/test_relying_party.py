"""The example relying party: what it accepts from a provider, what it refuses, and how it puts that into words.

The ID tokens are really signed, and the flow's tests talk HTTP to a small provider in a thread of this process.
"""

from __future__ import annotations

import json
import secrets
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from authlib.integrations.base_client import MismatchingStateError
from authlib.oidc.core.util import create_half_hash
from django.core.cache import cache
from django.test import Client, RequestFactory, override_settings
from django.urls import clear_url_caches
from joserfc import jwt
from joserfc.errors import (
    BadSignatureError,
    DecodeError,
    ExpiredTokenError,
    InvalidClaimError,
    InvalidKeyIdError,
    InvalidTokenError,
    JoseError,
    MissingClaimError,
    UnsupportedAlgorithmError,
)
from joserfc.jwk import KeySet, OctKey, RSAKey

from example_project.relying_party.client import (
    ProviderRefused,
    RelyingPartyClient,
    SignIn,
    build_registry,
    registry,
)
from example_project.relying_party.configuration import configuration, read_configuration
from example_project.relying_party.explain import describe_duration, describe_strength, explain_claims
from example_project.relying_party.sessions import SIGN_IN_KEY
from example_project.relying_party.validation import (
    LEEWAY_SECONDS,
    AcrMissing,
    AcrNotAccepted,
    AuthenticationTooOld,
    AuthTimeInFuture,
    AuthTimeMissing,
    IssuerMismatch,
    ProviderUnreachable,
    TokenMissing,
    check_issuer_parameter,
    check_userinfo_subject,
    require_acr,
    validate_id_token,
    validate_logout_token,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpRequest

ISSUER = "https://provider.example/o"
CLIENT_ID = "the-client"
NONCE = "the-nonce"
ACCESS_TOKEN = "the-access-token"
NOW = 1_800_000_000
MULTI_FACTOR = "http://schemas.openid.net/pape/policies/2007/06/multi-factor"
PASSWORD = "urn:oasis:names:tc:SAML:2.0:ac:classes:Password"

KEY = RSAKey.generate_key(2048, auto_kid=True)
OTHER_KEY = RSAKey.generate_key(2048, auto_kid=True)


def half_hash(access_token: str) -> str:
    return create_half_hash(access_token, "RS256").decode()


def claims_of(**changes: Any) -> dict[str, Any]:
    """Good claims with some changed; None leaves a claim out."""
    claims = {
        "iss": ISSUER,
        "sub": "42",
        "aud": CLIENT_ID,
        "exp": NOW + 300,
        "iat": NOW,
        "nonce": NONCE,
        "at_hash": half_hash(ACCESS_TOKEN),
    }
    return {name: value for name, value in {**claims, **changes}.items() if value is not None}


def sign(claims: dict[str, Any], *, key: RSAKey = KEY, **header: Any) -> str:
    return jwt.encode({"alg": "RS256", "kid": key.kid, **header}, claims, key)


def validate(id_token: str, **changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "key_set": KeySet([KEY]),
        "issuer": ISSUER,
        "client_id": CLIENT_ID,
        "nonce": NONCE,
        "access_token": ACCESS_TOKEN,
        "now": NOW,
    }
    return validate_id_token(id_token, **{**arguments, **changes})


# validate_id_token (OIDC Core §3.1.3.7)


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.3.7")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"aud": [CLIENT_ID]},
        {"azp": CLIENT_ID},
        {"at_hash": None},
        {"acr": MULTI_FACTOR, "amr": ["mfa", "tap"], "auth_time": NOW - 5},
        {"exp": NOW - LEEWAY_SECONDS + 1},
        {"iat": NOW + LEEWAY_SECONDS},
    ],
)
def test_validate_id_token__accepts(changes: dict[str, Any]) -> None:
    claims = claims_of(**changes)

    assert validate(sign(claims)) == claims


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.3.7")
@pytest.mark.parametrize(
    ("changes", "error", "claim"),
    [
        ({"iss": None}, MissingClaimError, "iss"),
        ({"iss": ISSUER + "/"}, InvalidClaimError, "iss"),
        ({"iss": [ISSUER]}, InvalidClaimError, "iss"),
        ({"sub": None}, MissingClaimError, "sub"),
        ({"aud": None}, MissingClaimError, "aud"),
        ({"aud": []}, InvalidClaimError, "aud"),
        ({"aud": "another-client"}, MissingClaimError, "azp"),
        ({"aud": "another-client", "azp": CLIENT_ID}, InvalidClaimError, "aud"),
        ({"aud": [CLIENT_ID, "another-client"], "azp": CLIENT_ID}, InvalidClaimError, "aud"),
        ({"azp": "another-client"}, InvalidClaimError, "azp"),
        ({"azp": ""}, InvalidClaimError, "azp"),
        ({"nonce": None}, MissingClaimError, "nonce"),
        ({"nonce": "another-nonce"}, InvalidClaimError, "nonce"),
        ({"nonce": [NONCE]}, InvalidClaimError, "nonce"),
        ({"exp": None}, MissingClaimError, "exp"),
        ({"exp": "never"}, InvalidClaimError, "exp"),
        ({"exp": float("nan")}, InvalidClaimError, "exp"),
        ({"exp": NOW - LEEWAY_SECONDS}, ExpiredTokenError, "exp"),
        ({"iat": None}, MissingClaimError, "iat"),
        ({"iat": NOW + LEEWAY_SECONDS + 1}, InvalidClaimError, "iat"),
        ({"nbf": NOW + 60}, InvalidClaimError, "nbf"),
        ({"amr": "tap"}, InvalidClaimError, "amr"),
        ({"at_hash": half_hash("another-access-token")}, InvalidClaimError, "at_hash"),
    ],
)
def test_validate_id_token__refuses_a_claim(changes: dict[str, Any], error: type[JoseError], claim: str) -> None:
    with pytest.raises(error) as caught:
        validate(sign(claims_of(**changes)))

    assert caught.value.claim == claim  # type: ignore[attr-defined]


def test_validate_id_token__leeway_is_small() -> None:
    assert LEEWAY_SECONDS <= 30


def test_validate_id_token__refuses_a_flow_without_nonce() -> None:
    with pytest.raises(MissingClaimError):
        validate(sign(claims_of(nonce="")), nonce="")


def test_validate_id_token__goes_on_checking_after_the_first_token() -> None:
    """Authlib takes what it checks with out of a dictionary that is used again."""
    validate(sign(claims_of()))

    with pytest.raises(InvalidClaimError):
        validate(sign(claims_of(iss="https://another.example/o")))


def test_validate_id_token__refuses_another_key_under_the_same_id() -> None:
    with pytest.raises(BadSignatureError):
        validate(sign(claims_of(), key=OTHER_KEY, kid=KEY.kid))


def test_validate_id_token__names_an_unknown_key() -> None:
    """The caller fetches the provider's keys again on this one."""
    with pytest.raises(InvalidKeyIdError):
        validate(sign(claims_of(), key=OTHER_KEY))


def test_validate_id_token__refuses_a_symmetric_signature() -> None:
    secret = OctKey.import_key("a shared secret of more than thirty-two characters")
    id_token = jwt.encode({"alg": "HS256"}, claims_of(), secret)

    with pytest.raises(UnsupportedAlgorithmError):
        validate(id_token, key_set=KeySet([secret]))


def test_validate_id_token__refuses_an_unsigned_token() -> None:
    header = "eyJhbGciOiJub25lIn0"  # {"alg":"none"}
    payload = sign(claims_of()).split(".")[1]

    with pytest.raises(UnsupportedAlgorithmError):
        validate(f"{header}.{payload}.")


@pytest.mark.parametrize("id_token", ["", "not-a-token", "a.b.c"])
def test_validate_id_token__refuses_what_is_no_token(id_token: str) -> None:
    with pytest.raises(DecodeError):
        validate(id_token)


# validate_logout_token (Back-Channel Logout 1.0 §2.6)

EVENT = "http://schemas.openid.net/event/backchannel-logout"


def logout_claims(**changes: Any) -> dict[str, Any]:
    """Good claims of a logout token with some changed; None leaves a claim out."""
    claims = {
        "iss": ISSUER,
        "aud": CLIENT_ID,
        "iat": NOW,
        "exp": NOW + 120,
        "jti": "the-jti",
        "sub": "42",
        "sid": "the-sid",
        "events": {EVENT: {}},
    }
    return {name: value for name, value in {**claims, **changes}.items() if value is not None}


def sign_logout(claims: dict[str, Any], *, key: RSAKey = KEY, typ: str | None = "logout+jwt", **header: Any) -> str:
    return sign(claims, key=key, **({} if typ is None else {"typ": typ}), **header)


def validate_logout(token: str) -> dict[str, Any]:
    return validate_logout_token(token, key_set=KeySet([KEY]), issuer=ISSUER, client_id=CLIENT_ID, now=NOW)


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.6")
@pytest.mark.parametrize(
    "changes", [{}, {"aud": [CLIENT_ID]}, {"sub": None}, {"sid": None}, {"events": {EVENT: {}, "other": 1}}]
)
def test_validate_logout_token__accepts(changes: dict[str, Any]) -> None:
    claims = logout_claims(**changes)

    assert validate_logout(sign_logout(claims)) == claims


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.6")
@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"iss": None}, MissingClaimError),
        ({"iss": "https://another.example/o"}, InvalidClaimError),
        ({"aud": None}, MissingClaimError),
        ({"aud": "another-client"}, InvalidClaimError),
        ({"aud": [CLIENT_ID, "another-client"]}, InvalidClaimError),
        ({"iat": None}, MissingClaimError),
        ({"iat": NOW + 60}, InvalidClaimError),
        ({"exp": None}, MissingClaimError),
        ({"exp": NOW - LEEWAY_SECONDS - 1}, ExpiredTokenError),
        ({"jti": None}, MissingClaimError),
        ({"jti": 7}, InvalidClaimError),
        ({"events": None}, MissingClaimError),
        ({"events": {}}, InvalidClaimError),
        ({"events": [EVENT]}, InvalidClaimError),
        ({"events": {EVENT: "yes"}}, InvalidClaimError),
        ({"nonce": "the-nonce"}, InvalidClaimError),
        ({"sub": None, "sid": None}, MissingClaimError),
        ({"sub": 42}, InvalidClaimError),
        ({"sid": ["the-sid"]}, InvalidClaimError),
    ],
)
def test_validate_logout_token__refuses_a_claim(changes: dict[str, Any], error: type[JoseError]) -> None:
    with pytest.raises(error):
        validate_logout(sign_logout(logout_claims(**changes)))


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.4", "OpenID Connect Back-Channel Logout 1.0 §4.1")
@pytest.mark.parametrize("typ", [None, "JWT", "at+jwt"])
def test_validate_logout_token__refuses_another_kind_of_token(typ: str | None) -> None:
    """Back-Channel Logout 1.0 §2.4: explicitly typed, so that no other JWT of the provider's passes for one."""
    with pytest.raises(InvalidTokenError):
        validate_logout(sign_logout(logout_claims(), typ=typ))


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.6")
def test_validate_logout_token__refuses_another_key() -> None:
    with pytest.raises(BadSignatureError):
        validate_logout(sign_logout(logout_claims(), key=OTHER_KEY, kid=KEY.kid))


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.6")
def test_validate_logout_token__refuses_an_unsigned_token() -> None:
    header = "eyJhbGciOiJub25lIiwidHlwIjoibG9nb3V0K2p3dCJ9"  # {"alg":"none","typ":"logout+jwt"}

    with pytest.raises(UnsupportedAlgorithmError):
        validate_logout(f"{header}.{sign_logout(logout_claims()).split('.')[1]}.")


# check_issuer_parameter (RFC 9207 §2.4)


@pytest.mark.compliance("RFC 9207 §2.4")
@pytest.mark.parametrize(("values", "is_required"), [([ISSUER], True), ([ISSUER], False), ([], False)])
def test_check_issuer_parameter__accepts(values: list[str], is_required: bool) -> None:
    check_issuer_parameter(values, issuer=ISSUER, is_required=is_required)


@pytest.mark.compliance("RFC 9207 §2.4")
@pytest.mark.parametrize(
    ("values", "is_required"),
    [
        ([], True),
        (["https://another.example/o"], False),
        ([ISSUER + "/"], False),
        ([""], False),
        (["https://another.example/o", ISSUER], False),
    ],
)
def test_check_issuer_parameter__refuses(values: list[str], is_required: bool) -> None:
    with pytest.raises(IssuerMismatch):
        check_issuer_parameter(values, issuer=ISSUER, is_required=is_required)


# check_userinfo_subject (OIDC Core §5.3.2)


def test_check_userinfo_subject__accepts_the_same() -> None:
    check_userinfo_subject({"sub": "42"}, claims={"sub": "42"})


@pytest.mark.compliance("OpenID Connect Core 1.0 §5.3.2")
@pytest.mark.parametrize("userinfo", [{}, {"sub": "43"}, {"sub": 42}, {"sub": None}])
def test_check_userinfo_subject__refuses_another(userinfo: dict[str, Any]) -> None:
    with pytest.raises(InvalidClaimError):
        check_userinfo_subject(userinfo, claims={"sub": "42"})


# require_acr


@pytest.mark.parametrize(
    ("claims", "max_age"),
    [
        ({"acr": "phr", "auth_time": NOW}, 600),
        ({"acr": "phr", "auth_time": NOW - 600}, 600),
        ({"acr": "phr", "auth_time": NOW - 0.5}, 600),
        ({"acr": "phr", "auth_time": NOW + LEEWAY_SECONDS}, 600),
        ({"acr": "phr", "auth_time": NOW}, 0),
        ({"acr": "phr"}, None),
    ],
)
def test_require_acr__accepts(claims: dict[str, Any], max_age: int | None) -> None:
    require_acr(claims, acr_values=["phr"], max_age=max_age, now=NOW)


@pytest.mark.parametrize(
    ("claims", "max_age", "error", "code"),
    [
        ({"auth_time": NOW}, 600, AcrMissing, "acr_missing"),
        ({"acr": None, "auth_time": NOW}, 600, AcrMissing, "acr_missing"),
        ({"acr": MULTI_FACTOR, "auth_time": NOW}, 600, AcrNotAccepted, "acr_not_accepted"),
        ({"acr": "PHR", "auth_time": NOW}, 600, AcrNotAccepted, "acr_not_accepted"),
        ({"acr": ["phr"], "auth_time": NOW}, 600, AcrNotAccepted, "acr_not_accepted"),
        ({"acr": "", "auth_time": NOW}, None, AcrNotAccepted, "acr_not_accepted"),
        ({"acr": "phr"}, 600, AuthTimeMissing, "auth_time_missing"),
        ({"acr": "phr"}, 0, AuthTimeMissing, "auth_time_missing"),
        ({"acr": "phr", "auth_time": True}, 600, AuthTimeMissing, "auth_time_missing"),
        ({"acr": "phr", "auth_time": str(NOW)}, 600, AuthTimeMissing, "auth_time_missing"),
        ({"acr": "phr", "auth_time": float("nan")}, 600, AuthTimeMissing, "auth_time_missing"),
        ({"acr": "phr", "auth_time": NOW - 601}, 600, AuthenticationTooOld, "authentication_too_old"),
        ({"acr": "phr", "auth_time": 0}, 600, AuthenticationTooOld, "authentication_too_old"),
        ({"acr": "phr", "auth_time": NOW - 1}, 0, AuthenticationTooOld, "authentication_too_old"),
        ({"acr": "phr", "auth_time": NOW + 3600}, 600, AuthTimeInFuture, "auth_time_in_future"),
    ],
)
def test_require_acr__refuses(claims: dict[str, Any], max_age: int | None, error: type[Exception], code: str) -> None:
    with pytest.raises(error) as caught:
        require_acr(claims, acr_values={"phr"}, max_age=max_age, now=NOW)

    assert caught.value.code == code  # type: ignore[attr-defined]


# read_configuration


def test_read_configuration__has_defaults() -> None:
    configuration = read_configuration({})

    assert configuration.issuer == "http://localhost:8000/o"
    assert configuration.url == "http://127.0.0.1:8001"
    assert configuration.host == "127.0.0.1"
    assert not configuration.is_https


def test_read_configuration__keeps_the_issuer_to_the_letter_and_secrets_out_of_repr() -> None:
    configuration = read_configuration(
        {"ISSUER": f"{ISSUER}/", "ORDINARY_CLIENT_ID": "id", "ORDINARY_CLIENT_SECRET": "do-not-show"}
    )

    assert configuration.issuer == f"{ISSUER}/"
    assert configuration.credentials["ordinary"].client_secret == "do-not-show"
    assert configuration.credentials["registration"].client_id == ""
    assert "do-not-show" not in repr(configuration)


# explain


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({}, "The provider did not say."),
        ({"amr": ["mfa", "tap"]}, "The provider did not say. A Temporary Access Pass was used."),
        ({"acr": MULTI_FACTOR, "amr": ["mfa", "tap"]}, "Strong, by a Temporary Access Pass"),
        ({"acr": MULTI_FACTOR, "amr": ["mfa", "otp", "pwd"]}, "Strong: more than one factor"),
        ({"acr": PASSWORD, "amr": ["pwd"]}, "Password only"),
        ({"acr": "phr", "amr": ["hwk", "mfa", "pop", "user"]}, "Phishing-resistant"),
        ({"acr": "gold"}, "A value that this site does not know"),
    ],
)
def test_describe_strength__says_what_the_claims_say(claims: dict[str, Any], words: str) -> None:
    assert describe_strength(claims) == words


def test_explain_claims__shows_what_was_not_said() -> None:
    rows = {row.name: row for row in explain_claims({"sub": "42"}, now=datetime.fromtimestamp(NOW, UTC))}

    assert {name for name, row in rows.items() if row.value is None} == {"acr", "amr", "auth_time"}
    assert rows["auth_time"].meaning == "The provider did not say."


@pytest.mark.parametrize(
    ("value", "ending"),
    [(NOW - 125, "(2 minutes ago)"), (NOW + 3600, "(in 1 hour)"), ("soon", "not a point in time"), (10**30, "in time")],
)
def test_explain_claims__dates_are_readable(value: Any, ending: str) -> None:
    [row] = explain_claims({"auth_time": value}, now=datetime.fromtimestamp(NOW, UTC), always=())

    assert row.meaning.startswith("When the user authenticated: ")
    assert row.meaning.endswith(ending)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "less than a second"), (59, "59 seconds"), (60, "1 minute"), (200_000, "2 days")]
)
def test_describe_duration__rounds_down(seconds: float, words: str) -> None:
    assert describe_duration(seconds) == words


# RelyingPartyClient: the flow, over HTTP


@dataclass
class StubProvider:
    """What the provider's endpoints answer; the tests change it."""

    url: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    token: dict[str, Any] = field(default_factory=dict)
    token_status: int = 200
    userinfo: dict[str, Any] = field(default_factory=lambda: {"sub": "42"})
    userinfo_status: int = 200
    keys: list[RSAKey] = field(default_factory=lambda: [KEY])
    token_requests: list[dict[str, list[str]]] = field(default_factory=list)

    def answer(self, path: str, body: str) -> tuple[int, dict[str, Any]]:
        if path == "/o/token/":
            self.token_requests.append(parse_qs(body))
            return self.token_status, self.token
        if path == "/o/userinfo/":
            return self.userinfo_status, self.userinfo
        if path == "/o/jwks/":
            return 200, {"keys": [key.as_dict(private=False) for key in self.keys]}
        endpoints = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize/",
            "token_endpoint": f"{self.url}/token/",
            "userinfo_endpoint": f"{self.url}/userinfo/",
            "jwks_uri": f"{self.url}/jwks/",
        }
        return 200, {**endpoints, **self.metadata}


@contextmanager
def serving(provider: StubProvider) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            status, answer = provider.answer(urlsplit(self.path).path, body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: Any) -> None:
            """Keep the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        provider.url = f"http://127.0.0.1:{server.server_port}/o"
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def provider() -> Iterator[StubProvider]:
    provider = StubProvider()
    with serving(provider):
        yield provider


@pytest.fixture
def client_of_provider(provider: StubProvider) -> RelyingPartyClient:
    return client_for(provider.url)


def client_for(issuer: str) -> RelyingPartyClient:
    environment = {"ISSUER": issuer, "ORDINARY_CLIENT_ID": CLIENT_ID, "ORDINARY_CLIENT_SECRET": "the-client-secret"}
    return build_registry(read_configuration(environment)).create_client("ordinary")


class Browser:
    """One session: starts a flow and brings answers back."""

    def __init__(self, client: RelyingPartyClient) -> None:
        self.client = client
        self.session: dict[str, Any] = {}

    def begin(self, **parameters: Any) -> dict[str, str]:
        response = self.client.begin(self._get("/"), destination="vault", attempt=1, **parameters)
        return {name: values[0] for name, values in parse_qs(urlsplit(response.url).query).items()}

    def finish(self, **query: str) -> tuple[SignIn, dict[str, Any]]:
        return self.client.finish(self._get("/callback/ordinary/", **query))

    def _get(self, path: str, **query: str) -> HttpRequest:
        request = RequestFactory().get(path, query)
        request.session = self.session  # type: ignore[assignment]
        return request


def token_response(provider: StubProvider, *, nonce: str, key: RSAKey = KEY, **changes: Any) -> dict[str, Any]:
    now = int(time.time())
    claims = claims_of(iss=provider.url, nonce=nonce, iat=now, exp=now + 300)
    response = {
        "access_token": ACCESS_TOKEN,
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "openid profile",
        "id_token": sign(claims, key=key),
    }
    return {name: value for name, value in {**response, **changes}.items() if value is not None}


def test_begin__asks_with_pkce_nonce_and_what_the_page_demands(client_of_provider: RelyingPartyClient) -> None:
    asked = Browser(client_of_provider).begin(acr_values="phr", max_age=600, prompt="login")

    assert asked["response_type"] == "code"
    assert asked["code_challenge_method"] == "S256"
    assert asked["scope"] == "openid profile email"
    assert asked["redirect_uri"] == "http://127.0.0.1:8001/callback/ordinary/"
    assert (asked["acr_values"], asked["max_age"], asked["prompt"]) == ("phr", "600", "login")
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3


def test_begin__says_that_the_provider_is_not_there() -> None:
    with pytest.raises(ProviderUnreachable):
        Browser(client_for("http://127.0.0.1:9/o")).begin()


def test_begin__refuses_the_metadata_of_another_issuer(
    provider: StubProvider, client_of_provider: RelyingPartyClient
) -> None:
    """OpenID Connect Discovery §4.3; a provider that is put right is asked again."""
    provider.metadata = {"issuer": ISSUER}
    with pytest.raises(IssuerMismatch):
        Browser(client_of_provider).begin()

    provider.metadata = {}
    assert Browser(client_of_provider).begin()["client_id"] == CLIENT_ID


def test_finish__returns_the_sign_in_and_its_flow(
    provider: StubProvider, client_of_provider: RelyingPartyClient
) -> None:
    browser = Browser(client_of_provider)
    asked = browser.begin()
    provider.token = token_response(provider, nonce=asked["nonce"], refresh_token="the-refresh-token")

    sign_in, flow = browser.finish(code="the-code", state=asked["state"], iss=provider.url)

    assert sign_in.claims["sub"] == "42"
    assert (sign_in.client, sign_in.scope, sign_in.expires_in) == ("ordinary", "openid profile", 300)
    assert sign_in.has_refresh_token
    assert ACCESS_TOKEN not in repr(sign_in)
    assert (flow["destination"], flow["attempt"]) == ("vault", 1)
    [exchange] = provider.token_requests
    assert exchange["code"] == ["the-code"]
    assert "code_verifier" in exchange


def test_finish__answers_once(provider: StubProvider, client_of_provider: RelyingPartyClient) -> None:
    browser = Browser(client_of_provider)
    asked = browser.begin()
    provider.token = token_response(provider, nonce=asked["nonce"])
    browser.finish(code="the-code", state=asked["state"])

    with pytest.raises(MismatchingStateError):
        browser.finish(code="the-code", state=asked["state"])


def test_finish__fetches_keys_again_for_an_unknown_key(
    provider: StubProvider, client_of_provider: RelyingPartyClient
) -> None:
    for key in (KEY, OTHER_KEY):
        browser = Browser(client_of_provider)
        asked = browser.begin()
        provider.keys = [key]
        provider.token = token_response(provider, nonce=asked["nonce"], key=key)

        sign_in, _ = browser.finish(code="the-code", state=asked["state"])

        assert sign_in.claims["sub"] == "42"


def test_finish__refuses_the_nonce_of_another_flow(
    provider: StubProvider, client_of_provider: RelyingPartyClient
) -> None:
    browser = Browser(client_of_provider)
    asked = browser.begin()
    provider.token = token_response(provider, nonce=browser.begin()["nonce"])

    with pytest.raises(InvalidClaimError):
        browser.finish(code="the-code", state=asked["state"])


@pytest.mark.parametrize("missing", ["id_token", "access_token"])
def test_finish__refuses_a_token_response_without(
    provider: StubProvider, client_of_provider: RelyingPartyClient, missing: str
) -> None:
    browser = Browser(client_of_provider)
    asked = browser.begin()
    provider.token = token_response(provider, nonce=asked["nonce"], **{missing: None})

    with pytest.raises(TokenMissing):
        browser.finish(code="the-code", state=asked["state"])


def test_finish__refuses_an_answer_of_another_issuer_before_the_code_is_sent_anywhere(
    provider: StubProvider, client_of_provider: RelyingPartyClient
) -> None:
    """RFC 9207 §2.4."""
    browser = Browser(client_of_provider)
    asked = browser.begin()

    with pytest.raises(IssuerMismatch):
        browser.finish(code="the-code", state=asked["state"], iss=ISSUER)

    assert provider.token_requests == []


def test_finish__demands_the_issuer_parameter_that_was_announced(
    provider: StubProvider, client_of_provider: RelyingPartyClient
) -> None:
    """RFC 9207 §2.4, errors included."""
    provider.metadata = {"authorization_response_iss_parameter_supported": True}
    browser = Browser(client_of_provider)
    asked = browser.begin()

    with pytest.raises(IssuerMismatch):
        browser.finish(error="login_required", state=asked["state"])


def test_finish__passes_on_the_error_of_the_provider(client_of_provider: RelyingPartyClient) -> None:
    browser = Browser(client_of_provider)
    asked = browser.begin(prompt="none")

    with pytest.raises(ProviderRefused) as caught:
        browser.finish(error="login_required", error_description="Nobody is here", state=asked["state"])

    assert (caught.value.error, caught.value.description) == ("login_required", "Nobody is here")
    assert caught.value.flow["is_silent"]


def test_finish__believes_no_error_without_a_flow(client_of_provider: RelyingPartyClient) -> None:
    with pytest.raises(MismatchingStateError):
        Browser(client_of_provider).finish(error="access_denied", state="made-up")


def test_finish__refuses_an_answer_without_code_or_error(client_of_provider: RelyingPartyClient) -> None:
    browser = Browser(client_of_provider)
    asked = browser.begin()

    with pytest.raises(TokenMissing):
        browser.finish(state=asked["state"])


def test_finish__says_that_the_token_endpoint_is_broken(
    provider: StubProvider, client_of_provider: RelyingPartyClient
) -> None:
    browser = Browser(client_of_provider)
    asked = browser.begin()
    provider.token_status = 500

    with pytest.raises(ProviderUnreachable):
        browser.finish(code="the-code", state=asked["state"])


SIGN_IN = SignIn(
    client="ordinary",
    claims={"sub": "42"},
    scope="openid",
    expires_in=1,
    has_refresh_token=True,
    access_token=ACCESS_TOKEN,
)


def test_ask_userinfo__returns_the_answer_of_the_moment(client_of_provider: RelyingPartyClient) -> None:
    userinfo = client_of_provider.ask_userinfo(SIGN_IN)

    assert (userinfo.status, userinfo.claims) == (200, {"sub": "42"})


def test_ask_userinfo__reports_that_the_token_has_ended(
    provider: StubProvider, client_of_provider: RelyingPartyClient
) -> None:
    provider.userinfo_status = 401

    assert client_of_provider.ask_userinfo(SIGN_IN).status == 401


@pytest.mark.parametrize("userinfo", [{"sub": "43"}, {}])
def test_ask_userinfo__refuses_an_answer_about_somebody_else(
    provider: StubProvider, client_of_provider: RelyingPartyClient, userinfo: dict[str, Any]
) -> None:
    provider.userinfo = userinfo

    with pytest.raises(InvalidClaimError):
        client_of_provider.ask_userinfo(SIGN_IN)


# Signed out by the provider: the page, its sessions, and the browsers that had them


@dataclass
class Site:
    """The relying party's site in this process: a browser signs in by a real flow, the provider posts tokens."""

    provider: StubProvider

    def signed_in(self, *, sub: str = "42", sid: str = "the-sid") -> Client:
        browser = Client()
        asked = browser.get("/sign-in/ordinary/", headers={"host": "127.0.0.1"}).headers["Location"]
        query = {name: values[0] for name, values in parse_qs(urlsplit(asked).query).items()}
        now = int(time.time())
        claims = claims_of(iss=self.provider.url, nonce=query["nonce"], iat=now, exp=now + 300, sub=sub, sid=sid)
        self.provider.token = token_response(self.provider, nonce=query["nonce"], id_token=sign(claims))
        answer = browser.get("/callback/ordinary/", {"code": "the-code", "state": query["state"]})
        assert answer.status_code == 302, answer.content
        assert SIGN_IN_KEY in browser.session
        return browser

    def post(self, token: str, client_name: str = "ordinary") -> Any:
        return Client(enforce_csrf_checks=True).post(f"/logout/{client_name}/", {"logout_token": token})

    def token(self, **changes: Any) -> str:
        now = int(time.time())
        told = {"iss": self.provider.url, "iat": now, "exp": now + 120, "jti": secrets.token_hex(8)}
        return sign_logout(logout_claims(**{**told, **changes}))


@pytest.fixture
def site(provider: StubProvider, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("ISSUER", provider.url)
    monkeypatch.setenv("ORDINARY_CLIENT_ID", CLIENT_ID)
    monkeypatch.setenv("ORDINARY_CLIENT_SECRET", "the-client-secret")
    changes = {
        "ROOT_URLCONF": "example_project.relying_party.urls",
        "SESSION_ENGINE": "django.contrib.sessions.backends.cache",
        "INSTALLED_APPS": ["django.contrib.staticfiles", "example_project.relying_party"],
        "MIDDLEWARE": [
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
        ],
    }
    with override_settings(**changes):
        for cached in (configuration, registry, clear_url_caches):
            getattr(cached, "cache_clear", cached)()
        cache.clear()
        yield Site(provider)
    for cached in (configuration, registry, clear_url_caches):
        getattr(cached, "cache_clear", cached)()
    cache.clear()


def is_signed_in(browser: Client) -> bool:
    return SIGN_IN_KEY in browser.session


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.7", "OpenID Connect Back-Channel Logout 1.0 §2.8")
def test_backchannel_logout__ends_the_session_of_that_sign_in_and_no_other(site: Site) -> None:
    """Back-Channel Logout 1.0 §2.7."""
    meant, same_user, somebody_else = (
        site.signed_in(),
        site.signed_in(sid="another-sid"),
        site.signed_in(sub="43", sid="yet-another"),
    )

    response = site.post(site.token())

    assert (response.status_code, response.content) == (200, b"")
    assert [is_signed_in(browser) for browser in (meant, same_user, somebody_else)] == [False, True, True]


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.4", "OpenID Connect Back-Channel Logout 1.0 §2.7")
def test_backchannel_logout__without_sid_ends_every_session_of_the_subject(site: Site) -> None:
    """Back-Channel Logout 1.0 §2.4: the intent is that all sessions of that user are logged out."""
    browsers = [site.signed_in(), site.signed_in(sid="another-sid"), site.signed_in(sub="43")]

    site.post(site.token(sid=None))

    assert [is_signed_in(browser) for browser in browsers] == [False, False, True]


def test_backchannel_logout__with_the_sid_of_one_and_the_subject_of_another_ends_nothing(site: Site) -> None:
    browser = site.signed_in()

    assert site.post(site.token(sub="43")).status_code == 200
    assert is_signed_in(browser)


def test_backchannel_logout__the_page_says_so_once(site: Site) -> None:
    browser = site.signed_in()
    site.post(site.token())

    assert "Signed out." in browser.get("/").content.decode()
    assert "Signed out." not in browser.get("/").content.decode()


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.6")
def test_backchannel_logout__takes_a_token_once(site: Site) -> None:
    """Back-Channel Logout 1.0 §2.6, jti."""
    token = site.token()

    assert [site.post(token).status_code for _ in range(2)] == [200, 400]


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.6", "OpenID Connect Back-Channel Logout 1.0 §2.8")
@pytest.mark.parametrize("changes", [{"aud": "another-client"}, {"nonce": "x"}, {"events": None}, {"exp": 1}])
def test_backchannel_logout__refuses_a_bad_token(site: Site, changes: dict[str, Any]) -> None:
    """Back-Channel Logout 1.0 §2.8."""
    browser = site.signed_in()

    response = site.post(site.token(**changes))

    assert (response.status_code, response.json()) == (400, {"error": "invalid_request"})
    assert is_signed_in(browser)


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "\ud7ff\x00"])
def test_backchannel_logout__refuses_what_is_no_token(site: Site, token: str) -> None:
    assert site.post(token).status_code == 400


def test_backchannel_logout__fetches_keys_again_for_an_unknown_key(site: Site) -> None:
    site.signed_in()
    site.provider.keys = [OTHER_KEY]
    claims = logout_claims(iss=site.provider.url, iat=int(time.time()), exp=int(time.time()) + 120)

    assert site.post(sign_logout(claims, key=OTHER_KEY)).status_code == 200


def test_backchannel_logout__asks_to_try_again_where_the_keys_cannot_be_had(site: Site) -> None:
    site.provider.metadata = {"jwks_uri": "http://127.0.0.1:9/"}

    assert site.post(site.token()).status_code == 503


def test_backchannel_logout__says_that_a_client_is_not_configured(site: Site) -> None:
    assert site.post(site.token(), client_name="registration").status_code == 503


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.5")
def test_backchannel_logout__takes_posts_only(site: Site) -> None:
    """Back-Channel Logout 1.0 §2.5."""
    assert Client().get("/logout/ordinary/").status_code == 405
    assert Client().post("/logout/unknown/").status_code == 404
