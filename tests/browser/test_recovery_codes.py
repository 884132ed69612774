"""Recovery codes in a real browser: kept by download, print and copy, under the strict policy and without a script."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from .test_story import use_pass

pytestmark = pytest.mark.browser


def test_recovery_codes__are_kept_by_download_copy_and_print(
    demo: dict[str, Any], new_person: Callable[..., Page]
) -> None:
    robin = new_person(permissions=["clipboard-read", "clipboard-write"])
    use_pass(robin, demo["sign_in_with_pass_url"], demo["user"]["upn"], demo["pass"]["passcode"])
    codes = make(robin)
    assert downloaded(robin) == codes

    robin.get_by_role("button", name="Copy the codes").click()
    assert robin.evaluate("navigator.clipboard.readText()").split("\n") == codes

    robin.evaluate("window.print = () => { window.printed = true }")
    robin.get_by_role("button", name="Print").click()
    assert robin.evaluate("window.printed")
    robin.emulate_media(media="print")
    on_paper = robin.locator("body").inner_text().split("\n")
    site = demo["base_url"].removeprefix("http://")
    assert on_paper[:5] == ["Site", site, "User name", demo["user"]["upn"], "Made"]
    assert on_paper[6:] == codes

    robin.emulate_media(media="screen")
    robin.get_by_role("link", name="back to Security info").click()
    expect(robin.locator("#method-recovery_codes")).to_contain_text("10 of 10 left")
    expect(robin.locator("body")).not_to_contain_text(codes[0])


def test_recovery_codes__are_kept_without_a_script_and_at_320_pixels(
    demo: dict[str, Any], new_person: Callable[..., Page]
) -> None:
    robin = new_person(java_script_enabled=False, viewport={"width": 320, "height": 640})
    use_pass(robin, demo["sign_in_with_pass_url"], demo["user"]["upn"], demo["pass"]["passcode"])
    codes = make(robin)
    assert downloaded(robin) == codes
    expect(robin.get_by_role("button", name="Print")).to_be_hidden()
    expect(robin.get_by_role("button", name="Copy the codes")).to_be_hidden()
    boxes = [item.bounding_box() for item in robin.locator("main *").all()]
    assert max(box["x"] + box["width"] for box in boxes if box) <= 320


def make(page: Page) -> list[str]:
    page.get_by_role("button", name="Make recovery codes").click()
    expect(page.locator("#recovery-codes li")).to_have_count(10)
    return page.locator("#recovery-codes li").all_inner_texts()


def downloaded(page: Page) -> list[str]:
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "recovery-codes.txt"
    text = Path(download.value.path()).read_text(encoding="utf-8")
    return re.findall(r"^\w{4}-\w{4}-\w{4}-\w{4}$", text, re.M)
