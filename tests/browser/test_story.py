"""The story of the README, as people live it: an administrator, the holder of a pass, a relying party."""

from __future__ import annotations

import contextlib
import re
from base64 import b32decode
from collections.abc import Callable
from typing import Any

import pytest
from django_otp.oath import totp
from playwright.sync_api import Error, Page, expect

from .conftest import WITHOUT_AUTOFILL, add_authenticator

pytestmark = pytest.mark.browser

MULTI_FACTOR = "http://schemas.openid.net/pape/policies/2007/06/multi-factor"


def test_story__from_policy_to_id_token(demo: dict[str, Any], new_person: Callable[..., Page]) -> None:
    administrator, robin = new_person(permissions=["clipboard-read", "clipboard-write"]), new_person()
    robin.add_init_script(WITHOUT_AUTOFILL)
    sign_in_to_admin(administrator, demo)

    # 1. The policy, with Entra's defaults; off means that even the right passcode opens nothing.
    set_policy(administrator, demo, enabled=False)
    use_pass(robin, demo["sign_in_with_pass_url"], demo["user"]["upn"], demo["pass"]["passcode"])
    expect(robin.get_by_role("alert")).to_contain_text("blocked by your organisation")
    set_policy(administrator, demo, enabled=True)

    # 2. A pass for Robin: shown once, with copy buttons, and gone after that page.
    passcode, sign_in_url = issue_pass(administrator, demo)
    administrator.get_by_role("link", name="OK", exact=True).click()
    with contextlib.suppress(Error):  # Chromium has kept nothing that it could show: ERR_CACHE_MISS
        administrator.go_back()
    expect(administrator.locator("body")).not_to_contain_text(passcode)

    # 3. Robin signs in and lands on Security info, which says until when and for what.
    use_pass(robin, sign_in_url, demo["user"]["upn"], passcode.lower().replace("-", " "))
    expect(robin).to_have_url(demo["security_info_url"])
    expect(robin.locator("#session")).to_contain_text("Temporary Access Pass")
    expect(robin.locator("#session time")).to_be_visible()

    # 4. Every other page treats Robin as anonymous.
    for path in ("/members/", "/admin/", "/o/authorized_tokens/", "/o/device/"):
        robin.goto(demo["base_url"] + path)
        assert re.search(r"/(sign-in|login)/\?next=", robin.url), path

    # 6a. A client that may host registration is told "strong, by a pass"; an ordinary one nothing.
    claims = sign_in_at_relying_party(robin, demo, "registration")
    assert (claims["claims"]["acr"], claims["claims"]["amr"]) == (MULTI_FACTOR, ["mfa", "tap"])
    assert claims["claims"]["auth_time"] > 0
    assert claims["has_refresh_token"] is False
    robin.goto(demo["relying_party_url"] + "/sign-in/ordinary/?prompt=none")
    expect(robin.locator("body")).to_contain_text("login_required")
    robin.goto(demo["relying_party_url"] + "/sign-in/ordinary/")
    assert "/account/sign-in/?next=" in robin.url

    # 5. A passkey: registered, finished, signed in with.
    robin.goto(demo["security_info_url"])
    add_authenticator(robin)
    robin.locator("#passkey-register-button").click()
    robin.wait_for_url("**registered=passkey**")
    expect(robin.locator("#method-passkey .registered li")).to_have_count(1)
    robin.get_by_role("button", name="Finish").click()
    robin.locator("#passkey-verification-button").click()
    robin.wait_for_url(demo["base_url"] + "/")
    expect(robin.locator("main")).to_contain_text("phishing-resistant")
    robin.goto(demo["base_url"] + "/members/")
    expect(robin.get_by_role("heading", name="Members")).to_be_visible()

    # 6b. The ordinary client is now told "phishing-resistant", and the vault opens.
    claims = sign_in_at_relying_party(robin, demo, "ordinary")
    assert claims["claims"]["acr"] == "phr"
    assert "tap" not in claims["claims"]["amr"]
    robin.goto(demo["relying_party_url"] + "/vault/")
    assert robin.url == demo["relying_party_url"] + "/vault/"


