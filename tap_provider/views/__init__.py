"""The pages: parse, call one verb, render."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpResponseRedirect
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from .. import registration_session
from ..decorators import page, registration_session_allowed
from ..exceptions import (
    MethodNotVerified,
    RedemptionRefused,
    RegistrationNotAllowed,
    RegistrationNotFinished,
    SignInRefused,
    TapError,
    TooManyAttempts,
)
from ..forms import PassSignInForm, PasswordSignInForm
from ..hooks import LONGEST_UPN, get_hooks
from ..methods import full_session
from ..methods.changes import OwnMethod, to_ask_about
from ..methods.registration import (
    complete_registration,
    finish_registration,
    guard_kind,
    guard_registration,
    left_to_do,
    may_register,
)
from ..methods.registry import all_kinds, find_kind, registrable_kinds
from ..methods.step_up import kinds_alone, second_factors, way_past
from ..methods.step_up import step_up as verb_step_up
from ..models import Level, SignIn
from ..own_pass import own_pass
from ..policy import resolve_policy
from ..redeem import sign_in_with_pass as verb_sign_in_with_pass
from ..sign_in import sign_in_of_session
from ..sign_out import leave
from .leading import if_ours, lead_away, lead_past_the_gate, lead_to, lead_to_sign_in, next_of, past_the_gate
from .where_signed_in import sign_ins_shown

if TYPE_CHECKING:
    from django import forms
    from django.http import HttpRequest, HttpResponse

    from ..methods.kinds import MethodKind

NOTICES = {"ended", "signed_out", "finished", "lost", "signed_out_everywhere", "pass_deleted"}
SECURITY_INFO_NOTICES = {
    "renamed",
    "removed",
    "lost",
    "sign_in_ended",
    "sign_in_gone",
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
    form = PasswordSignInForm(request.POST or None, initial={"upn": request.GET.get("login_hint", "")[:LONGEST_UPN]})
    if request.method == "POST" and form.is_valid():
        upn, password = form.cleaned_data["upn"], form.cleaned_data["password"]
        try:
            done = full_session.sign_in_with_password(request, upn=upn, password=password, now=timezone.now())
        except (SignInRefused, TooManyAttempts) as refusal:
            return _refused(request, "tap_provider/sign_in.html", form, refusal, _sign_in_context(request))
        return lead_away(request) if done else lead_to("sign_in_second_step", request)
    return render(request, "tap_provider/sign_in.html", {"form": form, **_sign_in_context(request)})


@page
@login_not_required
@csrf_protect
@sensitive_post_parameters("code")
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_variables()
def sign_in_second_step(request: HttpRequest) -> HttpResponse:
    """Ask for the second factor of somebody whose password was right."""
    now = timezone.now()
    user = full_session.awaited_user(request, now=now)
    kinds = [] if user is None else full_session.second_factor_kinds(user)
    if user is None or not kinds:
        return lead_to("sign_in", request)
    wanted = request.GET.get("kind")
    kind = next((one for one in kinds if one.slug == wanted), kinds[0])
    form = kind.second_factor_form(user, request.POST or None)
    assert form is not None  # noqa: S101 that is how the kinds were chosen
    context = {
        "kind": kind,
        "other_kinds": [other for other in kinds if other is not kind],
        "has_passkey": bool(kinds_alone(user)),
        "upn": get_hooks().get_upn(user),
        "next": next_of(request),
        "passkey_configuration": _passkey_configuration(request),
    }
    if request.method == "POST" and form.is_valid():
        try:
            full_session.sign_in_with_second_factor(request, user=user, kind=kind, form=form, now=now)
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
    current = sign_in_of_session(request) if request.user.is_authenticated else None
    if current is None or current.is_registration_only:
        return lead_to("sign_in", request)
    level = _level(request)
    kinds = second_factors(current) if level is None or level.rank <= Level.MULTI_FACTOR.rank else []
    wanted = request.GET.get("kind")
    kind = next((one for one in kinds if wanted in {None, one.slug}), None)
    form = None if kind is None else kind.second_factor_form(current.user, request.POST or None)
    context = {
        "kind": kind,
        "other_kinds": [other for other in kinds if other is not kind],
        "has_passkey": any(level is None or kind.alone.rank >= level.rank for kind in kinds_alone(current.user)),
        "level": level,
        "upn": get_hooks().get_upn(current.user),
        "next": next_of(request),
        "otherwise": if_ours(request, request.GET.get("otherwise", "")),
        "passkey_configuration": _passkey_configuration(request),
    }
    if request.method == "POST" and kind is not None and form is not None:
        try:
            verb_step_up(request, kind=kind, form=form, now=timezone.now())
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
    form = PassSignInForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        upn, passcode = form.cleaned_data["upn"], form.cleaned_data["passcode"]
        try:
            verb_sign_in_with_pass(request, upn=upn, passcode=passcode, now=timezone.now())
        except RedemptionRefused as refusal:
            return _refused(request, "tap_provider/sign_in_with_pass.html", form, refusal, {"next": next_of(request)})
        wanted = next_of(request)
        straight = wanted and registration_session.reaches(wanted)
        return HttpResponseRedirect(wanted) if straight else lead_to("security_info", request)
    return render(request, "tap_provider/sign_in_with_pass.html", {"form": form, "next": next_of(request)})


@page
@registration_session_allowed
@login_not_required
@require_http_methods(["GET", "HEAD"])
def security_info(request: HttpRequest) -> HttpResponse:
    """List the user's methods and offer to add one."""
    if not request.user.is_authenticated:
        return lead_to_sign_in(request)
    return _render_security_info(request)


