"""django-two-factor-auth: it goes on asking, whatever its users do on Security info, also for what they register."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.checks import run_checks
from django.test import Client
from django.utils import timezone
from django_otp.oath import totp
from django_otp.plugins.otp_email.models import EmailDevice
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice
from two_factor.utils import default_device

from tap_provider.issue import issue_pass
from tap_provider.models import AuditEvent, SignIn
from tap_provider.policy import change_policy
from tap_provider.sign_in import SESSION_KEY

PASSWORD = "correct-horse"
LOGIN, SIGN_IN, SECURITY_INFO = "/account/login/", "/security/sign-in/", "/security/security-info/"
WITH_OURS = "tests.sites.two_factor.urls_with_ours"


@pytest.fixture
def kim(make_user: Any) -> Any:
    return make_user("kim", password=PASSWORD)


@pytest.fixture
def holder(client: Client, kim: Any) -> Client:
    """A browser in Kim's registration-only session."""
    admin = get_user_model()._default_manager.create_superuser("admin", "admin@example.test", PASSWORD)
    change_policy(actor=admin, now=timezone.now(), enabled=True)
    issued = issue_pass(actor=admin, user=kim, now=timezone.now())
    client.post("/security/sign-in/pass/", {"upn": "kim", "passcode": issued.passcode.reveal()})
    return client


def fresh(user: Any) -> Any:
    """The user as another request reads them: two_factor caches the device on the object."""
    return get_user_model()._default_manager.get(pk=user.pk)


def code_of(device: TOTPDevice, *, ahead: int = 0) -> str:
    device.refresh_from_db()
    return f"{totp(device.bin_key, drift=ahead):06d}"


def register_app(browser: Client) -> TOTPDevice:
    browser.post(f"{SECURITY_INFO}add/totp/", {"begin": "1"})
    device = TOTPDevice.objects.get(confirmed=False)
    assert browser.post(f"{SECURITY_INFO}add/totp/", {"code": code_of(device)})["Location"].startswith(SECURITY_INFO)
    device.refresh_from_db()
    return device


def give_password(browser: Client, name: str = "kim") -> Any:
    data = {"auth-username": name, "auth-password": PASSWORD, "login_view-current_step": "auth"}
    return browser.post(LOGIN, data)


def give_code(browser: Client, code: str, **extra: str) -> Any:
    return browser.post(LOGIN, {"token-otp_token": code, "login_view-current_step": "token", **extra})


def sign_in_of(browser: Client) -> SignIn:
    return SignIn.objects.get(pk=browser.session[SESSION_KEY])


# What it asks for.


def test_register__the_first_app_is_the_one_that_two_factor_asks_for(holder: Client, kim: Any) -> None:
    app = register_app(holder)
    assert app.name == "default"
    assert default_device(fresh(kim)) == app
    page = holder.get(SECURITY_INFO).content.decode()
    assert "Authenticator app" in page
    assert "<bdi>default</bdi>" not in page
    holder.post(f"{SECURITY_INFO}finish/")
    browser = Client()
    assert "token-otp_token" in give_password(browser).content.decode()
    assert SESSION_KEY not in browser.session
    assert give_code(browser, code_of(app, ahead=1))["Location"] == "/"
    assert browser.get("/").content == b"True"
    sign_in = sign_in_of(browser)
    assert (sorted(sign_in.methods), sign_in.amr) == (["password", "totp"], ["mfa", "otp", "pwd"])


def test_register__beside_the_device_that_two_factor_asks_for_takes_no_name_from_it(holder: Client, kim: Any) -> None:
    theirs = EmailDevice.objects.create(user=kim, name="default", email=kim.email, confirmed=True)
    app = register_app(holder)
    assert app.name == "Authenticator app"
    assert default_device(fresh(kim)) == theirs
    browser = Client()
    give_password(browser)  # and it offers the app, among the other devices
    assert give_code(browser, code_of(app, ahead=1), challenge_device=app.persistent_id).status_code == 200
    assert give_code(browser, code_of(app, ahead=1)).status_code == 302
    assert browser.get("/").content == b"True"


