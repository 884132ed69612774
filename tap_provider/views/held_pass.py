"""The page on which the holder of a pass deletes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth.decorators import login_not_required
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods

from ..decorators import page, registration_session_allowed
from ..own_pass import discard_own_pass, own_pass
from ..policy import resolve_policy
from ..sign_in import Client, sign_in_of_user
from ..sign_out import leave
from .leading import lead_to, lead_to_sign_in, next_of

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


@page
@registration_session_allowed
@login_not_required
@csrf_protect
@require_http_methods(["GET", "HEAD", "POST"])
def delete_pass(request: HttpRequest) -> HttpResponse:
    """Delete one's pass, after asking; here with that pass, one is signed out with it."""
    current = sign_in_of_user(request)
    if current is None:
        return lead_to_sign_in(request)
    now = timezone.now()
    if request.method == "POST":
        shown = request.POST.get("pass", "")
        if not discard_own_pass(sign_in=current, pass_id=shown, client=Client.of(request), now=now):
            return lead_to("security_info", request)  # which shows what there is now
        if not current.is_registration_only:
            return lead_to("security_info", request, notice="pass_deleted")
        leave(request, now=now)
        return lead_to("sign_in", request, notice="pass_deleted")
    held = own_pass(request.user, policy=resolve_policy(request.user), now=now)
    if held is None:
        return lead_to("security_info", request)
    context = {"own_pass": held, "is_here_with_it": current.pass_id == held.id, "next": next_of(request)}
    return render(request, "tap_provider/delete_pass.html", context)
