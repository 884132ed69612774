"""What a site may answer differently, and the default answers: who is meant, and where a request came from."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from tap_provider.exceptions import AmbiguousUpn
from tap_provider.hooks import Hooks, find_user, get_hooks
from tap_provider.models import Standing
from tap_provider.upn import LONGEST_UPN, clean_upn

MakeUser = Callable[..., Any]


@pytest.mark.parametrize(
    "typed",
    [
        "robin@example.test",
        "  robin@example.test\t\r\n",
        "\N{NO-BREAK SPACE}robin@example.test\N{ZERO WIDTH SPACE}",
        "\N{RIGHT-TO-LEFT MARK}robin@example.test\N{LEFT-TO-RIGHT MARK} ",
        "\N{LEFT-TO-RIGHT EMBEDDING}robin@example.test\N{POP DIRECTIONAL FORMATTING}",
        "\N{ZERO WIDTH NO-BREAK SPACE} robin@example.test",
    ],
    ids=ascii,
)
def test_clean_upn__drops_white_space_and_invisible_marks_around_it(typed: str) -> None:
    assert clean_upn(typed) == "robin@example.test"


def test_clean_upn__composes_what_was_typed_decomposed() -> None:
    assert (
        clean_upn("rene\N{COMBINING ACUTE ACCENT}@example.test")
        == "ren\N{LATIN SMALL LETTER E WITH ACUTE}@example.test"
    )


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "   ",
        "\N{ZERO WIDTH SPACE}",
        "robin\x00@example.test",
        "\x00robin@example.test",
        "robin@example.test\x00",
        "robin\ud800@example.test",
        "robin\n@example.test",
        "a" * (LONGEST_UPN + 1),
        "a" * 10_000,
    ],
    ids=lambda typed: ascii(typed[:24]),
)
def test_clean_upn__what_no_database_can_be_asked_for_is_none(typed: str) -> None:
    assert clean_upn(typed) is None


def test_clean_upn__takes_the_longest_mail_address() -> None:
    assert clean_upn("a" * LONGEST_UPN) == "a" * LONGEST_UPN


@pytest.mark.parametrize(
    "typed", ["robin@example.test", "ROBIN@EXAMPLE.TEST", "Robin@Example.Test ", "\trobin@example.test"]
)
def test_find_user__in_whatever_case(typed: str, robin: Any) -> None:
    """Issue 2, row "a UPN in another case": match."""
    assert find_user(typed) == robin


def test_find_user__in_another_non_ascii_case(make_user: MakeUser) -> None:
    user = make_user("emile", upn="\N{LATIN CAPITAL LETTER E WITH ACUTE}mile@example.test")
    assert find_user("\N{LATIN CAPITAL LETTER E WITH ACUTE}MILE@example.test") == user
    assert find_user("\N{LATIN SMALL LETTER E WITH ACUTE}mile@example.test") == user


def test_find_user__accents_are_not_case(make_user: MakeUser) -> None:
    """MariaDB's collations equate accents; only case is to be disregarded."""
    make_user("rene", upn="ren\N{LATIN SMALL LETTER E WITH ACUTE}@example.test")
    assert find_user("rene@example.test") is None


@pytest.mark.parametrize(
    "typed", ["%", "%@example.test", "r_bin@example.test", "robin@example.test%", r"robin\@example.test"]
)
def test_find_user__wildcards_are_letters(typed: str, robin: Any) -> None:
    assert find_user(typed) is None


def test_find_user__an_invisible_mark_within_makes_another_name(robin: Any) -> None:
    assert find_user("ro\N{ZERO WIDTH SPACE}bin@example.test") is None


def test_find_user__finds_inactive_users_too(make_user: MakeUser) -> None:
    """Whether they may do anything is decided later: an earlier no would tell that they exist."""
    user = make_user("gone", is_active=False)
    assert find_user(user.upn) == user


@pytest.mark.parametrize(
    "typed",
    ["robin@example.test", "nobody@example.test", "", "\x00", "\ud800", "a" * 10_000],
    ids=lambda t: ascii(t[:20]),
)
def test_find_user__costs_one_query_whoever_is_asked_for(
    typed: str, robin: Any, django_assert_num_queries: Callable[..., Any]
) -> None:
    """Peer failure 16."""
    with django_assert_num_queries(1):
        find_user(typed)


def test_find_user__two_who_differ_by_case_only_are_refused_not_guessed(make_user: MakeUser, settings: Any) -> None:
    settings.TAP_PROVIDER_UPN_FIELD = "email"  # which this user model does not keep unique
    make_user("robin", email="robin@example.test")
    make_user("another", email="Robin@example.test")
    for typed in ("robin@example.test", "Robin@example.test", "ROBIN@EXAMPLE.TEST"):
        with pytest.raises(AmbiguousUpn):
            find_user(typed)


def test_find_user__by_the_field_that_the_setting_names(make_user: MakeUser, settings: Any) -> None:
    robin = make_user("robin", email="r@example.test")
    settings.TAP_PROVIDER_UPN_FIELD = "email"
    assert find_user("R@example.test") == robin
    assert find_user(robin.upn) is None
    assert get_hooks().get_upn(robin) == "r@example.test"


def test_standing_of__is_what_djangos_flags_say_by_default(make_user: MakeUser, admin: Any) -> None:
    assert get_hooks().standing_of(make_user("member")) is Standing.MEMBER
    assert get_hooks().standing_of(make_user("staff", is_staff=True)) is Standing.STAFF
    assert get_hooks().standing_of(admin) is Standing.SUPERUSER


def test_email_is_verified__is_not_said_of_anybody_by_default(robin: Any) -> None:
    assert get_hooks().email_is_verified(robin) is False


def test_addresses_to_notify__is_the_users_own_address_if_there_is_one(make_user: MakeUser) -> None:
    assert list(get_hooks().addresses_to_notify(make_user("robin", email="r@example.test"))) == ["r@example.test"]
    assert list(get_hooks().addresses_to_notify(make_user("nomail", email=""))) == []


def test_addresses_to_notify__asks_the_field_that_the_user_model_names(
    make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    robin = make_user("robin", email="r@example.test")
    monkeypatch.setattr(get_user_model(), "EMAIL_FIELD", "upn")
    assert list(get_hooks().addresses_to_notify(robin)) == ["robin@example.test"]
    monkeypatch.setattr(get_user_model(), "EMAIL_FIELD", "there_is_none")
    assert list(get_hooks().addresses_to_notify(robin)) == []


def test_language_of__is_not_known_by_default(robin: Any) -> None:
    assert get_hooks().language_of(robin) is None


def test_get_upn__of_a_user_without_one_is_empty() -> None:
    assert Hooks().get_upn(SimpleNamespace(upn=None)) == ""


class ByUserName(Hooks):
    def find_user(self, upn: str) -> Any | None:
        return get_user_model()._default_manager.filter(username=upn).first()


def test_get_hooks__are_those_that_the_setting_names_now(robin: Any, settings: Any) -> None:
    assert type(get_hooks()) is Hooks
    settings.TAP_PROVIDER_HOOKS = "tests.test_hooks.ByUserName"
    assert type(get_hooks()) is ByUserName
    assert find_user(" robin ") == robin
    assert find_user(robin.upn) is None


def test_hooks__are_nine_methods_at_most() -> None:
    """Design, section 3: one class with few documented methods."""
    methods = {name: method for name, method in vars(Hooks).items() if callable(method) and not name.startswith("_")}
    assert len(methods) <= 9
    assert all(method.__doc__ for method in methods.values())
