"""Every flow in which a secret travels: each prepares itself, and returns the one request that is watched."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.core.management import call_command
from django.db import OperationalError
from django.urls import reverse
from django_otp.plugins.otp_totp.models import TOTPDevice

from tap_provider.handle import handle_of
from tap_provider.oidc.device_codes import DEVICE_CODE_GRANT

from .world import CLIENT_SECRET, NEW_PASSWORD, PASSWORD, REDIRECT_URI, VERIFIER, WRONG_CODE, World, upn_of

Act = Callable[[], Any]
Flow = Callable[[World], Act]


def issue_in_admin(world: World) -> Act:
    browser = world.browser()
    browser.force_login(world.admin)
    path = f"/admin/tap_provider/temporaryaccesspass/users/{world.robin.pk}/add/temporary-access-pass/"
    return partial(browser.post, path, {"lifetime_minutes": "60", "reason": "First day"})


def issue_on_the_command_line(world: World) -> Act:
    def issue() -> None:
        with suppress(OperationalError):
            call_command("tap", "issue", upn_of(world.robin), "--actor", upn_of(world.admin), stdout=io.StringIO())

    return issue


def redeem_on_the_page(world: World) -> Act:
    typed = {"upn": upn_of(world.robin), "passcode": world.passcode().lower()}
    return partial(world.browser().post, "/account/sign-in/pass/?next=/", typed)


def redeem_with_a_handle(world: World) -> Act:
    issued = world.issue(world.robin)
    handle = handle_of(issued.temporary_access_pass.pk)
    world.known.add("handle", handle)
    typed = {"upn": upn_of(world.robin), "passcode": issued.passcode.reveal()}
    return partial(world.browser().post, f"/account/sign-in/pass/?handle={handle}", typed)


def sign_in_by_password(world: World) -> Act:
    return partial(world.browser().post, "/account/sign-in/", {"upn": upn_of(world.robin), "password": PASSWORD})


def mistype_a_password(world: World) -> Act:
    return partial(world.browser().post, "/account/sign-in/", {"upn": upn_of(world.robin), "password": NEW_PASSWORD})


def second_step_by_app(world: World) -> Act:
    device = world.app()
    return partial(world.signed_in().post, "/account/sign-in/verify/", {"code": world.code_of(device)})


def mistype_a_code(world: World) -> Act:
    world.app()
    return partial(world.signed_in().post, "/account/sign-in/verify/", {"code": WRONG_CODE})


def second_step_by_recovery_code(world: World) -> Act:
    code = world.recovery_code()
    return partial(world.signed_in().post, "/account/sign-in/verify/", {"code": code})


def step_up(world: World) -> Act:
    browser = world.signed_in()
    return partial(browser.post, "/account/sign-in/step-up/", {"code": world.code_of(world.app())})


def begin_an_app(world: World) -> Act:
    return partial(world.holder().post, "/account/security-info/add/totp/", {"begin": "1"})


def see_the_key_of_an_app(world: World) -> Act:
    browser = world.holder()
    browser.post("/account/security-info/add/totp/", {"begin": "1"})
    return partial(browser.get, "/account/security-info/add/totp/")


def register_an_app(world: World) -> Act:
    browser = world.holder()
    browser.post("/account/security-info/add/totp/", {"begin": "1"})
    code = world.code_of(TOTPDevice.objects.get(user=world.robin, confirmed=False))
    return partial(browser.post, "/account/security-info/add/totp/", {"code": code})


def make_recovery_codes(world: World) -> Act:
    return partial(world.holder().post, "/account/methods/recovery_codes/")


def set_a_password(world: World) -> Act:
    browser = world.holder()
    browser.post("/account/security-info/add/password/", {"begin": "1"})
    typed = {"new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
    return partial(browser.post, "/account/security-info/add/password/", typed)


def lose_an_app(world: World) -> Act:
    device = world.app()
    browser = world.signed_in()
    browser.post("/account/sign-in/verify/", {"code": world.code_of(device)})
    return partial(browser.post, f"/account/security-info/methods/totp/{device.pk}/lost/")


def rename_an_app(world: World) -> Act:
    device = world.app()
    browser = world.signed_in()
    browser.post("/account/sign-in/verify/", {"code": world.code_of(device)})
    return partial(browser.post, f"/account/security-info/methods/totp/{device.pk}/", {"name": "Phone"})


def set_a_password_in_admin(world: World) -> Act:
    browser = world.browser()
    browser.force_login(world.admin)
    typed = {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD, "usable_password": "true"}
    return partial(browser.post, reverse("admin:auth_user_password_change", args=[world.robin.pk]), typed)


def register_a_client_in_admin(world: World) -> Act:
    browser = world.browser()
    browser.force_login(world.admin)
    fields = {
        "client_id": "extranet",
        "client_secret": CLIENT_SECRET,
        "client_type": "confidential",
        "authorization_grant_type": "authorization-code",
        "redirect_uris": REDIRECT_URI,
        "algorithm": "RS256",
        "hash_client_secret": "on",
    }
    return partial(browser.post, "/admin/oauth2_provider/application/add/", fields)


def authorize(world: World) -> Act:
    return partial(world.signed_in().get, world.authorization())


def authorize_by_form_post(world: World) -> Act:
    return partial(world.signed_in().get, world.authorization(response_mode="form_post"))


def exchange_a_code(world: World) -> Act:
    return partial(world.exchange, world.code())


def exchange_a_code_in_json(world: World) -> Act:
    body = {"grant_type": "authorization_code", "code": world.code(), "redirect_uri": REDIRECT_URI}
    body |= {"client_id": world.application.client_id, "client_secret": CLIENT_SECRET, "code_verifier": VERIFIER}
    return partial(world.browser().post, "/o/token/", json.dumps(body), content_type="application/json")


def use_a_code_twice(world: World) -> Act:
    code = world.code()
    world.exchange(code)
    return partial(world.exchange, code)


def refresh(world: World) -> Act:
    body = {"grant_type": "refresh_token", "refresh_token": world.tokens()["refresh_token"]}
    body |= {"client_id": world.application.client_id, "client_secret": CLIENT_SECRET}
    return partial(world.browser().post, "/o/token/", body)


def ask_for_the_user(world: World) -> Act:
    headers = {"authorization": f"Bearer {world.tokens()['access_token']}"}
    return partial(world.browser().get, "/o/userinfo/", headers=headers)


def introspect(world: World) -> Act:
    body = {"token": world.tokens()["access_token"]}
    body |= {"client_id": world.application.client_id, "client_secret": CLIENT_SECRET}
    return partial(world.browser().post, "/o/introspect/", body)


def revoke(world: World) -> Act:
    body = {"token": world.tokens()["refresh_token"]}
    body |= {"client_id": world.application.client_id, "client_secret": CLIENT_SECRET}
    return partial(world.browser().post, "/o/revoke_token/", body)


def ask_to_sign_out(world: World) -> Act:
    query = urlencode({"id_token_hint": world.tokens()["id_token"], "client_id": world.application.client_id})
    return partial(world.signed_in().get, f"/o/logout/?{query}")


def ask_for_a_device_code(world: World) -> Act:
    world.use_grant(DEVICE_CODE_GRANT)
    return world.ask_for_device


def type_a_user_code(world: World) -> Act:
    world.use_grant(DEVICE_CODE_GRANT)
    device = world.device()
    return partial(world.signed_in().post, "/o/device/", {"user_code": device["user_code"]})


def approve_a_device(world: World) -> Act:
    world.use_grant(DEVICE_CODE_GRANT)
    device, browser = world.device(), world.signed_in()
    confirm = browser.post("/o/device/", {"user_code": device["user_code"]}).headers["Location"]
    return partial(browser.post, confirm, {"action": "accept"})


def poll_for_a_device(world: World) -> Act:
    world.use_grant(DEVICE_CODE_GRANT)
    device, browser = world.device(), world.signed_in()
    confirm = browser.post("/o/device/", {"user_code": device["user_code"]}).headers["Location"]
    browser.post(confirm, {"action": "accept"})
    body = {"grant_type": DEVICE_CODE_GRANT, "device_code": device["device_code"]}
    body |= {"client_id": world.application.client_id}
    return partial(world.browser().post, "/o/token/", body)


def send_a_password_to_the_token_endpoint(world: World) -> Act:
    world.use_grant("password")
    body = {"grant_type": "password", "username": world.robin.username, "password": PASSWORD, "scope": "profile"}
    body |= {"client_id": world.application.client_id, "client_secret": CLIENT_SECRET}
    return partial(world.browser().post, "/o/token/", body)


def register_a_client_dynamically(world: World) -> Act:
    browser = world.browser()
    browser.force_login(world.admin)
    metadata = {"redirect_uris": [REDIRECT_URI], "grant_types": ["authorization_code"], "client_name": "New"}

    def register() -> Any:
        response = browser.post("/o/register/", metadata, content_type="application/json")
        if response.status_code == 201:
            registered = response.json()
            world.known.add("client secret", registered["client_secret"])
            world.known.add("access token", registered["registration_access_token"])
        return response

    return register


FLOWS = [
    issue_in_admin,
    issue_on_the_command_line,
    redeem_on_the_page,
    redeem_with_a_handle,
    sign_in_by_password,
    mistype_a_password,
    second_step_by_app,
    mistype_a_code,
    second_step_by_recovery_code,
    step_up,
    begin_an_app,
    see_the_key_of_an_app,
    register_an_app,
    make_recovery_codes,
    set_a_password,
    lose_an_app,
    rename_an_app,
    set_a_password_in_admin,
    register_a_client_in_admin,
    authorize,
    authorize_by_form_post,
    exchange_a_code,
    exchange_a_code_in_json,
    use_a_code_twice,
    refresh,
    ask_for_the_user,
    introspect,
    revoke,
    ask_to_sign_out,
    ask_for_a_device_code,
    type_a_user_code,
    approve_a_device,
    poll_for_a_device,
    send_a_password_to_the_token_endpoint,
    register_a_client_dynamically,
]

REFUSED = {use_a_code_twice}
"""Flows that are answered with an error although nothing fails."""

SECRETS: dict[Flow, set[str]] = {
    issue_in_admin: {"passcode"},
    issue_on_the_command_line: {"passcode"},
    redeem_on_the_page: {"passcode"},
    redeem_with_a_handle: {"passcode", "handle"},
    second_step_by_app: {"totp code", "totp key", "session key"},
    second_step_by_recovery_code: {"recovery code", "session key"},
    step_up: {"totp code", "totp key", "session key"},
    begin_an_app: {"passcode", "totp key", "session key"},
    see_the_key_of_an_app: {"passcode", "totp key", "session key"},
    register_an_app: {"passcode", "totp code", "totp key", "session key"},
    make_recovery_codes: {"passcode", "recovery code", "session key"},
    authorize: {"authorization code", "session key"},
    authorize_by_form_post: {"authorization code", "session key"},
    exchange_a_code: {"authorization code", "access token"},
    exchange_a_code_in_json: {"authorization code", "access token"},
    use_a_code_twice: {"authorization code", "access token"},
    refresh: {"authorization code", "access token", "refresh token", "id token"},
    ask_for_the_user: {"access token"},
    introspect: {"access token"},
    revoke: {"refresh token"},
    ask_to_sign_out: {"id token", "session key"},
    ask_for_a_device_code: {"device code"},
    approve_a_device: {"device code", "session key"},
    poll_for_a_device: {"device code", "access token"},
    send_a_password_to_the_token_endpoint: {"access token"},
    register_a_client_dynamically: {"access token"},
}
"""What a flow uses or makes besides what is known in every flow: passwords, client secret, verifier, a wrong code."""
