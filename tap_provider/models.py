"""The facts at rest: policy, pass, sign-in, attempt counter, audit event.

A fact about one row is a property here, a set of rows is a QuerySet method; whatever has consequences is a verb
elsewhere. The bounds that must never be crossed are database constraints.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any, NoReturn

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from .passcode import LONGEST, SHORTEST
from .standing import Standing
from .usability import UsabilityReason, usability_reason

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


class TemporaryAccessPass(models.Model):
    """A pass: whose, from when, how long, how often. The passcode itself is not here, only its hash."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, verbose_name=_("user"), on_delete=models.CASCADE, related_name="temporary_access_pass"
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


class Level(models.TextChoices):
    """How strong an authentication was, weakest first."""

    SINGLE_FACTOR = "single_factor", _("single factor")
    MULTI_FACTOR = "multi_factor", _("multi-factor")
    PHISHING_RESISTANT = "phishing_resistant", _("phishing-resistant")

    @property
    def rank(self) -> int:
        """0 for the weakest: compare levels by this."""
        return list(Level).index(self)


class SignInQuerySet(models.QuerySet["SignIn"]):
    def not_ended(self) -> SignInQuerySet:
        return self.filter(ended_at=None)

    def not_over(self, *, now: datetime) -> SignInQuerySet:
        """Neither ended nor past their deadline."""
        return self.not_ended().filter(Q(deadline=None) | Q(deadline__gt=now))

    def overdue(self, *, now: datetime) -> SignInQuerySet:
        """Past their deadline, and not ended."""
        return self.not_ended().filter(deadline__lte=now)

    def opened_by_a_pass(self) -> SignInQuerySet:
        return self.exclude(pass_id=None)


class SignIn(models.Model):
    """One authentication event: who, by which methods, when, until when. Any method, not only passes.

    A Django session carries only its id. `pass_id` is no foreign key: the pass may be gone, the record stays.
    """

    class EndedReason(models.TextChoices):
        SIGNED_OUT = "signed_out", _("signed out")
        SIGNED_OUT_EVERYWHERE = "everywhere", _("signed out everywhere")
        ENDED_ELSEWHERE = "ended_elsewhere", _("ended from another browser")
        FINISHED = "finished", _("finished registering")
        SIGNED_IN_ANEW = "signed_in_anew", _("signed in anew in the same browser")
        DEADLINE = "deadline", _("its time was up")
        PASS_REPLACED = "pass_replaced", _("the pass was replaced")
        PASS_REVOKED = "pass_revoked", _("the pass was revoked")
        POLICY = "policy", _("the policy no longer allows it")
        METHOD_LOST = "method_lost", _("a method that it was made with was lost")
        USER_DEACTIVATED = "user_deactivated", _("the user was deactivated")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("user"), on_delete=models.CASCADE, related_name="sign_ins"
    )
    methods = models.JSONField(_("methods"), default=list)
    amr = models.JSONField(_("amr"), default=list)
    level = models.CharField(_("level"), max_length=20, choices=Level)
    authenticated_at = models.DateTimeField(_("authenticated at"), null=True)  # null: adopted, nobody knows
    created_at = models.DateTimeField(_("created at"))
    # Moved by signing in anew and not by a step-up; null: adopted.
    signed_in_at = models.DateTimeField(_("signed in at"), null=True)
    deadline = models.DateTimeField(_("deadline"), null=True)
    ended_at = models.DateTimeField(_("ended at"), null=True)
    ended_reason = models.CharField(_("ended because"), max_length=20, choices=EndedReason, blank=True)
    pass_id = models.UUIDField(_("pass"), null=True, db_index=True)
    address = models.GenericIPAddressField(_("address"), null=True)
    user_agent = models.CharField(_("user agent"), max_length=256, blank=True)

    # What is left of the pass, where `sign_in.of_pass` asked for it: None if the pass is gone.
    pass_is_usable_once: bool | None = None
    pass_highest_standing: int | None = None
    # What is kept of it beside a code or token, where it was found by one (`oidc.contexts`).
    told_acr: str = ""  # what a relying party is told, where it is not simply the level's value
    code_digest: str = ""

    objects = SignInQuerySet.as_manager()

    class Meta:
        verbose_name = _("sign-in")
        verbose_name_plural = _("sign-ins")
        indexes = [models.Index(fields=["ended_at", "deadline"], name="tap_sign_in_overdue")]
        constraints = [
            # What a pass opens is bounded in time and strength, whatever the code above does.
            models.CheckConstraint(
                condition=Q(pass_id=None) | Q(deadline__isnull=False, level=Level.MULTI_FACTOR),
                name="tap_sign_in_by_pass_is_bounded",
            ),
            models.CheckConstraint(
                condition=Q(ended_at=None, ended_reason="") | (Q(ended_at__isnull=False) & ~Q(ended_reason="")),
                name="tap_sign_in_ended_for_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {', '.join(self.methods)}"

    @property
    def is_registration_only(self) -> bool:
        return self.pass_id is not None

    def is_over(self, *, now: datetime) -> bool:
        """Ended, or past its deadline."""
        return self.ended_at is not None or (self.deadline is not None and now >= self.deadline)


class SignInMethod(models.Model):
    """A registered method that a sign-in was made with: when it is lost, the sign-in ends."""

    sign_in = models.ForeignKey(SignIn, on_delete=models.CASCADE, related_name="used_methods")
    kind = models.CharField(max_length=50)
    method_id = models.CharField(max_length=100)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["sign_in", "kind", "method_id"], name="tap_sign_in_method_once"),
        ]
        indexes = [models.Index(fields=["kind", "method_id"], name="tap_sign_in_method")]

    def __str__(self) -> str:
        return f"{self.kind} {self.method_id} · {self.sign_in_id}"


