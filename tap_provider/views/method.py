"""The pages of one method that somebody has: its name, removing it, "I lost this"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth.decorators import login_not_required
from django.http import Http404
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods

from ..decorators import page, registration_session_allowed
from ..exceptions import ChangeRefused, MethodNotFound, RegistrationNotAllowed
from ..forms import MethodNameForm
from ..methods.changes import lose_method, remove_method, rename_method, warning_before_removal, why_not_remove
from ..methods.full_session import keep_session
from ..methods.own import own_method
from ..methods.provenance import origin_of, registered_by, registered_with, registration_of, sign_ins_ended_with
from ..methods.registration import guard_registration
from ..policy import resolve_policy
from ..sign_in import Client, sign_in_of_user
from ..user_agent import device_of
from .leading import here, lead_past_the_gate, lead_to, lead_to_sign_in, next_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

    from ..methods.own import OwnMethod
    from ..models import SignIn

    View = Callable[[HttpRequest, SignIn, OwnMethod], HttpResponse]


def _of_own_method(view: View) -> Callable[..., HttpResponse]:
    """Let a view of one's own method take part in registration; whoever's it is not is told that there is none."""

    @page
    @registration_session_allowed
    @login_not_required
    @csrf_protect
    @require_http_methods(["GET", "HEAD", "POST"])
    def looked_up(request: HttpRequest, slug: str, method_id: str) -> HttpResponse:
        current = sign_in_of_user(request)
        if current is None:
            return lead_to_sign_in(request)
        try:
            # Before anything is asked: nobody fills in a form, or confirms, for a refusal.
            guard_registration(sign_in=current, policy=resolve_policy(request.user), now=timezone.now())
            return view(request, current, own_method(request.user, slug, method_id))
        except MethodNotFound as error:
            if request.method == "POST":  # pressed twice, or in another tab
                return lead_to("security_info", request, notice="method_gone")
            raise Http404 from error
        except RegistrationNotAllowed as refusal:
            return lead_past_the_gate(request, refusal, current, back=here(request))

    return looked_up


@_of_own_method
def method(request: HttpRequest, current: SignIn, own: OwnMethod) -> HttpResponse:
    """Show one method, and give it another name."""
    has_form = own.kind.has_names and not own.method.is_managed_elsewhere
    has_form = has_form and not own.kind.keeps_name(current.user, own.method.id)
    form = MethodNameForm(request.POST or None, initial={"name": own.method.name}) if has_form else None
    if request.method == "POST" and form is not None and form.is_valid():
        try:
            rename_method(sign_in=current, own=own, name=form.cleaned_data["name"], **_told(request))
        except ChangeRefused as refusal:
            form.add_error("name", str(refusal.message))
        else:
            return lead_to("security_info", request, notice="renamed")
    context = {
        "form": form,
        "registration": registration_of(own, request.user),
        "why_not_remove": why_not_remove(own, request.user, resolve_policy(request.user)),
    }
    return _render(request, "method", current, own, context)


@_of_own_method
def remove(request: HttpRequest, current: SignIn, own: OwnMethod) -> HttpResponse:
    """Ask, then remove a method that is not needed any more."""
    if request.method == "POST":
        try:
            remove_method(sign_in=current, own=own, **_told(request))
        except ChangeRefused as refusal:
            return _render(request, "method_remove", current, own, {"why_not_remove": refusal.message}, status=409)
        keep_session(request, current.user)
        return lead_to("security_info", request, notice="removed")
    context = {
        "why_not_remove": why_not_remove(own, request.user, resolve_policy(request.user)),
        "warning": warning_before_removal(own, request.user),
    }
    return _render(request, "method_remove", current, own, context)


@_of_own_method
def lost(request: HttpRequest, current: SignIn, own: OwnMethod) -> HttpResponse:
    """Ask, then remove a lost method with everything that was done by it."""
    if own.method.is_managed_elsewhere:
        return lead_to("method", request, *own.key)  # which says so
    came_by_it = registered_with(own, request.user)
    ending = sign_ins_ended_with(own, current)
    is_this_one = any(sign_in.pk == current.pk for sign_in in ending)
    if request.method == "POST":
        chosen = set(request.POST.getlist("also"))
        also = [other for other in came_by_it if ":".join(other.key) in chosen]
        lose_method(sign_in=current, own=own, also=also, is_disowned="disown" in request.POST, **_told(request))
        current.refresh_from_db()
        if current.ended_at is not None:
            request.session.flush()
            return lead_to("sign_in", request, notice="lost")
        keep_session(request, current.user)
        return lead_to("security_info", request, notice="lost")
    context = {
        "came_by_it": [{"own": other, "value": ":".join(other.key)} for other in came_by_it],
        "elsewhere": len(ending) - is_this_one,
        "is_this_one": is_this_one,
        **_origin(own, current),
    }
    return _render(request, "method_lost", current, own, context)


def _origin(own: OwnMethod, current: SignIn) -> dict[str, Any]:
    """Return what the page tells of how the method came, where there is somebody to sign out or something to remove."""
    origin = origin_of(own, current)
    if origin is None:
        return {"origin": None}
    theirs = [other for other in registered_by(origin, current.user) if other.key != own.key]
    if not theirs and origin.is_over(now=timezone.now()):
        return {"origin": None}
    return {"origin": origin, "device": device_of(origin.user_agent), "theirs": [other.method.name for other in theirs]}


def _told(request: HttpRequest) -> dict[str, Any]:
    return {"client": Client.of(request), "now": timezone.now()}


def _render(
    request: HttpRequest, name: str, current: SignIn, own: OwnMethod, context: dict[str, Any], *, status: int = 200
) -> HttpResponse:
    wanted = next_of(request)
    back = reverse("tap_provider:security_info") + (f"?{urlencode({'next': wanted})}" if wanted else "")
    told = {"kind": own.kind, "method": own.method, "sign_in": current, "next": wanted, "back_url": back}
    return render(request, f"tap_provider/{name}.html", {**told, **context}, status=status)
