"""The pages on where one is signed in: ending one sign-in, or all."""

from __future__ import annotations

from dataclasses import dataclass
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

SHOWN_AT_FIRST = 5  # a page that lists fifty is long on a phone, and heavy


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


@dataclass(frozen=True)
class SignInsShown:
    """The user's open sign-ins as Security info lists them."""

    rows: list[dict[str, Any]]
    count: int

    @property
    def has_more(self) -> bool:
        return self.count > len(self.rows)

    @property
    def are_cut_off(self) -> bool:
        """Are there more than even the whole list shows?"""
        return self.count >= verbs.MOST_LISTED


def sign_ins_shown(current: SignIn, *, all_of_them: bool, now: datetime) -> SignInsShown:
    """Return this sign-in first, then the others by when they were last seen; a few, unless all are wanted."""
    others = [one for one in verbs.open_sign_ins(current.user, now=now) if one != current]
    shown = others if all_of_them else others[: SHOWN_AT_FIRST - 1]
    rows = [
        {
            "sign_in": one,
            "device": device_of(one.user_agent),
            "methods": [_in_words(slug) for slug in one.methods],
            "is_current": one == current,
        }
        for one in [current, *shown]
    ]
    return SignInsShown(rows, count=1 + len(others))


def _in_words(slug: str) -> _StrOrPromise:
    kind = find_kind(slug)
    if kind is not None:
        return kind.label
    return _("Temporary Access Pass") if slug == METHOD_KIND else slug
