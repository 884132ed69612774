"""In which database a site keeps its users, and everything of ours with them.

Users, passes, sign-ins and tokens refer to each other, so one database holds them all: the one to which the site's
routers write users. Every transaction and lock of ours is there. What decides about a session, a pass or a token must
also be read there: a replica that lags would bring back what was revoked (`PrimaryRouter`).
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.db import connections, router, transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models import Model, QuerySet

DECIDING_APPS = {
    "account",  # django-allauth's
    "auth",
    "django_otp_webauthn",
    "mfa",  # django-allauth's
    "oauth2_provider",
    "tap_provider",
    "tap_provider_oidc",
    "two_factor",
}
"""Labels of the apps whose rows decide: who is who, with which rights, methods and tokens."""

AT_ONCE = 500  # rows in one statement

DEVICES = "otp_"
"""How the labels of django-otp's plugins begin, and of those that follow its custom."""


def where() -> str:
    """Return the alias of the database to which users are written."""
    return router.db_for_write(get_user_model())


def users_connection() -> BaseDatabaseWrapper:
    """Return the connection to the database to which users are written."""
    return connections[where()]


def atomic() -> AbstractContextManager[Any]:
    """Begin a transaction, or a savepoint within one, where users are written: `django.db.transaction.atomic`."""
    return transaction.atomic(using=where())


def on_commit(function: Callable[[], Any]) -> None:
    """Call the function once the transaction of `atomic` has committed; at once if there is none."""
    transaction.on_commit(function, using=where())


def delete_in_parts(rows: QuerySet[Any]) -> int:
    """Delete these rows, some hundreds in one statement, so that no table is locked for long; return how many.

    By key: MariaDB does not delete from a table that the condition reads. By the base manager: audit events cannot be
    deleted by their own.
    """
    keys = list(rows.values_list("pk", flat=True))
    for start in range(0, len(keys), AT_ONCE):
        rows.model._base_manager.filter(pk__in=keys[start : start + AT_ONCE]).delete()
    return len(keys)


class PrimaryRouter:
    """The first of `DATABASE_ROUTERS` where others send reads to replicas.

    What decides about a session, a pass, a token or the throttle is read from where it is written. Reads of all other
    models, and all writes, are left to the routers that follow.
    """

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        # Without the hints: of a row that was read from a replica they name the replica.
        return router.db_for_write(model) if model in deciding_models() else None


@lru_cache(maxsize=1)
def deciding_models() -> frozenset[type[Model]]:
    """Return the models whose rows decide: ours, users, what users are members of, sessions, methods and tokens."""
    users = get_user_model()
    near = {users, _session_model(), *_swapped_models(), *_memberships(users)} - {None}
    return frozenset(
        model
        for model in apps.get_models(include_auto_created=True)
        if _is_of_deciding_app(model) or any(issubclass(model, one) or issubclass(one, model) for one in near)
    )


def _is_of_deciding_app(model: type[Model]) -> bool:
    label = model._meta.app_label
    return label in DECIDING_APPS or label.startswith(DEVICES)


def _memberships(users: type[Model]) -> Iterator[Any]:
    """Yield the models of groups and permissions, and those that say which user has them."""
    for field in users._meta.many_to_many:
        yield from (field.remote_field.model, field.remote_field.through)
        yield from (of_group.remote_field.through for of_group in field.remote_field.model._meta.many_to_many)


def _swapped_models() -> Iterator[type[Model]]:
    """Yield the site's own models of methods, clients and tokens: `OAUTH2_PROVIDER_…_MODEL`, `OTP_WEBAUTHN_…_MODEL`."""
    for name in dir(django_settings):
        if name.startswith(("OAUTH2_PROVIDER_", "OTP_WEBAUTHN_")) and name.endswith("_MODEL"):
            yield apps.get_model(getattr(django_settings, name))


def is_session(model: type[Model]) -> bool:
    """Return True if the model holds Django's sessions: the only one that may lie in another database than users."""
    return model is _session_model()


def _session_model() -> Any | None:
    """Return the model that holds Django's sessions, or None where the engine keeps them elsewhere."""
    store: Any = import_module(django_settings.SESSION_ENGINE).SessionStore
    return store.get_model_class() if hasattr(store, "get_model_class") else None
