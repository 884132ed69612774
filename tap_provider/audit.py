"""The audit trail: called within the transaction that it records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .hooks import get_hooks
from .models import AuditEvent

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from uuid import UUID


def record(
    kind: AuditEvent.Kind,
    *,
    now: datetime,
    actor: Any | None = None,
    user: Any | None = None,
    pass_id: UUID | None = None,
    sign_in_id: UUID | None = None,
    address: str | None = None,
    **detail: Any,
) -> AuditEvent:
    """Append one event. `detail` must be JSON and must never hold a secret (nor what somebody typed as one)."""
    people: dict[str, Any] = {"actor": actor, "user": user}
    appended = event(kind, now=now, pass_id=pass_id, sign_in_id=sign_in_id, address=address, **people, **detail)
    appended.save()
    return appended


def record_each(events: Iterable[AuditEvent]) -> None:
    """Append events, made by `event`, that belong together. One statement."""
    AuditEvent.objects.bulk_create(events)


def event(
    kind: AuditEvent.Kind,
    *,
    now: datetime,
    actor: Any | None = None,
    user: Any | None = None,
    pass_id: UUID | None = None,
    sign_in_id: UUID | None = None,
    address: str | None = None,
    **detail: Any,
) -> AuditEvent:
    """Return an event that is yet to be appended; the arguments are those of `record`."""
    return AuditEvent(
        kind=kind,
        at=now,
        actor_key=_key(actor),
        actor_name=_name(actor),
        user_key=_key(user),
        user_name=_name(user),
        pass_id=pass_id,
        sign_in_id=sign_in_id,
        address=address,
        detail=detail,
    )


def has_happened(*kinds: AuditEvent.Kind, user: Any, since: datetime | None = None) -> bool:
    """Tell whether an event of one of these kinds was recorded of this user, ever or from then on. One query."""
    events = AuditEvent.objects.filter(user_key=_key(user), kind__in=kinds)
    return (events if since is None else events.filter(at__gte=since)).exists()


def _key(user: Any | None) -> str:
    return "" if user is None or user.pk is None else str(user.pk)


def _name(user: Any | None) -> str:
    return "" if user is None or user.pk is None else get_hooks().get_upn(user)[:255]  # none: anonymous
