"""The pages on which one signs in, by whichever method, confirms that it is oneself, and signs out."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from .. import registration_session
from ..decorators import page, registration_session_allowed
from ..exceptions import RedemptionRefused, SignInRefused, TapError, TooManyAttempts
from ..forms import PassSignInForm, PasswordSignInForm
from ..hooks import get_hooks
from ..methods import step_up as stepping_up
from ..methods import two_steps
from ..methods.registration import registered_in
from ..models import Level
from ..own_pass import is_last_chance, own_pass
from ..policy import resolve_policy
from ..redeem import sign_in_with_pass as verb_sign_in_with_pass
from ..secret import posted
from ..sign_in import sign_in_of_user
from ..sign_out import leave
from ..upn import LONGEST_UPN
from .leading import if_ours, is_here, lead_away, lead_to, login_url, next_of
from .passkey_script import passkey_configuration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django import forms
    from django.http import HttpRequest, HttpResponse

    from ..methods.kinds import MethodKind

NOTICES = {
    "ended",
    "session_ended",
    "too_late",
    "signed_out",
    "finished",
    "lost",
    "signed_out_everywhere",
    "pass_deleted",
}


@page
@login_not_required
@csrf_protect
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_variables()
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in with a registered method: passkey, or password and then what follows it."""
    form = PasswordSignInForm(posted(request), initial={"upn": request.GET.get("login_hint", "")[:LONGEST_UPN]})
    if request.method == "POST" and form.is_valid():
        upn, password = form.cleaned_data["upn"], form.cleaned_data["password"]
        try:
            done = two_steps.sign_in_with_password(request, upn=upn, password=password, now=timezone.now())
        except (SignInRefused, TooManyAttempts) as refusal:
            context = {**_sign_in_context(request), "elsewhere_url": _elsewhere(request, refusal)}
            return _refused(request, "tap_provider/sign_in.html", form, refusal, context)
        return lead_away(request) if done else lead_to("sign_in_second_step", request)
    context = {**_sign_in_context(request), "elsewhere_url": None}
    return render(request, "tap_provider/sign_in.html", {"form": form, **context})


@page
@login_not_required
@csrf_protect
@sensitive_post_parameters("code")
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_variables()
def sign_in_second_step(request: HttpRequest) -> HttpResponse:
    """Ask for the second factor of somebody whose password was right."""
    now = timezone.now()
    user = two_steps.awaited_user(request, now=now)
    kinds = [] if user is None else two_steps.second_factor_kinds(user)
    if user is None or not kinds:
        notice = {"notice": "too_late"} if two_steps.is_too_late(request, now=now) else {}
        return lead_to("sign_in", request, **notice)
    kind, form, context = _ask_for_one_of(kinds, user, request)
    assert kind is not None and form is not None  # noqa: S101, PT018 that is how the kinds were chosen
    context["has_passkey"] = bool(stepping_up.kinds_alone(user))
    if request.method == "POST" and form.is_valid():
        try:
            two_steps.sign_in_with_second_factor(request, user=user, kind=kind, form=form, now=now)
        except (SignInRefused, TooManyAttempts) as refusal:
            return _refused(request, "tap_provider/sign_in_second_step.html", form, refusal, context)
        return lead_away(request)
    return render(request, "tap_provider/sign_in_second_step.html", {"form": form, **context})


@page
@login_not_required
@csrf_protect
@sensitive_post_parameters("code")
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_variables()
def step_up(request: HttpRequest) -> HttpResponse:
    """Let the user of a full session add what a stronger level lacks, or go on without."""
    current = sign_in_of_user(request)
    if current is None or current.is_registration_only:
        return lead_to("sign_in", request)
    level, user = _level(request), current.user
    kinds = stepping_up.second_factors(current) if level is None or level.rank <= Level.MULTI_FACTOR.rank else []
    kind, form, context = _ask_for_one_of(kinds, user, request)
    alone = [kind for kind in stepping_up.kinds_alone(user) if level is None or kind.alone.rank >= level.rank]
    context |= {
        "has_passkey": bool(alone),
        "level": level,
        "otherwise": if_ours(request, request.GET.get("otherwise", "")),
    }
    if request.method == "POST" and kind is not None and form is not None and form.is_valid():
        try:
            stepping_up.step_up(request, kind=kind, form=form, now=timezone.now())
        except (SignInRefused, TooManyAttempts) as refusal:
            return _refused(request, "tap_provider/step_up.html", form, refusal, context)
        return lead_away(request)
    return render(request, "tap_provider/step_up.html", {"form": form, **context})


