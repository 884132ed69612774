"""What is written down and never changed by hand: attempts, and the audit trail."""

from __future__ import annotations

from typing import Any, NoReturn

from django.db import models
from django.utils.translation import gettext_lazy as _


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
        USER_DEACTIVATED = "user_deactivated", _("user deactivated")
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
