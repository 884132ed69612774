"""How a notice is sent: one connection for each, one mail for each address, and a record of what was not sent.

Nothing here fails whoever asked for it. That a mail was not sent is an audit event and a line in the log, without
addresses and without what it said.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.core import mail as django_mail
from django.core.mail import EmailMultiAlternatives
from django.utils import timezone

from . import audit
from .databases import atomic
from .models import AuditEvent

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Letter:
    """A notice, written: to whom, and every word of it. A queue can carry it: `dataclasses.asdict` is JSON."""

    notice: str
    user_key: str
    sign_in_id: str | None
    addresses: list[str]
    subject: str
    text: str
    html: str


couriers: list[Callable[[Letter], bool]] = []
"""Who may take a letter and send it elsewhere: each says whether it did. Filled by `AppConfig.ready`."""


def deliver(letter: Letter) -> None:
    """Have a letter sent: by the first courier that takes it, else now."""
    if not any(take(letter) for take in couriers):
        send(letter, now=timezone.now())


def send(letter: Letter, *, now: datetime) -> None:
    """Send a letter, to each address by itself: they are not disclosed to each other. Raises nothing: it is recorded.

    An address that is refused does not keep the others from getting it, unless the server hangs up.
    """
    sent, failure = 0, None
    try:
        with make_connection() as connection:
            for address in letter.addresses:
                try:
                    connection.send_messages([_message(letter, address)])
                    sent += 1
                except Exception as error:  # noqa: BLE001 whatever a backend raises
                    failure = failure or error
    except Exception as error:  # noqa: BLE001 no connection at all
        failure = failure or error
    if failure is not None:
        record_failure(
            failure,
            notice=letter.notice,
            user=get_user_model()._default_manager.filter(pk=letter.user_key).first(),
            sign_in_id=UUID(letter.sign_in_id) if letter.sign_in_id else None,
            unsent=len(letter.addresses) - sent,
            now=now,
        )


def make_connection() -> Any:
    """Return a connection of the site's mailer, not opened."""
    # Django 6.1 has named mailers, and deprecates what was before.
    mailers = getattr(django_mail, "mailers", None)
    return django_mail.get_connection() if mailers is None else mailers.default


def _message(letter: Letter, address: str) -> EmailMultiAlternatives:
    message = EmailMultiAlternatives(
        subject=letter.subject,
        body=letter.text,
        to=[address],
        headers={"Auto-Submitted": "auto-generated"},  # RFC 3834 §5: no out-of-office reply to this
    )
    message.attach_alternative(letter.html, "text/html")
    return message


def record_failure(
    error: Exception,
    *,
    notice: str,
    user: Any | None,
    sign_in_id: UUID | None,
    now: datetime,
    unsent: int | None = None,
) -> None:
    """Record that a notice did not reach its user, or not everywhere: which one, and the kind of error alone.

    What the error says stays out of it: mail servers quote addresses and contents. It is logged for debugging only.
    `unsent` is to how many addresses it was not sent, where there was a letter.
    """
    kind = type(error).__name__
    logger.error("The notice %s to the user %s was not sent: %s", notice, getattr(user, "pk", None), kind)
    logger.debug("Why the notice %s was not sent", notice, exc_info=error)
    detail: dict[str, Any] = {"notice": notice, "error": kind} | ({} if unsent is None else {"unsent": unsent})
    with atomic():
        audit.record(AuditEvent.Kind.MAIL_FAILED, now=now, user=user, sign_in_id=sign_in_id, **detail)
