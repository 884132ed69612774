"""Registering a method: may this session do it now, what is left to do, and the record of what was done.

A new method is verified before it counts, and registering never upgrades the session: who has registered finishes,
and signs in with the new method.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.utils.text import get_text_list
from django.utils.translation import gettext_lazy as _

from .. import audit, signals
from ..databases import atomic
from ..exceptions import MethodNotVerified, RegistrationNotAllowed, RegistrationNotFinished
from ..models import AuditEvent, Level, RegisteredMethod, SignIn
from ..policy import resolve_policy
from ..registration_session import end, why_over
from ..sign_in import Client, end_sign_ins, find_sign_in, hold_user, renew_stamp, unrecorded_ending
from .other_factors import has_other_factor
from .registry import PASSWORD, all_kinds, registrable_kinds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models import QuerySet
    from django.http import HttpRequest
    from django.utils.functional import _StrOrPromise

    from ..policy import ResolvedPolicy
    from .kinds import Method, MethodKind, RegistrationPage

FRESHNESS = timedelta(minutes=10)
"""How old the authentication of a full session may be when a method is registered (Microsoft Entra's figure)."""


MOST_OF_A_KIND = 20


@dataclass(frozen=True)
class LeftToDo:
    """One thing that keeps somebody from finishing."""

    code: str
    message: _StrOrPromise


def has_strong_method(user: Any) -> bool:
    """Tell whether the user has a method that satisfies "require registration"."""
    return any(kind.is_strong and kind.methods(user) for kind in all_kinds())


def has_second_factor(user: Any) -> bool:
    """Tell whether the user has anything that is asked for beside a password, or in its place, here or elsewhere."""
    is_known = has_strong_method(user) or any(kind.second_factor_form(user) is not None for kind in all_kinds())
    return is_known or has_other_factor(user)


def guard_registration(*, sign_in: SignIn | None, policy: ResolvedPolicy, now: datetime) -> None:
    """Raise RegistrationNotAllowed unless this session may register a method now.

    A registration-only session may while it lives; a full one if its own authentication is strong and fresh enough.
    """
    sign_in = _guard_life(sign_in, now=now)
    if sign_in.is_registration_only:
        return
    is_strong = Level(sign_in.level).rank >= Level.MULTI_FACTOR.rank
    if not is_strong and (policy.require_strong_authentication_to_register or has_second_factor(sign_in.user)):
        message = _(
            "Your sign-in is not strong enough. Sign in with a stronger method, or with a Temporary Access Pass."
        )
        raise RegistrationNotAllowed(message, code="not_strong_enough")
    # A lenient policy takes a password, and not a login that proved nothing.
    is_proved = is_strong or PASSWORD in sign_in.methods
    if not is_proved:
        raise RegistrationNotAllowed(_("It is not known how you signed in. Sign in again to go on."), code="not_fresh")
    if not is_fresh(sign_in, now=now):
        raise RegistrationNotAllowed(_("It is a while since you signed in. Sign in again to go on."), code="not_fresh")


def is_fresh(sign_in: SignIn, *, now: datetime) -> bool:
    """Tell whether somebody has signed in from the start lately; a second factor added to an old session is not enough.

    It may be the one thing that whoever found an open session holds: the phone that has both.
    """
    moments = (sign_in.authenticated_at, sign_in.signed_in_at)
    return all(at is not None and now - at <= FRESHNESS for at in moments)


def guard_offered(kind: MethodKind | None) -> None:
    """Raise RegistrationNotAllowed unless this site offers the kind for registration."""
    if kind is None or kind.slug not in {offered.slug for offered in registrable_kinds()}:
        raise RegistrationNotAllowed(_("This method is not offered here."), code="not_offered")


def guard_kind(kind: MethodKind, sign_in: SignIn) -> None:
    """Raise RegistrationNotAllowed where there is a reason against one (more) of this kind."""
    reason = why_not_one_more(kind, sign_in, methods=kind.methods(sign_in.user))
    if reason is not None:
        raise RegistrationNotAllowed(reason, code="not_by_this_kind")


def why_not_one_more(kind: MethodKind, sign_in: SignIn, *, methods: Sequence[Method]) -> _StrOrPromise | None:
    """Tell why this user may not register one (more) of this kind, of which they have `methods`; None if they may."""
    if len(methods) >= MOST_OF_A_KIND:
        return _("You have as many of these as can be kept. Remove one first.")
    return kind.why_not_register(sign_in.user, sign_in)


def _guard_life(sign_in: SignIn | None, *, now: datetime) -> SignIn:
    if sign_in is None or sign_in.ended_at is not None:
        raise RegistrationNotAllowed(_("Sign in first."), code="not_signed_in")
    if sign_in.is_registration_only and why_over(sign_in, now=now) is not None:
        raise RegistrationNotAllowed(_("Your time to register is up. Sign in again."), code="not_signed_in")
    return sign_in


def may_register(*, sign_in: SignIn | None, policy: ResolvedPolicy, now: datetime) -> RegistrationNotAllowed | None:
    """Return why this session may not register now, or None if it may."""
    try:
        guard_registration(sign_in=sign_in, policy=policy, now=now)
    except RegistrationNotAllowed as refusal:
        return refusal
    return None


def held_kinds(user: Any) -> list[MethodKind]:
    """Return the kinds of which this user has a method."""
    return [kind for kind in all_kinds() if kind.methods(user)]


def left_to_do(user: Any, policy: ResolvedPolicy, *, kinds: Sequence[MethodKind] | None = None) -> list[LeftToDo]:
    """Return what is left before this user may finish: nothing where the policy does not require registration.

    `kinds` are those of which the user has a method, where that is known.
    """
    if not policy.require_registration:
        return []
    held = held_kinds(user) if kinds is None else kinds
    strong = [kind for kind in registrable_kinds() if kind.is_strong]
    if strong and not any(kind.is_strong for kind in held):
        message = _("Add at least one of these: %(methods)s.") % {"methods": _either(strong)}
        return [LeftToDo("no_strong_method", message)]
    lacking = no_way_in(held)
    return [] if lacking is None else [lacking]  # a requirement that nobody here can meet would lock people in


def no_way_in(held: Sequence[MethodKind]) -> LeftToDo | None:
    """Tell what somebody lacks who has methods of these kinds, and none that they could sign in with alone.

    A code of an app is asked for after a password: who registers nothing else, and has none, is locked out.
    """
    ways_in = [kind for kind in registrable_kinds() if kind.signs_in_alone]
    if not held or not ways_in or any(kind.signs_in_alone for kind in held):
        return None
    message = _(
        "What you have is asked for after a password, and you have no password. Add one of these too: %(methods)s."
    )
    return LeftToDo("no_way_in", message % {"methods": _either(ways_in)})


def _either(kinds: Sequence[MethodKind]) -> str:
    return str(get_text_list([str(kind.label) for kind in kinds], _("or")))


def registered_in(sign_in: SignIn) -> set[tuple[str, str]]:
    """Return kind and id of the methods that were registered in this sign-in and are still there. One query."""
    rows = RegisteredMethod.objects.filter(user=sign_in.user, sign_in_id=sign_in.pk, removed_at=None)
    return set(rows.values_list("kind", "method_id"))


def finish_registration(request: HttpRequest, *, sign_in: SignIn, now: datetime) -> bool:
    """End a registration-only session whose holder is done; tell whether they can sign in with what they have added.

    Raises RegistrationNotFinished.

    Leaving early is signing out: it costs nothing, and a pass that is good for several times stays so.
    """
    left = left_to_do(sign_in.user, resolve_policy(sign_in.user))
    if left:
        raise RegistrationNotFinished(left[0].message, code=left[0].code)
    has_added = bool(registered_in(sign_in)) and no_way_in(held_kinds(sign_in.user)) is None
    end(request, reason=SignIn.EndedReason.FINISHED, now=now)
    return has_added


def complete_registration(
    request: HttpRequest, *, sign_in: SignIn, kind: MethodKind, page: RegistrationPage, now: datetime
) -> Method:
    """Verify the method whose form this is, make it count and record it, or nothing of all that.

    Raises MethodNotVerified or RegistrationNotAllowed.
    """
    guard_registration(sign_in=sign_in, policy=resolve_policy(sign_in.user), now=now)
    guard_offered(kind)
    guard_kind(kind, sign_in)
    page.form.is_valid()  # what a form computes (a password's hash) is not computed while everybody waits
    with atomic():
        hold_user(sign_in.user)
        try:
            method = kind.complete_registration(request, sign_in.user, page, now=now)
        except MethodNotVerified as error:
            refusal = error  # raised below: what the kind has counted of wrong codes is to be kept
        else:
            end_with_change(sign_in, kind=kind, now=now)
            address = Client.of(request).address
            record_registration(sign_in=sign_in, kind=kind, method=method, now=now, address=address)
            return method
    raise refusal


def sign_ins_of_other_sessions(sign_in: SignIn) -> QuerySet[SignIn]:
    """Return the sign-ins of this one's user but itself, of either kind, not ended."""
    return SignIn.objects.not_ended().filter(user=sign_in.user).exclude(pk=sign_in.pk)


def end_with_change(sign_in: SignIn, *, kind: MethodKind, now: datetime) -> int:
    """End the sign-ins whose sessions end with a change of this kind, all but this one; return how many.

    By itself Django would end full sessions alone: registration-only ones, codes and tokens would go on.
    """
    if not kind.ends_sessions:
        return 0
    sign_in.user.refresh_from_db(fields=["password"])
    renew_stamp(sign_in)
    user, reason = sign_in.user, SignIn.EndedReason.PASSWORD_CHANGED
    ended = end_sign_ins(sign_ins_of_other_sessions(sign_in).select_related("user"), reason=reason, now=now, actor=user)
    unrecorded_ending.send(sender=SignIn, user=user, now=now)
    return ended


def record_registration(
    *, sign_in: SignIn, kind: MethodKind, method: Method, now: datetime, address: str | None
) -> None:
    """Record a verified new method, and by which sign-in it came; to be called in the transaction that stores it.

    Raises RegistrationNotAllowed if the sign-in has ended meanwhile.
    """
    # Anew, as it may have ended since this request began; and no end passes by until this is stored: its row is held.
    # Strength was asked before the new method was stored, which a lenient policy would now hold against it.
    list(SignIn.objects.select_for_update().filter(pk=sign_in.pk).values_list("pk"))
    _guard_life(find_sign_in(sign_in.pk), now=now)
    RegisteredMethod.objects.update_or_create(
        user=sign_in.user,
        kind=kind.slug,
        method_id=method.id,
        defaults={"registered_at": now, "sign_in_id": sign_in.pk, "removed_at": None},
    )
    audit.record(
        AuditEvent.Kind.METHOD_REGISTERED,
        now=now,
        user=sign_in.user,
        pass_id=sign_in.pass_id,
        sign_in_id=sign_in.pk,
        address=address,
        method_kind=kind.slug,
        method_id=method.id,
    )
    signals.send_after_commit(
        signals.method_registered,
        sender=type(kind),
        user=sign_in.user,
        kind=kind.slug,
        method_id=method.id,
        sign_in=sign_in,
    )
