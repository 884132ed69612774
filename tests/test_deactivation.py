"""Deactivating a user ends everything for good, by whatever class and in whatever way they are saved."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group
from django.db import OperationalError
from django.test import Client
from django.test.utils import isolate_apps

from tap_provider.models import AuditEvent, SignIn, Standing, TemporaryAccessPass
from tap_provider.policy import change_policy
from tap_provider.sign_in import compare_activity, password_stamp, user_deactivated

from .conftest import MINUTE, NOW

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("hasher")]

INFO = "/account/security-info/"


class Customer(get_user_model()):  # type: ignore[misc]
    """As sites have one for a page of the admin."""

    class Meta:
        proxy = True
        app_label = "accounts"


def save_as(model: type[Any], user: Any, **fields: Any) -> None:
    fresh = model._default_manager.get(pk=user.pk)
    for name, value in fields.items():
        setattr(fresh, name, value)
    fresh.save()


@pytest.fixture
def holder(robin: Any, issue: Any, sign_in_with_pass: Any) -> Client:
    """A browser of Robin's with a registration-only session, by a pass that is good several times."""
    browser = Client()
    sign_in_with_pass(robin.upn, issue(robin, is_usable_once=False).passcode, browser)
    assert browser.get(INFO).status_code == 200
    return browser


def expect_nothing_left(browser: Client, user: Any) -> None:
    assert not TemporaryAccessPass.objects.filter(user=user).exists()
    assert not SignIn.objects.not_ended().filter(user=user).exists()
    assert browser.get(INFO).status_code == 302


@pytest.mark.parametrize("model", [get_user_model(), Customer], ids=["user", "proxy"])
def test_deactivation__by_any_model_of_users_is_for_good(model: type[Any], holder: Client, robin: Any) -> None:
    save_as(model, robin, is_active=False)
    save_as(model, robin, is_active=True)
    expect_nothing_left(holder, robin)


@pytest.mark.parametrize("model", [get_user_model(), Customer], ids=["user", "proxy"])
def test_deactivation__by_a_statement_is_for_good_once_the_user_is_saved_as_active(
    model: type[Any], holder: Client, robin: Any
) -> None:
    get_user_model()._default_manager.filter(pk=robin.pk).update(is_active=False)
    assert SignIn.objects.not_ended().filter(user=robin).exists()
    save_as(model, robin, is_active=True)
    expect_nothing_left(holder, robin)


def test_deactivation__by_a_statement_is_for_good_once_an_object_that_was_not_read_is_saved_as_active(
    holder: Client, robin: Any
) -> None:
    """As a synchronisation builds users from another directory."""
    users = get_user_model()._default_manager.filter(pk=robin.pk)
    users.update(is_active=False)
    get_user_model()(**{**users.values().get(), "is_active": True}).save()
    expect_nothing_left(holder, robin)


def test_deactivation__that_failed_half_way_is_completed_before_the_user_is_active_again(
    holder: Client, robin: Any
) -> None:
    """The process may die after the save as well: nothing that was to end lives again."""

    def fail(**kwargs: Any) -> None:
        raise OperationalError("the database has gone away")

    user_deactivated.connect(fail)
    try:
        with pytest.raises(OperationalError):
            save_as(get_user_model(), robin, is_active=False)
    finally:
        user_deactivated.disconnect(fail)
    save_as(get_user_model(), robin, is_active=True)
    expect_nothing_left(holder, robin)


