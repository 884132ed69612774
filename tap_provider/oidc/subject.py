"""Whom tokens name: one `sub` a user, wherever it is told (OpenID Connect Core §2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oauth2_provider.settings import oauth2_settings
from oauthlib.common import Request

if TYPE_CHECKING:
    from collections.abc import Iterable


def subject_of(user: Any, *, client: Any | None, scopes: Iterable[str] = ("openid",)) -> str:
    """Return the user's `sub` as the site's validator tells it to this client; by default the primary key, as text.

    The site's claims may go by client and scopes, as those of ID tokens do. Raises whatever they raise.
    """
    request = Request("")
    request.user, request.client, request.scopes = user, client, list(scopes)
    claims = oauth2_settings.OAUTH2_VALIDATOR_CLASS().get_claim_dict(request)
    told = claims["sub"]
    return str(told(request) if callable(told) else told)
