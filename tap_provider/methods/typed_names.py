"""Under which user names a password is tried.

Django's own backend takes the user name alone. Many sites have one that takes what people type there, an e-mail
address, say, and would not know the user name that stands for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_backends

from ..upn import NOBODY, clean_upn

if TYPE_CHECKING:
    from collections.abc import Iterator

BY_USER_NAME = ("axes", "django", "django_otp_webauthn", "guardian", "oauth2_provider", "rules", "tap_provider")
"""Packages whose backends take the user name, or no password at all."""


def names_to_try(typed: str, named: Any | None) -> tuple[str, ...]:
    """Return the user names to hand to `authenticate`, in order; `named` is the user whom the text names, if any.

    How many they are depends on the site's backends, never on the user, or the time would tell who exists: one where
    all backends take the user name; else what was typed, and then the user name.
    """
    # A text that cannot be a name is tried as one that no user has, which costs the same and no database refuses.
    cleaned = clean_upn(typed) or NOBODY
    username = cleaned if named is None else named.get_username()
    return (cleaned, username) if any(map(_takes_other_names, get_backends())) else (username,)


def _takes_other_names(backend: Any) -> bool:
    return any(package not in BY_USER_NAME for package in _packages(type(backend)))


def _packages(backend: type) -> Iterator[str]:
    """Yield the packages of the functions that say how this backend authenticates."""
    for base in backend.__mro__:
        if "authenticate" in vars(base):
            # Of the function: `ProvingBackend` puts a wrapper of the same module into each class.
            yield vars(base)["authenticate"].__module__.partition(".")[0]
