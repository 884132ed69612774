"""The token endpoint and those beside it: revocation (RFC 7009), userinfo, device authorization (RFC 8628)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oauth2_provider.models import get_access_token_model
from oauth2_provider.views import DeviceAuthorizationView as ToolkitDeviceAuthorizationView
from oauth2_provider.views import RevokeTokenView as ToolkitRevokeTokenView
from oauth2_provider.views import TokenView as ToolkitTokenView
from oauth2_provider.views import UserInfoView as ToolkitUserInfoView
from oauthlib.oauth2.rfc6749.errors import InvalidGrantError, InvalidRequestError

from .endpoint import OAuthEndpointMixin

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

DEVICE_CODE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


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


class RevokeTokenView(OAuthEndpointMixin, ToolkitRevokeTokenView):
    pass


class UserInfoView(OAuthEndpointMixin, ToolkitUserInfoView):
    authenticates_clients = False
    reads_a_form = False


class DeviceAuthorizationView(OAuthEndpointMixin, ToolkitDeviceAuthorizationView):
    def create_device_authorization_response(self, request: HttpRequest) -> tuple[Any, Any, int]:
        headers, response, status = super().create_device_authorization_response(request)
        if isinstance(response, dict):
            response.pop("scope", None)  # oauthlib 4 echoes it, and the toolkit does not know what to do with it
        return headers, response, status
