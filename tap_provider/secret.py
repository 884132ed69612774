"""What a person types to prove who they are, or is shown once: it travels wrapped, and is opened in one place.

A report of an error shows the variables of every function on the way, a trace the context of every template, a log
whatever was formatted into it. All of them use `repr`, `str` or a serialiser; none of these opens a `Secret`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from django.utils.crypto import constant_time_compare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.http import HttpRequest, QueryDict

MASK = "**********"


class Secret:
    """A text that only `reveal()` shows: not `repr`, `str` or formatting, and neither `pickle` nor `json` takes it.

    Two are compared in constant time; a secret never equals a plain text. It is true unless the text is empty.
    """

    __slots__ = ("_opened",)

    def __init__(self, text: str) -> None:
        self._opened: Callable[[], str] = lambda: text  # not an attribute, which a tool that walks objects would read

    @classmethod
    def of(cls, text: str | Secret) -> Secret:
        """Return the text wrapped, whether it was before or not: verbs call it on what they were given, at once."""
        return text if isinstance(text, Secret) else cls(text)

    def reveal(self) -> str:
        """Return the text. Call it where the text is hashed or rendered, and keep no variable of what it returns."""
        return self._opened()

    def __repr__(self) -> str:
        return MASK

    def __format__(self, format_spec: str) -> str:
        return MASK

    def __bool__(self) -> bool:
        return bool(self._opened())

    def __eq__(self, other: object) -> bool:
        return constant_time_compare(self._opened(), other._opened()) if isinstance(other, Secret) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # a hash would tell two apart, and could be searched for

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("A Secret is not stored. Store a hash of it.")


class Posted:
    """The fields of a posted form, as forms and kinds of method read them: a `QueryDict` that no report shows.

    It is no mapping to reporters, which would go through it.
    """

    __slots__ = ("_opened",)

    def __init__(self, fields: QueryDict) -> None:
        self._opened: Callable[[], QueryDict] = lambda: fields

    def __repr__(self) -> str:
        return f"<Posted: {MASK}>"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._opened(), name)

    def __getitem__(self, name: str) -> Any:
        return self._opened()[name]

    def __contains__(self, name: object) -> bool:
        return name in self._opened()

    def __iter__(self) -> Iterator[str]:
        return iter(self._opened())

    def __len__(self) -> int:
        return len(self._opened())

    def __reduce__(self) -> NoReturn:
        raise TypeError("What was posted is not stored.")


def posted(request: HttpRequest) -> Any:
    """Return what was posted as `Posted`, for a form; None where this is no POST or nothing was."""
    return Posted(request.POST) if request.method == "POST" and request.POST else None
