"""Whether one user has a permission that another lacks: listed, only answered for, or on single objects.

Django asks backends two questions. `get_all_permissions` lists; `has_perm` answers for one permission, and may know
more than the list. What is not listed is asked for by each name that is known (decision 0027).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib.auth import get_backends, get_user_model
from django.contrib.auth.models import Permission
from django.db import DatabaseError
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.models import Model

LISTS = ("get_all_permissions", "get_user_permissions", "get_group_permissions")

GUARDIAN = "guardian"
GUARDIAN_BASES = {
    "user": "guardian.models.UserObjectPermissionBase",
    "group": "guardian.models.GroupObjectPermissionBase",
}

COMPARED_ON_OBJECTS = frozenset({"django", "guardian", "django_auth_ldap"})
"""Packages whose `has_perm` grants nothing on single objects beyond what is compared here (read in their source)."""

NAMES_OF = {"rules.permissions.ObjectPermissionBackend": "rules.permissions.permissions"}
"""Backends that know permissions which are no rows of `Permission`, and where these names stand."""


def has_more_permissions(user: Any, actor: Any) -> bool:
    """Tell whether `user` has a permission that `actor` lacks.

    A permission on a single object counts, unless `actor` has it on the same object or on all.
    """
    return any(not _has(actor, name) for name in _names_to_compare(user, actor))


def sources_not_compared_on_objects() -> list[type]:
    """Return the classes that may grant permissions on single objects by code of their own, which is not compared."""
    return [
        source
        for source in _sources()
        if any(
            definer is not None and definer.__module__.partition(".")[0] not in COMPARED_ON_OBJECTS
            for definer in (_definer(source, name) for name in ("has_perm", *LISTS))
        )
        or (_definer(source, "has_perm") is None and _may_answer_by_itself(source))
    ]


def sources_without_list() -> list[type]:
    """Return the classes that answer `has_perm` beyond what they list: backends, and the user model.

    A class that overrides `has_perm` and none of the methods that list is taken for one.
    """
    return [source for source in _sources() if not _lists_what_it_grants(source)]


def _may_answer_by_itself(source: type) -> bool:
    # An instance may have `has_perm` although its class has none: set in `__init__`, or passed on by `__getattr__`.
    return any(type(backend) is source and callable(getattr(backend, "has_perm", None)) for backend in get_backends())


def _sources() -> list[type]:
    return [*dict.fromkeys(type(backend) for backend in get_backends()), get_user_model()]


def _names_to_compare(user: Any, actor: Any) -> Iterator[str]:
    """Yield the permissions of `user`, without those on objects on which `actor` has them too."""
    lister = getattr(user, "get_all_permissions", None)
    listed: set[str] = set() if lister is None else set(lister())
    yield from listed
    sources = sources_without_list()
    if sources:
        yield from (name for name in _known_names(sources) - listed if _has(user, name))
    if apps.is_installed(GUARDIAN):
        yield from {name for name, *_on in _guardian_permissions(user) - _guardian_permissions(actor)}


def has_permission(user: Any, name: str) -> bool:
    """Return whether a user has this permission; a user model without permissions (W032) grants none."""
    has_perm = getattr(user, "has_perm", None)
    return has_perm is not None and bool(has_perm(name))


def _has(user: Any, name: str) -> bool:
    try:
        return has_permission(user, name)
    except DatabaseError:
        raise
    except Exception:  # noqa: BLE001 a rule that was written for objects may fail without one
        return False


def _lists_what_it_grants(source: type) -> bool:
    grants = _definer(source, "has_perm")
    lists = [_definer(source, name) for name in LISTS]
    if grants is None:
        return not _may_answer_by_itself(source)
    return any(definer is not None and issubclass(definer, grants) for definer in lists)


def _definer(source: type, name: str) -> type | None:
    return next((base for base in source.__mro__ if name in vars(base)), None)


def _known_names(sources: list[type]) -> set[str]:
    rows = Permission.objects.order_by().values_list("content_type__app_label", "codename")
    names = {f"{app}.{codename}" for app, codename in rows}
    for base in {base for source in sources for base in source.__mro__}:
        registry = NAMES_OF.get(f"{base.__module__}.{base.__qualname__}")
        names |= set(import_string(registry)) if registry is not None else set()
    return names


def _guardian_permissions(user: Any) -> set[tuple[str, int, str]]:
    """Return each permission of the user's on an object: its name, its key, and the object's. One query a table.

    The permission's key tells the object's model as well, which its name does not.
    """
    if not user.is_active:
        return set()  # as guardian says
    holders = {"user": {"user": user}, "group": {"group__in": user.groups.all()}}
    return {
        (f"{app}.{codename}", permission_id, str(key))
        for holder, base in GUARDIAN_BASES.items()
        for model in apps.get_models()
        if issubclass(model, import_string(base))
        for app, codename, permission_id, key in _rows(model, **holders[holder])
    }


def _rows(model: type[Model], **holder: Any) -> Any:
    # Guardian's own tables name the object by text, those that a site makes for one model by a foreign key.
    names = {field.name for field in model._meta.concrete_fields}
    key = "object_pk" if "object_pk" in names else "content_object"
    rows = model._default_manager.filter(**holder).order_by()
    return rows.values_list("permission__content_type__app_label", "permission__codename", "permission_id", key)
