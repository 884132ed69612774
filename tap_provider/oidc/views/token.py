"""The token endpoint and those beside it: revocation (RFC 7009) and userinfo (OpenID Connect Core §5.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.http import HttpResponse
from oauth2_provider.models import get_access_token_model, get_device_grant_model
from oauth2_provider.views import RevokeTokenView as ToolkitRevokeTokenView
from oauth2_provider.views import TokenView as ToolkitTokenView
from oauth2_provider.views import UserInfoView as ToolkitUserInfoView
from oauthlib.oauth2.rfc6749.errors import InvalidGrantError, InvalidRequestError

from ..resource_server import AccessRefused, bearer_token
from ..token_validator import DEVICE_CODE_GRANT
from .endpoint import OAuthEndpointMixin

if TYPE_CHECKING:
    from django.http import HttpRequest


class TokenView(OAuthEndpointMixin, ToolkitTokenView):
    def refuse_malformed(self, request: HttpRequest) -> None:
        super().refuse_malformed(request)
        if request.POST.get("grant_type") == DEVICE_CODE_GRANT and "device_code" not in request.POST:
            raise InvalidRequestError("Missing device code parameter.")

    def create_token_response(self, request: HttpRequest) -> tuple[Any, dict[str, str], Any, int]:
        """Name the type of errors that the toolkit passes on without one."""
        url, headers, body, status = super().create_token_response(request)
        return url, {"Content-Type": "application/json", **headers}, body, status

    def authorization_flow_token_response(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            response: HttpResponse = super().authorization_flow_token_response(request, *args, **kwargs)
        except get_access_token_model().DoesNotExist as error:
            raise InvalidGrantError from error  # revoked since: its code was used again at the same moment
        return response

    def device_flow_token_response(
        self, request: HttpRequest, device_code: str, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        device = get_device_grant_model().objects.filter(device_code=device_code).first()
        if device is not None:
            device.is_expired()  # notes it where it is so; the toolkit asks for the note alone (RFC 8628 §3.5)
        response: HttpResponse = super().device_flow_token_response(request, device_code, *args, **kwargs)
        return response


class RevokeTokenView(OAuthEndpointMixin, ToolkitRevokeTokenView):
    pass


class UserInfoView(OAuthEndpointMixin, ToolkitUserInfoView):
    """Takes the access token from the Authorization header, as the metadata says, and from nowhere else."""

    authenticates_clients = False
    reads_a_form = False

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._refusal(request) or super().get(request, *args, **kwargs)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._refusal(request) or super().post(request, *args, **kwargs)

    def _refusal(self, request: HttpRequest) -> HttpResponse | None:
        """Answer a request without a token in its header, and one with a second token beside it.

        A token in the query or the body alone is an unsupported method of authentication: no error code (RFC 6750
        §3.1). Beside one in the header it is more than one method: invalid_request (RFC 6750 §2, §3.1).
        """
        if bearer_token(request) is None:
            challenge = AccessRefused(None, "An access token is required.").challenge
            return HttpResponse(status=401, headers={"WWW-Authenticate": challenge})
        if "access_token" in request.GET or "access_token" in request.POST:
            raise InvalidRequestError("The access token is sent by more than one method.")
        return None
