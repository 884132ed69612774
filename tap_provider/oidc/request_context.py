"""How the authorization request's session reaches the toolkit's validator, which sees neither user nor session.

The sign-in travels in two ways, and never as an attribute looked up with `getattr`: oauthlib's request answers
`getattr` from what the client sent, so `?tap_sign_in=…` would be believed.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..models import SignIn

if TYPE_CHECKING:
    from django.http import HttpRequest

ATTRIBUTE = "tap_sign_in"


@dataclass(frozen=True)
class AuthorizationMoment:
    """The Django request that an authorization request came in, and the sign-in behind its session."""

    request: HttpRequest
    sign_in: SignIn | None


current_moment: ContextVar[AuthorizationMoment | None] = ContextVar("tap_authorization_moment", default=None)


def put(oauth_request: Any, sign_in: SignIn | None) -> None:
    """Let this oauthlib request carry this sign-in; None shadows whatever the client sent under that name."""
    oauth_request.__dict__[ATTRIBUTE] = sign_in


def take(oauth_request: Any) -> SignIn | None:
    """Return the sign-in that we have put there; what a client sends is never one."""
    carried = oauth_request.__dict__.get(ATTRIBUTE)
    return carried if isinstance(carried, SignIn) else None
