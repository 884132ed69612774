"""What the pages weigh, and that nothing moves while they load."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Response

from .conftest import WITHOUT_AUTOFILL
from .test_story import use_pass

pytestmark = pytest.mark.browser

SCRIPT_BYTES = 30 * 1024
SHIFTS = """() => new Promise(resolve => {
  let sum = 0
  new PerformanceObserver(list => list.getEntries().forEach(entry => { sum += entry.value }))
    .observe({type: "layout-shift", buffered: true})
  requestAnimationFrame(() => setTimeout(() => resolve(sum), 300))
})"""


@pytest.fixture
def answers(new_person: Callable[..., Page]) -> tuple[Page, list[Response]]:
    page = new_person(viewport={"width": 390, "height": 844})
    page.add_init_script(WITHOUT_AUTOFILL)
    received: list[Response] = []
    page.on("response", lambda answer: received.append(answer))
    return page, received


@pytest.mark.parametrize("path", ["/account/sign-in/", "/account/sign-in/pass/"])
def test_sign_in__needs_30_kb_of_script_at_most_and_nothing_moves(
    path: str, demo: dict[str, Any], answers: tuple[Page, list[Response]]
) -> None:
    page, received = answers
    page.goto(demo["base_url"] + path, wait_until="networkidle")
    scripts = [answer for answer in received if "javascript" in answer.headers.get("content-type", "")]
    assert scripts
    assert sum(len(script.body()) for script in scripts) <= SCRIPT_BYTES
    assert page.evaluate(SHIFTS) == 0


def test_pages__ask_nobody_else_for_anything(demo: dict[str, Any], answers: tuple[Page, list[Response]]) -> None:
    page, received = answers
    page.goto(demo["base_url"] + "/account/sign-in/", wait_until="networkidle")
    use_pass(page, demo["sign_in_with_pass_url"], demo["user"]["upn"], demo["pass"]["passcode"])
    page.wait_for_load_state("networkidle")
    assert [answer.url for answer in received if not answer.url.startswith(demo["base_url"])] == []
