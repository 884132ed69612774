"""What `manage.py tap sweep` deletes after the time that the site has set: ended sign-ins, and audit events.

What decides anything stays: by which sign-in a method was registered, which a loss of that method follows, and events
that are asked for before a session from before the installation is adopted. So does the record of registered methods
(NIST SP 800-63B-4 §4.1).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings as django_settings
from django.db.models import Exists, OuterRef, Q

from .conf import settings
from .databases import delete_in_parts
from .models import AuditEvent, RegisteredMethod, SignIn

KEPT_EVENTS = (
    AuditEvent.Kind.METHOD_LOST,
    AuditEvent.Kind.METHOD_REGISTERED,
    AuditEvent.Kind.SIGNED_OUT_EVERYWHERE,
    AuditEvent.Kind.USER_DEACTIVATED,
)


def sweep_sign_ins(*, now: datetime) -> int:
    """Delete sign-ins that ended longer ago than `TAP_PROVIDER_RETENTION_DAYS` says; return how many.

    Those by which a method was registered stay, without address and user agent.
    """
    before = _before("sign_ins", now=now)
    if before is None:
        return 0
    # Not while a session that could not be deleted at the end may still be there (`delete_left_sessions`).
    before = min(before, now - timedelta(seconds=django_settings.SESSION_COOKIE_AGE))
    old = SignIn.objects.filter(ended_at__lt=before)
    registered = Exists(RegisteredMethod.objects.filter(sign_in_id=OuterRef("pk")))
    deleted = delete_in_parts(old.filter(~registered))
    telling = old.filter(registered).filter(Q(address__isnull=False) | ~Q(user_agent=""))
    return deleted + telling.update(address=None, user_agent="")


def sweep_audit_events(*, now: datetime) -> int:
    """Delete audit events that are older than `TAP_PROVIDER_RETENTION_DAYS` says; return how many."""
    before = _before("audit_events", now=now)
    if before is None:
        return 0
    return delete_in_parts(AuditEvent.objects.filter(at__lt=before).exclude(kind__in=KEPT_EVENTS))


def _before(rows: str, *, now: datetime) -> datetime | None:
    days = settings.retention_days[rows]
    return None if days is None else now - timedelta(days=days)
