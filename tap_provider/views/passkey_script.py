"""What django-otp-webauthn's own script is told by a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.middleware.csrf import get_token
from django.urls import reverse

from ..methods.registry import find_kind

if TYPE_CHECKING:
    from django.http import HttpRequest


def passkey_configuration(request: HttpRequest, *, of_same_user: bool = False) -> dict[str, Any] | None:
    """Return what the library's script reads, with our addresses in place of the library's; None without passkeys.

    `of_same_user`: on a page that confirms who somebody is, only passkeys of theirs are asked for.
    """
    if find_kind("passkey") is None:
        return None
    begin = reverse("tap_provider:passkey_authentication_begin")
    return {
        "autocompleteLoginFieldSelector": "#id_upn",
        "nextFieldSelector": "input[name='next']",
        "csrfToken": get_token(request),
        "beginAuthenticationUrl": begin + ("?same" if of_same_user else ""),
        "completeAuthenticationUrl": reverse("tap_provider:passkey_authentication_complete"),
        "beginRegistrationUrl": reverse("tap_provider:passkey_registration_begin"),
        "completeRegistrationUrl": reverse("tap_provider:passkey_registration_complete"),
    }
