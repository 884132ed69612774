"""Where a user is signed in, and ending that: one sign-in, or all of them.

Whoever is signed in may, in a session of either kind, however weak or old: ending sessions gives nobody anything, and
who has lost a phone is here with a pass, or with no more than a password.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib.auth import logout
from django.dispatch import Signal
from django.middleware.csrf import rotate_token
from django.utils.translation import gettext_lazy as _

from . import audit, registration_session, signals
from .conflicts import retry_conflicts
from .databases import atomic
from .exceptions import SignInNotFound
from .models import AuditEvent, SignIn
from .sign_in import (
    Client,
    can_rotate,
    end_sign_ins,
    hold_user,
    put_in_session,
    replace_sign_in,
    sign_in_of_session,
    with_user,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from django.http import HttpRequest


MOST_LISTED = 200

signing_out_everywhere = Signal()
"""Sent inside the transaction that signs a user out everywhere: `signing_out_everywhere(sender, user, kept, now)`.

For our own apps above this one, as `sign_in.sign_in_ending` is, and after it: to end what no sign-in stands behind.
`kept` is the sign-in that stays, with what it has opened, or None. Observers have `signals.signed_out_everywhere`.
"""


who_knows_of_use: list[Callable[[Iterable[SignIn]], set[UUID]]] = []
"""Who may know that something of a sign-in is in use though its session has run out. Filled by `AppConfig.ready`."""


def open_sign_ins(user: Any, *, now: datetime) -> list[SignIn]:
    """Return the user's sign-ins by which somebody may be in, last seen first, of the last 200. One query or a few.

    Neither ended nor past their deadline; of those whose session has run out by age only such as something of is still
    in use: a relying party's tokens, say. Running out ends no sign-in, as nobody comes to tell.
    """
    newest = SignIn.objects.not_over(now=now).filter(user=user).order_by("-last_seen_at", "-created_at", "-pk")
    found = [with_user(sign_in, user) for sign_in in newest[:MOST_LISTED]]
    run_out = [sign_in for sign_in in found if sign_in.has_run_out(now=now)]
    in_use = set[UUID]().union(*(ask(run_out) for ask in who_knows_of_use)) if run_out else set()
    return [sign_in for sign_in in found if sign_in.pk in in_use or not sign_in.has_run_out(now=now)]


@retry_conflicts
def end_own_sign_in(*, sign_in: SignIn, sign_in_id: UUID | str, client: Client, now: datetime) -> SignIn:
    """End one of one's sign-ins from `sign_in`, which is one too; to end that itself is to sign out. Return which.

    Raises SignInNotFound: another user's, one that is over, an id that is none; or `sign_in` is over itself.
    """
    try:
        wanted = UUID(str(sign_in_id))
    except ValueError:
        raise SignInNotFound(_NOT_OPEN) from None
    user, reasons = sign_in.user, SignIn.EndedReason
    with atomic():
        hold_user(user)
        both = SignIn.objects.not_over(now=now).filter(user=user, pk__in=[wanted, sign_in.pk])
        found = {one.pk: with_user(one, user) for one in both}
        if wanted not in found or sign_in.pk not in found:
            raise SignInNotFound(_NOT_OPEN)
        is_this = wanted == sign_in.pk
        ending = sign_in if is_this else found[wanted]
        reason = reasons.SIGNED_OUT if is_this else reasons.ENDED_ELSEWHERE
        end_sign_ins([ending], reason=reason, now=now, actor=user, client=client)
    return ending


@retry_conflicts
def sign_out_everywhere(*, sign_in: SignIn, keep_current: bool, client: Client, now: datetime) -> int:
    """End all sign-ins of the user of `sign_in`, or all but that one, and return how many; tokens go with them.

    What no sign-in stands behind goes too: tokens from before the installation, and sessions from then, which are not
    adopted any more. Of two at once in different browsers, each keeping its own, the first decides.

    Raises SignInNotFound if `sign_in` is over itself.
    """
    user, reason = sign_in.user, SignIn.EndedReason.SIGNED_OUT_EVERYWHERE
    with atomic():
        hold_user(user)
        found = list(SignIn.objects.not_ended().filter(user=user))
        if not any(one == sign_in and not one.is_over(now=now) for one in found):
            raise SignInNotFound(_NOT_OPEN)
        ending = [with_user(one, user) for one in found if one != sign_in] + ([] if keep_current else [sign_in])
        ended = end_sign_ins(ending, reason=reason, now=now, actor=user, client=client)
        audit.record(
            AuditEvent.Kind.SIGNED_OUT_EVERYWHERE,
            now=now,
            actor=user,
            user=user,
            sign_in_id=sign_in.pk,
            address=client.address,
            ended=ended,
            kept=keep_current,
        )
        signing_out_everywhere.send(sender=SignIn, user=user, kept=sign_in if keep_current else None, now=now)
        signals.send_after_commit(signals.signed_out_everywhere, sender=SignIn, user=user, sign_in=sign_in, ended=ended)
    return ended


_NOT_OPEN = _("That sign-in is not open any more.")


def leave(request: HttpRequest, *, now: datetime) -> None:
    """Sign this session out, of either kind, and forget it; a sign-in that has ended already keeps its reason."""
    current = sign_in_of_session(request)
    if current is not None and current.is_registration_only:
        registration_session.end(request, reason=SignIn.EndedReason.SIGNED_OUT, now=now)
    else:
        logout(request)


def stay(request: HttpRequest, *, now: datetime) -> None:
    """Stay signed in here when everything else has ended: a copy of this session's cookie is no way in either.

    A session that is kept in the cookie itself gets another sign-in, as the old cookie cannot be made worthless.
    """
    current = sign_in_of_session(request)
    if current is not None and not can_rotate(request.session):
        reason = SignIn.EndedReason.SIGNED_OUT_EVERYWHERE
        replacing = replace_sign_in(current, reason=reason, client=Client.of(request), now=now)
        if replacing is not None:
            put_in_session(request, replacing)
    request.session.cycle_key()
    rotate_token(request)
