"""The device grant (RFC 8628): what a device gets belongs to the sign-in that approved it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.db import transaction
from django.http import HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from oauth2_provider.views import DeviceAuthorizationView as ToolkitDeviceAuthorizationView
from oauth2_provider.views import DeviceConfirmView as ToolkitDeviceConfirmView

from ...sign_in import hold_sign_in, sign_in_of_session
from ..contexts import remember_code
from ..models import relying_party
from .endpoint import OAuthEndpointMixin

if TYPE_CHECKING:
    from django.forms import Form
    from django.http import HttpRequest, HttpResponse


class DeviceAuthorizationView(OAuthEndpointMixin, ToolkitDeviceAuthorizationView):
    def create_device_authorization_response(self, request: HttpRequest) -> tuple[Any, Any, int]:
        headers, response, status = super().create_device_authorization_response(request)
        if isinstance(response, dict):
            response.pop("scope", None)  # oauthlib 4 echoes it, and the toolkit does not know what to do with it
        return headers, response, status


class DeviceConfirmView(ToolkitDeviceConfirmView):
    def form_valid(self, form: Form) -> HttpResponse:
        sign_in, device = sign_in_of_session(self.request), self.get_object()
        party = relying_party(device.client_id)
        if sign_in is not None and form.cleaned_data.get("action") != "deny" and not party.takes(sign_in):
            # There is no request to refuse and nobody to tell: the user adds what is missing, and approves then.
            query = urlencode({"level": party.minimum_level, "next": self.request.get_full_path()})
            return HttpResponseRedirect(f"{reverse('tap_provider:step_up')}?{query}")
        with transaction.atomic():  # a device that is approved without a context would outlive the sign-in
            if sign_in is not None and not hold_sign_in(sign_in):
                return HttpResponseRedirect(self.request.get_full_path())  # which asks to sign in
            response: HttpResponse = super().form_valid(form)
            if sign_in is not None and device.status == device.AUTHORIZED:
                remember_code(device.device_code, sign_in, client_id=device.client_id, now=timezone.now())
        return response
