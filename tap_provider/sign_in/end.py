"""Ending: one sign-in or many, with what they opened, told within the same transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.dispatch import Signal
from django.utils import timezone

from .. import audit, signals
from ..conflicts import retry_conflicts
from ..databases import atomic
from ..models import AuditEvent, RecoveryCode, RegisteredMethod, SignIn, SignInMethod, TemporaryAccessPass
from .client import Client
from .django_session import delete_sessions_after_commit
from .hold import hold_sign_ins, hold_user

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime
    from uuid import UUID

OVERDUE_AT_ONCE = 500
AT_ONCE = 500  # ids in one statement
DEACTIVATING = "_tap_deactivating"  # of a user who is just being saved: the stored row is active

sign_in_ending = Signal()
"""Sent inside the transaction that ends sign-ins, however they end: `sign_in_ending(sender, sign_ins, now)`.

For our own apps above this one, which must not miss an ending even if the process dies with the commit: what a receiver
writes is committed with the ending or not at all, and what it raises undoes the ending. Several that end together are
told together, so that a receiver need not ask for each. Observers have `signals.sign_in_ended`.
"""


unrecorded_ending = Signal()
"""Sent inside the transaction in which a method is lost, a password changes or a user is deactivated.

Its arguments: `unrecorded_ending(sender, user, now)`. Sent after the sign-ins have ended,
for our own apps above this one: they revoke tokens that are not linked to a sign-in, because their origin is unknown.
"""


user_deactivated = Signal()
"""Sent inside the transaction that ends what a deactivated user has, before their sign-ins end.

