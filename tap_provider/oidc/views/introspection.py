"""Introspection (RFC 7662), inactive with the sign-in behind the token, and telling its context (RFC 9470 §6.2)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.http import JsonResponse
from django.utils import timezone
from oauth2_provider.models import get_access_token_model
from oauth2_provider.views import IntrospectTokenView as ToolkitIntrospectTokenView

from ...authentication_context import context_of
from ..contexts import digest_of, is_live, sign_in_of_token
from .endpoint import OAuthEndpointMixin

if TYPE_CHECKING:
    from django.http import HttpResponse


class IntrospectTokenView(OAuthEndpointMixin, ToolkitIntrospectTokenView):
    @staticmethod
    def get_token_response(token_value: str | None = None) -> HttpResponse:
        response: HttpResponse = ToolkitIntrospectTokenView.get_token_response(token_value)
        answer = json.loads(response.content)
        if token_value is None or not answer.get("active"):
            return response
        sign_in = sign_in_of_token(token_value)
        if sign_in is None:
            user = _user_of(token_value) if "username" in answer else None
            return response if user is None or user.is_active else JsonResponse({"active": False})
        if not is_live(sign_in, now=timezone.now()):
            return JsonResponse({"active": False})
        return JsonResponse({**answer, "sub": str(sign_in.user_id), **context_of(sign_in).claims})


def _user_of(token_value: str) -> Any:
    token = (
        get_access_token_model().objects.select_related("user").filter(token_checksum=digest_of(token_value)).first()
    )
    return None if token is None else token.user
