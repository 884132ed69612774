"""The headers of every page of the provider, ours and the toolkit's, held by the URL conf that mounts them.

Whatever a view answers that a browser would show gets them: pages, error pages, redirects. JSON stays as it is.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from django.urls import URLPattern

from ..decorators import content_security_policy, is_html, mark_as_page, protect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

LEADS_ELSEWHERE = {"authorize", "rp-initiated-logout"}
"""Names of the pages whose form's answer leads to a client, on an origin of its own.

Chromium holds `form-action` against each redirect after the post, also against those that the client adds.
"""


def provider_pages(patterns: Iterable[URLPattern]) -> list[URLPattern]:
    """Return these patterns with views that send pages as ours are sent; the given ones stay as they are."""
    return [
        URLPattern(
            pattern.pattern,
            _as_page(pattern.callback, posts_elsewhere=pattern.name in LEADS_ELSEWHERE),
            pattern.default_args,
            pattern.name,
        )
        for pattern in patterns
    ]


def _as_page(view: Callable[..., Any], *, posts_elsewhere: bool) -> Callable[..., Any]:
    @wraps(view)
    def protected(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response: HttpResponseBase = view(request, *args, **kwargs)
        if is_html(response):
            protect(response, content_security_policy(request, posts_elsewhere=posts_elsewhere))
        return response

    return mark_as_page(protected)
