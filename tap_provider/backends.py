"""The authentication backends: Django's own that say what they proved, and one for passes.

Django's `login()` takes whatever backend is named to it, so that a name proves nothing. The backends here mark the user
that they return. A site's own backend does so by the mixin `ProvingBackend`, and a page without a backend by
`mark_proved`.

A pass is redeemed by `authenticate(request, upn=…, tap_secret=…)`, for sites with a page of their own. `handle` is what
the sign-in address carried under that name, if the holder came by it (`redeem.redeem_pass`). `tap_secret` is
keyword-only and so named because Django masks only credentials whose names match
`api|token|key|secret|password|signature` before it sends `user_login_failed`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth import backends as django_backends
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from . import registration_session
from .exceptions import RedemptionRefused
from .methods.proof import ProvingBackend, mark_proved
from .redeem import redeem_pass
from .secret import Secret
from .sign_in import Client

if TYPE_CHECKING:
    from django.http import HttpRequest


__all__ = [
    "AllowAllUsersModelBackend",
    "ModelBackend",
    "ProvingBackend",
    "TemporaryAccessPassBackend",
    "mark_proved",
]


class ModelBackend(ProvingBackend, django_backends.ModelBackend):
    """Django's own, which marks that a password was proved."""


class AllowAllUsersModelBackend(ProvingBackend, django_backends.AllowAllUsersModelBackend):
    """Django's own for sites that let inactive users in, which marks that a password was proved."""


class TemporaryAccessPassBackend(django_backends.BaseBackend):
    """Redeems a pass and opens its registration-only session. List it last in `AUTHENTICATION_BACKENDS`.

    Do not call `login()` afterwards: there is nothing to log in to. Should somebody do it all the same, `get_user`
    answers None, so that it opens nothing beyond its own request.
    """

    @sensitive_variables()
    def authenticate(  # type: ignore[override]
        self, request: HttpRequest | None, *, upn: str, tap_secret: str | Secret, handle: str = ""
    ) -> Any | None:
        tap_secret = Secret.of(tap_secret)
        if request is None or not hasattr(request, "session"):
            return None  # a pass spent without a session to open would be lost
        now = timezone.now()
        try:
            sign_in = redeem_pass(upn=upn, passcode=tap_secret, handle=handle, client=Client.of(request), now=now)
        except RedemptionRefused:
            return None  # which Django tells receivers of `user_login_failed`
        registration_session.begin(request, sign_in, now=now)
        return sign_in.user

    def get_user(self, user_id: Any) -> None:
        return None

    async def aget_user(self, user_id: Any) -> None:
        return None
