"""django-axes: failures by password and by pass are booked under one name, and whom it locks out reads a page."""

from __future__ import annotations

from typing import Any

import pytest
from axes.models import AccessAttempt
from axes.utils import reset
from django.contrib.auth import get_user_model
from django.core.checks import run_checks
from django.test import Client
from django.utils import timezone
from django_otp.oath import totp
from django_otp.plugins.otp_totp.models import TOTPDevice

from tap_provider.issue import issue_pass
from tap_provider.models import SignIn
from tap_provider.policy import change_policy
from tap_provider.sign_in import SESSION_KEY

PASSWORD, WRONG_PASSCODE = "correct-horse", "WRONG-WRONG-23"
SIGN_IN, BY_PASS = "/account/sign-in/", "/account/sign-in/pass/"


@pytest.fixture
def kim(make_user: Any) -> Any:
    return make_user("kim", password=PASSWORD)


@pytest.fixture
def passcode(kim: Any) -> str:
    admin = get_user_model()._default_manager.create_superuser("admin", "admin@example.test", PASSWORD)
    change_policy(actor=admin, now=timezone.now(), enabled=True)
    return issue_pass(actor=admin, user=kim, now=timezone.now()).passcode.reveal()


def by_password(client: Client, password: str = "wrong") -> Any:
    return client.post(SIGN_IN, {"upn": "kim", "password": password})


def by_pass(client: Client, passcode: str = WRONG_PASSCODE) -> Any:
    return client.post(BY_PASS, {"upn": "kim", "passcode": passcode})


def failures() -> list[tuple[str, int]]:
    return list(AccessAttempt.objects.values_list("username", "failures_since_start"))


def test_checks__of_the_site_are_silent(db: None) -> None:
    assert [message for message in run_checks() if str(message.id).startswith("tap_provider")] == []


@pytest.mark.parametrize("fail", [by_password, by_pass])
def test_failure__is_booked_by_name_and_leads_to_a_page_of_the_sites(
    client: Client, kim: Any, passcode: str, fail: Any
) -> None:
    for number in (1, 2):
        assert fail(client).status_code == 200
        assert failures() == [("kim", number)]
    response = fail(client)
    assert response.status_code == 429
    assert "Too many attempts" in response.content.decode()
    assert "ask the help desk" in response.content.decode()
    assert by_password(client, PASSWORD).status_code == 429  # the right one, too
    assert SESSION_KEY not in client.session
    assert not SignIn.objects.exists()


def test_failure__by_password_and_by_pass_are_one_count(client: Client, kim: Any, passcode: str) -> None:
    by_password(client)
    by_pass(client)
    assert failures() == [("kim", 2)]
    assert by_password(client).status_code == 429
    reset(username="kim")
    assert by_password(client, PASSWORD)["Location"] == "/"


def test_pass__is_no_password_that_axes_locks_out(client: Client, kim: Any, passcode: str) -> None:
    for _number in range(3):
        by_password(client)
    assert by_pass(client, passcode)["Location"] == "/account/security-info/"


def test_failure__keeps_nothing_of_what_was_typed_as_a_secret(client: Client, kim: Any, passcode: str) -> None:
    by_pass(client)
    by_password(client, "nearly-correct-horse")
    kept = str(list(AccessAttempt.objects.values()))
    assert WRONG_PASSCODE not in kept
    assert "nearly-correct-horse" not in kept


def test_pass__is_redeemed(client: Client, kim: Any, passcode: str) -> None:
    by_pass(client)
    assert by_pass(client, passcode)["Location"] == "/account/security-info/"


def test_password__with_a_second_factor_signs_in(client: Client, kim: Any) -> None:
    app = TOTPDevice.objects.create(user=kim, confirmed=True)
    assert by_password(client, PASSWORD)["Location"] == f"{SIGN_IN}verify/"
    response = client.post(f"{SIGN_IN}verify/", {"code": f"{totp(app.bin_key):06d}"})
    assert response["Location"] == "/"
    assert sorted(SignIn.objects.get().methods) == ["password", "totp"]