@page
@registration_session_allowed
@login_not_required
@csrf_protect
@require_http_methods(["GET", "HEAD", "POST"])
def finish(request: HttpRequest) -> HttpResponse:
    """Finish registering: the registration-only session ends, and the new method signs in."""
    if request.method != "POST":
        return lead_to("security_info", request)  # the page of a refusal, loaded again
    now = timezone.now()
    current = sign_in_of_session(request) if request.user.is_authenticated else None
    if current is None:
        return lead_to_sign_in(request)
    if not current.is_registration_only:
        return lead_away(request)
    try:
        finish_registration(request, sign_in=current, now=now)
    except RegistrationNotFinished:
        return _render_security_info(request, status=409)  # which says what is left
    return lead_to("sign_in", request, notice="finished")


@page
@registration_session_allowed
@login_not_required
@csrf_protect
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_variables()
def register_method(request: HttpRequest, slug: str) -> HttpResponse:
    """Register a method of a kind that has a form: begin, show, verify."""
    kind = find_kind(slug)
    if kind is None or kind not in registrable_kinds():
        raise Http404
    current = sign_in_of_session(request) if request.user.is_authenticated else None
    if current is None:
        return lead_to_sign_in(request)
    now = timezone.now()
    try:
        guard_registration(sign_in=current, policy=resolve_policy(request.user), now=now)
        guard_kind(kind, current)
    except RegistrationNotAllowed as refusal:
        return lead_past_the_gate(request, refusal, current, back=reverse("tap_provider:security_info"))
    if request.method == "POST" and "begin" in request.POST:
        kind.begin_registration(request, request.user)
        return lead_to("register_method", request, slug)
    return _registration_under_way(request, kind, current, now=now)


@page
@registration_session_allowed
@login_not_required
@csrf_protect
@require_http_methods(["GET", "HEAD", "POST"])
def sign_out(request: HttpRequest) -> HttpResponse:
    """Sign out, after asking: a GET changes nothing."""
    if request.method != "POST":
        return render(request, "tap_provider/sign_out.html", {"next": next_of(request)})
    leave(request, now=timezone.now())
    return lead_away(request) if next_of(request) else lead_to("sign_in", request, notice="signed_out")


def _registration_under_way(request: HttpRequest, kind: MethodKind, current: SignIn, *, now: datetime) -> HttpResponse:
    shown = kind.registration_page(request, request.user, request.POST if request.method == "POST" else None)
    if shown is None:
        return lead_to("security_info", request)
    if request.method == "POST":
        try:
            complete_registration(request, sign_in=current, kind=kind, page=shown, now=now)
            return lead_to("security_info", request, registered=kind.slug)
        except RegistrationNotAllowed:
            return lead_to("security_info", request)
        except MethodNotVerified as refusal:
            if not shown.form.errors:
                shown.form.add_error(None, str(refusal.message))
    upn = get_hooks().get_upn(request.user)
    context = {
        "form": shown.form,
        "kind": kind,
        "sign_in": current,
        "upn": upn,
        "next": next_of(request),
        **shown.context,
    }
    return render(request, shown.template_name, context)


def _render_security_info(request: HttpRequest, *, status: int = 200) -> HttpResponse:
    now = timezone.now()
    current, user = sign_in_of_session(request), request.user
    policy = resolve_policy(user)
    refusal = may_register(sign_in=current, policy=policy, now=now)
    way = None if refusal is None or current is None else way_past(refusal, current, now=now)
    notice = request.GET.get("notice")
    offered = registrable_kinds()
    kinds = [*offered, *(kind for kind in all_kinds() if kind not in offered)]
    cards: list[dict[str, Any]] = [
        {
            "kind": kind,
            "methods": kind.methods(user),
            "is_offered": kind in offered,
            "why_not": None if current is None else kind.why_not_register(user, current),
        }
        for kind in kinds
    ]
    own = [OwnMethod(card["kind"], method) for card in cards for method in card["methods"]]
    context = {
        "upn": get_hooks().get_upn(user),
        "sign_in": current,
        "cards": [card for card in cards if card["methods"] or card["is_offered"]],
        "to_ask_about": [] if current is None else to_ask_about(own, current),
        "refusal": refusal,
        "way": way,
        "way_url": None if way is None else past_the_gate(way, back=request.get_full_path()),
        "notice": notice if notice in SECURITY_INFO_NOTICES else None,
        "left_to_do": left_to_do(user, policy, kinds=[one.kind for one in own]),
        "own_pass": own_pass(user, policy=policy, now=now),
        "sign_ins": sign_ins_shown(current, user, now=now),
        "registered": find_kind(request.GET.get("registered", "")),
        "next": next_of(request),
        "passkey_configuration": _passkey_configuration(request),
    }
    return render(request, "tap_provider/security_info.html", context, status=status)


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
        "passkey_configuration": _passkey_configuration(request),
    }


def _passkey_configuration(request: HttpRequest) -> dict[str, Any] | None:
    # What django-otp-webauthn's own script reads; with our addresses in place of the library's.
    if find_kind("passkey") is None:
        return None
    return {
        "autocompleteLoginFieldSelector": "#id_upn",
        "nextFieldSelector": "input[name='next']",
        "csrfToken": get_token(request),
        "beginAuthenticationUrl": reverse("tap_provider:passkey_authentication_begin"),
        "completeAuthenticationUrl": reverse("tap_provider:passkey_authentication_complete"),
        "beginRegistrationUrl": reverse("tap_provider:passkey_registration_begin"),
        "completeRegistrationUrl": reverse("tap_provider:passkey_registration_complete"),
    }


def _level(request: HttpRequest) -> Level | None:
    wanted = request.GET.get("level", "")
    return Level(wanted) if wanted in Level.values else None
