"""The stamp of a password: what a sign-in keeps, to see that the password has been changed."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from django.contrib.auth import HASH_SESSION_KEY
from django.utils.crypto import constant_time_compare

from ..models import SignIn

if TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase


def password_stamp(user: Any) -> str:
    """Return the stamp of this user's password, 64 hexadecimal digits; empty if the user model has no session hash.

    It is made of Django's session hash, which is keyed with `SECRET_KEY`, and which a site may make of more than the
    password.
    """
    return stamp_of(user.get_session_auth_hash()) if hasattr(user, "get_session_auth_hash") else ""


def stamp_of(session_hash: str) -> str:
    """Return the stamp of a session hash."""
    return sha256(session_hash.encode()).hexdigest()


def is_stamp_current(stamp: str, user: Any) -> bool:
    """Return True if this is the stamp of the user's password, or an empty one, which says nothing. No query.

    Secret keys that are still among `SECRET_KEY_FALLBACKS` count, as for Django's session hash.
    """
    if not stamp:
        return True
    stamps = [password_stamp(user)]
    if hasattr(user, "get_session_auth_fallback_hash"):
        stamps += [stamp_of(session_hash) for session_hash in user.get_session_auth_fallback_hash()]
    return any(constant_time_compare(stamp, known) for known in stamps)


def renew_stamp(sign_in: SignIn) -> None:
    """Stamp a sign-in with the password that its user has now; one statement if the stamp differs."""
    _stamp(sign_in, password_stamp(sign_in.user))


def is_stamp_outdated(session: SessionBase, sign_in: SignIn) -> bool:
    """Return True if the session of a full sign-in has another session hash than its sign-in is stamped with.

    Django's `update_session_auth_hash()` has put it there, or the password was set in this session by code that did not
    call it.
    """
    kept: str = session.get(HASH_SESSION_KEY, "")
    return bool(kept) and sign_in.password_stamp != stamp_of(kept)


def take_stamp_of_session(session: SessionBase, sign_in: SignIn) -> None:
    """Stamp a full sign-in with the session hash of its session: the two end together."""
    kept: str = session.get(HASH_SESSION_KEY, "")
    if kept:
        _stamp(sign_in, stamp_of(kept))


def _stamp(sign_in: SignIn, stamp: str) -> None:
    if sign_in.password_stamp != stamp:
        # Unless it was stamped anew meanwhile, by a request that knows of a later password.
        SignIn.objects.filter(pk=sign_in.pk, password_stamp=sign_in.password_stamp).update(password_stamp=stamp)
        sign_in.password_stamp = stamp
