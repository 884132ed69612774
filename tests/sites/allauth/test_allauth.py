"""django-allauth: its second factors and its verification of addresses hold; a pass still brings its holder back in."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, generate_totp_secret, hotp_value
from allauth.mfa.totp.internal.auth import yield_hotp_counters_from_time as counters
from django.contrib.auth import get_user_model
from django.core.checks import run_checks
from django.test import Client
from django.utils import timezone

from tap_provider.issue import issue_pass
from tap_provider.models import AuditEvent, SignIn
from tap_provider.policy import change_policy
from tap_provider.sign_in import SESSION_KEY

PASSWORD = "correct-horse"
LOGIN, SIGN_IN, SECURITY_INFO = "/accounts/login/", "/security/sign-in/", "/security/security-info/"
CODE_PAGE = "/accounts/2fa/authenticate/"


@pytest.fixture
def kim(make_user: Any) -> Any:
    user = make_user("kim", password=PASSWORD)
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    return user


@pytest.fixture
def secret(kim: Any) -> str:
    """Kim's authenticator app, registered with allauth."""
    secret = generate_totp_secret()
    TOTP.activate(kim, secret)
    assert Authenticator.objects.get(user=kim).type == "totp"
    return secret


def code_of(secret: str) -> str:
    return str(format_hotp_value(hotp_value(secret, next(iter(counters())))))


def log_in(browser: Client, name: str = "kim") -> Any:
    return browser.post(LOGIN, {"login": name, "password": PASSWORD})


def sign_in_of(browser: Client) -> SignIn:
    return SignIn.objects.get(pk=browser.session[SESSION_KEY])


def test_checks__of_the_site_in_registration_only_mode_are_silent(db: None) -> None:
    assert [message for message in run_checks() if str(message.id).startswith("tap_provider")] == []


def test_checks__our_login_page_beside_allauths_is_named(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.sites.allauth.urls_with_ours"
    found = [message for message in run_checks() if str(message.id).startswith("tap_provider")]
    assert sorted(message.id for message in found) == ["tap_provider.W022", "tap_provider.W022", "tap_provider.W023"]
    told = " ".join(message.msg for message in found)
    assert "allauth.mfa" in told
    assert "verified e-mail address" in told


def test_login__a_password_alone_is_no_way_around_allauths_second_factor(
    client: Client, kim: Any, secret: str, settings: Any
) -> None:
    assert client.post(SIGN_IN, {"upn": "kim", "password": PASSWORD}).status_code == 405
    settings.ROOT_URLCONF = "tests.sites.allauth.urls_with_ours"
    response = client.post(SIGN_IN, {"upn": "kim", "password": PASSWORD})
    assert "a second step, which this page cannot ask for" in response.content.decode()
    assert f'href="{LOGIN}"' in response.content.decode()
    assert SESSION_KEY not in client.session
    assert client.get("/").content == b""
    assert AuditEvent.objects.get(kind="sign_in_refused").detail["reason"] == "other_second_factor"


def test_login__with_allauths_second_factor_is_strong_and_registers(client: Client, kim: Any, secret: str) -> None:
    assert log_in(client)["Location"].startswith(CODE_PAGE)
    assert SESSION_KEY not in client.session
    assert client.get(SECURITY_INFO)["Location"].startswith(SIGN_IN)  # half-way in is not in
    assert client.post(CODE_PAGE, {"code": code_of(secret)})["Location"] == "/"
    sign_in = sign_in_of(client)
    assert (sorted(sign_in.methods), sign_in.amr, sign_in.level) == (
        ["allauth_totp", "password"],
        ["mfa", "otp", "pwd"],
        "multi_factor",
    )
    assert client.get(SECURITY_INFO).context["refusal"] is None


def test_login__by_password_alone_is_recorded_as_that(client: Client, kim: Any) -> None:
    assert log_in(client)["Location"] == "/"
    assert (sign_in_of(client).methods, sign_in_of(client).level) == (["password"], "single_factor")


def test_login__an_address_that_was_never_verified_stays_out(client: Client, make_user: Any) -> None:
    user = make_user("robin", password=PASSWORD)
    EmailAddress.objects.create(user=user, email=user.email, verified=False, primary=True)
    assert log_in(client, "robin")["Location"] == "/accounts/confirm-email/"
    client.post(SIGN_IN, {"upn": "robin", "password": PASSWORD})
    assert SESSION_KEY not in client.session


def test_logout__at_allauths_page_ends_the_sign_in(client: Client, kim: Any) -> None:
    log_in(client)
    sign_in = sign_in_of(client)
    client.post("/accounts/logout/")
    sign_in.refresh_from_db()
    assert sign_in.ended_reason == "signed_out"


def test_pass__its_holder_sets_a_password_and_signs_in_at_allauths_page(client: Client, kim: Any) -> None:
    admin = get_user_model()._default_manager.create_superuser("admin", "admin@example.test", PASSWORD)
    change_policy(actor=admin, now=timezone.now(), enabled=True)
    issued = issue_pass(actor=admin, user=kim, now=timezone.now())
    client.post("/security/sign-in/pass/", {"upn": "kim", "passcode": issued.passcode.reveal()})
    assert client.get(SECURITY_INFO).context["upn"] == "kim"
    assert client.get("/").content == b""
    client.post(f"{SECURITY_INFO}add/password/", {"begin": "1"})
    new = "a-long-enough-phrase"
    client.post(f"{SECURITY_INFO}add/password/", {"new_password1": new, "new_password2": new})
    finished = client.post(f"{SECURITY_INFO}finish/")["Location"]
    page = client.get(finished)
    assert page.context["login_url"] == LOGIN
    assert client.post(page.context["login_url"], {"login": "kim", "password": new})["Location"] == "/"
    assert client.get("/").content == b"kim"
