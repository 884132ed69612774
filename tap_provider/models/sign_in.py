"""The sign-in: one row for each authentication event, and the methods that it was made with."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from datetime import datetime


SEEN_EVERY = timedelta(minutes=5)  # that a sign-in was seen is noted so often


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

    def adopted(self) -> SignInQuerySet:
        """From before the installation: no login was seen. (A login that proved nothing was seen.)"""
        return self.filter(authenticated_at=None, signed_in_at=None)

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
        PASSWORD_CHANGED = "password_changed", _("the password was changed")
        USER_DEACTIVATED = "user_deactivated", _("the user was deactivated")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("user"), on_delete=models.CASCADE, related_name="+"
    )
    methods = models.JSONField(_("methods"), default=list)
    amr = models.JSONField(_("amr"), default=list)
    level = models.CharField(_("level"), max_length=20, choices=Level)
    authenticated_at = models.DateTimeField(
        _("authenticated at"), null=True
    )  # null: nothing proved the user, or adopted
    created_at = models.DateTimeField(_("created at"))
    # Moved by signing in anew and not by a step-up; null: adopted.
    signed_in_at = models.DateTimeField(_("signed in at"), null=True)
    deadline = models.DateTimeField(_("deadline"), null=True)
    last_seen_at = models.DateTimeField(_("last seen at"), null=True)  # to five minutes
    session_expires_at = models.DateTimeField(null=True)  # of a full session, if it is not used again
    ended_at = models.DateTimeField(_("ended at"), null=True)
    ended_reason = models.CharField(_("ended because"), max_length=20, choices=EndedReason, blank=True)
    pass_id = models.UUIDField(_("pass"), null=True, db_index=True)
    address = models.GenericIPAddressField(_("address"), null=True)
    user_agent = models.CharField(_("user agent"), max_length=256, blank=True)
    # Under which key its Django session is stored (`sign_in.session_key`); empty where that is the cookie itself.
    session_digest = models.CharField(max_length=64, blank=True, editable=False)
    sealed_session_key = models.TextField(blank=True, editable=False)  # until that session is deleted
    # What the password was when it began (`sign_in.password`); empty where the user model has no session hash.
    password_stamp = models.CharField(max_length=64, blank=True, editable=False)

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
        indexes = [
            models.Index(fields=["ended_at", "deadline"], name="tap_sign_in_overdue"),
            models.Index(fields=["session_digest"], name="tap_sign_in_session"),
        ]
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

    def has_run_out(self, *, now: datetime) -> bool:
        """Its session is certainly gone by age: it may have been saved once more after it was last seen."""
        return self.session_expires_at is not None and now >= self.session_expires_at + SEEN_EVERY

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
