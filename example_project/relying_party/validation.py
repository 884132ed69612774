"""Every check of the provider's answers that Authlib leaves to its caller.

Pure functions that take all they need as arguments. They refuse with `AnswerRefused` or with joserfc's `JoseError`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeGuard

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidClaimError, InvalidTokenError, MissingClaimError
from joserfc.jws import JWSRegistry

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from joserfc.jwk import KeySet

ALGORITHMS = ["RS256"]
LOGOUT_JWT = "logout+jwt"
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
LEEWAY_SECONDS = 10  # Authlib's 120 would let the tokens of a ten-minute registration window live a fifth longer


class AnswerRefused(Exception):
    """The provider's answer is not what this site can accept; `code` is stable."""

    code = "answer_refused"


class NotConfigured(AnswerRefused):
    code = "not_configured"


class ProviderUnreachable(AnswerRefused):
    code = "provider_unreachable"


class IssuerMismatch(AnswerRefused):
    code = "issuer_mismatch"


class TokenMissing(AnswerRefused):
    code = "token_missing"


class AuthenticationInsufficient(AnswerRefused):
    """The sign-in is genuine, but not what this page demands."""

    code = "insufficient_user_authentication"


class AcrMissing(AuthenticationInsufficient):
    code = "acr_missing"


class AcrNotAccepted(AuthenticationInsufficient):
    code = "acr_not_accepted"


class AuthTimeMissing(AuthenticationInsufficient):
    code = "auth_time_missing"


class AuthTimeInFuture(AuthenticationInsufficient):
    code = "auth_time_in_future"


class AuthenticationTooOld(AuthenticationInsufficient):
    code = "authentication_too_old"


def check_issuer_parameter(values: Sequence[str], *, issuer: str, is_required: bool) -> None:
    """Refuse an authorization response that another provider sent (RFC 9207 §2.4); `values` are all its `iss`."""
    if any(value != issuer for value in values):
        raise IssuerMismatch("The answer names another provider than the one that was asked.")
    if is_required and not values:
        raise IssuerMismatch("The provider announces that its answers name it, and this one does not.")


def validate_id_token(
    id_token: str, *, key_set: KeySet, issuer: str, client_id: str, nonce: str, access_token: str, now: int
) -> dict[str, Any]:
    """Return the claims of an ID token from the token endpoint, or raise joserfc's `JoseError` (OIDC Core §3.1.3.7)."""
    if not nonce:
        # Authlib takes an empty nonce for "do not compare".
        raise MissingClaimError("nonce")
    # The algorithms are ours, not those of the discovery document, which also offers HS256; unknown header
    # parameters are ignored (RFC 7515 §4), critical ones are still refused.
    registry = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
    token = jwt.decode(id_token, key=key_set, registry=registry)
    # Built anew for every token: Authlib takes hooks out of the dictionary that it is given. Without "iss" it would
    # not compare the issuer at all.
    options = {"iss": {"essential": True, "value": issuer}}
    parameters = {"client_id": client_id, "nonce": nonce, "access_token": access_token}
    claims = CodeIDToken(token.claims, token.header, options, parameters)
    claims.validate(now=now, leeway=LEEWAY_SECONDS)
    # Authlib accepts a foreign audience as long as azp is ours, and an empty azp.
    if claims["aud"] not in (client_id, [client_id]):
        raise InvalidClaimError("aud")
    if claims.get("azp", client_id) != client_id:
        raise InvalidClaimError("azp")
    return dict(claims)


def validate_logout_token(
    logout_token: str, *, key_set: KeySet, issuer: str, client_id: str, now: int
) -> dict[str, Any]:
    """Return the claims of a logout token, or raise joserfc's `JoseError` (Back-Channel Logout 1.0 §2.6).

    Whether its `jti` is new is for the caller to ask.
    """
    registry = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
    token = jwt.decode(logout_token, key=key_set, registry=registry)
    if str(token.header.get("typ", "")).lower() != LOGOUT_JWT:
        raise InvalidTokenError("This is no logout token.")
    jwt.JWTClaimsRegistry(
        now=now,
        leeway=LEEWAY_SECONDS,
        iss={"essential": True, "value": issuer},
        aud={"essential": True},
        iat={"essential": True},
        exp={"essential": True},
        jti={"essential": True},
        events={"essential": True},
    ).validate(token.claims)
    claims = dict(token.claims)
    if claims["aud"] not in (client_id, [client_id]):
        raise InvalidClaimError("aud")
    events = claims["events"]
    if not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict):
        raise InvalidClaimError("events")
    if "nonce" in claims:  # it might be an ID token
        raise InvalidClaimError("nonce")
    if not any(name in claims for name in ("sub", "sid")):
        raise MissingClaimError("sid")
    for name in ("jti", "sub", "sid"):
        if not isinstance(claims.get(name, ""), str):
            raise InvalidClaimError(name)
    return claims


def check_userinfo_subject(userinfo: Mapping[str, Any], *, claims: Mapping[str, Any]) -> None:
    """Refuse a userinfo answer about somebody else than the ID token's subject (OIDC Core §5.3.2)."""
    if userinfo.get("sub") != claims["sub"]:
        raise InvalidClaimError("sub")


def require_acr(claims: Mapping[str, Any], *, acr_values: Collection[str], max_age: int | None, now: int) -> None:
    """Demand one of `acr_values`, and an authentication at most `max_age` seconds old (None: of any age).

    A provider may answer `acr_values` with less than was asked (OIDC Core §3.1.2.1), and Authlib does not compare
    auth_time with `max_age`: so every page that demands something compares for itself, and on every visit.
    """
    acr = claims.get("acr")
    if acr is None:
        raise AcrMissing("The provider did not say how strong the authentication was.")
    # joserfc would let a list pass that contains an accepted value among others.
    if not isinstance(acr, str) or acr not in acr_values:
        raise AcrNotAccepted("The authentication was not of the kind that is needed.")
    if max_age is None:
        return
    auth_time = claims.get("auth_time")
    if not is_numeric_date(auth_time):
        raise AuthTimeMissing("The provider did not say when the authentication took place.")
    if auth_time > now + LEEWAY_SECONDS:
        raise AuthTimeInFuture("The authentication is dated in the future.")
    if now - auth_time > max_age:
        raise AuthenticationTooOld("The authentication is older than is allowed here.")


def is_numeric_date(value: object) -> TypeGuard[int | float]:
    """Tell whether a claim is a point in time; JSON's NaN would pass every comparison, and true is no number."""
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
