"""A site around the sign-in: a public page, and one for signed-in people only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth.decorators import login_required
from django.shortcuts import render
from django.utils import timezone

from tap_provider.authentication_context import current_context

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


def home(request: HttpRequest) -> HttpResponse:
    """Say who is signed in, and how strongly."""
    context = current_context(request, now=timezone.now()) if request.user.is_authenticated else None
    return render(request, "example_project/home.html", {"context": context})


@login_required
def members(request: HttpRequest) -> HttpResponse:
    """Open to full sessions only: a registration-only session is anonymous here."""
    return render(request, "example_project/members.html")
