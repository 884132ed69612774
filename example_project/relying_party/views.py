"""The site: home, sign-in and its callback, the claims, the vault, sign-out here and by the provider.

The vault shows how a page demands strong, fresh authentication: it compares on every visit, asks the provider at most
twice, and then refuses. What a failed sign-in looks like is in `failures.py`.
"""

from __future__ import annotations

import logging
import time
from dataclasses import asdict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.http import Http404, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST
from joserfc.errors import JoseError

from .client import SignIn, UserInfo, get_client
from .configuration import ORDINARY, SCOPES, configuration
from .explain import (
    AUTHENTICATION_CLAIMS,
    NOT_SAID,
    describe_lifetime,
    describe_strength,
    describe_time,
    explain_claims,
)
from .failures import explain_failures
from .page import current_sign_in, page
from .sessions import SIGN_IN_KEY, end, is_new, remember
from .validation import (
    LEEWAY_SECONDS,
    AnswerRefused,
    AuthenticationInsufficient,
    NotConfigured,
    ProviderUnreachable,
    require_acr,
)

if TYPE_CHECKING:
    from django.http import HttpRequest

logger = logging.getLogger(__name__)

VAULT_ACR = "phr"
VAULT_MAX_AGE_SECONDS = 600
VAULT_ATTEMPTS = 2


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """Say who is signed in here, and offer the ways in."""
    signed_in = current_sign_in(request)
    return page(request, "home", strength=describe_strength(signed_in.claims) if signed_in else "")


@require_GET
@explain_failures
def sign_in(request: HttpRequest, client_name: str) -> HttpResponse:
    """Start the flow: `?prompt=none` asks silently, `?strong=1` (ordinary client) asks for phishing resistance."""
    if client_name not in SCOPES:
        raise Http404
    parameters: dict[str, Any] = {}
    if request.GET.get("prompt") == "none":
        parameters["prompt"] = "none"
    if client_name == ORDINARY and request.GET.get("strong") == "1":
        parameters["acr_values"] = VAULT_ACR
    return begin(request, client_name, destination="claims", attempt=1, **parameters)


def begin(request: HttpRequest, client_name: str, *, destination: str, attempt: int, **parameters: Any) -> HttpResponse:
    """Send the browser to the provider, from the host name to which the provider will send it back."""
    if urlsplit(f"//{request.get_host()}").hostname != configuration().host:
        return HttpResponseRedirect(configuration().url + request.get_full_path())
    return get_client(client_name).begin(request, destination=destination, attempt=attempt, **parameters)


@require_GET
@explain_failures
def callback(request: HttpRequest, client_name: str) -> HttpResponse:
    """Take the provider's answer: check it, keep the result on the server, go on to where the flow was to lead."""
    if client_name not in SCOPES:
        raise Http404
    signed_in, flow = get_client(client_name).finish(request)
    # A new key, as a session that somebody else planted must not become signed in. Not flush(): flows that other tabs
    # have under way stay.
    request.session.cycle_key()
    request.session[SIGN_IN_KEY] = asdict(signed_in)
    remember(request, client=client_name, claims=signed_in.claims)
    logger.info("Signed in %s by client %s", signed_in.claims["sub"], client_name)
    if flow["destination"] != "vault":
        return redirect("claims")
    try:
        require_vault_authentication(signed_in)
    except AuthenticationInsufficient:
        # The number of attempts travels with the flow, so that no answer of the provider can make a loop.
        if flow["attempt"] < VAULT_ATTEMPTS:
            return begin_for_vault(request, attempt=flow["attempt"] + 1, prompt="login")
        return redirect("vault_refused")
    return redirect("vault")


@require_GET
@explain_failures
def claims(request: HttpRequest) -> HttpResponse:
    """Show the validated claims, and what the provider's userinfo endpoint says about them right now."""
    signed_in = current_sign_in(request)
    if signed_in is None:
        return redirect("home")
    userinfo = ask_userinfo(request, signed_in)
    now = timezone.now()
    return page(
        request,
        "claims",
        shown=signed_in,
        strength=describe_strength(signed_in.claims),
        lifetime=describe_lifetime(signed_in.expires_in),
        rows=explain_claims(signed_in.claims, now=now),
        userinfo=userinfo,
        userinfo_rows=explain_claims(userinfo.claims, now=now, always=()) if userinfo else [],
    )


@require_GET
@explain_failures
def claims_json(request: HttpRequest) -> HttpResponse:
    """Show the same to scripts: 401 when nobody is signed in; `userinfo_status` is null when nobody answered."""
    signed_in = current_sign_in(request)
    if signed_in is None:
        return JsonResponse({"error": "not_signed_in"}, status=HTTPStatus.UNAUTHORIZED)
    userinfo = ask_userinfo(request, signed_in)
    return JsonResponse(
        {
            "client": signed_in.client,
            "claims": signed_in.claims,
            "scope": signed_in.scope,
            "expires_in": signed_in.expires_in,
            "has_refresh_token": signed_in.has_refresh_token,
            "userinfo_status": userinfo.status if userinfo else None,
            "userinfo": userinfo.claims if userinfo else {},
        }
    )


