"""Whose login page the site has: ours (`tap_provider.urls`), or one of its own (`tap_provider.registration_urls`).

With its own, nothing here signs anybody in: a pass opens its registration-only session, and a full session is confirmed
by a further method of the same user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.urls import NoReverseMatch, reverse

from ..hooks import get_hooks

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
    """Tell whether the site's login page takes this kind: ours takes all; of another the hook knows, or the kind."""
    if not login_is_elsewhere():
        return True
    told = get_hooks().login_takes(kind.slug)
    return kind.is_taken_elsewhere() if told is None else told
