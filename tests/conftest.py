"""Shared fixtures: people, the policy, and a moment in time that tests pass along instead of sleeping."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import django
import pytest
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connections
from django.test import Client
from django.utils import timezone, translation

from tap_provider.issue import IssuedPass, issue_pass
from tap_provider.passcode import PasscodeHasher, decoy_hash
from tap_provider.policy import change_policy
from tap_provider.secret import Secret

from .softauthn import SoftAuthenticator, register_passkey
from .softauthn import sign_in_with_passkey as ceremony

ADMINS = ["admin@example.test"] if django.VERSION >= (6, 0) else [("Admin", "admin@example.test")]
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC if django_settings.USE_TZ else None)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let every test use the database in which users are, where it is not the default one."""
    if len(django_settings.DATABASES) == 1:
        return
    for item in items:
        mark, fixtures = item.get_closest_marker("django_db"), getattr(item, "fixturenames", ())
        asked = {"transaction": "transactional_db" in fixtures, **(mark.kwargs if mark else {})}
        if mark is not None or "db" in fixtures or "transactional_db" in fixtures:
            item.add_marker(pytest.mark.django_db(**{**asked, "databases": "__all__"}), append=False)


@pytest.fixture(autouse=True)
def in_the_sites_language() -> Iterator[None]:
    """Leave no language in force that a page was asked for in: Django keeps it for the thread."""
    yield
    translation.deactivate()


class MissingVariables(logging.Filter):
    """Notes where a template of this project names a variable that is not there, and drops the record."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno > logging.DEBUG:
            return True
        frame = sys._getframe()
        while frame is not None and frame.f_code.co_name != "render_annotated":
            frame = frame.f_back  # type: ignore[assignment]
        origin = str(frame.f_locals["self"].origin) if frame is not None else ""
        if any(f"/{package}/" in origin for package in ("tap_provider", "example_project")):
            self.found.add(f"{origin}: {record.args}")
        return False


@pytest.fixture(autouse=True)
def templates_miss_no_variable(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test in which a template of ours misses a variable: Django then logs the whole context at DEBUG level."""
    if "records_of_templates" in request.fixturenames:  # a test that reads them itself
        yield
        return
    logger, missing = logging.getLogger("django.template"), MissingVariables()
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addFilter(missing)
    yield
    logger.removeFilter(missing)
    logger.setLevel(level)
    assert missing.found == set()


@pytest.fixture
def records_of_templates() -> None:
    """Leave what `django.template` logs to the test."""


@pytest.fixture
def make_user(db: None) -> Callable[..., Any]:
    """Make a user; the UPN is `<name>@example.test`."""

    def make(name: str, **fields: Any) -> Any:
        fields.setdefault("email", f"{name}@example.test")
        return get_user_model()._default_manager.create_user(
            username=name, upn=fields.pop("upn", f"{name}@example.test"), **fields
        )

    return make


@pytest.fixture
def admin(make_user: Callable[..., Any]) -> Any:
    """A superuser."""
    return make_user("admin", is_staff=True, is_superuser=True, password="admin-password")


@pytest.fixture
def robin(make_user: Callable[..., Any]) -> Any:
    """Somebody without a method, not even a password."""
    return make_user("robin", first_name="Robin", last_name="Newcomer")


@pytest.fixture
def policy_on(admin: Any) -> Any:
    """The policy, switched on for everybody, with Entra's numbers."""
    return change_policy(actor=admin, now=NOW, enabled=True)


@pytest.fixture
def issue(admin: Any, policy_on: Any) -> Callable[..., IssuedPass]:
    """Issue a pass as the superuser; at the real time unless `now` is given, as pages read the real clock."""

    def issue_for(user: Any, **wishes: Any) -> IssuedPass:
        wishes.setdefault("now", timezone.now())
        return issue_pass(actor=wishes.pop("actor", admin), user=user, **wishes)

    return issue_for


