"""What a person has asked their system for: less motion, their own colours, text twice the size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from .acts import begin_app
from .conftest import WITHOUT_AUTOFILL
from .states import follow
from .test_accessibility import CUT_OFF
from .test_recovery_codes import make
from .test_story import use_pass

pytestmark = pytest.mark.browser

MOVING = """() => [...document.querySelectorAll("*")].flatMap(one => ["", "::before", "::after"].filter(part => {
  const style = getComputedStyle(one, part || null)
  return style.animationName !== "none" || style.scrollBehavior === "smooth" ||
    style.transitionDuration.split(",").some(time => parseFloat(time) > 0)
}).map(part => one.outerHTML.slice(0, 90) + part))"""
# A button that has no fill of its own left shows by its edge; a field likewise.
EDGELESS = """() => {
  const channels = colour => colour.match(/[\\d.]+/g).map(Number)
  const linear = c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4
  const light = colour => {
    const [red, green, blue] = channels(colour).slice(0, 3).map(c => linear(c / 255))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05
  }
  const differ = (a, b) => Math.max(light(a), light(b)) / Math.min(light(a), light(b)) >= 3
  const hasEdge = one => {
    const style = getComputedStyle(one), behind = getComputedStyle(one.closest(".card, body")).backgroundColor
    const drawn = style.borderTopStyle === "solid" && parseFloat(style.borderTopWidth) >= 1
    return drawn && channels(style.borderTopColor)[3] !== 0 && differ(style.borderTopColor, behind)
  }
  const edged = ".button, main input:not([type=hidden], [type=radio], [type=checkbox])"
  return [...document.querySelectorAll(edged)].filter(one => one.checkVisibility() && !hasEdge(one)).map(
    one => one.outerHTML.slice(0, 120))
}"""


@pytest.fixture
def page(new_person: Callable[..., Page]) -> Page:
    page = new_person(viewport={"width": 1024, "height": 800})
    page.add_init_script(WITHOUT_AUTOFILL)
    return page


def main_pages(page: Page, demo: dict[str, Any]) -> Iterator[str]:
    page.goto(demo["base_url"] + "/account/sign-in/?notice=ended")
    yield "sign in"
    page.goto(demo["sign_in_with_pass_url"])
    yield "pass"
    use_pass(page, demo["sign_in_with_pass_url"], demo["user"]["upn"], demo["pass"]["passcode"])
    yield "security info"
    begin_app(page)
    yield "authenticator app"
    page.goto(demo["security_info_url"])
    make(page)
    yield "recovery codes"
    page.goto(demo["security_info_url"])
    follow(page, page.get_by_role("link", name="Change Password"))
    yield "method"
    page.goto(demo["security_info_url"] + "sign-out-everywhere/")
    yield "sign out everywhere"


def test_reduced_motion__nothing_moves(demo: dict[str, Any], page: Page) -> None:
    moving, moving_otherwise = {}, {}
    for name in main_pages(page, demo):
        page.emulate_media(reduced_motion="reduce")
        moving[name] = page.evaluate(MOVING)
        page.emulate_media(reduced_motion="no-preference")
        moving_otherwise[name] = page.evaluate(MOVING)
    assert {name: found for name, found in moving.items() if found} == {}
    assert all(moving_otherwise.values())  # there is something to hold still, and this sees it


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_forced_colours__buttons_and_fields_keep_an_edge(scheme: Any, demo: dict[str, Any], page: Page) -> None:
    edgeless = {}
    for name in main_pages(page, demo):
        page.emulate_media(forced_colors="active", color_scheme=scheme)
        assert page.evaluate("matchMedia('(forced-colors: active)').matches")
        found = page.evaluate(EDGELESS)
        if found:
            edgeless[name] = found
    assert edgeless == {}


def test_text_at_200_percent__is_not_cut_off_on_a_phone(demo: dict[str, Any], page: Page) -> None:
    """WCAG 2.2 §1.4.4: text twice the size, where nothing but the text grows. Zoom proper is the 320 pixel test."""
    page.set_viewport_size({"width": 360, "height": 740})
    cut_off = {}
    for name in main_pages(page, demo):
        page.evaluate("() => { document.documentElement.style.fontSize = '200%' }")
        wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
        found = page.evaluate(CUT_OFF)
        if wide or found:
            cut_off[name] = found
    assert cut_off == {}
