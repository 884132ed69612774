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

    Key = tuple[str, str]  # kind and id of a method


def sign_ins_made_with(own: OwnMethod, user: Any) -> list[SignIn]:
    """Return the sign-ins of this user, not ended, that were made with this method, or may have been.

    Made with what came by it and has been removed since counts too: whoever stole it may cover their tracks so. Of
    sign-ins from before methods were noted only the kind is known, and of some not even that: the benefit of the doubt
    goes to whoever lost it.
    """
    return _made_with(Trail.of(user).gone_from({own.key}) | {own.key}, user, perhaps=own.kind.slug)


def sign_ins_begun_by(origin: SignIn, user: Any) -> list[SignIn]:
    """Return this sign-in, and those that were made with what came by it and has been removed since."""
    trail = Trail.of(user)
    brought = trail.brought_by(origin)
    gone = trail.gone_from(brought) | {key for key in brought if trail.is_gone(key)}
    return [origin, *_made_with(gone, user)]


def _made_with(keys: set[Key], user: Any, *, perhaps: str | None = None) -> list[SignIn]:
    found = []
    for sign_in in SignIn.objects.not_ended().filter(user=user).prefetch_related("used_methods").select_related("user"):
        used = {(one.kind, one.method_id) for one in sign_in.used_methods.all()}
        of_kind = perhaps in sign_in.methods and perhaps not in {kind for kind, _id in used}
        if used & keys or (perhaps is not None and (of_kind or not sign_in.methods)):
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


def to_ask_about(own: Iterable[OwnMethod], sign_in: SignIn, *, new: set[Key]) -> list[OwnMethod]:
    """Return the methods to ask "Do you still have these?" about: all from before, once a first new one is registered.

    Passes are for people who lost something, or who start: whoever came by pass is asked, and nobody else. `new` are
    the methods of `registration.registered_in`.
    """
    if not sign_in.is_registration_only:
        return []
    ours = [one for one in own if one.kind.is_held and not one.method.is_managed_elsewhere]
    return [one for one in ours if one.key not in new] if new else []


def origin_of(own: OwnMethod, sign_in: SignIn) -> SignIn | None:
    """Return the sign-in by which this method came, if that is known and another one than this."""
    registration = registration_of(own, sign_in.user)
    origin = None if registration is None else registration.sign_in
    return None if origin is None or origin.pk == sign_in.pk else origin


def registered_with(own: OwnMethod, user: Any) -> list[OwnMethod]:
    """Return the user's other methods that were registered in a sign-in made with this one, or with one of those.

    Whoever found or stole it may have added a method of theirs, signed in with that, and added another; and removed the
    one between.
    """
    return _own_among(Trail.of(user).reached_from({own.key}) - {own.key}, user)


def registered_by(origin: SignIn, user: Any) -> list[OwnMethod]:
    """Return the user's methods that were registered in this sign-in, or in one made with one of those."""
    trail = Trail.of(user)
    return _own_among(trail.reached_from(trail.brought_by(origin)), user)


def _own_among(keys: set[Key], user: Any) -> list[OwnMethod]:
    return [other for other in own_methods(user) if other.key in keys] if keys else []


@dataclass(frozen=True)
class Trail:
    """By which sign-in each of a user's methods came, removed ones too, and with which each sign-in was made."""

    came: dict[Key, RegisteredMethod]
    made_with: dict[UUID, set[Key]]

    @classmethod
    def of(cls, user: Any) -> Trail:
        """Read the trail of this user. Two queries."""
        made_with: dict[UUID, set[Key]] = {}
        for used in SignInMethod.objects.filter(sign_in__user=user):
            made_with.setdefault(used.sign_in_id, set()).add((used.kind, used.method_id))
        rows = RegisteredMethod.objects.filter(user=user)
        return cls({(row.kind, row.method_id): row for row in rows}, made_with)

    def is_gone(self, key: Key) -> bool:
        return self.came[key].removed_at is not None

    def brought_by(self, sign_in: SignIn) -> set[Key]:
        """Return the methods that were registered in this sign-in."""
        return {key for key, row in self.came.items() if row.sign_in_id == sign_in.pk}

    def reached_from(self, start: set[Key]) -> set[Key]:
        """Return these and whatever came by them, and by that, and so on."""
        reached = set(start)
        while found := self._next_to(reached):
            reached |= found
        return reached

    def gone_from(self, start: set[Key]) -> set[Key]:
        """Return what came by these and has been removed since, and by that, and so on."""
        gone: set[Key] = set()
        while found := {key for key in self._next_to(start | gone) if self.is_gone(key)}:
            gone |= found
        return gone

    def _next_to(self, keys: set[Key]) -> set[Key]:
        return {key for key, row in self.came.items() if self._made(row.sign_in_id) & keys} - keys

    def _made(self, sign_in_id: UUID | None) -> set[Key]:
        return set() if sign_in_id is None else self.made_with.get(sign_in_id, set())
