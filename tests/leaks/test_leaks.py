"""Nothing that a site keeps, logs or mails shows a secret: every flow, with a fault at each statement in turn.

What libraries store in clear by design is listed in `STORED_IN_CLEAR` and in docs/reference/error-reports.md.
"""

from __future__ import annotations

import io
import logging
import pickle
import sys
import traceback
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.cache import cache
from django.core.signals import got_request_exception
from django.db import transaction
from django.test import TestCase

from tap_provider.debug import AdminEmailHandler

from ..test_issue import values_of_database
from .faults import Fault, failing_function, failing_statement
from .flows import (
    FLOWS,
    REFUSED,
    SECRETS,
    Act,
    Flow,
    exchange_a_code,
    exchange_a_code_in_json,
    issue_in_admin,
    issue_on_the_command_line,
    redeem_on_the_page,
    refresh,
    register_an_app,
    second_step_by_recovery_code,
    send_a_password_to_the_token_endpoint,
    sign_in_by_password,
)
from .world import Known, World

WRAPPED = {"passcode", "recovery code", "totp key", "totp code", "password"}
"""No variable of our own functions shows these, although no name masks them. The others are text to libraries."""

Failing = Callable[[int], AbstractContextManager[Fault]]

STORED_IN_CLEAR = {
    "totp key": "otp_totp_totpdevice",  # django-otp computes codes with it
    "authorization code": "oauth2_provider_grant",  # the toolkit finds a code by it, until it is exchanged or expires
    "device code": "oauth2_provider_devicegrant",  # the toolkit finds a device by it
    "session key": "django_session",  # Django's database engine finds a session by it
}
"""The one table that holds it."""

pytestmark = [
    pytest.mark.leaks,
    pytest.mark.usefixtures("hasher", "records_of_templates"),  # a cheap one
    pytest.mark.filterwarnings("ignore:JSONOAuthLibCore:DeprecationWarning"),  # which sites have, until it is gone
    pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider"),  # of the password grant
]


@contextmanager
def recorded(*, every_function: bool) -> Iterator[tuple[io.StringIO, io.StringIO]]:
    """Log everything at DEBUG level, mail what is an error, and keep the variables of our own functions.

    Those of a traceback, and with `every_function` of each function when it returns: any line of it may fail one day.
    """
    said, variables = io.StringIO(), io.StringIO()
    handlers: list[logging.Handler] = [logging.StreamHandler(said), AdminEmailHandler(include_html=True)]
    handlers[1].setLevel(logging.ERROR)
    levels = {name: logging.getLogger(name).level for name in ("", "django", "django.request", "django.template")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.DEBUG)
    root, of_django = logging.getLogger(), logging.getLogger("django")
    kept = root.handlers, of_django.handlers
    root.handlers, of_django.handlers = handlers, []  # these alone

    def keep_variables_of(frame: Any) -> None:
        module = str(frame.f_globals.get("__name__"))
        if module.startswith("tap_provider.") and not module.startswith(("tap_provider.oidc", "tap_provider.secret")):
            shown = {name: safe_repr(value) for name, value in frame.f_locals.items()}
            variables.write(f"{module}.{frame.f_code.co_name} {shown}\n")

    def keep_variables(**kwargs: Any) -> None:
        for frame, _line in traceback.walk_tb(sys.exc_info()[2]):
            keep_variables_of(frame)

    def keep_variables_on_return(frame: Any, event: str, result: Any) -> None:
        if event == "return":
            keep_variables_of(frame)

    if every_function:
        sys.setprofile(keep_variables_on_return)
    got_request_exception.connect(keep_variables)
    try:
        yield said, variables
    finally:
        sys.setprofile(None)
        got_request_exception.disconnect(keep_variables)
        root.handlers, of_django.handlers = kept
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def safe_repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 as reporters do
        return f"({type(error).__name__})"


def kept_texts() -> Iterator[tuple[str, str]]:
    """Yield what the site has kept: where, and the text."""
    rows: dict[str, set[str]] = {}
    for table, value in values_of_database():
        text = bytes(value).decode("latin-1") if isinstance(value, bytes | memoryview) else str(value)
        rows.setdefault(f"database {table}", set()).add(text)
    yield from ((table, "\n".join(texts)) for table, texts in rows.items())
    for session in Session.objects.all():
        yield "session", str(session.get_decoded())
    for key, pickled in cache._cache.items():  # a pickle's bytes run into the text that they hold
        yield "cache", f"{key} {pickle.loads(pickled)!r}"


def found(known: Known, texts: Iterator[tuple[str, str]]) -> list[tuple[str, str]]:
    patterns = known.patterns()
    return sorted(
        {
            (where, kind)
            for where, text in texts
            for kind, pattern in patterns.items()
            if pattern.search(text) and not is_expected(where, kind)
        }
    )


def is_expected(where: str, kind: str) -> bool:
    if where.startswith("variables"):
        return kind not in WRAPPED
    return kind in STORED_IN_CLEAR and where == f"database {STORED_IN_CLEAR[kind]}"


