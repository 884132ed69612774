"""Back-channel logout (OpenID Connect Back-Channel Logout 1.0): the queue, and working it.

Rows are written in the transaction that ends a sign-in, so that no crash loses one; they are delivered after it, by a
task or by `manage.py tap deliver`, and never by the request. Each attempt claims its row by one conditional UPDATE
whose row count decides, so that of any number of workers one sends.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import F
from django.utils import timezone
from oauth2_provider.models import get_application_model

from ..databases import atomic
from .contexts import parties_to_tell
from .logout_token import CannotSign, logout_token
from .models import CodeContext, LogoutDelivery, RelyingParty, TokenContext, relying_party
from .subject import subject_of
from .transport import NotDelivered, post_form

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from ..models import SignIn

    Clock = Callable[[], datetime]

logger = logging.getLogger(__name__)

Status = LogoutDelivery.Status

BACK_OFF = (
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
)
"""How long after each failed attempt the next one follows; after the last, the delivery is given up."""

MOST_ATTEMPTS = len(BACK_OFF) + 1

LEASE = timedelta(minutes=2)  # a worker that died in an attempt has lost its claim after this
AT_ONCE = 500
FAILURES_AT_ONCE = 3
KEEP = timedelta(days=30)

OK, NO_CONTENT, BAD_REQUEST = 200, 204, 400


@dataclass(frozen=True)
class Outcome:
    """What came of one attempt; WAITING: worth another."""

    status: Status
    text: str


def queue_deliveries(sender: type[Any], sign_ins: Sequence[SignIn], now: datetime, **kwargs: Any) -> None:
    """Receive `sign_in_ending`: note whom to tell, in the same transaction. One query, and three more if anybody is."""
    to_tell = parties_to_tell(sign_ins)
    if not to_tell:
        return
    named = {party.client_id for _, party in to_tell}
    clients = {client.client_id: client for client in get_application_model().objects.filter(client_id__in=named)}
    # Asked once for each user and client, however many of their sign-ins end.
    whose = {(sign_in.user_id, party.client_id): sign_in for sign_in, party in to_tell}
    subjects = {key: _subject_of(sign_in, client=clients.get(key[1])) for key, sign_in in whose.items()}
    LogoutDelivery.objects.bulk_create(
        LogoutDelivery(
            sign_in_id=sign_in.pk,
            subject=subjects[sign_in.user_id, party.client_id],
            client_id=party.client_id,
            uri=party.backchannel_logout_uri,
            names_sign_in=party.backchannel_logout_session_required,
            created_at=now,
            next_attempt_at=now,
        )
        for sign_in, party in to_tell
    )


def _subject_of(sign_in: SignIn, *, client: Any | None) -> str:
    """Return what this client knows the user as; empty where the site's own claims fail: then `sid` alone is told.

    An error here would undo the ending, and leave somebody signed in who has signed out or was deactivated.
    """
    try:
        with atomic():
            return subject_of(sign_in.user, client=client)
    except Exception:
        logger.exception("The subject of a logout token could not be told.")
        return ""


def deliver_due(*, clock: Clock = timezone.now) -> dict[str, int]:
    """Attempt deliveries that are due; return how many came to which end.

    A client at which several attempts have failed is left alone until the next time, so that one which lets every
    attempt run into its time-out keeps nobody else's waiting.
    """
    counts, failures = dict.fromkeys(Status, 0), Counter[str]()
    for _ in range(AT_ONCE):
        failing = [client_id for client_id, count in failures.items() if count >= FAILURES_AT_ONCE]
        due = LogoutDelivery.objects.due(now=clock()).exclude(client_id__in=failing).order_by("next_attempt_at")
        delivery_id = due.values_list("pk", flat=True).first()
        if delivery_id is None:
            break
        delivery = deliver(delivery_id, clock=clock)
        if delivery is not None:
            counts[Status(delivery.status)] += 1
            failures[delivery.client_id] += delivery.status in {Status.WAITING, Status.GIVEN_UP}
    return {f"logout tokens {status.value.replace('_', ' ')}": count for status, count in counts.items()}


def deliver(delivery_id: UUID, *, clock: Clock = timezone.now) -> LogoutDelivery | None:
    """Make one attempt at a delivery that is due and return it; None if it is not due, or somebody else has it."""
    delivery = _claimed(delivery_id, now=clock())
    if delivery is None:
        return None
    if delivery.attempts > MOST_ATTEMPTS:
        outcome = Outcome(Status.GIVEN_UP, "no attempt came to an end")
    else:
        outcome = _attempt(delivery, now=clock())
    _note(delivery, outcome, now=clock())
    return delivery


def _claimed(delivery_id: UUID, *, now: datetime) -> LogoutDelivery | None:
    due = LogoutDelivery.objects.due(now=now).filter(pk=delivery_id)
    if not due.update(next_attempt_at=now + LEASE, attempts=F("attempts") + 1):
        return None
    return LogoutDelivery.objects.filter(pk=delivery_id).first()


def _attempt(delivery: LogoutDelivery, *, now: datetime) -> Outcome:
    application = get_application_model().objects.filter(client_id=delivery.client_id).first()
    if application is None:
        return Outcome(Status.GIVEN_UP, "there is no such application")
    uri = relying_party(delivery.client_id).backchannel_logout_uri
    if not uri:
        return Outcome(Status.GIVEN_UP, "it is not to be told any more")
    delivery.uri = uri  # an administrator may have mended it
    try:
        token = logout_token(delivery, application=application, now=now)
        status = post_form(delivery.uri, {"logout_token": token})
    except (CannotSign, NotDelivered) as error:
        return Outcome(Status.WAITING, str(error))
    except Exception as error:  # the next ones are sent all the same
        logger.exception("A logout token could not be delivered.")
        return Outcome(Status.WAITING, type(error).__name__)
    if status in {OK, NO_CONTENT}:  # §2.8
        return Outcome(Status.DELIVERED, str(status))
    return Outcome(Status.REFUSED if status == BAD_REQUEST else Status.WAITING, str(status))


def _note(delivery: LogoutDelivery, outcome: Outcome, *, now: datetime) -> None:
    is_last = delivery.attempts >= MOST_ATTEMPTS
    status = Status.GIVEN_UP if outcome.status == Status.WAITING and is_last else outcome.status
    changes = {
        "uri": delivery.uri,
        "status": status,
        "last_outcome": _printable(outcome.text)[:200],
        "delivered_at": now if status == Status.DELIVERED else None,
        "next_attempt_at": now + BACK_OFF[delivery.attempts - 1] if status == Status.WAITING else None,
    }
    for name, value in changes.items():
        setattr(delivery, name, value)
    # Who lost the claim, because the attempt took longer than the lease, has nothing to say any more.
    LogoutDelivery.objects.waiting().filter(pk=delivery.pk, attempts=delivery.attempts).update(**changes)


def _printable(text: str) -> str:
    # The error may quote what the other side sent: with NUL bytes, which PostgreSQL does not store.
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def forget_client(sender: type[Any], instance: Any, **kwargs: Any) -> None:
    """Receive `post_delete` of an application: a later one of the same client id inherits nothing."""
    of_client = {"client_id": instance.client_id}
    with atomic():
        RelyingParty.objects.filter(**of_client).delete()
        for context in (CodeContext, TokenContext):
            context._default_manager.filter(**of_client).delete()
        LogoutDelivery.objects.waiting().filter(**of_client).update(
            status=Status.GIVEN_UP, next_attempt_at=None, last_outcome="the application was deleted"
        )


def sweep(*, now: datetime) -> int:
    """Delete deliveries that ended a month ago; return how many."""
    deleted, _ = LogoutDelivery.objects.exclude(status=Status.WAITING).filter(created_at__lt=now - KEEP).delete()
    return deleted