def test_rename__does_not_switch_two_factor_off(holder: Client, kim: Any) -> None:
    device = TOTPDevice.objects.create(user=kim, name="default", confirmed=True)  # as its own set-up makes it
    page = f"{SECURITY_INFO}methods/totp/{device.pk}/"
    assert holder.get(page).context["form"] is None
    holder.post(page, {"name": "My phone"})
    assert default_device(fresh(kim)) == device
    app = register_app(holder)
    holder.post(f"{SECURITY_INFO}methods/totp/{app.pk}/", {"name": "default"})
    app.refresh_from_db()
    assert app.name == "Authenticator app 2"
    holder.post(f"{SECURITY_INFO}methods/totp/{app.pk}/", {"name": "Work phone"})
    app.refresh_from_db()
    assert app.name == "Work phone"
    assert "token-otp_token" in give_password(Client()).content.decode()


@pytest.mark.parametrize("act", ["remove", "lost"])
def test_remove__another_app_is_asked_for_then(holder: Client, kim: Any, act: str) -> None:
    first = TOTPDevice.objects.create(user=kim, name="default", confirmed=True)
    second = register_app(holder)
    assert second.name == "Authenticator app 2"
    holder.post(f"{SECURITY_INFO}methods/totp/{first.pk}/{act}/")
    assert not TOTPDevice.objects.filter(pk=first.pk).exists()
    assert default_device(fresh(kim)) == second
    assert "token-otp_token" in give_password(Client()).content.decode()


def test_remove__a_device_of_another_package_keeps_its_name(holder: Client, kim: Any) -> None:
    first = TOTPDevice.objects.create(user=kim, name="default", confirmed=True)
    TOTPDevice.objects.create(user=kim, name="vpn", confirmed=True)
    ours = register_app(holder)
    holder.post(f"{SECURITY_INFO}methods/totp/{first.pk}/lost/")
    assert default_device(fresh(kim)) == ours
    assert TOTPDevice.objects.filter(user=kim, name="vpn").exists()


# No way around it.


def test_checks__of_the_site_in_registration_only_mode_are_silent(db: None) -> None:
    assert [message for message in run_checks() if str(message.id).startswith("tap_provider")] == []


def test_checks__our_login_page_beside_two_factors_is_named(settings: Any) -> None:
    settings.ROOT_URLCONF = WITH_OURS
    found = [message for message in run_checks() if str(message.id).startswith("tap_provider")]
    assert sorted(message.id for message in found) == ["tap_provider.W022", "tap_provider.W023"]
    assert "two_factor" in found[0].msg + found[1].msg


@pytest.mark.parametrize("model", [EmailDevice, StaticDevice])
def test_login__a_password_alone_is_no_way_around_a_device_of_another_app(
    client: Client, kim: Any, model: Any, settings: Any
) -> None:
    settings.ROOT_URLCONF = WITH_OURS
    device = model.objects.create(user=kim, name="default", confirmed=True)
    response = client.post(SIGN_IN, {"upn": "kim", "password": PASSWORD})
    assert "a second step, which this page cannot ask for" in response.content.decode()
    assert SESSION_KEY not in client.session
    assert AuditEvent.objects.get(kind="sign_in_refused").detail["reason"] == "other_second_factor"
    device.confirmed = False
    device.save()
    assert client.post(SIGN_IN, {"upn": "kim", "password": PASSWORD})["Location"] == "/"


def test_login__an_app_of_two_factors_is_asked_for_at_our_page_too(client: Client, kim: Any, settings: Any) -> None:
    settings.ROOT_URLCONF = WITH_OURS
    TOTPDevice.objects.create(user=kim, name="default", confirmed=True)
    assert client.post(SIGN_IN, {"upn": "kim", "password": PASSWORD})["Location"] == f"{SIGN_IN}verify/"


# What it proved.


def test_login__by_password_alone_is_recorded_as_that(client: Client, kim: Any) -> None:
    assert give_password(client).status_code == 302
    assert (sign_in_of(client).methods, sign_in_of(client).level) == (["password"], "single_factor")


def test_login__from_a_browser_that_is_remembered_claims_no_code(client: Client, kim: Any) -> None:
    app = TOTPDevice.objects.create(user=kim, name="default", confirmed=True)
    give_password(client)
    give_code(client, code_of(app), **{"token-remember": "on"})
    assert sign_in_of(client).level == "multi_factor"
    client.post("/security/sign-out/")
    assert give_password(client).status_code == 302
    assert client.get("/").content == b"True"  # as two_factor has it
    sign_in = sign_in_of(client)
    assert (sign_in.methods, sign_in.amr, sign_in.authenticated_at) == ([], [], None)
