"""Security info: what one has, what is left to do, adding a method, finishing."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from django.contrib.auth.decorators import login_not_required
from django.http import Http404
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from ..decorators import page, registration_session_allowed
from ..exceptions import MethodNotVerified, RegistrationNotAllowed, RegistrationNotFinished
from ..hooks import get_hooks
from ..methods.own import OwnMethod
from ..methods.provenance import to_ask_about
from ..methods.registration import (
    complete_registration,
    finish_registration,
    guard_kind,
    guard_registration,
    left_to_do,
    may_register,
    no_way_in,
    registered_in,
    why_not_one_more,
)
from ..methods.registry import all_kinds, find_kind, registrable_kinds
from ..methods.step_up import way_past
from ..own_pass import is_last_chance, own_pass
from ..policy import resolve_policy
from ..secret import Posted
from ..sign_in import sign_in_of_user
from .leading import here, lead_away, lead_past_the_gate, lead_to, lead_to_sign_in, next_of, past_the_gate
from .passkey_script import passkey_configuration
from .where_signed_in import sign_ins_shown

if TYPE_CHECKING:
    from datetime import datetime

    from django.http import HttpRequest, HttpResponse

    from ..methods.kinds import MethodKind
    from ..models import SignIn

NOTICES = {
    "renamed",
    "removed",
    "lost",
    "method_gone",
    "too_many",
    "sign_in_ended",
    "sign_in_gone",
    "signed_out_everywhere",
    "pass_deleted",
    "registration_over",
}


@page
@registration_session_allowed
@login_not_required
@require_http_methods(["GET", "HEAD"])
def security_info(request: HttpRequest) -> HttpResponse:
    """List the user's methods and offer to add one."""
    current = sign_in_of_user(request)
    return lead_to_sign_in(request) if current is None else _render(request, current)


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
    current = sign_in_of_user(request)
    if current is None:
        return lead_to_sign_in(request)
    if not current.is_registration_only:
        return lead_away(request)
    try:
        has_added = finish_registration(request, sign_in=current, now=now)
    except RegistrationNotFinished:
        return _render(request, current, status=HTTPStatus.CONFLICT)  # which says what is left
    return lead_to("sign_in", request, notice="finished" if has_added else "signed_out")


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
    current = sign_in_of_user(request)
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


def _registration_under_way(request: HttpRequest, kind: MethodKind, current: SignIn, *, now: datetime) -> HttpResponse:
    shown = kind.registration_page(request, request.user, Posted(request.POST) if request.method == "POST" else None)
    if shown is None:
        query = {"notice": "registration_over"} if request.method == "POST" else {}
        return lead_to("security_info", request, **query)
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


def _render(request: HttpRequest, current: SignIn, *, status: int = 200) -> HttpResponse:
    now = timezone.now()
    user = current.user
    policy = resolve_policy(user)
    refusal = may_register(sign_in=current, policy=policy, now=now)
    way = None if refusal is None else way_past(refusal, current, now=now)
    notice = request.GET.get("notice")
    offered = registrable_kinds()
    kinds = [*offered, *(kind for kind in all_kinds() if kind not in offered)]
    cards: list[dict[str, Any]] = []
    for kind in kinds:
        methods = kind.methods(user)
        why_not = why_not_one_more(kind, current, methods=methods)
        cards.append({"kind": kind, "methods": methods, "is_offered": kind in offered, "why_not": why_not})
    own = [OwnMethod(card["kind"], method) for card in cards for method in card["methods"]]
    held_kinds = [one.kind for one in own]
    new = registered_in(current) if current.is_registration_only else set()
    held = own_pass(user, policy=policy, now=now)
    context = {
        "upn": get_hooks().get_upn(user),
        "sign_in": current,
        "is_refused": status == HTTPStatus.CONFLICT,
        "is_last_chance": is_last_chance(current, held, has_added=bool(new)),
        "cards": [card for card in cards if card["methods"] or card["is_offered"]],
        "to_ask_about": to_ask_about(own, current, new=new),
        "refusal": refusal,
        "way": way,
        "way_url": None if way is None else past_the_gate(way, back=here(request)),
        "notice": notice if notice in NOTICES else None,
        "left_to_do": left_to_do(user, policy, kinds=held_kinds),
        "no_way_in": no_way_in(held_kinds) if current.is_registration_only else None,
        "own_pass": held,
        "sign_ins": sign_ins_shown(current, all_of_them="all-sign-ins" in request.GET, now=now),
        "registered": find_kind(request.GET.get("registered", "")),
        "next": next_of(request),
        "passkey_configuration": passkey_configuration(request) if _offers_passkey(cards) else None,
    }
    return render(request, "tap_provider/security_info.html", context, status=status)


def _offers_passkey(cards: list[dict[str, Any]]) -> bool:
    return any(card["kind"].slug == "passkey" and card["is_offered"] and not card["why_not"] for card in cards)
