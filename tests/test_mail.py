"""How a notice is sent: a mail server that fails fails nobody's request, and what was not sent is recorded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from smtplib import SMTPRecipientsRefused
from typing import Any

import django
import pytest
from django.core import mail
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.backends.locmem import EmailBackend as LocmemBackend

from tap_provider import signals
from tap_provider.databases import where
from tap_provider.hooks import Hooks
from tap_provider.issue import issue_pass
from tap_provider.mail import Letter, couriers, deliver, send
from tap_provider.methods.totp import TotpKind
from tap_provider.models import AuditEvent, SignIn, TemporaryAccessPass
from tap_provider.redeem import redeem_pass
from tap_provider.sign_in import Client as WhereFrom

from .conftest import NOW

SECRET_WORDS = "refused robin@example.test because of words in the mail"


class DownBackend(BaseEmailBackend):
    """A server that cannot be reached."""

    def open(self) -> bool:
        raise ConnectionRefusedError(SECRET_WORDS)

    def send_messages(self, email_messages: Any) -> int:
        raise AssertionError("nothing is sent without a connection")


class UnmadeBackend(BaseEmailBackend):
    """A backend that does not even come to be."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError(SECRET_WORDS)


class PickyBackend(LocmemBackend):
    """Refuses one address, and notes how often it was opened and closed."""

    opened = closed = 0

    def open(self) -> bool:
        type(self).opened += 1
        return True

    def close(self) -> None:
        type(self).closed += 1

    def send_messages(self, email_messages: Any) -> int:
        for message in email_messages:
            if message.to == ["robin@example.test"]:
                raise SMTPRecipientsRefused({"robin@example.test": (550, SECRET_WORDS.encode())})
        return int(super().send_messages(email_messages))


class TwoAddresses(Hooks):
    def addresses_to_notify(self, user: Any) -> Sequence[str]:
        return ["robin@example.test", "robin@home.test"]


def use_backend(settings: Any, backend: type) -> None:
    path = f"{backend.__module__}.{backend.__name__}"
    if django.VERSION >= (6, 1):
        settings.MAILERS = {"default": {"BACKEND": path}}
    else:
        settings.EMAIL_BACKEND = path


def use_hooks(settings: Any, hooks: type[Hooks]) -> None:
    settings.TAP_PROVIDER_HOOKS = f"{__name__}.{hooks.__name__}"


def failures() -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(kind=AuditEvent.Kind.MAIL_FAILED).order_by("pk"))


def letter_to(user: Any, *addresses: Any) -> Letter:
    return Letter(
        notice="pass_issued",
        user_key=str(user.pk),
        sign_in_id=None,
        addresses=list(addresses),
        subject="A subject",
        text="Words in the mail.\n",
        html="<p>Words in the mail.</p>",
    )


