"""RP-initiated logout (OpenID Connect RP-Initiated Logout 1.0)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import ObjectDoesNotExist
from django.utils import timezone
from oauth2_provider.exceptions import (
    InvalidIDTokenError,
    InvalidOIDCClientError,
    InvalidOIDCRedirectURIError,
    InvalidRequestFatalError,
)
from oauth2_provider.views import RPInitiatedLogoutView as ToolkitRPInitiatedLogoutView
from oauthlib.oauth2.rfc6749.errors import OAuth2Error

from ... import registration_session
from ..id_tokens import unverified_claims
from .endpoint import refuse_malformed_parameters

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


class RPInitiatedLogoutView(ToolkitRPInitiatedLogoutView):
    """Asks before it ends a registration-only session, whose holder is anonymous to the toolkit.

    Whatever is sent, an error is the toolkit's page with a reason.
    """

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._refusal(request) or super().get(request, *args, **kwargs)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._refusal(request) or super().post(request, *args, **kwargs)

    def _refusal(self, request: HttpRequest) -> HttpResponse | None:
        try:
            refuse_malformed_parameters(request)
        except OAuth2Error as error:
            response: HttpResponse = self.error_response(InvalidRequestFatalError(error.description))
            return response
        return None

    def validate_logout_request_user(self, id_token_hint: str | None, client_id: str | None) -> Any:
        if id_token_hint and unverified_claims(id_token_hint) is None:
            raise InvalidIDTokenError
        return super().validate_logout_request_user(id_token_hint, client_id)

    def get_request_application(self, id_token: Any, client_id: str | None) -> Any:
        try:
            return super().get_request_application(id_token, client_id)
        except ObjectDoesNotExist as error:
            raise InvalidOIDCClientError from error

    def validate_post_logout_redirect_uri(self, application: Any, post_logout_redirect_uri: str | None) -> None:
        try:
            super().validate_post_logout_redirect_uri(application, post_logout_redirect_uri)
        except ValueError as error:  # no address at all
            raise InvalidOIDCRedirectURIError from error

    def must_prompt(self, token_user: Any) -> bool:
        held = registration_session.current(self.request, now=timezone.now())
        return held is not None or bool(super().must_prompt(token_user))
