"""Reading ID tokens that somebody sends us, which may be anything."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from typing import Any

BY_SECRET = "HS"  # noqa: S105 RFC 7518 §3.1: HS256 and its like


def unverified_claims(token: str) -> dict[str, Any] | None:
    """Return the claims of what looks like an ID token that only this provider could have signed; None for all else.

    One that is signed by a secret (HS256) may be its client's own work, and name whatever user, sign-in and end it
    likes: to its client it proves something, to us nothing. Nor does it return what the toolkit would choke on.

    The signature is the toolkit's to check. It looks for the key by `aud`, whatever that is.
    """
    try:
        header, payload, _ = (_decode(part) for part in token.split("."))
        told, claims = json.loads(header), json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict) or str(told.get("alg", "")).startswith(BY_SECRET) or not isinstance(claims, dict):
        return None
    return claims if _is_audience(claims.get("aud")) else None


def _decode(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _is_audience(told: Any) -> bool:
    names = told if isinstance(told, list) else [told]
    return all(isinstance(name, str) and name.isprintable() for name in names)
