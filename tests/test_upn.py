"""User principal names: compared in one form, and found by an index."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unicodedata import normalize

import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from tap_provider.databases import atomic
from tap_provider.exceptions import TooManyAttempts
from tap_provider.hooks import find_user
from tap_provider.throttle import MOST_BY_UPN, count_attempt
from tap_provider.upn import clean_upn, fold_upn, has_upn_index, with_upn

from .conftest import NOW

MakeUser = Callable[..., Any]
RENE = "Ren\N{LATIN SMALL LETTER E WITH ACUTE}@Example.test"
WIDE = "\N{FULLWIDTH LATIN SMALL LETTER R}obin@example.test"


def test_clean_upn__composes_letters_by_compatibility() -> None:
    assert clean_upn(WIDE) == "robin@example.test"


@pytest.mark.parametrize(
    "spelling",
    [
        RENE,
        normalize("NFD", RENE),
        RENE.upper(),
        normalize("NFD", RENE.upper()),
        RENE.replace("R", "\N{FULLWIDTH LATIN CAPITAL LETTER R}"),
    ],
    ids=ascii,
)
def test_fold_upn__is_the_same_for_all_spellings(spelling: str) -> None:
    assert fold_upn(spelling) == fold_upn(RENE)


@pytest.mark.parametrize(
    "other", ["Rene@example.test", "ren\N{LATIN SMALL LETTER E WITH GRAVE}@example.test"], ids=ascii
)
def test_fold_upn__keeps_accents_apart(other: str) -> None:
    assert fold_upn(other) != fold_upn(RENE)


@pytest.mark.parametrize("stored_as", ["NFC", "NFD"])
@pytest.mark.parametrize("typed_as", ["NFC", "NFD"])
@pytest.mark.parametrize("case", [str, str.lower, str.upper, str.title], ids=["as_is", "lower", "upper", "title"])
def test_find_user__in_whatever_form_it_is_stored_and_typed(
    make_user: MakeUser, stored_as: str, typed_as: str, case: Callable[[str], str]
) -> None:
    user = make_user("rene", upn=normalize(stored_as, RENE))
    assert find_user(normalize(typed_as, case(RENE))) == user


def test_find_user__typed_in_full_width_letters(robin: Any) -> None:
    assert find_user(WIDE) == robin
    assert find_user("\N{FULLWIDTH LATIN CAPITAL LETTER R}OBIN\N{FULLWIDTH COMMERCIAL AT}EXAMPLE.TEST") == robin


@pytest.mark.django_db
def test_throttle__counts_all_spellings_together() -> None:
    spellings = [RENE, normalize("NFD", RENE), RENE.upper()]
    for number in range(MOST_BY_UPN):
        count_attempt(purpose="pass", upn=spellings[number % 3], address=None, now=NOW)
    with pytest.raises(TooManyAttempts):
        count_attempt(purpose="pass", upn=RENE.casefold(), address=None, now=NOW)


@pytest.mark.django_db
def test_has_upn_index__of_the_examples_constraint() -> None:
    assert has_upn_index(get_user_model(), "upn")


@pytest.mark.django_db
def test_has_upn_index__is_false_without_one() -> None:
    assert not has_upn_index(get_user_model(), "first_name")


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "mysql", reason="any index on the column serves")
def test_has_upn_index__of_the_statement_that_the_check_prints() -> None:
    """On a model without a constraint of its own: Django's, or another package's."""
    users = get_user_model()
    assert not has_upn_index(users, "last_name")
    table = users._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f'CREATE INDEX "tried" ON "{table}" (LOWER("last_name"))')
    try:
        assert has_upn_index(users, "last_name")
    finally:
        with connection.cursor() as cursor:
            cursor.execute('DROP INDEX "tried"')


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor == "mysql", reason="MariaDB plans nothing for a table without rows")
def test_with_upn__is_planned_by_the_index_for_known_and_unknown(robin: Any) -> None:
    users = get_user_model()._default_manager.all()
    with atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL enable_seqscan = off")
        plans = [with_upn(users, "upn", upn).explain() for upn in (robin.upn, "unknown@example.test", RENE)]
    assert all("upn_regardless_of_case" in plan for plan in plans), plans
