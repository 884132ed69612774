"""Whom tokens name: one `sub` a user, wherever it is told (OpenID Connect Core §2)."""

from __future__ import annotations

from typing import Any

from oauth2_provider.settings import oauth2_settings
from oauthlib.common import Request


def subject_of(user: Any) -> str:
    """Return the user's `sub` as the site's validator tells it in ID tokens; by default the primary key, as text."""
    request = Request("")
    request.user = user
    claims = oauth2_settings.OAUTH2_VALIDATOR_CLASS().get_claim_dict(request)
    told = claims["sub"]
    return str(told(request) if callable(told) else told)
