"""Claims and error codes in plain words: what this site shows about what it was told.

A claim that the provider did not send is shown as missing, never guessed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.utils.timezone import localtime

from .validation import is_numeric_date

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOT_SAID = "The provider did not say."

ACR_MEANINGS = {
    "urn:oasis:names:tc:SAML:2.0:ac:classes:Password": "Password only",
    "http://schemas.openid.net/pape/policies/2007/06/multi-factor": "Strong: more than one factor",
    "phr": "Phishing-resistant",
    "phrh": "Phishing-resistant, with a hardware-protected key",
}
STRONG_ACR = "http://schemas.openid.net/pape/policies/2007/06/multi-factor"

# RFC 8176 §2, and "tap", the private value by which the provider tells a Temporary Access Pass.
AMR_MEANINGS = {
    "face": "face recognition",
    "fpt": "fingerprint",
    "hwk": "a key in hardware",
    "kba": "security questions",
    "mfa": "more than one factor",
    "otp": "a one-time code",
    "pin": "a PIN",
    "pop": "proof of possession of a key",
    "pwd": "a password",
    "sms": "a text message",
    "swk": "a key in software",
    "tap": "a Temporary Access Pass",
    "user": "the user was present",
}

CLAIM_MEANINGS = {
    "sub": "Who: the subject's identifier at this provider",
    "name": "Full name",
    "given_name": "Given name",
    "family_name": "Family name",
    "preferred_username": "The name used to sign in",
    "email": "E-mail address",
    "email_verified": "Whether the provider has verified the e-mail address",
    "iss": "The provider that says all this",
    "aud": "For whom: this site's client id",
    "azp": "To whom it was issued: this site's client id",
    "nonce": "Ties the ID token to the request that this browser started",
    "at_hash": "Ties the ID token to the access token",
    "sid": "The sign-in at the provider",
    "jti": "The ID token's own identifier",
}
TIME_MEANINGS = {
    "auth_time": "When the user authenticated",
    "iat": "When the ID token was issued",
    "exp": "When the ID token expires",
    "nbf": "When the ID token starts to hold",
    "updated_at": "When the user's details last changed",
}
# What a reader looks for first, and what is worth knowing even when it was not sent.
AUTHENTICATION_CLAIMS = ("sub", "acr", "amr", "auth_time")

PROBLEMS = {
    "access_denied": "Access was refused at the provider, by the user or by the provider itself.",
    "consent_required": "The user would have to agree at the provider first, and a silent check may not ask.",
    "interaction_required": "The provider would have to ask the user something, and a silent check may not ask.",
    "login_required": "For this client, nobody is signed in at the provider. "
    "A registration-only session does not count for clients that may not host method registration.",
    "mismatching_state": "This answer does not belong to a sign-in that this browser started here. "
    "Perhaps the page was reloaded, or cookies are blocked.",
    "not_configured": "This site has no credentials for that client yet.",
    "provider_unreachable": "The provider could not be reached. Is it running?",
    "server_error": "The provider reports an error of its own.",
    "temporarily_unavailable": "The provider is too busy just now.",
    "unmet_authentication_requirements": "The provider cannot authenticate the user in the way that was asked for.",
}
ANSWER_REFUSED = "The answer did not pass this site's checks, so nobody was signed in with it."
PROVIDER_REFUSED = "The provider refused the request."


@dataclass(frozen=True, kw_only=True)
class ClaimRow:
    """One line of the claims table; `value` is None when the provider did not send the claim."""

    name: str
    value: str | None
    meaning: str


def explain_claims(
    claims: Mapping[str, Any], *, now: datetime, always: Sequence[str] = AUTHENTICATION_CLAIMS
) -> list[ClaimRow]:
    """Return one row per claim, in the order of sending; those of `always` come first, and come even when missing."""
    names = [*always, *(name for name in claims if name not in always)]
    return [
        ClaimRow(
            name=name,
            value=describe_value(claims[name]) if name in claims else None,
            meaning=explain_claim(name, claims, now=now),
        )
        for name in names
    ]


def explain_claim(name: str, claims: Mapping[str, Any], *, now: datetime) -> str:
    """Say what a claim means; time claims as local time with their distance from `now`."""
    if name == "acr":
        return describe_strength(claims)
    if claims.get(name) is None:
        return NOT_SAID
    if name == "amr":
        return describe_methods(claims)
    if name in TIME_MEANINGS:
        return f"{TIME_MEANINGS[name]}: {describe_time(claims[name], now=now)}"
    return CLAIM_MEANINGS.get(name, "")


def describe_strength(claims: Mapping[str, Any]) -> str:
    """Say how strong the authentication was, by acr; a pass is named because it is strong for registration only."""
    acr = claims.get("acr")
    has_pass = "tap" in (claims.get("amr") or [])
    if acr is None:
        return f"{NOT_SAID} A Temporary Access Pass was used." if has_pass else NOT_SAID
    if acr == STRONG_ACR and has_pass:
        return "Strong, by a Temporary Access Pass"
    meaning = ACR_MEANINGS.get(str(acr), "A value that this site does not know")
    return f"{meaning}; a Temporary Access Pass was used" if has_pass else meaning


def describe_methods(claims: Mapping[str, Any]) -> str:
    """Spell out amr."""
    methods = claims.get("amr") or []
    if not methods:
        return NOT_SAID
    return "Used: " + ", ".join(AMR_MEANINGS.get(str(method), str(method)) for method in methods)


def describe_value(value: object) -> str:
    """Write a claim's value as it was sent, strings without quotes."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def describe_time(value: Any, *, now: datetime) -> str:
    """Write seconds since 1970 as local time and as a distance from `now`."""
    if not is_numeric_date(value):
        return "not a point in time"
    try:
        at = datetime.fromtimestamp(value, tz=UTC)
    except (OverflowError, ValueError, OSError):
        return "not a point in time"
    distance = describe_duration(abs((now - at).total_seconds()))
    direction = f"in {distance}" if at > now else f"{distance} ago"
    return f"{localtime(at):%d %B %Y, %H:%M:%S %Z} ({direction})"


def describe_lifetime(seconds: object) -> str:
    """Write `expires_in`, which a provider may leave out."""
    if not is_numeric_date(seconds):
        return NOT_SAID
    return f"{describe_duration(seconds)} ({seconds} seconds)"


def describe_duration(seconds: float) -> str:
    """Write a duration in its largest sensible unit, rounded down."""
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
    return "less than a second"
