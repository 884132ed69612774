"""What django-otp-webauthn's own script is told by a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.middleware.csrf import get_token
from django.urls import reverse

from ..methods.registry import find_kind

if TYPE_CHECKING:
    from django.http import HttpRequest


def passkey_configuration(request: HttpRequest) -> dict[str, Any] | None:
    """Return what the library's script reads, with our addresses in place of the library's; None without passkeys."""
    if find_kind("passkey") is None:
        return None
    return {
        "autocompleteLoginFieldSelector": "#id_upn",
        "nextFieldSelector": "input[name='next']",
        "csrfToken": get_token(request),
        "beginAuthenticationUrl": reverse("tap_provider:passkey_authentication_begin"),
        "completeAuthenticationUrl": reverse("tap_provider:passkey_authentication_complete"),
        "beginRegistrationUrl": reverse("tap_provider:passkey_registration_begin"),
        "completeRegistrationUrl": reverse("tap_provider:passkey_registration_complete"),
    }
