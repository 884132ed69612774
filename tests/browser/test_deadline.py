"""The time to register is up while a page is still open: nothing is stored, and the page says what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from .acts import begin_app
from .conftest import WITHOUT_AUTOFILL, add_authenticator
from .demo_database import let_time_run_out, methods_stored
from .test_story import code_of, use_pass

pytestmark = pytest.mark.browser

NOTHING = {"apps": 0, "passkeys": 0, "recorded": 0}
ENDED = "Your session has ended. If you still need to register a sign-in method, use your Temporary Access Pass again"


@pytest.fixture
def holder(demo: dict[str, Any], new_person: Callable[..., Page]) -> Page:
    page = new_person()
    page.add_init_script(WITHOUT_AUTOFILL)
    with page.expect_navigation(url=demo["security_info_url"]):  # or time would run out before there is a session
        use_pass(page, demo["sign_in_with_pass_url"], demo["user"]["upn"], demo["pass"]["passcode"])
    return page


def expect_clear_page(page: Page) -> None:
    expect(page.get_by_role("status").first).to_contain_text(ENDED)
    expect(page.get_by_role("link", name="Use your Temporary Access Pass instead")).to_be_visible()


def test_time_is_up__an_authenticator_app_is_not_added(demo: dict[str, Any], holder: Page) -> None:
    key = begin_app(holder)
    holder.get_by_label("Code from the app").fill(code_of(key))
    let_time_run_out(demo)
    holder.get_by_role("button", name="Add", exact=True).click()
    expect_clear_page(holder)
    assert methods_stored(demo) == NOTHING


def test_time_is_up__recovery_codes_are_not_made(demo: dict[str, Any], holder: Page) -> None:
    let_time_run_out(demo)
    holder.get_by_role("button", name="Make recovery codes").click()
    expect_clear_page(holder)
    assert methods_stored(demo) == NOTHING


def add_passkey_too_late(page: Page, demo: dict[str, Any], *, step: str) -> int:
    """Add a passkey whose ceremony's first or last request comes after the deadline; return the answer's status."""

    def too_late(route: Route) -> None:
        let_time_run_out(demo)
        route.continue_()

    add_authenticator(page)
    page.route(f"**/registration/{step}/", too_late)
    with page.expect_response(f"**/registration/{step}/") as answer:
        page.locator("#passkey-register-button").click()
    return answer.value.status


@pytest.mark.parametrize("step", ["begin", "complete"])
def test_time_is_up__a_passkey_is_not_added(step: str, demo: dict[str, Any], holder: Page) -> None:
    assert add_passkey_too_late(holder, demo, step=step) == 403
    holder.wait_for_url("**/account/sign-in/?**")
    expect_clear_page(holder)
    assert methods_stored(demo) == NOTHING
