"""On what somebody signed in, as far as their browser told: it is shown and never trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from ua_parser import parse

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

UNKNOWN = gettext_lazy("Unknown device")


def device_of(user_agent: str) -> _StrOrPromise:
    """Return a device in words, say "Firefox on Windows". Its parts are the browser's own words: escape them."""
    told = parse(user_agent)
    browser, system = told.user_agent, told.os
    if browser is not None and system is not None:
        return _("%(browser)s on %(system)s") % {"browser": browser.family, "system": system.family}
    known = browser or system
    return UNKNOWN if known is None else known.family
