"""Routers as sites write them."""

from __future__ import annotations

from itertools import cycle
from typing import Any


class PeopleRouter:
    """Everything lies in the database `people`; the default one has no tables."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "people"

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == "people"


class ReplicaRouter:
    """Everything is read from a replica."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "replica"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"


class SometimesReplicaRouter:
    """Every other read goes to a replica."""

    def __init__(self) -> None:
        self.turns = cycle(["default", "replica"])

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return next(self.turns)

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"


class UsersApartRouter:
    """Users lie in a database of their own, and what refers to them does not."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "people" if model._meta.label == "accounts.User" else "default"

    db_for_write = db_for_read


class SessionsApartRouter:
    """Sessions lie in a database of their own."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "sessions" if model._meta.app_label == "sessions" else "default"

    db_for_write = db_for_read


class ReadingRouter:
    """Everything is read from a replica; where it is written is not said."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "replica"
