"""Which kinds of method this site has. Kinds are added in `AppConfig.ready()`, by us and by third parties alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..conf import settings
from .proof import proof_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from .kinds import MethodKind, UsedMethod

PASSWORD = "password"  # noqa: S105 the slug of that kind

READ_FROM_SESSION = "_tap_read_from_session"  # the middleware's mark on a user

_kinds: dict[str, MethodKind] = {}


def register(kind: MethodKind) -> None:
    """Add a kind; one of the same slug is replaced."""
    _kinds[kind.slug] = kind


def register_ours(kind: MethodKind) -> None:
    """Add a kind of this project's, unless the site has put one of its own in its place already."""
    _kinds.setdefault(kind.slug, kind)


def all_kinds() -> list[MethodKind]:
    """Return every kind that this site knows, registrable or not; in the order in which they are asked for."""
    return sorted(_kinds.values(), key=lambda kind: kind.is_last_resort)


def find_kind(slug: str) -> MethodKind | None:
    """Return the kind of this slug, if the site has it."""
    return _kinds.get(slug)


def are_registered(user: Any, used: Iterable[UsedMethod]) -> bool:
    """Tell whether the user still has each of these methods, as far as they are such as one has. One query each."""
    kinds = ((find_kind(method.kind), method.method_id) for method in used if method.method_id)
    return all(kind.has(user, method_id) for kind, method_id in kinds if kind is not None and kind.is_held)


def has_password(user: Any) -> bool:
    """Tell whether the user has a password, Django's or one that the site's kind knows of."""
    kind = find_kind(PASSWORD)
    return kind is not None and bool(kind.methods(user))


def registrable_kinds() -> list[MethodKind]:
    """Return the kinds that people may register, in the order of the setting."""
    return [_kinds[slug] for slug in settings.registrable_methods if slug in _kinds]


def sweep_registrations(*, now: datetime) -> int:
    """Delete what registrations of any kind have left unfinished; return how many."""
    return sum(kind.sweep(now=now) for kind in all_kinds())


def used_by_login(user: Any) -> list[UsedMethod] | None:
    """Tell what a login of this user object proved; None if nobody says that its user has authenticated at all.

    What counts is the mark of a backend or a page that has checked something (`proof.mark_proved`), and the django-otp
    device that went with it. A backend that is merely named proves nothing, nor does a device without the mark:
    packages put one on the user for a browser that they remember. Nor does the device of a user who was read from the
    session, where an earlier login left it.
    """
    proved = proof_of(user)
    if proved is None:
        return None
    device = None if getattr(user, READ_FROM_SESSION, False) else getattr(user, "otp_device", None)
    told = [_used(proof, user) for proof in proved]
    told += [kind.used_device(device) for kind in _kinds.values() if device is not None]
    by_kind = {used.kind: used for used in told if used is not None}
    return list(by_kind.values())


def _used(proof: str | UsedMethod, user: Any) -> UsedMethod | None:
    if not isinstance(proof, str):
        return proof
    kind = find_kind(proof)
    return None if kind is None else kind.used_by_backend(user)
