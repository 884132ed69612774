"""Step 3. The only place where a pass is spent.

Throttled before any hashing; one hash whatever the outcome; the same statements for an unknown user, no pass and a
wrong passcode. Only after the passcode matched may the answer say why a pass is not usable. The redemption is one
conditional UPDATE whose row count decides: of simultaneous uses of a one-time pass exactly one wins on any database.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from django.contrib.auth.signals import user_login_failed
from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from . import audit, registration_session, signals
from .conf import settings
from .exceptions import AmbiguousUpn, PasscodeNotAccepted, PassNotUsable, RedemptionRefused
from .hooks import clean_upn, find_user
from .models import AuditEvent, Level, SignIn, TemporaryAccessPass
from .passcode import fold_passcode, passcode_matches
from .policy import ResolvedPolicy, hold_policy, resolve_policy, usability_of
from .sign_in import Client, begin_sign_in, hold_user, note_pass
from .throttle import Attempt, count_attempt, take_back
from .usability import UsabilityReason

if TYPE_CHECKING:
    from datetime import datetime

    from django.http import HttpRequest

METHOD_KIND = "temporary_access_pass"

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

    def reason(self, policy: ResolvedPolicy, *, now: datetime) -> UsabilityReason:
        assert self.held is not None  # noqa: S101 asked only after its passcode matched
        return usability_of(self.held, policy, now=now)


@sensitive_variables()
def redeem_pass(*, upn: str, passcode: str, client: Client, now: datetime) -> SignIn:
    """Spend a pass and return the sign-in that it opens.

    Raises TooManyAttempts (nothing was hashed), PasscodeNotAccepted (nobody is told why), or PassNotUsable with its
    reason.
    """
    attempt = count_attempt(purpose="pass", upn=clean_upn(upn) or upn[:256], address=client.address, now=now)
    candidate = _find(upn)
    passcode_hash = candidate.held.passcode_hash if candidate.held is not None else None
    matches = passcode_matches(fold_passcode(passcode), passcode_hash, hasher=settings.passcode_hasher)
    try:
        if not matches or candidate.user is None or not candidate.user.is_active:
            raise PasscodeNotAccepted
        return _spend(candidate, attempt, client=client, now=now)
    except RedemptionRefused as refusal:
        _record_refusal(candidate, refusal, client=client, now=now)
        raise


@sensitive_variables()
def sign_in_with_pass(request: HttpRequest, *, upn: str, passcode: str, now: datetime) -> SignIn:
    """Redeem a pass and open its registration-only session on this request; raises what `redeem_pass` raises.

    Tells receivers of Django's `user_login_failed` of a refusal, the passcode masked.
    """
    try:
        sign_in = redeem_pass(upn=upn, passcode=passcode, client=Client.of(request), now=now)
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
    with transaction.atomic():
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


def _record_refusal(candidate: _Candidate, refusal: RedemptionRefused, *, client: Client, now: datetime) -> None:
    held, user = candidate.held, candidate.user
    pass_id = held.pk if held is not None else None
    reason = refusal.reason.value if isinstance(refusal, PassNotUsable) else refusal.code
    with transaction.atomic():
        if isinstance(refusal, PasscodeNotAccepted):
            # Sent even where no row can match: the same statements whether or not somebody holds a pass.
            TemporaryAccessPass.objects.filter(pk=pass_id or uuid4()).update(failed_attempts=F("failed_attempts") + 1)
        audit.record(
            AuditEvent.Kind.PASS_REFUSED, now=now, user=user, pass_id=pass_id, address=client.address, reason=reason
        )
        signals.send_after_commit(signals.pass_refused, sender=TemporaryAccessPass, user=user, code=refusal.code)
