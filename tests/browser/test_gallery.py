"""The pictures of the documentation, taken of the running demo.

    python -m pytest tests/browser --gallery -n 0 -k gallery     writes docs/images/

Nothing that was generated as a secret is in them: pages that show one are left out.
"""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser

from ..serving import ROOT
from .conftest import WITHOUT_AUTOFILL
from .states import every_state

pytestmark = pytest.mark.browser

IMAGES = ROOT / "docs" / "images"
SHOWN = {
    "sign in": "sign-in",
    "pass": "pass",
    "pass, refused": "pass-refused",
    "security info, do you still have these": "security-info",
    "method": "method",
    "method, lost": "method-lost",
    "sign out everywhere": "sign-out-everywhere",
    "delete the pass": "delete-pass",
    "second step": "second-step",
}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 760, "height": 620}, "color_scheme": "light"},
    "dark-phone": {"viewport": {"width": 360, "height": 720}, "color_scheme": "dark", "reduced_motion": "reduce"},
}


@pytest.mark.parametrize("look", LOOKS)
def test_gallery__is_taken(look: str, chromium: Browser, demo: dict[str, Any]) -> None:
    IMAGES.mkdir(exist_ok=True)
    context = chromium.new_context(**LOOKS[look])
    page = context.new_page()
    page.add_init_script(WITHOUT_AUTOFILL)
    taken = set()
    for state in every_state(page, demo):
        if state in SHOWN:
            page.screenshot(path=IMAGES / f"{SHOWN[state]}-{look}.png", full_page=state.startswith("security info"))
            taken.add(state)
    context.close()
    assert taken == set(SHOWN)
