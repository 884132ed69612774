"""The authentication backend: `authenticate(request, upn=…, tap_secret=…)`, for sites with a page of their own.

`tap_secret` is keyword-only and so named because Django masks only credentials whose names match
`api|token|key|secret|password|signature` before it sends `user_login_failed`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth.backends import BaseBackend
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from .exceptions import RedemptionRefused
from .redeem import sign_in_with_pass

if TYPE_CHECKING:
    from django.http import HttpRequest


class TemporaryAccessPassBackend(BaseBackend):
    """Redeems a pass and opens its registration-only session. List it last in `AUTHENTICATION_BACKENDS`.

    Do not call `login()` afterwards: there is nothing to log in to. Should somebody do it all the same, `get_user`
    answers None, so that it opens nothing beyond its own request.
    """

    @sensitive_variables()
    def authenticate(self, request: HttpRequest | None, *, upn: str, tap_secret: str) -> Any | None:  # type: ignore[override]
        if request is None or not hasattr(request, "session"):
            return None  # a pass spent without a session to open would be lost
        try:
            return sign_in_with_pass(request, upn=upn, passcode=tap_secret, now=timezone.now()).user
        except RedemptionRefused:
            return None

    def get_user(self, user_id: Any) -> None:
        return None

    async def aget_user(self, user_id: Any) -> None:
        return None
