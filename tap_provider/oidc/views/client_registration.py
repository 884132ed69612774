"""Dynamic client registration (RFC 7591, RFC 7592): the toolkit's, behind a reading of what was sent.

Off unless the site turns it on. A name that would pass for another client's is refused: users would trust it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import SuspiciousOperation
from django.http import JsonResponse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_exempt
from oauth2_provider.dcr import IsAuthenticatedDCRPermission
from oauth2_provider.models import get_access_token_model, get_application_model
from oauth2_provider.settings import oauth2_settings
from oauth2_provider.views import DynamicClientRegistrationManagementView as ToolkitManagementView
from oauth2_provider.views import DynamicClientRegistrationView as ToolkitRegistrationView

from ...permissions import has_permission
from ..client_display import is_name_of_another
from ..contexts import digest_of
from ..models import RelyingParty
from ..resource_server import bearer_token
from ..scopes import permission_to
from ..token_origin import is_token_live
from .endpoint import is_storable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpRequest, HttpResponse


class ReadableMetadataMixin:
    """Refuses metadata that the toolkit could not read or store with `invalid_client_metadata` (RFC 7591 §3.2.2)."""

    def refuse(self, request: HttpRequest) -> HttpResponse | None:
        """Return a refusal that comes before the toolkit's own checks, or None."""
        return None

    # The toolkit decorates its views' own `dispatch`, which this one stands before.
    @method_decorator([csrf_exempt, login_not_required])
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if oauth2_settings.DCR_ENABLED and not _is_readable(request):
            return _refused_metadata("The metadata cannot be read.")
        refusal = self.refuse(request) if oauth2_settings.DCR_ENABLED else None
        response: HttpResponse = refusal or super().dispatch(request, *args, **kwargs)  # type: ignore[misc]
        response.headers.setdefault("Cache-Control", "no-store")  # RFC 7591 §3.2.1: it may hold a secret
        response.headers.setdefault("Pragma", "no-cache")
        return response


class DynamicClientRegistrationView(ReadableMetadataMixin, ToolkitRegistrationView):
    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        refusal = _refused_person(request)
        if refusal is None and _may_register(request):  # who may not register learns no names
            refusal = _refused_name(request)
        return refusal or super().post(request, *args, **kwargs)


class DynamicClientRegistrationManagementView(ReadableMetadataMixin, ToolkitManagementView):
    def refuse(self, request: HttpRequest) -> HttpResponse | None:
        return _refused_registrant(request)

    def put(self, request: HttpRequest, client_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().get(request, client_id)
        if response.status_code == 200:  # a client without its registration access token learns no names
            refusal = _refused_change(client_id) or _refused_name(request, client_id=client_id)
            response = refusal or super().put(request, client_id, *args, **kwargs)
        return response


def _refused_person(request: HttpRequest) -> HttpResponse | None:
    """Ask a user, whom the toolkit's default lets register clients, for the permission that our pages ask for."""
    return _refused_user(request.user) if request.user.is_authenticated else None  # the toolkit refuses the anonymous


def _refused_user(user: Any) -> HttpResponse | None:
    if IsAuthenticatedDCRPermission not in oauth2_settings.DCR_REGISTRATION_PERMISSION_CLASSES:
        return None  # the site has decided otherwise
    if has_permission(user, permission_to("add", get_application_model())):
        return None
    told = {"error": "access_denied", "error_description": "The user may not register clients."}
    return JsonResponse(told, status=403)


def _refused_registrant(request: HttpRequest) -> HttpResponse | None:
    """Judge the user who registered the client: the toolkit asks for the token alone, which never expires.

    A token of a user who is not active is deleted here; the toolkit then answers as to any other.
    """
    found = get_access_token_model().objects.filter(token_checksum=digest_of(bearer_token(request) or ""))
    token = found.select_related("user").first()
    if token is None or token.user is None or not is_token_live(token.token, None, token.user, now=timezone.now()):
        return None
    return _refused_user(token.user)


def _refused_change(client_id: str) -> HttpResponse | None:
    """Refuse to change a client that an administrator has given rights: they were given to what it was then."""
    is_trusted = get_application_model().objects.filter(client_id=client_id, skip_authorization=True).exists()
    if not is_trusted and not RelyingParty.objects.filter(client_id=client_id).exists():
        return None
    told = {"error": "access_denied", "error_description": "An administrator keeps this registration."}
    return JsonResponse(told, status=403)


def _may_register(request: HttpRequest) -> bool:
    permissions = oauth2_settings.DCR_REGISTRATION_PERMISSION_CLASSES
    return bool(permissions) and all(permission().has_permission(request) for permission in permissions)


def _refused_name(request: HttpRequest, *, client_id: str = "") -> HttpResponse | None:
    name = json.loads(request.body or "{}").get("client_name", "")
    if not is_name_of_another(name, client_id=client_id):
        return None
    return _refused_metadata("Another client has that name.")


def _refused_metadata(description: str) -> HttpResponse:
    """Answer with RFC 7591 §3.2.2's error."""
    told = {"error": "invalid_client_metadata", "error_description": description}
    return JsonResponse(told, status=400)


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
