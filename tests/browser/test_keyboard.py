"""The whole story by keyboard alone: no mouse, no touch, nothing that is focused from outside."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from .conftest import WITHOUT_AUTOFILL
from .keyboard import Keyboard
from .states import every_state
from .test_story import code_of

pytestmark = pytest.mark.browser


def test_story__by_keyboard_alone(demo: dict[str, Any], new_person: Callable[..., Page]) -> None:
    page = new_person(viewport={"width": 1024, "height": 800})
    keys = Keyboard(page)
    page.goto(demo["base_url"] + "/account/sign-in/")
    keys.follow("Use your Temporary Access Pass instead")
    keys.write("User name", demo["user"]["upn"])
    keys.write("Passcode", demo["pass"]["passcode"])
    keys.follow("Sign in")
    expect(page).to_have_url(demo["security_info_url"])

    key = add_app(page, keys)
    keys.follow("Make recovery codes")
    expect(page.locator("#recovery-codes li")).to_have_count(10)
    keys.reach("Download")
    keys.follow("Yes, back to Security info")
    expect(page.locator("#method-recovery_codes")).to_contain_text("10 of 10 left")
    keys.follow("Finish", key="Space")
    expect(page.get_by_role("status")).to_contain_text("Done. Sign in with your new method.")

    keys.write("User name", demo["user"]["upn"])
    keys.write("Password", demo["user"]["password"])
    keys.follow("Sign in with password")
    expect(page.get_by_label("Code from the app")).to_be_focused()  # when the page comes: nobody need look for it
    page.keyboard.type(code_of(key, ahead=1))
    keys.follow("Sign in")
    expect(page.locator("main")).to_contain_text("multi-factor")

    page.goto(demo["security_info_url"])
    rename_and_remove(page, keys)
    keys.follow("Sign out everywhere")
    keys.reach("Stay signed in here")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_label("Sign out here too")).to_be_checked()
    keys.follow("Sign out everywhere", key="Space")
    expect(page.get_by_role("status")).to_contain_text("You are signed out everywhere.")


def add_app(page: Page, keys: Keyboard) -> str:
    keys.follow("Add an authenticator app")
    keys.reach("Cannot scan.*", back=True)  # the field below it has the focus when the page comes
    page.keyboard.press("Space")
    expect(page.locator("#totp-key")).to_be_visible()
    key = page.locator("#totp-key").inner_text().replace(" ", "")
    keys.write("Code from the app", code_of(key))
    keys.follow("Add")
    expect(page.get_by_role("status").first).to_contain_text("Authenticator app added.")
    return key


def rename_and_remove(page: Page, keys: Keyboard) -> None:
    keys.follow("Change Authenticator app")
    keys.write("Name", "On my old phone")
    keys.follow("Save the name")
    expect(page.get_by_role("status").first).to_contain_text("The name is saved.")
    keys.follow("Change On my old phone")
    keys.follow("Remove")
    keys.follow("Remove")
    expect(page.get_by_role("status").first).to_contain_text("Removed.")
    expect(page.locator("#method-totp .registered li")).to_have_count(0)


@pytest.mark.parametrize("path", ["/account/sign-in/", "/account/sign-in/pass/"])
def test_skip_link__is_first_shows_itself_and_leads_into_the_content(
    path: str, demo: dict[str, Any], new_person: Callable[..., Page]
) -> None:
    page = new_person(viewport={"width": 320, "height": 640})
    keys = Keyboard(page)
    page.goto(demo["base_url"] + path)
    page.evaluate("() => document.activeElement.blur()")  # a page that puts the focus into a field is past it
    link = page.get_by_role("link", name="Skip to the content")
    expect(link).not_to_be_in_viewport()
    keys.reach("Skip to the content")
    expect(link).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.querySelector('main').contains(document.activeElement)")
    expect(link).not_to_be_in_viewport()


def test_every_state__lets_the_focus_through_and_out_in_either_direction(
    demo: dict[str, Any], new_person: Callable[..., Page]
) -> None:
    page = new_person(viewport={"width": 1024, "height": 800})
    page.add_init_script(WITHOUT_AUTOFILL)
    keys = Keyboard(page)
    seen = set()
    for name in every_state(page, demo):
        kind = re.sub(r", .*", "", name)
        if kind not in seen:  # the states of one page have the same order
            keys.walk()
            keys.walk(back=True)
        seen.add(kind)
    assert len(seen) > 10
