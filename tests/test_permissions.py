"""Whether one user has a permission that another lacks, whatever backends list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import BaseBackend, ModelBackend
from django.contrib.auth.models import Permission, PermissionsMixin
from django.db import DatabaseError

from tap_provider.permissions import has_more_permissions, sources_without_list

MakeUser = Callable[..., Any]
Grant = Callable[..., Any]

MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"
CHANGE_USER = "accounts.change_user"

pytestmark = pytest.mark.django_db


class OnlyAnswers:
    """As django-rules' backend: no list of anything. It grants by the last name, as a role elsewhere would."""

    asked: list[str] = []

    def authenticate(self, request: Any, **credentials: Any) -> None:
        return None

    def has_perm(self, user: Any, perm: str, obj: Any = None) -> bool:
        self.asked.append(perm)
        return bool(user.last_name == "owner" and perm == CHANGE_USER)


class AnswersBeyondItsList(ModelBackend):
    """A subclass that overrides one of the two questions."""

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return user_obj.last_name == "owner" or super().has_perm(user_obj, perm, obj)


class ListsWhatItAnswers(ModelBackend):
    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return user_obj.last_name == "owner" or super().has_perm(user_obj, perm, obj)

    def get_all_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        own = {CHANGE_USER} if user_obj.last_name == "owner" else set()
        return own | super().get_all_permissions(user_obj, obj)


class ListsOnly(ModelBackend):
    """A subclass whose answers follow from the list."""

    def get_group_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        return {CHANGE_USER} if user_obj.last_name == "owner" else set()


class AnswersNothing(BaseBackend):
    """For signing in, no more."""


class AnswersByItself:
    """`has_perm` is no attribute of the class: a wrapper that passes everything on is of this kind."""

    def authenticate(self, request: Any, **credentials: Any) -> None:
        return None

    def __getattr__(self, name: str) -> Any:
        return getattr(OnlyAnswers(), name)


class NeedsAnObject(OnlyAnswers):
    """A rule that was written for objects, and asked without one."""

    def has_perm(self, user: Any, perm: str, obj: Any = None) -> bool:
        if perm == "accounts.delete_user":
            return bool(obj.author == user)
        return super().has_perm(user, perm, obj)


class IsDown(OnlyAnswers):
    def has_perm(self, user: Any, perm: str, obj: Any = None) -> bool:
        raise DatabaseError("the connection is gone")


def use(settings: Any, *backends: type) -> None:
    """Name these backends, and Django's own before them unless one of them takes its place."""
    paths = [f"{backend.__module__}.{backend.__qualname__}" for backend in backends]
    takes_its_place = any(issubclass(backend, ModelBackend) for backend in backends)
    settings.AUTHENTICATION_BACKENDS = paths if takes_its_place else [MODEL_BACKEND, *paths]


@pytest.fixture
def owner(make_user: MakeUser) -> Any:
    return make_user("owner", last_name="owner")


# Which classes do not list what they answer


@pytest.mark.parametrize("backend", [ListsWhatItAnswers, ListsOnly, AnswersNothing])
def test_sources_without_list__are_none_that_list(backend: type, settings: Any) -> None:
    use(settings, backend)
    assert sources_without_list() == []


@pytest.mark.parametrize("backend", [OnlyAnswers, AnswersBeyondItsList, AnswersByItself, NeedsAnObject])
def test_sources_without_list__are_backends_that_only_answer(backend: type, settings: Any) -> None:
    use(settings, backend, backend)
    assert sources_without_list() == [backend]


def test_sources_without_list__may_be_the_user_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the example of Django's documentation, which answers True to everything."""
    assert sources_without_list() == []
    monkeypatch.setattr(get_user_model(), "has_perm", lambda self, perm, obj=None: True)
    assert sources_without_list() == [get_user_model()]


# Comparing


def test_has_more_permissions__by_what_is_listed(
    robin: Any, make_user: MakeUser, grant: Grant, django_assert_num_queries: Any
) -> None:
    kay = grant(make_user("kay"), "change_user", "add_user")
    robin = grant(robin, "change_user")
    with django_assert_num_queries(4):  # two for each of them, as Django lists
        assert has_more_permissions(kay, robin)
        assert not has_more_permissions(robin, kay)
        assert not has_more_permissions(robin, robin)


@pytest.mark.parametrize("backend", [OnlyAnswers, AnswersBeyondItsList, AnswersByItself, ListsWhatItAnswers, ListsOnly])
def test_has_more_permissions__by_what_a_backend_answers(
    backend: type, owner: Any, robin: Any, make_user: MakeUser, grant: Grant, settings: Any
) -> None:
    use(settings, backend)
    assert has_more_permissions(owner, robin)
    assert not has_more_permissions(robin, owner)
    assert not has_more_permissions(owner, make_user("another", last_name="owner"))
    if backend is not AnswersBeyondItsList:  # whose owners have every permission
        assert not has_more_permissions(owner, grant(robin, "change_user"))


def test_has_more_permissions__what_is_listed_for_one_may_be_answered_for_the_other(
    owner: Any, robin: Any, grant: Grant, settings: Any
) -> None:
    use(settings, OnlyAnswers)
    assert not has_more_permissions(grant(robin, "change_user"), owner)


def test_has_more_permissions__asks_for_each_known_permission_once_in_one_statement_more(
    robin: Any, make_user: MakeUser, settings: Any, django_assert_num_queries: Any
) -> None:
    use(settings, OnlyAnswers)
    kay = make_user("kay")
    OnlyAnswers.asked.clear()
    with django_assert_num_queries(3):
        assert not has_more_permissions(robin, kay)  # who is not asked: Robin has nothing
    assert len(OnlyAnswers.asked) == len(set(OnlyAnswers.asked)) == Permission.objects.count()


def test_has_more_permissions__a_rule_that_fails_without_an_object_grants_nothing(
    owner: Any, robin: Any, grant: Grant, make_user: MakeUser, settings: Any
) -> None:
    use(settings, NeedsAnObject)
    assert not has_more_permissions(robin, make_user("kay"))
    assert has_more_permissions(owner, robin)
    assert has_more_permissions(grant(make_user("editor"), "delete_user"), robin)  # who is asked in vain as well


def test_has_more_permissions__a_fault_of_the_database_is_no_answer(
    robin: Any, make_user: MakeUser, settings: Any
) -> None:
    use(settings, IsDown)
    with pytest.raises(DatabaseError):
        has_more_permissions(robin, make_user("kay"))


def test_has_more_permissions__of_a_user_model_without_a_list(
    owner: Any, robin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_user_model(), "has_perm", lambda self, perm, obj=None: self.last_name == "owner")
    monkeypatch.delattr(PermissionsMixin, "get_all_permissions")
    assert has_more_permissions(owner, robin)
    assert not has_more_permissions(robin, owner)
