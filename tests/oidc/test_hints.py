"""What an ID token that comes back as a hint says: ours, whoever brings it, whenever it expired."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.http import HttpRequest
from django.test import Client, RequestFactory
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from example_project.kept_secrets import new_signing_key
from tap_provider.oidc.hints import claims_of_hint

from .conftest import ISSUER, Party, counted, toolkit_settings

ACTIVE = django_settings.OAUTH2_PROVIDER["OIDC_RSA_PRIVATE_KEY"]
RETIRED, FOREIGN = new_signing_key(), new_signing_key()
SECRET = "a secret of at least thirty-two characters"  # HS256 takes no shorter one
CLAIMS = {"iss": ISSUER, "sub": "1", "aud": "intranet", "exp": 4_000_000_000, "iat": 1, "sid": "the-sid"}


@pytest.fixture
def request_() -> HttpRequest:
    return RequestFactory().get("/o/authorize/")


def signed(claims: Any = CLAIMS, *, pem: str = ACTIVE, **header: Any) -> str:
    key = RSAKey.import_key(pem)
    header = {"alg": "RS256", "typ": "JWT", "kid": key.thumbprint(), **header}
    return jwt.encode({name: value for name, value in header.items() if value is not None}, claims, key)


def by_secret(claims: Any = CLAIMS, *, secret: str = SECRET) -> str:
    return jwt.encode({"alg": "HS256", "typ": "JWT"}, claims, OctKey.import_key(secret))


def unsigned(header: Any, claims: Any) -> str:
    parts = [urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (header, claims)]
    return ".".join([*parts, "AAAA"])


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_claims_of_hint__of_an_id_token_that_was_issued(full: Client, intranet: Party, request_: HttpRequest) -> None:
    tokens = intranet.tokens(full)

    assert claims_of_hint(tokens.response["id_token"], request=request_) == tokens.claims


def test_claims_of_hint__asks_the_database_nothing(request_: HttpRequest, db: None) -> None:
    token = signed()

    with counted() as queries:
        assert claims_of_hint(token, request=request_) == CLAIMS

    assert queries() == 0


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1", "OpenID Connect RP-Initiated Logout 1.0 §2")
def test_claims_of_hint__takes_an_expired_one(request_: HttpRequest) -> None:
    """OpenID Connect Core §3.1.2.1; RP-Initiated Logout 1.0 §2."""
    expired = {**CLAIMS, "exp": int(time.time()) - 3600}

    assert claims_of_hint(signed(expired), request=request_) == expired


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_claims_of_hint__takes_one_by_a_retired_key(request_: HttpRequest) -> None:
    token = signed(pem=RETIRED)
    assert claims_of_hint(token, request=request_) is None

    with toolkit_settings(OIDC_RSA_PRIVATE_KEYS_INACTIVE=[RETIRED]):
        assert claims_of_hint(token, request=request_) == CLAIMS


def test_claims_of_hint__tries_every_key_where_none_is_named(request_: HttpRequest) -> None:
    with toolkit_settings(OIDC_RSA_PRIVATE_KEYS_INACTIVE=[RETIRED]):
        assert claims_of_hint(signed(pem=RETIRED, kid=None), request=request_) == CLAIMS


def test_claims_of_hint__takes_one_by_the_applications_secret(
    make_party: Callable[..., Party], request_: HttpRequest
) -> None:
    party = make_party("intranet")
    type(party.application).objects.update(algorithm="HS256", client_secret=SECRET)

    assert claims_of_hint(by_secret(), request=request_) == CLAIMS
    assert claims_of_hint(by_secret({**CLAIMS, "aud": ["intranet"]}), request=request_) is not None
    assert claims_of_hint(by_secret(secret=SECRET[::-1]), request=request_) is None


def test_claims_of_hint__takes_no_secret_of_an_application_that_signs_with_the_providers_key(
    make_party: Callable[..., Party], request_: HttpRequest
) -> None:
    """Whoever knows that secret could make up hints."""
    party = make_party("intranet")
    type(party.application).objects.update(client_secret=SECRET)

    assert claims_of_hint(by_secret(), request=request_) is None


def test_claims_of_hint__takes_none_where_the_secret_is_hashed(
    make_party: Callable[..., Party], request_: HttpRequest
) -> None:
    type(make_party("intranet").application).objects.update(algorithm="HS256")

    assert claims_of_hint(by_secret(), request=request_) is None


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §4.1")
@pytest.mark.parametrize("typ", ["logout+jwt", "at+jwt", "LOGOUT+JWT"])
def test_claims_of_hint__takes_no_other_kind_of_token(typ: str, request_: HttpRequest) -> None:
    """A logout token is by the same key (Back-Channel Logout 1.0 §4)."""
    assert claims_of_hint(signed(typ=typ), request=request_) is None


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1", "OpenID Connect RP-Initiated Logout 1.0 §2")
@pytest.mark.parametrize("claims", [{**CLAIMS, "iss": "https://elsewhere.test/o"}, {**CLAIMS, "iss": None}])
def test_claims_of_hint__takes_none_of_another_issuer(claims: Any, request_: HttpRequest) -> None:
    assert claims_of_hint(signed(claims), request=request_) is None


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_claims_of_hint__takes_none_that_was_tampered_with(request_: HttpRequest) -> None:
    header, _, signature = signed().split(".")
    payload = urlsafe_b64encode(json.dumps({**CLAIMS, "sub": "2"}).encode()).decode().rstrip("=")

    assert claims_of_hint(f"{header}.{payload}.{signature}", request=request_) is None
    assert claims_of_hint(signed(pem=FOREIGN), request=request_) is None
    assert claims_of_hint(signed(pem=FOREIGN, kid=RSAKey.import_key(ACTIVE).thumbprint()), request=request_) is None


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        "a.b.c.d.e",
        "\ud800.\x00.é",
        "{}",
        json.dumps({"payload": "e30", "signatures": [{"signature": "AAAA"}, {"signature": "AAAA"}]}),
        unsigned({"alg": "none"}, CLAIMS),
        unsigned({"alg": "HS256"}, {"aud": "\x00"}),
        unsigned({"alg": "HS256"}, {"aud": "\ud800"}),
        unsigned({"alg": "HS256"}, {"aud": [1, 2]}),
        unsigned({"alg": "HS256"}, "no object"),
        unsigned({"alg": ["RS256"]}, CLAIMS),
        unsigned({"alg": "RS256", "kid": {}}, CLAIMS),
        unsigned([], CLAIMS),
    ],
)
def test_claims_of_hint__takes_whatever_is_sent_and_believes_none_of_it(
    token: str, request_: HttpRequest, db: None
) -> None:
    assert claims_of_hint(token, request=request_) is None


def test_claims_of_hint__is_not_brought_down_by_depth(request_: HttpRequest) -> None:
    deep = urlsafe_b64encode(b"[" * 200_000).decode().rstrip("=")
    header = signed().split(".")[0]

    assert claims_of_hint(f"{header}.{deep}.AAAA", request=request_) is None
    assert claims_of_hint(f"{deep}.{deep}.AAAA", request=request_) is None
