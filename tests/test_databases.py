"""Where users are, and that what decides is read there."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.db import router
from django.test.utils import isolate_apps
from django_otp.plugins.otp_totp.models import TOTPDevice
from django_otp_webauthn.models import WebAuthnCredential
from oauth2_provider.models import get_access_token_model

from example_project.accounts.models import User
from tap_provider import database_checks
from tap_provider.databases import PrimaryRouter, deciding_models, where
from tap_provider.models import AttemptCounter, SignIn, TemporaryAccessPass

PRIMARY = "tap_provider.databases.PrimaryRouter"
REPLICA = "tests.other_settings.routers.ReplicaRouter"

DECIDING = [
    User,
    User.groups.through,
    User.user_permissions.through,
    Group,
    Group.permissions.through,
    Permission,
    Session,
    SignIn,
    TemporaryAccessPass,
    AttemptCounter,
    TOTPDevice,
    WebAuthnCredential,
    get_access_token_model(),
]


@pytest.fixture
def replicated(settings: Any) -> Any:
    settings.DATABASE_ROUTERS = [REPLICA]
    return settings


@pytest.mark.parametrize("model", DECIDING, ids=lambda model: model._meta.label)
def test_primary_router__reads_what_decides_where_it_is_written(replicated: Any, model: Any) -> None:
    assert router.db_for_read(model) == "replica"
    replicated.DATABASE_ROUTERS = [PRIMARY, REPLICA]
    assert router.db_for_read(model) == "default"


def test_primary_router__reads_a_relation_of_a_replicas_row_from_the_primary(replicated: Any) -> None:
    """The site's router says where to read, and nothing of where to write."""
    replicated.DATABASE_ROUTERS = [PRIMARY, "tests.other_settings.routers.ReadingRouter"]
    row = User(pk=1)
    row._state.db = "replica"
    assert router.db_for_read(User, instance=row) == "default"


def test_primary_router__leaves_other_reads_and_all_writes_to_the_site(replicated: Any) -> None:
    replicated.DATABASE_ROUTERS = [PRIMARY, REPLICA]
    assert ContentType not in deciding_models()
    assert router.db_for_read(ContentType) == "replica"
    assert not hasattr(PrimaryRouter(), "db_for_write")


def test_where__is_where_the_routers_write_users(settings: Any) -> None:
    assert where() == "default"
    settings.DATABASE_ROUTERS = ["tests.other_settings.routers.PeopleRouter"]
    assert where() == "people"


@pytest.mark.parametrize(
    ("routers", "expected"),
    [
        ([], []),
        (["tests.other_settings.routers.PeopleRouter"], []),
        ([REPLICA], ["tap_provider.E029"]),
        ([PRIMARY, REPLICA], []),
        ([REPLICA, PRIMARY], ["tap_provider.E029"]),
        (["tests.other_settings.routers.SometimesReplicaRouter"], ["tap_provider.E029"]),
        (["tests.other_settings.routers.UsersApartRouter"], ["tap_provider.E028"]),
        (["tests.other_settings.routers.SessionsApartRouter"], []),
    ],
)
def test_check_routers(settings: Any, routers: list[str], expected: list[str]) -> None:
    settings.DATABASE_ROUTERS = routers
    assert [message.id for message in database_checks.check_routers(None)] == expected


def test_check_routers__names_some_and_counts_the_rest(settings: Any) -> None:
    settings.DATABASE_ROUTERS = [REPLICA]
    (message,) = database_checks.check_routers(None)
    assert re.match(r"accounts\.\w+, accounts\.\w+, accounts\.\w+ and \d+ more are not read from where", message.msg)
    assert PRIMARY in message.hint


@pytest.mark.django_db
def test_check_user_table__counts_users_without_a_upn_and_with_a_shared_one(settings: Any, make_user: Any) -> None:
    settings.TAP_PROVIDER_UPN_FIELD = "email"
    for number, email in enumerate(["", "", "kim@example.test", "Kim@example.test", "lee@example.test"]):
        make_user(f"user{number}", email=email)
    found = database_checks.check_user_table(None, databases=["default"])
    assert [message.id for message in found] == ["tap_provider.W030", "tap_provider.W031", "tap_provider.W031"]
    assert "(email): 2." in found[1].msg
    assert "in other letters perhaps: 1." in found[2].msg
    assert database_checks.check_user_table(None) == []  # only where a command asks for it


@pytest.mark.django_db
def test_check_user_table__prints_what_to_add(settings: Any) -> None:
    settings.TAP_PROVIDER_UPN_FIELD = "last_name"
    found = [one for one in database_checks.check_user_table(None, databases=["default"]) if one.id.endswith("W030")]
    assert len(found) == 1
    assert "last_name" in found[0].hint


@pytest.mark.django_db
def test_check_user_table__is_silent_where_the_site_finds_users_by_itself(settings: Any) -> None:
    settings.TAP_PROVIDER_UPN_FIELD = "email"
    settings.TAP_PROVIDER_HOOKS = "tests.test_hooks.ByUserName"
    assert database_checks.check_user_table(None, databases=["default"]) == []


@isolate_apps("example_project.accounts")
def test_check_user_model__names_a_parent_by_which_users_may_be_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    class Employee(User):
        class Meta:
            app_label = "accounts"

    assert database_checks.check_user_model(None) == []
    monkeypatch.setattr(database_checks, "get_user_model", lambda: Employee)
    (message,) = database_checks.check_user_model(None)
    assert message.id == "tap_provider.W034"
    assert "accounts.User are not seen" in message.msg
