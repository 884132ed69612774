"""How the authorization request's session reaches the toolkit's validator, which sees neither user nor session.

The sign-in travels in two ways, and never as an attribute looked up with `getattr`: oauthlib's request answers
`getattr` from what the client sent, so `?tap_sign_in=…` would be believed.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..models import SignIn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpRequest

ATTRIBUTE = "tap_sign_in"
CODE_DIGEST = "tap_code_digest"
GRANT = "tap_grant"
EXCHANGED = "tap_exchanged"
DEVICE = "tap_device"
STAMP = "tap_password_stamp"
JUDGED_LATER = "tap_judged_later"


@dataclass
class AuthorizationMoment:
    """The Django request that an authorization request came in, and the sign-in behind its session."""

    request: HttpRequest
    sign_in: SignIn | None
    is_granted: bool = False  # every check of `authorization_checks` has passed
    returned: str = ""  # which return it uses up
    client: Any | None = None  # the toolkit's application, once the request is granted


current_moment: ContextVar[AuthorizationMoment | None] = ContextVar("tap_authorization_moment", default=None)


def put(oauth_request: Any, sign_in: SignIn | None, *, code_digest: str = "") -> None:
    """Let this oauthlib request carry this sign-in, and the code that it goes back to.

    None shadows whatever the client sent under that name.
    """
    oauth_request.__dict__[ATTRIBUTE] = sign_in
    oauth_request.__dict__[CODE_DIGEST] = code_digest


def take(oauth_request: Any) -> SignIn | None:
    """Return the sign-in that we have put there; what a client sends is never one."""
    carried = oauth_request.__dict__.get(ATTRIBUTE)
    return carried if isinstance(carried, SignIn) else None


def code_digest_of(oauth_request: Any) -> str:
    """Return the digest of the code that this request goes back to; empty where none is known."""
    digest: str = oauth_request.__dict__.get(CODE_DIGEST, "")
    return digest


def put_grant(oauth_request: Any, grant: Any) -> None:
    """Keep the toolkit's grant, which it would look up again for each thing that it wants to know of a code."""
    oauth_request.__dict__[GRANT] = grant


def take_grant(oauth_request: Any, code: Any) -> Any | None:
    """Return the grant of this very code, if it is kept here."""
    grant = oauth_request.__dict__.get(GRANT)
    return grant if grant is not None and grant.code == code else None


def put_exchanged(oauth_request: Any, grant: Any) -> None:
    """Note that this request has presented this valid grant; `grant_type` would be what the client says of itself."""
    oauth_request.__dict__[EXCHANGED] = grant


def exchanged(oauth_request: Any) -> Any | None:
    """Return the grant that this request has presented as a valid authorization code."""
    return oauth_request.__dict__.get(EXCHANGED)


def put_device(oauth_request: Any, device: Any) -> None:
    """Note that this request has presented the code of this approved device."""
    oauth_request.__dict__[DEVICE] = device


def device(oauth_request: Any) -> Any | None:
    """Return the approved device whose code this request has presented."""
    return oauth_request.__dict__.get(DEVICE)


def put_password(oauth_request: Any, stamp: str | None) -> None:
    """Let this request carry the stamp of the password that it, or the grant it goes back to, has presented."""
    oauth_request.__dict__[STAMP] = stamp


def password_presented(oauth_request: Any) -> str | None:
    """Return the stamp that we have put there; what a client sends by that name is not there."""
    stamp: str | None = oauth_request.__dict__.get(STAMP)
    return stamp


def judge_later(oauth_request: Any) -> None:
    """Note that whoever asks about a token refuses by itself what a pass does not open (`resource_server`)."""
    oauth_request.__dict__[JUDGED_LATER] = True


def is_judged_later(oauth_request: Any) -> bool:
    """Tell whether the asker judges what a pass opens; what a client sends by that name is not there."""
    return oauth_request.__dict__.get(JUDGED_LATER) is True


_signed_just_now: ContextVar[tuple[str, Any] | None] = ContextVar("tap_signed_just_now", default=None)


@contextmanager
def signed_just_now(id_token: str | None, oauth_request: Any) -> Iterator[None]:
    """While its response's tokens are stored, know the record of the ID token that this request has brought."""
    record = oauth_request.__dict__.get("id_token")  # what a client sends by that name is not there
    kept = _signed_just_now.set(None if id_token is None else (id_token, record))
    try:
        yield
    finally:
        _signed_just_now.reset(kept)


def id_token_signed_just_now(id_token: str) -> Any | None:
    """Return the record of this very ID token, if it is the one whose response is being stored."""
    known = _signed_just_now.get()
    return known[1] if known is not None and known[0] == id_token else None
