"""The pages on where one is signed in: ending one sign-in, or all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth.decorators import login_not_required
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods, require_POST

from .. import sign_out as verbs
from ..decorators import page, registration_session_allowed
from ..exceptions import SignInNotFound
from ..forms import SignOutEverywhereForm
from ..methods.registry import find_kind
from ..own_pass import own_pass
from ..policy import resolve_policy
from ..redeem import METHOD_KIND
from ..sign_in import Client, sign_in_of_user
from ..user_agent import device_of
from .leading import lead_to, lead_to_sign_in, next_of

if TYPE_CHECKING:
    from datetime import datetime

    from django.http import HttpRequest, HttpResponse
    from django.utils.functional import _StrOrPromise

    from ..models import SignIn


@page
@registration_session_allowed
@login_not_required
@csrf_protect
@require_POST
def end_sign_in(request: HttpRequest) -> HttpResponse:
    """End one of one's sign-ins: the button's value says which."""
    current = sign_in_of_user(request)
    if current is None:
        return lead_to_sign_in(request)
    now, wanted = timezone.now(), request.POST.get("end", "")
    try:
        ended = verbs.end_own_sign_in(sign_in=current, sign_in_id=wanted, client=Client.of(request), now=now)
    except SignInNotFound:
        return lead_to("security_info", request, notice="sign_in_gone")
    if ended.pk == current.pk:
        verbs.leave(request, now=now)
        return lead_to("sign_in", request, notice="signed_out")
    return lead_to("security_info", request, notice="sign_in_ended")


@page
@registration_session_allowed
@login_not_required
@csrf_protect
@require_http_methods(["GET", "HEAD", "POST"])
def sign_out_everywhere(request: HttpRequest) -> HttpResponse:
    """Sign out everywhere, after asking whether here too."""
    current = sign_in_of_user(request)
    if current is None:
        return lead_to_sign_in(request)
    form = SignOutEverywhereForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        now, keep = timezone.now(), form.keeps_current
        try:
            verbs.sign_out_everywhere(sign_in=current, keep_current=keep, client=Client.of(request), now=now)
        except SignInNotFound:  # somebody else was faster, and this one is over
            return lead_to("security_info", request)
        if keep:
            verbs.stay(request, now=now)
        else:
            verbs.leave(request, now=now)
        return lead_to("security_info" if keep else "sign_in", request, notice="signed_out_everywhere")
    held = own_pass(request.user, policy=resolve_policy(request.user), now=timezone.now())
    usable = held if held is not None and held.usability.is_usable else None
    context = {"form": form, "own_pass": usable, "next": next_of(request)}
    return render(request, "tap_provider/sign_out_everywhere.html", context)


def sign_ins_shown(current: SignIn | None, user: Any, *, now: datetime) -> list[dict[str, Any]]:
    """Return the user's open sign-ins as Security info lists them: this one first, then by when they were last seen."""
    found = verbs.open_sign_ins(user, now=now)
    found = [*([] if current is None else [current]), *(one for one in found if one != current)]
    return [
        {
            "sign_in": one,
            "device": device_of(one.user_agent),
            "methods": [_in_words(slug) for slug in one.methods],
            "is_current": one == current,
        }
        for one in found
    ]


def _in_words(slug: str) -> _StrOrPromise:
    kind = find_kind(slug)
    if kind is not None:
        return kind.label
    return _("Temporary Access Pass") if slug == METHOD_KIND else slug
