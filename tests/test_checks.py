"""System checks: each id fires for its fault, and is silent otherwise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import django
import pytest
from django.conf import settings as django_settings
from django.contrib.admin import AdminSite
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core.checks import CheckMessage, run_checks
from django.db import connections
from django.db.models import UniqueConstraint
from django.db.models.functions import Lower
from django.urls import include, path

from tap_provider import checks, database_checks
from tap_provider.hooks import Hooks
from tap_provider.methods import registry
from tap_provider.models import Standing
from tap_provider.oidc import checks as oidc_checks

OURS = checks.MIDDLEWARE
AUTHENTICATION = checks.AUTHENTICATION_MIDDLEWARE
OTP, LOGIN_REQUIRED = checks.LATER_MIDDLEWARE
MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"
SQLITE = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
IMMEDIATE = {**SQLITE, "OPTIONS": {"transaction_mode": "IMMEDIATE"}}

urlpatterns = [  # a site that has mounted the libraries' own views
    path("o/", include("oauth2_provider.urls")),
    path("webauthn/", include("django_otp_webauthn.urls", namespace="otp_webauthn")),
]


class OtherHooks(Hooks):
    """A subclass, as a site writes one."""


class NotHooks:
    """Not a subclass."""


class OtherHasher(MD5PasswordHasher):
    """As a site may name one: Django's protocol, whatever the algorithm."""


class OpaqueHasher(MD5PasswordHasher):
    """It does not tell the salt of a hash."""

    def decode(self, encoded: str) -> Any:
        raise NotImplementedError


class BytesHasher(MD5PasswordHasher):
    """As bcrypt: what it tells as the salt is not what it was given."""

    def decode(self, encoded: str) -> Any:
        return {**super().decode(encoded), "salt": "another"}


def ids(found: list[CheckMessage]) -> list[str]:
    return [message.id for message in found if message.id and message.id.startswith("tap_provider")]


def all_ids(databases: list[str] | None = None) -> list[str]:
    return ids(run_checks(databases=databases))


def known_ids() -> list[str]:
    constants = {**vars(checks), **vars(database_checks), **vars(oidc_checks)}
    return sorted(constants[name] for name in constants if re.fullmatch(r"[EW]\d{3}", name))


@pytest.mark.django_db
def test_checks__are_silent_for_the_example() -> None:
    assert all_ids(databases=["default"]) == []


# Middleware.


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ([AUTHENTICATION, OURS], []),
        ([AUTHENTICATION, OURS, OTP, LOGIN_REQUIRED], []),
        ([AUTHENTICATION], ["tap_provider.E001"]),
        ([], ["tap_provider.E001"]),
        ([OURS], ["tap_provider.E002"]),
        ([OURS, AUTHENTICATION], ["tap_provider.E002"]),
        ([AUTHENTICATION, OTP, OURS], ["tap_provider.E002"]),
        ([AUTHENTICATION, LOGIN_REQUIRED, OURS], ["tap_provider.E002"]),
        ([OTP, LOGIN_REQUIRED, OURS, AUTHENTICATION], ["tap_provider.E002"] * 3),
    ],
)
def test_check_middleware__wants_ours_in_its_place(settings: Any, order: list[str], expected: list[str]) -> None:
    settings.MIDDLEWARE = order
    assert ids(checks.check_middleware(None)) == expected


# Backends.


@pytest.mark.parametrize(
    ("backends", "expected"),
    [
        ([MODEL_BACKEND, checks.PASSKEY_BACKEND, checks.BACKEND], []),
        ([MODEL_BACKEND, checks.PASSKEY_BACKEND], ["tap_provider.E003"]),
        ([checks.BACKEND, checks.PASSKEY_BACKEND, MODEL_BACKEND], ["tap_provider.E004"]),
        ([checks.LIBRARY_PASSKEY_BACKEND, checks.BACKEND], ["tap_provider.E007"]),
        ([checks.LIBRARY_PASSKEY_BACKEND, checks.PASSKEY_BACKEND, checks.BACKEND], ["tap_provider.E007"]),
        ([MODEL_BACKEND, checks.BACKEND], ["tap_provider.E007"]),
    ],
)
def test_check_backends__wants_ours_last_and_our_passkey_backend(
    settings: Any, backends: list[str], expected: list[str]
) -> None:
    settings.AUTHENTICATION_BACKENDS = backends
    assert ids(checks.check_backends(None)) == expected