def test_story__revoked_while_open(demo: dict[str, Any], new_person: Callable[..., Page]) -> None:
    administrator, robin = new_person(), new_person()
    use_pass(robin, demo["sign_in_with_pass_url"], demo["user"]["upn"], demo["pass"]["passcode"])
    assert sign_in_at_relying_party(robin, demo, "registration")["userinfo_status"] == 200

    # 7. Revoked: the next request is signed out, and the access token is refused.
    sign_in_to_admin(administrator, demo)
    open_authentication_methods(administrator, demo)
    administrator.get_by_role("link", name="Revoke").click()
    administrator.get_by_role("button", name="Revoke").click()
    expect(administrator.locator(".messagelist")).to_contain_text("revoked")
    robin.goto(demo["security_info_url"])
    assert "/account/sign-in/?" in robin.url
    expect(robin.get_by_role("status")).to_contain_text("Your session has ended")
    told = robin.request.get(demo["relying_party_url"] + "/claims.json").json()
    # Once the logout token has come, which may be sooner than this, the relying party's own session has ended too.
    assert told == {"error": "not_signed_in"} or told["userinfo_status"] == 401


def test_story__authenticator_app_then_password_and_code(demo: dict[str, Any], new_person: Callable[..., Page]) -> None:
    robin = new_person()
    use_pass(robin, demo["sign_in_with_pass_url"], demo["user"]["upn"], demo["pass"]["passcode"])
    robin.get_by_role("button", name="authenticator app").click()
    expect(robin.locator(".qr svg")).to_be_visible()
    robin.locator("summary").click()
    key = robin.locator("#totp-key").inner_text().replace(" ", "")
    robin.get_by_label("Code from the app").fill(code_of(key))
    robin.get_by_role("button", name="Add").click()
    expect(robin.locator("#method-totp .registered li")).to_have_count(1)
    robin.get_by_role("button", name="Finish").click()

    robin.get_by_label("User name").fill(demo["user"]["upn"])
    robin.get_by_label("Password").fill(demo["user"]["password"])
    robin.get_by_role("button", name="Sign in with password").click()
    robin.get_by_label("Code from the app").fill(code_of(key, ahead=1))  # a code counts once: the next one
    robin.get_by_role("button", name="Sign in").click()
    robin.wait_for_url(demo["base_url"] + "/")
    expect(robin.locator("main")).to_contain_text("multi-factor")
    assert sign_in_at_relying_party(robin, demo, "ordinary")["claims"]["amr"] == ["mfa", "otp", "pwd"]


def test_step_up__a_password_is_raised_by_the_passkey(demo: dict[str, Any], new_person: Callable[..., Page]) -> None:
    robin = new_person()
    robin.add_init_script(WITHOUT_AUTOFILL)
    use_pass(robin, demo["sign_in_with_pass_url"], demo["user"]["upn"], demo["pass"]["passcode"])
    add_authenticator(robin)
    robin.locator("#passkey-register-button").click()
    robin.wait_for_url("**registered=passkey**")
    robin.get_by_role("button", name="Finish").click()
    robin.get_by_label("User name").fill(demo["user"]["upn"])
    robin.get_by_label("Password").fill(demo["user"]["password"])
    robin.get_by_role("button", name="Sign in with password").click()
    robin.wait_for_url(demo["base_url"] + "/")

    robin.goto(demo["relying_party_url"] + "/vault/")
    expect(robin.get_by_role("heading", name="Confirm that it is you")).to_be_visible()
    robin.locator("#passkey-verification-button").click()
    robin.wait_for_url(demo["relying_party_url"] + "/vault/")
    claims = robin.request.get(demo["relying_party_url"] + "/claims.json").json()["claims"]
    assert claims["acr"] in {"phr", MULTI_FACTOR}


def test_sign_in__passkey_is_offered_by_the_browser_itself(
    demo: dict[str, Any], new_person: Callable[..., Page]
) -> None:
    robin = new_person()
    use_pass(robin, demo["sign_in_with_pass_url"], demo["user"]["upn"], demo["pass"]["passcode"])
    add_authenticator(robin)
    robin.locator("#passkey-register-button").click()
    robin.wait_for_url("**registered=passkey**")
    robin.get_by_role("button", name="Finish").click()
    robin.wait_for_url(demo["base_url"] + "/")  # the virtual authenticator takes the offer without a click
    expect(robin.locator("main")).to_contain_text("phishing-resistant")


