"""Reading ID tokens that somebody sends us, which may be anything."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from typing import Any


def unverified_claims(token: str) -> dict[str, Any] | None:
    """Return the claims of what looks like a signed ID token; None for anything that the toolkit would choke on.

    The signature is the toolkit's to check. It looks for the key by `aud`, whatever that is.
    """
    try:
        header, payload, _ = (_decode(part) for part in token.split("."))
        claims = json.loads(payload)
        readable = isinstance(json.loads(header), dict) and isinstance(claims, dict)
    except (ValueError, RecursionError):
        return None
    return claims if readable and _is_audience(claims.get("aud")) else None


def _decode(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _is_audience(told: Any) -> bool:
    names = told if isinstance(told, list) else [told]
    return all(isinstance(name, str) and name.isprintable() for name in names)