def test_check_backends__without_passkeys_no_backend_for_them_is_missed(settings: Any) -> None:
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_otp_webauthn"]
    settings.AUTHENTICATION_BACKENDS = [MODEL_BACKEND, checks.BACKEND]
    assert ids(checks.check_backends(None)) == []


class StandingHooks(Hooks):
    """A site that says whose standing is raised by rights that cannot be listed."""

    def standing_of(self, user: Any) -> Standing:
        return Standing.SUPERUSER


@pytest.mark.parametrize(
    ("backend", "hooks", "expected"),
    [
        (None, "tap_provider.hooks.Hooks", []),
        ("tests.test_permissions.AnswersNothing", "tap_provider.hooks.Hooks", []),
        ("tests.test_permissions.AnswersByItself", "tap_provider.hooks.Hooks", ["tap_provider.W026"]),
        ("tests.test_permissions.ListsOnly", "tap_provider.hooks.Hooks", ["tap_provider.W026"]),
        ("tests.test_permissions.ListsWhatItAnswers", "tap_provider.hooks.Hooks", ["tap_provider.W026"]),
        ("tests.test_permissions.OnlyAnswers", "tap_provider.hooks.Hooks", ["tap_provider.W026"]),
        ("tests.test_permissions.OnlyAnswers", "tests.test_checks.OtherHooks", ["tap_provider.W026"]),
        ("tests.test_permissions.OnlyAnswers", "tests.test_checks.StandingHooks", []),
        ("tests.test_permissions.OnlyAnswers", "tests.nowhere.Hooks", []),  # which E009 says
        ("tests.test_permissions.OnlyAnswers", None, []),
    ],
)
def test_check_permissions__names_the_backend_that_may_answer_for_single_objects(
    settings: Any, backend: str | None, hooks: Any, expected: list[str]
) -> None:
    settings.AUTHENTICATION_BACKENDS = [backend or MODEL_BACKEND, checks.PASSKEY_BACKEND, checks.BACKEND]
    settings.TAP_PROVIDER_HOOKS = hooks
    found = checks.check_permissions(None)
    assert ids(found) == expected
    assert all(str(backend) in message.msg for message in found)


# Databases.


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (IMMEDIATE, []),
        (SQLITE, ["tap_provider.E005"]),
        ({**SQLITE, "OPTIONS": {"transaction_mode": "DEFERRED"}}, ["tap_provider.E005"]),
        ({"ENGINE": "django.db.backends.postgresql"}, []),
        ({"ENGINE": "django.db.backends.mysql"}, []),
        ({**IMMEDIATE, "ATOMIC_REQUESTS": True}, ["tap_provider.W013"]),
        ({"ENGINE": "django.db.backends.postgresql", "ATOMIC_REQUESTS": True}, ["tap_provider.W013"]),
    ],
)
def test_check_database_settings__wants_immediate_transactions_and_no_atomic_requests(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], expected: list[str]
) -> None:
    monkeypatch.setitem(django_settings.DATABASES, "default", options)
    assert ids(database_checks.check_database_settings(None)) == expected


@pytest.mark.django_db
def test_check_databases__warns_of_a_database_that_has_not_been_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ids(database_checks.check_databases(None, databases=["default"])) == []
    assert ids(database_checks.check_databases(None)) == []  # only where a command asks for it
    monkeypatch.setattr(connections["default"], "vendor", "oracle")
    monkeypatch.setitem(connections["default"].__dict__, "mysql_is_mariadb", False)
    assert ids(database_checks.check_databases(None, databases=["default"])) == ["tap_provider.E014"]


