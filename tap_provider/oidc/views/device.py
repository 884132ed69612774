"""The device grant (RFC 8628): what a device gets belongs to the sign-in that approved it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils import timezone
from oauth2_provider.views import DeviceAuthorizationView as ToolkitDeviceAuthorizationView
from oauth2_provider.views import DeviceConfirmView as ToolkitDeviceConfirmView

from ...sign_in import sign_in_of_session
from ..contexts import remember_code
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
        with transaction.atomic():  # a device that is approved without a context would outlive the sign-in
            response: HttpResponse = super().form_valid(form)
            if sign_in is not None and device.status == device.AUTHORIZED:
                remember_code(device.device_code, sign_in, client_id=device.client_id, now=timezone.now())
        return response
