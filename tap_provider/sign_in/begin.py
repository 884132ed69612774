"""Beginning and renewing: what is written down when somebody has authenticated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import audit, signals
from ..databases import atomic
from ..models import AuditEvent, Level, SignIn, SignInMethod
from .client import Client
from .end import end_sign_ins
from .hold import hold_user
from .seen import expiry_of
from .session import put_in_session
from .session_key import can_rotate
from .stamp import password_stamp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from django.http import HttpRequest

_KEPT = ("authenticated_at", "signed_in_at", "deadline", "session_expires_at", "pass_id")


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
    session_expires_at: datetime | None = None,
    pass_id: UUID | None = None,
    used: Sequence[tuple[str, str]] = (),
) -> SignIn:
    """Record that somebody authenticated. The caller records the audit event that fits.

    The caller holds the user (`hold_user`) and has seen that they are active: what began for an inactive user would
    live once they are active again.

    `methods` are the kinds, `used` the very methods: kind and id of each. `session_expires_at` is when the session of a
    full sign-in runs out by age, unless it is used until then. `authenticated_at` is None if nothing proved the user;
    `signed_in_at` is then the time of the login, or None too if there was none that we saw.
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
        last_seen_at=now,
        session_expires_at=session_expires_at,
        pass_id=pass_id,
        password_stamp=password_stamp(user),
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
    authenticated_at: datetime | None,
    is_step_up: bool = False,
    used: Sequence[tuple[str, str]] = (),
) -> bool:
    """Record that the user of a live full session has authenticated again, by these methods; False if it has ended.

    `authenticated_at` is None where a login proved nothing: what was known before is not known of the new one.

    By a step-up they have merely added to what they proved before: that is no new sign-in to who asked for one.

    It stays the same sign-in: what other relying parties hold of it goes on. What was issued before keeps telling of
    what was before, because codes and tokens keep a snapshot.
    """
    changes: dict[str, Any] = {
        "methods": list(methods),
        "amr": list(amr),
        "level": level,
        "authenticated_at": authenticated_at,
    }
    changes |= {} if is_step_up else {"signed_in_at": now}
    with atomic():
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


def replace_sign_in(
    sign_in: SignIn,
    *,
    reason: SignIn.EndedReason,
    client: Client,
    now: datetime,
    used: Sequence[tuple[str, str]] = (),
    **told: Any,
) -> SignIn | None:
    """End a sign-in, and begin one in its place, the same but for what is `told` (arguments of `begin_sign_in`).

    None if it has ended already, or its user is not active. What it was made with stays noted, and `used` besides.

    For sessions that are kept in the cookie itself, where a copy of the old one would stay as good. What relying
    parties hold of the old sign-in ends with it.
    """
    same = {name: getattr(sign_in, name) for name in ("user", "methods", "amr", *_KEPT)}
    facts: dict[str, Any] = {**same, "level": Level(sign_in.level), **told}
    before = sign_in.used_methods.values_list("kind", "method_id")
    with atomic():
        held = hold_user(sign_in.user)
        if held is None or not held.is_active or not end_sign_ins([sign_in], reason=reason, now=now):
            return None
        return begin_sign_in(**facts, used=sorted({*before, *used}), client=client, now=now)


def _note_used(sign_in: SignIn, used: Sequence[tuple[str, str]]) -> None:
    # What a renewed sign-in was made with before stays noted: it ends with any of these.
    rows = [SignInMethod(sign_in=sign_in, kind=kind, method_id=method_id) for kind, method_id in used]
    if rows:
        SignInMethod.objects.bulk_create(rows, ignore_conflicts=True)


def adopt_session(request: HttpRequest, user: Any, *, now: datetime) -> SignIn | None:
    """Record a full session that carries no sign-in: it predates the installation, or nobody told us how it began.

    Nothing is known of its strength or age, so any question about either re-authenticates. None, and nothing recorded,
    where its user is not active; and once its user has signed out everywhere, lost a method or been deactivated: that
    meant this session too. A session that is kept in the cookie itself would be adopted again, after its end, by a copy
    of that cookie: there one end is the end of all.
    """
    with atomic():
        held = hold_user(user)
        if held is None or not held.is_active:
            return None
        kinds = AuditEvent.Kind
        if audit.has_happened(kinds.SIGNED_OUT_EVERYWHERE, kinds.METHOD_LOST, kinds.USER_DEACTIVATED, user=user):
            return None
        ended = SignIn.objects.adopted().filter(user=user, ended_at__isnull=False)
        if not can_rotate(request.session) and ended.exists():
            return None
        sign_in = begin_sign_in(
            user=user,
            methods=(),
            amr=(),
            level=Level.SINGLE_FACTOR,
            client=Client.of(request),
            now=now,
            authenticated_at=None,
            session_expires_at=expiry_of(request.session, now=now),
        )
    put_in_session(request, sign_in)
    return sign_in