@pytest.mark.default_database
def test_deactivation__is_asked_for_by_one_query_where_activity_is_saved(
    robin: Any, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(2):
        robin.save()
    with django_assert_num_queries(1):
        robin.save(update_fields=["last_login"])


@isolate_apps("example_project.accounts")
def test_deactivation__of_a_user_model_without_the_column_asks_nothing(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    """`is_active` is an attribute of the class in Django's AbstractBaseUser."""

    class WithoutActivity(AbstractBaseUser):
        class Meta:
            app_label = "accounts"

    monkeypatch.setattr("tap_provider.sign_in.end.get_user_model", lambda: WithoutActivity)
    user = WithoutActivity(pk=1)
    user._state.adding = False
    with django_assert_num_queries(0):
        compare_activity(sender=WithoutActivity, instance=user)


def test_deactivation__is_recorded_once_unless_something_ended_by_it(holder: Client, robin: Any) -> None:
    for _ in range(2):
        save_as(get_user_model(), robin, is_active=False)
    [event] = AuditEvent.objects.filter(kind=AuditEvent.Kind.USER_DEACTIVATED)
    assert event.user_key == str(robin.pk)


def test_deactivation__ends_sessions_from_before_the_installation(robin: Any) -> None:
    """Such a session has no row: it would be adopted at its next use after the reactivation."""
    robin.set_password("a-long-enough-phrase")
    robin.save()
    browser = Client()
    browser.post("/account/sign-in/", {"upn": robin.upn, "password": "a-long-enough-phrase"})
    session = browser.session
    for key in dict(session.items()):
        if not key.startswith("tap_provider"):
            continue
        del session[key]
    session.save()
    SignIn.objects.all().delete()
    save_as(get_user_model(), robin, is_active=False)
    save_as(get_user_model(), robin, is_active=True)
    assert browser.get(INFO).status_code == 302


@pytest.mark.parametrize("change", ["set_password", "standing"])
def test_change__by_a_proxy_model_ends_sign_ins_at_once(change: str, holder: Client, robin: Any) -> None:
    if change == "set_password":
        customer = Customer._default_manager.get(pk=robin.pk)
        customer.set_password("another-long-enough-phrase")
        customer.save()
    else:
        TemporaryAccessPass.objects.update(highest_standing=Standing.MEMBER)
        save_as(Customer, robin, is_superuser=True)
        save_as(Customer, robin, is_superuser=False)
    assert not SignIn.objects.not_ended().filter(user=robin).exists()


def test_change__of_an_outdated_hash_by_assignment_ends_sign_ins(holder: Client, robin: Any, settings: Any) -> None:
    """Only Django's own rehash of the same password keeps them: it leaves a mark on the instance."""
    outdated = make_password("old-phrase", hasher="md5")
    get_user_model()._default_manager.filter(pk=robin.pk).update(password=outdated)
    SignIn.objects.all().delete()
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher", *settings.PASSWORD_HASHERS]
    robin.refresh_from_db()
    browser = Client()
    browser.force_login(robin)
    browser.get("/members/")
    before = SignIn.objects.not_ended().filter(user=robin)
    assert before.exists()
    robin = get_user_model()._default_manager.get(pk=robin.pk)
    robin.password = make_password("another-long-enough-phrase")
    robin.save(update_fields=["password"])
    stamps = set(before.values_list("password_stamp", flat=True))
    assert password_stamp(robin) not in stamps


def test_deactivation__that_is_not_saved_ends_nothing(holder: Client, robin: Any) -> None:
    robin = get_user_model()._default_manager.get(pk=robin.pk)
    robin.is_active = False
    robin.save(update_fields=["first_name"])
    assert SignIn.objects.not_ended().filter(user=robin).exists()
    assert not AuditEvent.objects.filter(kind=AuditEvent.Kind.USER_DEACTIVATED).exists()


class Team(Group):
    """As sites have one for a page of the admin."""

    class Meta:
        proxy = True
        app_label = "accounts"


@pytest.mark.parametrize("model", [Group, Team])
def test_group__that_is_deleted_ends_the_sign_ins_of_those_whom_it_included(
    model: type[Group], robin: Any, admin: Any, issue: Any, sign_in_with_pass: Any
) -> None:
    group = Group.objects.create(name="Newcomers")
    robin.groups.add(group)
    change_policy(actor=admin, now=NOW, enabled=True, include_all_users=False, included_groups=[group])
    browser = Client()
    sign_in_with_pass(robin.upn, issue(robin, is_usable_once=False).passcode, browser)
    assert SignIn.objects.not_ended().filter(user=robin).exists()
    model._default_manager.get(pk=group.pk).delete()
    assert not SignIn.objects.not_ended().filter(user=robin).exists()
    change_policy(actor=admin, now=NOW + MINUTE, include_all_users=True)
    assert browser.get(INFO).status_code == 302
