"""What the holder of a pass sees of it, and deleting it: that it exists, until when, never what opens it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from .issue import end_pass
from .models import TemporaryAccessPass
from .policy import ResolvedPolicy, usability_of

if TYPE_CHECKING:
    from datetime import datetime

    from .models import SignIn
    from .sign_in import Client
    from .usability import UsabilityReason

DISCARDED = "deleted by its holder"


@dataclass(frozen=True)
class OwnPass:
    """All that a page of its holder's gets of a pass: no hash, nor who issued it and why."""

    id: UUID
    starts_at: datetime
    expires_at: datetime
    is_usable_once: bool
    last_used_at: datetime | None
    usability: UsabilityReason


def own_pass(user: Any, *, policy: ResolvedPolicy, now: datetime) -> OwnPass | None:
    """Return what this user may know of their pass, or None if they have none. One query; the policy is the user's."""
    held = TemporaryAccessPass.objects.filter(user=user).defer("passcode_hash", "reason").first()
    if held is None:
        return None
    return OwnPass(
        id=held.pk,
        starts_at=held.starts_at,
        expires_at=held.expires_at,
        is_usable_once=held.is_usable_once,
        last_used_at=held.redeemed_at,
        usability=usability_of(held, policy, now=now),
    )


def discard_own_pass(*, sign_in: SignIn, pass_id: UUID | str, client: Client, now: datetime) -> bool:
    """Delete the pass of the user of `sign_in`, and end what it opened: `sign_in` itself, if that is by pass.

    Whoever is signed in may: it takes away a way in, and an administrator issues another. `pass_id` is the pass that
    the page showed: one that has replaced it meanwhile stays. False if they have no such pass.
    """
    try:
        shown = UUID(str(pass_id))
    except ValueError:
        return False
    source = {"sign_in_id": sign_in.pk, "address": client.address}
    return end_pass(shown, user=sign_in.user, actor=sign_in.user, now=now, reason=DISCARDED, **source)


def is_last_chance(sign_in: SignIn, held: OwnPass | None, *, has_added: bool) -> bool:
    """Tell whether somebody is here with a pass that is good once, and has added nothing to come back with."""
    return sign_in.is_registration_only and not has_added and held is not None and held.is_usable_once
