"""The authorization endpoint: where a session meets an authorization request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from django.contrib.auth.decorators import login_not_required
from django.utils.decorators import method_decorator
from oauth2_provider.exceptions import OAuthToolkitError
from oauth2_provider.settings import oauth2_settings
from oauth2_provider.views import AuthorizationView as ToolkitAuthorizationView
from oauthlib.oauth2.rfc6749.errors import InvalidScopeError

from ...registration_session import allow
from ...sign_in import sign_in_of_session
from ..models import may_host_registration
from ..request_context import ATTRIBUTE, AuthorizationMoment, current_moment
from ..validator import REGISTRATION_SCOPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse, QueryDict

    from ...models import SignIn


def _may_answer(query: QueryDict) -> bool:
    """Tell whether a registration-only session reaches this authorization request at all.

    For every other client, and every response type but `code`, the holder of a pass is simply not signed in. What is
    posted may differ from the query: the validator asks again, last.
    """
    return query.get("response_type") == "code" and may_host_registration(query.get("client_id", ""))


def _allow_some_clients(view: Callable[..., Any]) -> Callable[..., Any]:
    return allow(view, when=_may_answer)


@method_decorator([_allow_some_clients, login_not_required], name="dispatch")
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
        kept = self._cut(scopes)
        if self._is_registration_only and not kept:
            error = InvalidScopeError(state=credentials.get("state"))
            raise OAuthToolkitError(error=error, redirect_uri=credentials["redirect_uri"])
        return kept, credentials

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if "none" in request.GET.get("prompt", "").split():
            # Whether consent was given has been asked then; the toolkit must not show its page for want of a hint.
            hinted = request.GET.copy()
            hinted["approval_prompt"] = "auto"
            request.GET = hinted  # type: ignore[assignment]
        response: HttpResponse = super().get(request, *args, **kwargs)
        return response

    def create_authorization_response(
        self, request: HttpRequest, scopes: str, credentials: dict[str, Any], allow: bool
    ) -> Any:
        # Nothing is refused here: `credentials` may be what was posted, and only the toolkit checks its redirect URI.
        carried = {**credentials, ATTRIBUTE: self.sign_in}
        kept = self._cut(scopes.split()) or scopes.split()  # where nothing remains, the validator says so
        return super().create_authorization_response(request, " ".join(kept), carried, allow)

    def redirect(self, redirect_to: str, application: Any) -> HttpResponse:
        """Name the issuer in errors too (RFC 9207 §2): the toolkit does so in successes only."""
        parts = urlsplit(redirect_to)
        if oauth2_settings.COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS and not parts.fragment:
            issuer = oauth2_settings.oauth2_authorization_server_issuer(self.request)
            # One that the redirect URI brought along would make it ambiguous: the toolkit drops it too.
            query = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != "iss"]
            redirect_to = urlunsplit(parts._replace(query=urlencode([*query, ("iss", issuer)])))
        response: HttpResponse = super().redirect(redirect_to, application)
        return response

    @property
    def _is_registration_only(self) -> bool:
        return self.sign_in is not None and self.sign_in.is_registration_only

    def _cut(self, scopes: list[str]) -> list[str]:
        return [scope for scope in scopes if scope in REGISTRATION_SCOPES] if self._is_registration_only else scopes