# Settings.


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("REGISTRATION_VIEWS", ["third_party:wizard"], []),
        ("REGISTRATION_VIEWS", ["oauth2_provider:authorize"], ["tap_provider.E006"]),
        ("REGISTRATION_VIEWS", ["admin:index"], ["tap_provider.E006"]),
        ("REGISTRATION_VIEWS", ["admin:auth:x", "oauth2_provider:list"], ["tap_provider.E006"] * 2),
        ("REGISTRATION_VIEWS", ["intranet:admin:index"], ["tap_provider.E006"]),
        ("REGISTRATION_VIEWS", ["admin", "third_party:admin"], []),  # names of views, not of places
        ("REGISTRATION_VIEWS", "third_party:wizard", ["tap_provider.E010"]),
        ("REGISTRATION_VIEWS", None, ["tap_provider.E010"]),
        ("UPN_FIELD", "upn", []),
        ("UPN_FIELD", "username", []),
        ("UPN_FIELD", "employee_number", ["tap_provider.E008"]),
        ("UPN_FIELD", "email", ["tap_provider.W012"]),
        ("HOOKS", "tests.test_checks.OtherHooks", []),
        ("HOOKS", "tests.test_checks.NotHooks", ["tap_provider.E009"]),
        ("HOOKS", "tests.test_checks.nothing", ["tap_provider.E009"]),
        ("HOOKS", "tests.nowhere.Hooks", ["tap_provider.E009"]),
        ("HOOKS", "tests.test_checks.ids", ["tap_provider.E009"]),
        ("PASSCODE_HASHER", "tests.test_checks.OtherHasher", []),
        ("PASSCODE_HASHER", "tests.test_checks.OpaqueHasher", ["tap_provider.E009"]),
        ("PASSCODE_HASHER", "tests.test_checks.BytesHasher", ["tap_provider.E009"]),
        ("PASSCODE_HASHER", "tests.test_checks.NotHooks", ["tap_provider.E009"]),
        ("PASSCODE_HASHER", "tests.nowhere.Hasher", ["tap_provider.E009"]),
        ("PASSCODE_LENGTH", 12, ["tap_provider.E010"]),
        ("ACR_VALUES", {"phishing_resistant": "phrh"}, []),
        ("ACR_VALUES", {"phishing-resistant": "phr"}, ["tap_provider.E010"]),
        ("ACR_VALUES", ["phr"], ["tap_provider.E010"]),
        ("TRUSTED_PROXIES", 1, []),
        ("TRUSTED_PROXIES", -1, ["tap_provider.E010"]),
        ("TRUSTED_PROXIES", True, ["tap_provider.E010"]),
        ("TRUSTED_PROXIES", "1", ["tap_provider.E010"]),
        ("PASS_AMR", ["tap"], []),
        ("BACKCHANNEL_NETWORKS", ["10.0.0.0/8", "::1"], []),
        ("BACKCHANNEL_NETWORKS", "10.0.0.0/8", ["tap_provider.E010"]),
        ("BACKCHANNEL_NETWORKS", ["10.0.0.1/8"], ["tap_provider.E010"]),
        ("BACKCHANNEL_NETWORKS", ["intranet"], ["tap_provider.E010"]),
        ("PASS_AMR", "tap", ["tap_provider.E010"]),
        ("REGISTRABLE_METHODS", "totp", ["tap_provider.E010"]),
        ("REFRESH_TOKENS", "always", []),
        ("REFRESH_TOKENS", "never", ["tap_provider.E010"]),
        ("REFRESH_TOKENS", ["always"], ["tap_provider.E010"]),
        ("BASE_URL", "", []),
        ("BASE_URL", "https://login.example.test", []),
        ("BASE_URL", "http://localhost:8000/portal/", []),
        ("BASE_URL", "login.example.test", ["tap_provider.E010"]),
        ("BASE_URL", "//login.example.test", ["tap_provider.E010"]),
        ("BASE_URL", "https://", ["tap_provider.E010"]),
        ("BASE_URL", "https://login.example.test:port", ["tap_provider.E010"]),
        ("BASE_URL", "https://login.example.test/?next=/", ["tap_provider.E010"]),
        ("BASE_URL", "https://login.example.test@evil.test", ["tap_provider.E010"]),
        ("BASE_URL", "javascript:alert(1)", ["tap_provider.E010"]),
        ("BASE_URL", None, ["tap_provider.E010"]),
        ("BASE_URL", b"https://login.example.test", ["tap_provider.E010"]),
    ],
)
def test_check_settings__names_what_is_wrong(settings: Any, name: str, value: Any, expected: list[str]) -> None:
    setattr(settings, f"TAP_PROVIDER_{name}", value)
    assert ids(checks.check_settings(None)) == expected


