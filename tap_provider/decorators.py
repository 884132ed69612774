"""What a view of ours, or of the site, may be marked with."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.core.exceptions import BadRequest
from django.utils.cache import add_never_cache_headers, patch_cache_control
from django.utils.http import url_has_allowed_host_and_scheme

from .registration_session import allow as registration_session_allowed
from .registration_session import resolve_ours

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

__all__ = ["no_store", "page", "registration_session_allowed"]

ViewT = TypeVar("ViewT", bound="Callable[..., HttpResponseBase]")


def no_store(response: HttpResponseBase) -> HttpResponseBase:
    """Forbid every cache, the browser's history included, to keep this response."""
    add_never_cache_headers(response)
    patch_cache_control(response, no_store=True)
    return response


def page(view: ViewT) -> ViewT:
    """Send this view's pages with a strict Content-Security-Policy, uncached, without a referrer."""

    @wraps(view)
    def protected(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if (request.content_params or {}).get("charset", "utf-8").lower() not in {"utf-8", "utf8"}:
            raise BadRequest("Forms are encoded in UTF-8.")  # other encodings yield text that nothing can store
        response = view(request, *args, **kwargs)
        return protect(response, content_security_policy(request))

    return mark_as_page(protected)  # type: ignore[return-value]


def mark_as_page(view: ViewT) -> ViewT:
    """Note that what is answered in this view's place is protected, too (see `protect_in_its_place`)."""
    view.is_tap_page = True  # type: ignore[attr-defined]
    return view


def protect(response: HttpResponseBase, policy: str) -> HttpResponseBase:
    """Add the headers of our pages, with this Content-Security-Policy; one that is there already stays."""
    if "no-store" not in response.headers.get("Cache-Control", ""):
        no_store(response)
    response.headers.setdefault("Content-Security-Policy", policy)
    response.headers.setdefault("Referrer-Policy", "same-origin")
    response.headers.setdefault("X-Frame-Options", "DENY")
    return response


def protect_in_its_place(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Protect what Django or the site answers in place of a page of ours: 403 of the CSRF middleware, 404, 500.

    Such a page is the site's: it is neither framed nor kept, but its styles and scripts are its own.
    """
    match = request.resolver_match
    if match is not None and getattr(match.func, "is_tap_page", False) and is_html(response):
        protect(response, "frame-ancestors 'none'")
    return response


def is_html(response: HttpResponseBase) -> bool:
    """Tell whether a browser would show this response as a page."""
    return response.headers.get("Content-Type", "").startswith("text/html")


def content_security_policy(request: HttpRequest, *, posts_elsewhere: bool | None = None) -> str:
    """Return the policy of our pages: nothing inline, nothing foreign.

    `posts_elsewhere`: whether a form's answer may lead to another origin; where it is None, the request's `next` tells.
    """
    source = " ".join(["'self'", *_static_origin()])
    directives = [
        "default-src 'none'",
        f"script-src {source}",
        f"style-src {source}",
        f"font-src {source}",
        f"img-src {source}",
        "connect-src 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ]
    if not (_leads_to_authorization(request) if posts_elsewhere is None else posts_elsewhere):
        directives.append("form-action 'self'")
    return "; ".join(directives)


def _static_origin() -> list[str]:
    static = urlsplit(django_settings.STATIC_URL or "")
    return [f"{static.scheme or 'https'}://{static.netloc}"] if static.netloc else []


def _leads_to_authorization(request: HttpRequest) -> bool:
    # Chromium holds `form-action` against every redirect after a form post. A sign-in on the way to an authorization
    # endpoint ends at the relying party, on an origin that only that endpoint can vouch for.
    wanted = request.GET.get("next", request.POST.get("next", ""))
    if not url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure()):
        return False
    match = resolve_ours(wanted, host=request.get_host())
    return match is not None and match.url_name == "authorize"
