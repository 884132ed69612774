"""System checks of the site's databases and user table. Documented in `docs/reference/checks.md`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import FieldDoesNotExist
from django.db import DatabaseError, connections, router
from django.db.models import Count, Q
from django.db.models.functions import Lower
from django.utils.module_loading import import_string

from .conf import settings
from .databases import PrimaryRouter, deciding_models, is_session, where
from .hooks import Hooks
from .people import groups_of_users
from .upn import has_upn_index

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models import Model

E005 = "tap_provider.E005"  # SQLite without immediate transactions
W013 = "tap_provider.W013"  # ATOMIC_REQUESTS
E014 = "tap_provider.E014"  # a database that has not been tried
E028 = "tap_provider.E028"  # users in another database than what refers to them
E029 = "tap_provider.E029"  # what decides is read from a replica
W030 = "tap_provider.W030"  # no index for the look-up of a UPN
W031 = "tap_provider.W031"  # users without a UPN, or with one that several have
W032 = "tap_provider.W032"  # a user model without permissions
W033 = "tap_provider.W033"  # a user model without Django's groups
W034 = "tap_provider.W034"  # users may be saved by a parent of the user model

READS = 20  # how often the routers are asked: some choose a replica at random


def register_all() -> None:
    """Register every check below; called once by `AppConfig.ready`."""
    register(Tags.security)(check_database_settings)
    register(Tags.security)(check_routers)
    register(Tags.security)(check_user_model)
    register(Tags.database)(check_databases)
    register(Tags.database)(check_user_table)


def check_database_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """What can be told from the settings alone, without a connection."""
    found: list[CheckMessage] = []
    for alias, options in django_settings.DATABASES.items():
        is_sqlite = options.get("ENGINE") == "django.db.backends.sqlite3"
        if is_sqlite and options.get("OPTIONS", {}).get("transaction_mode") != "IMMEDIATE":
            hint = 'OPTIONS = {"transaction_mode": "IMMEDIATE", "timeout": 20, …}; see docs/reference/checks.md.'
            message = f"SQLite ({alias}) without immediate transactions: simultaneous sign-ins fail, as it is locked."
            found.append(Error(message, hint=hint, id=E005))
        if options.get("ATOMIC_REQUESTS"):
            message = f"ATOMIC_REQUESTS ({alias}) would roll back counted attempts and hold locks while hashing."
            found.append(CheckWarning(message, hint="Use transaction.atomic where it is needed.", id=W013))
    return found


def check_routers(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Check that one database holds all that decides, and that it is read there."""
    if not django_settings.DATABASE_ROUTERS:
        return []
    models = sorted(deciding_models(), key=lambda model: model._meta.label)
    found: list[CheckMessage] = []
    apart = [model for model in models if not is_session(model) and router.db_for_write(model) != where()]
    if apart:
        message = f"Users are written to {where()!r}, and {_labels(apart)} to another database."
        hint = "Rows of both are written in one transaction: route them to one database."
        found.append(Error(message, hint=hint, id=E028))
    lagging = [model for model in models if _is_read_elsewhere(model)]
    if lagging:
        path = f"{PrimaryRouter.__module__}.{PrimaryRouter.__qualname__}"
        message = f"{_labels(lagging)} are not read from where they are written."
        hint = f"Let {path!r} be the first of DATABASE_ROUTERS."
        found.append(Error(message, hint=hint, id=E029))
    return found


def _is_read_elsewhere(model: type[Model]) -> bool:
    return any(router.db_for_read(model) != router.db_for_write(model) for _ in range(READS))


def _labels(models: list[type[Model]]) -> str:
    named = [model._meta.label for model in models]
    return ", ".join(named[:3]) + (f" and {len(named) - 3} more" if len(named) > 3 else "")


def check_user_model(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Name what of ours a user model cannot do."""
    users = get_user_model()
    found: list[CheckMessage] = []
    if not callable(getattr(users, "has_perm", None)):
        message = f"{users._meta.label} has no permissions: no user of the site may issue a pass."
        found.append(CheckWarning(message, hint="Add django.contrib.auth.models.PermissionsMixin to it.", id=W032))
    if groups_of_users() is None:
        message = f"{users._meta.label} has no groups of django.contrib.auth: the policy cannot target groups."
        hint = "Include and exclude users, or silence the check."
        found.append(CheckWarning(message, hint=hint, id=W033))
    parents = [parent._meta.label for parent in users._meta.get_parent_list() if not parent._meta.proxy]
    if parents:
        message = f"Users that are saved by {', '.join(parents)} are not seen: {users._meta.label} is a child of it."
        hint = f"Change activity, passwords and rights of users by {users._meta.label}."
        found.append(CheckWarning(message, hint=hint, id=W034))
    return found


def check_databases(app_configs: Any, databases: Any = None, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for alias in databases or []:
        connection = connections[alias]
        if not _is_tried(connection):
            found.append(Error(f"{connection.display_name} ({alias}) has not been tried.", id=E014))
    return found


def _is_tried(connection: BaseDatabaseWrapper) -> bool:
    return connection.vendor in {"sqlite", "postgresql"} or bool(getattr(connection, "mysql_is_mariadb", False))


def check_user_table(app_configs: Any, databases: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Check the site's user table for what signing in asks of it; silent where a hook answers, and before `migrate`."""
    try:
        users: Any = get_user_model()
        users._meta.get_field(settings.upn_field)
        hooks = import_string(settings.hooks)
    except (FieldDoesNotExist, ImportError, TypeError):
        return []  # which have ids of their own
    if (
        where() not in (databases or [])
        or not _is_tried(connections[where()])
        or hooks.find_user is not Hooks.find_user
    ):
        return []
    try:
        return [*_upn_index(users), *_unusable_upns(users)]
    except DatabaseError:
        return []  # the table does not exist yet


def _upn_index(users: Any) -> Iterator[CheckMessage]:
    if has_upn_index(users, settings.upn_field):
        return
    name, table = settings.upn_field, users._meta.db_table
    column = users._meta.get_field(name).column
    index = f"{table}_{column}_lower"
    constraint = f'models.UniqueConstraint(Lower("{name}"), name="{index}")'
    sql = f'CREATE UNIQUE INDEX "{index}" ON "{table}" (LOWER("{column}"))'
    hint = (
        f"Add {constraint} to the constraints of {users._meta.label}. If the model is not the site's own, add "
        f"migrations.RunSQL('{sql}', 'DROP INDEX \"{index}\"') to a migration of an app of the site's."
    )
    if connections[where()].vendor == "mysql":
        hint = f"Add an index on {name}: db_index=True, or unique=True."
    yield CheckWarning(f"Every sign-in reads the whole table {table}: it has no index for the UPN.", hint=hint, id=W030)


def _unusable_upns(users: Any) -> Iterator[CheckMessage]:
    name, rows = settings.upn_field, users._base_manager.using(where()).order_by()
    without = rows.filter(Q(**{name: None}) | Q(**{name: ""})).count()
    if without:
        message = f"Users without a user principal name ({name}): {without}. No pass can be issued for them."
        yield CheckWarning(message, hint="Fill the field, or set UPN_FIELD to another one.", id=W031)
    shared = rows.exclude(Q(**{name: None}) | Q(**{name: ""})).values(spelling=Lower(name))
    several = shared.annotate(users=Count("pk")).filter(users__gt=1).count()
    if several:
        message = f"User principal names ({name}) that several users have, in other letters perhaps: {several}."
        hint = "No pass can be issued for these users. Change all but one of each."
        yield CheckWarning(message, hint=hint, id=W031)