def test_check_settings__no_admin_site_takes_part_whatever_its_name(settings: Any) -> None:
    settings.TAP_PROVIDER_REGISTRATION_VIEWS = ["backoffice:index"]
    assert ids(checks.check_settings(None)) == []
    site = AdminSite(name="backoffice")
    assert site.name == "backoffice"
    assert ids(checks.check_settings(None)) == ["tap_provider.E006"]


@pytest.mark.parametrize(
    "constraint",
    [UniqueConstraint(fields=["email"], name="one_each"), UniqueConstraint(Lower("email"), name="one_each")],
)
def test_check_settings__a_unique_constraint_on_the_upn_will_do(
    settings: Any, monkeypatch: pytest.MonkeyPatch, constraint: UniqueConstraint
) -> None:
    settings.TAP_PROVIDER_UPN_FIELD = "email"
    monkeypatch.setattr(get_user_model()._meta, "constraints", [constraint])
    assert ids(checks.check_settings(None)) == []


def test_check_settings__a_unique_constraint_on_more_than_the_upn_will_not_do(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TAP_PROVIDER_UPN_FIELD = "email"
    constraint = UniqueConstraint(fields=["email", "username"], name="one_each")
    monkeypatch.setattr(get_user_model()._meta, "constraints", [constraint])
    assert ids(checks.check_settings(None)) == ["tap_provider.W012"]


@pytest.mark.parametrize(
    ("slugs", "expected"),
    [(["passkey", "totp", "password"], []), ([], []), (["totp", "carrier_pigeon"], ["tap_provider.W011"])],
)
def test_check_registrable_methods__wants_an_app_for_each_kind(
    settings: Any, slugs: list[str], expected: list[str]
) -> None:
    settings.TAP_PROVIDER_REGISTRABLE_METHODS = slugs
    assert ids(checks.check_registrable_methods(None)) == expected


def test_check_registrable_methods__the_default_offers_what_there_is(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(registry._kinds, "totp")
    assert ids(checks.check_registrable_methods(None)) == []
    settings.TAP_PROVIDER_REGISTRABLE_METHODS = ["passkey", "totp"]
    assert ids(checks.check_registrable_methods(None)) == ["tap_provider.W011"]


@pytest.mark.parametrize(
    ("urlconf", "expected"), [("example_project.urls", []), ("tests.test_checks", ["tap_provider.W015"])]
)
def test_check_passkey_urls__wants_the_librarys_own_left_out(settings: Any, urlconf: str, expected: list[str]) -> None:
    settings.ROOT_URLCONF = urlconf
    assert ids(checks.check_passkey_urls(None)) == expected


# Mail.

SMTP = "django.core.mail.backends.smtp.EmailBackend"


def use_mailer(settings: Any, backend: str, timeout: int | None) -> None:
    if django.VERSION >= (6, 1):
        options = {"host": "localhost", "timeout": timeout} if backend == SMTP else {}
        settings.MAILERS = {"default": {"BACKEND": backend, "OPTIONS": options}}
    else:
        settings.EMAIL_BACKEND, settings.EMAIL_TIMEOUT = backend, timeout


@pytest.mark.parametrize(
    ("backend", "timeout", "expected"),
    [
        (SMTP, None, ["tap_provider.W016"]),
        (SMTP, 10, []),
        ("django.core.mail.backends.locmem.EmailBackend", None, []),
        ("tests.nowhere.EmailBackend", None, []),  # Django tells, as soon as something is sent
    ],
)
def test_check_mail__wants_no_mail_server_to_be_waited_for_without_end(
    settings: Any, backend: str, timeout: int | None, expected: list[str]
) -> None:
    use_mailer(settings, backend, timeout)
    assert ids(checks.check_mail(None)) == expected


def test_check_mail__wants_to_know_where_links_lead(settings: Any) -> None:
    settings.TAP_PROVIDER_BASE_URL = ""
    assert ids(checks.check_mail(None)) == ["tap_provider.W017"]


def test_check_hosts__wants_an_address_that_no_request_invents(settings: Any) -> None:
    settings.ALLOWED_HOSTS, settings.TAP_PROVIDER_BASE_URL = ["*"], ""
    assert ids(checks.check_hosts(None)) == ["tap_provider.W027"]
    settings.TAP_PROVIDER_BASE_URL = "https://login.example.com"
    assert checks.check_hosts(None) == []
    settings.ALLOWED_HOSTS, settings.TAP_PROVIDER_BASE_URL = ["login.example.com"], ""
    assert checks.check_hosts(None) == []


@pytest.mark.parametrize("engine", ["db", "cached_db", "cache", "file", "signed_cookies"])
def test_check_sessions__wants_sessions_that_can_be_deleted(settings: Any, engine: str) -> None:
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    assert ids(checks.check_sessions(None)) == (["tap_provider.W018"] if engine == "signed_cookies" else [])


# OpenID.


def test_check_validator__wants_ours(settings: Any) -> None:
    assert oidc_checks.check_validator(None) == []
    settings.OAUTH2_PROVIDER = {
        **settings.OAUTH2_PROVIDER,
        "OAUTH2_VALIDATOR_CLASS": "oauth2_provider.oauth2_validators.OAuth2Validator",
    }
    assert ids(oidc_checks.check_validator(None)) == ["tap_provider.E101"]


@pytest.mark.parametrize(
    ("urlconf", "expected"), [("example_project.urls", []), ("tests.test_checks", ["tap_provider.E102"] * 11)]
)
def test_check_views__wants_ours_in_front(settings: Any, urlconf: str, expected: list[str]) -> None:
    settings.ROOT_URLCONF = urlconf
    assert ids(oidc_checks.check_views(None)) == expected


def test_check_scopes__wants_the_one_for_registration(settings: Any) -> None:
    assert oidc_checks.check_scopes(None) == []
    settings.OAUTH2_PROVIDER = {**settings.OAUTH2_PROVIDER, "SCOPES": {"openid": "Know who you are"}}
    assert ids(oidc_checks.check_scopes(None)) == ["tap_provider.W103"]


# Registered, documented, and good enough to deploy.


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("MIDDLEWARE", [AUTHENTICATION], "tap_provider.E001"),
        ("AUTHENTICATION_BACKENDS", [MODEL_BACKEND], "tap_provider.E003"),
        ("AUTHENTICATION_BACKENDS", [MODEL_BACKEND, "tests.test_permissions.OnlyAnswers"], "tap_provider.W026"),
        ("TAP_PROVIDER_REGISTRATION_VIEWS", ["admin:index"], "tap_provider.E006"),
        ("TAP_PROVIDER_REGISTRABLE_METHODS", ["carrier_pigeon"], "tap_provider.W011"),
        ("TAP_PROVIDER_UPN_FIELD", "employee_number", "tap_provider.E008"),
        ("TAP_PROVIDER_BASE_URL", "", "tap_provider.W017"),
        ("SESSION_ENGINE", "django.contrib.sessions.backends.signed_cookies", "tap_provider.W018"),
    ],
)
def test_checks__run_with_manage_py_check(settings: Any, name: str, value: Any, expected: str) -> None:
    setattr(settings, name, value)
    assert expected in all_ids()


