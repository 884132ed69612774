"""`python -m tests.compliance`: which section of which specification is proved by which test, and how that went.

Runs the tests marked `compliance("OpenID Connect Core 1.0 §3.1.2.1", …)` and prints a Markdown table of them, or JSON
with `--json`. Everything else on the command line is pytest's. The exit code is 1 if any failed, or none was found.

As a plugin (`-p tests.compliance`) this module notes the sections on each report: with pytest-xdist the tests run in
other processes, and their reports are all that arrives here.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROPERTY = "compliance"
SECTION = re.compile(r"(?P<specification>\S.*\S) §(?P<number>[0-9A-Z]+(?:\.[0-9]+)*)")
WORST_LAST = ("passed", "skipped", "failed")


# In the process that runs the tests.


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the marked tests, with their sections noted."""
    marked = [item for item in items if item.get_closest_marker(PROPERTY)]
    for item in marked:
        item.user_properties += [(PROPERTY, section) for section in sections_of(item)]
    kept = set(marked)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = marked


def sections_of(item: pytest.Item) -> list[str]:
    sections = [str(section) for mark in item.iter_markers(PROPERTY) for section in mark.args]
    wrong = [section for section in sections if not SECTION.fullmatch(section)]
    if wrong or not sections:
        raise pytest.UsageError(f"{item.nodeid}: {wrong or 'no section'}: write it as 'RFC 9470 §3'")
    return sections


# In the process that prints.


@dataclass(frozen=True, order=True)
class Row:
    """One test that proves one section; what a test's parameters are counts as its cases."""

    specification: str
    order: tuple[tuple[bool, str], ...] = field(repr=False)
    section: str
    test: str


@dataclass
class Outcome:
    cases: set[str] = field(default_factory=set)
    result: str = WORST_LAST[0]

    def note(self, case: str, result: str) -> None:
        self.cases.add(case)
        self.result = max(self.result, result, key=WORST_LAST.index)


class Table:
    """Collects what pytest reports."""

    def __init__(self) -> None:
        self.outcomes: dict[Row, Outcome] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = re.sub(r"\[.*", "", report.nodeid, flags=re.S)
        for name, section in report.user_properties:
            if name == PROPERTY:
                self.outcomes.setdefault(row_of(str(section), test), Outcome()).note(report.nodeid, report.outcome)

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [
            {
                "specification": row.specification,
                "section": row.section,
                "test": row.test,
                "cases": len(outcome.cases),
                "result": outcome.result,
            }
            for row, outcome in sorted(self.outcomes.items(), key=lambda found: found[0])
        ]

    @property
    def markdown(self) -> str:
        lines = ["| specification | section | test | result |", "|---|---|---|---|"]
        for row in self.rows:
            module, _, test = row["test"].rpartition("::")
            cases = f" ({row['cases']} cases)" if row["cases"] > 1 else ""
            told = f"`{test}`, {module}{cases}"
            lines.append(f"| {row['specification']} | §{row['section']} | {told} | {row['result']} |")
        return "\n".join(lines)


def row_of(section: str, test: str) -> Row:
    parts = SECTION.fullmatch(section)
    assert parts is not None, section
    number = parts["number"]
    # §3.10 stands after §3.9, and appendix A after all of them.
    order = tuple((not part.isdigit(), part.zfill(4)) for part in number.split("."))
    return Row(specification=parts["specification"], order=order, section=number, test=test)


def main(arguments: list[str]) -> int:
    """Run, print, and return the exit code."""
    table = Table()
    pytests = [argument for argument in arguments if argument != "--json"]
    configured = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), "-p", "tests.compliance"]
    with contextlib.redirect_stdout(sys.stderr):  # standard output is the table's alone
        code = pytest.main([*configured, *pytests], plugins=[table])
    printed = json.dumps(table.rows, indent=2) if "--json" in arguments else table.markdown
    sys.stdout.write(f"{printed}\n")
    return int(code != pytest.ExitCode.OK)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