def run_once(
    world: World,
    flow: Flow,
    *,
    fail_at: int,
    failing: Failing = failing_statement,
    refused: Collection[Any] = REFUSED,
) -> tuple[bool, list[tuple[str, str]]]:
    """Run a flow with a fault; return whether it got as far, and the secrets found, and where.

    At 0 nothing fails: the flow must then succeed, or be refused as it is meant to be.
    """
    with transaction.atomic():
        cache.clear()
        world.known.forget()
        act = flow(world)
        mail.outbox.clear()
        committing = TestCase.captureOnCommitCallbacks(execute=True)  # mails to the user, deleted sessions
        watching = recorded(every_function=fail_at == 0)
        with watching as (said, variables), committing, failing(fail_at) as fault:
            result = act()
        assert fail_at or result is None or (result.status_code < 400) is (flow not in refused), result.content
        unknown = SECRETS.get(flow, set()) - {kind for kind, texts in world.known.texts.items() if texts}
        assert fail_at or not unknown, f"the test does not know the secrets: {unknown}"
        transaction.set_rollback(False)  # a statement may have failed that would have ended a savepoint
        leaks = found(world.known, texts_of(said, variables, result))
        transaction.set_rollback(True)
    return fault.is_reached, leaks


def texts_of(said: io.StringIO, variables: io.StringIO, result: Any) -> Iterator[tuple[str, str]]:
    yield "log", said.getvalue()
    for line in set(variables.getvalue().splitlines()):
        function, _space, shown = line.partition(" ")
        yield f"variables of {function}", shown
    yield "repr", repr(result)
    for message in mail.outbox:
        yield "mail", message.subject + message.body
        yield from (("html mail", alternative[0]) for alternative in message.alternatives)
    yield from kept_texts()


def _use_json(flow: Flow, settings: Any) -> None:
    if flow is exchange_a_code_in_json:
        core = "oauth2_provider.oauth2_backends.JSONOAuthLibCore"
        settings.OAUTH2_PROVIDER = {**settings.OAUTH2_PROVIDER, "OAUTH2_BACKEND_CLASS": core}


def every_leak(
    world: World, flow: Flow, *, failing: Failing, places: range, mailed: list[str] | None = None
) -> tuple[int, dict[int, list[tuple[str, str]]]]:
    """Let a flow fail in each of these places that it reaches; return the last one, and the secrets found at each."""
    leaks: dict[int, list[tuple[str, str]]] = {}
    for place in places:
        reached, shown = run_once(world, flow, fail_at=place, failing=failing)
        leaks |= {place: shown} if shown else {}
        if mailed is not None:
            mailed += [message.body for message in mail.outbox]
        if not reached:
            return place, leaks
    raise AssertionError("the flow has no end")


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.__name__)
def test_flow__shows_no_secret_whatever_statement_fails(flow: Flow, world: World, settings: Any) -> None:
    _use_json(flow, settings)
    mailed: list[str] = []
    last, leaks = every_leak(world, flow, failing=failing_statement, places=range(1000), mailed=mailed)
    assert last > 1, "the flow sends no statement"
    assert any("gone away" in body for body in mailed) or flow is issue_on_the_command_line
    assert leaks == {}


EVERY = 7  # of some 300 functions in each of these flows
IN_FUNCTIONS = [
    issue_in_admin,
    redeem_on_the_page,
    sign_in_by_password,
    second_step_by_recovery_code,
    register_an_app,
    exchange_a_code,
    refresh,
    send_a_password_to_the_token_endpoint,
]


@pytest.mark.parametrize("flow", IN_FUNCTIONS, ids=lambda flow: flow.__name__)
def test_flow__shows_no_secret_whatever_function_fails(flow: Flow, world: World) -> None:
    last, leaks = every_leak(world, flow, failing=failing_function, places=range(1, 10_000, EVERY))
    assert last > 50, "the flow calls hardly a function"
    assert {place: shown for place, found in leaks.items() if (shown := _outside_variables(found))} == {}


def _outside_variables(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    # A function that fails as it is entered has its arguments in clear where a library passes them so, by names that
    # every report masks. Its variables are judged when it returns.
    return [(where, kind) for where, kind in found if not where.startswith("variables")]


@pytest.mark.parametrize("flow", SECRETS, ids=lambda flow: flow.__name__)
def test_run_once__finds_a_secret_of_each_kind_in_the_log(flow: Flow, world: World, settings: Any) -> None:
    """A leak that is put there: the search must find it, or it finds none."""
    _use_json(flow, settings)

    def leaking(world: World) -> Act:
        act = flow(world)

        def leak() -> Any:
            result = act()
            for texts in world.known.texts.values():
                logging.getLogger("library").warning("it was %s", " and ".join(sorted(texts)))
            return result

        return leak

    _reached, leaks = run_once(world, leaking, fail_at=0, refused={leaking} if flow in REFUSED else ())
    everywhere = {"password", "client secret", "code verifier", "totp code"}
    assert {kind for where, kind in leaks if where == "log"} >= SECRETS[flow] | everywhere


def test_run_once__mails_administrators_what_fails(world: World) -> None:
    """Otherwise error mails are not looked at."""
    for failing in (failing_statement, failing_function):
        run_once(world, redeem_on_the_page, fail_at=3, failing=failing)
        assert any("gone away" in message.body for message in mail.outbox)


def test_run_once__mails_the_user_what_is_mailed_after_the_commit(world: World) -> None:
    """Otherwise the notices to users are not looked at."""
    reached, leaks = run_once(world, redeem_on_the_page, fail_at=0)
    assert (reached, leaks) == (True, [])
    assert [message.to for message in mail.outbox] == [[world.robin.email]]
