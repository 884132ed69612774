"""Dynamic client registration (RFC 7591, RFC 7592): the toolkit's, behind a reading of what was sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import SuspiciousOperation
from django.http import JsonResponse
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_exempt
from oauth2_provider.settings import oauth2_settings
from oauth2_provider.views import DynamicClientRegistrationManagementView as ToolkitManagementView
from oauth2_provider.views import DynamicClientRegistrationView as ToolkitRegistrationView

from .endpoint import is_storable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpRequest, HttpResponse


class ReadableMetadataMixin:
    """Refuses metadata that the toolkit could not read or store with `invalid_client_metadata` (RFC 7591 §3.2.2)."""

    # The toolkit decorates its views' own `dispatch`, which this one stands before.
    @method_decorator([csrf_exempt, login_not_required])
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if oauth2_settings.DCR_ENABLED and not _is_readable(request):
            error = {"error": "invalid_client_metadata", "error_description": "The metadata cannot be read."}
            return JsonResponse(error, status=400)
        response: HttpResponse = super().dispatch(request, *args, **kwargs)  # type: ignore[misc]
        response.headers.setdefault("Cache-Control", "no-store")  # RFC 7591 §3.2.1: it may hold a secret
        response.headers.setdefault("Pragma", "no-cache")
        return response


class DynamicClientRegistrationView(ReadableMetadataMixin, ToolkitRegistrationView):
    pass


class DynamicClientRegistrationManagementView(ReadableMetadataMixin, ToolkitManagementView):
    pass


def _is_readable(request: HttpRequest) -> bool:
    try:
        metadata = json.loads(request.body or "{}")
        is_clean = all(map(is_storable, _texts_in(metadata)))
    except (ValueError, RecursionError, SuspiciousOperation):  # no JSON, nested too deeply, too long
        return False
    return is_clean and isinstance(metadata, dict) and isinstance(metadata.get("client_name", ""), str)


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts_in(item)
    elif isinstance(value, dict):
        yield from _texts_in([*value, *value.values()])
