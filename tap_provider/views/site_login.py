"""The page in the place of ours, where the site has a login page of its own: says what has happened, leads there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth.decorators import login_not_required
from django.http import HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_safe

from ..decorators import page
from ..hooks import get_hooks
from ..methods.full_session import full_sign_in
from .leading import is_here, login_url, next_of
from .signing_in import NOTICES

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


@page
@login_not_required
@csrf_protect
@require_safe
def sign_in(request: HttpRequest) -> HttpResponse:
    """Lead to the site's login page; say first what the user has to know: a notice, or that they are signed in.

    A login page may send back at once whoever is signed in: to sign in again, they sign out first.
    """
    notice, wanted = request.GET.get("notice"), next_of(request)
    url, current = login_url(request, wanted), full_sign_in(request)
    leads_here = is_here(url, request)  # `tap_provider.E022`
    if notice not in NOTICES and current is None and not leads_here:
        return HttpResponseRedirect(url)
    context = {
        "notice": notice if notice in NOTICES else None,
        "next": wanted,
        "login_url": None if leads_here else url,
        "upn": None if current is None else get_hooks().get_upn(current.user),
    }
    return render(request, "tap_provider/site_login.html", context)
