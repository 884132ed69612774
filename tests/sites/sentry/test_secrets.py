"""Sentry is sent no secret: in events with variables and request data, breadcrumbs, logs and traces.

The flows are those of `tests/leaks`, with the faults of `tests/leaks/faults`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import sentry_sdk
from django.core.cache import cache
from django.core.checks import run_checks
from django.db import transaction

from tap_provider.report_checks import W021
from tests.leaks.conftest import known, world  # noqa: F401 fixtures
from tests.leaks.faults import Fault, failing_function, failing_statement
from tests.leaks.flows import (
    FLOWS,
    Act,
    exchange_a_code,
    exchange_a_code_in_json,
    issue_in_admin,
    issue_on_the_command_line,
    make_recovery_codes,
    redeem_on_the_page,
    register_an_app,
    second_step_by_app,
    second_step_by_recovery_code,
    see_the_key_of_an_app,
    set_a_password,
    sign_in_by_password,
)
from tests.leaks.world import Known, World

from .settings import start_sentry
from .transport import sent

Flow = Callable[[World], Act]

OURS = {"passcode", "recovery code", "totp key", "totp code", "password"}
"""What passes through our own functions alone; the rest is text by the interfaces of libraries."""

ON_THIS_SITE = [flow for flow in FLOWS if flow not in {exchange_a_code_in_json, issue_on_the_command_line}]
THROUGH_OURS = [
    issue_in_admin,
    redeem_on_the_page,
    sign_in_by_password,
    second_step_by_app,
    second_step_by_recovery_code,
    register_an_app,
    see_the_key_of_an_app,
    make_recovery_codes,
    set_a_password,
]
IN_FUNCTIONS = [redeem_on_the_page, sign_in_by_password, second_step_by_recovery_code, exchange_a_code]
EVERY = 11  # of some 300 functions in each of these

pytestmark = [
    pytest.mark.usefixtures("hasher"),
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider"),  # of the password grant
]


@pytest.fixture
def robin(make_user: Callable[..., Any]) -> Any:
    return make_user("robin")


def by_name(flow: Flow) -> str:
    return flow.__name__


def kinds_in(known: Known, text: str) -> set[str]:  # noqa: F811 no fixture here
    return {kind for kind, pattern in known.patterns().items() if pattern.search(text)}


def leaks_of(
    world: World,  # noqa: F811
    flow: Flow,
    *,
    places: range,
    failing: Callable[[int], AbstractContextManager[Fault]] = failing_statement,
) -> dict[int, set[str]]:
    """Let a flow fail in each of these places that it reaches; return the kinds of secrets that were sent of each."""
    leaks: dict[int, set[str]] = {}
    events, reached = 0, True
    for place in places:
        with transaction.atomic():
            cache.clear()
            world.known.forget()
            act = flow(world)
            sent.clear()
            # As Sentry's WSGI middleware does, which the test client does not pass.
            whole = sentry_sdk.start_transaction(op="http.server", name="flow")
            with sentry_sdk.isolation_scope(), whole, failing(place) as fault:
                act()
            sentry_sdk.flush()
            transaction.set_rollback(True)
        events += sum('"type":"event"' in one for one in sent)
        assert any('"type":"transaction"' in one for one in sent)
        kinds = kinds_in(world.known, "\n".join(sent))
        leaks |= {place: kinds} if kinds else {}
        if not fault.is_reached:
            reached = False
            break
    assert not reached, "the flow has no end"
    assert events >= 2, "no fault was reported"
    return leaks


@pytest.mark.parametrize("flow", ON_THIS_SITE, ids=by_name)
def test_events_and_traces__hold_no_secret_whatever_statement_fails(flow: Flow, world: World) -> None:  # noqa: F811
    start_sentry()
    assert leaks_of(world, flow, places=range(1000)) == {}


@pytest.mark.parametrize("flow", THROUGH_OURS, ids=by_name)
def test_events_and_traces__hold_no_secret_without_personal_data_either(flow: Flow, world: World) -> None:  # noqa: F811
    start_sentry(send_default_pii=False)
    assert leaks_of(world, flow, places=range(0, 1000, 4)) == {}


@pytest.mark.parametrize("flow", IN_FUNCTIONS, ids=by_name)
def test_events_and_traces__hold_no_secret_whatever_function_fails(flow: Flow, world: World) -> None:  # noqa: F811
    start_sentry()
    assert leaks_of(world, flow, places=range(1, 10_000, EVERY), failing=failing_function) == {}


@pytest.mark.parametrize("flow", THROUGH_OURS, ids=by_name)
def test_our_functions_and_contexts__hold_no_secret_without_the_scrubber(flow: Flow, world: World) -> None:  # noqa: F811
    start_sentry(with_scrubber=False)
    options = sentry_sdk.get_client().options
    options["before_send"] = options["before_send_transaction"] = only_ours
    try:
        leaks = leaks_of(world, flow, places=range(0, 1000, 2))
        assert {place: kinds & OURS for place, kinds in leaks.items() if kinds & OURS} == {}
    finally:
        start_sentry()


def only_ours(event: dict[str, Any], hint: Any) -> dict[str, Any]:
    """Leave of an event the variables of our functions, and of a trace what templates were given."""
    event.pop("request", None)
    for error in event.get("exception", {}).get("values", []):
        frames = error.get("stacktrace", {}).get("frames", [])
        error["stacktrace"] = {"frames": [frame for frame in frames if is_ours(frame["module"])]}
    return event


def is_ours(module: str) -> bool:
    return module.startswith("tap_provider.") and not module.startswith("tap_provider.oidc")


class Shown:
    def __repr__(self) -> str:
        return "<Shown passcode=SENTINEL-KQZ>"


def test_breadcrumbs_and_logs__hold_no_secret() -> None:
    """Sentry keeps log records, of any library, as breadcrumbs of the next event, and sends them as logs."""
    start_sentry()
    sent.clear()
    with sentry_sdk.isolation_scope():
        logging.getLogger("library").warning("POST passcode=%s", "SENTINEL-KQZ")
        logging.getLogger("library").warning("%s", Shown(), extra={"shown": Shown()})
        sentry_sdk.add_breadcrumb(message="sign in", data={"passcode": "SENTINEL-KQZ"})
        sentry_sdk.capture_message("after it")
    sentry_sdk.flush()
    texts = "\n".join(sent)
    assert '"breadcrumbs"' in texts
    assert '"type":"log"' in texts
    assert "POST passcode=" in texts
    assert "SENTINEL" not in texts


def test_check__warns_where_sentry_has_no_scrubber() -> None:
    start_sentry(with_scrubber=False)
    try:
        [found] = [found for found in run_checks() if found.id == W021]
        assert "before_send, before_send_transaction, before_send_log not set" in found.msg
    finally:
        start_sentry()
    assert [found.id for found in run_checks() if found.id == W021] == []
