"""What the user has done on the way: signed into the address to which they return, for this request alone.

A request that wants a newer sign-in sends the user away with "authenticated after T" in the address; on return the
sign-in must really be newer, whatever page was visited in between. It is used once: the code that it brought keeps its
id (`CodeContext.returned`), and it is void from then on.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.core import signing

from ..moments import from_timestamp
from .authorization_request import RETURNED
from .models import CodeContext

if TYPE_CHECKING:
    from ..models import SignIn
    from .authorization_request import AuthorizationRequest

LASTS = timedelta(minutes=15)
_SALT = "tap_provider.oidc.authorization_return"


@dataclass(frozen=True)
class Returned:
    """What was signed; by default nothing."""

    id: str = ""
    after: datetime | None = None
    declined: bool = False
    chosen: str = ""

    def is_newer(self, sign_in: SignIn | None) -> bool:
        """Tell whether the user has signed in since they were sent away for it, and by something that proves them."""
        return (
            self.after is not None
            and sign_in is not None
            and sign_in.authenticated_at is not None
            and sign_in.signed_in_at is not None
            and sign_in.signed_in_at > self.after
        )

    def is_too_old(self, sign_in: SignIn | None) -> bool:
        """Tell whether the user was sent away for a newer sign-in and came back without one."""
        return self.after is not None and not self.is_newer(sign_in)

    def sent_away(self, *, now: datetime) -> Returned:
        return replace(self, id=secrets.token_hex(16), after=now)

    def having_declined(self) -> Returned:
        return replace(self, id=self.id or secrets.token_hex(16), declined=True)

    def having_chosen(self, sign_in: SignIn) -> Returned:
        return replace(self, id=self.id or secrets.token_hex(16), chosen=str(sign_in.pk))

    def sign(self, request: AuthorizationRequest) -> str:
        """Return it as a parameter that holds for this request only."""
        after = None if self.after is None else self.after.timestamp()
        told = [self.id, request.fingerprint, after, self.declined, self.chosen]
        return signing.dumps(told, salt=_SALT, compress=True)


def read_returned(request: AuthorizationRequest) -> Returned:
    """Return what was signed for this request; nothing if it was for another, too long ago, forged, or used."""
    text = request.text(RETURNED)
    if not text:
        return Returned()
    try:
        id_, fingerprint, after, declined, chosen = signing.loads(text, salt=_SALT, max_age=LASTS)
    except (signing.BadSignature, ValueError, TypeError):
        return Returned()
    if fingerprint != request.fingerprint or CodeContext.objects.filter(returned=id_).exists():
        return Returned()
    told = None if after is None else from_timestamp(after)
    return Returned(id=id_, after=told, declined=declined, chosen=chosen)
