"""Letters handed to Django's tasks (Django 6.0), where the site has a backend that works them elsewhere.

Not to Django's own two: the immediate one would send within the request, the dummy one nowhere.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from django.tasks import Task, task
from django.tasks.backends.dummy import DummyBackend
from django.tasks.backends.immediate import ImmediateBackend
from django.utils import timezone

from . import mail

if TYPE_CHECKING:
    from .mail import Letter


@task
def send_letter(letter: dict[str, Any]) -> None:
    """Send a letter, once: one that fails is recorded, and not sent again."""
    mail.send(mail.Letter(**letter), now=timezone.now())


def hand_over(letter: Letter) -> bool:
    """Enqueue the sending of a letter, where that is worked elsewhere; tell whether it is."""
    this: Task[..., None] = send_letter
    if isinstance(this.get_backend(), ImmediateBackend | DummyBackend):
        return False
    this.enqueue(asdict(letter))
    return True
