"""What is said during a ceremony, in our words and languages: the library's own are few, and speak of servers.

Whoever reads them has just been told by their browser that it did not work.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from django.http import HttpResponse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

if TYPE_CHECKING:
    from django.http import HttpRequest

_TRY_AGAIN = _("That did not work. Try again, or use another method.")
_CANCELLED = _("Cancelled, or there is no passkey for this site here. Try again, or use another method.")
_NOT_POSSIBLE = _("Cancelled, or not possible on this device. Nothing was added. Try again.")
_NOT_ADDED = _("The passkey was not added. Try again, or add another method.")

SAID = {
    "An error occurred during verification.": _TRY_AGAIN,
    "Finishing verification...": _("Signing in …"),
    "Verification aborted.": _CANCELLED,
    "Verification canceled or not allowed.": _CANCELLED,
    "Verification failed. A server error occurred.": _TRY_AGAIN,
    "Verification failed. An unknown error occurred.": _TRY_AGAIN,
    "Verification failed. An unknown server error occurred.": _TRY_AGAIN,
    "Verification failed. Could not retrieve parameters from the server.": _TRY_AGAIN,
    "Verification successful!": _("Signed in."),
    "Verify with Passkey": _("Use a passkey"),
    "Verifying...": _("Waiting for your passkey …"),
    "An error occurred during registration.": _NOT_ADDED,
    "Finishing registration...": _("Adding the passkey …"),
    "Register a Passkey": _("Add a passkey"),
    "Registering...": _("Waiting for your device …"),
    "Registration aborted or not allowed.": _NOT_POSSIBLE,
    "Registration aborted.": _("Cancelled. Nothing was added."),
    "Registration failed. A server error occurred.": _NOT_ADDED,
    "Registration failed. A technical problem occurred that prevents you from registering a Passkey for this site.": _(
        "This site's address does not allow passkeys. Tell your administrator, and add another method."
    ),
    "Registration failed. An unknown error occurred.": _NOT_ADDED,
    "Registration failed. The server was unable to verify this passkey.": _NOT_ADDED,
    "Registration failed. Unable to fetch registration options from server.": _NOT_ADDED,
    "Registration failed. You most likely already have a Passkey registered for this site.": _(
        "This device has a passkey for this site already. It is in the list."
    ),
    "Registration successful!": _("Added."),
}
"""By the library's script's own texts."""

TOLD = {
    "credential_disabled": _("That passkey is not in use any more. Sign in another way."),
    "credential_not_found": _("That passkey is not registered here any more. Sign in another way."),
    "credential_user_mismatch": _("That passkey is somebody else's. Use one of yours."),
    "invalid_state": _("That took too long, or was sent before. Try again."),
    "malformed_request": _("The answer could not be read."),
    "not_authenticated": _("Your session has ended. Sign in again."),
    "unprocessable_request": _("The passkey could not be verified. Try again, or use another method."),
    "user_disabled": _("This account is switched off. Ask your administrator."),
}
"""By the codes of the library's refusals."""


@require_safe
def passkey_texts(request: HttpRequest) -> HttpResponse:
    """The texts of the library's script, by the one function that it asks for them."""
    texts = json.dumps({theirs: str(ours) for theirs, ours in SAID.items()})
    script = f"const passkeyTexts = {texts};\nglobalThis.gettext = (text) => passkeyTexts[text] ?? text;\n"
    return HttpResponse(script, content_type="text/javascript; charset=utf-8")
