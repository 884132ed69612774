"""A device's code (RFC 8628): one sign-in approves it, its own client polls for it at its pace, and it is good once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from django.conf import settings as django_settings
from django.db.models import F
from django.urls import NoReverseMatch, reverse
from oauth2_provider.models import get_device_grant_model
from oauth2_provider.settings import oauth2_settings
from oauthlib.oauth2.rfc8628.errors import AccessDenied, AuthorizationPendingError, ExpiredTokenError, SlowDownError
from oauthlib.openid.connect.core.grant_types import AuthorizationCodeGrant

from ..addresses import absolute_url
from ..databases import atomic
from ..sign_in import find_sign_in, hold_sign_in
from .contexts import is_live, remember_code
from .tokens import CodeSpent

if TYPE_CHECKING:
    from django.http import HttpRequest

    from ..models import SignIn

DEVICE_CODE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"

SPENT = "spent"
"""The status of a code that has brought its tokens; the toolkit has none for it."""

INTERVAL = 5
"""How many seconds a client waits between polls that was told none (RFC 8628 §3.2)."""

SLOWER = 5
"""How many seconds each poll that came too soon adds to the interval (RFC 8628 §3.5)."""

LENIENCE = timedelta(seconds=1)
"""How much too soon a poll may come: a network may be faster than it was the time before."""


def verification_uri(request: HttpRequest) -> str | None:
    """Return where the user types the user code (RFC 8628 §3.2); None on a site without such a page.

    And None where `USE_TZ` is off: the toolkit compares the end of a device's code with a moment that knows its zone.
    """
    if not django_settings.USE_TZ:
        return None
    told: str | None = oauth2_settings.server_kwargs.get("verification_uri")
    return told or own_verification_uri(request)


def own_verification_uri(request: HttpRequest) -> str | None:
    """Return the address of our page for user codes; None where it is not mounted."""
    try:
        page = reverse("oauth2_provider:device")
    except NoReverseMatch:
        return None
    issuer = oauth2_settings.OIDC_ISS_ENDPOINT
    return urljoin(issuer, page) if issuer else absolute_url(page, request=request)


def set_pace(device_code: str, *, interval: int, now: datetime) -> None:
    """Store the interval that the client was told, in seconds; its first poll may come at once."""
    last_checked = now - timedelta(seconds=interval)
    get_device_grant_model().objects.filter(device_code=device_code).update(
        interval=interval, last_checked=last_checked
    )


def approve(device: Any, sign_in: SignIn, *, now: datetime) -> bool:
    """Let this full sign-in stand behind what the device gets; False if either of them is over.

    The sign-in is locked first, as wherever it ends: then neither waits for the other.
    """
    devices = get_device_grant_model()
    with atomic():
        held = find_sign_in(sign_in.pk) if hold_sign_in(sign_in) else None
        if held is None or held.is_registration_only or not is_live(held, now=now):
            return False
        waiting = devices.objects.filter(pk=device.pk, user=held.user_id, status=devices.AUTHORIZATION_PENDING)
        if not waiting.update(status=devices.AUTHORIZED):
            return False
        # Without it, what the device gets would outlive the sign-in.
        remember_code(device.device_code, held, client_id=device.client_id, now=now)
    return True


def find_device(device_code: str) -> Any | None:
    """Return the device that waits with this very code; some databases find it by another case as well."""
    device = get_device_grant_model().objects.filter(device_code=device_code).first()
    return device if device is not None and device.device_code == device_code else None


def refuse_unless_approved(device: Any, *, now: datetime) -> None:
    """Raise the error that its own client's poll is answered with, unless the user has approved (RFC 8628 §3.5)."""
    if device.status == device.DENIED:
        raise AccessDenied
    if device.status == device.EXPIRED or now >= device.expires:
        raise ExpiredTokenError
    if device.status == device.AUTHORIZED:
        return
    waiting = get_device_grant_model().objects.filter(pk=device.pk, status=device.AUTHORIZATION_PENDING)
    due = now - timedelta(seconds=device.interval) + LENIENCE
    if waiting.filter(last_checked__lte=due).update(last_checked=now):
        raise AuthorizationPendingError
    waiting.update(last_checked=now, interval=F("interval") + SLOWER)
    raise SlowDownError


def spend_device(device: Any, request: Any) -> None:
    """Spend the code within the transaction that stores its tokens: of several polls at once one succeeds.

    Raises CodeSpent. The row stays, for the user's page to say that the device was approved.
    """
    approved = get_device_grant_model().objects.filter(pk=device.pk, status=device.AUTHORIZED)
    if not approved.update(status=SPENT):
        raise CodeSpent(request=request)


def add_id_token(token: dict[str, Any], validator: Any, request: Any) -> None:
    """Add the ID token that `openid` asks for, which oauthlib adds to codes alone (OpenID Connect Core §3.1.3.3)."""
    is_asked_for = "openid" in request.scopes and oauth2_settings.OIDC_ENABLED
    if not is_asked_for or not request.client.algorithm or "id_token" in token:
        return
    # There was no authorization request with a nonce or a response type: what the client sends by these names is none.
    request.nonce = request.response_type = None
    AuthorizationCodeGrant(validator).add_id_token(token, None, request)
