"""Queries that every request asks: the ORM composes them once, and only their parameter changes (decision 0006).

What they find is never kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django.db import connections
from django.db.models import Model, Value

from .databases import where

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django.db.models import Field, QuerySet

__all__ = ["ComposedQuery", "Parameter"]

ModelT = TypeVar("ModelT", bound=Model)


class Parameter(Value):
    """Stands for the value that is known when the query is sent. It may occur several times."""

    def __init__(self) -> None:
        super().__init__(0)

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:  # type: ignore[override]
        return "%s", [_THE_PARAMETER]


_THE_PARAMETER = object()


class ComposedQuery(Generic[ModelT]):
    """What `compose` makes of all rows of a model, composed once per process and database.

    `compose` must select whole rows of the model, to which it may add annotations; what these are is not converted.
    """

    def __init__(self, model: type[ModelT], compose: Callable[[QuerySet[ModelT]], QuerySet[ModelT]]) -> None:
        self.model = model
        self.compose = compose
        self.composed: dict[str, tuple[str, Sequence[Any]]] = {}

    def first(self, value: Any, *, field: Field[Any, Any]) -> ModelT | None:
        """Return the first row for this value of the parameter, which is a value of this field. One query."""
        using = where()
        rows = self.model._default_manager.using(using)
        if using not in self.composed:
            self.composed[using] = self.compose(rows.all()).query.get_compiler(using).as_sql()
        sql, parameters = self.composed[using]
        told = field.get_db_prep_value(value, connections[using])
        filled = [told if parameter is _THE_PARAMETER else parameter for parameter in parameters]
        return next(iter(rows.raw(sql, filled)), None)
