"""Passkeys: WebAuthn by django-otp-webauthn. What they are and prove; `passkey_ceremony` has how they are made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.decorators import login_not_required
from django.urls import path
from django.utils.translation import gettext_lazy as _
from django_otp_webauthn.backends import WebAuthnBackend
from django_otp_webauthn.utils import get_credential_model

from ..models import Level
from ..registration_session import allow
from .kinds import Factor, Method, MethodKind, UsedMethod
from .login_page import is_mounted
from .passkey_ceremony import (
    BACKEND,
    LABEL,
    SLUG,
    BeginAuthentication,
    BeginRegistration,
    CompleteAuthentication,
    CompleteRegistration,
)
from .passkey_texts import passkey_texts
from .proof import mark_proved

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models import QuerySet
    from django.http import HttpRequest
    from django.urls import URLPattern


class PasskeyBackend(WebAuthnBackend, BaseBackend):
    """The library's backend with Django's asynchronous methods, which it lacks (`await request.auser()` is a 500)."""

    def authenticate(self, request: HttpRequest | None, webauthn_credential: Any = None) -> Any | None:  # type: ignore[override]
        user: Any = super().authenticate(request, webauthn_credential=webauthn_credential)
        if user is None:
            return None
        user.tap_passkey = webauthn_credential
        return mark_proved(user, SLUG)


class PasskeyKind(MethodKind):
    slug = SLUG
    label = LABEL
    description = _("Your fingerprint, face or screen lock, or a security key. Cannot be phished.")
    is_strong = True
    alone = Level.PHISHING_RESISTANT
    has_names = True
    card_template = "tap_provider/methods/passkey.html"
    backends = (BACKEND,)

    def is_taken_elsewhere(self) -> bool:
        return is_mounted("otp_webauthn:credential-authentication-begin")

    def methods(self, user: Any) -> list[Method]:
        credentials = get_credential_model().objects.filter(user=user, confirmed=True).order_by("pk")
        return [
            Method(
                id=str(credential.pk),
                name=credential.name or str(self.label),
                created_at=credential.created_at,
                last_used_at=credential.last_used_at,
            )
            for credential in credentials
        ]

    def rename(self, user: Any, method_id: str, name: str) -> bool:
        return bool(self._find(user, method_id).update(name=name))

    def remove(self, user: Any, method_id: str) -> bool:
        return bool(self._find(user, method_id).delete()[0])

    def _find(self, user: Any, method_id: str) -> QuerySet[Any]:
        rows: QuerySet[Any] = get_credential_model().objects.filter(user=user, confirmed=True)
        return rows.filter(pk=method_id) if method_id.isdecimal() else rows.none()

    def used_by_backend(self, user: Any) -> UsedMethod | None:
        credential = getattr(user, "tap_passkey", None)
        return None if credential is None else self.used_device(credential)

    def used_device(self, device: Any) -> UsedMethod | None:
        if not isinstance(device, get_credential_model()):
            return None
        held = "swk" if device.backup_eligible else "hwk"  # a synchronised passkey is a software-secured key
        return UsedMethod(
            kind=self.slug,
            amr=(held, "mfa", "pop", "user"),
            factors=frozenset(Factor),
            is_phishing_resistant=True,
            method_id=str(device.pk),
        )

    def urls(self) -> Sequence[URLPattern]:
        return [
            path("registration/begin/", BeginRegistration.as_view(), name="passkey_registration_begin"),
            path("registration/complete/", CompleteRegistration.as_view(), name="passkey_registration_complete"),
            path("authentication/begin/", BeginAuthentication.as_view(), name="passkey_authentication_begin"),
            path("authentication/complete/", CompleteAuthentication.as_view(), name="passkey_authentication_complete"),
            path("texts.js", allow(login_not_required(passkey_texts)), name="passkey_texts"),
        ]
