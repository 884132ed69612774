"""`OAUTH2_PROVIDER["OAUTH2_VALIDATOR_CLASS"]`: the gates at code, token and every use, and honest claims."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, OperationalError
from django.utils import timezone
from oauth2_provider.settings import oauth2_settings
from oauthlib.oauth2.rfc6749.errors import CustomOAuth2Error, InvalidScopeError

from ..authentication_context import context_of
from ..conflicts import is_conflict
from ..databases import atomic
from ..hooks import get_hooks
from ..sign_in import hold_sign_in
from . import request_context
from .authorization_checks import has_consented
from .contexts import is_live, remember_code, sign_in_of_token
from .models import may_host_registration
from .scopes import OF_A_USER, REGISTRATION_SCOPE, REGISTRATION_SCOPES, unearned
from .token_origin import is_token_live
from .token_validator import TokenEndpointValidator
from .tokens import end_of

if TYPE_CHECKING:
    from datetime import datetime

    from ..models import SignIn


class TapOAuth2Validator(TokenEndpointValidator):
    # At the authorization endpoint.

    def validate_client_id(self, client_id: str, request: Any, *args: Any, **kwargs: Any) -> bool:
        """The toolkit validates an authorization request again for its answer: its client was read for the checks."""
        moment = request_context.current_moment.get()
        if moment is not None and moment.client is not None and not request.client:
            request.client = moment.client  # the toolkit asks whether it is this client's, and still usable
        return bool(super().validate_client_id(client_id, request, *args, **kwargs))

    def validate_silent_login(self, request: Any) -> bool:
        """Tell whether `prompt=none` finds somebody signed in (OpenID Connect Core §3.1.2.1)."""
        moment = request_context.current_moment.get()
        return moment is not None and bool(moment.request.user.is_authenticated)

    def validate_response_type(self, client_id: str, response_type: str, client: Any, request: Any, **kw: Any) -> bool:
        """Refuse a registration-only session whatever needs no code, before anything of it is issued."""
        sign_in = request_context.take(request)
        if sign_in is not None and sign_in.is_registration_only and response_type != "code":
            return False
        return bool(super().validate_response_type(client_id, response_type, client, request, **kw))

    def validate_silent_authorization(self, request: Any) -> bool:
        """Tell whether `prompt=none` needs no consent page: the client skips it, or was granted these scopes before."""
        moment = request_context.current_moment.get()
        if moment is None:
            return False
        scopes = set(request.scopes)
        if moment.sign_in is not None and moment.sign_in.is_registration_only:
            scopes &= REGISTRATION_SCOPES
        return has_consented(request.client, moment.request.user, scopes, now=timezone.now())

    def save_authorization_code(
        self, client_id: str, code: dict[str, Any], request: Any, *args: Any, **kw: Any
    ) -> None:
        """The last gate before any code exists."""
        sign_in, moment = request_context.take(request), request_context.current_moment.get()
        now = timezone.now()
        if sign_in is None or moment is None or not moment.is_granted:
            raise CustomOAuth2Error(error="login_required", request=request)
        _refuse_unless_answerable(sign_in, request, now=now)
        try:
            with atomic():  # a code without its context would pass for one from before the installation
                if not hold_sign_in(sign_in):
                    raise CustomOAuth2Error(error="login_required", request=request)
                super().save_authorization_code(client_id, code, request, *args, **kw)
                remember_code(code["code"], sign_in, client_id=client_id, now=now, returned=moment.returned)
        except (IntegrityError, OperationalError) as error:
            if isinstance(error, OperationalError) and not is_conflict(error):
                raise
            # The return was used up by another tab just now; or the user is gone, or a transaction was in the way.
            raise CustomOAuth2Error(error="login_required", request=request) from None

    # What ID tokens tell.

    def get_id_token_dictionary(self, token: Any, token_handler: Any, request: Any) -> tuple[dict[str, Any], datetime]:
        """Tell the context of the sign-in behind this request, and nothing where none is known.

        The toolkit's own `auth_time` is `user.last_login`, which any device of the user moves.
        """
        claims, expires_at = super().get_id_token_dictionary(token, token_handler, request)
        claims.pop("auth_time", None)
        sign_in = request_context.take(request)
        if sign_in is None:
            return claims, expires_at
        claims.update(context_of(sign_in).claims)
        end = end_of(sign_in)
        if end is not None and end < expires_at:
            expires_at = end
            claims["exp"] = int(end.timestamp())
        return claims, expires_at

    # At every use.

    def validate_bearer_token(self, token: str, scopes: Any, request: Any) -> bool:
        request_context.put(request, None)
        request.oauth2_error = None  # or it would be what the client sends by that name
        if _is_sent_beside_the_header(request) or not super().validate_bearer_token(token, scopes, request):
            return False
        if oauth2_settings.DCR_REGISTRATION_SCOPE in request.access_token.scope.split():
            return _refuse_with(request, "invalid_token", "It manages the registration of a client only.")
        if not _is_entitled(request, scopes):
            return _refuse_with(request, "insufficient_scope", "The client has no right to that scope, or no user.")
        sign_in = None if request.user is None else sign_in_of_token(token, user=request.user)
        request_context.put(request, sign_in)
        if not is_token_live(token, sign_in, request.user, now=timezone.now()):
            return _refuse(request)
        return _reaches(sign_in, scopes) or request_context.is_judged_later(request) or _refuse_pass(request)

    def validate_id_token(self, token: str, scopes: Any, request: Any) -> bool:
        """Refuse an ID token as a bearer token, which the toolkit takes it for.

        It is a statement to its client (OpenID Connect Core §2), and nothing ends it: it is neither revoked nor spent
        with the code, and says nothing of the password behind it.
        """
        request.oauth2_error = None
        return False

    # What is told of the user.

    def get_additional_claims(self, request: Any) -> dict[str, Any]:
        user = request.user
        hooks = get_hooks()
        told = {
            "name": user.get_full_name() if hasattr(user, "get_full_name") else "",
            "given_name": getattr(user, "first_name", ""),
            "family_name": getattr(user, "last_name", ""),
            "preferred_username": hooks.get_upn(user),
            "email": getattr(user, user.get_email_field_name(), ""),
        }
        # OpenID Connect Core §5.3.2: omit what is empty.
        told = {name: value for name, value in told.items() if str(value or "").strip()}
        return {**told, "email_verified": bool(hooks.email_is_verified(user))} if "email" in told else told

    def get_discovery_claims(self, request: Any) -> list[str]:
        of_user = ["name", "given_name", "family_name", "preferred_username", "email", "email_verified"]
        return [*super().get_discovery_claims(request), *of_user, "acr", "amr", "auth_time", "sid"]


def _reaches(sign_in: SignIn | None, scopes: Any) -> bool:
    """Tell whether tokens of this sign-in open what demands these scopes: what a pass opens is registration only.

    Userinfo demands `openid` and nothing else. What demands no scope is not for registration. The toolkit's
    authentication backend, by which a token opens a session, is of that kind.
    """
    if sign_in is None or not sign_in.is_registration_only:
        return True
    demanded = list(scopes or ())
    return REGISTRATION_SCOPE in demanded or demanded == ["openid"]


def _is_sent_beside_the_header(request: Any) -> bool:
    """Tell whether a token came in the query or a form, and none in the header (RFC 6750 §2.1; RFC 9700 §4.3.2).

    That is an unsupported method of authentication, and counts as none (RFC 6750 §3.1).
    """
    scheme, _, _token = str(request.headers.get("Authorization") or "").partition(" ")
    return scheme.lower() != "bearer" and getattr(request, "access_token", None) is not None  # what the client sends


def _is_entitled(request: Any, scopes: Any) -> bool:
    """Tell whether a token may serve for these scopes: its client has a right to them, a user stands behind them."""
    demanded = set(scopes or ())
    if request.user is None and demanded & OF_A_USER:
        return False
    return not unearned(demanded, request.client)


def _refuse(request: Any) -> bool:
    return _refuse_with(request, "invalid_token", "The sign-in behind it has ended.")


def _refuse_pass(request: Any) -> bool:
    return _refuse_with(request, "insufficient_scope", "It opens the registration of sign-in methods only.")


def _refuse_with(request: Any, error: str, description: Any) -> bool:
    request.user = request.client = request.access_token = None
    request.oauth2_error = {"error": error, "error_description": description}
    return False


def _refuse_unless_answerable(sign_in: SignIn, request: Any, *, now: datetime) -> None:
    answerable = is_live(sign_in, now=now) and sign_in.user_id == request.user.pk
    if sign_in.is_registration_only:
        answerable = answerable and request.response_type == "code" and may_host_registration(request.client.client_id)
        if answerable and not set(request.scopes) <= REGISTRATION_SCOPES:
            raise InvalidScopeError(request=request)
    if not answerable:
        raise CustomOAuth2Error(
            error="login_required", description="The session does not allow an answer to this client.", request=request
        )
