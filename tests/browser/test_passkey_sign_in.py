"""Signing in with a passkey, and with one that is not registered any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from .conftest import WITHOUT_AUTOFILL, add_authenticator
from .test_security_info import credentials_of, until
from .test_story import use_pass

pytestmark = pytest.mark.browser


@pytest.fixture
def holder(demo: dict[str, Any], new_person: Callable[..., Page]) -> tuple[Page, Any, str]:
    """Robin on Security info with a new passkey; the session and id of the virtual authenticator that holds it."""
    page = new_person()
    page.add_init_script(WITHOUT_AUTOFILL)
    use_pass(page, demo["sign_in_with_pass_url"], demo["user"]["upn"], demo["pass"]["passcode"])
    session, authenticator = add_authenticator(page)
    page.locator("#passkey-register-button").click()
    page.wait_for_url("**registered=passkey**")
    return page, session, authenticator


@pytest.mark.parametrize("typed", ["robin@example.test", "ROBIN@example.test ", ""])
def test_sign_in__with_a_passkey_whether_or_not_the_user_name_was_typed_first(
    typed: str, demo: dict[str, Any], holder: tuple[Page, Any, str]
) -> None:
    robin, _session, _authenticator = holder
    robin.get_by_role("button", name="Finish").click()
    robin.get_by_label("User name").fill(typed)
    robin.get_by_role("button", name="Sign in with a passkey").click()
    robin.wait_for_url(demo["base_url"] + "/")
    expect(robin.locator("main")).to_contain_text("phishing-resistant")
    robin.goto(demo["security_info_url"])
    expect(robin.locator("main")).to_contain_text(f"These are the ways in which {demo['user']['upn']} signs in.")


def test_sign_in__a_removed_passkey_is_refused_and_the_browser_forgets_it(
    demo: dict[str, Any], holder: tuple[Page, Any, str]
) -> None:
    robin, session, authenticator = holder
    robin.get_by_role("link", name="Change Passkey").click()
    robin.get_by_role("link", name="Remove", exact=True).click()
    robin.get_by_role("button", name="Remove", exact=True).click()
    expect(robin.get_by_role("status").first).to_contain_text("Removed. Nobody signs in with it any more.")
    robin.get_by_role("button", name="Finish").click()

    assert len(credentials_of(session, authenticator)) == 1  # the browser still has it, and offers it
    robin.get_by_label("User name").fill(demo["user"]["upn"])
    with robin.expect_response("**/authentication/complete/**") as answer:
        robin.get_by_role("button", name="Sign in with a passkey").click()
    assert answer.value.status in range(400, 500)
    expect(robin.locator("#passkey-verification-status-message")).to_be_visible()
    expect(robin.locator("#passkey-verification-status-message")).not_to_be_empty()
    assert until(robin, lambda: credentials_of(session, authenticator) == [])
    robin.goto(demo["base_url"] + "/members/")
    assert "/account/sign-in/?next=" in robin.url
