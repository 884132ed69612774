"""Step-up: adding what is missing to a stronger level, within the same sign-in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth import get_user_model
from django.http import QueryDict
from django.test import Client, RequestFactory
from django.utils import timezone
from django_otp import DEVICE_ID_SESSION_KEY
from django_otp.plugins.otp_totp.models import TOTPDevice

from tap_provider.exceptions import SignInRefused, TooManyAttempts
from tap_provider.methods.registry import find_kind
from tap_provider.methods.step_up import (
    kinds_alone,
    reachable_by_signing_in,
    reachable_by_step_up,
    second_factors,
    step_up,
)
from tap_provider.models import AuditEvent, Level, SignIn
from tap_provider.sign_in import SESSION_KEY

from ..conftest import MINUTE
from ..softauthn import sign_in_with_passkey
from .test_totp import PASSWORD, SIGN_IN, code_of

STEP_UP = "/account/sign-in/step-up/"
VERIFY = "/account/sign-in/verify/"

pytestmark = pytest.mark.usefixtures("hasher")  # a cheap one


def sign_in_of(browser: Client) -> SignIn:
    return SignIn.objects.select_related("user").get(pk=browser.session[SESSION_KEY])


@pytest.fixture
def by_password(client: Client, robin: Any) -> Client:
    """A browser in Robin's full session by password alone, begun before they had anything else."""
    robin.set_password(PASSWORD)
    robin.save()
    assert client.post(SIGN_IN, {"upn": robin.upn, "password": PASSWORD}).status_code == 302
    SignIn.objects.update(authenticated_at=timezone.now() - 5 * MINUTE)
    return client


@pytest.fixture
def device(robin: Any) -> TOTPDevice:
    return TOTPDevice.objects.create(user=robin, confirmed=True, name="app")


@pytest.fixture
def request_of(rf: RequestFactory) -> Callable[[Client], Any]:
    def make(browser: Client) -> Any:
        request = rf.post(STEP_UP)
        request.session = browser.session
        return request

    return make


# What can be reached.


def test_reachable__by_password_alone(by_password: Client, robin: Any) -> None:
    sign_in = sign_in_of(by_password)
    assert (second_factors(sign_in), kinds_alone(robin)) == ([], [])
    assert reachable_by_step_up(sign_in) is reachable_by_signing_in(robin) is Level.SINGLE_FACTOR


def test_reachable__with_an_authenticator_app(by_password: Client, robin: Any, device: TOTPDevice) -> None:
    robin.refresh_from_db()
    sign_in = sign_in_of(by_password)
    assert [kind.slug for kind in second_factors(sign_in)] == ["totp"]
    assert reachable_by_step_up(sign_in) is reachable_by_signing_in(robin) is Level.MULTI_FACTOR


def test_reachable__with_a_passkey(by_password: Client, robin: Any, passkey: Any) -> None:
    sign_in = sign_in_of(by_password)
    assert [kind.slug for kind in kinds_alone(robin)] == ["passkey"]
    assert reachable_by_step_up(sign_in) is reachable_by_signing_in(robin) is Level.PHISHING_RESISTANT


def test_reachable__a_second_factor_adds_nothing_to_what_nobody_knows(
    by_password: Client, robin: Any, device: TOTPDevice
) -> None:
    """One factor, and another that was never seen, are one factor."""
    SignIn.objects.update(methods=[], amr=[])
    sign_in = sign_in_of(by_password)
    assert second_factors(sign_in) == []
    assert reachable_by_step_up(sign_in) is Level.SINGLE_FACTOR


def test_reachable__an_app_without_a_password_signs_nobody_in(robin: Any, device: TOTPDevice) -> None:
    robin.set_unusable_password()
    robin.save()
    assert reachable_by_signing_in(robin) is Level.SINGLE_FACTOR


def test_reachable__a_registration_only_session_stays_what_it_is(
    holder_client: Client, robin: Any, device: TOTPDevice
) -> None:
    sign_in = sign_in_of(holder_client)
    assert second_factors(sign_in) == []
    assert reachable_by_step_up(sign_in) is Level.MULTI_FACTOR


def test_reachable__what_was_reached_is_reachable(passkey_client: Client) -> None:
    assert reachable_by_step_up(sign_in_of(passkey_client)) is Level.PHISHING_RESISTANT


# The page and its verb.


def test_step_up__raises_this_sign_in_and_leads_on(by_password: Client, robin: Any, device: TOTPDevice) -> None:
    before, cookie, asked = sign_in_of(by_password), by_password.cookies["sessionid"].value, timezone.now()
    assert by_password.get(f"{STEP_UP}?next=/members/").status_code == 200
    response = by_password.post(f"{STEP_UP}?next=/members/", {"code": code_of(device)})
    assert response["Location"] == "/members/"
    after = sign_in_of(by_password)
    assert (after.pk, after.methods, after.amr, after.level) == (
        before.pk,
        ["password", "totp"],
        ["mfa", "otp", "pwd"],
        Level.MULTI_FACTOR,
    )
    assert after.authenticated_at is not None
    assert after.authenticated_at >= asked
    assert by_password.cookies["sessionid"].value != cookie
    assert by_password.session[DEVICE_ID_SESSION_KEY] == device.persistent_id
    event = AuditEvent.objects.get(kind=AuditEvent.Kind.SIGN_IN_RENEWED)
    assert (event.user_name, event.sign_in_id) == (robin.upn, before.pk)


