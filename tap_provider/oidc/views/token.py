"""The token endpoint and those beside it: revocation (RFC 7009) and userinfo (OpenID Connect Core §5.3)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ObjectDoesNotExist
from django.db import IntegrityError, OperationalError
from django.http import HttpResponse
from oauth2_provider.models import get_access_token_model, get_device_grant_model
from oauth2_provider.views import RevokeTokenView as ToolkitRevokeTokenView
from oauth2_provider.views import TokenView as ToolkitTokenView
from oauth2_provider.views import UserInfoView as ToolkitUserInfoView
from oauthlib.oauth2.rfc6749.errors import InvalidClientError, InvalidGrantError, InvalidRequestError

from ...conflicts import is_conflict
from ..device_codes import DEVICE_CODE_GRANT
from ..resource_server import AccessRefused, bearer_token
from .endpoint import OAuthEndpointMixin

if TYPE_CHECKING:
    from django.http import HttpRequest


logger = logging.getLogger(__name__)


class TokenView(OAuthEndpointMixin, ToolkitTokenView):
    def refuse_malformed(self, request: HttpRequest) -> None:
        super().refuse_malformed(request)
        sent = dict(self._body(request))
        if sent.get("grant_type") == DEVICE_CODE_GRANT and not sent.get("device_code"):
            raise InvalidRequestError("Missing device code parameter.")

    def create_token_response(self, request: HttpRequest) -> tuple[Any, dict[str, str], Any, int]:
        """Name the type of errors that the toolkit passes on without one.

        Raises InvalidGrantError where what is behind the tokens went while they were made, or another transaction was
        in the way: nothing was stored then.
        """
        try:
            url, headers, body, status = super().create_token_response(request)
        except get_device_grant_model().DoesNotExist as error:
            # The toolkit looks the code up before it knows the client, and expects to find it.
            raise (InvalidGrantError if self.authenticate_client(request) else InvalidClientError) from error
        except (OperationalError, IntegrityError, ObjectDoesNotExist) as error:
            if isinstance(error, OperationalError) and not is_conflict(error):
                raise
            logger.warning("An exchange was refused: %s", type(error).__name__)  # its text may hold what was sent
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
        """Leave the answer to the validator, which knows the client; the toolkit gives it to anyone with the code."""
        return self.authorization_flow_token_response(request, *args, **kwargs)


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
