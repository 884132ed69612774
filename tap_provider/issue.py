"""Step 2. The administrators' verbs: issue and revoke a pass, and who may use them on whom.

Admin, command line and API call these; no guard stands anywhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from . import audit, signals
from .conf import settings
from .conflicts import retry_conflicts
from .databases import atomic
from .exceptions import AmbiguousUpn, InvalidPass, IssueNotAllowed, RevokeNotAllowed
from .handle import first_group_of
from .hooks import find_user, get_hooks
from .models import LONGEST_LIFETIME, AuditEvent, SignIn, TemporaryAccessPass
from .moments import as_aware, as_stored
from .passcode import generate_passcode, group_passcode, hash_passcode
from .people import lock_people
from .permissions import has_permission
from .policy import ResolvedPolicy, resolve_policy
from .sign_in import end_sign_ins
from .standing import outranks, reach_of
from .upn import clean_upn

if TYPE_CHECKING:
    from uuid import UUID

    from .secret import Secret

ISSUE_PERMISSION = "tap_provider.add_temporaryaccesspass"
REVOKE_PERMISSION = "tap_provider.delete_temporaryaccesspass"
DEACTIVATED = "the user was deactivated"

GRACE = timedelta(minutes=5)
"""How far in the past a start may lie: clocks differ, and forms take a while to fill in."""

FURTHEST_START = timedelta(days=30)
"""How far ahead a start may lie (ours; no public text states Entra's)."""


@dataclass(frozen=True)
class IssuedPass:
    """A pass and its passcode: the only moment at which the clear text exists. `passcode.reveal()` shows it."""

    temporary_access_pass: TemporaryAccessPass
    passcode: Secret = field(repr=False)

    @property
    def passcode_for_reading(self) -> Secret:
        """The passcode in groups of four."""
        return group_passcode(self.passcode)


@retry_conflicts
@sensitive_variables()
def issue_pass(
    *,
    actor: Any,
    user: Any,
    now: datetime,
    starts_at: datetime | None = None,
    lifetime: timedelta | None = None,
    is_usable_once: bool | None = None,
    reason: str = "",
) -> IssuedPass:
    """Issue a pass to `user`, replacing the one they have and ending what that opened.

    Without a start it begins now; without a lifetime the policy's default holds; without `is_usable_once` the policy's.
    Raises IssueNotAllowed (who, whom) or InvalidPass (the message names the bound); then nothing is stored but the
    audit event of the refusal.
    """
    # Hashed outside the transaction, which on SQLite everybody else waits for.
    pass_id = uuid4()
    passcode = generate_passcode(resolve_policy(user).passcode_length, begins=first_group_of(pass_id))
    passcode_hash = hash_passcode(passcode, hasher=settings.passcode_hasher)
    asked = {"actor": actor, "user": user}
    try:
        with atomic():
            # Two issues at once are one after the other, and what has changed of either person meanwhile is seen.
            actor, user = lock_people(actor.pk, user.pk)
            policy = resolve_policy(user)
            guard_issue(actor=actor, user=user, policy=policy)
            starts_at = _checked_start(starts_at, now=now)
            lifetime = _checked_lifetime(lifetime, policy)
            new = TemporaryAccessPass(
                id=pass_id,
                user=user,
                passcode_hash=passcode_hash,
                created_at=now,
                created_by=actor,
                starts_at=starts_at,
                lifetime_minutes=_in_minutes(lifetime),
                expires_at=starts_at + lifetime,
                is_usable_once=_checked_use(is_usable_once, policy),
                highest_standing=reach_of(actor),
                reason=_storable(reason),
            )
            _end_previous(new, actor=actor, now=now)
            new.save(force_insert=True)
            _tell_issued(new, actor=actor, now=now)
    except IssueNotAllowed as refusal:
        audit.record(AuditEvent.Kind.ISSUE_REFUSED, now=now, **asked, code=refusal.code)
        raise
    return IssuedPass(temporary_access_pass=new, passcode=passcode)


@retry_conflicts
def revoke_pass(*, actor: Any, temporary_access_pass: TemporaryAccessPass, now: datetime, reason: str = "") -> None:
    """End a pass early, and with it on the next request every session and token that it opened.

    Raises RevokeNotAllowed.
    """
    with atomic():
        actor, user = lock_people(actor.pk, temporary_access_pass.user_id)
        guard_revoke(actor=actor, user=user)
        end_pass(temporary_access_pass.pk, user=user, actor=actor, now=now, reason=reason)


@retry_conflicts
def end_pass(pass_id: UUID, *, user: Any, actor: Any, now: datetime, reason: str, **source: Any) -> bool:
    """Delete this pass of the user's and end what it opened, for a verb that has made sure that `actor` may.

    `source` is what the audit event tells of where from: `sign_in_id`, `address`. False if there is no such pass.
    """
    with atomic():
        deleted, _by_model = TemporaryAccessPass.objects.filter(pk=pass_id, user=user).delete()
        if not deleted:
            return False  # somebody was faster: it was revoked or replaced, and the trail says by whom
        told = {**source, "reason": _storable(reason)}
        audit.record(AuditEvent.Kind.PASS_REVOKED, now=now, actor=actor, user=user, pass_id=pass_id, **told)
        _end_opened_by(pass_id, reason=SignIn.EndedReason.PASS_REVOKED, actor=actor, now=now)
        signals.send_after_commit(
            signals.pass_revoked, sender=TemporaryAccessPass, pass_id=pass_id, user=user, actor=actor
        )
    return True


def end_pass_of_deactivated(sender: type[Any], user: Any, now: datetime, **kwargs: Any) -> None:
    """Receive `user_deactivated`: the user has no pass any more, and none comes back with reactivation."""
    for pass_id in TemporaryAccessPass.objects.filter(user=user).values_list("pk", flat=True):
        end_pass(pass_id, user=user, actor=None, now=now, reason=DEACTIVATED)


def guard_issue(*, actor: Any | None, user: Any | None, policy: ResolvedPolicy) -> None:
    """Raise IssueNotAllowed unless this person may issue a pass to that user. None: there is no such account any more.

    Judges what the objects say: read them with `lock_people`.
    """
    if actor is None or not actor.is_active or not has_permission(actor, ISSUE_PERMISSION):
        raise IssueNotAllowed(_("You may not issue Temporary Access Passes."), code="missing_permission")
    if user is None:
        raise IssueNotAllowed(_("There is no such user."), code="no_such_user")
    if actor.pk == user.pk:
        raise IssueNotAllowed(_("Nobody issues a Temporary Access Pass for themselves."), code="oneself")
    if not user.is_active:
        raise IssueNotAllowed(_("This user is not active."), code="inactive_user")
    if outranks(user, actor):
        raise IssueNotAllowed(_("This user has permissions that you do not have."), code="outranked")
    if not get_hooks().may_issue_for(actor, user):
        raise IssueNotAllowed(_("You may not issue a Temporary Access Pass for this user."), code="not_yours")
    if not policy.allows_user:
        raise IssueNotAllowed(_("The policy does not allow a Temporary Access Pass for this user."), code="policy")
    _guard_upn(user)


def _guard_upn(user: Any) -> None:
    """Raise IssueNotAllowed unless the holder can name themselves: no passcode is issued that cannot be redeemed."""
    upn = get_hooks().get_upn(user)
    if clean_upn(upn) is None:
        message = _("This user has no user principal name to sign in with.")
        raise IssueNotAllowed(message, code="no_upn")
    shared = _("Another user has the same user principal name, in other letters perhaps. Change one of the two.")
    try:
        found = find_user(upn)
    except AmbiguousUpn as error:
        raise IssueNotAllowed(shared, code="ambiguous_upn") from error
    if found is None:
        message = _("The user principal name of this user has unusual characters, so that nothing finds it. Change it.")
        raise IssueNotAllowed(message, code="unusual_upn")
    if found.pk != user.pk:
        raise IssueNotAllowed(shared, code="ambiguous_upn")


def guard_revoke(*, actor: Any | None, user: Any | None) -> None:
    """Raise RevokeNotAllowed unless this person may revoke a pass of that user; as `guard_issue` does."""
    if actor is None or not actor.is_active or not has_permission(actor, REVOKE_PERMISSION):
        raise RevokeNotAllowed(_("You may not revoke Temporary Access Passes."), code="missing_permission")
    if user is None:
        raise RevokeNotAllowed(_("There is no such user."), code="no_such_user")
    if actor.pk != user.pk and outranks(user, actor):
        raise RevokeNotAllowed(_("This user has permissions that you do not have."), code="outranked")
    if not get_hooks().may_issue_for(actor, user):
        raise RevokeNotAllowed(_("You may not revoke a Temporary Access Pass of this user."), code="not_yours")


def _checked_start(starts_at: datetime | None, *, now: datetime) -> datetime:
    if starts_at is None:
        return now
    starts_at = as_stored(starts_at)
    if starts_at < now - GRACE:
        message = _("The start must not lie more than %(minutes)s minutes in the past.")
        raise InvalidPass(
            message % {"minutes": int(GRACE.total_seconds()) // 60}, field="starts_at", code="start_in_past"
        )
    if starts_at > now + FURTHEST_START:
        message = _("The start must not lie more than %(days)s days ahead.")
        raise InvalidPass(message % {"days": FURTHEST_START.days}, field="starts_at", code="start_too_far")
    return starts_at


def _checked_lifetime(lifetime: timedelta | None, policy: ResolvedPolicy) -> timedelta:
    lifetime = policy.default_lifetime if lifetime is None else lifetime
    if lifetime % timedelta(minutes=1):
        raise InvalidPass(_("The lifetime must be whole minutes."), field="lifetime", code="lifetime_not_minutes")
    if not policy.minimum_lifetime <= lifetime <= policy.maximum_lifetime:
        message = _("The lifetime must lie between %(low)s and %(high)s minutes.")
        bounds = {"low": _in_minutes(policy.minimum_lifetime), "high": _in_minutes(policy.maximum_lifetime)}
        raise InvalidPass(message % bounds, field="lifetime", code="lifetime_out_of_bounds")
    return lifetime


def _checked_use(is_usable_once: bool | None, policy: ResolvedPolicy) -> bool:
    if is_usable_once is None:
        return policy.one_time_only
    if policy.one_time_only and not is_usable_once:
        raise InvalidPass(_("The policy allows one-time passes only."), field="is_usable_once", code="one_time_only")
    return is_usable_once


def _end_previous(new: TemporaryAccessPass, *, actor: Any, now: datetime) -> None:
    previous = TemporaryAccessPass.objects.filter(user=new.user).first()
    if previous is None:
        return
    pass_id = previous.pk
    previous.delete()
    audit.record(AuditEvent.Kind.PASS_REPLACED, now=now, actor=actor, user=new.user, pass_id=pass_id, by=str(new.pk))
    _end_opened_by(pass_id, reason=SignIn.EndedReason.PASS_REPLACED, actor=actor, now=now)


def _end_opened_by(pass_id: Any, *, reason: SignIn.EndedReason, actor: Any, now: datetime) -> None:
    opened = SignIn.objects.not_ended().filter(pass_id=pass_id).select_related("user")
    end_sign_ins(opened, reason=reason, now=now, actor=actor)


def _tell_issued(new: TemporaryAccessPass, *, actor: Any, now: datetime) -> None:
    audit.record(
        AuditEvent.Kind.PASS_ISSUED,
        now=now,
        actor=actor,
        user=new.user,
        pass_id=new.pk,
        starts_at=as_aware(new.starts_at).isoformat(),
        expires_at=as_aware(new.expires_at).isoformat(),
        is_usable_once=new.is_usable_once,
        reason=new.reason,
    )
    signals.send_after_commit(signals.pass_issued, sender=TemporaryAccessPass, temporary_access_pass=new, actor=actor)


def lifetime_of(minutes: int) -> timedelta:
    """Return a lifetime of so many minutes; what no policy allows stays out of every bound without overflowing."""
    return timedelta(minutes=max(0, min(minutes, LONGEST_LIFETIME + 1)))


def _storable(text: str) -> str:
    # Command lines and JSON may carry what databases refuse: NUL bytes and lone surrogates.
    return text.encode("utf-8", "replace").decode().replace("\x00", "")[:1000]


def _in_minutes(duration: timedelta) -> int:
    return duration // timedelta(minutes=1)
