"""The token endpoint and those beside it: revocation (RFC 7009) and userinfo (OpenID Connect Core §5.3)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ObjectDoesNotExist
from django.db import IntegrityError, OperationalError
from oauth2_provider.models import get_access_token_model, get_device_grant_model
from oauth2_provider.views import RevokeTokenView as ToolkitRevokeTokenView
from oauth2_provider.views import TokenView as ToolkitTokenView
from oauth2_provider.views import UserInfoView as ToolkitUserInfoView
from oauthlib.oauth2.rfc6749.errors import InvalidGrantError, InvalidRequestError

from ...conflicts import is_conflict
from ..token_validator import DEVICE_CODE_GRANT
from .endpoint import OAuthEndpointMixin

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


logger = logging.getLogger(__name__)


class TokenView(OAuthEndpointMixin, ToolkitTokenView):
    def refuse_malformed(self, request: HttpRequest) -> None:
        super().refuse_malformed(request)
        if request.POST.get("grant_type") == DEVICE_CODE_GRANT and "device_code" not in request.POST:
            raise InvalidRequestError("Missing device code parameter.")

    def create_token_response(self, request: HttpRequest) -> tuple[Any, dict[str, str], Any, int]:
        """Name the type of errors that the toolkit passes on without one.

        Raises InvalidGrantError where what is behind the tokens went while they were made, or another transaction was
        in the way: nothing was stored then.
        """
        try:
            url, headers, body, status = super().create_token_response(request)
        except (OperationalError, IntegrityError, ObjectDoesNotExist) as error:
            if isinstance(error, OperationalError) and not is_conflict(error):
                raise
            logger.warning("No token was issued: %s", type(error).__name__)  # its text may hold what was sent
            raise InvalidGrantError from error
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
    authenticates_clients = False
    reads_a_form = False
