"""Endings against whatever obtains tokens or sessions: ending wins, and nothing is answered with a server error."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.utils import timezone
from django_otp.plugins.otp_totp.models import TOTPDevice
from oauth2_provider.models import get_device_grant_model

from tap_provider.exceptions import RegistrationNotAllowed
from tap_provider.issue import issue_pass, revoke_pass
from tap_provider.methods.changes import lose_method
from tap_provider.methods.own import own_method
from tap_provider.models import Level, SignIn, SignInMethod
from tap_provider.oidc.contexts import remember_code
from tap_provider.oidc.models import TokenContext
from tap_provider.oidc.token_validator import DEVICE_CODE_GRANT
from tap_provider.policy import change_policy
from tap_provider.sign_in import Client as Origin
from tap_provider.sign_in import begin_sign_in, end_overdue_sign_ins
from tap_provider.sign_out import end_own_sign_in

from ..oidc.conftest import TOKEN, Party, sign_in_of
from .scene import (
    Chain,
    Exchanges,
    Scene,
    browser,
    chain,
    expect_ended,
    expect_no_token,
    expect_nothing_unrecorded,
    id_of,
    is_invalid_grant,
    of_registration,
    run_beside,
    same_party,
    same_session,
    told,
)

EVERYWHERE, END_ONE, SIGN_OUT, LOGOUT = (
    "/account/security-info/sign-out-everywhere/",
    "/account/security-info/sign-ins/end/",
    "/account/sign-out/",
    "/o/logout/",
)


def press(there: Any) -> Any:
    """Press "Sign out everywhere", and stay."""
    return there.post(EVERYWHERE, {"here": "stay"})


def expect_pressed(scene: Scene, response: Any) -> None:
    is_answer = not isinstance(response, Exception) and response.status_code == 302
    is_pressed = is_answer and "notice=signed_out_everywhere" in response.headers["Location"]
    scene.expect(is_pressed, f"pressing was answered {say(response)}")


def refreshers(chains: list[Chain]) -> dict[str, Callable[[], bool]]:
    return {f"refresher {number}": each.refresh for number, each in enumerate(chains)}


def exchangers(loops: list[Exchanges]) -> dict[str, Callable[[], bool]]:
    return {f"exchanger {number}": each.exchange for number, each in enumerate(loops)}


def expect_all_dead(scene: Scene, chains: list[Chain], loops: list[Exchanges] | None = None) -> None:
    for each in [*chains, *(one for loop in loops or [] for one in loop.chains[-2:])]:
        each.expect_dead()


# Signing out everywhere


def everywhere(scene: Scene, *, refreshing: int) -> None:
    """The user presses the button while stolen refresh tokens are refreshed in a loop."""
    thief, here = scene.sign_in(scene.kim), scene.sign_in(scene.kim)
    mine, stolen = chain(scene, here), id_of(thief)
    chains = [chain(scene, thief) for _ in range(refreshing)]
    (response,) = run_beside(scene, refreshers(chains), partial(press, here))
    expect_pressed(scene, response)
    expect_all_dead(scene, chains)
    expect_ended(scene, stolen)
    expect_nothing_unrecorded(scene, scene.kim)
    scene.expect(mine.refresh(), "the tokens of the sign-in that stays are dead")


def say(outcome: Any) -> str:
    return told(outcome) if hasattr(outcome, "status_code") else repr(outcome)


def everywhere_with_one_stolen_token(scene: Scene) -> None:
    """The same stolen token is presented by several at once, and the toolkit lets a superseded one pass for a while."""
    thief, here = scene.sign_in(scene.kim), scene.sign_in(scene.kim)
    first = chain(scene, thief)
    chains = [Chain(scene, same_party(scene.intranet), dict(first.answer)) for _ in range(4)]
    (response,) = run_beside(scene, refreshers(chains), partial(press, here))
    expect_pressed(scene, response)
    expect_all_dead(scene, chains)


def everywhere_from_two_browsers(scene: Scene) -> None:
    """The same user presses in two browsers, each to stay: the first decides, both get an answer."""
    thief, here, there = (scene.sign_in(scene.kim) for _ in range(3))
    chains = [chain(scene, one) for one in (thief, thief, here, there)]
    responses = run_beside(scene, refreshers(chains[:2]), partial(press, here), partial(press, there))
    for response in responses:
        is_answer = not isinstance(response, Exception) and response.status_code == 302
        scene.expect(is_answer, f"pressing was answered {say(response)}")
    expect_all_dead(scene, chains[:2])
    stay = SignIn.objects.not_ended().filter(user=scene.kim).count()
    scene.expect(stay == 1, f"{stay} sign-ins stay")


def everywhere_against_codes(scene: Scene) -> None:
    """A stolen session asks for codes and exchanges them in a loop."""
    thief, here = scene.sign_in(scene.kim), scene.sign_in(scene.kim)
    loops = [Exchanges(scene, same_session(thief), same_party(scene.intranet)) for _ in range(4)]
    (response,) = run_beside(scene, exchangers(loops), partial(press, here))
    expect_pressed(scene, response)
    expect_all_dead(scene, [], loops)
    expect_ended(scene, id_of_session(thief))
    expect_nothing_unrecorded(scene, scene.kim)


def id_of_session(there: Any) -> Any:
    return there.session.get("tap_provider_sign_in")


def everywhere_against_unrecorded_tokens(scene: Scene) -> None:
    """Refresh tokens from before the installation, behind which no sign-in stands, are refreshed in a loop."""
    here, before = scene.sign_in(scene.kim), scene.sign_in(scene.kim)
    chains = [chain(scene, before) for _ in range(4)]
    TokenContext.objects.filter(sign_in_id=id_of(before)).delete()
    (response,) = run_beside(scene, refreshers(chains), partial(press, here))
    expect_pressed(scene, response)
    expect_all_dead(scene, chains)
    expect_nothing_unrecorded(scene, scene.kim)


def television(scene: Scene) -> Party:
    """Return a client that has the device grant."""
    party = scene.client("television")
    party.application.authorization_grant_type = type(party.application).GRANT_DEVICE_CODE
    party.application.save()
    return party


def everywhere_against_devices(scene: Scene) -> None:
    """Devices that a stolen session has approved fetch their tokens."""
    thief, here = scene.sign_in(scene.kim), scene.sign_in(scene.kim)
    party, model = television(scene), get_device_grant_model()
    answers: list[Any] = []

    def approved(name: str) -> str:
        model.objects.create(
            client_id=party.client_id,
            device_code=name,
            user_code=name[-20:],
            user=scene.kim,
            status=model.AUTHORIZED,
            scope="profile",
            expires=timezone.now() + timedelta(minutes=10),
        )
        remember_code(name, sign_in_of(thief), client_id=party.client_id, now=timezone.now())
        return name

    def poller(codes: list[str]) -> Callable[[], bool]:
        server = browser()

        def poll() -> bool:
            if not codes:
                return False
            body = {"grant_type": DEVICE_CODE_GRANT, "device_code": codes.pop(), **party.credentials}
            response = server.post(TOKEN, body)
            if response.status_code == 200:
                answers.append(response.json())
                return True
            scene.expect(response.status_code == 400, f"a device was answered {told(response)}")
            return False

        return poll

    acts = {f"device {n}": poller([approved(f"{scene.name}-{n}-{number}") for number in range(12)]) for n in range(4)}
    (response,) = run_beside(scene, acts, partial(press, here))
    expect_pressed(scene, response)
    for answer in answers[-4:]:
        Chain(scene, party, answer).expect_dead()
    expect_nothing_unrecorded(scene, scene.kim)


def everywhere_against_approving_devices(scene: Scene) -> None:
    """A stolen session approves devices in a loop, and they fetch their tokens at once."""
    thief, here = scene.sign_in(scene.kim), scene.sign_in(scene.kim)
    party, model = television(scene), get_device_grant_model()
    answers: list[Any] = []

    def approver(name: str) -> Callable[[], bool]:
        there, server, numbers = same_session(thief), browser(), iter(range(1000))

        def approve() -> bool:
            code = f"{scene.name}-{name}-{next(numbers)}"
            expires = timezone.now() + timedelta(minutes=10)
            waiting = {"user": scene.kim, "scope": "profile", "expires": expires}
            model.objects.create(client_id=party.client_id, device_code=code, user_code=code[-20:], **waiting)
            confirmed = there.post(f"/o/device-confirm/{party.client_id}/{code[-20:]}", {"action": "accept"})
            scene.expect(confirmed.status_code < 500, f"an approval was answered {told(confirmed)}")
            response = server.post(TOKEN, {"grant_type": DEVICE_CODE_GRANT, "device_code": code, **party.credentials})
            scene.expect(response.status_code in {200, 400}, f"a device was answered {told(response)}")
            if response.status_code == 200:
                answers.append(response.json())
            return bool(response.status_code == 200)

        return approve

    (response,) = run_beside(scene, {f"device {n}": approver(f"a{n}") for n in range(3)}, partial(press, here))
    expect_pressed(scene, response)
    scene.expect(len(answers) >= 3, f"{len(answers)} devices got tokens before the ending")
    for answer in answers:
        Chain(scene, party, answer).expect_dead()
    expect_nothing_unrecorded(scene, scene.kim)


# Every other verb that ends a sign-in, against refreshing and against codes


def end_own(scene: Scene, thief: Any, here: Any) -> Any:
    return end_own_sign_in(sign_in=sign_in_of(here), sign_in_id=id_of(thief), client=Origin(), now=timezone.now())


def sign_out(scene: Scene, thief: Any, here: Any) -> Any:
    return same_session(thief).post(SIGN_OUT)


def log_out_by_relying_party(scene: Scene, thief: Any, here: Any) -> Any:
    return same_session(thief).post(LOGOUT, {"client_id": scene.intranet.client_id, "allow": "True"})


def deactivate(scene: Scene, thief: Any, here: Any) -> None:
    kim = type(scene.kim)._default_manager.get(pk=scene.kim.pk)
    kim.is_active = False
    kim.save()


def deactivate_in_admin(scene: Scene, thief: Any, here: Any) -> None:
    with transaction.atomic():
        deactivate(scene, thief, here)


def lose_password(scene: Scene, thief: Any, here: Any) -> Any:
    return lose_password_of(scene.kim, strong(scene.kim))


def strong(user: Any) -> SignIn:
    """A sign-in that may change methods, made with an authenticator app, which stays."""
    app = TOTPDevice.objects.create(user=user, confirmed=True, name="app")
    return begin_sign_in(
        user=user,
        methods=["passkey"],
        amr=["hwk"],
        level=Level.PHISHING_RESISTANT,
        client=Origin(),
        now=timezone.now(),
        authenticated_at=timezone.now(),
        used=[("totp", str(app.pk))],
    )


ENDINGS: dict[str, Callable[[Scene, Any, Any], Any]] = {
    "end_own": end_own,
    "sign_out": sign_out,
    "log_out_by_relying_party": log_out_by_relying_party,
    "deactivate": deactivate,
    "deactivate_in_admin": deactivate_in_admin,
    "lose_password": lose_password,
}


def ending(scene: Scene, *, by: str) -> None:
    """One sign-in ends while its tokens are refreshed and its session asks for codes."""
    thief, here = scene.sign_in(scene.kim), scene.sign_in(scene.kim)
    scene.intranet  # noqa: B018 made before the threads begin
    ended = id_of(thief)
    chains = [chain(scene, thief) for _ in range(3)]
    loops = [Exchanges(scene, same_session(thief), same_party(scene.intranet)) for _ in range(2)]
    acts = {**refreshers(chains), **exchangers(loops)}
    (outcome,) = run_beside(scene, acts, partial(ENDINGS[by], scene, thief, here))
    refused = isinstance(outcome, Exception) or getattr(outcome, "status_code", 302) >= 400
    scene.expect(not refused, f"the ending came to {say(outcome)}")
    expect_all_dead(scene, chains, loops)
    expect_ended(scene, ended)
    expect_nothing_unrecorded(scene, scene.kim)


def ending_of_the_user(scene: Scene) -> None:
    """The user is deleted, and their sign-ins and tokens with them."""
    thief, user_id = scene.sign_in(scene.kim), scene.kim.pk
    chains = [chain(scene, thief) for _ in range(3)]
    loops = [Exchanges(scene, same_session(thief), same_party(scene.intranet)) for _ in range(2)]

    def delete() -> None:
        type(scene.kim)._default_manager.get(pk=user_id).delete()

    (outcome,) = run_beside(scene, {**refreshers(chains), **exchangers(loops)}, delete)
    scene.expect(not isinstance(outcome, Exception), f"the deletion came to {outcome!r}")
    expect_all_dead(scene, chains, loops)
    expect_no_token(scene, user_id)


def code_used_again(scene: Scene) -> None:
    """A code is presented again while what it brought is refreshed: its tokens end, those of another code go on."""
    there = scene.sign_in(scene.kim)
    party = scene.intranet
    code, asked = party.code(there)
    first = Chain(scene, same_party(party), party.exchange(code, asked).json())
    other = chain(scene, there)
    outcomes = run_beside(scene, {"refresher": first.refresh}, *[partial(same_party(party).exchange, code, asked)] * 2)
    for outcome in outcomes:
        is_answer = not isinstance(outcome, Exception) and is_invalid_grant(outcome)
        scene.expect(is_answer, f"the second use was answered {say(outcome)}")
    first.expect_dead()
    scene.expect(other.refresh(), "the tokens of another code are dead")


# What a pass has opened


def revoke(scene: Scene, held: Any) -> Any:
    return revoke_pass(actor=scene.administrator, temporary_access_pass=held, now=timezone.now())


def replace(scene: Scene, held: Any) -> Any:
    return issue_pass(actor=scene.administrator, user=scene.kim, now=timezone.now())


def exclude(scene: Scene, held: Any) -> Any:
    return change_policy(actor=scene.administrator, now=timezone.now(), excluded_users=[scene.kim])


def overtake(scene: Scene, held: Any) -> Any:
    SignIn.objects.filter(user=scene.kim).update(deadline=timezone.now())
    return end_overdue_sign_ins(now=timezone.now())


PASS_ENDINGS: dict[str, Callable[[Scene, Any], Any]] = {
    "revoke": revoke,
    "replace": replace,
    "exclude": exclude,
    "overtake": overtake,
}


def ending_of_the_pass(scene: Scene, *, by: str) -> None:
    """What a pass opened ends while its holder redeems it again, and the session asks for codes."""
    scene.policy()
    issued = scene.issue(scene.kim)
    scene.portal  # noqa: B018 made before the threads begin
    holder = scene.sign_in_by_pass(scene.kim, issued.passcode)
    loops = [of_registration(scene, same_session(holder)) for _ in range(3)]
    opened: list[Any] = [id_of(holder)]

    def redeem() -> bool:
        there = browser()
        response = there.post("/account/sign-in/pass/", {"upn": scene.kim.upn, "passcode": issued.passcode.reveal()})
        if response.status_code == 302:
            opened.append(id_of_session(there))  # None if the ending has deleted the session already
            return by != "overtake"  # which ends what there is, and not the pass
        scene.expect(response.status_code in {200, 429}, f"a redemption was answered {told(response)}")
        return False

    acts = {**exchangers(loops), "redeeming": redeem}
    (outcome,) = run_beside(scene, acts, partial(PASS_ENDINGS[by], scene, issued.temporary_access_pass))
    scene.expect(not isinstance(outcome, Exception), f"the ending came to {outcome!r}")
    expect_all_dead(scene, [], loops)
    if by != "overtake":
        expect_ended(scene, *opened)
    expect_nothing_unrecorded(scene, scene.kim)


def overdue_in_batches(scene: Scene) -> None:
    """Several verbs end overlapping sets of sign-ins, and each in an order of its own."""
    now = timezone.now()
    people = [scene.user(f"user-{number}") for number in range(3)]
    for user in people:
        for number in range(12):
            sign_in = begin_sign_in(
                user=user,
                methods=["password"],
                amr=["pwd"],
                level=Level.SINGLE_FACTOR,
                client=Origin(),
                now=now,
                authenticated_at=now,
                deadline=now if number % 2 else None,
            )
            SignInMethod.objects.create(sign_in=sign_in, kind="password", method_id="password")
    calls: list[Callable[[], Any]] = [partial(end_overdue_sign_ins, now=now)] * 2
    for user in people:
        calls += [partial(lose_password_of, user, strong(user)), partial(deactivate_user, user)]
    for outcome in run_beside(scene, {}, *calls):
        is_answer = not isinstance(outcome, Exception) or isinstance(outcome, RegistrationNotAllowed)
        scene.expect(is_answer, f"an ending came to {outcome!r}")
    left = SignIn.objects.not_ended().filter(user__in=people).count()
    scene.expect(left == 0, f"{left} sign-ins have not ended")


def lose_password_of(user: Any, current: SignIn) -> Any:
    own = own_method(user, "password", "password")
    assert own is not None
    return lose_method(sign_in=current, own=own, client=Origin(), now=timezone.now())


def deactivate_user(user: Any) -> None:
    fresh = type(user)._default_manager.get(pk=user.pk)
    fresh.is_active = False
    fresh.save()


RACES: dict[str, Callable[[Scene], None]] = {
    **{f"everywhere_against_{n}_refreshers": partial(everywhere, refreshing=n) for n in (1, 4, 8)},
    "everywhere_with_one_stolen_token": everywhere_with_one_stolen_token,
    "everywhere_from_two_browsers": everywhere_from_two_browsers,
    "everywhere_against_codes": everywhere_against_codes,
    "everywhere_against_unrecorded_tokens": everywhere_against_unrecorded_tokens,
    "everywhere_against_devices": everywhere_against_devices,
    "everywhere_against_approving_devices": everywhere_against_approving_devices,
    **{f"ending_by_{name}": partial(ending, by=name) for name in ENDINGS},
    "ending_of_the_user": ending_of_the_user,
    "code_used_again": code_used_again,
    **{f"ending_of_the_pass_by_{name}": partial(ending_of_the_pass, by=name) for name in PASS_ENDINGS},
    "overdue_in_batches": overdue_in_batches,
}