@pytest.mark.django_db
def test_checks__of_databases_run_with_manage_py_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(django_settings.DATABASES, "default", {**SQLITE, "ATOMIC_REQUESTS": True})
    monkeypatch.setattr(connections["default"], "vendor", "oracle")
    monkeypatch.setitem(connections["default"].__dict__, "mysql_is_mariadb", False)
    assert {"tap_provider.E005", "tap_provider.W013", "tap_provider.E014"} <= set(all_ids(databases=["default"]))


def test_checks__every_id_is_documented() -> None:
    assert {"tap_provider.E001", "tap_provider.W013", "tap_provider.E102"} <= set(known_ids())
    documented = (django_settings.BASE_DIR / "docs" / "reference" / "checks.md").read_text()
    assert [check for check in known_ids() if check not in documented] == []


def deploy_check(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `manage.py check --deploy` as an operator does, with nothing of this process's environment but its path."""
    return subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=django_settings.BASE_DIR,
        env={"PATH": os.environ.get("PATH", ""), "VAR_DIR": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_example__passes_the_deploy_check_in_production(tmp_path: Path) -> None:
    done = deploy_check(tmp_path, BASE_URL="https://login.example.test", DEBUG="0", ALLOWED_HOSTS="login.example.test")
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout + done.stderr


def test_example__the_deploy_check_is_no_formality(tmp_path: Path) -> None:
    done = deploy_check(tmp_path, BASE_URL="http://login.example.test", DEBUG="1")
    assert done.returncode != 0
    assert "security.W018" in done.stderr
