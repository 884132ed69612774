"""The gates at the token endpoint.

A code is good once, a refresh tells what its code told, and both die with the sign-in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import ObjectDoesNotExist
from django.db import DatabaseError
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables
from oauth2_provider.models import get_device_grant_model, get_grant_model
from oauthlib.oauth2.rfc6749.errors import (
    CustomOAuth2Error,
    InvalidGrantError,
    InvalidScopeError,
    UnauthorizedClientError,
)
from oauthlib.oauth2.rfc6749.utils import scope_to_list

from ..exceptions import SignInRefused, TooManyAttempts
from ..methods.two_steps import verify_password_alone
from ..models import Level
from ..sign_in import password_stamp
from . import request_context
from .contexts import (
    digest_of,
    is_live,
    remember_tokens,
    revoke_tokens_of_code,
    sign_in_of_code,
    sign_in_of_token,
)
from .device_codes import DEVICE_CODE_GRANT, SPENT, add_id_token, find_device, refuse_unless_approved, spend_device
from .models import relying_party
from .password_tokens import remember_password, stamp_behind
from .scope_validator import ScopeValidator
from .token_origin import hold_origin, is_token_live
from .tokens import SECOND, CodeSpent, brings_refresh_token, cut_short, end_access_token, forget_id_token, lasts, spend

if TYPE_CHECKING:
    from datetime import datetime

    from ..models import SignIn


class TooManyGuesses(InvalidGrantError):
    """The throttle refused a password before it was hashed: told at the typed name, as our sign-in page does."""

    def __init__(self, refusal: TooManyAttempts, *, request: Any) -> None:
        super().__init__("Too many attempts.", request=request)
        self.retry_after = -(-refusal.retry_after // SECOND)

    @property
    def headers(self) -> dict[str, str]:
        return {**super().headers, "Retry-After": str(self.retry_after)}


class TokenEndpointValidator(ScopeValidator):
    def authenticate_client(self, request: Any, *args: Any, **kw: Any) -> bool:
        """Refuse a client that names another one beside its own credentials (RFC 6749 §2.3).

        oauthlib makes what the body names the audience of ID tokens: they would pass for the other client's.
        """
        return bool(super().authenticate_client(request, *args, **kw)) and _is_the_one_named(request)

    def authenticate_client_id(self, client_id: str, request: Any, *args: Any, **kw: Any) -> bool:
        return bool(super().authenticate_client_id(client_id, request, *args, **kw)) and _is_the_one_named(request)

    def get_authorization_code_scopes(self, client_id: str, code: str, redirect_uri: str, request: Any) -> list[str]:
        grant = _grant_of(code, request)
        return [] if grant is None else grant.scope.split()

    def validate_code(self, client_id: str, code: str, client: Any, request: Any, *args: Any, **kw: Any) -> bool:
        """Refuse a code whose sign-in has ended; a code that is used again takes its tokens with it."""
        request_context.put(request, None)
        grant = _grant_of(code, request)
        if grant is None or not super().validate_code(client_id, code, client, request, *args, **kw):
            # The client has authenticated itself, as far as it can. That somebody has its code is enough: the verifier
            # is not asked for (RFC 6749 §4.1.2, §10.5).
            revoke_tokens_of_code(digest_of(code), client_id=client.client_id)
            return False
        if request.code_verifier and not grant.code_challenge:
            return False  # the challenge was taken out on its way here (RFC 9700 §4.8.2); oauthlib asks for none then
        sign_in = sign_in_of_code(code, user=request.user)
        request_context.put(request, sign_in, code_digest=digest_of(code))
        request_context.put_exchanged(request, grant)
        return _is_good(sign_in, request)

    def get_code_challenge(self, code: str, request: Any) -> str | None:
        grant = _grant_of(code, request)
        return None if grant is None else grant.code_challenge or None

    def get_code_challenge_method(self, code: str, request: Any) -> str | None:
        grant = _grant_of(code, request)
        return None if grant is None else grant.code_challenge_method or None

    def confirm_redirect_uri(
        self, client_id: str, code: str, redirect_uri: str, client: Any, request: Any, *args: Any, **kw: Any
    ) -> bool:
        grant = _grant_of(code, request)
        return grant is not None and bool(grant.redirect_uri_allowed(redirect_uri))

    def get_authorization_code_nonce(self, client_id: str, code: str, redirect_uri: str, request: Any) -> str | None:
        grant = _grant_of(code, request)
        return None if grant is None else grant.nonce or None

    def validate_refresh_token(self, refresh_token: str, client: Any, request: Any, *args: Any, **kw: Any) -> bool:
        request_context.put(request, None)
        if not super().validate_refresh_token(refresh_token, client, request, *args, **kw):
            return False
        sign_in = sign_in_of_token(refresh_token, user=request.user)
        request_context.put(request, sign_in, code_digest="" if sign_in is None else sign_in.code_digest)
        request_context.put_password(request, None)
        if not _is_strong_enough(sign_in, client):
            return False
        if sign_in is None:
            return self._validate_without_sign_in(refresh_token, request)
        return _is_good(sign_in, request)

    def _validate_without_sign_in(self, refresh_token: str, request: Any) -> bool:
        """Judge a refresh token of the password grant, or from before the installation."""
        if not is_token_live(refresh_token, None, request.user, now=timezone.now()):
            return False
        if stamp_behind(refresh_token) is not None:
            request_context.put_password(request, password_stamp(request.user))  # under today's SECRET_KEY
        return True

    @sensitive_variables()
    def validate_user(self, username: str, password: str, client: Any, request: Any, *args: Any, **kw: Any) -> bool:
        """Check a password where this client may ask for it, in the counters of our pages (RFC 6749 §4.3.2).

        oauthlib asks for the client's right to the grant, and to the scopes, only after this: with the password hashed,
        and an answer that tells whether it was right.
        """
        if not self.validate_grant_type(client.client_id, request.grant_type, client, request):
            raise UnauthorizedClientError(request=request)
        scopes = request.scopes or scope_to_list(self.get_default_scopes(client.client_id, request))
        if not self.validate_scopes(client.client_id, scopes, client, request):
            raise InvalidScopeError(request=request)
        if not relying_party(client.client_id).takes_level(Level.SINGLE_FACTOR):
            return False
        asker, now = self.build_http_request(request), timezone.now()
        try:
            request.user = verify_password_alone(asker, username=username, password=password, now=now)
        except TooManyAttempts as refusal:
            raise TooManyGuesses(refusal, request=request) from None
        except SignInRefused:
            return False
        request_context.put_password(request, password_stamp(request.user))
        return True

    def validate_grant_type(
        self, client_id: str, grant_type: str, client: Any, request: Any, *args: Any, **kw: Any
    ) -> bool:
        if not super().validate_grant_type(client_id, grant_type, client, request, *args, **kw):
            return False
        if grant_type == "password" and client.registration_source != client.RegistrationSource.MANUAL:
            return False  # no client gives itself the right to ask for passwords
        if grant_type == DEVICE_CODE_GRANT:
            _take_up_device(request)
        return True

    def validate_device_code(self, client_id: str, code: str, request: Any, *args: Any, **kw: Any) -> str:
        """Answer oauthlib 4, which asks after the grant type: what is not approved was refused there."""
        status: str = get_device_grant_model().AUTHORIZED
        return status

    def save_bearer_token(self, token: dict[str, Any], request: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().save_bearer_token(token, request, *args, **kwargs)
        except CodeSpent:
            forget_id_token(request)
            revoke_tokens_of_code(request_context.code_digest_of(request), client_id=request.client.client_id)
            raise
        except (InvalidGrantError, DatabaseError, ObjectDoesNotExist):  # the view says what these come to
            forget_id_token(request)
            raise

    def _save_bearer_token(self, token: dict[str, Any], request: Any, *args: Any, **kwargs: Any) -> Any:
        """Bound tokens before they are stored and sent: it is one dictionary.

        The toolkit names this method as the one to override, within its transaction: tokens without their context would
        pass for some from before the installation.
        """
        sign_in, now = request_context.take(request), timezone.now()
        grant, device = request_context.exchanged(request), request_context.device(request)
        if grant is not None and not brings_refresh_token(request.scopes):
            token.pop("refresh_token", None)
        end = None
        if sign_in is not None and sign_in.is_registration_only:
            if grant is None:  # the last gate of whatever needs no code
                raise CustomOAuth2Error(error="login_required", request=request)
            if not lasts(sign_in, now=now):
                raise InvalidGrantError(request=request)
            token.pop("refresh_token", None)
            end = cut_short(token, sign_in, now=now)
        hold_origin(sign_in, request)
        if device is not None:
            add_id_token(token, self, request)
        with request_context.signed_just_now(token.get("id_token"), request):
            result = super()._save_bearer_token(token, request, *args, **kwargs)
        if grant is not None:
            spend(grant, request)
        if device is not None:
            spend_device(device, request)
        if end is not None:
            end_access_token(token["access_token"], end=end)
        _remember_origin(token, request, now=now)
        return result

    def _load_id_token(self, token: str) -> Any:
        """Spare the toolkit reading, and verifying, the ID token that it has just signed and stored."""
        return request_context.id_token_signed_just_now(token) or super()._load_id_token(token)

    def invalidate_authorization_code(self, client_id: str, code: str, request: Any, *args: Any, **kw: Any) -> None:
        """The grant was deleted where its tokens were stored."""
        if request_context.exchanged(request) is None:
            super().invalidate_authorization_code(client_id, code, request, *args, **kw)


def _remember_origin(token: dict[str, Any], request: Any, *, now: datetime) -> None:
    sign_in, stamp = request_context.take(request), request_context.password_presented(request)
    issued = [token[key] for key in ("access_token", "refresh_token") if token.get(key)]
    if sign_in is not None:
        code_digest = request_context.code_digest_of(request)
        remember_tokens(issued, sign_in, client_id=request.client.client_id, now=now, code_digest=code_digest)
    elif stamp is not None:
        remember_password(issued, stamp, now=now)


def _is_the_one_named(request: Any) -> bool:
    # Some databases find a client by its id in another case.
    return not request.client_id or bool(request.client_id == request.client.client_id)


def _is_good(sign_in: SignIn | None, request: Any) -> bool:
    if sign_in is None:  # from before the installation, or by a grant without a session
        return bool(getattr(request.user, "is_active", True))
    now = timezone.now()
    return bool(sign_in.user_id == request.user.pk) and is_live(sign_in, now=now) and lasts(sign_in, now=now)


def _is_strong_enough(sign_in: SignIn | None, client: Any) -> bool:
    """Tell whether the client's minimum, which may have been raised since, allows what needs no new authorization."""
    return relying_party(client.client_id).takes(sign_in)


