"""The policy in django-admin: one page, stored by the verb, errors beside the field that they concern."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from tap_provider.admin.policy import PolicyAdmin
from tap_provider.models import AuditEvent, SignIn, TemporaryAccessPassPolicy
from tap_provider.policy import change_policy

from ..test_forms import policy_data

URL = "/admin/tap_provider/temporaryaccesspasspolicy/1/change/"
LIST = "/admin/tap_provider/temporaryaccesspasspolicy/"

pytestmark = pytest.mark.usefixtures("hasher")  # a cheap one


@pytest.fixture
def admin_browser(admin: Any) -> Client:
    browser = Client()
    browser.force_login(admin)
    return browser


def posted(**changes: Any) -> dict[str, Any]:
    """Return what the browser would post: a box that is not ticked is not sent."""
    return {name: value for name, value in policy_data(**changes).items() if value is not False}


def stored() -> TemporaryAccessPassPolicy | None:
    return TemporaryAccessPassPolicy.objects.first()


def test_policy_page__shows_the_defaults_before_anybody_has_saved_it(admin_browser: Client) -> None:
    response = admin_browser.get(URL)
    assert response.status_code == 200
    form = response.context["adminform"].form
    names = ("enabled", "minimum_lifetime_minutes", "maximum_lifetime_minutes", "default_lifetime_minutes")
    assert [form[name].value() for name in names] == [False, 60, 480, 60]
    assert (form["passcode_length"].value(), form["one_time_only"].value()) == (8, False)
    assert stored() is None


def test_policy_page__stores_through_the_verb(admin_browser: Client, admin: Any, make_user: Any) -> None:
    group, quinn = Group.objects.create(name="contractors"), make_user("quinn")
    changes = {"enabled": "on", "excluded_groups": [group.pk], "excluded_users": [quinn.pk], "passcode_length": 12}
    assert admin_browser.post(URL, posted(**changes)).status_code == 302
    policy = stored()
    assert policy is not None
    assert (policy.enabled, policy.passcode_length, policy.changed_by) == (True, 12, admin)
    assert list(policy.excluded_groups.all()) == [group]
    assert list(policy.excluded_users.all()) == [quinn]
    event = AuditEvent.objects.get(kind=AuditEvent.Kind.POLICY_CHANGED)
    assert event.actor_name == admin.upn
    assert event.detail["excluded_users"] == [str(quinn.pk)]


def test_policy_page__ends_what_the_policy_no_longer_allows(
    admin_browser: Client, holder_client: Client, robin: Any
) -> None:
    admin_browser.post(URL, posted(enabled="on", excluded_users=[robin.pk]))
    assert SignIn.objects.get(user=robin).ended_reason == SignIn.EndedReason.POLICY
    assert holder_client.get("/account/security-info/").status_code == 302


def test_policy_page__changes_what_is_stored_and_keeps_one_row(admin_browser: Client, policy_on: Any) -> None:
    admin_browser.post(URL, posted(default_lifetime_minutes=120))
    policy = stored()
    assert policy is not None
    assert (policy.enabled, policy.default_lifetime_minutes) == (False, 120)
    assert TemporaryAccessPassPolicy.objects.count() == 1


def test_policy_page__unticking_a_target_removes_it(admin_browser: Client, admin: Any, robin: Any) -> None:
    change_policy(actor=admin, now=timezone.now(), enabled=True, excluded_users=[robin])
    admin_browser.post(URL, posted(enabled="on"))
    policy = stored()
    assert policy is not None
    assert not policy.excluded_users.exists()


@pytest.mark.parametrize(
    ("changes", "field", "bounds"),
    [
        ({"minimum_lifetime_minutes": 9}, "minimum_lifetime_minutes", ["10"]),
        ({"maximum_lifetime_minutes": 43_201}, "maximum_lifetime_minutes", ["43200"]),
        ({"minimum_lifetime_minutes": 500}, "minimum_lifetime_minutes", ["500", "480"]),
        ({"default_lifetime_minutes": 481}, "default_lifetime_minutes", ["60", "480"]),
        ({"passcode_length": 7}, "passcode_length", ["8"]),
        ({"passcode_length": 49}, "passcode_length", ["48"]),
        ({"registration_window_minutes": 61}, "registration_window_minutes", ["60"]),
        ({"maximum_lifetime_minutes": 10**30}, "maximum_lifetime_minutes", ["43200"]),
        ({"minimum_lifetime_minutes": "-1"}, "minimum_lifetime_minutes", []),
        ({"minimum_lifetime_minutes": "an hour"}, "minimum_lifetime_minutes", []),
        ({"excluded_users": [10**12]}, "excluded_users", []),
        ({"excluded_groups": [10**12]}, "excluded_groups", []),
    ],
)
def test_policy_page__an_error_names_the_bound_and_stores_nothing(
    admin_browser: Client, changes: dict[str, Any], field: str, bounds: list[str]
) -> None:
    response = admin_browser.post(URL, posted(enabled="on", **changes))
    assert response.status_code == 200
    errors = response.context["adminform"].form.errors
    assert set(errors) == {field}
    assert all(bound in " ".join(errors[field]) for bound in bounds)
    assert stored() is None


def test_policy_page__the_list_leads_to_the_one_policy(admin_browser: Client) -> None:
    assert admin_browser.get(LIST)["Location"] == URL


@pytest.mark.parametrize("object_id", ["2", "0", "nonsense", "1_00"])
def test_policy_page__there_is_no_other_policy(admin_browser: Client, object_id: str) -> None:
    assert admin_browser.get(f"{LIST}{object_id}/change/").status_code == 302
    assert admin_browser.post(f"{LIST}{object_id}/change/", posted(enabled="on")).status_code == 302
    assert stored() is None


@pytest.mark.parametrize("url", [f"{LIST}add/", f"{LIST}1/delete/"])
def test_policy_page__is_neither_added_nor_deleted(admin_browser: Client, policy_on: Any, url: str) -> None:
    assert admin_browser.get(url).status_code == 403
    assert admin_browser.post(url, posted()).status_code == 403
    assert TemporaryAccessPassPolicy.objects.count() == 1


def test_policy_page__staff_without_the_permission_are_refused(client: Client, make_user: Any) -> None:
    client.force_login(make_user("staff", is_staff=True))
    assert client.get(URL).status_code == 403
    assert client.post(URL, posted(enabled="on")).status_code == 403
    assert stored() is None


def test_policy_page__who_may_only_look_changes_nothing(client: Client, make_user: Any, grant: Any) -> None:
    client.force_login(grant(make_user("staff", is_staff=True), "view_temporaryaccesspasspolicy"))
    assert client.get(URL).status_code == 200
    assert client.post(URL, posted(enabled="on")).status_code == 403
    assert stored() is None


def test_policy_page__the_permission_to_change_is_enough(client: Client, make_user: Any, grant: Any) -> None:
    staff = grant(make_user("staff", is_staff=True), "change_temporaryaccesspasspolicy")
    client.force_login(staff)
    assert client.post(URL, posted(enabled="on")).status_code == 302
    policy = stored()
    assert policy is not None
    assert (policy.enabled, policy.changed_by) == (True, staff)


def test_policy_page__an_administrator_who_is_demoted_meanwhile_is_refused(
    make_user: Any, grant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clerk = grant(make_user("clerk", is_staff=True), "change_temporaryaccesspasspolicy")
    browser = Client()
    browser.force_login(clerk)
    validated = PolicyAdmin.save_model

    def demote_first(*args: Any, **kwargs: Any) -> None:
        clerk.user_permissions.clear()
        validated(*args, **kwargs)

    monkeypatch.setattr(PolicyAdmin, "save_model", demote_first)
    assert browser.post(URL, posted(enabled="on")).status_code == 403
    assert stored() is None
