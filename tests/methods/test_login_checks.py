"""System checks of the ways in: each fires for its fault, and is silent otherwise."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.http import HttpResponse
from django.urls import include, path

from tap_provider.methods import login_checks as checks
from tap_provider.methods import registry
from tap_provider.methods.passkey import PasskeyKind

REGISTRATION_ONLY = __name__
OURS = "example_project.urls"

urlpatterns = [
    path("login/", lambda request: HttpResponse(), name="login"),
    path("account/", include("tap_provider.registration_urls")),
]


def found(check: Any) -> list[str]:
    return [message.id for message in check(None)]


def test_check_login_url__of_the_example_is_silent() -> None:
    for check in (
        checks.check_login_url,
        checks.check_second_login,
        checks.check_kinds_taken,
        checks.check_password_backend,
    ):
        assert found(check) == []


@pytest.mark.parametrize(
    ("urlconf", "login_url", "ids"),
    [
        (OURS, "tap_provider:sign_in", []),
        (OURS, "/account/sign-in/", []),
        (OURS, "/account/sign-in/?brand=a", []),
        (OURS, "/accounts/login/", ["tap_provider.W023"]),
        (OURS, "https://login.example/account/sign-in/", ["tap_provider.W023"]),
        (REGISTRATION_ONLY, "login", []),
        (REGISTRATION_ONLY, "https://login.example/", []),
        (REGISTRATION_ONLY, "tap_provider:sign_in", ["tap_provider.E022"]),
        (REGISTRATION_ONLY, "/account/sign-in/", ["tap_provider.E022"]),
        ("tests.test_checks", "/accounts/login/", []),  # none of our pages
        (OURS, "https://example.test/account/sign-in/", []),
    ],
)
def test_check_login_url__there_is_one_login_page(settings: Any, urlconf: str, login_url: str, ids: list[str]) -> None:
    settings.TAP_PROVIDER_BASE_URL = "https://example.test"
    settings.ROOT_URLCONF, settings.LOGIN_URL = urlconf, login_url
    assert found(checks.check_login_url) == ids


def install(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Have these apps installed, as far as a check can tell."""
    really = apps.is_installed
    monkeypatch.setattr(apps, "is_installed", lambda name: name in names or really(name))


@pytest.mark.parametrize("app", ["allauth.mfa", "two_factor"])
def test_check_second_login__names_packages_that_ask_for_more(
    settings: Any, monkeypatch: pytest.MonkeyPatch, app: str
) -> None:
    install(monkeypatch, app)
    (message,) = checks.check_second_login(None)
    assert message.id == "tap_provider.W022"
    assert app in message.msg
    settings.ROOT_URLCONF = REGISTRATION_ONLY
    assert found(checks.check_second_login) == []


def test_check_second_login__is_silent_where_a_kind_asks_for_these_factors(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "allauth.mfa")
    monkeypatch.setattr(type(registry.find_kind("totp")), "covers_apps", ("allauth.mfa",))
    assert found(checks.check_second_login) == []


def test_check_second_login__names_a_mandatory_verification_of_addresses(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, "allauth.account")
    assert found(checks.check_second_login) == []
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    (message,) = checks.check_second_login(None)
    assert (message.id, "allauth.account" in message.msg) == ("tap_provider.W022", True)
    settings.ROOT_URLCONF = REGISTRATION_ONLY
    assert found(checks.check_second_login) == []


def test_check_kinds_taken__nobody_registers_what_the_login_page_does_not_take(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ROOT_URLCONF = REGISTRATION_ONLY
    settings.TAP_PROVIDER_REGISTRABLE_METHODS = ["passkey", "totp", "recovery_codes", "password"]
    told = [message.msg.split(" takes no ")[1].split(",")[0] for message in checks.check_kinds_taken(None)]
    assert told == ["passkey", "totp", "recovery_codes"]
    monkeypatch.setattr(PasskeyKind, "is_taken_elsewhere", lambda kind: True)  # as a subclass of the site's says
    settings.TAP_PROVIDER_REGISTRABLE_METHODS = ["passkey"]
    assert found(checks.check_kinds_taken) == []
    settings.TAP_PROVIDER_REGISTRABLE_METHODS = ["totp"]
    assert found(checks.check_kinds_taken) == ["tap_provider.W024"]


def test_check_kinds_taken__an_app_is_asked_for_by_two_factor(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ROOT_URLCONF, settings.TAP_PROVIDER_REGISTRABLE_METHODS = REGISTRATION_ONLY, ["totp"]
    install(monkeypatch, "two_factor")
    assert found(checks.check_kinds_taken) == []


def test_check_password_backend__djangos_does_not_say_what_it_proved(settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = [
        "django.contrib.auth.backends.ModelBackend",
        "django.contrib.auth.backends.AllowAllUsersModelBackend",
        "tap_provider.backends.ModelBackend",
    ]
    messages = checks.check_password_backend(None)
    assert [message.id for message in messages] == ["tap_provider.W025"] * 2
    assert "'tap_provider.backends.ModelBackend'" in str(messages[0].hint)
