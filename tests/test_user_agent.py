"""On what somebody signed in, as far as their browser told."""

from __future__ import annotations

import time

import pytest
from django.utils.html import escape

from tap_provider.user_agent import UNKNOWN, device_of

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36"
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.5 Mobile/15E148 Safari/604.1"
)


@pytest.mark.parametrize(
    ("told", "device"),
    [
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0", "Firefox on Windows"),
        (CHROME, "Chrome on Linux"),
        (SAFARI, "Mobile Safari on iOS"),
        ("curl/8.5.0", "curl"),
        ("Windows NT 10.0", "Windows"),
    ],
)
def test_device_of__is_browser_and_system_as_far_as_known(told: str, device: str) -> None:
    assert device_of(told) == device


@pytest.mark.parametrize("told", ["", " ", "<script>alert(1)</script>", "A" * 256, "\ud800", "%s %(browser)s", "\xff"])
def test_device_of__what_tells_nothing_is_unknown(told: str) -> None:
    assert device_of(told) == UNKNOWN


@pytest.mark.parametrize("told", [f"{CHROME} <b>", "<i>Mobile/1.2 Safari/3", "Opera/9 (<b>; Linux)", "<a>bot/1.0 <b>"])
def test_device_of__is_plain_text_to_be_escaped(told: str) -> None:
    assert "<" not in escape(device_of(told))


@pytest.mark.parametrize("told", ["Mozilla/5.0 " + "(" * 244, "; " * 128, "a b/1 " * 42, "AppleWebKit/" * 21])
def test_device_of__no_browser_can_keep_it_busy(told: str) -> None:
    begun = time.perf_counter()
    device_of(told[:256])
    assert time.perf_counter() - begun < 1
