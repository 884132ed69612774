"""What people do with a method that they have: give it a name, remove it, or say that it is lost.

Removing is tidying up, and never locks its user out. What is lost may be in somebody else's hands: it goes whatever is
left, and with it every sign-in that was made with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext_lazy as _

from .. import audit, signals
from ..conflicts import retry_conflicts
from ..databases import atomic
from ..exceptions import ChangeRefused, MethodNotFound
from ..models import AuditEvent, RegisteredMethod, SignIn
from ..policy import resolve_policy
from ..sign_in import Client, end_sign_ins, hold_user, unrecorded_ending
from .other_factors import is_name_taken
from .own import own_methods
from .provenance import origin_of, registered_by, sign_ins_begun_by, sign_ins_made_with
from .registration import end_with_change, guard_registration

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from django.utils.functional import _StrOrPromise

    from ..policy import ResolvedPolicy
    from .kinds import MethodKind
    from .own import OwnMethod

LONGEST_NAME = 60
JOINERS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"

_MANAGED_ELSEWHERE = _("It is managed elsewhere: where you change it, or at your help desk.")


def clean_name(typed: str) -> str:
    """Return the name as it is kept: printable, white space folded, at most `LONGEST_NAME` characters, or ""."""
    # The joiners belong to emoji, and to names in Persian and Hindi.
    printable = "".join(c if c.isprintable() or c in JOINERS else " " for c in typed[: 4 * LONGEST_NAME])
    return " ".join(printable.split())[:LONGEST_NAME].strip(f" {JOINERS}")


def rename_method(*, sign_in: SignIn, own: OwnMethod, name: str, client: Client, now: datetime) -> None:
    """Give a method another name. Raises RegistrationNotAllowed, ChangeRefused or MethodNotFound."""
    _guard(sign_in, now=now)
    cleaned = clean_name(name)
    _guard_ours(own)
    if not own.kind.has_names or not cleaned:
        raise ChangeRefused(_("Enter a name."), code="no_name")
    if is_name_taken(cleaned):
        raise ChangeRefused(_("This name is taken. Enter another one."), code="name_taken")
    if own.kind.keeps_name(sign_in.user, own.method.id):
        raise ChangeRefused(_("It keeps its name: this site may find it by that."), code="keeps_name")
    with atomic():
        if not own.kind.rename(sign_in.user, own.method.id, cleaned):
            raise MethodNotFound
        _record(AuditEvent.Kind.METHOD_RENAMED, sign_in, own, client=client, now=now)


@retry_conflicts
def remove_method(*, sign_in: SignIn, own: OwnMethod, client: Client, now: datetime) -> None:
    """Remove a method that its user does not need any more. Sign-ins that were made with it go on.

    Raises RegistrationNotAllowed, ChangeRefused (see `why_not_remove`) or MethodNotFound.
    """
    policy = _guard(sign_in, now=now)
    with atomic():
        _lock(sign_in.user)  # or two that are removed at once would each take the other for what is left
        reason = why_not_remove(own, sign_in.user, policy)
        if reason is not None:
            raise ChangeRefused(reason, code="stays")
        _remove(sign_in, own, now=now)
        _record(AuditEvent.Kind.METHOD_REMOVED, sign_in, own, client=client, now=now)
        signals.send_after_commit(
            signals.method_removed,
            sender=type(own.kind),
            user=sign_in.user,
            kind=own.kind.slug,
            method_id=own.method.id,
            name=own.method.name,
            sign_in=sign_in,
        )


@retry_conflicts
def lose_method(
    *,
    sign_in: SignIn,
    own: OwnMethod,
    also: Iterable[OwnMethod] = (),
    is_disowned: bool = False,
    client: Client,
    now: datetime,
) -> int:
    """Remove a method that its user has lost, and end every sign-in that was made with it; return how many.

    This one may be among them. `also` are methods that came by such sign-ins and that the user does not know: they go
    the same way. `is_disowned`: the user did not even add it. Then the sign-in by which it came ends too, and goes with
    all else that came by it, unless it is this very one. Raises RegistrationNotAllowed, ChangeRefused or
    MethodNotFound.
    """
    _guard(sign_in, now=now)
    _guard_ours(own)
    user, reason = sign_in.user, SignIn.EndedReason.METHOD_LOST
    ended = 0
    with atomic():
        _lock(user)
        origin = origin_of(own, sign_in) if is_disowned else None
        theirs = () if origin is None else registered_by(origin, user)
        for lost in {one.key: one for one in (own, *also, *theirs)}.values():
            made_with = end_sign_ins(sign_ins_made_with(lost, user), reason=reason, now=now, actor=user)
            made_with += _remove(sign_in, lost, now=now)
            _record(AuditEvent.Kind.METHOD_LOST, sign_in, lost, client=client, now=now, ended=made_with)
            signals.send_after_commit(
                signals.method_lost,
                sender=type(lost.kind),
                user=sign_in.user,
                kind=lost.kind.slug,
                method_id=lost.method.id,
                name=lost.method.name,
                sign_in=sign_in,
                ended=made_with,
            )
            ended += made_with
        if origin is not None:
            ended += end_sign_ins(sign_ins_begun_by(origin, user), reason=reason, now=now, actor=user)
        unrecorded_ending.send(sender=SignIn, user=user, now=now)
    return ended


def why_not_remove(own: OwnMethod, user: Any, policy: ResolvedPolicy) -> _StrOrPromise | None:
    """Tell why this method stays unless it is lost: its user would be locked out, or have less than the policy asks."""
    if own.method.is_managed_elsewhere:
        return _MANAGED_ELSEWHERE
    others = [other for other in own_methods(user) if other.key != own.key]
    if _signs_in(own.kind) and not any(_signs_in(other.kind) for other in others):
        return _("It is your only way to sign in. Add another one first.")
    if policy.require_registration and own.kind.is_strong and not any(other.kind.is_strong for other in others):
        return _("Your organisation requires a method like this one. Add another one first.")
    return None


def warning_before_removal(own: OwnMethod, user: Any) -> _StrOrPromise | None:
    """Tell what its user should know before they remove this method, where that is allowed."""
    others = [other for other in own_methods(user) if other.key != own.key]
    if own.kind.is_strong and not any(other.kind.is_strong for other in others):
        return _("Then only your password protects your account: whoever learns it is in.")
    return None


def _guard(sign_in: SignIn, *, now: datetime) -> ResolvedPolicy:
    # Whoever may add a method may change one: strong and fresh, or by a pass.
    policy = resolve_policy(sign_in.user)
    guard_registration(sign_in=sign_in, policy=policy, now=now)
    return policy


def _guard_ours(own: OwnMethod) -> None:
    if own.method.is_managed_elsewhere:
        raise ChangeRefused(_MANAGED_ELSEWHERE, code="managed_elsewhere")


def _lock(user: Any) -> None:
    hold_user(user)
    user.refresh_from_db(fields=["password"])  # which may have gone since the user was read, and is asked for below


def _signs_in(kind: MethodKind) -> bool:
    return kind.signs_in_alone  # the others are asked for after one of these


def _remove(sign_in: SignIn, own: OwnMethod, *, now: datetime) -> int:
    if not own.kind.remove(sign_in.user, own.method.id):
        raise MethodNotFound
    kind, method_id = own.key
    RegisteredMethod.objects.filter(user=sign_in.user, kind=kind, method_id=method_id).update(removed_at=now)
    return end_with_change(sign_in, kind=own.kind, now=now)


def _record(
    event: AuditEvent.Kind, sign_in: SignIn, own: OwnMethod, *, client: Client, now: datetime, **detail: Any
) -> None:
    kind, method_id = own.key
    audit.record(
        event,
        now=now,
        actor=sign_in.user,
        user=sign_in.user,
        pass_id=sign_in.pass_id,
        sign_in_id=sign_in.pk,
        address=client.address,
        method_kind=kind,
        method_id=method_id,
        **detail,
    )
