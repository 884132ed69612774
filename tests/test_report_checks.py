"""System checks of what administrators are sent."""

from __future__ import annotations

import logging
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils.log import AdminEmailHandler as DjangoAdminEmailHandler

from tap_provider.debug import AdminEmailHandler, ExceptionReporter, ExceptionReporterFilter
from tap_provider.report_checks import E020, W020, W021, check_error_reports, check_sentry

from .conftest import ADMINS


class OwnReporter(ExceptionReporter):
    pass


class OwnFilter(ExceptionReporterFilter):
    pass


@pytest.mark.parametrize("name", ["DEFAULT_EXCEPTION_REPORTER", "DEFAULT_EXCEPTION_REPORTER_FILTER"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("django.views.debug.ExceptionReporter", [W020]),
        ("django.views.debug.SafeExceptionReporterFilter", [W020]),
        ("django.views.debug.no_such_thing", [E020]),
        (None, [E020]),
    ],
)
def test_check_error_reports__wants_ours(name: str, path: str | None, expected: list[str], settings: Any) -> None:
    setattr(settings, name, path)
    assert [found.id for found in check_error_reports(None)] == expected


def test_check_error_reports__takes_subclasses(settings: Any) -> None:
    settings.DEFAULT_EXCEPTION_REPORTER = f"{__name__}.OwnReporter"
    settings.DEFAULT_EXCEPTION_REPORTER_FILTER = f"{__name__}.OwnFilter"
    assert check_error_reports(None) == []


def test_check_error_reports__wants_our_handler_of_error_mails(settings: Any) -> None:
    logger = logging.getLogger("site.errors")
    for handler, expected in ((DjangoAdminEmailHandler(), [W020]), (AdminEmailHandler(), [])):
        logger.addHandler(handler)
        try:
            settings.ADMINS = []
            assert check_error_reports(None) == []
            settings.ADMINS = ADMINS
            assert [found.id for found in check_error_reports(None)] == expected
        finally:
            logger.removeHandler(handler)


def test_check_sentry__says_nothing_where_the_sdk_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)
    assert check_sentry(None) == []


@pytest.mark.parametrize(
    ("is_active", "options", "expected"),
    [
        (False, {}, []),
        (True, {}, [W021]),
        (True, {"before_send": len}, [W021]),
        (True, {"before_send": len, "before_send_transaction": len}, []),
        (True, {"before_send": len, "before_send_transaction": len, "enable_logs": True}, [W021]),
        (True, dict.fromkeys(["before_send", "before_send_transaction", "before_send_log", "enable_logs"], len), []),
    ],
)
def test_check_sentry__wants_a_scrubber_for_events_and_for_traces(
    is_active: bool, options: dict[str, Any], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = SimpleNamespace(is_active=lambda: is_active, options=options)
    monkeypatch.setitem(sys.modules, "sentry_sdk", SimpleNamespace(get_client=lambda: client))
    assert [found.id for found in check_sentry(None)] == expected
