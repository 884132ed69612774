"""Which sign-in stands behind which code and token, and what each relying party may.

Contexts are keyed by SHA-256 of the code or token. A foreign key to the toolkit's models would tie migrations to
models that a site may swap.
"""

from __future__ import annotations

from typing import Any
from unicodedata import category

from django.db import models
from django.utils.translation import gettext_lazy as _

from ..models import Level, SignIn


class Context(models.Model):
    """The sign-in behind a code or a token, and what it was when the code was issued.

    A sign-in may be renewed or raised later; what was issued before tells of what was before.
    """

    digest = models.CharField(primary_key=True, max_length=64)
    sign_in = models.ForeignKey(SignIn, on_delete=models.CASCADE, related_name="+")
    client_id = models.CharField(max_length=100, blank=True)
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


class RelyingParty(models.Model):
    """What this provider grants one client beyond the toolkit's application. Without a row: nothing."""

    client_id = models.CharField(_("client id"), max_length=100, unique=True)
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
        help_text=_("Where it is told that a sign-in has ended. Empty: it is not told."),
    )
    backchannel_logout_session_required = models.BooleanField(
        _("back-channel logout needs a session id"),
        default=True,
        help_text=_("On: what it is told names the sign-in (sid). Off: it may name the user only."),
    )

    class Meta:
        verbose_name = _("relying party")
        verbose_name_plural = _("relying parties")

    def __str__(self) -> str:
        return self.client_id


def relying_party(client_id: str) -> RelyingParty:
    """Return what is granted to this client; without a row the safe defaults, unsaved. One query."""
    return RelyingParty.objects.filter(client_id=client_id).first() or RelyingParty(client_id=client_id)


def may_host_registration(client_id: Any) -> bool:
    """Tell whether this client may be answered from a registration-only session. One query at most."""
    text = str(client_id)
    if any(category(character) in {"Cc", "Cs"} for character in text):
        return False  # NUL bytes and lone surrogates, which no database can be asked for
    return RelyingParty.objects.filter(client_id=text, may_host_registration=True).exists()
