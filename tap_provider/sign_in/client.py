"""Where a request came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..hooks import get_hooks

if TYPE_CHECKING:
    from django.http import HttpRequest


@dataclass(frozen=True)
class Client:
    """Where a request came from, as far as the record wants to know."""

    address: str | None = None
    user_agent: str = ""

    @classmethod
    def of(cls, request: HttpRequest) -> Client:
        agent = request.META.get("HTTP_USER_AGENT", "").replace("\x00", "")
        return cls(address=get_hooks().client_address(request), user_agent=agent[:256])
