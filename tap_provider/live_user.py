"""Who is signed in by a session at this moment: for code that runs longer than a request, or past the middleware."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import SESSION_KEY as DJANGO_SESSION_KEY
from django.contrib.auth import get_user
from django.contrib.auth.models import AnonymousUser
from django.db import connections
from django.utils import timezone

from .registration_session import is_live
from .sign_in import SESSION_KEY, find_sign_in

__all__ = ["alive_user", "live_user"]


def live_user(source: Any) -> Any:
    """Return the user of a full session whose sign-in lives, or `AnonymousUser`; asked anew at every call.

    `source` is a Django session, or what has one: a request, or an ASGI scope (a mapping). Without a session, or with
    one that is stored no more under its key, registration-only, or not known to the middleware yet: anonymous.

    Three queries with sessions in the database, none for anonymous visitors without a cookie. Nothing is written to
    the session, and it is not renewed.
    """
    session = source.get("session") if isinstance(source, Mapping) else getattr(source, "session", source)
    stored = _as_stored(session)
    carried = stored.get(SESSION_KEY)
    if carried is None or DJANGO_SESSION_KEY not in stored:
        return AnonymousUser()
    user = get_user(SimpleNamespace(session=_Copy(stored)))  # type: ignore[arg-type]  # it reads the session alone
    sign_in = find_sign_in(carried, user=user) if user.is_authenticated else None
    if sign_in is None or sign_in.is_registration_only or sign_in.user_id != user.pk:
        return AnonymousUser()
    return user if is_live(sign_in, now=timezone.now()) else AnonymousUser()


async def alive_user(source: Any) -> Any:
    """Do the same in asynchronous code."""
    return await sync_to_async(_live_user_between_requests)(source)


def _live_user_between_requests(source: Any) -> Any:
    _close_old_connections()
    try:
        return live_user(source)
    finally:
        _close_old_connections()


def _close_old_connections() -> None:
    # Django does so where a request begins and ends, which a connection that stays open does not. Never within a
    # transaction, which would be lost.
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()


def _as_stored(session: Any) -> dict[str, Any]:
    # What this object has read before may be of hours ago. A session that was given another key is not followed: a
    # copied cookie would follow as well.
    if not hasattr(session, "session_key") or session.session_key is None:
        return {}
    stored: dict[str, Any] = session.__class__(session.session_key).load()
    return stored


class _Copy(dict[str, Any]):
    """What a session holds, for Django's `get_user()`, which may flush a session or give it another key."""

    def flush(self) -> None:
        self.clear()

    def cycle_key(self) -> None:
        """Do nothing: whoever has the cookie would not learn of the key."""
