"""What all pages share: who is signed in here, and the frame around the content."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from django.shortcuts import render

from .client import SignIn
from .configuration import configuration
from .sessions import SIGN_IN_KEY, SIGNED_OUT_KEY

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


def current_sign_in(request: HttpRequest) -> SignIn | None:
    """Return what the last completed sign-in left in this session."""
    stored = request.session.get(SIGN_IN_KEY)
    return SignIn(**stored) if stored else None


def page(request: HttpRequest, template: str, status: int = HTTPStatus.OK, **context: Any) -> HttpResponse:
    """Render a page with what the frame around it needs."""
    frame = {
        "signed_in": current_sign_in(request),
        "signed_out_by_provider": request.session.pop(SIGNED_OUT_KEY, False),  # told once
        "issuer": configuration().issuer,
    }
    return render(request, f"relying_party/{template}.html", {**frame, **context}, status=status)
