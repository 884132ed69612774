"""Step 3. The only place where a pass is spent.

Throttled before any hashing; one hash whatever the outcome; the same statements for an unknown user, no pass and a
wrong passcode. A stranger's attempts neither use up the attempts of the holder nor count against the pass
(decision 0026). Only after the passcode matched may the answer say why a pass is not usable. The redemption is one
conditional UPDATE whose row count decides: of simultaneous uses of a one-time pass exactly one wins on any database.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from django.contrib.auth.signals import user_login_failed
from django.db.models import F
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from . import audit, registration_session, signals
from .conf import settings
from .databases import atomic
from .exceptions import AmbiguousUpn, PasscodeNotAccepted, PassNotUsable, RedemptionRefused, TooManyAttempts
from .handle import begins_like, read_handle
from .hooks import find_user
from .models import AuditEvent, Level, SignIn, TemporaryAccessPass
from .pace import Pace
from .passcode import fold_passcode, passcode_matches
from .policy import ResolvedPolicy, hold_policy, resolve_policy, usability_of
from .secret import Secret
from .sign_in import Client, begin_sign_in, hold_user, note_pass
from .throttle import SPAN, Attempt, count_attempt_by_handle, count_attempt_from_network, take_back
from .upn import clean_upn
from .usability import UsabilityReason

if TYPE_CHECKING:
    from uuid import UUID

    from django.http import HttpRequest

METHOD_KIND = "temporary_access_pass"

MOST_REDEMPTIONS = 30
"""How often one multi-use pass is redeemed within ten minutes: far more than a person signs in."""

WHY_NOT = {
    UsabilityReason.ONE_TIME_USED: _(
        "This Temporary Access Pass was already used, and it works only once. Ask your administrator for a new one."
    ),
    UsabilityReason.EXPIRED: _("This Temporary Access Pass has expired. Ask your administrator for a new one."),
    UsabilityReason.DISABLED_BY_POLICY: _(
        "This Temporary Access Pass is blocked by your organisation's policy. Contact your administrator."
    ),
    UsabilityReason.NOT_YET_VALID: _(
        "This Temporary Access Pass is not valid yet. Come back when it starts, or contact your administrator."
    ),
}


@dataclass(frozen=True)
class _Candidate:
    """Whom the UPN names and what they hold, read before the hash. Any part may be missing."""

    user: Any | None
    held: TemporaryAccessPass | None

    def is_named_by(self, passcode: Secret, *, handle_id: UUID | None) -> bool:
        """Return True if an attempt is one at this user's pass: by its handle, or by the passcode's first group.

        Takes the same time whether or not the user has a pass.
        """
        pass_id = uuid4() if self.held is None else self.held.pk
        return begins_like(passcode, pass_id) | (handle_id == pass_id)

    def reason(self, policy: ResolvedPolicy, *, now: datetime) -> UsabilityReason:
        assert self.held is not None  # noqa: S101 asked only after its passcode matched
        return usability_of(self.held, policy, now=now)


@sensitive_variables()
def redeem_pass(*, upn: str, passcode: str | Secret, client: Client, now: datetime, handle: str = "") -> SignIn:
    """Spend a pass and return the sign-in that it opens.

    `handle` is what the sign-in address carried (`addresses.pass_sign_in_url`), or "". Attempts with the handle of the
    user's pass have a counter of their own.

    Raises TooManyAttempts (nothing was hashed), PasscodeNotAccepted (nobody is told why), or PassNotUsable with its
    reason.
    """
    pace, passcode = Pace(), Secret.of(passcode)
    handle_id = read_handle(handle)
    attempt = None if handle_id else _count_typed(upn, client, now=now)
    candidate = _find(upn)
    attempt = attempt or _count_with_handle(candidate, handle_id, upn, client, now=now)
    held, folded = candidate.held, fold_passcode(passcode)
    is_at_pass = candidate.is_named_by(folded, handle_id=handle_id)
    with pace.hashing():
        matches = passcode_matches(
            folded, None if held is None else held.passcode_hash, hasher=settings.passcode_hasher
        )
    try:
        if not matches or candidate.user is None or not candidate.user.is_active:
            raise PasscodeNotAccepted
        return _spend(candidate, attempt, client=client, now=now)
    except RedemptionRefused as refusal:
        _record_refusal(candidate, refusal, is_at_pass=is_at_pass, client=client, now=now)
        if isinstance(refusal, PasscodeNotAccepted):
            pace.wait()
        elif isinstance(refusal, TooManyAttempts):
            take_back(attempt)  # the passcode was right; outside the transaction, which was rolled back
        raise


def _count_typed(upn: str, client: Client, *, now: datetime) -> Attempt:
    typed = clean_upn(upn) or upn[:256]
    return count_attempt_from_network(purpose="pass", upn=typed, address=client.address, now=now)


def _count_with_handle(
    candidate: _Candidate, handle_id: UUID | None, upn: str, client: Client, *, now: datetime
) -> Attempt:
    if candidate.held is None or candidate.held.pk != handle_id:
        return _count_typed(upn, client, now=now)  # the handle of another pass, or of one that has been replaced
    return count_attempt_by_handle(purpose="pass", handle=handle_id.hex, now=now)


@sensitive_variables()
def sign_in_with_pass(
    request: HttpRequest, *, upn: str, passcode: str | Secret, now: datetime, handle: str = ""
) -> SignIn:
    """Redeem a pass and open its registration-only session on this request; raises what `redeem_pass` raises.

    Tells receivers of Django's `user_login_failed` of a refusal, the passcode masked.
    """
    passcode = Secret.of(passcode)
    try:
        sign_in = redeem_pass(upn=upn, passcode=passcode, handle=handle, client=Client.of(request), now=now)
    except RedemptionRefused:
        user_login_failed.send(sender=__name__, credentials={"upn": upn, "tap_secret": "*" * 20}, request=request)
        raise
    registration_session.begin(request, sign_in, now=now)
    return sign_in


def _find(upn: str) -> _Candidate:
    # Two queries, whoever is asked for: an absent user is looked up as somebody who holds nothing.
    try:
        user = find_user(upn)
    except AmbiguousUpn:
        user = None
    passes = TemporaryAccessPass.objects
    held = (passes.filter(pk=uuid4()) if user is None else passes.filter(user_id=user.pk)).first()
    return _Candidate(user=user, held=held)


def _spend(candidate: _Candidate, attempt: Attempt, *, client: Client, now: datetime) -> SignIn:
    held = candidate.held
    assert held is not None  # noqa: S101 its passcode matched
    with atomic():
        # Policy and user as they are by now, and as they stay until this is stored: while the passcode was hashed the
        # user may have been deactivated, excluded, or raised.
        hold_policy()
        user = hold_user(candidate.user)
        if user is None or not user.is_active:
            raise PasscodeNotAccepted
        policy = resolve_policy(user)
        reason = candidate.reason(policy, now=now)
        if not reason.is_usable:
            raise _not_usable(reason)
        _guard_redemptions(held, now=now)
        sign_in = begin_sign_in(
            user=user,
            methods=[METHOD_KIND],
            amr=settings.pass_amr,
            level=Level.MULTI_FACTOR,
            client=client,
            now=now,
            authenticated_at=now,
            deadline=registration_session.deadline_for(held, policy, now=now),
            pass_id=held.pk,
        )
        if not _spend_row(held, now=now):
            raise _lost_race(candidate, policy, now=now)
        note_pass(sign_in, held, prefix="")
        audit.record(
            AuditEvent.Kind.PASS_REDEEMED,
            now=now,
            user=user,
            pass_id=held.pk,
            sign_in_id=sign_in.pk,
            address=client.address,
            user_agent=client.user_agent,
        )
        take_back(attempt)
        signals.send_after_commit(signals.pass_redeemed, sender=TemporaryAccessPass, user=user, sign_in=sign_in)
    return sign_in


def _guard_redemptions(held: TemporaryAccessPass, *, now: datetime) -> None:
    """Raise TooManyAttempts if this pass was redeemed too often lately; a one-time pass cannot be."""
    if held.is_usable_once:
        return
    lately = SignIn.objects.filter(pass_id=held.pk, created_at__gt=now - SPAN).order_by("-created_at")
    oldest = lately.values_list("created_at", flat=True)[MOST_REDEMPTIONS - 1 : MOST_REDEMPTIONS].first()
    if oldest is not None:
        raise TooManyAttempts(retry_after=max(oldest + SPAN - now, timedelta(seconds=1)))


def _spend_row(held: TemporaryAccessPass, *, now: datetime) -> bool:
    # Expiry, start, use and the very hash that was verified are one decision with the write.
    unspent = {"redemption_count": 0} if held.is_usable_once else {}
    return bool(
        TemporaryAccessPass.objects.filter(
            pk=held.pk,
            passcode_hash=held.passcode_hash,
            is_usable_once=held.is_usable_once,
            starts_at__lte=now,
            expires_at__gt=now,
            **unspent,
        ).update(redemption_count=F("redemption_count") + 1, redeemed_at=now, failed_attempts=0)
    )


def _lost_race(candidate: _Candidate, policy: ResolvedPolicy, *, now: datetime) -> RedemptionRefused:
    # Between reading and spending somebody else used, replaced or revoked the pass.
    assert candidate.held is not None  # noqa: S101 its passcode matched
    same = TemporaryAccessPass.objects.filter(pk=candidate.held.pk, passcode_hash=candidate.held.passcode_hash).first()
    return PasscodeNotAccepted() if same is None else _not_usable(replace(candidate, held=same).reason(policy, now=now))


def _not_usable(reason: UsabilityReason) -> RedemptionRefused:
    message = WHY_NOT.get(reason)
    return PasscodeNotAccepted() if message is None else PassNotUsable(message, reason=reason)


def _record_refusal(
    candidate: _Candidate, refusal: RedemptionRefused, *, is_at_pass: bool, client: Client, now: datetime
) -> None:
    held, user = candidate.held, candidate.user
    pass_id = held.pk if held is not None else None
    reason = refusal.reason.value if isinstance(refusal, PassNotUsable) else refusal.code
    with atomic():
        if isinstance(refusal, PasscodeNotAccepted):
            # Sent even where no row can match: the same statements whether or not the user holds a pass. Only an
            # attempt that names the pass counts against it, or a stranger could kill it.
            failed = pass_id if is_at_pass and pass_id is not None else uuid4()
            TemporaryAccessPass.objects.filter(pk=failed).update(failed_attempts=F("failed_attempts") + 1)
        audit.record(
            AuditEvent.Kind.PASS_REFUSED, now=now, user=user, pass_id=pass_id, address=client.address, reason=reason
        )
        signals.send_after_commit(signals.pass_refused, sender=TemporaryAccessPass, user=user, code=refusal.code)
