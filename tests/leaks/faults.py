"""Faults: the n-th statement fails, or the n-th function that is called for the first time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.signals import request_finished, request_started
from django.db import OperationalError, connection

PACKAGES = (
    *("tap_provider", "django.contrib.auth", "django.contrib.sessions", "django_otp"),
    *("oauth2_provider", "oauthlib"),
)
REPORTERS = ("tap_provider.debug", "tap_provider.scrubbing", "tap_provider.sentry", "tap_provider.secret")


class Fault:
    """Fails at the n-th of what is counted, once; never if that is 0."""

    def __init__(self, at: int) -> None:
        self.at, self.count = at, 0

    @property
    def is_reached(self) -> bool:
        return self.count >= self.at

    def is_now(self) -> bool:
        self.count += 1
        return self.count == self.at


@contextmanager
def failing_statement(at: int) -> Iterator[Fault]:
    fault = Fault(at)

    def run(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if fault.is_now():
            raise OperationalError("the database has gone away")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(run):
        yield fault


@contextmanager
def failing_function(at: int) -> Iterator[Fault]:
    """Count what a request calls of this project, and of the libraries that hold secrets: each function once."""
    fault = Fault(at)
    called: set[Any] = set()

    def call(frame: Any, event: str, argument: Any) -> None:
        module = str(frame.f_globals.get("__name__"))
        if event != "call" or frame.f_code in called or not module.startswith(PACKAGES) or module in REPORTERS:
            return
        called.add(frame.f_code)
        if fault.is_now():
            raise RuntimeError("a function has gone away")

    def listen(**kwargs: Any) -> None:
        sys.setprofile(call)

    def stop(**kwargs: Any) -> None:
        sys.setprofile(None)

    request_started.connect(listen)
    request_finished.connect(stop)
    try:
        yield fault
    finally:
        stop()
        request_started.disconnect(listen)
        request_finished.disconnect(stop)
