"""Users read anew and locked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tap_provider.people import lock_people

MakeUser = Callable[..., Any]

pytestmark = pytest.mark.django_db


def test_lock_people__are_read_anew_in_the_order_asked_for(make_user: MakeUser) -> None:
    first, second = make_user("first"), make_user("second", is_staff=True)
    type(second).objects.filter(pk=second.pk).update(is_staff=False)
    read = lock_people(second.pk, first.pk)
    assert read == [second, first]
    assert read[0] is not second
    assert [person.is_staff for person in read] == [False, False]


def test_lock_people__a_key_without_a_row_is_none(make_user: MakeUser) -> None:
    user, gone = make_user("user"), make_user("gone")
    key = gone.pk
    gone.delete()
    assert lock_people(key, user.pk, None) == [None, user, None]
    assert lock_people(None) == [None]


def test_lock_people__costs_one_query(make_user: MakeUser, django_assert_num_queries: Any) -> None:
    users = [make_user("first"), make_user("second")]
    with django_assert_num_queries(1):
        lock_people(*(user.pk for user in users), users[0].pk)