class RegisteredMethod(models.Model):
    """When a method was registered and by which sign-in, whatever its kind stores. The sign-in may be gone."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="registered_methods")
    kind = models.CharField(max_length=50)
    method_id = models.CharField(max_length=100)
    registered_at = models.DateTimeField()
    sign_in_id = models.UUIDField(null=True, db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "kind", "method_id"], name="tap_registered_method_once"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.method_id} · {self.user}"


class RecoveryCode(models.Model):
    """One of the codes that a user keeps for the day when their other methods are out of reach. Good once."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="recovery_codes")
    code_hash = models.CharField(max_length=255)
    created_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "code_hash"], name="tap_recovery_code_once")]

    def __str__(self) -> str:
        return f"{self.user} · {self.created_at:%Y-%m-%d}"


class AttemptCounter(models.Model):
    """Attempts by one UPN or from one address within one minute. Written by `throttle` alone."""

    pk = models.CompositePrimaryKey("digest", "minute")
    digest = models.CharField(max_length=64)
    minute = models.PositiveIntegerField(db_index=True)  # since the epoch
    count = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.digest[:8]} · {self.minute}"


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    def update(self, **kwargs: Any) -> NoReturn:
        raise TypeError("Audit events are append-only.")

    def delete(self) -> NoReturn:
        raise TypeError("Audit events are append-only.")


class AuditEvent(models.Model):
    """What happened, append-only. People are kept by key and name, so that the record outlives them."""

    class Kind(models.TextChoices):
        POLICY_CHANGED = "policy_changed", _("policy changed")
        PASS_ISSUED = "pass_issued", _("pass issued")
        PASS_REPLACED = "pass_replaced", _("pass replaced")
        PASS_REVOKED = "pass_revoked", _("pass revoked")
        PASS_REDEEMED = "pass_redeemed", _("pass redeemed")
        PASS_REFUSED = "pass_refused", _("pass refused")
        ISSUE_REFUSED = "issue_refused", _("issue refused")
        SIGN_IN_BEGUN = "sign_in_begun", _("signed in")
        SIGN_IN_RENEWED = "sign_in_renewed", _("authenticated again")
        SIGN_IN_REFUSED = "sign_in_refused", _("sign-in refused")
        SIGN_IN_ENDED = "sign_in_ended", _("sign-in ended")
        METHOD_REGISTERED = "method_registered", _("method registered")
        METHOD_RENAMED = "method_renamed", _("method renamed")
        METHOD_REMOVED = "method_removed", _("method removed")
        METHOD_LOST = "method_lost", _("method lost")
        SIGNED_OUT_EVERYWHERE = "everywhere", _("signed out everywhere")
        MAIL_FAILED = "mail_failed", _("mail not sent")

    kind = models.CharField(_("kind"), max_length=30, choices=Kind)
    at = models.DateTimeField(_("at"), db_index=True)
    actor_key = models.CharField(_("actor's key"), max_length=255, blank=True)
    actor_name = models.CharField(_("actor"), max_length=255, blank=True)
    user_key = models.CharField(_("user's key"), max_length=255, blank=True, db_index=True)
    user_name = models.CharField(_("user"), max_length=255, blank=True)
    pass_id = models.UUIDField(_("pass"), null=True)
    sign_in_id = models.UUIDField(_("sign-in"), null=True)
    address = models.GenericIPAddressField(_("address"), null=True)
    detail = models.JSONField(_("detail"), default=dict)

    objects = AuditEventQuerySet.as_manager()

    class Meta:
        verbose_name = _("audit event")
        verbose_name_plural = _("audit events")

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} · {self.get_kind_display()}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("Audit events are append-only.")
        super().save(*args, **{**kwargs, "force_insert": True})  # a key that exists is an error, not an update

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("Audit events are append-only.")
