"""Deliveries handed to Django's tasks, where the site has a backend that works them elsewhere."""

from __future__ import annotations

from typing import Any

import django
import pytest
from django.test import Client, override_settings

from tap_provider.oidc.models import LogoutDelivery

from .conftest import Party
from .logout_receiver import Receiver
from .test_backchannel_logout import listen, receiver

__all__ = ["receiver"]

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(django.VERSION < (6, 0), reason="django.tasks came with Django 6.0"),
]

if django.VERSION >= (6, 0):
    from django.tasks import TaskResult, TaskResultStatus
    from django.tasks.backends.base import BaseTaskBackend

    class KeepingBackend(BaseTaskBackend):
        """Keeps what a worker elsewhere would do."""

        supports_defer = True
        kept: list[Any] = []

        def enqueue(self, task: Any, args: Any, kwargs: Any) -> TaskResult:
            self.kept.append((task, args))
            return TaskResult(
                task=task,
                id="1",
                status=TaskResultStatus.READY,
                enqueued_at=None,
                started_at=None,
                finished_at=None,
                last_attempted_at=None,
                args=args,
                kwargs=kwargs,
                backend=self.alias,
                errors=[],
                worker_ids=[],
            )

    class ImpatientBackend(KeepingBackend):
        supports_defer = False

    class FailingBackend(KeepingBackend):
        def enqueue(self, task: Any, args: Any, kwargs: Any) -> TaskResult:
            raise ConnectionError("the queue is down")


def using(backend: str) -> Any:
    path = backend if "." in backend else f"{__name__}.{backend}"
    return override_settings(TASKS={"default": {"BACKEND": path}})


@pytest.fixture
def kept() -> list[Any]:
    KeepingBackend.kept.clear()
    return KeepingBackend.kept


@pytest.fixture
def took_part(full: Client, intranet: Party, receiver: Receiver) -> Client:
    listen(intranet, receiver.uri)
    intranet.tokens(full)
    return full


def test_hand_over__one_task_a_delivery_after_the_commit(
    took_part: Client, portal: Party, receiver: Receiver, kept: list[Any]
) -> None:
    listen(portal, receiver.uri)
    portal.tokens(took_part)

    with using("KeepingBackend"):
        took_part.post("/account/sign-out/")
        assert receiver.requests == []
        assert sorted(args for _, args in kept) == sorted((str(row.pk),) for row in LogoutDelivery.objects.all())
        for task, args in list(kept):
            task.call(*args)

    assert len(receiver.requests) == 2
    assert set(LogoutDelivery.objects.values_list("status", flat=True)) == {"delivered"}
    assert len(kept) == 2


def test_task__that_failed_asks_for_the_next_attempt(took_part: Client, receiver: Receiver, kept: list[Any]) -> None:
    receiver.status = 503
    with using("KeepingBackend"):
        took_part.post("/account/sign-out/")
        task, args = kept.pop()
        task.call(*args)

        ((again, same),) = kept

    assert same == args
    assert again.run_after == LogoutDelivery.objects.get().next_attempt_at


def test_task__that_failed_is_left_to_the_command_where_the_backend_cannot_wait(
    took_part: Client, receiver: Receiver, kept: list[Any]
) -> None:
    receiver.status = 503
    with using("ImpatientBackend"):
        took_part.post("/account/sign-out/")
        task, args = kept.pop()
        task.call(*args)

    assert kept == []
    assert LogoutDelivery.objects.get().status == "waiting"


def test_task__that_comes_twice_sends_once(took_part: Client, receiver: Receiver, kept: list[Any]) -> None:
    with using("KeepingBackend"):
        took_part.post("/account/sign-out/")
        task, args = kept.pop()
        task.call(*args)
        task.call(*args)

    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    "backend", ["django.tasks.backends.immediate.ImmediateBackend", "django.tasks.backends.dummy.DummyBackend"]
)
def test_hand_over__not_to_a_backend_that_would_send_within_the_request(
    took_part: Client, receiver: Receiver, backend: str
) -> None:
    with using(backend):
        took_part.post("/account/sign-out/")

    assert receiver.requests == []
    assert LogoutDelivery.objects.get().status == "waiting"


def test_hand_over__a_queue_that_is_down_disturbs_nobody_and_loses_nothing(
    took_part: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with using("FailingBackend"):
        assert took_part.post("/account/sign-out/").status_code == 302

    assert "the queue is down" in caplog.text
    assert LogoutDelivery.objects.get().status == "waiting"
