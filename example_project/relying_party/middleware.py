"""Headers of every page: nothing inline, nothing from elsewhere, nothing kept by a cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

# Django 5.2 has no Content-Security-Policy of its own. form-action may stay 'self': the only form is "sign out", and
# sign-ins start from links (Chromium applies form-action to the redirects that follow a form, too).
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class PageHeadersMiddleware:
    """Set the Content-Security-Policy, and `no-store` where nothing else (the static files) set a cache policy."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        response.headers.setdefault("Cache-Control", "no-store")
        return response
