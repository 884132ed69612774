"""What an ID token that comes back as a hint says: it was ours, whoever brings it.

A hint proves nothing about who sends it: relying parties keep ID tokens, and logs may.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from jwcrypto.common import JWException
from jwcrypto.jwk import JWK
from jwcrypto.jws import JWS
from jwcrypto.jwt import JWT
from oauth2_provider.models import get_application_model
from oauth2_provider.settings import oauth2_settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.http import HttpRequest

RS256, HS256 = "RS256", "HS256"

# Whatever text a client may send; and an application whose secret is hashed, and so signs nothing.
_UNREADABLE = (JWException, ValueError, TypeError, RecursionError, ImproperlyConfigured)


def claims_of_hint(token: str, *, request: HttpRequest) -> dict[str, Any] | None:
    """Return the claims of an ID token that this provider signed, expired or not; None for anything else.

    The key may be a retired one (`OIDC_RSA_PRIVATE_KEYS_INACTIVE`). An expired ID token is still a hint (OpenID Connect
    Core §3.1.2.1; RP-Initiated Logout 1.0 §2): who wants a fresh one looks at `exp`. One query at most, for HS256.
    """
    try:
        header, unverified = _peek(token)
        if str(header.get("typ", "JWT")).upper() != "JWT":
            return None  # a logout token is signed by the same key, and is no ID token (Back-Channel Logout 1.0 §4)
        keys = _keys_for(header, unverified)
        claims = next((found for key in keys if (found := _verified(token, key, header["alg"])) is not None), None)
    except _UNREADABLE:
        return None
    if claims is None or claims.get("iss") != oauth2_settings.oidc_issuer(request):
        return None
    return claims


def _peek(token: str) -> tuple[dict[str, Any], Any]:
    parsed = JWS()
    parsed.deserialize(token)
    header = parsed.jose_header
    if not isinstance(header, dict):  # a list, where the token has many signatures
        raise TypeError
    return header, json.loads(parsed.objects["payload"])


def _keys_for(header: dict[str, Any], unverified: Any) -> Iterable[JWK]:
    if header.get("alg") == RS256:
        keys = [_key_of(pem) for pem in _pems()]
        return [key for key in keys if header.get("kid") in (None, key.thumbprint())]
    if header.get("alg") == HS256 and isinstance(unverified, dict):
        return _secret_of(unverified.get("aud"))
    return []


def _pems() -> list[str]:
    active = oauth2_settings.OIDC_RSA_PRIVATE_KEY
    return [*([active] if active else []), *oauth2_settings.OIDC_RSA_PRIVATE_KEYS_INACTIVE]


@lru_cache(maxsize=16)
def _key_of(pem: str) -> JWK:
    return JWK.from_pem(pem.encode())  # 30 ms


def _secret_of(audience: Any) -> list[JWK]:
    client_id = audience[0] if isinstance(audience, list) and len(audience) == 1 else audience
    if not isinstance(client_id, str) or not client_id.isprintable():
        return []  # nor can a database be asked for NUL bytes or lone surrogates
    application = get_application_model().objects.filter(client_id=client_id, algorithm=HS256).first()
    return [] if application is None else [application.jwk_key]


def _verified(token: str, key: JWK, algorithm: str) -> dict[str, Any] | None:
    try:
        verified = JWT(key=key, jwt=token, algs=[algorithm], check_claims={})
    except JWException:
        return None
    claims = json.loads(verified.claims)
    return claims if isinstance(claims, dict) else None
