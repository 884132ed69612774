"""Every page in every state: no fault that axe-core finds, in both colour schemes; nothing cut off at 320 pixels."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from ..conftest import in_ci
from .conftest import WITHOUT_AUTOFILL
from .states import every_state

pytestmark = pytest.mark.browser

NARROW, WIDE = {"width": 320, "height": 640}, {"width": 1024, "height": 800}
AXE = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations.map(
  found => `${found.id}: ${found.nodes.map(node => node.html).join(" | ")}`)"""
CUT_OFF = """() => [...document.querySelectorAll("body *")].filter(
  one => !one.closest(".visually-hidden, .skip, [hidden]") && one.getBoundingClientRect().right > innerWidth + 1
).map(one => one.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, at the version that package.json names."""
    place = tmp_path_factory.mktemp("axe")
    shutil.copy(Path(__file__).parent / "package.json", place)
    command = ["npm", "install", "--prefix", str(place), "--no-package-lock", "--no-audit", "--no-fund", "--silent"]
    found = shutil.which("npm")
    installed = None if found is None else subprocess.run(command, capture_output=True, text=True, check=False)
    if installed is None or installed.returncode:
        why = "axe-core comes from npm, which is not there" if installed is None else installed.stderr
        pytest.fail(why) if in_ci() else pytest.skip(why)
    return (place / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")


@pytest.fixture
def page(new_person: Callable[..., Page]) -> Page:
    page = new_person(viewport=WIDE)
    page.add_init_script(WITHOUT_AUTOFILL)
    return page


def test_every_state__has_no_violation_in_either_colour_scheme(page: Page, axe: str, demo: dict[str, Any]) -> None:
    violations = {}
    for name in every_state(page, demo):
        page.evaluate(axe)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            found = page.evaluate(AXE)
            if found:
                violations[f"{name}, {scheme}"] = found
    assert violations == {}


@pytest.mark.parametrize("direction", ["ltr", "rtl"])
def test_every_state__fits_320_pixels_in_either_direction(direction: str, page: Page, demo: dict[str, Any]) -> None:
    """320 pixels are also 1280 at 400 % (WCAG 2.2 §1.4.10)."""
    cut_off = {}
    for name in every_state(page, demo):
        page.set_viewport_size(NARROW)  # type: ignore[arg-type]
        page.evaluate("direction => document.documentElement.dir = direction", direction)
        wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
        found = page.evaluate(CUT_OFF)
        if wide or found:
            cut_off[name] = found
        page.set_viewport_size(WIDE)  # type: ignore[arg-type]
    assert cut_off == {}
