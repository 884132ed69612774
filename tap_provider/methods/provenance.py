"""Which sign-in a method came by, and which sign-ins and methods came by it: what a loss has to reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..models import RegisteredMethod, SignIn, SignInMethod
from .own import own_methods
from .registration import sign_ins_of_other_sessions

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from uuid import UUID

    from .own import OwnMethod


def sign_ins_made_with(own: OwnMethod, user: Any) -> list[SignIn]:
    """Return the sign-ins of this user, not ended, that were made with this method, or may have been.

    Of sign-ins from before methods were noted only the kind is known, and of some not even that: the benefit of the
    doubt goes to whoever lost it.
    """
    kind, method_id = own.key
    found = []
    for sign_in in SignIn.objects.not_ended().filter(user=user).prefetch_related("used_methods").select_related("user"):
        used = {(one.kind, one.method_id) for one in sign_in.used_methods.all()}
        is_unknown = not sign_in.methods or (kind in sign_in.methods and kind not in {known for known, _id in used})
        if (kind, method_id) in used or is_unknown:
            found.append(sign_in)
    return found


def sign_ins_ended_with(own: OwnMethod, sign_in: SignIn) -> list[SignIn]:
    """Return the sign-ins that end when `sign_in`'s user loses this method: made with it, or ended by its change."""
    ending = {one.pk: one for one in sign_ins_made_with(own, sign_in.user)}
    if own.kind.ends_sessions:
        ending |= {one.pk: one for one in sign_ins_of_other_sessions(sign_in)}
    return list(ending.values())


@dataclass(frozen=True)
class Registration:
    """When a method was registered, and by which sign-in, as far as that is still known."""

    registered_at: datetime
    sign_in: SignIn | None


def registration_of(own: OwnMethod, user: Any) -> Registration | None:
    """Return how this method came, or None where that was before the installation, or past us."""
    row = RegisteredMethod.objects.filter(user=user, kind=own.kind.slug, method_id=own.method.id).first()
    if row is None:
        return None
    by = SignIn.objects.filter(user=user, pk=row.sign_in_id).first() if row.sign_in_id else None
    return Registration(row.registered_at, by)


def to_ask_about(own: Iterable[OwnMethod], sign_in: SignIn) -> list[OwnMethod]:
    """Return the methods to ask "Do you still have these?" about: all from before, once a first new one is registered.

    Passes are for people who lost something, or who start: whoever came by pass is asked, and nobody else. One query.
    """
    if not sign_in.is_registration_only:
        return []
    rows = RegisteredMethod.objects.filter(user=sign_in.user, sign_in_id=sign_in.pk)
    new = set(rows.values_list("kind", "method_id"))
    ours = [one for one in own if one.kind.is_held and not one.method.is_managed_elsewhere]
    return [one for one in ours if one.key not in new] if new else []


def origin_of(own: OwnMethod, sign_in: SignIn) -> SignIn | None:
    """Return the sign-in by which this method came, if that is known and another one than this."""
    registration = registration_of(own, sign_in.user)
    origin = None if registration is None else registration.sign_in
    return None if origin is None or origin.pk == sign_in.pk else origin


def registered_with(own: OwnMethod, user: Any) -> list[OwnMethod]:
    """Return the user's other methods that were registered in a sign-in made with this one, or with one of those.

    Whoever found or stole it may have added a method of theirs, signed in with that, and added another.
    """
    return _own_among(_reached_from({own.key}, user) - {own.key}, user)


def registered_by(origin: SignIn, user: Any) -> list[OwnMethod]:
    """Return the user's methods that were registered in this sign-in, or in one made with one of those."""
    rows = RegisteredMethod.objects.filter(user=user, sign_in_id=origin.pk)
    return _own_among(_reached_from(set(rows.values_list("kind", "method_id")), user), user)


def _reached_from(start: set[tuple[str, str]], user: Any) -> set[tuple[str, str]]:
    made_by: dict[UUID, set[tuple[str, str]]] = {}
    for used in SignInMethod.objects.filter(sign_in__user=user):
        made_by.setdefault(used.sign_in_id, set()).add((used.kind, used.method_id))
    came_by = {
        (row.kind, row.method_id): made_by.get(row.sign_in_id, set()) if row.sign_in_id else set()
        for row in RegisteredMethod.objects.filter(user=user)
    }
    reached = set(start)
    while found := {key for key, by in came_by.items() if by & reached} - reached:
        reached |= found
    return reached


def _own_among(keys: set[tuple[str, str]], user: Any) -> list[OwnMethod]:
    return [other for other in own_methods(user) if other.key in keys] if keys else []
