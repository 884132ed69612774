"""When a sign-in was last seen, and until when its session lasts if it is not used again: noted every few minutes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ..models import SEEN_EVERY, SignIn

if TYPE_CHECKING:
    from django.http import HttpRequest


def expiry_of(session: Any, *, now: datetime) -> datetime:
    """Return when this session runs out by age, were it saved now: never sooner than it really does."""
    return now + timedelta(seconds=session.get_expiry_age())


def note_seen(request: HttpRequest, sign_in: SignIn, *, now: datetime) -> None:
    """Note that somebody is here with this sign-in. One statement, every five minutes at most."""
    if sign_in.last_seen_at is not None and now - sign_in.last_seen_at < SEEN_EVERY:
        return
    sign_in.last_seen_at = now
    if not sign_in.is_registration_only:
        sign_in.session_expires_at = expiry_of(request.session, now=now)
    changes = {"last_seen_at": now, "session_expires_at": sign_in.session_expires_at}
    SignIn.objects.filter(pk=sign_in.pk).update(**changes)
