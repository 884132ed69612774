"""Sign-ins: one record per authentication event, of any kind. The Django session carries only its id.

Ending a sign-in ends its session on the next request, on every session engine, and its OAuth codes and tokens with it,
because each of them asks the record when it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieSession
from django.db import connections, router, transaction
from django.db.models.expressions import RawSQL
from django.dispatch import Signal
from django.utils import timezone

from . import audit, signals
from .composed_query import ComposedQuery, Parameter
from .hooks import get_hooks
from .models import AuditEvent, Level, SignIn, SignInMethod, TemporaryAccessPass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from django.http import HttpRequest

SESSION_KEY = "tap_provider_sign_in"

OVERDUE_AT_ONCE = 500
AT_ONCE = 500  # ids in one statement

sign_in_ending = Signal()
"""Sent inside the transaction that ends sign-ins, however they end: `sign_in_ending(sender, sign_ins, now)`.

For our own apps above this one, which must not miss an ending even if the process dies with the commit: what a receiver
writes is committed with the ending or not at all, and what it raises undoes the ending. Several that end together are
told together, so that a receiver need not ask for each. Observers have `signals.sign_in_ended`.
"""

OF_PASS = ("is_usable_once", "highest_standing")  # what the policy asks of the pass behind a sign-in


@dataclass(frozen=True)
class Client:
    """Where a request came from, as far as the record wants to know."""

    address: str | None = None
    user_agent: str = ""

    @classmethod
    def of(cls, request: HttpRequest) -> Client:
        agent = request.META.get("HTTP_USER_AGENT", "").replace("\x00", "")
        return cls(address=get_hooks().client_address(request), user_agent=agent[:256])


def begin_sign_in(
    *,
    user: Any,
    methods: Sequence[str],
    amr: Sequence[str],
    level: Level,
    client: Client,
    now: datetime,
    authenticated_at: datetime | None,
    signed_in_at: datetime | None = None,
    deadline: datetime | None = None,
    pass_id: UUID | None = None,
    used: Sequence[tuple[str, str]] = (),
) -> SignIn:
    """Record that somebody authenticated. The caller records the audit event that fits.

    `methods` are the kinds, `used` the very methods: kind and id of each.
    """
    sign_in = SignIn.objects.create(
        user=user,
        methods=list(methods),
        amr=list(amr),
        level=level,
        authenticated_at=authenticated_at,
        signed_in_at=signed_in_at or authenticated_at,
        created_at=now,
        deadline=deadline,
        pass_id=pass_id,
        address=client.address,
        user_agent=client.user_agent,
    )
    _note_used(sign_in, used)
    signals.send_after_commit(signals.sign_in_begun, sender=SignIn, sign_in=sign_in)
    return sign_in


def renew_sign_in(
    sign_in: SignIn,
    *,
    methods: Sequence[str],
    amr: Sequence[str],
    level: Level,
    client: Client,
    now: datetime,
    is_step_up: bool = False,
    used: Sequence[tuple[str, str]] = (),
) -> bool:
    """Record that the user of a live full session has authenticated again, by these methods; False if it has ended.

    By a step-up they have merely added to what they proved before: that is no new sign-in to who asked for one.

    It stays the same sign-in: what other relying parties hold of it goes on. What was issued before keeps telling of
    what was before, because codes and tokens keep a snapshot.
    """
    changes: dict[str, Any] = {"methods": list(methods), "amr": list(amr), "level": level, "authenticated_at": now}
    changes |= {} if is_step_up else {"signed_in_at": now}
    with transaction.atomic():
        if not SignIn.objects.not_ended().filter(pk=sign_in.pk, pass_id=None).update(**changes):
            return False
        for name, value in changes.items():
            setattr(sign_in, name, value)
        _note_used(sign_in, used)
        audit.record(
            AuditEvent.Kind.SIGN_IN_RENEWED,
            now=now,
            user=sign_in.user,
            sign_in_id=sign_in.pk,
            address=client.address,
            methods=sign_in.methods,
            user_agent=client.user_agent,
        )
        signals.send_after_commit(signals.sign_in_renewed, sender=SignIn, sign_in=sign_in)
    return True


def _note_used(sign_in: SignIn, used: Sequence[tuple[str, str]]) -> None:
    # What a renewed sign-in was made with before stays noted: it ends with any of these.
    rows = [SignInMethod(sign_in=sign_in, kind=kind, method_id=method_id) for kind, method_id in used]
    if rows:
        SignInMethod.objects.bulk_create(rows, ignore_conflicts=True)


def adopt_session(request: HttpRequest, user: Any, *, now: datetime) -> SignIn | None:
    """Record a full session that carries no sign-in: it predates the installation, or nobody told us how it began.

    Nothing is known of its strength or age, so any question about either re-authenticates. None, and nothing recorded,
    once its user has signed out everywhere, or lost a method: that meant this session too.
    """
    with transaction.atomic():
        hold_user(user)
        if audit.has_happened(AuditEvent.Kind.SIGNED_OUT_EVERYWHERE, AuditEvent.Kind.METHOD_LOST, user=user):
            return None
        sign_in = begin_sign_in(
            user=user,
            methods=(),
            amr=(),
            level=Level.SINGLE_FACTOR,
            client=Client.of(request),
            now=now,
            authenticated_at=None,
        )
    put_in_session(request, sign_in)
    return sign_in


def hold_user(user: Any) -> None:
    """Keep out, until the transaction ends, whoever else holds this user: to begin what another is ending, say."""
    people = get_user_model()._default_manager
    # On PostgreSQL without keeping out foreign keys, as `issue` does.
    no_key = connections[router.db_for_write(people.model)].features.has_select_for_no_key_update
    list(people.select_for_update(no_key=no_key).filter(pk=user.pk).values_list("pk"))


def put_in_session(request: HttpRequest, sign_in: SignIn) -> None:
    """Let this session carry this sign-in."""
    request.session[SESSION_KEY] = str(sign_in.pk)
    request._tap_sign_in = sign_in  # type: ignore[attr-defined]


def can_rotate(session: Any) -> bool:
    """Tell whether renewing the session's key leaves a copied cookie behind: one that carries its data stays good."""
    return not isinstance(session, CookieSession)


