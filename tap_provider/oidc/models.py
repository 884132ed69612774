"""Which sign-in stands behind which code and token, and what each relying party may.

Contexts are keyed by SHA-256 of the code or token. A foreign key to the toolkit's models would tie migrations to
models that a site may swap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unicodedata import category
from uuid import uuid4

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from ..composed_query import ComposedQuery, Parameter
from ..models import Level, SignIn
from .transport import validate_uri

if TYPE_CHECKING:
    from datetime import datetime


LONGEST_CLIENT_ID = 255
"""Characters, as in the toolkit's `Application`: the URL of a client ID metadata document is a client id too."""


class Context(models.Model):
    """The sign-in behind a code or a token, and what it was when the code was issued.

    A sign-in may be renewed or raised later; what was issued before tells of what was before.
    """

    digest = models.CharField(primary_key=True, max_length=64)
    sign_in = models.ForeignKey(SignIn, on_delete=models.CASCADE, related_name="+")
    client_id = models.CharField(max_length=LONGEST_CLIENT_ID, blank=True)
    methods = models.JSONField(default=list)
    amr = models.JSONField(default=list)
    level = models.CharField(max_length=20, choices=Level, default=Level.SINGLE_FACTOR)
    authenticated_at = models.DateTimeField(null=True)
    told_acr = models.CharField(max_length=255, blank=True)
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.digest[:8]} · {self.sign_in_id}"


class CodeContext(Context):
    """The sign-in behind an authorization code, and the return that it used up (`authorization_return`)."""

    returned = models.CharField(max_length=32, null=True, unique=True)  # noqa: DJ001 unique, where there is one


class TokenContext(Context):
    """The sign-in behind an access token or a refresh token, and the code that it came by."""

    code_digest = models.CharField(max_length=64, blank=True, db_index=True)


class PasswordTokenContext(models.Model):
    """The password behind an access token or a refresh token of the password grant (RFC 6749 §4.3)."""

    digest = models.CharField(primary_key=True, max_length=64)
    password_stamp = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.digest[:8]


class RelyingParty(models.Model):
    """What this provider grants one client beyond the toolkit's application. Without a row: nothing."""

    client_id = models.CharField(_("client id"), max_length=LONGEST_CLIENT_ID, unique=True)
    may_host_registration = models.BooleanField(
        _("may host registration"),
        default=False,
        help_text=_("On: this client is answered from a registration-only session, that is, for the holder of a pass."),
    )
    default_acr_values = models.CharField(
        _("default acr values"),
        max_length=500,
        blank=True,
        help_text=_("What it asks for where a request asks for none; several are separated by spaces."),
    )
    default_max_age = models.PositiveIntegerField(
        _("default max age (seconds)"),
        null=True,
        blank=True,
        help_text=_("How old a sign-in may be where a request does not say."),
    )
    minimum_level = models.CharField(
        _("minimum level"),
        max_length=20,
        choices=Level,
        blank=True,
        help_text=_("It is never answered from a weaker sign-in, whatever it asks for."),
    )
    backchannel_logout_uri = models.CharField(
        _("back-channel logout URI"),
        max_length=500,
        blank=True,
        validators=[validate_uri],
        help_text=_("Where it is told that a sign-in has ended. Empty: it is not told."),
    )
    backchannel_logout_session_required = models.BooleanField(
        _("back-channel logout needs a session id"),
        default=True,
        help_text=_(
            "On: what it is told names the sign-in (sid). Off: it names the user only, who is then signed out there "
            "everywhere, whichever of their sign-ins has ended."
        ),
    )

    class Meta:
        verbose_name = _("relying party")
        verbose_name_plural = _("relying parties")

    def __str__(self) -> str:
        return self.client_id

    def takes(self, sign_in: SignIn | None) -> bool:
        """Tell whether a sign-in is as strong as this client's minimum; one that nobody knows by what it was is not."""
        if not self.minimum_level:
            return True
        return sign_in is not None and bool(sign_in.methods) and self.takes_level(sign_in.level)

    def takes_level(self, level: str) -> bool:
        """Tell whether this level is as high as this client's minimum."""
        return not self.minimum_level or Level(level).rank >= Level(self.minimum_level).rank


class LogoutDeliveryQuerySet(models.QuerySet["LogoutDelivery"]):
    def waiting(self) -> LogoutDeliveryQuerySet:
        return self.filter(status=LogoutDelivery.Status.WAITING)

    def due(self, *, now: datetime) -> LogoutDeliveryQuerySet:
        return self.waiting().filter(next_attempt_at__lte=now)


class LogoutDelivery(models.Model):
    """That one relying party is to be told of the end of one sign-in, and what came of it. Written with the ending.

    Sign-in and user are kept by key: a delivery outlives both, because deleting a user ends their sign-ins.
    """

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting")
        DELIVERED = "delivered", _("delivered")
        REFUSED = "refused", _("refused by the relying party")
        GIVEN_UP = "given_up", _("given up")

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    sign_in_id = models.UUIDField(_("sign-in"), db_index=True)
    subject = models.CharField(_("subject"), max_length=255)
    client_id = models.CharField(_("client id"), max_length=LONGEST_CLIENT_ID)
    uri = models.CharField(_("back-channel logout URI"), max_length=500)
    names_sign_in = models.BooleanField(_("names the sign-in"))
    created_at = models.DateTimeField(_("created at"), db_index=True)
    status = models.CharField(_("status"), max_length=20, choices=Status, default=Status.WAITING)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    next_attempt_at = models.DateTimeField(_("next attempt at"), null=True)
    delivered_at = models.DateTimeField(_("delivered at"), null=True)
    last_outcome = models.CharField(_("last outcome"), max_length=200, blank=True)

    objects = LogoutDeliveryQuerySet.as_manager()

    class Meta:
        verbose_name = _("logout delivery")
        verbose_name_plural = _("logout deliveries")
        indexes = [models.Index(fields=["status", "next_attempt_at"], name="tap_logout_delivery_due")]
        constraints = [
            models.CheckConstraint(
                condition=Q(status="waiting", next_attempt_at__isnull=False)
                | (~Q(status="waiting") & Q(next_attempt_at=None)),
                name="tap_logout_delivery_attempted_while_waiting",
            ),
            models.CheckConstraint(
                condition=Q(status="delivered", delivered_at__isnull=False)
                | (~Q(status="delivered") & Q(delivered_at=None)),
                name="tap_logout_delivery_delivered_at_a_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.client_id} · {self.sign_in_id}"


def relying_party(client_id: str) -> RelyingParty:
    """Return what is granted to this client; without a row the safe defaults, unsaved. One query."""
    field = RelyingParty._meta.get_field("client_id")
    return _RELYING_PARTY.first(client_id, field=field) or RelyingParty(client_id=client_id)


_RELYING_PARTY = ComposedQuery(RelyingParty, lambda parties: parties.filter(client_id=Parameter()))


def may_host_registration(client_id: Any) -> bool:
    """Tell whether this client may be answered from a registration-only session. One query at most."""
    text = str(client_id)
    if any(category(character) in {"Cc", "Cs"} for character in text):
        return False  # NUL bytes and lone surrogates, which no database can be asked for
    return RelyingParty.objects.filter(client_id=text, may_host_registration=True).exists()
