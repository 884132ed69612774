"""What a user model without permissions and without Django's groups can do, and what says that it cannot."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group as DjangosGroup
from django.core.checks import run_checks
from django.test import Client
from django.utils import timezone

from tap_provider.exceptions import IssueNotAllowed
from tap_provider.issue import issue_pass
from tap_provider.models import SignIn, TemporaryAccessPass, TemporaryAccessPassPolicy
from tap_provider.policy import resolve_policy
from tests.sites.plain_users.models import Group, Person, PersonWithPermissions

pytestmark = pytest.mark.django_db

PASSWORD = "a-long-enough-phrase"


@pytest.fixture
def robin() -> Any:
    robin = Person(email="robin@example.test")
    robin.set_password(PASSWORD)
    robin.save()
    return robin


@pytest.fixture
def clerk() -> Any:
    return PersonWithPermissions.objects.create(email="clerk@example.test", is_clerk=True)


def test_check__names_what_the_user_model_cannot_do() -> None:
    found = {message.id for message in run_checks()}
    assert {"tap_provider.W032", "tap_provider.W033"} <= found
    assert not {one for one in found if one.startswith("fields.")}  # no clash of names


def test_issue__by_a_user_without_permissions_is_refused(robin: Any) -> None:
    other = Person.objects.create(email="other@example.test")
    TemporaryAccessPassPolicy.objects.create(enabled=True)
    with pytest.raises(IssueNotAllowed) as refused:
        issue_pass(actor=other, user=robin, now=timezone.now())
    assert refused.value.code == "missing_permission"


def test_pages__of_a_password_sign_in_work(robin: Any) -> None:
    browser = Client()
    assert browser.post("/account/sign-in/", {"upn": robin.email, "password": PASSWORD}).status_code == 302
    assert browser.get("/account/security-info/").status_code == 200
    assert SignIn.objects.not_ended().filter(user=robin).exists()


def test_deactivation__of_a_user_whom_the_manager_then_hides_ends_everything(robin: Any) -> None:
    browser = Client()
    browser.post("/account/sign-in/", {"upn": robin.email, "password": PASSWORD})
    TemporaryAccessPass.objects.create(
        user=robin,
        passcode_hash="x",
        created_at=timezone.now(),
        starts_at=timezone.now(),
        expires_at=timezone.now() + timezone.timedelta(hours=1),
        lifetime_minutes=60,
    )
    robin.is_active = False
    robin.save()
    assert not SignIn.objects.not_ended().exists()
    assert not TemporaryAccessPass.objects.exists()
    with pytest.raises(IssueNotAllowed):
        issue_pass(actor=robin, user=robin, now=timezone.now())


def test_policy__members_of_the_sites_own_groups_are_not_those_of_djangos(robin: Any) -> None:
    """Both groups have the same key."""
    own, djangos = (
        Group.objects.create(pk=1, name="Newcomers"),
        DjangosGroup.objects.create(pk=1, name="Administrators"),
    )
    robin.groups.add(own)
    policy = TemporaryAccessPassPolicy.objects.create(enabled=True, include_all_users=False)
    policy.included_groups.set([djangos])
    assert resolve_policy(robin).allows_user is False
    policy.included_users.set([robin])
    assert resolve_policy(robin).allows_user is True
