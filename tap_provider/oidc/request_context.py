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
BY_CODE = "tap_exchanges_code"


@dataclass
class AuthorizationMoment:
    """The Django request that an authorization request came in, and the sign-in behind its session."""

    request: HttpRequest
    sign_in: SignIn | None
    is_granted: bool = False  # every check of `authorization_checks` has passed
    returned: str = ""  # which return it uses up


current_moment: ContextVar[AuthorizationMoment | None] = ContextVar("tap_authorization_moment", default=None)


def put(oauth_request: Any, sign_in: SignIn | None) -> None:
    """Let this oauthlib request carry this sign-in; None shadows whatever the client sent under that name."""
    oauth_request.__dict__[ATTRIBUTE] = sign_in


def put_by_code(oauth_request: Any, sign_in: SignIn | None) -> None:
    """The same, for a request that exchanges a code; `grant_type` would be what the client says of itself."""
    put(oauth_request, sign_in)
    oauth_request.__dict__[BY_CODE] = True


def exchanges_code(oauth_request: Any) -> bool:
    """Tell whether this request has presented a valid authorization code."""
    return oauth_request.__dict__.get(BY_CODE) is True


def take(oauth_request: Any) -> SignIn | None:
    """Return the sign-in that we have put there; what a client sends is never one."""
    carried = oauth_request.__dict__.get(ATTRIBUTE)
    return carried if isinstance(carried, SignIn) else None