@page
@login_not_required
@csrf_protect
@sensitive_post_parameters("passcode")
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_variables()
def sign_in_with_pass(request: HttpRequest) -> HttpResponse:
    """Sign in with UPN and passcode; only the POST spends anything."""
    form = PassSignInForm(posted(request))
    if request.method == "POST" and form.is_valid():
        upn, passcode = form.cleaned_data["upn"], form.cleaned_data["passcode"]
        handle = request.GET.get("handle", "")  # the form posts to the address that it was opened at
        try:
            verb_sign_in_with_pass(request, upn=upn, passcode=passcode, handle=handle, now=timezone.now())
        except RedemptionRefused as refusal:
            return _refused(request, "tap_provider/sign_in_with_pass.html", form, refusal, {"next": next_of(request)})
        wanted = next_of(request)
        straight = wanted and registration_session.reaches(wanted, host=request.get_host())
        return HttpResponseRedirect(wanted) if straight else lead_to("security_info", request)
    return render(request, "tap_provider/sign_in_with_pass.html", {"form": form, "next": next_of(request)})


@page
@registration_session_allowed
@login_not_required
@csrf_protect
@require_http_methods(["GET", "HEAD", "POST"])
def sign_out(request: HttpRequest) -> HttpResponse:
    """Sign out, after asking: a GET changes nothing."""
    now = timezone.now()
    if request.method != "POST":
        current, is_last = sign_in_of_user(request), False
        if current is not None and current.is_registration_only:
            held = own_pass(current.user, policy=resolve_policy(current.user), now=now)
            is_last = is_last_chance(current, held, has_added=bool(registered_in(current)))
        return render(request, "tap_provider/sign_out.html", {"is_last_chance": is_last, "next": next_of(request)})
    leave(request, now=now)
    return lead_away(request) if next_of(request) else lead_to("sign_in", request, notice="signed_out")


def _ask_for_one_of(
    kinds: Sequence[MethodKind], user: Any, request: HttpRequest
) -> tuple[MethodKind | None, forms.Form | None, dict[str, Any]]:
    """Return which second factor to ask for, the first unless one is chosen, its form, and what the page shows."""
    wanted = request.GET.get("kind")
    kind = next((one for one in kinds if one.slug == wanted), next(iter(kinds), None))
    form = None if kind is None else kind.second_factor_form(user, posted(request))
    context = {
        "kind": kind,
        "other_kinds": [other for other in kinds if other is not kind],
        "upn": get_hooks().get_upn(user),
        "next": next_of(request),
        "passkey_configuration": passkey_configuration(request, of_same_user=True),
    }
    return kind, form, context


def _refused(
    request: HttpRequest, template_name: str, form: forms.Form, refusal: TapError, context: dict[str, Any]
) -> HttpResponse:
    form.add_error(None, str(refusal.message))
    response = render(request, template_name, {"form": form, **context})
    if isinstance(refusal, TooManyAttempts):
        response.status_code = 429
        response.headers["Retry-After"] = str(-(-refusal.retry_after // timedelta(seconds=1)))
    return response


def _sign_in_context(request: HttpRequest) -> dict[str, Any]:
    notice = request.GET.get("notice")
    return {
        "next": next_of(request),
        "notice": notice if notice in NOTICES else None,
        "passkey_configuration": passkey_configuration(request),
    }


def _elsewhere(request: HttpRequest, refusal: TapError) -> str | None:
    """Return the site's login page, if it is another, for a user whose second step this page does not know."""
    url = login_url(request, next_of(request))
    return url if refusal.code == "other_second_factor" and not is_here(url, request) else None


def _level(request: HttpRequest) -> Level | None:
    wanted = request.GET.get("level", "")
    return Level(wanted) if wanted in Level.values else None
