"""The address of the client: what a client says of itself counts nowhere, what a proxy writes is read."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import RequestFactory

from tap_provider import proxies
from tap_provider.hooks import Hooks
from tap_provider.proxies import client_address


@pytest.mark.parametrize(
    ("trusted", "remote", "forwarded", "address"),
    [
        (0, "203.0.113.7", "", "203.0.113.7"),
        (0, "203.0.113.7", "198.51.100.1", "203.0.113.7"),
        (1, "10.0.0.1", "203.0.113.7", "203.0.113.7"),
        (1, "10.0.0.1", "198.51.100.1, 203.0.113.7", "203.0.113.7"),
        (2, "10.0.0.1", "198.51.100.1, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        (1, "10.0.0.1", "", "10.0.0.1"),
        (2, "10.0.0.1", "203.0.113.7", "10.0.0.1"),
        (1, "10.0.0.1", "203.0.113.7, , ", "203.0.113.7"),
        (0, "2001:DB8:0::7", "", "2001:db8::7"),
        (0, "", "", None),
        (0, "unix:", "", None),
        (1, "10.0.0.1", "' OR 1=1", "10.0.0.1"),
        (1, "10.0.0.1", "1.2.3.4:5678", "1.2.3.4"),
        (1, "10.0.0.1", "[2001:db8::1]:443", "2001:db8::1"),
        (1, "10.0.0.1", '"[2001:db8::1]"', "2001:db8::1"),
        (1, "10.0.0.1", "::ffff:1.2.3.4", "1.2.3.4"),
        (1, "10.0.0.1", "fe80::1%eth0", "fe80::1"),
        (1, "10.0.0.1", "unknown", "10.0.0.1"),
        (1, "10.0.0.1", "1.2.3.4:port", "10.0.0.1"),
        (1, "10.0.0.1", "0.0.0.0", "10.0.0.1"),
        (2, "10.0.0.1", "198.51.100.1, unknown, 10.0.0.2", "10.0.0.1"),  # and never what stands further left
        (1, "", "1.2.3.4", "1.2.3.4"),  # a proxy on a Unix socket
    ],
)
def test_client_address__seen_past_the_trusted_proxies_alone(
    trusted: int, remote: str, forwarded: str, address: str | None, settings: Any, rf: RequestFactory
) -> None:
    """Peer failure 17: what a client says of itself in X-Forwarded-For counts nowhere."""
    settings.TAP_PROVIDER_TRUSTED_PROXIES = trusted
    request = rf.get("/", REMOTE_ADDR=remote, **({"HTTP_X_FORWARDED_FOR": forwarded} if forwarded else {}))
    assert client_address(request) == address


@pytest.mark.parametrize(
    ("remote", "forwarded", "trusted", "warnings"),
    [
        ("10.0.0.1", "203.0.113.9", 0, 1),
        ("127.0.0.1", "203.0.113.9", 0, 1),
        ("198.41.0.4", "203.0.113.9", 0, 0),  # the visitor's own invention, perhaps
        ("10.0.0.1", None, 0, 0),
        ("10.0.0.1", "203.0.113.9", 1, 0),
    ],
)
def test_client_address__warns_once_of_a_proxy_that_is_not_counted(
    remote: str, forwarded: str | None, trusted: int, warnings: int, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """All visitors would share one limit of attempts."""
    settings.TAP_PROVIDER_TRUSTED_PROXIES = trusted
    proxies._warn_of_proxy.cache_clear()
    headers = {} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded}
    for _ in range(2):
        client_address(RequestFactory().get("/", REMOTE_ADDR=remote, **headers))
    assert len(caplog.records) == warnings


def test_client_address__warns_once_of_a_header_that_cannot_be_read(
    settings: Any, rf: RequestFactory, caplog: pytest.LogCaptureFixture
) -> None:
    settings.TAP_PROVIDER_TRUSTED_PROXIES = 1
    proxies._warn_of_header.cache_clear()
    for _ in range(2):
        client_address(rf.get("/", REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR="unknown"))
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_client_address__is_what_the_default_hook_answers(rf: RequestFactory) -> None:
    assert Hooks().client_address(rf.get("/", REMOTE_ADDR="203.0.113.7")) == "203.0.113.7"
