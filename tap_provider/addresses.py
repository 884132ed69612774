"""Absolute addresses of this site's own pages, for mails and for what an administrator hands over.

`TAP_PROVIDER_BASE_URL` decides where it is set: the `Host` header of a request is the client's invention.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from django.conf import settings as django_settings
from django.urls import NoReverseMatch, get_script_prefix, reverse

from .conf import settings
from .handle import handle_of

if TYPE_CHECKING:
    from uuid import UUID

    from django.http import HttpRequest


def security_info_url() -> str:
    """Return the address of Security info, or "" without `TAP_PROVIDER_BASE_URL`."""
    if not settings.base_url:
        return ""
    try:
        return absolute_url(_path_of("security_info"))
    except NoReverseMatch:
        return ""


def pass_sign_in_url(pass_id: UUID, *, request: HttpRequest | None = None) -> str:
    """Return the address at which the holder of this pass signs in, with the pass's handle.

    Without `TAP_PROVIDER_BASE_URL` the address follows the host of `request`; without a request it is a path.
    """
    query = urlencode({"handle": handle_of(pass_id)})
    return f"{absolute_url(_path_of('sign_in_with_pass'), request=request)}?{query}"


def absolute_url(path: str, *, request: HttpRequest | None = None) -> str:
    """Return the address of a page of this site.

    Without `TAP_PROVIDER_BASE_URL` it follows the host of `request`; without a request it is the path.
    """
    if settings.base_url:
        # The prefix is the request's, if there is one: the setting has the whole of it.
        return f"{settings.base_url}/{path.removeprefix(get_script_prefix())}"
    return path if request is None else request.build_absolute_uri(path)


def site_name(request: HttpRequest) -> str:
    """Return the host of the site as people know it, with its port if that is not the usual one."""
    return urlsplit(settings.base_url).netloc or request.get_host()


def _path_of(name: str) -> str:
    """Return the path of a page in the URL conf of the site, or else in that of the request."""
    try:
        return reverse(f"tap_provider:{name}", urlconf=django_settings.ROOT_URLCONF)
    except NoReverseMatch:
        return reverse(f"tap_provider:{name}")
