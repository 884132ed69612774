"""The pass: whose, from when, how long, how often."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from ..usability import UsabilityReason, usability_reason
from .policy import LONGEST_LIFETIME, SHORTEST_LIFETIME


class Standing(models.IntegerChoices):
    """What an account is to Django itself, lowest first."""

    MEMBER = 0, _("member")
    STAFF = 1, _("staff")
    SUPERUSER = 2, _("superuser")

    @classmethod
    def by_flags(cls, user: Any) -> Standing:
        """Return what Django's flags say; user models without them know members only."""
        if getattr(user, "is_superuser", False):
            return cls.SUPERUSER
        return cls.STAFF if getattr(user, "is_staff", False) else cls.MEMBER


class TemporaryAccessPass(models.Model):
    """A pass: whose, from when, how long, how often. The passcode itself is not here, only its hash."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, verbose_name=_("user"), on_delete=models.CASCADE, related_name="+"
    )
    passcode_hash = models.CharField(max_length=256, editable=False)
    created_at = models.DateTimeField(_("created at"))
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("created by"), null=True, on_delete=models.SET_NULL, related_name="+"
    )
    starts_at = models.DateTimeField(_("starts at"))
    lifetime_minutes = models.PositiveIntegerField(_("lifetime (minutes)"))
    expires_at = models.DateTimeField(_("expires at"))
    is_usable_once = models.BooleanField(_("one-time"), default=False)
    highest_standing = models.PositiveSmallIntegerField(
        _("issued up to"),
        choices=Standing,
        default=Standing.MEMBER,
        editable=False,
        help_text=_("Up to which standing its administrator may issue: it opens no account raised above that since."),
    )
    redeemed_at = models.DateTimeField(_("redeemed at"), null=True)
    redemption_count = models.PositiveIntegerField(_("redemptions"), default=0)
    failed_attempts = models.PositiveIntegerField(_("consecutive failed attempts"), default=0)
    reason = models.TextField(_("reason"), blank=True, max_length=1000)

    class Meta:
        verbose_name = _("Temporary Access Pass")
        verbose_name_plural = _("Temporary Access Passes")
        permissions = [("issue_privileged_pass", _("Can issue a pass to somebody with more permissions than oneself"))]
        constraints = [
            models.CheckConstraint(
                condition=Q(lifetime_minutes__gte=SHORTEST_LIFETIME, lifetime_minutes__lte=LONGEST_LIFETIME),
                name="tap_pass_lifetime_bounds",
            ),
            models.CheckConstraint(condition=Q(expires_at__gt=F("starts_at")), name="tap_pass_expires_after_start"),
            models.CheckConstraint(
                condition=Q(is_usable_once=False) | Q(redemption_count__lte=1), name="tap_pass_one_time_spent_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} · {self.user}"

    @property
    def lifetime(self) -> timedelta:
        return timedelta(minutes=self.lifetime_minutes)

    def usability(self, *, allowed_by_policy: bool, now: datetime) -> UsabilityReason:
        """Tell whether it may be redeemed at `now`, and if not, why."""
        return usability_reason(
            starts_at=self.starts_at,
            expires_at=self.expires_at,
            is_usable_once=self.is_usable_once,
            redemption_count=self.redemption_count,
            failed_attempts=self.failed_attempts,
            allowed_by_policy=allowed_by_policy,
            now=now,
        )
