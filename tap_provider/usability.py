"""May a pass be redeemed now, and if not, why: one pure function with one reason.

The reasons and their names are Microsoft Graph's `methodUsabilityReason`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from datetime import datetime

MOST_FAILED_ATTEMPTS = 100
"""Consecutive wrong passcodes after which a pass is dead until reissued (NIST SP 800-63B-4 §3.2.2)."""


class UsabilityReason(models.TextChoices):
    """Why a pass is usable or not, in the order of precedence (the first that applies is told)."""

    ONE_TIME_USED = "OneTimeUsed", _("already used")
    EXPIRED = "Expired", _("expired")
    DISABLED_BY_POLICY = "DisabledByPolicy", _("blocked by policy")
    NOT_YET_VALID = "NotYetValid", _("not valid yet")
    ENABLED_BY_POLICY = "EnabledByPolicy", _("usable")

    @property
    def is_usable(self) -> bool:
        return self is UsabilityReason.ENABLED_BY_POLICY


def usability_reason(
    *,
    starts_at: datetime,
    expires_at: datetime,
    is_usable_once: bool,
    redemption_count: int,
    failed_attempts: int,
    allowed_by_policy: bool,
    now: datetime,
) -> UsabilityReason:
    """Return the one reason that holds at `now`.

    `allowed_by_policy` is the resolved policy's answer for this user and this kind of pass. A pass with too many
    consecutive failures counts as disabled, because only a new one helps.
    """
    if is_usable_once and redemption_count:
        return UsabilityReason.ONE_TIME_USED
    if now >= expires_at:
        return UsabilityReason.EXPIRED
    if not allowed_by_policy or failed_attempts >= MOST_FAILED_ATTEMPTS:
        return UsabilityReason.DISABLED_BY_POLICY
    if now < starts_at:
        return UsabilityReason.NOT_YET_VALID
    return UsabilityReason.ENABLED_BY_POLICY
