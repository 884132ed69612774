"""Forms check shape only: what they let through, and what no verb should ever have to see."""

from __future__ import annotations

from typing import Any

import pytest

from tap_provider.forms import FindUserForm, IssuePassForm, PassSignInForm, PasswordSignInForm, PolicyForm
from tap_provider.models import TemporaryAccessPassPolicy
from tap_provider.secret import Secret

NUL = "a\x00b"


def policy_data(**changes: Any) -> dict[str, Any]:
    """Return what the policy's form would post: the defaults, with these changes."""
    policy = TemporaryAccessPassPolicy()
    names = [name for name in PolicyForm.Meta.fields if not name.startswith(("included_", "excluded_"))]
    return {name: value for name, value in {**{n: getattr(policy, n) for n in names}, **changes}.items() if value != ""}


@pytest.mark.parametrize(
    ("form", "field"),
    [(PassSignInForm, "passcode"), (PasswordSignInForm, "password")],
)
def test_sign_in_form__keeps_the_secret_as_it_was_typed(form: Any, field: str) -> None:
    bound = form({"upn": " robin@example.test ", field: "  aB-c  "})
    assert bound.is_valid()
    assert bound.cleaned_data == {"upn": "robin@example.test", field: Secret("  aB-c  ")}
    assert "aB-c" not in repr(bound.cleaned_data)


@pytest.mark.parametrize(("form", "field"), [(PassSignInForm, "passcode"), (PasswordSignInForm, "password")])
@pytest.mark.parametrize("faulty", ["upn", "secret"])
@pytest.mark.parametrize("value", ["", NUL])
def test_sign_in_form__refuses_what_is_missing_or_holds_a_nul(form: Any, field: str, faulty: str, value: str) -> None:
    data = {"upn": "robin@example.test", field: "ABCDEFGH"}
    name = {"upn": "upn", "secret": field}[faulty]
    bound = form({**data, name: value})
    assert not bound.is_valid()
    assert set(bound.errors) == {name}


@pytest.mark.parametrize("value", ["x" * 10_000, "robin\u200f@example.test", "\udcff", "ROBIN@EXAMPLE.TEST"])
def test_sign_in_form__leaves_the_judgement_of_odd_text_to_the_verb(value: str) -> None:
    assert PassSignInForm({"upn": value, "passcode": value}).is_valid()


def test_sign_in_form__offers_no_length_that_only_pass_holders_would_know() -> None:
    assert "maxlength" not in str(PassSignInForm()["passcode"])
    assert "minlength" not in str(PassSignInForm()["passcode"])


def test_sign_in_form__tells_browsers_what_belongs_where() -> None:
    assert 'autocomplete="one-time-code"' in str(PassSignInForm()["passcode"])
    assert 'autocomplete="username"' in str(PassSignInForm()["upn"])
    assert 'autocomplete="current-password"' in str(PasswordSignInForm()["password"])
    assert 'type="password"' in str(PasswordSignInForm({"upn": "x", "password": "typed"})["password"])


@pytest.mark.parametrize(("form", "field"), [(PassSignInForm, "passcode"), (PasswordSignInForm, "password")])
def test_sign_in_form__never_sends_the_secret_back(form: Any, field: str) -> None:
    assert "typed-secret" not in form({"upn": "x", field: "typed-secret"}).as_p()


def test_sign_in_form__a_passcode_is_legible_while_it_is_typed() -> None:
    assert 'type="text"' in str(PassSignInForm()["passcode"])


def test_issue_form__everything_may_be_left_to_the_policy() -> None:
    form = IssuePassForm({})
    assert form.is_valid()
    assert form.cleaned_data == {"starts_at": None, "lifetime_minutes": None, "is_usable_once": False, "reason": ""}


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"lifetime_minutes": "an hour"}, "lifetime_minutes"),
        ({"lifetime_minutes": "60.5"}, "lifetime_minutes"),
        ({"starts_at_0": "2026-02-30", "starts_at_1": "09:00"}, "starts_at"),
        ({"starts_at_0": "2026-03-02", "starts_at_1": ""}, "starts_at"),
        ({"reason": "x" * 1001}, "reason"),
        ({"reason": NUL}, "reason"),
    ],
)
def test_issue_form__refuses_what_has_no_shape(data: dict[str, str], field: str) -> None:
    form = IssuePassForm(data)
    assert not form.is_valid()
    assert set(form.errors) == {field}


def test_issue_form__leaves_the_bounds_to_the_verb() -> None:
    assert IssuePassForm({"lifetime_minutes": "-5", "starts_at_0": "1999-01-01", "starts_at_1": "00:00"}).is_valid()


def test_find_user_form__takes_any_upn() -> None:
    assert FindUserForm({"upn": "Robin@example.test"}).is_valid()
    assert not FindUserForm({"upn": ""}).is_valid()
    assert not FindUserForm({"upn": NUL}).is_valid()


@pytest.mark.django_db
def test_policy_form__the_defaults_are_valid() -> None:
    assert PolicyForm(policy_data()).is_valid()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "field", "bounds"),
    [
        ({"minimum_lifetime_minutes": 9}, "minimum_lifetime_minutes", ["10"]),
        ({"maximum_lifetime_minutes": 43_201}, "maximum_lifetime_minutes", ["43200"]),
        ({"minimum_lifetime_minutes": 500}, "minimum_lifetime_minutes", ["500", "480"]),
        ({"default_lifetime_minutes": 481}, "default_lifetime_minutes", ["60", "480"]),
        ({"default_lifetime_minutes": 59}, "default_lifetime_minutes", ["60", "480"]),
        ({"passcode_length": 7}, "passcode_length", ["8"]),
        ({"passcode_length": 49}, "passcode_length", ["48"]),
        ({"registration_window_minutes": 0}, "registration_window_minutes", ["1"]),
        ({"registration_window_minutes": 61}, "registration_window_minutes", ["60"]),
        ({"passcode_length": ""}, "passcode_length", []),
        ({"maximum_lifetime_minutes": 10**30}, "maximum_lifetime_minutes", ["43200"]),
    ],
)
def test_policy_form__the_error_stands_beside_its_field_and_names_the_bound(
    changes: dict[str, Any], field: str, bounds: list[str]
) -> None:
    form = PolicyForm(policy_data(**changes))
    assert not form.is_valid()
    assert set(form.errors) == {field}
    assert all(bound in " ".join(form.errors[field]) for bound in bounds)