def test_register__authenticator_without_user_verification_is_refused(
    demo: dict[str, Any], new_person: Callable[..., Page]
) -> None:
    robin = new_person()
    use_pass(robin, demo["sign_in_with_pass_url"], demo["user"]["upn"], demo["pass"]["passcode"])
    add_authenticator(robin, verifies_user=False)
    robin.locator("#passkey-register-button").click()
    expect(robin.locator("#passkey-register-status-message")).not_to_be_empty()
    robin.reload()
    expect(robin.locator("#method-passkey .registered li")).to_have_count(0)


def sign_in_to_admin(page: Page, demo: dict[str, Any]) -> None:
    page.goto(demo["base_url"] + "/admin/")
    page.locator("#id_username").fill(demo["admin"]["username"])
    page.locator("#id_password").fill(demo["admin"]["password"])
    page.locator("input[type=submit]").click()
    expect(page.locator("#content")).to_contain_text("Temporary Access Pass policy")


def set_policy(page: Page, demo: dict[str, Any], *, enabled: bool) -> None:
    page.goto(demo["base_url"] + "/admin/tap_provider/temporaryaccesspasspolicy/")
    for name, default in (("minimum_lifetime", 60), ("maximum_lifetime", 480), ("default_lifetime", 60)):
        expect(page.locator(f"#id_{name}_minutes")).to_have_value(str(default))
    expect(page.locator("#id_passcode_length")).to_have_value("8")
    expect(page.locator("#id_one_time_only")).not_to_be_checked()
    page.locator("#id_enabled").set_checked(enabled)
    page.locator("input[name=_save]").click()
    expect(page.locator(".messagelist")).to_contain_text("changed successfully")


def open_authentication_methods(page: Page, demo: dict[str, Any]) -> None:
    page.goto(demo["base_url"] + "/admin/accounts/user/")
    page.get_by_role("link", name=demo["user"]["upn"]).click()
    page.get_by_role("link", name="Authentication methods").click()


def issue_pass(page: Page, demo: dict[str, Any]) -> tuple[str, str]:
    open_authentication_methods(page, demo)
    page.get_by_role("link", name="Add authentication method").click()
    page.get_by_role("link", name="Temporary Access Pass", exact=True).last.click()
    page.locator("#id_lifetime_minutes").fill("5")
    page.locator("input[type=submit]").click()
    expect(page.locator("#content")).to_contain_text("between 60 and 480 minutes")
    page.locator("#id_lifetime_minutes").fill("90")
    page.locator("#id_reason").fill("New phone; identified in person.")
    page.locator("input[type=submit]").click()
    passcode, sign_in_url = page.locator("#passcode").inner_text(), page.locator("#sign-in-url").inner_text()
    assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}", passcode)
    for selector, text in (("#passcode", passcode), ("#sign-in-url", sign_in_url)):
        page.locator(f"[data-copy='{selector}']").click()
        assert page.evaluate("navigator.clipboard.readText()") == text
    return passcode, sign_in_url


def use_pass(page: Page, url: str, upn: str, passcode: str) -> None:
    page.goto(url)
    page.get_by_label("User name").fill(upn)
    page.get_by_label("Passcode").fill(passcode)
    page.get_by_role("button", name="Sign in").click()


def sign_in_at_relying_party(page: Page, demo: dict[str, Any], client: str) -> dict[str, Any]:
    page.goto(f"{demo['relying_party_url']}/sign-in/{client}/")
    page.wait_for_url(demo["relying_party_url"] + "/claims/")
    claims: dict[str, Any] = page.request.get(demo["relying_party_url"] + "/claims.json").json()
    assert claims["client"] == client
    return claims


def code_of(key: str, *, ahead: int = 0) -> str:
    secret = b32decode(key + "=" * (-len(key) % 8))
    return f"{totp(secret, drift=ahead):06d}"
