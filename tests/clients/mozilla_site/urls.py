"""Its pages: who one is, and what the ID token said; each answers with JSON."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import path
from mozilla_django_oidc.views import OIDCAuthenticationCallbackView, OIDCAuthenticationRequestView, OIDCLogoutView

ASKED_FOR = ("acr_values", "claims", "max_age", "prompt")


class SignInView(OIDCAuthenticationRequestView):
    """Asks the provider for whatever this site is asked for."""

    def get_extra_params(self, request: HttpRequest) -> dict[str, str]:
        return {name: request.GET[name] for name in ASKED_FOR if name in request.GET}


def home(request: HttpRequest) -> HttpResponse:
    """Tell who is signed in, and what the library's own validation let pass."""
    if not request.user.is_authenticated:
        return JsonResponse({"email": None})
    return JsonResponse({"email": request.user.email, "claims": _claims(request.session["oidc_id_token"])})


def failed(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"email": None, "failed": True}, status=403)


def let_it_grow_old(request: HttpRequest) -> HttpResponse:
    """Let the library find its session due for renewal, as it would after a quarter of an hour."""
    request.session["oidc_id_token_expiration"] = 0
    return HttpResponseRedirect("/")


def logout_url(request: HttpRequest) -> str:
    """Return where to sign out at the provider (OpenID Connect RP-Initiated Logout 1.0 §2)."""
    told = {
        "id_token_hint": request.session["oidc_id_token"],
        "post_logout_redirect_uri": request.build_absolute_uri("/"),
    }
    return f"{settings.ISSUER}/logout/?{urlencode(told)}"


def _claims(id_token: str) -> dict[str, Any]:
    payload = id_token.split(".")[1]
    claims: dict[str, Any] = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


urlpatterns = [
    path("", home),
    path("failed/", failed),
    path("renew/", let_it_grow_old),
    path("sign-in/", SignInView.as_view(), name="oidc_authentication_init"),
    path("callback/ordinary/", OIDCAuthenticationCallbackView.as_view(), name="oidc_authentication_callback"),
    path("sign-out/", OIDCLogoutView.as_view(), name="oidc_logout"),
]
