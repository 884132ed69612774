"""Who outranks whom: nobody issues a pass for an account with more standing or permissions than their own.

The passcode is known to whoever issued it. A pass therefore also keeps how far its issue may reach, and does not open
an account that was raised above that afterwards.
"""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

PRIVILEGED_PERMISSION = "tap_provider.issue_privileged_pass"


class Standing(models.IntegerChoices):
    """What an account is to Django itself, lowest first."""

    MEMBER = 0, _("member")
    STAFF = 1, _("staff")
    SUPERUSER = 2, _("superuser")


def standing_of(user: Any) -> Standing:
    """Return the standing of a user; user models without Django's flags know members only."""
    if getattr(user, "is_superuser", False):
        return Standing.SUPERUSER
    return Standing.STAFF if getattr(user, "is_staff", False) else Standing.MEMBER


def reach_of(actor: Any) -> Standing:
    """Return up to which standing this administrator may issue."""
    return Standing.SUPERUSER if actor.has_perm(PRIVILEGED_PERMISSION) else standing_of(actor)


def outranks(user: Any, actor: Any) -> bool:
    """Tell whether `user` has standing or a permission that `actor` lacks, unless they may issue for anybody."""
    if standing_of(user) > reach_of(actor):
        return True
    return reach_of(actor) is not Standing.SUPERUSER and not _permissions(user) <= _permissions(actor)


def _permissions(user: Any) -> set[str]:
    everything = getattr(user, "get_all_permissions", None)
    return set() if everything is None else set(everything())
