"""A password where nothing follows it: the door that OAuth's password grant goes through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.http import HttpRequest
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django_otp.plugins.otp_totp.models import TOTPDevice

from tap_provider.exceptions import SignInRefused, TooManyAttempts
from tap_provider.methods.two_steps import sign_in_with_password, verify_password_alone
from tap_provider.models import AuditEvent, SignIn

from ..conftest import HOUR, NOW

PASSWORD = "correct horse battery staple"


@pytest.fixture
def make_request(rf: RequestFactory) -> Callable[[], HttpRequest]:
    """Make a request without a session, as a client's own is."""
    return lambda: rf.post("/o/token/", REMOTE_ADDR="192.0.2.7")


@pytest.fixture
def kim(make_user: Callable[..., Any]) -> Any:
    return make_user("kim", password=PASSWORD)


def refusal(request: HttpRequest, username: str, password: str, **changes: Any) -> tuple[str, str]:
    with pytest.raises(SignInRefused) as refused:
        verify_password_alone(request, username=username, password=password, now=changes.get("now", NOW))
    return refused.value.code, str(refused.value.message)


def test_verify_password_alone__returns_the_user_and_opens_nothing(kim: Any, make_request: Any) -> None:
    assert verify_password_alone(make_request(), username=kim.username, password=PASSWORD, now=NOW) == kim
    assert not SignIn.objects.exists()


def test_verify_password_alone__refuses_whatever_it_refuses_alike(
    kim: Any, make_user: Callable[..., Any], make_request: Any
) -> None:
    protected = make_user("lee", password=PASSWORD)
    TOTPDevice.objects.create(user=protected, confirmed=True, name="app")
    make_user("gone", password=PASSWORD, is_active=False)
    answers = {
        refusal(make_request(), *credentials)
        for credentials in (
            (kim.username, "wrong"),
            ("nobody", PASSWORD),
            (protected.username, PASSWORD),
            (protected.username, "wrong"),
            ("gone", PASSWORD),
        )
    }
    assert len(answers) == 1
    refused = AuditEvent.objects.filter(kind=AuditEvent.Kind.SIGN_IN_REFUSED)
    assert [event.detail for event in refused] == [{"reason": "password"}] * 5
    assert {event.address for event in refused} == {"192.0.2.7"}


@pytest.mark.parametrize("right", [True, False])
def test_verify_password_alone__counts_a_right_password_that_is_refused(
    kim: Any, make_request: Any, right: bool
) -> None:
    """Otherwise the eleventh guess would tell whether one of ten was right."""
    TOTPDevice.objects.create(user=kim, confirmed=True, name="app")
    for number in range(10):
        refusal(make_request(), kim.username, PASSWORD if right and number == 4 else f"guess {number}")
    with pytest.raises(TooManyAttempts):
        verify_password_alone(make_request(), username=kim.username, password=PASSWORD, now=NOW)


def test_verify_password_alone__shares_the_counters_of_the_page(kim: Any, make_request: Any) -> None:
    for _ in range(5):
        refusal(make_request(), kim.username, "wrong")
        with pytest.raises(SignInRefused):
            sign_in_with_password(make_request(), upn=kim.upn, password="wrong", now=NOW)
    refusal(make_request(), kim.username, PASSWORD)  # ten guesses at the account: silently

    assert verify_password_alone(make_request(), username=kim.username, password=PASSWORD, now=NOW + HOUR) == kim


def test_verify_password_alone__counts_at_the_user_whose_password_is_tried(
    kim: Any, make_user: Any, make_request: Any
) -> None:
    """Another user's UPN reads like Kim's user name: the guesses are Kim's all the same."""
    make_user("mallory", upn=kim.username)
    for number in range(10):
        refusal(make_request(), kim.username, f"guess {number}")
    with pytest.raises((SignInRefused, TooManyAttempts)):
        sign_in_with_password(make_request(), upn=kim.upn, password=PASSWORD, now=NOW)


def test_verify_password_alone__successes_are_no_guesses(kim: Any, make_request: Any) -> None:
    for _ in range(12):
        assert verify_password_alone(make_request(), username=kim.username, password=PASSWORD, now=NOW)


def test_verify_password_alone__knows_user_names_only(kim: Any, make_request: Any) -> None:
    refusal(make_request(), kim.upn, PASSWORD)


def test_verify_password_alone__costs_as_many_statements_whoever_is_named(kim: Any, make_request: Any) -> None:
    def statements(name: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            refusal(make_request(), name, "wrong")
        return len(queries)

    assert statements(kim.username) == statements(kim.upn) == statements("nobody") == statements("a\x00b")


@pytest.mark.parametrize("username", ["a\x00b", "\ud800", "x" * 300, ""])
@pytest.mark.parametrize("password", ["a\x00b", "\ud800", "x" * 10_000, ""])
def test_verify_password_alone__odd_text_is_refused_cleanly(
    kim: Any, make_request: Any, username: str, password: str
) -> None:
    refusal(make_request(), username, password)
    refusal(make_request(), kim.username, password)


def test_sign_in_with_password__of_an_inactive_user_is_refused_whatever_the_backend_says(
    kim: Any, make_request: Any, settings: Any
) -> None:
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.AllowAllUsersModelBackend"]
    kim.is_active = False
    kim.save()
    with pytest.raises(SignInRefused):
        sign_in_with_password(make_request(), upn=kim.upn, password=PASSWORD, now=NOW)
    refusal(make_request(), kim.username, PASSWORD)