def sign_in_of_session(request: HttpRequest, *, user: Any | None = None) -> SignIn | None:
    """Return the sign-in that this session carries, over or not, with its user; one query, kept on the request.

    `user` is who was read from the database just now, where somebody was: they are not read again.
    """
    carried = request.session.get(SESSION_KEY) if hasattr(request, "session") else None
    if carried is None:
        return None
    kept: SignIn | None = getattr(request, "_tap_sign_in", None)
    if kept is None or str(kept.pk) != carried:
        kept = find_sign_in(carried, user=user)
        request._tap_sign_in = kept  # type: ignore[attr-defined]
    return kept


def find_sign_in(sign_in_id: str | UUID, *, user: Any | None = None) -> SignIn | None:
    """Return the sign-in with its user and what is left of its pass, in one query; None for anything else.

    `user` as for `sign_in_of_session`.
    """
    try:
        key = UUID(str(sign_in_id))
    except ValueError:
        return None
    if user is None:
        return SignIn.objects.select_related("user").annotate(**of_pass()).filter(pk=key).first()
    sign_in = _SIGN_IN.first(key, field=SignIn._meta.pk)
    return None if sign_in is None else with_user(sign_in, user)


def with_user(sign_in: SignIn, user: Any) -> SignIn:
    """Let a sign-in have its user, if this is who it belongs to: otherwise they are read when asked for."""
    if sign_in.user_id == user.pk:
        sign_in.user = user
    return sign_in


def of_pass() -> dict[str, RawSQL]:
    """Return annotations that tell what is left of a sign-in's pass, where a query selects or joins sign-ins."""
    return _of_pass(router.db_for_read(SignIn))


@lru_cache(maxsize=8)
def _of_pass(using: str) -> dict[str, RawSQL]:
    # Every request of a session asks this. Two subqueries of the ORM cost more to compose than the rest of it.
    quote, passes = connections[using].ops.quote_name, TemporaryAccessPass._meta
    table, sign_ins = quote(passes.db_table), quote(SignIn._meta.db_table)
    told: dict[str, Any] = {name: passes.get_field(name) for name in OF_PASS}
    return {
        f"pass_{name}": RawSQL(  # noqa: S611 our own names
            f"SELECT {quote(name)} FROM {table} WHERE {table}.{quote('id')} = {sign_ins}.{quote('pass_id')}",  # noqa: S608
            (),
            output_field=field,
        )
        for name, field in told.items()
    }


_SIGN_IN = ComposedQuery(SignIn, lambda sign_ins: sign_ins.annotate(**of_pass()).filter(pk=Parameter()))


def note_pass(sign_in: SignIn, source: Any, *, prefix: str = "pass_") -> None:
    """Note on a sign-in what is known of its pass: from an annotated row, or from the pass itself without a prefix."""
    for name in OF_PASS:
        setattr(sign_in, f"pass_{name}", getattr(source, f"{prefix}{name}"))


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
    with transaction.atomic():
        ended = [by_id[sign_in_id] for sign_in_id in _end_rows(sorted(by_id), reason=reason, now=now)]
        if not ended:
            return 0
        for sign_in in ended:
            sign_in.ended_at, sign_in.ended_reason = now, reason
        audit.record_each(_ending_of(sign_in, now=now, actor=actor, client=client or Client()) for sign_in in ended)
        sign_in_ending.send(sender=SignIn, sign_ins=ended, now=now)
        for sign_in in ended:
            signals.send_after_commit(signals.sign_in_ended, sender=SignIn, sign_in=sign_in)
    return len(ended)


def _end_rows(sign_in_ids: list[UUID], *, reason: SignIn.EndedReason, now: datetime) -> list[UUID]:
    """Mark these as ended, and return those that were not: whoever comes second waits, and finds none."""
    ended: list[UUID] = []
    for start in range(0, len(sign_in_ids), AT_ONCE):
        some = SignIn.objects.filter(pk__in=sign_in_ids[start : start + AT_ONCE])
        # In one order, so that two who end the same ones do not wait for each other. By key alone: MariaDB would find
        # those that have not ended by their index, and lock on its way what somebody else is just beginning.
        locked = list(some.select_for_update().order_by("pk").values_list("pk", "ended_at"))
        open_ones = [sign_in_id for sign_in_id, ended_at in locked if ended_at is None]
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


def end_with_activity(sender: type[Any], instance: Any, created: bool, raw: bool = False, **kwargs: Any) -> None:
    """Receive `post_save` of a user: one who is no longer active has no sign-ins."""
    if created or raw or instance.is_active:
        return
    of_user = SignIn.objects.not_ended().filter(user=instance).select_related("user")
    end_sign_ins(of_user, reason=SignIn.EndedReason.USER_DEACTIVATED, now=timezone.now())


def end_before_deletion(sender: type[Any], instance: SignIn, **kwargs: Any) -> None:
    """Receive `pre_delete` of a sign-in, which goes with its user: what it began has ended, and is told so."""
    if instance.ended_at is None:
        end_sign_in(instance, reason=SignIn.EndedReason.USER_DEACTIVATED, now=timezone.now())
