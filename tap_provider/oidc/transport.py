"""How a logout token reaches a relying party: one POST to an address that may be reached, and no further.

The connection is made to the very addresses that were judged, so that no second look-up of the name can lead elsewhere.
Redirects are not followed, proxies of the environment not used, and nothing of an answer is read but its status.
"""

from __future__ import annotations

import socket
import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from threading import Timer
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlencode, urlsplit

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from ..conf import settings

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_SECONDS = 5.0
"""For everything together. A name that takes longer to look up is given up once the system's resolver returns."""

GLOBAL_UNICAST = ip_network("2000::/3")  # RFC 4291 §2.4
NAT64 = ip_network("64:ff9b::/96")  # RFC 6052 §2.1


class NotDelivered(Exception):
    """Nothing came back that could be called an answer; the text says why."""


def validate_uri(uri: str) -> None:
    """Raise ValidationError unless logout tokens may be sent there (Back-Channel Logout 1.0 §2.2).

    Absolute, https, no fragment. Plain http to a loopback address only, and only where the site lists it among
    `TAP_PROVIDER_BACKCHANNEL_NETWORKS`. What a host name stands for is judged at each delivery.
    """
    parts = _split(uri)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValidationError(_("This is not an absolute https URI."), code="not_absolute")
    if "#" in uri or "@" in parts.netloc:
        raise ValidationError(_("The URI must have neither a fragment nor a user name."), code="not_plain")
    address = _literal(parts.hostname)
    if parts.scheme == "http" and not (address.is_loopback if address else parts.hostname == "localhost"):
        raise ValidationError(_("Plain http is for loopback addresses only."), code="not_https")
    if address is not None and not may_reach(address):
        message = _("That address is not public, and not in TAP_PROVIDER_BACKCHANNEL_NETWORKS.")
        raise ValidationError(message, code="address_not_allowed")


def may_reach(address: IPv4Address | IPv6Address) -> bool:
    """Tell whether this address is public, or in a network that the site lists.

    An IPv6 address that a gateway translates is as public as the IPv4 address that it stands for.
    """
    plain = _translated(address) or address
    return _is_public(plain) or any(
        known in network for network in settings.backchannel_networks for known in (address, plain)
    )


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    # Python tells of what is set aside (RFC 6890), older versions not of all; site-local addresses are global to it.
    is_unicast = not address.is_multicast if isinstance(address, IPv4Address) else address in GLOBAL_UNICAST
    return is_unicast and address.is_global


def _translated(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    if isinstance(address, IPv4Address):
        return None
    by_gateway = IPv4Address(int(address) & 0xFFFFFFFF) if address in NAT64 else None
    return address.ipv4_mapped or address.sixtofour or by_gateway


def post_form(uri: str, fields: Mapping[str, str]) -> int:
    """Post a form and return the answer's status; raise NotDelivered where there is no answer in time."""
    try:
        validate_uri(uri)
    except ValidationError as error:
        raise NotDelivered(" ".join(error.messages)) from error
    parts = urlsplit(uri)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = _connection(parts)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Connection": "close"}
    watchdog = Timer(TIMEOUT_SECONDS, connection.cut)
    watchdog.daemon = True
    watchdog.start()
    try:
        connection.request("POST", target, body=urlencode(fields), headers=headers)
        status = connection.getresponse().status
    except (OSError, HTTPException, ValueError) as error:
        raise NotDelivered(_why(error, connection)) from error
    finally:
        watchdog.cancel()
        connection.close()
    if connection.is_cut:  # half a head passes for a whole one
        raise NotDelivered(_why(TimeoutError(), connection))
    return status


class _Connection(HTTPConnection):
    """Connects to addresses that may be reached, and can be cut off from another thread."""

    is_cut = False
    line: socket.socket | None = None

    def connect(self) -> None:
        self.sock = _connected(self.host, self.port)
        self.line = self.sock.dup()  # stays ours where TLS takes the socket over
        if self.is_cut:
            raise TimeoutError

    def cut(self) -> None:
        """End whatever is under way: a peer that sends a byte now and then never meets a socket's own time-out."""
        self.is_cut = True
        if self.line is not None:
            try:
                self.line.shutdown(socket.SHUT_RDWR)
            except OSError:  # it has ended by itself
                return

    def close(self) -> None:
        super().close()
        if self.line is not None:
            self.line.close()


class _TlsConnection(HTTPSConnection, _Connection):
    """The same, and TLS over it: `HTTPSConnection.connect` goes by way of the class above."""


def _connection(parts: SplitResult) -> _Connection:
    host = parts.hostname or ""
    if parts.scheme == "http":
        return _Connection(host, parts.port or 80, timeout=TIMEOUT_SECONDS)
    context = ssl.create_default_context()
    return _TlsConnection(host, parts.port or 443, timeout=TIMEOUT_SECONDS, context=context)


def _connected(host: str, port: int) -> socket.socket:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    allowed = [info for info in found if may_reach(ip_address(info[4][0]))]
    if not allowed:
        raise OSError(f"{found[0][4][0]} is not public, and not in TAP_PROVIDER_BACKCHANNEL_NETWORKS")
    deadline = monotonic() + TIMEOUT_SECONDS
    last: OSError = TimeoutError()
    for family, kind, protocol, _name, address in allowed:
        line = socket.socket(family, kind, protocol)
        try:
            line.settimeout(max(0.001, deadline - monotonic()))
            line.connect(address)
        except OSError as error:
            line.close()
            last = error
        else:
            return line
    raise last


def _why(error: Exception, connection: _Connection) -> str:
    if connection.is_cut or isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT_SECONDS:.0f} seconds"
    return (str(error) or type(error).__name__)[:200]


def _split(uri: str) -> SplitResult | None:
    try:
        parts = urlsplit(uri)
        parts.port  # noqa: B018 raises where it is no number
    except ValueError:
        return None
    return parts if uri.isascii() and uri.isprintable() and " " not in uri else None


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