@pytest.fixture
def sign_in_with_pass(client: Client) -> Callable[..., Any]:
    """Post UPN and passcode to the page, as a browser does."""

    def post(upn: str, passcode: str | Secret, browser: Client = client, **extra: Any) -> Any:
        typed = {"upn": upn, "passcode": Secret.of(passcode).reveal()}
        return browser.post("/account/sign-in/pass/", typed, **extra)

    return post


@pytest.fixture
def holder_client(client: Client, robin: Any, issue: Callable[..., IssuedPass]) -> Iterator[Client]:
    """A browser in Robin's registration-only session."""
    issued = issue(robin)
    response = client.post("/account/sign-in/pass/", {"upn": robin.upn, "passcode": issued.passcode.reveal()})
    assert response.status_code == 302
    return client


@pytest.fixture
def passkey(robin: Any, issue: Callable[..., IssuedPass]) -> SoftAuthenticator:
    """Robin's passkey, registered with a pass in a browser that nobody uses any more."""
    browser, authenticator = Client(), SoftAuthenticator()
    browser.post("/account/sign-in/pass/", {"upn": robin.upn, "passcode": issue(robin).passcode.reveal()})
    assert register_passkey(browser, authenticator).status_code == 200
    return authenticator


@pytest.fixture
def passkey_client(passkey: SoftAuthenticator) -> Client:
    """A browser of its own in Robin's full session, signed in with the passkey."""
    browser = Client()
    assert ceremony(browser, passkey).status_code == 200
    return browser


@pytest.fixture
def grant() -> Callable[..., Any]:
    """Give a user permissions by codename; returns the user read anew, as permissions are cached on the object."""

    def grant_to(user: Any, *codenames: str) -> Any:
        permissions = Permission.objects.filter(codename__in=codenames)
        assert len(permissions) == len(codenames)
        user.user_permissions.add(*permissions)
        return type(user)._default_manager.get(pk=user.pk)

    return grant_to


@pytest.fixture
def helpdesk(make_user: Callable[..., Any], grant: Callable[..., Any]) -> Any:
    """Somebody who may issue and revoke passes, and nothing else."""
    user = make_user("helpdesk", is_staff=True)
    return grant(user, "add_temporaryaccesspass", "delete_temporaryaccesspass")


class CountingHasher(PasscodeHasher):
    """A hasher as a site may name one: cheap, and it notes each computation and lets something happen meanwhile."""

    time_cost, memory_cost = 1, 8
    computed: list[str] = []
    meanwhile: Callable[[], Any] | None = None

    def encode(self, password: str, salt: str) -> str:
        self._note("encode")
        return super().encode(password, salt)

    def verify(self, password: str, encoded: str) -> bool:
        self._note("verify")
        return super().verify(password, encoded)

    @classmethod
    def _note(cls, computation: str) -> None:
        cls.computed.append(computation)
        meanwhile, cls.meanwhile = cls.meanwhile, None
        if meanwhile is not None:
            meanwhile()


@pytest.fixture
def hasher(settings: Any) -> Iterator[type[CountingHasher]]:
    """Have the setting name the counting hasher: `hasher.computed` lists what was computed."""
    settings.TAP_PROVIDER_PASSCODE_HASHER = "tests.conftest.CountingHasher"
    decoy_hash(CountingHasher())  # which is computed once a process
    CountingHasher.computed.clear()
    CountingHasher.meanwhile = None
    yield CountingHasher
    CountingHasher.computed.clear()
    CountingHasher.meanwhile = None


def all_at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Call each in a thread of its own, let go together; return what they returned or raised."""
    gate = Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        try:
            connections["default"].ensure_connection()  # so that they meet in the work, not in connecting
            gate.wait(timeout=60)
            return call()
        except Exception as error:  # noqa: BLE001 the test looks at whatever it was
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(max_workers=len(calls)) as threads:
        return list(threads.map(run, calls))


def in_ci() -> bool:
    """In CI a missing installation is a failure, not a reason to skip."""
    return os.environ.get("CI", "").lower() in {"1", "true"}
