"""The address of the client, seen past the site's own proxies (`X-Forwarded-For`).

The position of the address in the header is ours to judge, because it decides what a client can invent. Each address is
parsed by python-ipware: with a port, in brackets, IPv4 within IPv6.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING

from python_ipware import IpWare

from .conf import settings

if TYPE_CHECKING:
    from django.http import HttpRequest

logger = logging.getLogger(__name__)

_ONE = "ONE_ADDRESS"
_parser = IpWare(precedence=(_ONE,))


def client_address(request: HttpRequest) -> str | None:
    """Return the address of the client, seen past as many proxies as `TAP_PROVIDER_TRUSTED_PROXIES` says.

    None if the peer has no address (a Unix socket). An entry that cannot be read counts as none: the address is then
    the peer's, so that a limit by address is never off.
    """
    peer = read_address(request.META.get("REMOTE_ADDR", ""))
    hops = [hop.strip() for hop in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if hop.strip()]
    trusted = settings.trusted_proxies
    if not trusted:
        if hops and (peer is None or ip_address(peer).is_private):
            _warn_of_proxy()
        return peer
    if len(hops) < trusted:
        return peer
    # The last entry was written by the nearest proxy; those further left may be the client's invention.
    address = read_address(hops[-trusted])
    if address is None:
        _warn_of_header()
    return address or peer


def read_address(text: str) -> str | None:
    """Return an IP address without port, brackets and zone, or None if the text is not an address of a host."""
    found, _is_trusted = _parser.get_client_ip({_ONE: text}, strict=True)
    return None if found is None else str(found).partition("%")[0]


@lru_cache(maxsize=1)
def _warn_of_proxy() -> None:
    # No system check can know the proxies of a site. Logged once a process, as is the other.
    logger.warning(
        "A request from a private address has X-Forwarded-For, and TAP_PROVIDER_TRUSTED_PROXIES is 0. If a proxy of "
        "the site sent it, all visitors share one limit of attempts: set the number of proxies."
    )


@lru_cache(maxsize=1)
def _warn_of_header() -> None:
    logger.warning(
        "X-Forwarded-For holds no address where TAP_PROVIDER_TRUSTED_PROXIES says that a proxy has written one. The "
        "visitors behind that proxy share one limit of attempts: compare the setting with the proxies of the site."
    )
