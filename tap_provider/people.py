"""Users read anew and locked: a verb judges the rows, never the objects that its caller holds.

An object keeps the flags and the permissions of the moment when it was read, and hashing a passcode takes a while.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import FieldDoesNotExist
from django.db.models.signals import class_prepared

from .databases import users_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from django.db.models import Model
    from django.db.models.signals import ModelSignal

AT_ONCE = 500  # keys in one statement


def lock_people(*keys: Any) -> list[Any]:
    """Return the users with these primary keys, in the order given; None for a key that no row has. One query.

    The rows stay locked until the transaction ends. Locks are taken by key, after the policy's and before those of
    passes and sign-ins, so that no two verbs wait for each other (decision 0022).
    """
    users = get_user_model()._default_manager
    # On PostgreSQL without keeping out foreign keys (`no_key`), or a redemption and a replacement would deadlock.
    no_key = users_connection().features.has_select_for_no_key_update
    locked = users.select_for_update(no_key=no_key).filter(pk__in=set(keys)).order_by("pk")
    rows = {user.pk: user for user in locked}
    return [rows.get(key) for key in keys]


def lock_many(keys: Iterable[Any]) -> None:
    """Lock the users with these primary keys, however many, in the order of their keys."""
    ordered = sorted(set(keys))
    for start in range(0, len(ordered), AT_ONCE):
        lock_people(*ordered[start : start + AT_ONCE])


def groups_of_users() -> Any | None:
    """Return the field of the user model that holds Django's groups; None where it has none, or groups of its own.

    The policy targets `auth.Group`. A site's own groups have keys of their own, which must not be taken for those.
    """
    try:
        field: Any = get_user_model()._meta.get_field("groups")
    except FieldDoesNotExist:
        return None
    model = field.remote_field.model if field.many_to_many else None
    return field if model is not None and model._meta.concrete_model is Group else None


def connect_to_users(signal: ModelSignal, receiver: Callable[..., None]) -> None:
    """Connect a receiver to a signal of the user model, and of each proxy and child model of it.

    Django sends the class that was saved: code that saves users through a proxy model would pass by a receiver that is
    connected to the user model alone. A receiver for every model of the site would keep Django from deleting rows
    without reading them.
    """

    connect_to_family(signal, receiver, of=get_user_model())


def connect_to_family(signal: ModelSignal, receiver: Callable[..., None], *, of: type[Model]) -> None:
    """Connect a receiver to a signal of a model, and of each proxy and child model of it, now or later."""

    def connect(sender: type[Any], **kwargs: Any) -> None:
        if issubclass(sender, of):
            signal.connect(receiver, sender=sender, dispatch_uid=f"{receiver.__module__}.{receiver.__qualname__}")

    for model in apps.get_models():
        connect(model)
    class_prepared.connect(connect, weak=False)  # models that are made later
