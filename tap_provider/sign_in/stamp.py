"""The stamp of a password: what a registration-only sign-in keeps, to see that it has been changed."""

from __future__ import annotations

from hashlib import sha256
from typing import Any


def password_stamp(user: Any) -> str:
    """Return the stamp of this user's password, 64 hexadecimal digits; empty if the user model has no session hash.

    It is made of Django's session hash, which is keyed with `SECRET_KEY`, and which a site may make of more than the
    password.
    """
    return stamp_of(user.get_session_auth_hash()) if hasattr(user, "get_session_auth_hash") else ""


def stamp_of(session_hash: str) -> str:
    """Return the stamp of a session hash."""
    return sha256(session_hash.encode()).hexdigest()
