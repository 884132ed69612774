"""The device grant's pages (RFC 8628): what a device gets belongs to the sign-in that approved it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from oauth2_provider.models import get_application_model, get_device_grant_model
from oauth2_provider.views import DeviceAuthorizationView as ToolkitDeviceAuthorizationView
from oauth2_provider.views import DeviceConfirmView as ToolkitDeviceConfirmView
from oauth2_provider.views import DeviceGrantStatusView as ToolkitDeviceGrantStatusView
from oauth2_provider.views import DeviceUserCodeView as ToolkitDeviceUserCodeView
from oauthlib.common import Request
from oauthlib.oauth2.rfc6749.errors import InvalidScopeError, UnauthorizedClientError, UnsupportedGrantTypeError
from oauthlib.oauth2.rfc6749.utils import scope_to_list

from ...exceptions import TooManyAttempts
from ...sign_in import Client, sign_in_of_user
from ...throttle import Attempt, account_of, count_attempt, take_back
from ..client_display import as_shown
from ..device_codes import INTERVAL, SPENT, approve, own_verification_uri, set_pace, verification_uri
from ..models import relying_party
from .endpoint import OAuthEndpointMixin

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.forms import Form
    from django.http import HttpRequest, HttpResponse


class DeviceAuthorizationView(OAuthEndpointMixin, ToolkitDeviceAuthorizationView):
    """Where a device asks for its codes (RFC 8628 §3.1, §3.2)."""

    def create_device_authorization_response(self, request: HttpRequest) -> tuple[Any, Any, int]:
        """Complete the toolkit's answer for a client that may use the grant, and have the scopes."""
        address = verification_uri(request)
        if address is None:
            raise UnsupportedGrantTypeError("This site has no page for user codes.")
        headers, response, status = super().create_device_authorization_response(request)
        if not isinstance(response, dict):
            return headers, response, status
        self._refuse_unless_allowed(request)
        response.pop("scope", None)  # oauthlib 4 echoes it, and the toolkit does not know what to do with it
        response["verification_uri"] = address
        if address == own_verification_uri(request):
            response.setdefault(
                "verification_uri_complete", f"{address}?{urlencode({'user_code': response['user_code']})}"
            )
        return headers, response, status

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().post(request, *args, **kwargs)
        if response.status_code == 200:
            told = json.loads(response.content)
            set_pace(told["device_code"], interval=told.get("interval", INTERVAL), now=timezone.now())
        return response

    def _refuse_unless_allowed(self, request: HttpRequest) -> None:
        core, address = self.get_oauthlib_core(), request.build_absolute_uri()
        asked = Request(address, "POST", urlencode(core.extract_body(request)), core.extract_headers(request))
        client = get_application_model().objects.get(client_id=asked.client_id)
        if not client.allows_grant_type(client.GRANT_DEVICE_CODE):
            raise UnauthorizedClientError
        longest = get_device_grant_model()._meta.get_field("client_id").max_length
        if longest is not None and len(client.client_id) > longest:  # the toolkit's applications may have longer ones
            raise UnauthorizedClientError(f"A client id of the device grant has at most {longest} characters.")
        validator = core.server.request_validator
        asked.client = client
        scopes = scope_to_list(asked.scope) or validator.get_default_scopes(client.client_id, asked)
        if not validator.validate_scopes(client.client_id, scopes, client, asked):
            raise InvalidScopeError


class UserCodeForm(ToolkitDeviceUserCodeView.form_class):
    """The toolkit's form, which counts each guess at a user code (RFC 8628 §5.1)."""

    def __init__(self, *args: Any, count: Callable[[], Attempt], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.count = count
        self.refusal: TooManyAttempts | None = None

    def clean_user_code(self) -> str:
        try:
            attempt = self.count()
        except TooManyAttempts as refusal:
            self.refusal = refusal
            raise ValidationError(refusal.message, code=refusal.code) from None
        user_code: str = super().clean_user_code()
        take_back(attempt)
        return user_code


class DeviceUserCodeView(ToolkitDeviceUserCodeView):
    """Where the user types the code that the device shows (RFC 8628 §3.3)."""

    form_class = UserCodeForm

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "count": self.count_guess}

    def count_guess(self) -> Attempt:
        """Count a guess at this account and from this address. Raises TooManyAttempts."""
        account, address = account_of(self.request.user), Client.of(self.request).address
        return count_attempt(purpose="user code", upn=account, address=address, now=timezone.now())

    def form_invalid(self, form: UserCodeForm) -> HttpResponse:
        response: HttpResponse = super().form_invalid(form)
        if form.refusal is not None:
            response.status_code = 429
            response.headers["Retry-After"] = str(-(-form.refusal.retry_after // timedelta(seconds=1)))
        return response


class DeviceConfirmView(ToolkitDeviceConfirmView):
    """Where the user approves or denies the device."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        return {**context, "application": as_shown(context["application"])}

    def form_valid(self, form: Form) -> HttpResponse:
        if form.cleaned_data["action"] != "accept":
            response: HttpResponse = super().form_valid(form)
            return response
        sign_in, device = sign_in_of_user(self.request), self.get_object()
        if sign_in is None:
            raise PermissionDenied  # nothing would end what the device gets
        party = relying_party(device.client_id)
        if not party.takes(sign_in):
            # There is no request to refuse and no client to answer: the user adds what is missing, and approves then.
            query = urlencode({"level": party.minimum_level, "next": self.request.get_full_path()})
            return HttpResponseRedirect(f"{reverse('tap_provider:step_up')}?{query}")
        if not approve(device, sign_in, now=timezone.now()):
            raise Http404
        return HttpResponseRedirect(self.get_success_url())


class DeviceGrantStatusView(ToolkitDeviceGrantStatusView):
    """Where the user reads what became of it: a device that has its tokens is an approved one."""

    def get_object(self) -> Any:
        device = super().get_object()
        if device.status == SPENT:
            device.status = device.AUTHORIZED
        return device
