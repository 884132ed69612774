"""Logout tokens (OpenID Connect Back-Channel Logout 1.0 §2.4): signed as this client's ID tokens are."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from django.core.exceptions import ImproperlyConfigured
from jwcrypto.common import JWException
from jwcrypto.jwt import JWT
from oauth2_provider.settings import oauth2_settings

from .hints import RS256

if TYPE_CHECKING:
    from datetime import datetime

    from .models import LogoutDelivery

EVENT = "http://schemas.openid.net/event/backchannel-logout"
TYPE = "logout+jwt"
LIFETIME = timedelta(minutes=2)  # §4: preferably at most two minutes in the future


class CannotSign(Exception):
    """The provider or the application lacks what a logout token needs; the text says what."""


def logout_token(delivery: LogoutDelivery, *, application: Any, now: datetime) -> str:
    """Return a new logout token, with a `jti` of its own; raises CannotSign.

    It never has a nonce, so that it cannot be taken for an ID token (§2.4).
    """
    issuer = oauth2_settings.OIDC_ISS_ENDPOINT
    if not issuer:  # where it is told by the request's host, nobody knows it without a request
        raise CannotSign("OIDC_ISS_ENDPOINT is not set")
    issued_at = int(now.timestamp())
    claims = {
        "iss": issuer,
        "aud": delivery.client_id,
        "iat": issued_at,
        "exp": issued_at + int(LIFETIME.total_seconds()),
        "jti": str(uuid4()),
        "events": {EVENT: {}},
    }
    if delivery.subject:
        claims["sub"] = delivery.subject
    if delivery.names_sign_in or not delivery.subject:  # §2.4: one of them at least
        claims["sid"] = str(delivery.sign_in_id)
    try:
        return _signed(claims, application)
    except (ImproperlyConfigured, JWException) as error:
        raise CannotSign(str(error)) from error


def _signed(claims: dict[str, Any], application: Any) -> str:
    key = application.jwk_key
    header = {"typ": TYPE, "alg": application.algorithm}
    if application.algorithm == RS256:
        header["kid"] = key.thumbprint()
    token = JWT(header=json.dumps(header), claims=json.dumps(claims))
    token.make_signed_token(key)
    signed: str = token.serialize()
    return signed
