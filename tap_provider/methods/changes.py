"""What people do with a method that they have: give it a name, remove it, or say that it is lost.

Removing is tidying up, and never locks its user out. What is lost may be in somebody else's hands: it goes whatever is
left, and with it every sign-in that was made with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from .. import audit, signals
from ..exceptions import ChangeRefused, MethodNotFound
from ..models import AuditEvent, RegisteredMethod, SignIn, SignInMethod
from ..policy import resolve_policy
from ..sign_in import Client, end_sign_ins
from .registration import guard_registration
from .registry import all_kinds, find_kind

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from uuid import UUID

    from django.utils.functional import _StrOrPromise

    from ..policy import ResolvedPolicy
    from .kinds import Method, MethodKind

LONGEST_NAME = 60


@dataclass(frozen=True)
class OwnMethod:
    """A method of a user, with its kind."""

    kind: MethodKind
    method: Method

    @property
    def key(self) -> tuple[str, str]:
        return self.kind.slug, self.method.id


def own_methods(user: Any) -> list[OwnMethod]:
    """Return every method of this user, of all kinds."""
    return [OwnMethod(kind, method) for kind in all_kinds() for method in kind.methods(user)]


def own_method(user: Any, kind_slug: str, method_id: str) -> OwnMethod:
    """Return this method of this user. Raises MethodNotFound: of anybody else's nobody is told that it exists."""
    kind = find_kind(kind_slug)
    for method in [] if kind is None else kind.methods(user):
        if kind is not None and method.id == method_id:
            return OwnMethod(kind, method)
    raise MethodNotFound


def clean_name(typed: str) -> str:
    """Return the name as it is kept: printable, white space folded, at most `LONGEST_NAME` characters, or ""."""
    printable = "".join(c if c.isprintable() else " " for c in typed[: 4 * LONGEST_NAME])
    return " ".join(printable.split())[:LONGEST_NAME].strip()


def rename_method(*, sign_in: SignIn, own: OwnMethod, name: str, client: Client, now: datetime) -> None:
    """Give a method another name. Raises RegistrationNotAllowed, ChangeRefused or MethodNotFound."""
    _guard(sign_in, now=now)
    cleaned = clean_name(name)
    if not own.kind.has_names or not cleaned:
        raise ChangeRefused(_("Enter a name."), code="no_name")
    with transaction.atomic():
        if not own.kind.rename(sign_in.user, own.method.id, cleaned):
            raise MethodNotFound
        _record(AuditEvent.Kind.METHOD_RENAMED, sign_in, own, client=client, now=now)


def remove_method(*, sign_in: SignIn, own: OwnMethod, client: Client, now: datetime) -> None:
    """Remove a method that its user does not need any more. Sign-ins that were made with it go on.

    Raises RegistrationNotAllowed, ChangeRefused (see `why_not_remove`) or MethodNotFound.
    """
    policy = _guard(sign_in, now=now)
    with transaction.atomic():
        _lock(sign_in.user)  # or two that are removed at once would each take the other for what is left
        reason = why_not_remove(own, sign_in.user, policy)
        if reason is not None:
            raise ChangeRefused(reason, code="last_method")
        _remove(sign_in, own)
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


def lose_method(
    *, sign_in: SignIn, own: OwnMethod, also: Iterable[OwnMethod] = (), client: Client, now: datetime
) -> int:
    """Remove a method that its user has lost, and end every sign-in that was made with it; return how many.

    This one may be among them. `also` are methods that came by such sign-ins and that the user does not know: they go
    the same way. Raises RegistrationNotAllowed or MethodNotFound.
    """
    _guard(sign_in, now=now)
    ended = 0
    with transaction.atomic():
        _lock(sign_in.user)
        for lost in (own, *also):
            _remove(sign_in, lost)
            made_with = end_sign_ins(
                sign_ins_made_with(lost, sign_in.user),
                reason=SignIn.EndedReason.METHOD_LOST,
                now=now,
                actor=sign_in.user,
            )
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
    return ended


def why_not_remove(own: OwnMethod, user: Any, policy: ResolvedPolicy) -> _StrOrPromise | None:
    """Tell why this method stays unless it is lost: its user would be locked out, or have less than the policy asks."""
    others = [other for other in own_methods(user) if other.key != own.key]
    if _signs_in(own.kind) and not any(_signs_in(other.kind) for other in others):
        return _("It is your only way to sign in. Add another one first.")
    if policy.require_registration and own.kind.is_strong and not any(other.kind.is_strong for other in others):
        return _("Your organisation requires a method like this one. Add another one first.")
    return None


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
    return [one for one in own if one.kind.is_held and one.key not in new] if new else []


def registered_with(own: OwnMethod, user: Any) -> list[OwnMethod]:
    """Return the user's other methods that were registered in a sign-in made with this one, or with one of those.

    Whoever found or stole it may have added a method of theirs, signed in with that, and added another.
    """
    made_by: dict[UUID, set[tuple[str, str]]] = {}
    for used in SignInMethod.objects.filter(sign_in__user=user):
        made_by.setdefault(used.sign_in_id, set()).add((used.kind, used.method_id))
    came_by = {
        (row.kind, row.method_id): made_by.get(row.sign_in_id, set()) if row.sign_in_id else set()
        for row in RegisteredMethod.objects.filter(user=user)
    }
    reached = {own.key}
    while found := {key for key, by in came_by.items() if by & reached} - reached:
        reached |= found
    return [other for other in own_methods(user) if other.key in reached - {own.key}] if len(reached) > 1 else []


def _guard(sign_in: SignIn, *, now: datetime) -> ResolvedPolicy:
    # Whoever may add a method may change one: strong and fresh, or by a pass.
    policy = resolve_policy(sign_in.user)
    guard_registration(sign_in=sign_in, policy=policy, now=now)
    return policy


def _lock(user: Any) -> None:
    get_user_model()._default_manager.select_for_update().filter(pk=user.pk).values_list("pk", flat=True).first()
    user.refresh_from_db(fields=["password"])  # which may have gone since the user was read, and is asked for below


def _signs_in(kind: MethodKind) -> bool:
    return bool(kind.backends)  # the others are asked for after one of these


def _remove(sign_in: SignIn, own: OwnMethod) -> None:
    if not own.kind.remove(sign_in.user, own.method.id):
        raise MethodNotFound
    kind, method_id = own.key
    RegisteredMethod.objects.filter(user=sign_in.user, kind=kind, method_id=method_id).delete()


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
