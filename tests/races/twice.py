"""The same thing done several times at once, as a button pressed twice does: an answer each time, never an error."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.test import Client
from django.utils import timezone
from django_otp.oath import totp
from django_otp.plugins.otp_totp.models import TOTPDevice

from tap_provider.models import RegisteredMethod, SignIn, TemporaryAccessPassPolicy
from tap_provider.oidc.models import RelyingParty
from tap_provider.policy import change_policy
from tap_provider.sign_in import SESSION_KEY

from ..conftest import all_at_once
from ..oidc.conftest import PASSWORD
from ..softauthn import (
    BEGIN_AUTHENTICATION,
    BEGIN_REGISTRATION,
    COMPLETE_AUTHENTICATION,
    COMPLETE_REGISTRATION,
    SoftAuthenticator,
    post_json,
    register_passkey,
)
from .scene import PASS_PAGE, SIGN_IN, Scene, browser, id_of, same_session, told

INFO = "/account/security-info/"
MANY = 4


def expect_answers(scene: Scene, outcomes: list[Any]) -> list[Any]:
    """Expect that each outcome is a response, and none a server error."""
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            scene.wrong.append(repr(outcome))
        else:
            scene.expect(outcome.status_code < 500, told(outcome))
    return [outcome for outcome in outcomes if not isinstance(outcome, Exception)]


def post_twice(scene: Scene, there: Client, url: str, data: dict[str, str] | None = None) -> list[Any]:
    """Post the same from copies of one session at once."""
    return expect_answers(
        scene, all_at_once(*[partial(same_session(there).post, url, data or {}) for _ in range(MANY)])
    )


# The policy


def first_edit_of_the_policy(scene: Scene) -> None:
    TemporaryAccessPassPolicy.objects.all().delete()
    edits: list[dict[str, Any]] = [{"enabled": True}, {"one_time_only": True}, {"passcode_length": 9}]
    actor = scene.administrator
    outcomes = all_at_once(*[partial(change_policy, actor=actor, now=timezone.now(), **edit) for edit in edits])
    for outcome in outcomes:
        scene.expect(isinstance(outcome, TemporaryAccessPassPolicy), repr(outcome))
    policy = TemporaryAccessPassPolicy.objects.get()
    stored = (policy.enabled, policy.one_time_only, policy.passcode_length)
    scene.expect(stored == (True, True, 9), f"stored {stored}")


def first_edit_of_the_policy_in_the_admin(scene: Scene) -> None:
    there = browser()
    there.force_login(scene.administrator, backend="tap_provider.backends.ModelBackend")
    TemporaryAccessPassPolicy.objects.all().delete()
    fields = {
        "minimum_lifetime_minutes": "60",
        "maximum_lifetime_minutes": "480",
        "default_lifetime_minutes": "60",
        "passcode_length": "8",
        "registration_window_minutes": "10",
    }
    url = "/admin/tap_provider/temporaryaccesspasspolicy/1/change/"
    for response in post_twice(scene, there, url, {"enabled": "on", **fields}):
        scene.expect(response.status_code == 302, told(response))


# Passkeys


def expect_json(scene: Scene, responses: list[Any]) -> None:
    for response in responses:
        scene.expect(response.headers["Content-Type"] == "application/json", told(response))


def passkey_of(scene: Scene) -> SoftAuthenticator:
    scene.policy()
    there, authenticator = browser(), SoftAuthenticator()
    there.post(PASS_PAGE, {"upn": scene.kim.upn, "passcode": scene.issue(scene.kim).passcode.reveal()})
    registered = register_passkey(there, authenticator)
    assert registered.status_code == 200, told(registered)
    return authenticator


def passkey_answer(scene: Scene) -> None:
    """The same answer is posted by several: one signs in, and is not signed out by what the others are answered."""
    authenticator, there = passkey_of(scene), browser()
    answer = authenticator.get(post_json(there, BEGIN_AUTHENTICATION).json())
    copies = [same_session(there) for _ in range(MANY)]
    calls = [partial(post_json, copy, COMPLETE_AUTHENTICATION, answer) for copy in copies]
    responses = expect_answers(scene, all_at_once(*calls))
    expect_json(scene, responses)
    statuses = sorted(response.status_code for response in responses)
    scene.expect(statuses.count(200) == 1, f"answered {statuses}")
    for response in responses:
        is_cookie_set = "sessionid" in response.cookies
        scene.expect(is_cookie_set is (response.status_code == 200), f"{response.status_code} sets a session cookie")


def passkey_answer_in_a_session(scene: Scene) -> None:
    """The same, where the user is signed in and confirms who they are."""
    authenticator, there = passkey_of(scene), scene.sign_in(scene.kim)
    answer = authenticator.get(post_json(there, f"{BEGIN_AUTHENTICATION}?same").json())
    calls = [partial(post_json, same_session(there), COMPLETE_AUTHENTICATION, answer) for _ in range(MANY)]
    responses = expect_answers(scene, all_at_once(*calls))
    expect_json(scene, responses)
    statuses = sorted(response.status_code for response in responses)
    scene.expect(statuses.count(200) == 1, f"answered {statuses}")


def passkey_registration(scene: Scene) -> None:
    scene.policy()
    there, authenticator = browser(), SoftAuthenticator()
    there.post(PASS_PAGE, {"upn": scene.kim.upn, "passcode": scene.issue(scene.kim).passcode.reveal()})
    created = authenticator.create(post_json(there, BEGIN_REGISTRATION).json())
    calls = [partial(post_json, same_session(there), COMPLETE_REGISTRATION, created) for _ in range(MANY)]
    responses = expect_answers(scene, all_at_once(*calls))
    expect_json(scene, responses)
    rows = RegisteredMethod.objects.filter(user=scene.kim, kind="passkey").count()
    scene.expect(rows == 1, f"{rows} passkeys are registered")


def passkey_registration_while_signing_out(scene: Scene) -> None:
    scene.policy()
    there, authenticator = browser(), SoftAuthenticator()
    there.post(PASS_PAGE, {"upn": scene.kim.upn, "passcode": scene.issue(scene.kim).passcode.reveal()})
    created = authenticator.create(post_json(there, BEGIN_REGISTRATION).json())
    register = partial(post_json, same_session(there), COMPLETE_REGISTRATION, created)
    leave = partial(same_session(there).post, "/account/sign-out/")
    registered, left = all_at_once(register, leave)
    expect_json(scene, expect_answers(scene, [registered]))
    expect_answers(scene, [left])


# Pages


def password(scene: Scene) -> None:
    there = browser()
    there.get(SIGN_IN)
    post_twice(scene, there, SIGN_IN, {"upn": scene.kim.username, "password": PASSWORD})


def second_factor(scene: Scene) -> None:
    device = TOTPDevice.objects.create(user=scene.kim, confirmed=True, name="app")
    there = browser()
    there.post(SIGN_IN, {"upn": scene.kim.username, "password": PASSWORD})
    responses = post_twice(scene, there, "/account/sign-in/verify/", {"code": f"{totp(device.bin_key):06d}"})
    begun = SignIn.objects.filter(user=scene.kim).count()
    scene.expect(begun <= 1, f"{begun} sign-ins by one code ({[response.status_code for response in responses]})")


def holder(scene: Scene) -> Client:
    scene.policy()
    return scene.sign_in_by_pass(scene.kim, scene.issue(scene.kim, is_usable_once=False).passcode)


def app(scene: Scene) -> None:
    """Begin to register an authenticator app, and finish that, each several times at once."""
    there, page = holder(scene), f"{INFO}add/totp/"
    post_twice(scene, there, page, {"begin": "1"})
    device = TOTPDevice.objects.filter(user=scene.kim, confirmed=False).last()
    if device is None:
        scene.wrong.append("no app was begun")
        return
    post_twice(scene, there, page, {"code": f"{totp(device.bin_key):06d}"})
    confirmed = TOTPDevice.objects.filter(user=scene.kim, confirmed=True).count()
    rows = RegisteredMethod.objects.filter(user=scene.kim, kind="totp").count()
    scene.expect(rows == confirmed <= 1, f"{confirmed} apps, {rows} records")


def recovery_codes(scene: Scene) -> None:
    post_twice(scene, holder(scene), "/account/methods/recovery_codes/")


def finish(scene: Scene) -> None:
    post_twice(scene, holder(scene), f"{INFO}finish/")


def leaving(scene: Scene) -> None:
    post_twice(scene, holder(scene), "/account/sign-out/")
    post_twice(scene, scene.sign_in(scene.kim), "/account/sign-out/")


def deleting_the_pass(scene: Scene) -> None:
    there = holder(scene)
    held = there.get(INFO).context["own_pass"]
    post_twice(scene, there, f"{INFO}pass/delete/", {"pass": str(held.id) if held else ""})


def everywhere(scene: Scene) -> None:
    for choice in ("stay", "leave"):
        there = scene.sign_in(scene.kim)
        scene.sign_in(scene.kim)
        post_twice(scene, there, f"{INFO}sign-out-everywhere/", {"here": choice})


def ending_one(scene: Scene) -> None:
    there, elsewhere = scene.sign_in(scene.kim), scene.sign_in(scene.kim)
    post_twice(scene, there, f"{INFO}sign-ins/end/", {"sign_in": str(id_of(elsewhere))})


def adoption(scene: Scene) -> None:
    there = browser()
    there.force_login(scene.kim, backend="tap_provider.backends.ModelBackend")
    session = there.session
    recorded = SignIn.objects.filter(pk=session.pop(SESSION_KEY))
    session.save()
    recorded.update(session_digest="", sealed_session_key="")  # or the session would end with its record
    recorded.delete()
    calls = [partial(same_session(there).get, "/members/") for _ in range(MANY)]
    for response in expect_answers(scene, all_at_once(*calls)):
        scene.expect(response.status_code == 200, told(response))


def relying_party(scene: Scene) -> None:
    there = browser()
    there.force_login(scene.administrator, backend="tap_provider.backends.ModelBackend")
    data = {"client_id": f"new-{scene.name}", "default_acr_values": "", "minimum_level": ""}
    post_twice(scene, there, "/admin/tap_provider_oidc/relyingparty/add/", data)
    rows = RelyingParty.objects.filter(client_id=data["client_id"]).count()
    scene.expect(rows == 1, f"{rows} rows")


RACES: dict[str, Callable[[Scene], None]] = {
    "first_edit_of_the_policy": first_edit_of_the_policy,
    "first_edit_of_the_policy_in_the_admin": first_edit_of_the_policy_in_the_admin,
    "passkey_answer": passkey_answer,
    "passkey_answer_in_a_session": passkey_answer_in_a_session,
    "passkey_registration": passkey_registration,
    "passkey_registration_while_signing_out": passkey_registration_while_signing_out,
    "password_twice": password,
    "second_factor_twice": second_factor,
    "app_twice": app,
    "recovery_codes_twice": recovery_codes,
    "finish_twice": finish,
    "leaving_twice": leaving,
    "deleting_the_pass_twice": deleting_the_pass,
    "everywhere_twice": everywhere,
    "ending_one_twice": ending_one,
    "adoption_twice": adoption,
    "relying_party_twice": relying_party,
}
