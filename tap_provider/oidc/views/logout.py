"""RP-initiated logout (OpenID Connect RP-Initiated Logout 1.0)."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from oauth2_provider.views import RPInitiatedLogoutView as ToolkitRPInitiatedLogoutView

from ... import registration_session


class RPInitiatedLogoutView(ToolkitRPInitiatedLogoutView):
    """Asks before it ends a registration-only session, whose holder is anonymous to the toolkit."""

    def must_prompt(self, token_user: Any) -> bool:
        held = registration_session.current(self.request, now=timezone.now())
        return held is not None or bool(super().must_prompt(token_user))
