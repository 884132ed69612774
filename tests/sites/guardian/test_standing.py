"""A user with a permission on a single object that the administrator lacks has more than they."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.checks import run_checks
from guardian.shortcuts import assign_perm

from tap_provider.exceptions import IssueNotAllowed, RevokeNotAllowed
from tap_provider.issue import issue_pass, revoke_pass
from tap_provider.models import TemporaryAccessPass
from tap_provider.permissions import has_more_permissions
from tests.conftest import NOW

from .models import Document, Folder

pytestmark = pytest.mark.django_db

CHANGE = {Folder: "documents.change_folder", Document: "documents.change_document"}


@pytest.fixture
def admin(make_user: Callable[..., Any]) -> Any:
    return make_user("admin", is_superuser=True)


@pytest.fixture
def clerk(make_user: Callable[..., Any], grant: Callable[..., Any]) -> Any:
    """An administrator who may issue and revoke, and has no permission on any object."""
    return grant(make_user("clerk"), "add_temporaryaccesspass", "delete_temporaryaccesspass")


@pytest.fixture
def robin(make_user: Callable[..., Any]) -> Any:
    return make_user("robin")


@pytest.fixture(params=[Folder, Document], ids=["in guardian's tables", "in tables of their own"])
def thing(request: Any, db: None) -> Any:
    return request.param.objects.create(name="payroll")


def as_member(user: Any, name: str) -> Any:
    """Return a group that this user is in: permissions go to it."""
    group = Group.objects.create(name=name)
    user.groups.add(group)
    return group


def refused_code(**wishes: Any) -> str:
    with pytest.raises(IssueNotAllowed) as refused:
        issue_pass(now=NOW, **wishes)
    assert not TemporaryAccessPass.objects.exists()
    return refused.value.code


@pytest.mark.parametrize("through", [lambda user: user, lambda user: as_member(user, "owners")], ids=["user", "group"])
def test_issue__never_for_a_user_with_a_permission_on_an_object_that_the_administrator_lacks(
    through: Callable[[Any], Any], clerk: Any, admin: Any, robin: Any, thing: Any, policy_on: Any
) -> None:
    assert issue_pass(actor=clerk, user=robin, now=NOW)
    TemporaryAccessPass.objects.all().delete()
    assign_perm(CHANGE[type(thing)], through(robin), thing)
    assert refused_code(actor=clerk, user=robin) == "outranked"
    assert issue_pass(actor=admin, user=robin, now=NOW)


@pytest.mark.parametrize("to", [lambda user: user, lambda user: as_member(user, "clerks")], ids=["user", "group"])
def test_issue__for_a_user_with_the_same_permission_on_the_same_object(
    to: Callable[[Any], Any], clerk: Any, robin: Any, thing: Any, policy_on: Any
) -> None:
    assign_perm(CHANGE[type(thing)], as_member(robin, "owners"), thing)
    holder = to(clerk)
    other = type(thing).objects.create(name="another")
    assign_perm(CHANGE[type(thing)], holder, other)
    assert refused_code(actor=clerk, user=robin) == "outranked"
    assign_perm(CHANGE[type(thing)].replace("change", "view"), holder, thing)
    assert refused_code(actor=clerk, user=robin) == "outranked"
    assign_perm(CHANGE[type(thing)], holder, thing)
    assert issue_pass(actor=clerk, user=robin, now=NOW)


def test_issue__the_same_name_and_key_of_another_model_is_another_permission(
    clerk: Any, robin: Any, policy_on: Any
) -> None:
    folder, document = Folder.objects.create(pk=7), Document.objects.create(pk=7)
    assign_perm("documents.approve", robin, document)
    assign_perm("documents.approve", clerk, folder)
    assert refused_code(actor=clerk, user=robin) == "outranked"
    assign_perm("documents.approve", clerk, document)
    assert issue_pass(actor=clerk, user=robin, now=NOW)


def test_issue__for_a_user_with_a_permission_on_an_object_that_the_administrator_has_on_all(
    clerk: Any, robin: Any, thing: Any, policy_on: Any
) -> None:
    assign_perm(CHANGE[type(thing)], robin, thing)
    clerk.user_permissions.add(Permission.objects.get(codename=CHANGE[type(thing)].split(".")[1]))
    assert issue_pass(actor=clerk, user=robin, now=NOW)


def test_issue__by_an_administrator_who_may_issue_for_anybody(
    clerk: Any, grant: Callable[..., Any], robin: Any, thing: Any, policy_on: Any
) -> None:
    assign_perm(CHANGE[type(thing)], robin, thing)
    assert issue_pass(actor=grant(clerk, "issue_privileged_pass"), user=robin, now=NOW)


def test_issue__sees_a_permission_on_an_object_that_came_while_the_passcode_was_hashed(
    clerk: Any, robin: Any, thing: Any, policy_on: Any, hasher: Any
) -> None:
    hasher.meanwhile = lambda: assign_perm(CHANGE[type(thing)], robin, thing)
    assert refused_code(actor=clerk, user=robin) == "outranked"


def test_revoke__never_of_a_user_with_a_permission_on_an_object_that_the_administrator_lacks(
    clerk: Any, robin: Any, thing: Any, policy_on: Any
) -> None:
    held = issue_pass(actor=clerk, user=robin, now=NOW).temporary_access_pass
    assign_perm(CHANGE[type(thing)], robin, thing)
    with pytest.raises(RevokeNotAllowed) as refused:
        revoke_pass(actor=clerk, temporary_access_pass=held, now=NOW)
    assert refused.value.code == "outranked"
    type(robin).objects.filter(pk=robin.pk).update(is_active=False)  # who has no permission at all, as guardian says
    revoke_pass(actor=clerk, temporary_access_pass=held, now=NOW)


def test_has_more_permissions__costs_one_statement_for_each_table_and_user(
    clerk: Any, robin: Any, thing: Any, django_assert_num_queries: Any
) -> None:
    assign_perm(CHANGE[type(thing)], robin, thing)
    with django_assert_num_queries(2 + 2 + 2 * 4):
        assert has_more_permissions(robin, clerk)


def test_checks__say_nothing_of_a_backend_whose_permissions_are_compared() -> None:
    assert [message for message in run_checks() if message.id == "tap_provider.W026"] == []
