"""Shared fixtures: people, the policy, and a moment in time that tests pass along instead of sleeping."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils import timezone

from tap_provider.issue import IssuedPass, issue_pass
from tap_provider.policy import change_policy

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


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

    def post(upn: str, passcode: str, browser: Client = client, **extra: Any) -> Any:
        return browser.post("/account/sign-in/pass/", {"upn": upn, "passcode": passcode}, **extra)

    return post


@pytest.fixture
def holder_client(client: Client, robin: Any, issue: Callable[..., IssuedPass]) -> Iterator[Client]:
    """A browser in Robin's registration-only session."""
    issued = issue(robin)
    response = client.post("/account/sign-in/pass/", {"upn": robin.upn, "passcode": issued.passcode})
    assert response.status_code == 302
    return client


def in_ci() -> bool:
    """In CI a missing installation is a failure, not a reason to skip."""
    return os.environ.get("CI", "").lower() in {"1", "true"}