# A server that fails. These commit for real: nothing is left to a test's own transaction.


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("backend", "error"), [(DownBackend, "ConnectionRefusedError"), (UnmadeBackend, "ZeroDivisionError")]
)
def test_send__a_failing_server_fails_nobody_and_is_recorded(
    robin: Any,
    admin: Any,
    policy_on: Any,
    settings: Any,
    hasher: Any,
    backend: type,
    error: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    use_backend(settings, backend)
    issued = issue_pass(actor=admin, user=robin, now=NOW)
    sign_in = redeem_pass(upn=robin.upn, passcode=issued.passcode.reveal(), client=WhereFrom(), now=NOW)

    assert TemporaryAccessPass.objects.get().redemption_count == 1
    assert SignIn.objects.get() == sign_in
    assert [event.detail for event in failures()] == [
        {"notice": "pass_issued", "error": error, "unsent": 1},
        {"notice": "pass_redeemed", "error": error, "unsent": 1},
    ]
    assert [(event.user_name, event.sign_in_id) for event in failures()] == [
        (robin.upn, None),
        (robin.upn, sign_in.pk),
    ]
    logged = [record for record in caplog.records if record.name == "tap_provider.mail" and record.levelname == "ERROR"]
    assert [record.getMessage() for record in logged] == [
        f"The notice pass_issued to the user {robin.pk} was not sent: {error}",
        f"The notice pass_redeemed to the user {robin.pk} was not sent: {error}",
    ]
    assert [record.exc_info for record in logged] == [None, None]
    assert issued.passcode.reveal() not in caplog.text


@pytest.mark.django_db(transaction=True)
def test_send__a_failing_server_does_not_disturb_the_page(
    robin: Any, issue: Any, settings: Any, sign_in_with_pass: Callable[..., Any], client: Any, hasher: Any
) -> None:
    use_backend(settings, DownBackend)
    assert sign_in_with_pass(robin.upn, issue(robin).passcode.reveal()).status_code == 302
    assert client.get("/account/security-info/").status_code == 200
    assert len(failures()) == 2


@pytest.mark.django_db(transaction=True)
def test_send__what_failed_is_told_without_addresses_and_words(
    robin: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    use_backend(settings, PickyBackend)
    send(letter_to(robin, "robin@example.test"), now=NOW)
    (event,) = failures()
    assert event.at == NOW
    for told in (str(event.detail), caplog.text):
        assert "SMTPRecipientsRefused" in told
        assert "example.test" not in told
        assert "words" not in told.lower()


@pytest.mark.django_db
def test_send__why_it_failed_is_logged_for_debugging(
    robin: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="tap_provider.mail")
    use_backend(settings, DownBackend)
    send(letter_to(robin, "robin@example.test"), now=NOW)
    assert SECRET_WORDS in caplog.text


@pytest.mark.django_db
def test_send__one_address_that_is_refused_does_not_keep_the_others_from_it(
    robin: Any, settings: Any, django_capture_on_commit_callbacks: Any
) -> None:
    use_backend(settings, PickyBackend)
    use_hooks(settings, TwoAddresses)
    PickyBackend.opened = PickyBackend.closed = 0
    with django_capture_on_commit_callbacks(execute=True, using=where()):
        signals.send_after_commit(signals.signed_out_everywhere, sender=TotpKind, user=robin, sign_in=None, ended=1)
    assert [message.to for message in mail.outbox] == [["robin@home.test"]]
    assert [event.detail for event in failures()] == [
        {"notice": "signed_out_everywhere", "error": "SMTPRecipientsRefused", "unsent": 1}
    ]
    assert (PickyBackend.opened, PickyBackend.closed) == (1, 1)  # one connection for all of them


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["robin@example.test\r\nBcc: eve@example.test", "robin\n@example.test"])
def test_send__a_bad_address_is_recorded_and_the_others_get_theirs(robin: Any, settings: Any, address: Any) -> None:
    send(letter_to(robin, address, "robin@home.test"), now=NOW)
    assert [message.to for message in mail.outbox] == [["robin@home.test"]]
    (event,) = failures()
    assert event.detail["unsent"] == 1
    assert "eve" not in str(event.detail)


@pytest.mark.django_db
def test_send__a_user_who_is_gone_is_no_obstacle(make_user: Any, settings: Any) -> None:
    user = make_user("gone")
    letter = letter_to(user, "gone@example.test")
    user.delete()
    use_backend(settings, DownBackend)
    send(letter, now=NOW)
    assert [event.user_name for event in failures()] == [""]


@pytest.mark.django_db
def test_send__has_both_parts(robin: Any) -> None:
    send(letter_to(robin, "robin@example.test"), now=NOW)
    (message,) = mail.outbox
    sent = message.message()
    assert sent.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in sent.get_payload()] == ["text/plain", "text/html"]  # the best one last
    assert sent["Auto-Submitted"] == "auto-generated"
    assert failures() == []


@pytest.mark.django_db
def test_deliver__a_queue_that_fails_is_recorded(robin: Any, django_capture_on_commit_callbacks: Any) -> None:
    def fail(letter: Letter) -> bool:
        raise ConnectionError("the queue is down")

    couriers.insert(0, fail)
    try:
        with django_capture_on_commit_callbacks(execute=True, using=where()):
            signals.send_after_commit(signals.signed_out_everywhere, sender=TotpKind, user=robin, sign_in=None, ended=1)
    finally:
        couriers.remove(fail)
    assert [event.detail for event in failures()] == [{"notice": "signed_out_everywhere", "error": "ConnectionError"}]


# Django's tasks.

if django.VERSION >= (6, 0):
    from .oidc.test_tasks import KeepingBackend


with_tasks = pytest.mark.skipif(django.VERSION < (6, 0), reason="django.tasks came with Django 6.0")


@with_tasks
@pytest.mark.django_db
def test_hand_over__a_letter_is_sent_where_tasks_are_worked(robin: Any, settings: Any) -> None:
    KeepingBackend.kept.clear()
    settings.TASKS = {"default": {"BACKEND": "tests.oidc.test_tasks.KeepingBackend"}}
    letter = letter_to(robin, "robin@example.test")
    deliver(letter)
    assert mail.outbox == []
    ((task, args),) = KeepingBackend.kept
    assert list(args) == [asdict(letter)]
    task.call(*args)
    assert [message.to for message in mail.outbox] == [["robin@example.test"]]


@with_tasks
@pytest.mark.django_db
@pytest.mark.parametrize(
    "backend", ["django.tasks.backends.immediate.ImmediateBackend", "django.tasks.backends.dummy.DummyBackend"]
)
def test_hand_over__not_to_a_backend_that_works_none_elsewhere(robin: Any, settings: Any, backend: str) -> None:
    settings.TASKS = {"default": {"BACKEND": backend}}
    deliver(letter_to(robin, "robin@example.test"))
    assert [message.to for message in mail.outbox] == [["robin@example.test"]]
