"""Which sign-in stands behind which code and token, and what each relying party may.

Contexts are keyed by SHA-256 of the code or token. A foreign key to the toolkit's models would tie migrations to
models that a site may swap.
"""

from __future__ import annotations

from typing import Any
from unicodedata import category

from django.db import models
from django.utils.translation import gettext_lazy as _

from ..models import SignIn


class Context(models.Model):
    digest = models.CharField(primary_key=True, max_length=64)
    sign_in = models.ForeignKey(SignIn, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.digest[:8]} · {self.sign_in_id}"


class CodeContext(Context):
    """The sign-in behind an authorization code."""


class TokenContext(Context):
    """The sign-in behind an access token or a refresh token."""


class RelyingParty(models.Model):
    """What this provider grants one client beyond the toolkit's application. Without a row: nothing."""

    client_id = models.CharField(_("client id"), max_length=100, unique=True)
    may_host_registration = models.BooleanField(
        _("may host registration"),
        default=False,
        help_text=_("On: this client is answered from a registration-only session, that is, for the holder of a pass."),
    )

    class Meta:
        verbose_name = _("relying party")
        verbose_name_plural = _("relying parties")

    def __str__(self) -> str:
        return self.client_id


def may_host_registration(client_id: Any) -> bool:
    """Tell whether this client may be answered from a registration-only session. One query at most."""
    text = str(client_id)
    if any(category(character) in {"Cc", "Cs"} for character in text):
        return False  # NUL bytes and lone surrogates, which no database can be asked for
    return RelyingParty.objects.filter(client_id=text, may_host_registration=True).exists()
