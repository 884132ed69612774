"""Security info in a real browser: what somebody does with the methods that they have, on a bad day."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page, expect

from .acts import add_app, confirm_with, give_password
from .conftest import WITHOUT_AUTOFILL, add_authenticator
from .test_story import issue_pass, sign_in_to_admin, use_pass

pytestmark = pytest.mark.browser


@pytest.fixture
def enter(demo: dict[str, Any], new_person: Callable[..., Page]) -> Callable[..., Page]:
    """Open a browser of Robin's with a pass: the one that the demo has issued, or another."""

    def with_pass(passcode: str | None = None, **options: Any) -> Page:
        page = new_person(**options)
        page.add_init_script(WITHOUT_AUTOFILL)
        use_pass(page, demo["sign_in_with_pass_url"], demo["user"]["upn"], passcode or demo["pass"]["passcode"])
        expect(page).to_have_url(demo["security_info_url"])
        return page

    return with_pass


def register(page: Page) -> tuple[Any, str]:
    authenticator = add_authenticator(page)
    page.locator("#passkey-register-button").click()
    page.wait_for_url("**registered=passkey**")
    return authenticator


def finish_and_sign_in(page: Page) -> None:
    page.get_by_role("button", name="Finish").click()
    page.locator("#passkey-verification-button").click()
    page.wait_for_url("**/")


def credentials_of(session: Any, authenticator: str) -> list[Any]:
    told: list[Any] = session.send("WebAuthn.getCredentials", {"authenticatorId": authenticator})["credentials"]
    return told


def until(page: Page, is_so: Callable[[], bool]) -> bool:
    """Wait for something that happens outside the page, for five seconds at most."""
    for _ in range(50):
        if is_so():
            return True
        page.wait_for_timeout(100)
    return False


def test_lost__signs_the_other_browser_out_and_the_passkey_is_good_for_nothing(
    demo: dict[str, Any], enter: Callable[..., Page], new_person: Callable[..., Page]
) -> None:
    laptop = enter()
    session, authenticator = register(laptop)
    finish_and_sign_in(laptop)
    laptop.goto(demo["base_url"] + "/members/")
    administrator = new_person(permissions=["clipboard-read", "clipboard-write"])
    sign_in_to_admin(administrator, demo)
    phone = enter(issue_pass(administrator, demo)[0])
    register(phone)

    still_have = phone.get_by_role("region", name="Do you still have these?")
    still_have.get_by_role("link", name=re.compile("I lost this.*Passkey")).click()
    expect(phone.locator("main")).to_contain_text("1 sign-in that was made with it ends")
    phone.get_by_role("button", name="I lost it: remove it").click()

    expect(phone.get_by_role("status").first).to_contain_text("every sign-in that was made with it has ended")
    expect(phone.locator("#method-passkey .registered li")).to_have_count(1)
    laptop.goto(demo["base_url"] + "/members/")
    assert "/account/sign-in/?next=" in laptop.url
    laptop.locator("#passkey-verification-button").click()
    expect(laptop.locator("#passkey-verification-status-message")).not_to_be_empty()
    assert "/account/sign-in/" in laptop.url
    # Where the browser listens (Chromium does), its passkey is gone as well.
    assert until(laptop, lambda: credentials_of(session, authenticator) == [])


def test_register__the_same_authenticator_twice_is_refused(enter: Callable[..., Page]) -> None:
    robin = enter()
    register(robin)
    robin.locator("#passkey-register-button").click()
    expect(robin.locator("#passkey-register-status-message")).not_to_be_empty()
    robin.reload()
    expect(robin.locator("#method-passkey .registered li")).to_have_count(1)


def test_register__a_cancelled_ceremony_leaves_nothing_and_may_be_tried_again(enter: Callable[..., Page]) -> None:
    robin = enter()
    session, authenticator = add_authenticator(robin)
    session.send("WebAuthn.setUserVerified", {"authenticatorId": authenticator, "isUserVerified": False})
    robin.locator("#passkey-register-button").click()
    expect(robin.locator("#passkey-register-status-message")).not_to_be_empty()
    expect(robin.locator("#passkey-register-button")).to_be_enabled()
    session.send("WebAuthn.setUserVerified", {"authenticatorId": authenticator, "isUserVerified": True})
    robin.locator("#passkey-register-button").click()
    robin.wait_for_url("**registered=passkey**")


def test_rename__by_keyboard_alone(enter: Callable[..., Page]) -> None:
    robin = enter()
    register(robin)
    link = robin.get_by_role("link", name="Change Passkey")
    link.focus()
    robin.keyboard.press("Enter")
    field = robin.get_by_label("Name")
    field.focus()
    robin.keyboard.press("Control+A")
    robin.keyboard.type("On my key ring")
    robin.keyboard.press("Enter")
    expect(robin.get_by_role("status").first).to_contain_text("The name is saved.")
    expect(robin.locator("#method-passkey .name")).to_have_text("On my key ring")


def test_time_left__is_told_and_the_page_says_when_it_is_up(demo: dict[str, Any], enter: Callable[..., Page]) -> None:
    robin = enter()
    expect(robin.locator(".time-left")).to_have_text(re.compile(r"^This session ends in \d+ (minutes|hours?)\.$"))
    robin.clock.install()
    robin.reload()
    robin.context.clear_cookies()  # as the server does when it is up
    robin.clock.fast_forward("24:00:00")
    robin.wait_for_url("**/account/sign-in/**")


def test_times__are_in_the_zone_of_who_reads_them_and_name_it(enter: Callable[..., Page]) -> None:
    robin = enter(timezone_id="America/Sao_Paulo", locale="en-GB")
    time = robin.locator("#session time")
    at = datetime.fromisoformat(str(time.get_attribute("datetime")))
    local = at.astimezone(ZoneInfo("America/Sao_Paulo"))
    expect(time).to_contain_text(local.strftime("%H:%M"))
    expect(time).to_contain_text("GMT-3")


def test_without_a_script__everything_but_passkeys_works(demo: dict[str, Any], enter: Callable[..., Page]) -> None:
    robin = enter(java_script_enabled=False)
    _key, code = add_app(robin)
    assert re.fullmatch(r"[0-9]{6}", code)
    robin.get_by_role("button", name="Make recovery codes").click()
    recovery_code = robin.locator("#recovery-codes li").first.inner_text()
    robin.get_by_role("link", name="Security info").first.click()
    robin.get_by_role("link", name="Change Authenticator app").click()
    robin.get_by_label("Name").fill("My phone")
    robin.get_by_role("button", name="Save the name").click()
    robin.get_by_role("button", name="Finish").click()

    give_password(robin, demo)
    robin.get_by_role("link", name="Use this instead: Recovery codes").click()
    confirm_with(robin, "Recovery code", recovery_code)
    robin.goto(demo["security_info_url"])
    expect(robin.locator("#sign-ins li")).to_have_count(1)
    robin.get_by_role("link", name="Change My phone").click()
    robin.get_by_role("link", name="Remove", exact=True).click()
    robin.get_by_role("button", name="Remove").click()
    expect(robin.get_by_role("status").first).to_contain_text("Removed.")
    robin.get_by_role("link", name="Delete this pass").click()
    robin.get_by_role("button", name="Delete this pass").click()
    expect(robin.get_by_role("status").first).to_contain_text("deleted")
    robin.get_by_role("link", name="Sign out everywhere").click()
    robin.get_by_label("Sign out here too").check()
    robin.get_by_role("button", name="Sign out everywhere").click()
    expect(robin.get_by_role("status")).to_contain_text("You are signed out everywhere.")
