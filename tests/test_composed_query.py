"""Queries that are composed once: the parameter changes, and what is found is never kept."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db.models import BooleanField, Case, Value, When

from tap_provider.composed_query import ComposedQuery, Parameter
from tap_provider.models import SignIn
from tap_provider.redeem import redeem_pass
from tap_provider.sign_in import Client

from .conftest import NOW

pytestmark = pytest.mark.django_db


@pytest.fixture
def query() -> ComposedQuery[Any]:
    users = get_user_model()
    return ComposedQuery(users, lambda rows: rows.filter(pk=Parameter()))


def test_first__finds_by_the_parameter_of_each_call(query: ComposedQuery[Any], robin: Any, admin: Any) -> None:
    key = get_user_model()._meta.pk

    assert [query.first(user.pk, field=key) for user in (robin, admin, robin)] == [robin, admin, robin]
    assert query.first(-1, field=key) is None


def test_first__composes_once(robin: Any, admin: Any) -> None:
    composed = []

    def compose(rows: Any) -> Any:
        composed.append(rows)
        return rows.filter(pk=Parameter())

    query = ComposedQuery(get_user_model(), compose)
    for user in (robin, admin):
        query.first(user.pk, field=get_user_model()._meta.pk)

    assert len(composed) == 1


def test_first__reads_what_is_stored_now(query: ComposedQuery[Any], robin: Any) -> None:
    key = get_user_model()._meta.pk
    assert query.first(robin.pk, field=key).last_name != "Changed"

    robin.last_name = "Changed"
    robin.save()

    assert query.first(robin.pk, field=key).last_name == "Changed"


def test_first__is_one_query(query: ComposedQuery[Any], robin: Any, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        found = query.first(robin.pk, field=get_user_model()._meta.pk)
        assert found.get_username()


def test_first__takes_the_parameter_at_several_places_beside_constants(robin: Any) -> None:
    is_it = Case(When(pk=Parameter(), then=Value(True)), default=Value(False), output_field=BooleanField())
    query = ComposedQuery(
        get_user_model(), lambda rows: rows.annotate(is_it=is_it).filter(pk=Parameter(), upn=robin.upn)
    )

    found: Any = query.first(robin.pk, field=get_user_model()._meta.pk)

    assert found == robin
    assert found.is_it


def test_first__reads_every_column_as_the_orm_does(robin: Any, issue: Any) -> None:
    sign_in = redeem_pass(upn=robin.upn, passcode=issue(robin, now=NOW).passcode.reveal(), client=Client(), now=NOW)
    query = ComposedQuery(SignIn, lambda rows: rows.filter(pk=Parameter()))

    found, stored = query.first(sign_in.pk, field=SignIn._meta.pk), SignIn.objects.get(pk=sign_in.pk)

    for field in SignIn._meta.concrete_fields:
        told, expected = getattr(found, field.attname), getattr(stored, field.attname)
        assert (type(told), told) == (type(expected), expected), field.attname
