"""A user's own methods, of all kinds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..exceptions import MethodNotFound
from .registry import all_kinds, find_kind

if TYPE_CHECKING:
    from .kinds import Method, MethodKind


@dataclass(frozen=True)
class OwnMethod:
    """A method of a user, with its kind."""

    kind: MethodKind
    method: Method

    @property
    def key(self) -> tuple[str, str]:
        return self.kind.slug, self.method.id


def own_methods(user: Any) -> list[OwnMethod]:
    """Return every method of this user, of all kinds."""
    return [OwnMethod(kind, method) for kind in all_kinds() for method in kind.methods(user)]


def own_method(user: Any, kind_slug: str, method_id: str) -> OwnMethod:
    """Return this method of this user. Raises MethodNotFound: of anybody else's nobody is told that it exists."""
    kind = find_kind(kind_slug)
    for method in [] if kind is None else kind.methods(user):
        if kind is not None and method.id == method_id:
            return OwnMethod(kind, method)
    raise MethodNotFound
