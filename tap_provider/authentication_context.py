"""Step 6. The authentication context: (acr, amr, auth_time, sid) of *this* session, as one frozen object.

Read from the sign-in record and nowhere else: `user.last_login` belongs to the user, not to the session, and what a
request says of itself is a claim of the client's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .conf import settings
from .models import Level, SignIn
from .sign_in import sign_in_of_user

if TYPE_CHECKING:
    from datetime import datetime

    from django.http import HttpRequest

__all__ = ["AuthenticationContext", "Level", "context_of", "current_context"]


@dataclass(frozen=True)
class AuthenticationContext:
    """What may be told of an authentication (OpenID Connect Core §2; amr names: RFC 8176)."""

    acr: str | None  # None: nobody knows by which methods
    amr: tuple[str, ...]
    auth_time: datetime | None  # None: the user has not authenticated for this session, as far as is known
    sid: str
    level: Level
    deadline: datetime | None
    is_registration_only: bool

    @property
    def claims(self) -> dict[str, Any]:
        """What is known, as ID tokens and introspection tell it (OpenID Connect Core §2); nothing is made up."""
        known: dict[str, Any] = {"sid": self.sid}
        if self.acr is not None:
            known["acr"] = self.acr
        if self.amr:
            known["amr"] = list(self.amr)
        if self.auth_time is not None:
            known["auth_time"] = int(self.auth_time.timestamp())
        return known

    def satisfies(self, level: Level) -> bool:
        """Tell whether it is at least that strong."""
        return self.level.rank >= level.rank


def context_of(sign_in: SignIn) -> AuthenticationContext:
    """Return the context of a sign-in."""
    level = Level(sign_in.level)
    return AuthenticationContext(
        acr=(sign_in.told_acr or settings.acr_values[level.value]) if sign_in.methods else None,
        amr=tuple(sign_in.amr),
        auth_time=sign_in.authenticated_at,
        sid=str(sign_in.pk),
        level=level,
        deadline=sign_in.deadline,
        is_registration_only=sign_in.is_registration_only,
    )


def current_context(request: HttpRequest, *, now: datetime) -> AuthenticationContext | None:
    """Return the context of whom this view sees as signed in, or None.

    None for the holder of a pass as well, wherever they are anonymous: a level is no substitute for being let in.
    """
    sign_in = sign_in_of_user(request) if hasattr(request, "user") else None
    return None if sign_in is None or sign_in.is_over(now=now) else context_of(sign_in)
