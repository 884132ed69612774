"""The origin of a token: its sign-in, or the user of a token that has none.

It is checked whenever a token is used, and held while tokens are stored: an ending comes before or after, and wins
(decision 0022). The sign-in is held first, then the refresh token that was presented. The toolkit takes its own locks
after these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oauth2_provider.models import get_access_token_model, get_refresh_token_model
from oauthlib.oauth2.rfc6749.errors import InvalidGrantError

from ..sign_in import hold_sign_in, hold_user, is_stamp_current
from . import request_context
from .contexts import is_live
from .password_tokens import is_still_granted, revoke_ungranted
from .revocation import revoke_without_sign_in

if TYPE_CHECKING:
    from datetime import datetime

    from ..models import SignIn


def is_token_live(token: str, sign_in: SignIn | None, user: Any | None, *, now: datetime) -> bool:
    """Return True if an unexpired access token of this user, with this sign-in behind it, is still good.

    One query where no sign-in is behind it, and some more for a token of the password grant. A token without a sign-in
    that is good no more is deleted, with all that ended for the same reason: it must not be good again afterwards.
    """
    if user is None:  # client credentials: no user signed in
        return True
    if sign_in is not None:
        return bool(sign_in.user_id == user.pk) and is_live(sign_in, now=now)
    # From before the installation, or by the password grant.
    if not user.is_active:
        revoke_without_sign_in(user)
        return False
    if not is_still_granted(user, token):
        revoke_ungranted(user)
        return False
    return True


def hold_origin(sign_in: SignIn | None, request: Any) -> None:
    """Keep what is behind this request's tokens from ending until the transaction ends, which stores them.

    Behind tokens without a sign-in stands their user. Raises InvalidGrantError if it has ended meanwhile.
    """
    user = request.__dict__.get("user")  # None for a machine; what a client sends by that name is not there
    if sign_in is not None:
        is_good = hold_sign_in(sign_in)
    elif user is not None:
        held = hold_user(user)
        stamp = request_context.password_presented(request) or ""
        is_good = held is not None and bool(held.is_active) and is_stamp_current(stamp, held)
    else:
        is_good = True
    if not (is_good and _hold_presented(request)):
        raise InvalidGrantError(request=request)


def _hold_presented(request: Any) -> bool:
    """Hold the refresh token that was presented; False if it was deleted or revoked since it was validated.

    One that merely has a successor by now was used by two requests at once: the toolkit answers both alike.
    """
    presented, model = request.__dict__.get("refresh_token_instance"), get_refresh_token_model()
    if not isinstance(presented, model):
        return True
    row = model.objects.select_for_update().filter(pk=presented.pk).first()
    if row is None or row.revoked is None:
        return row is not None
    return bool(get_access_token_model().objects.filter(source_refresh_token=row).exists())
