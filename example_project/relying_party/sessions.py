"""Which sessions of this site came of which sign-in at the provider, so that the provider can end them.

In the cache, where the sessions are: this site is one process.
"""

from __future__ import annotations

from importlib import import_module
from threading import Lock
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.cache import cache

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest

SIGN_IN_KEY = "sign_in"
SIGNED_OUT_KEY = "signed_out_by_provider"

_lock = Lock()


def remember(request: HttpRequest, *, client: str, claims: Mapping[str, Any]) -> None:
    """Note that this session came of this ID token."""
    with _lock:
        known = {key: told for key, told in _known(client).items() if _store(key).exists(key)}
        known[request.session.session_key or ""] = {"sub": claims["sub"], "sid": claims.get("sid")}
        cache.set(_name(client), known, timeout=None)


def end(*, client: str, claims: Mapping[str, Any]) -> int:
    """End the sessions that a logout token means: of its sid, or else all of its subject's; return how many."""
    with _lock:
        known = _known(client)
        ended = [key for key, told in known.items() if _is_meant(told, claims) and _sign_out(key)]
        kept = {key: told for key, told in known.items() if not _is_meant(told, claims)}
        cache.set(_name(client), kept, timeout=None)
    return len(ended)


def is_new(*, client: str, claims: Mapping[str, Any], lifetime: int) -> bool:
    """Tell whether a logout token comes for the first time, and note that it came (Back-Channel Logout 1.0 §2.6)."""
    return bool(cache.add(f"jti:{client}:{claims['jti']}", value=True, timeout=lifetime))


def _is_meant(told: Mapping[str, Any], claims: Mapping[str, Any]) -> bool:
    return all(told[name] == claims[name] for name in ("sub", "sid") if name in claims)


def _sign_out(key: str) -> bool:
    session = _store(key)
    if SIGN_IN_KEY not in session:
        return False
    del session[SIGN_IN_KEY]
    session[SIGNED_OUT_KEY] = True
    session.save()
    return True


def _known(client: str) -> dict[str, dict[str, Any]]:
    known: dict[str, dict[str, Any]] = cache.get(_name(client), {})
    return known


def _name(client: str) -> str:
    return f"sessions:{client}"


def _store(key: str) -> Any:
    return import_module(settings.SESSION_ENGINE).SessionStore(key)
