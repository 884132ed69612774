"""Deliveries handed to Django's tasks (Django 6.0), where the site has a backend that works them elsewhere.

Not to Django's own two: the immediate one would send within the request, the dummy one nowhere. A task that is lost
loses nothing: the row is still due, and `manage.py tap deliver` finds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.tasks import Task, task
from django.tasks.backends.dummy import DummyBackend
from django.tasks.backends.immediate import ImmediateBackend

from .backchannel_logout import deliver
from .models import LogoutDelivery

if TYPE_CHECKING:
    from ..models import SignIn


@task
def deliver_logout_token(delivery_id: str) -> None:
    """Make one attempt; ask for the next one, where the backend can wait for it."""
    delivery = deliver(UUID(delivery_id))
    if delivery is not None and delivery.next_attempt_at is not None:
        this: Task = deliver_logout_token
        if this.get_backend().supports_defer:
            this.using(run_after=delivery.next_attempt_at).enqueue(delivery_id)


def hand_over(sender: type[Any], sign_in: SignIn, **kwargs: Any) -> None:
    """Receive `sign_in_ended`, after the commit: one task for each delivery."""
    this: Task = deliver_logout_token
    if isinstance(this.get_backend(), ImmediateBackend | DummyBackend):
        return
    for delivery_id in LogoutDelivery.objects.waiting().filter(sign_in_id=sign_in.pk).values_list("pk", flat=True):
        this.enqueue(str(delivery_id))
