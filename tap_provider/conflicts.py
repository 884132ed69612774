"""When two transactions keep each other waiting, a database makes one of them fail: known by its code, and sent again.

Our own verbs take their locks in one order (decision 0022), so that they never do so among themselves. Code of the
site's, and rows that a database locks on its way, keep to no order.
"""

from __future__ import annotations

import random
import time
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from django.db import OperationalError

from .databases import users_connection

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")

POSTGRESQL = {"40001", "40P01"}  # serialization_failure, deadlock_detected
MARIADB = {1020, 1205, 1213}  # ER_CHECKREAD (of a snapshot), ER_LOCK_WAIT_TIMEOUT, ER_LOCK_DEADLOCK
SQLITE = {5, 6}  # SQLITE_BUSY, SQLITE_LOCKED: "database is locked"

TRIES = 6
PATIENCE = 10.0
"""Seconds after which a verb is not begun again: who has waited for a lock that long would only wait longer."""
FIRST_PAUSE = 0.01  # seconds at most, doubled each time


def is_conflict(error: BaseException) -> bool:
    """Tell whether a transaction failed because of another one, so that it may well succeed when it is sent again."""
    if not isinstance(error, OperationalError):
        return False
    cause = error.__cause__ or error
    if (getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)) in POSTGRESQL:
        return True
    sqlite_code = getattr(cause, "sqlite_errorcode", None)
    if sqlite_code is not None:
        return sqlite_code & 0xFF in SQLITE  # what is above tells more of the same
    return bool(error.args) and error.args[0] in MARIADB


def retry_conflicts(verb: Callable[P, R]) -> Callable[P, R]:
    """Let a verb that is a transaction of its own begin again where another transaction made it fail.

    Within a transaction of its caller's it is called once: that one has failed as a whole, and only its beginner can
    begin it again. Raises the OperationalError of the last try. The verb must leave nothing behind where it fails,
    neither in its arguments nor in a session.
    """

    @wraps(verb)
    def begin_again(*args: P.args, **kwargs: P.kwargs) -> R:
        began = time.monotonic()
        tries = 1 if users_connection().in_atomic_block else TRIES
        for number in range(tries - 1):
            try:
                return verb(*args, **kwargs)
            except OperationalError as error:
                if not is_conflict(error) or time.monotonic() - began > PATIENCE:
                    raise
            time.sleep(random.uniform(0, FIRST_PAUSE * 2**number))  # noqa: S311 so that two do not meet again
        return verb(*args, **kwargs)

    return begin_again
