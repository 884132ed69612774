"""Telling Django's session logins from what other packages send the same signals for: tokens of an API, say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare

if TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase


def request_of(sent: Any) -> HttpRequest | None:
    """Return Django's request of what a signal was sent with, or None if there is none.

    An API view may have wrapped it (`rest_framework.request.Request`): what is noted on the wrapper is lost with it.
    """
    request = getattr(sent, "_request", sent)
    return request if isinstance(request, HttpRequest) else None


def session_of(request: HttpRequest | None) -> SessionBase | None:
    """Return the session of a request, or None if it has none."""
    session: SessionBase | None = getattr(request, "session", None)
    return session


def session_hash(user: Any) -> str:
    """Return what Django's `login()` keeps in the session to notice a changed password; "" if the user has no such."""
    return str(user.get_session_auth_hash()) if hasattr(user, "get_session_auth_hash") else ""


def has_just_logged_in(request: HttpRequest, user: Any) -> bool:
    """Tell whether Django's `login()` has just put this user into the session of this request.

    It writes the user's key and hash into the session and then a new CSRF token into `META`. A login that only uses the
    same signal does neither, even in a browser that has a session of the same user.
    """
    session = session_of(request)
    if session is None or not session.modified or not request.META.get("CSRF_COOKIE_NEEDS_UPDATE"):
        return False
    return session.get(SESSION_KEY) == user._meta.pk.value_to_string(user) and constant_time_compare(
        session.get(HASH_SESSION_KEY, ""), session_hash(user)
    )
