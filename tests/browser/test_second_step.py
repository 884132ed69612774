"""The second step of a sign-in by password: which codes it takes, and which it refuses."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from .acts import add_app, confirm_with, give_password
from .demo_database import let_lockout_pass
from .test_recovery_codes import make
from .test_story import code_of, use_pass

pytestmark = pytest.mark.browser

SECOND_STEP = re.compile("/account/sign-in/verify/")
APP, RECOVERY_CODE = "Code from the app", "Recovery code"


@pytest.fixture
def holder(demo: dict[str, Any], new_person: Callable[..., Page]) -> Page:
    """Robin, who also has a password, on Security info."""
    page = new_person()
    use_pass(page, demo["sign_in_with_pass_url"], demo["user"]["upn"], demo["pass"]["passcode"])
    return page


def expect_refusal(page: Page, message: str) -> None:
    """A person who sees nothing hears it, and is still where the next code can be entered."""
    expect(page.get_by_role("alert")).to_contain_text(message)
    expect(page).to_have_url(SECOND_STEP)
    expect(page).to_have_title(re.compile("^Error:"))


def test_second_step__takes_neither_a_wrong_code_of_the_app_nor_a_used_one_but_the_next(
    demo: dict[str, Any], holder: Page, new_person: Callable[..., Page]
) -> None:
    key, used = add_app(holder)
    holder.get_by_role("button", name="Finish").click()
    give_password(holder, demo)

    wrong = f"{(int(code_of(key)) + 1) % 1_000_000:06d}"
    confirm_with(holder, APP, wrong)
    expect_refusal(holder, "That code is not right. Wait for the next one, then try again.")
    let_lockout_pass(demo)  # or what follows would be refused for that alone
    confirm_with(holder, APP, used)
    expect_refusal(holder, "That code is not right. Wait for the next one, then try again.")

    let_lockout_pass(demo)
    right = code_of(key, ahead=1)
    confirm_with(holder, APP, right)
    holder.wait_for_url(demo["base_url"] + "/")
    expect(holder.locator("main")).to_contain_text("multi-factor")

    somebody_who_looked_on = new_person()
    give_password(somebody_who_looked_on, demo)
    confirm_with(somebody_who_looked_on, APP, right)
    expect_refusal(somebody_who_looked_on, "That code is not right.")


def test_second_step__takes_a_recovery_code_instead_once(
    demo: dict[str, Any], holder: Page, new_person: Callable[..., Page]
) -> None:
    add_app(holder)
    code, another = make(holder)[:2]
    holder.get_by_role("link", name="back to Security info").click()
    holder.get_by_role("button", name="Finish").click()
    give_password(holder, demo)
    use_recovery_code_instead(holder, code)
    holder.wait_for_url(demo["base_url"] + "/")
    expect(holder.locator("main")).to_contain_text("multi-factor")
    holder.goto(demo["security_info_url"])
    expect(holder.locator("#method-recovery_codes")).to_contain_text("9 of 10 left")

    elsewhere = new_person()
    give_password(elsewhere, demo)
    use_recovery_code_instead(elsewhere, code)
    expect_refusal(elsewhere, "That code is not right, or was used before. Try another one.")
    holder.reload()
    expect(holder.locator("#method-recovery_codes")).to_contain_text("9 of 10 left")
    confirm_with(elsewhere, RECOVERY_CODE, another.lower().replace("-", " "))  # as a person copies it from paper
    elsewhere.wait_for_url(demo["base_url"] + "/")
    holder.reload()
    expect(holder.locator("#method-recovery_codes")).to_contain_text("8 of 10 left")


def use_recovery_code_instead(page: Page, code: str) -> None:
    page.get_by_role("link", name="Use this instead: Recovery codes").click()
    expect(page.get_by_label(APP)).to_have_count(0)
    confirm_with(page, RECOVERY_CODE, code)
