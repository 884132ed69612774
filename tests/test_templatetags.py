"""The tag that asks for a variable that may be missing, without a word in the log."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from django.template import engines

from tap_provider.secret import MASK, Secret


def render(path: str, **context: Any) -> str:
    source = '{% load tap_provider %}{% optional "' + path + '" as found %}[{{ found }}]'
    return str(engines["django"].from_string(source).render(context))


@pytest.mark.usefixtures("records_of_templates")
@pytest.mark.parametrize(
    ("path", "context", "shown"),
    [
        ("form", {}, "[]"),
        ("form.errors", {}, "[]"),
        ("form.errors", {"form": None}, "[]"),
        ("form.errors", {"form": SimpleNamespace(errors="wrong")}, "[wrong]"),
        ("form.faults", {"form": SimpleNamespace(faults=lambda: "wrong")}, "[wrong]"),
        ("form.faults", {"form": SimpleNamespace(errors="wrong")}, "[]"),
    ],
)
def test_optional__returns_what_there_is_and_logs_nothing(
    path: str, context: dict[str, Any], shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="django.template"):
        assert render(path, **context) == shown
    assert caplog.records == []


@pytest.mark.usefixtures("records_of_templates")
def test_missing_variable__logs_a_context_in_which_secrets_are_masked(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="django.template"):
        engines["django"].from_string("{{ missing }}").render({"passcode": Secret("7KQ4X2MB")})
    assert "Failed lookup for key [missing]" in caplog.text
    assert f"'passcode': {MASK}" in caplog.text
    assert "7KQ4X2MB" not in caplog.text
