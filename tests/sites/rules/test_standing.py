"""Rules count where they can be asked for without an object; of the others a check tells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import rules
from django.core.checks import run_checks

from tap_provider.exceptions import IssueNotAllowed
from tap_provider.hooks import Hooks
from tap_provider.issue import issue_pass
from tap_provider.models import Standing, TemporaryAccessPass
from tests.conftest import NOW

pytestmark = pytest.mark.django_db

PUBLISH = "site.publish"  # known to rules alone: no model has it
EDIT = "site.edit"


@rules.predicate
def is_owner(user: Any) -> bool:
    return bool(user.last_name == "owner")


@rules.predicate
def is_author(user: Any, document: Any) -> bool:
    return bool(document.author == user)  # as written by somebody who never asks without a document


@pytest.fixture
def permissions() -> Iterator[None]:
    rules.add_perm(PUBLISH, is_owner)
    rules.add_perm("auth.change_user", is_owner)
    rules.add_perm(EDIT, is_author)
    yield
    for name in filter(rules.perm_exists, (PUBLISH, "auth.change_user", EDIT)):
        rules.remove_perm(name)


@pytest.fixture
def admin(make_user: Callable[..., Any]) -> Any:
    return make_user("admin", is_superuser=True)


@pytest.fixture
def clerk(make_user: Callable[..., Any], grant: Callable[..., Any], permissions: None) -> Any:
    return grant(make_user("clerk"), "add_temporaryaccesspass")


@pytest.fixture
def owner(make_user: Callable[..., Any], permissions: None) -> Any:
    return make_user("owner", last_name="owner")


def refused_code(**wishes: Any) -> str:
    with pytest.raises(IssueNotAllowed) as refused:
        issue_pass(now=NOW, **wishes)
    assert not TemporaryAccessPass.objects.exists()
    return refused.value.code


def test_issue__never_for_a_user_to_whom_a_rule_gives_what_the_administrator_lacks(
    clerk: Any, owner: Any, admin: Any, policy_on: Any
) -> None:
    assert refused_code(actor=clerk, user=owner) == "outranked"
    rules.remove_perm("auth.change_user")
    assert refused_code(actor=clerk, user=owner) == "outranked"  # by a name that no model has
    rules.add_perm("auth.change_user", is_owner)
    assert issue_pass(actor=admin, user=owner, now=NOW)


def test_issue__for_a_user_to_whom_no_rule_gives_more(
    clerk: Any, make_user: Callable[..., Any], policy_on: Any
) -> None:
    assert issue_pass(actor=clerk, user=make_user("robin"), now=NOW)


def test_issue__what_rules_give_to_both_is_no_difference(
    clerk: Any, owner: Any, make_user: Callable[..., Any], policy_on: Any
) -> None:
    clerk.last_name = "owner"
    clerk.save()
    assert issue_pass(actor=clerk, user=owner, now=NOW)


def test_issue__asks_rules_without_a_statement_for_each(
    clerk: Any, make_user: Callable[..., Any], policy_on: Any, hasher: Any, django_assert_num_queries: Any
) -> None:
    """As many as anywhere, and one for the names of permissions."""
    robin = make_user("robin")
    with django_assert_num_queries(14):
        issue_pass(actor=clerk, user=robin, now=NOW)


class OwnersOutrank(Hooks):
    def standing_of(self, user: Any) -> Standing:
        return Standing.STAFF if user.first_name == "Author" else super().standing_of(user)


def test_issue__never_for_a_user_whom_the_hook_raises_for_what_cannot_be_asked(
    clerk: Any, make_user: Callable[..., Any], policy_on: Any, settings: Any
) -> None:
    author = make_user("author", first_name="Author")
    settings.TAP_PROVIDER_HOOKS = "tests.sites.rules.test_standing.OwnersOutrank"
    assert refused_code(actor=clerk, user=author) == "outranked"


def test_checks__name_the_backend_until_the_hook_is_answered(settings: Any) -> None:
    [found] = [message for message in run_checks() if message.id == "tap_provider.W026"]
    assert "rules.permissions.ObjectPermissionBackend" in found.msg
    settings.TAP_PROVIDER_HOOKS = "tests.sites.rules.test_standing.OwnersOutrank"
    assert [message for message in run_checks() if message.id == "tap_provider.W026"] == []
