"""The stored bounds: one row."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from ..passcode import LONGEST, SHORTEST

SHORTEST_LIFETIME, LONGEST_LIFETIME = 10, 43_200  # minutes; 30 days (Microsoft Entra's bounds)
SHORTEST_WINDOW, LONGEST_WINDOW = 1, 60  # minutes


def _minutes(default: int, verbose_name: Any, shortest: int, longest: int) -> Any:
    return models.PositiveIntegerField(
        verbose_name, default=default, validators=[MinValueValidator(shortest), MaxValueValidator(longest)]
    )


class PolicyQuerySet(models.QuerySet["TemporaryAccessPassPolicy"]):
    def current(self) -> TemporaryAccessPassPolicy:
        """Return the one policy; before an administrator has saved it, the defaults (which are off)."""
        return self.first() or TemporaryAccessPassPolicy()


class TemporaryAccessPassPolicy(models.Model):
    """The stored bounds (one row). `policy.resolve_policy` tells the bounds in force for one user."""

    ONLY_ID = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY_ID, editable=False)
    enabled = models.BooleanField(
        _("enabled"), default=False, help_text=_("Off: no pass can be issued or redeemed, and what passes opened ends.")
    )
    include_all_users = models.BooleanField(
        _("all users"), default=True, help_text=_("Off: only the groups and users included below.")
    )
    included_groups = models.ManyToManyField(
        "auth.Group", verbose_name=_("included groups"), blank=True, related_name="+"
    )
    included_users = models.ManyToManyField(
        settings.AUTH_USER_MODEL, verbose_name=_("included users"), blank=True, related_name="+"
    )
    excluded_groups = models.ManyToManyField(
        "auth.Group",
        verbose_name=_("excluded groups"),
        blank=True,
        related_name="+",
        help_text=_("Exclusion wins over inclusion."),
    )
    excluded_users = models.ManyToManyField(
        settings.AUTH_USER_MODEL, verbose_name=_("excluded users"), blank=True, related_name="+"
    )
    minimum_lifetime_minutes = _minutes(60, _("minimum lifetime (minutes)"), SHORTEST_LIFETIME, LONGEST_LIFETIME)
    maximum_lifetime_minutes = _minutes(480, _("maximum lifetime (minutes)"), SHORTEST_LIFETIME, LONGEST_LIFETIME)
    default_lifetime_minutes = _minutes(60, _("default lifetime (minutes)"), SHORTEST_LIFETIME, LONGEST_LIFETIME)
    one_time_only = models.BooleanField(
        _("one-time only"),
        default=False,
        help_text=_("On: every pass is one-time, and multi-use passes issued before are refused."),
    )
    passcode_length = models.PositiveSmallIntegerField(
        _("passcode length"),
        default=8,
        validators=[MinValueValidator(SHORTEST), MaxValueValidator(LONGEST)],
        help_text=_("Symbols, dashes not counted."),
    )
    registration_window_minutes = models.PositiveSmallIntegerField(
        _("registration window (minutes)"),
        default=10,
        validators=[MinValueValidator(SHORTEST_WINDOW), MaxValueValidator(LONGEST_WINDOW)],
        help_text=_("How long after signing in with a one-time pass a method may be registered."),
    )
    require_registration = models.BooleanField(
        _("require registration"),
        default=False,
        help_text=_("On: nobody finishes Security info without a strong method."),
    )
    require_strong_authentication_to_register = models.BooleanField(
        _("require strong authentication to register"),
        default=True,
        help_text=_("Off: who has no strong method may register the first one after signing in with a password."),
    )
    changed_at = models.DateTimeField(_("changed at"), null=True, editable=False)
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("changed by"),
        null=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
    )

    objects = PolicyQuerySet.as_manager()

    class Meta:
        verbose_name = _("Temporary Access Pass policy")
        verbose_name_plural = _("Temporary Access Pass policy")
        constraints = [
            models.CheckConstraint(condition=Q(id=1), name="tap_policy_one_row"),
            models.CheckConstraint(
                condition=Q(
                    minimum_lifetime_minutes__gte=SHORTEST_LIFETIME, maximum_lifetime_minutes__lte=LONGEST_LIFETIME
                ),
                name="tap_policy_lifetime_bounds",
            ),
            models.CheckConstraint(
                condition=Q(minimum_lifetime_minutes__lte=F("default_lifetime_minutes"))
                & Q(default_lifetime_minutes__lte=F("maximum_lifetime_minutes")),
                name="tap_policy_lifetime_order",
            ),
            models.CheckConstraint(
                condition=Q(passcode_length__gte=SHORTEST, passcode_length__lte=LONGEST),
                name="tap_policy_passcode_length",
            ),
            models.CheckConstraint(
                condition=Q(
                    registration_window_minutes__gte=SHORTEST_WINDOW, registration_window_minutes__lte=LONGEST_WINDOW
                ),
                name="tap_policy_registration_window",
            ),
        ]

    def __str__(self) -> str:
        return str(self._meta.verbose_name)
