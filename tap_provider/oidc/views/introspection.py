"""Introspection (RFC 7662), inactive with the sign-in behind the token, and telling its context (RFC 9470 §6.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.http import HttpResponse, JsonResponse
from django.utils import timezone, translation
from oauth2_provider.models import get_access_token_model
from oauth2_provider.settings import oauth2_settings
from oauth2_provider.utils import parse_bearer_token
from oauth2_provider.views import IntrospectTokenView as ToolkitIntrospectTokenView
from oauth2_provider.www_authenticate import build_bearer_challenge, challenge_status
from oauthlib.common import Request as OAuthRequest
from oauthlib.oauth2.rfc6749.errors import InvalidClientError

from ...authentication_context import context_of
from ..contexts import digest_of, sign_in_of_token
from ..scopes import earned, may_introspect_others
from ..subject import subject_of
from ..token_origin import is_token_live
from .endpoint import OAuthEndpointMixin

if TYPE_CHECKING:
    from django.http import HttpRequest

    from ...models import SignIn


class IntrospectTokenView(OAuthEndpointMixin, ToolkitIntrospectTokenView):
    """Two queries: the token's row, read here and not by the toolkit, which tells too little of it; its context.

    A confidential client introspects its own tokens; those of other clients if it is an administrator's
    (`scopes.may_introspect_others`). It may show a token with the scope `introspection` in place of its credentials.
    """

    asking: Any = None  # the client that introspects

    def authenticate_client(self, request: HttpRequest) -> bool:
        """Tell whether a confidential client has shown its secret, in the header or the body (RFC 6749 §2.3.1)."""
        core = self.get_oauthlib_core()
        # Without the query, in which no secret may be. The toolkit keeps the client that it has found to itself.
        asked = OAuthRequest(request.path, request.method, core.extract_body(request), core.extract_headers(request))
        if not core.server.request_validator.authenticate_client(asked):
            return False
        self.asking = asked.client
        return bool(asked.client.client_type == asked.client.CLIENT_CONFIDENTIAL)

    def verify_request(self, request: HttpRequest) -> tuple[bool, Any]:
        is_valid, asked = super().verify_request(request)
        self.asking = asked.client if is_valid else None
        return is_valid, asked

    def get_token_response(self, token_value: str | None = None) -> HttpResponse:
        if token_value is None:
            missing: HttpResponse = super().get_token_response()
            return missing
        tokens = get_access_token_model().objects.select_related("user", "application")
        token = tokens.filter(token_checksum=digest_of(token_value)).first()
        if token is None or not token.is_valid() or not self._may_introspect(token):
            return JsonResponse({"active": False})
        sign_in = None if token.user is None else sign_in_of_token(token_value, user=token.user)
        if not is_token_live(token_value, sign_in, token.user, now=timezone.now()):
            return JsonResponse({"active": False})
        return JsonResponse({"iss": oauth2_settings.oidc_issuer(self.request), **_told_of(token, sign_in)})

    def _may_introspect(self, token: Any) -> bool:
        """What a client may not introspect is inactive to it (RFC 7662 §2.2)."""
        if oauth2_settings.DCR_REGISTRATION_SCOPE in token.scope.split():
            return False  # it manages the registration of a client, and is nobody's elsewhere
        is_own = token.application_id is not None and token.application_id == self.asking.pk
        return is_own or may_introspect_others(self.asking)

    def unauthenticated_response(self, request: HttpRequest, oauthlib_request: Any = None) -> HttpResponse:
        """Answer whoever may not introspect: a client as at the token endpoint, a token by RFC 6750 (RFC 7662 §2.3)."""
        if parse_bearer_token(request.headers.get("Authorization")) is None:
            raise InvalidClientError
        error = getattr(oauthlib_request, "oauth2_error", None)
        with translation.override(None):  # a header has no other letters than ASCII's (RFC 6750 §3)
            challenge = build_bearer_challenge(request, oauth2_error=error, resource_metadata_url=None)
        return HttpResponse(status=challenge_status(error), headers={"WWW-Authenticate": challenge})


def _told_of(token: Any, sign_in: SignIn | None) -> dict[str, Any]:
    """Return what is known of an active token (RFC 7662 §2.2); what is not known is left out."""
    told = {
        "active": True,
        "token_type": "Bearer",
        "scope": earned(token.scope, token.application),
        "exp": int(token.expires.timestamp()),
    }
    if token.application is not None:
        told["client_id"] = token.application.client_id
    if token.user is not None:
        subject = subject_of(token.user, client=token.application, scopes=token.scope.split())
        told |= {"sub": subject, "username": token.user.get_username()}
    if token.resource:  # RFC 8707
        told["aud"] = token.resource
    if sign_in is not None:
        told |= context_of(sign_in).claims
    return told
