"""Whose login page the site has: ours (`tap_provider.urls`), or one of its own (`tap_provider.registration_urls`).

With its own, nothing here signs anybody in: a pass opens its registration-only session, and a full session is confirmed
by a further method of the same user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.urls import NoReverseMatch, reverse

if TYPE_CHECKING:
    from .kinds import MethodKind


def login_is_elsewhere() -> bool:
    """Tell whether this site is in registration-only mode: our pages are mounted without our login page."""
    return is_mounted("tap_provider:sign_in") and not is_mounted("tap_provider:sign_in_second_step")


def login_is_ours() -> bool:
    """Tell whether our login page is mounted."""
    return is_mounted("tap_provider:sign_in_second_step")


def is_mounted(name: str) -> bool:
    """Tell whether the URL configuration in force has a page of this name."""
    try:
        reverse(name)
    except NoReverseMatch:
        return False
    return True


def login_takes(kind: MethodKind) -> bool:
    """Tell whether the site's login page takes this kind, or asks for it: ours takes all; of another the kind knows."""
    return not login_is_elsewhere() or kind.is_taken_elsewhere()
