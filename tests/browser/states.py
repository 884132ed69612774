"""Every page of ours in each of its states, reached one after the other as a person reaches it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from playwright.sync_api import Locator, Page

from .acts import add_app, give_password
from .conftest import add_authenticator
from .demo_database import set_policy
from .test_story import use_pass

NOTICES = ("ended", "finished", "signed_out", "signed_out_everywhere", "lost", "pass_deleted")
SECURITY_INFO_NOTICES = (
    "renamed",
    "removed",
    "lost",
    "sign_in_ended",
    "sign_in_gone",
    "signed_out_everywhere",
    "pass_deleted",
)
SECURITY_INFO = "/account/security-info/"
Go = Callable[[str], None]
Press = Callable[[str], None]


def every_state(page: Page, demo: dict[str, Any]) -> Iterator[str]:
    """Yield the name of each state while the page shows it."""

    def go(path: str) -> None:
        page.goto(demo["base_url"] + path)

    def press(name: str) -> None:
        follow(page, page.get_by_role("button", name=name, exact=True))

    def enter() -> None:
        with page.expect_navigation(url=re.compile("security-info")):
            use_pass(page, demo["sign_in_with_pass_url"], demo["user"]["upn"], demo["pass"]["passcode"])

    yield from _signing_in(page, demo, go, press)
    give_password(page, demo)
    go(SECURITY_INFO)
    yield "security info, nothing may be added"
    by_password_alone = page.context.cookies()
    page.context.clear_cookies()
    enter()
    yield "security info, nothing registered"
    yield from _required(page, demo, go, press)
    yield from _registering(page, press)
    press("Finish")
    yield "finished"

    enter()
    _register_passkey(page)
    yield "security info, do you still have these"
    yield from _changing(page, press)
    yield from _noticing(go)
    for path, name in (("sign-out-everywhere/", "sign out everywhere"), ("pass/delete/", "delete the pass")):
        go(SECURITY_INFO + path)
        yield name
    go("/account/sign-out/")
    yield "sign out"
    press("Sign out")
    yield from _second_step(page, demo, press)
    page.context.add_cookies(by_password_alone)  # the other browser of the same person's, where that goes on
    yield from _stepping_up(page, go, press)


def follow(page: Page, leads_on: Locator) -> None:
    """Click what leads to another page, and wait until that one is there."""
    with page.expect_navigation():
        leads_on.click()


def _signing_in(page: Page, demo: dict[str, Any], go: Go, press: Press) -> Iterator[str]:
    go("/account/sign-in/")
    yield "sign in"
    page.locator("#id_upn").fill(demo["user"]["upn"])
    page.locator("#id_password").fill("wrong")
    press("Sign in with password")
    yield "sign in, refused"
    for notice in NOTICES:
        go(f"/account/sign-in/?notice={notice}")
        yield f"sign in, {notice}"
    go("/account/sign-in/pass/")
    yield "pass"
    page.locator("#id_upn").fill(demo["user"]["upn"])
    page.locator("#id_passcode").fill("ABCD-EFGH")
    press("Sign in")
    yield "pass, refused"


def _required(page: Page, demo: dict[str, Any], go: Go, press: Press) -> Iterator[str]:
    set_policy(demo, require_registration=True)
    go(SECURITY_INFO)
    yield "security info, registration is required"
    press("Finish")
    yield "security info, finish refused"
    set_policy(demo, require_registration=False)
    follow(page, page.get_by_role("link", name="Change Password", exact=True))
    yield "method, may not be removed"
    page.goto(page.url + "remove/")
    yield "method, remove, may not be removed"
    go(SECURITY_INFO)


def _registering(page: Page, press: Press) -> Iterator[str]:
    press("Add an authenticator app")
    page.locator("summary").click()
    yield "authenticator app"
    page.locator("#id_code").fill("000000")
    press("Add")
    yield "authenticator app, refused"
    follow(page, page.get_by_role("link", name="Back to Security info"))
    add_app(page)
    yield "security info, an app was added"
    press("Make recovery codes")
    yield "recovery codes"
    follow(page, page.get_by_role("link", name="Security info").first)
    session, authenticator = _register_passkey(page)
    yield "security info, a passkey was added"
    session.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": authenticator})


def _register_passkey(page: Page) -> tuple[Any, str]:
    added = add_authenticator(page)
    page.locator("#passkey-register-button").click()
    page.wait_for_url("**registered=passkey**")
    return added


def _changing(page: Page, press: Press) -> Iterator[str]:
    follow(page, page.get_by_role("link", name="Change Passkey", exact=True))
    yield "method"
    page.locator("#id_name").fill(" ")
    page.locator("main form").first.evaluate("form => { form.noValidate = true }")
    press("Save the name")
    yield "method, no name"
    follow(page, page.get_by_role("link", name="Remove", exact=True))
    yield "method, remove"
    follow(page, page.get_by_role("link", name="I lost this"))
    yield "method, lost"


def _noticing(go: Go) -> Iterator[str]:
    for notice in SECURITY_INFO_NOTICES:
        go(f"{SECURITY_INFO}?notice={notice}")
        yield f"security info, {notice}"


def _second_step(page: Page, demo: dict[str, Any], press: Press) -> Iterator[str]:
    give_password(page, demo)
    page.wait_for_url("**/sign-in/verify/**")
    yield "second step"
    page.locator("#id_code").fill("000000")
    press("Sign in")
    yield "second step, refused"
    follow(page, page.get_by_role("link", name="Use this instead: Recovery codes"))
    yield "second step, recovery code"
    page.locator("#id_code").fill("0000-0000-0000-0000")
    press("Sign in")
    yield "second step, recovery code refused"


def _stepping_up(page: Page, go: Go, press: Press) -> Iterator[str]:
    go(SECURITY_INFO)
    yield "security info, something stronger is needed"
    follow(page, page.get_by_role("link", name="Confirm that it is you"))
    yield "step-up"
    page.locator("#id_code").fill("000000")
    press("Confirm")
    yield "step-up, refused"
    follow(page, page.get_by_role("link", name="Use this instead: Recovery codes"))
    yield "step-up, recovery code"
