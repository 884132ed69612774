"""What people do on our pages in more than one test."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect

from .test_story import code_of


def begin_app(page: Page) -> str:
    """Open the page that adds an authenticator app; return the key that it shows."""
    page.get_by_role("button", name="Add an authenticator app").click()
    page.locator("summary").click()
    return page.locator("#totp-key").inner_text().replace(" ", "")


def add_app(page: Page) -> tuple[str, str]:
    """Add an authenticator app; return its key, and the code that was entered."""
    key = begin_app(page)
    code = code_of(key)
    page.get_by_label("Code from the app").fill(code)
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#method-totp .registered li")).to_have_count(1)
    return key, code


def give_password(page: Page, demo: dict[str, Any]) -> None:
    page.goto(demo["base_url"] + "/account/sign-in/")
    page.get_by_label("User name").fill(demo["user"]["upn"])
    page.get_by_label("Password").fill(demo["user"]["password"])
    page.get_by_role("button", name="Sign in with password").click()


def confirm_with(page: Page, label: str, code: str) -> None:
    """Fill in the second step's code, send it, and wait for the answer: the page before may say the same."""
    page.get_by_label(label).fill(code)
    with page.expect_response(lambda response: response.request.method == "POST"):
        page.get_by_role("button", name="Sign in", exact=True).click()