def ask_userinfo(request: HttpRequest, signed_in: SignIn) -> UserInfo | None:
    """Ask the provider now; end the local session when it refuses the access token. None: it could not be reached."""
    try:
        userinfo = get_client(signed_in.client).ask_userinfo(signed_in)
    except ProviderUnreachable:
        return None
    except JoseError:
        # It answered about somebody else: then nothing it said about this one is worth keeping.
        request.session.flush()
        raise
    if userinfo.status == HTTPStatus.UNAUTHORIZED:
        request.session.flush()
        logger.info("The provider ended the sign-in of %s", signed_in.claims["sub"])
    return userinfo


def require_vault_authentication(signed_in: SignIn) -> None:
    """Demand what the vault demands, or raise `AuthenticationInsufficient`."""
    require_acr(signed_in.claims, acr_values=[VAULT_ACR], max_age=VAULT_MAX_AGE_SECONDS, now=int(time.time()))


def begin_for_vault(request: HttpRequest, *, attempt: int, **parameters: str) -> HttpResponse:
    """Ask the provider for what the vault demands."""
    return begin(
        request,
        ORDINARY,
        destination="vault",
        attempt=attempt,
        acr_values=VAULT_ACR,
        max_age=VAULT_MAX_AGE_SECONDS,
        **parameters,
    )


@require_GET
@explain_failures
def vault(request: HttpRequest) -> HttpResponse:
    """Open only to phishing-resistant authentication of the last ten minutes that the provider still stands by."""
    signed_in = current_sign_in(request)
    if signed_in is None or signed_in.client != ORDINARY:
        return begin_for_vault(request, attempt=1)
    try:
        require_vault_authentication(signed_in)
    except AuthenticationInsufficient:
        return begin_for_vault(request, attempt=1)
    userinfo = ask_userinfo(request, signed_in)
    if userinfo is None or userinfo.status != HTTPStatus.OK:
        # No new flow from here: a provider that refuses its own fresh token would make it a loop.
        return page(request, "vault_ended", status=HTTPStatus.FORBIDDEN, userinfo=userinfo)
    rows = explain_claims(signed_in.claims, now=timezone.now())[: len(AUTHENTICATION_CLAIMS)]
    return page(request, "vault", rows=rows)


@require_GET
def vault_refused(request: HttpRequest) -> HttpResponse:
    """Say what was reached and what is needed, after the provider was asked twice."""
    signed_in = current_sign_in(request)
    if signed_in is None:
        return redirect("home")
    try:
        require_vault_authentication(signed_in)
    except AuthenticationInsufficient as reason:
        auth_time = signed_in.claims.get("auth_time")
        return page(
            request,
            "vault_refused",
            status=HTTPStatus.FORBIDDEN,
            code=reason.code,
            reason=reason,
            strength=describe_strength(signed_in.claims),
            authenticated=describe_time(auth_time, now=timezone.now()) if auth_time is not None else NOT_SAID,
            minutes=VAULT_MAX_AGE_SECONDS // 60,
        )
    return redirect("vault")


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """Drop the local session; the one at the provider stays."""
    request.session.flush()
    return redirect("home")


@csrf_exempt
@require_POST
def backchannel_logout(request: HttpRequest, client_name: str) -> HttpResponse:
    """Take a logout token from the provider and end the sessions that it means (Back-Channel Logout 1.0 §2.5-2.8).

    There is no browser behind this request, so no cookie and no CSRF token: the signature says who sent it.
    """
    if client_name not in SCOPES:
        raise Http404
    try:
        claims = get_client(client_name).read_logout_token(request.POST.get("logout_token", ""))
    except (ProviderUnreachable, NotConfigured) as failure:  # the provider may try again
        return JsonResponse({"error": failure.code}, status=HTTPStatus.SERVICE_UNAVAILABLE)
    except (AnswerRefused, JoseError, ValueError) as failure:
        logger.warning("A logout token was refused: %r", str(failure))
        return JsonResponse({"error": "invalid_request"}, status=HTTPStatus.BAD_REQUEST)
    lifetime = max(1, int(claims["exp"] - time.time()) + LEEWAY_SECONDS)
    if not is_new(client=client_name, claims=claims, lifetime=lifetime):
        return JsonResponse({"error": "invalid_request"}, status=HTTPStatus.BAD_REQUEST)
    logger.info("The provider ended %d session(s)", end(client=client_name, claims=claims))
    return HttpResponse()


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a wrong address in this site's own frame."""
    return page(request, "not_found", status=HTTPStatus.NOT_FOUND)
