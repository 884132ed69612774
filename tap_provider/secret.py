"""What a person types to prove who they are, or is shown once: it travels wrapped, and is opened in one place.

A report of an error shows the variables of every function on the way, a trace the context of every template, a log
whatever was formatted into it. All of them use `repr`, `str` or a serialiser; none of these opens a `Secret`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from django.utils.crypto import constant_time_compare

if TYPE_CHECKING:
    from collections.abc import Callable

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
