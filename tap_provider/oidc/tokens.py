"""What a code brings at the token endpoint: once, until when, and whether with a refresh token."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from oauth2_provider.models import get_access_token_model, get_grant_model, get_id_token_model
from oauth2_provider.settings import oauth2_settings
from oauthlib.oauth2.rfc6749.errors import InvalidGrantError

from ..conf import settings
from .contexts import digest_of

if TYPE_CHECKING:
    from ..models import SignIn

SECOND = timedelta(seconds=1)


class CodeSpent(InvalidGrantError):
    """Another exchange of the same code has been faster."""


def end_of(sign_in: SignIn) -> datetime | None:
    """Return when tokens of this sign-in end at the latest: its deadline, in whole seconds as tokens tell it."""
    return None if sign_in.deadline is None else sign_in.deadline.replace(microsecond=0)


def lasts(sign_in: SignIn, *, now: datetime) -> bool:
    """Tell whether a second is left for which a token could be issued."""
    end = end_of(sign_in)
    return end is None or end - now >= SECOND


def cut_short(token: dict[str, Any], sign_in: SignIn, *, now: datetime) -> datetime | None:
    """Let a token response end with its sign-in; return that end where the site's own lifetime reaches it."""
    end = end_of(sign_in)
    if end is None:
        return None
    seconds_left = (end - now) // SECOND
    if token["expires_in"] < seconds_left:
        return None
    token["expires_in"] = seconds_left
    return end


def end_access_token(access_token: str, *, end: datetime) -> None:
    """Let the stored token end when the response says: the toolkit counts from a moment later."""
    get_access_token_model().objects.filter(token_checksum=digest_of(access_token)).update(expires=end)


def brings_refresh_token(scopes: Any) -> bool:
    """Tell whether a code with these scopes brings a refresh token (OpenID Connect Core §11).

    Requests that are not OpenID's keep the toolkit's behaviour, and so do sites that do not offer `offline_access`:
    their clients could not ask for it.
    """
    if settings.refresh_tokens == "always" or "openid" not in scopes:
        return True
    return "offline_access" in scopes or "offline_access" not in oauth2_settings.SCOPES


def spend(grant: Any, request: Any) -> None:
    """Delete the grant within the transaction that stores its tokens: of several exchanges at once one succeeds.

    The toolkit deletes it afterwards, when each of them has stored tokens.
    """
    spent, _ = get_grant_model().objects.filter(pk=grant.pk).delete()
    if not spent:
        raise CodeSpent(request=request)


def forget_id_token(request: Any) -> None:
    """Delete the record of an ID token that was signed, stored by itself, and is not going to be sent."""
    id_token = request.__dict__.get("id_token")
    if isinstance(id_token, get_id_token_model()):
        id_token.delete()
