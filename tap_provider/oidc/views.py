"""Views over django-oauth-toolkit's: where a session meets an authorization request, and introspection."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from django.http import JsonResponse
from django.utils import timezone
from django.utils.decorators import method_decorator
from oauth2_provider.exceptions import OAuthToolkitError
from oauth2_provider.models import get_access_token_model
from oauth2_provider.settings import oauth2_settings
from oauth2_provider.views import AuthorizationView as ToolkitAuthorizationView
from oauth2_provider.views import IntrospectTokenView as ToolkitIntrospectTokenView
from oauthlib.oauth2.rfc6749.errors import CustomOAuth2Error, InvalidScopeError

from ..authentication_context import context_of
from ..registration_session import allow
from ..sign_in import sign_in_of_session
from .contexts import digest_of, is_live, sign_in_of_token
from .models import may_host_registration
from .request_context import ATTRIBUTE, AuthorizationMoment, current_moment
from .validator import REGISTRATION_SCOPES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django.http import HttpRequest, HttpResponse

    from ..models import SignIn


def _may_answer(parameters: Mapping[str, Any]) -> bool:
    """Tell whether a registration-only session reaches this authorization request at all.

    For every other client, and every response type but `code`, the holder of a pass is simply not signed in. Asked of
    the query before anybody is let in, and of what was posted before anything is answered.
    """
    return parameters.get("response_type") == "code" and may_host_registration(parameters.get("client_id", ""))


def _allow_some_clients(view: Callable[..., Any]) -> Callable[..., Any]:
    return allow(view, when=_may_answer)


@method_decorator(_allow_some_clients, name="dispatch")
class AuthorizationView(ToolkitAuthorizationView):
    """Carries the session's sign-in into the code, and cuts scopes where it is registration-only."""

    sign_in: SignIn | None = None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        self.sign_in = sign_in_of_session(request) if request.user.is_authenticated else None
        moment = current_moment.set(AuthorizationMoment(request=request, sign_in=self.sign_in))
        try:
            response: HttpResponse = super().dispatch(request, *args, **kwargs)
            return response
        finally:
            current_moment.reset(moment)

    def validate_authorization_request(self, request: HttpRequest) -> tuple[list[str], dict[str, Any]]:
        scopes, credentials = super().validate_authorization_request(request)
        return self._cut(scopes, credentials), credentials

    def create_authorization_response(
        self, request: HttpRequest, scopes: str, credentials: dict[str, Any], allow: bool
    ) -> Any:
        kept = self._cut(scopes.split(), credentials)
        carried = {**credentials, ATTRIBUTE: self.sign_in}
        if self._is_registration_only and not _may_answer(credentials):
            error = CustomOAuth2Error(error="login_required", state=credentials.get("state"))
            raise OAuthToolkitError(error=error, redirect_uri=credentials["redirect_uri"])
        return super().create_authorization_response(request, " ".join(kept), carried, allow)

    def redirect(self, redirect_to: str, application: Any) -> HttpResponse:
        """Name the issuer in errors too (RFC 9207 §2): the toolkit does so in successes only."""
        parts = urlsplit(redirect_to)
        if oauth2_settings.COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS and "error" in parse_qs(parts.query):
            issuer = oauth2_settings.oauth2_authorization_server_issuer(self.request)
            redirect_to = urlunsplit(parts._replace(query=f"{parts.query}&{urlencode({'iss': issuer})}"))
        response: HttpResponse = super().redirect(redirect_to, application)
        return response

    @property
    def _is_registration_only(self) -> bool:
        return self.sign_in is not None and self.sign_in.is_registration_only

    def _cut(self, scopes: list[str], credentials: dict[str, Any]) -> list[str]:
        if not self._is_registration_only:
            return scopes
        kept = [scope for scope in scopes if scope in REGISTRATION_SCOPES]
        if not kept:
            error = InvalidScopeError(state=credentials.get("state"))
            raise OAuthToolkitError(error=error, redirect_uri=credentials["redirect_uri"])
        return kept


class IntrospectTokenView(ToolkitIntrospectTokenView):
    """Inactive with its sign-in, and telling the context of an active token (RFC 9470 §6.2)."""

    @staticmethod
    def get_token_response(token_value: str | None = None) -> HttpResponse:
        response: HttpResponse = ToolkitIntrospectTokenView.get_token_response(token_value)
        answer = json.loads(response.content)
        if token_value is None or not answer.get("active"):
            return response
        sign_in = sign_in_of_token(token_value)
        if sign_in is None:
            user = _user_of(token_value) if "username" in answer else None
            return response if user is None or user.is_active else JsonResponse({"active": False})
        if not is_live(sign_in, now=timezone.now()):
            return JsonResponse({"active": False})
        context = context_of(sign_in)
        answer.update(sub=str(sign_in.user_id), acr=context.acr, amr=list(context.amr), sid=context.sid)
        if context.auth_time is not None:
            answer["auth_time"] = int(context.auth_time.timestamp())
        return JsonResponse(answer)


def _user_of(token_value: str) -> Any:
    token = (
        get_access_token_model().objects.select_related("user").filter(token_checksum=digest_of(token_value)).first()
    )
    return None if token is None else token.user
