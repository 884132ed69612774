"""RP-initiated logout (OpenID Connect RP-Initiated Logout 1.0): it ends one sign-in, and asks before.

Its tokens die because their sign-in has ended; the toolkit would delete every token that the user has anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.http import HttpResponseRedirect
from django.middleware.csrf import CsrfViewMiddleware
from django.utils import timezone
from django.utils.decorators import decorator_from_middleware, method_decorator
from django.views.decorators.cache import cache_control
from django.views.decorators.csrf import csrf_exempt
from oauth2_provider.exceptions import (
    ClientIdMissmatch,
    InvalidIDTokenError,
    InvalidOIDCClientError,
    InvalidOIDCRedirectURIError,
    InvalidRequestFatalError,
)
from oauth2_provider.models import get_application_model, get_id_token_model
from oauth2_provider.settings import oauth2_settings
from oauth2_provider.views import RPInitiatedLogoutView as ToolkitRPInitiatedLogoutView
from oauthlib.oauth2.rfc6749.errors import OAuth2Error

from ... import registration_session
from ...models import SignIn
from ...sign_in import end_sign_in, find_sign_in, sign_in_of_session
from ..client_display import as_shown
from ..hints import claims_of_hint
from .endpoint import refuse_malformed_parameters

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


class _AskBeforePosted(CsrfViewMiddleware):
    """A relying party may post its request (§2). From its page no token comes along: it is asked again, by a link.

    Our own page's form has its token and is held to it.
    """

    def _reject(self, request: HttpRequest, reason: str) -> Any:
        if not {"allow", "csrfmiddlewaretoken"} & request.POST.keys():
            query = request.GET.copy()
            query.update(request.POST)
            return HttpResponseRedirect(f"{request.path}?{query.urlencode()}")
        return super()._reject(request, reason)  # type: ignore[misc]


# What the page holds is the hint, by which a session can be signed out: nobody is to keep it.
@method_decorator(
    [csrf_exempt, decorator_from_middleware(_AskBeforePosted), cache_control(no_store=True)], name="dispatch"
)
class RPInitiatedLogoutView(ToolkitRPInitiatedLogoutView):
    """Ends this session's sign-in; for an anonymous visitor, after asking, the one that a hint names."""

    token_deletion_client_types: tuple[str, ...] = ()  # of none: see above

    hinted_sid: str | None = None

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._refusal(request) or super().get(request, *args, **kwargs)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._refusal(request) or super().post(request, *args, **kwargs)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        application = context.get("application")
        return context if application is None else {**context, "application": as_shown(application)}

    def _refusal(self, request: HttpRequest) -> HttpResponse | None:
        try:
            refuse_malformed_parameters(request)
        except OAuth2Error as error:
            response: HttpResponse = self.error_response(InvalidRequestFatalError(error.description))
            return response
        return None

    def validate_logout_request_user(self, id_token_hint: str | None, client_id: str | None) -> Any:
        """Return the ID token behind the hint; the toolkit would take none that a retired key signed."""
        if not id_token_hint:
            return None
        claims = claims_of_hint(id_token_hint, request=self.request)
        id_token = None if claims is None or _is_too_old(claims) else _find_id_token(claims)
        if claims is None or id_token is None:
            raise InvalidIDTokenError
        if client_id and id_token.application.client_id != client_id:
            raise ClientIdMissmatch
        self.hinted_sid = claims.get("sid")
        return id_token

    def get_request_application(self, id_token: Any, client_id: str | None) -> Any:
        """Return the application that asks; one that does not exist is an error, for the toolkit a server error."""
        if not client_id:
            return None if id_token is None else id_token.application
        found = get_application_model().objects.filter(client_id=client_id) if client_id.isprintable() else None
        application = None if found is None else found.first()
        if application is None:
            raise InvalidOIDCClientError
        return application

    def validate_post_logout_redirect_uri(self, application: Any, post_logout_redirect_uri: str | None) -> None:
        try:
            super().validate_post_logout_redirect_uri(application, post_logout_redirect_uri)
        except ValueError as error:  # no address at all
            raise InvalidOIDCRedirectURIError from error

    def must_prompt(self, token_user: Any) -> bool:
        """Ask before a registration-only session ends, and for whoever the hint does not prove to be here (§2)."""
        if self._held() is not None:
            return True
        if not self.request.user.is_authenticated:
            return self._hinted(token_user) is not None
        return bool(super().must_prompt(token_user)) or self._hint_is_of_another_session()

    def do_logout(
        self,
        application: Any = None,
        post_logout_redirect_uri: str | None = None,
        state: str | None = None,
        token_user: Any = None,
    ) -> HttpResponse:
        if self._held() is None and not self.request.user.is_authenticated:
            hinted = self._hinted(token_user)
            if hinted is not None:  # somebody has confirmed it: see `must_prompt`
                end_sign_in(hinted, reason=SignIn.EndedReason.SIGNED_OUT, now=timezone.now())
        response: HttpResponse = super().do_logout(application, post_logout_redirect_uri, state, token_user)
        return response

    def _held(self) -> SignIn | None:
        return registration_session.current(self.request, now=timezone.now())

    def _hinted(self, token_user: Any) -> SignIn | None:
        sign_in = None if token_user is None or self.hinted_sid is None else find_sign_in(self.hinted_sid)
        if sign_in is None or sign_in.user_id != token_user.pk:
            return None
        return sign_in if registration_session.is_live(sign_in, now=timezone.now()) else None

    def _hint_is_of_another_session(self) -> bool:
        current = sign_in_of_session(self.request)
        return self.hinted_sid is not None and current is not None and self.hinted_sid != str(current.pk)


def _is_too_old(claims: dict[str, Any]) -> bool:
    if oauth2_settings.OIDC_RP_INITIATED_LOGOUT_ACCEPT_EXPIRED_TOKENS:
        return False
    expires = claims.get("exp")
    return not isinstance(expires, int | float) or expires < timezone.now().timestamp()


def _find_id_token(claims: dict[str, Any]) -> Any:
    try:
        key = UUID(str(claims.get("jti")))
    except ValueError:
        return None
    found = get_id_token_model().objects.select_related("application", "user").filter(jti=key).first()
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    return found if found is not None and found.application.client_id in audiences else None
