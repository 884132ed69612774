"""Who outranks whom: no administrator issues a pass for a user with more standing or permissions than their own.

The administrator knows the passcode. A pass therefore also keeps how far its issue may reach, and does not open an
account that was raised above that afterwards.
"""

from __future__ import annotations

from typing import Any

from .hooks import get_hooks
from .models import Standing
from .permissions import has_more_permissions, has_permission

PRIVILEGED_PERMISSION = "tap_provider.issue_privileged_pass"


def standing_of(user: Any) -> Standing:
    """Return the standing of a user: what Django's flags say, or more if the site's hook says more."""
    if user is None:
        return Standing.MEMBER
    return max(Standing.by_flags(user), Standing(get_hooks().standing_of(user)))


def reach_of(actor: Any) -> Standing:
    """Return up to which standing this administrator may issue. What a hook adds to their standing does not count."""
    return Standing.SUPERUSER if has_permission(actor, PRIVILEGED_PERMISSION) else Standing.by_flags(actor)


def outranks(user: Any, actor: Any) -> bool:
    """Tell whether `user` has standing or a permission that `actor` lacks, unless `actor` may issue for anybody."""
    reach = reach_of(actor)
    if standing_of(user) > reach:
        return True
    return reach is not Standing.SUPERUSER and has_more_permissions(user, actor)