def test_step_up__a_wrong_code_raises_nothing(by_password: Client, device: TOTPDevice) -> None:
    before = sign_in_of(by_password)
    response = by_password.post(STEP_UP, {"code": "000000" if code_of(device) != "000000" else "000001"})
    assert (response.status_code, "not right" in response.content.decode()) == (200, True)
    after = sign_in_of(by_password)
    assert (after.level, after.authenticated_at) == (before.level, before.authenticated_at)
    assert AuditEvent.objects.filter(kind=AuditEvent.Kind.SIGN_IN_REFUSED).count() == 1


@pytest.mark.parametrize("code", ["", "12", "abcdef", "\x00", "1" * 5000])
def test_step_up__an_odd_code_is_refused_cleanly(by_password: Client, device: TOTPDevice, code: str) -> None:
    assert by_password.post(STEP_UP, {"code": code}).status_code == 200
    assert sign_in_of(by_password).level == Level.SINGLE_FACTOR


def test_step_up__guesses_are_counted_with_those_of_the_second_step(
    by_password: Client, device: TOTPDevice, request_of: Any
) -> None:
    kind = find_kind("totp")
    assert kind is not None

    def attempt() -> None:
        form = kind.second_factor_form(device.user, QueryDict("code=000000"))
        assert form is not None
        step_up(request_of(by_password), kind=kind, form=form, now=timezone.now())

    for _ in range(10):
        with pytest.raises(SignInRefused):
            attempt()
    with pytest.raises(TooManyAttempts):
        attempt()
    assert by_password.post(STEP_UP, {"code": code_of(device)}).status_code == 429


@pytest.mark.parametrize("who", ["nobody", "holder", "ended", "deactivated"])
def test_step_up__is_for_live_full_sessions(
    who: str, by_password: Client, device: TOTPDevice, robin: Any, issue: Any, sign_in_with_pass: Any
) -> None:
    browser = {"nobody": Client(), "holder": Client()}.get(who, by_password)
    if who == "holder":
        sign_in_with_pass(robin.upn, issue(robin).passcode.reveal(), browser)
    elif who == "ended":
        SignIn.objects.update(ended_at=timezone.now(), ended_reason="signed_out")
    elif who == "deactivated":
        get_user_model()._default_manager.filter(pk=robin.pk).update(is_active=False)
    for response in (browser.get(STEP_UP), browser.post(STEP_UP, {"code": code_of(device)})):
        assert response["Location"].startswith("/account/sign-in/")
    assert not AuditEvent.objects.filter(kind=AuditEvent.Kind.SIGN_IN_RENEWED).exists()


@pytest.mark.parametrize("why", ["no sign-in", "over", "not by password", "kind not theirs"])
def test_step_up__the_verb_asks_itself(
    why: str, by_password: Client, device: TOTPDevice, request_of: Any, robin: Any
) -> None:
    kind, request = find_kind("totp"), request_of(by_password)
    assert kind is not None
    form = kind.second_factor_form(robin, QueryDict(f"code={code_of(device)}"))
    if why == "no sign-in":
        del request.session[SESSION_KEY]
    elif why == "over":
        SignIn.objects.update(deadline=timezone.now() - timedelta(seconds=1))
    elif why == "not by password":
        SignIn.objects.update(methods=["passkey"])
    else:
        kind = find_kind("passkey")
        assert kind is not None
    assert form is not None
    with pytest.raises(SignInRefused) as refused:
        step_up(request, kind=kind, form=form, now=timezone.now())
    assert refused.value.code == "not_signed_in"


def test_step_up__offers_what_the_user_has(by_password: Client, robin: Any, passkey: Any, device: TOTPDevice) -> None:
    page = by_password.get(f"{STEP_UP}?next=/members/&otherwise=/public/")
    shown = page.content.decode()
    assert "passkey-verification-button" in shown
    assert 'name="code"' in shown
    assert 'href="/public/"' in shown
    assert 'name="next" value="/members/"' in shown


@pytest.mark.parametrize(
    ("level", "offers_a_code"),
    [("multi_factor", True), ("phishing_resistant", False), ("unheard_of", True), ("\x00", True)],
)
def test_step_up__offers_only_what_reaches_the_level_that_is_wanted(
    level: str, offers_a_code: bool, by_password: Client, passkey: Any, device: TOTPDevice
) -> None:
    """Or a right code would lead back to the same page."""
    page = by_password.get(STEP_UP, {"level": level})
    assert ('name="code"' in page.content.decode()) is offers_a_code
    assert "passkey-verification-button" in page.content.decode()
    before = sign_in_of(by_password).level
    by_password.post(f"{STEP_UP}?{urlencode({'level': level})}", {"code": code_of(device)})
    assert (sign_in_of(by_password).level != before) is offers_a_code


def test_step_up__without_anything_to_offer_says_how_to_go_on(by_password: Client) -> None:
    shown = by_password.get(STEP_UP).content.decode()
    assert 'name="code"' not in shown
    assert "/account/sign-in/" in shown


@pytest.mark.parametrize("url", ["https://evil.test/", "//evil.test/", "javascript:alert(1)", "\x00"])
def test_step_up__leads_nowhere_else(url: str, by_password: Client, device: TOTPDevice) -> None:
    page = by_password.get(STEP_UP, {"next": url, "otherwise": url})
    assert (page.context["next"], page.context["otherwise"]) == ("", "")
    assert by_password.post(f"{STEP_UP}?next={url}", {"code": code_of(device)})["Location"] == "/"


def test_step_up__a_passkey_of_the_same_user_renews_the_sign_in(by_password: Client, passkey: Any) -> None:
    before = sign_in_of(by_password)
    assert sign_in_with_passkey(by_password, passkey).status_code == 200
    after = sign_in_of(by_password)
    assert (after.pk, after.level, after.methods) == (before.pk, Level.PHISHING_RESISTANT, ["passkey"])