def _take_up_device(request: Any) -> None:
    """Carry the sign-in that approved the device, if this is its own client's code (RFC 8628 §3.4, §3.5).

    The toolkit answers by the status of the code in its view, before it knows the client. Here the client has
    authenticated itself: another one learns nothing and moves nothing.
    """
    client, device = request.client, find_device(request.device_code)
    request_context.put(request, None)
    if device is None or device.client_id != client.client_id:
        raise InvalidGrantError(request=request)
    code_digest = digest_of(device.device_code)
    if device.status == SPENT:
        revoke_tokens_of_code(code_digest, client_id=client.client_id)
        raise InvalidGrantError(request=request)
    refuse_unless_approved(device, now=timezone.now())
    request.user, request.scopes = device.user, device.scope.split()
    sign_in = sign_in_of_code(device.device_code)
    request_context.put(request, sign_in, code_digest=code_digest)
    request_context.put_device(request, device)
    if device.user is None or not (_is_good(sign_in, request) and _is_strong_enough(sign_in, client)):
        raise InvalidGrantError(request=request)


def _grant_of(code: str, request: Any) -> Any | None:
    """Return the grant of this very code; one query a request.

    Databases that compare text without regard to case, or to spaces at its end, find it by others too, behind which no
    sign-in would be found.
    """
    grant = request_context.take_grant(request, code)
    if grant is None:
        request_context.put_grant(request, get_grant_model().objects.filter(code=code).first())
        grant = request_context.take_grant(request, code)
    return grant