Its arguments: `user_deactivated(sender, user, now)`. For `issue`, which stands above and revokes the pass.
"""


def end_sign_in(sign_in: SignIn, *, reason: SignIn.EndedReason, now: datetime, actor: Any | None = None) -> None:
    """End one sign-in; ending it twice keeps the first reason."""
    end_sign_ins([sign_in], reason=reason, now=now, actor=actor)


def end_sign_ins(
    sign_ins: Iterable[SignIn],
    *,
    reason: SignIn.EndedReason,
    now: datetime,
    actor: Any | None = None,
    client: Client | None = None,
) -> int:
    """End these sign-ins and return how many were not over before; what it costs does not grow with how many they are.

    In one transaction: all of them, or none. `client` is from where somebody asked for it, if anybody did.
    """
    by_id = {sign_in.pk: sign_in for sign_in in sign_ins}
    return len(_end(by_id, reason=reason, now=now, actor=actor, client=client or Client()))


@retry_conflicts
def _end(
    by_id: dict[UUID, SignIn], *, reason: SignIn.EndedReason, now: datetime, actor: Any | None, client: Client
) -> list[SignIn]:
    with atomic():
        ended = [by_id[sign_in_id] for sign_in_id in _end_rows(sorted(by_id), reason=reason, now=now)]
        if not ended:
            return []
        for sign_in in ended:
            sign_in.ended_at, sign_in.ended_reason = now, reason
        audit.record_each(_ending_of(sign_in, now=now, actor=actor, client=client) for sign_in in ended)
        sign_in_ending.send(sender=SignIn, sign_ins=ended, now=now)
        delete_sessions_after_commit(ended)
        for sign_in in ended:
            signals.send_after_commit(signals.sign_in_ended, sender=SignIn, sign_in=sign_in)
    return ended


def _end_rows(sign_in_ids: list[UUID], *, reason: SignIn.EndedReason, now: datetime) -> list[UUID]:
    """Mark these as ended, and return those that were not: whoever comes second waits, and finds none."""
    ended: list[UUID] = []
    for start in range(0, len(sign_in_ids), AT_ONCE):
        # In one order, so that two who end the same ones do not wait for each other.
        held = hold_sign_ins(sign_in_ids[start : start + AT_ONCE])
        open_ones = [sign_in_id for sign_in_id, ended_at in held if ended_at is None]
        if open_ones:
            SignIn.objects.filter(pk__in=open_ones).update(ended_at=now, ended_reason=reason)
        ended += open_ones
    return ended


def _ending_of(sign_in: SignIn, *, now: datetime, actor: Any | None, client: Client) -> AuditEvent:
    return audit.event(
        AuditEvent.Kind.SIGN_IN_ENDED,
        now=now,
        actor=actor,
        user=sign_in.user,
        pass_id=sign_in.pass_id,
        sign_in_id=sign_in.pk,
        address=client.address,
        reason=str(sign_in.ended_reason),
    )


def end_overdue_sign_ins(*, now: datetime) -> int:
    """End sign-ins that are past their deadline and that nobody has come back to; return how many."""
    overdue = SignIn.objects.overdue(now=now).select_related("user")[:OVERDUE_AT_ONCE]
    return end_sign_ins(overdue, reason=SignIn.EndedReason.DEADLINE, now=now)


def compare_activity(
    sender: type[Any],
    instance: Any,
    raw: bool = False,
    update_fields: Collection[str] | None = None,
    **kwargs: Any,
) -> None:
    """Receive `pre_save` of a user: compare with what is stored whether they are active.

    What a deactivation has left ends before the user is active again. It was left where the user was deactivated by
    `update()` or SQL, or where the process died after the save. One query where a user with a key is saved (an object
    that was not read may stand for a row that exists); none where `update_fields` leaves `is_active` out.
    """
    vars(instance).pop(DEACTIVATING, None)  # of a save that failed
    if raw or instance.pk is None or not _is_activity_saved(update_fields):
        return
    users = get_user_model()._base_manager
    if all(field.name != "is_active" for field in users.model._meta.concrete_fields):
        return  # Django's AbstractBaseUser has an attribute alone: then no user is deactivated by saving
    was_active = users.filter(pk=instance.pk).values_list("is_active", flat=True).first()
    if was_active is False and instance.is_active:
        _end_all(instance, is_news=False, now=timezone.now())
    vars(instance)[DEACTIVATING] = was_active is True and not instance.is_active


def _is_activity_saved(update_fields: Collection[str] | None) -> bool:
    return update_fields is None or "is_active" in update_fields


def end_with_activity(
    sender: type[Any],
    instance: Any,
    created: bool,
    raw: bool = False,
    update_fields: Collection[str] | None = None,
    **kwargs: Any,
) -> None:
    """Receive `post_save` of a user: one who is no longer active has no sign-ins, and no tokens without one."""
    is_news = bool(vars(instance).pop(DEACTIVATING, False))
    if _is_activity_saved(update_fields) and not (created or raw or instance.is_active):
        _end_all(instance, is_news=is_news, now=timezone.now())


@retry_conflicts
def _end_all(user: Any, *, is_news: bool, now: datetime) -> None:
    with atomic():
        hold_user(user)
        user_deactivated.send(sender=SignIn, user=user, now=now)
        open_ones = SignIn.objects.not_ended().filter(user=user).select_related("user")
        ended = end_sign_ins(open_ones, reason=SignIn.EndedReason.USER_DEACTIVATED, now=now)
        unrecorded_ending.send(sender=SignIn, user=user, now=now)
        if is_news or ended or not audit.has_happened(AuditEvent.Kind.USER_DEACTIVATED, user=user):
            # For what has no row to end: sessions from before the installation, and second steps that are awaited.
            audit.record(AuditEvent.Kind.USER_DEACTIVATED, now=now, user=user)


def end_before_deletion(sender: type[Any], instance: SignIn, **kwargs: Any) -> None:
    """Receive `pre_delete` of a sign-in, which goes with its user: what it began has ended, and is told so."""
    if instance.ended_at is None:
        hold_user(instance.user)  # who may be going as well: first, as everywhere (decision 0022)
        end_sign_in(instance, reason=SignIn.EndedReason.USER_DEACTIVATED, now=timezone.now())


def end_with_user(sender: type[Any], instance: Any, **kwargs: Any) -> None:
    """Receive `pre_delete` of a user: what came since Django gathered what goes with them goes too, and nothing more
    comes.

    Or a row that refers to the user would let the deletion fail, as often as somebody signs in or refreshes a token.
    """
    list(get_user_model()._base_manager.select_for_update().filter(pk=instance.pk).values_list("pk"))
    SignIn.objects.not_ended().filter(user=instance).delete()
    SignInMethod.objects.filter(sign_in__user=instance).delete()
    for model in (RegisteredMethod, RecoveryCode, TemporaryAccessPass):
        model._default_manager.filter(user=instance).delete()
