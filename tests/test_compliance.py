"""`python -m tests.compliance`, run over tests of its own."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.compliance import ROOT, SECTION, row_of

SAMPLE = """
    import pytest

    @pytest.mark.compliance("RFC 9470 §10", "OpenID Connect Core 1.0 §3.1.2.1")
    def test_good() -> None: ...

    @pytest.mark.compliance("RFC 9470 §3")
    @pytest.mark.parametrize("case", ["first", "second"])
    def test_cases(case: str) -> None: ...

    def test_unmarked() -> None:
        raise AssertionError("not run")
"""
BAD = """
    @pytest.mark.compliance("RFC 9470 §3")
    @pytest.mark.parametrize("case", ["first", "second", "third"])
    def test_bad(case: str) -> None:
        assert case != "second"

    @pytest.fixture
    def broken() -> None:
        raise RuntimeError

    @pytest.mark.compliance("RFC 7662 §2.2")
    def test_broken(broken: None) -> None: ...
"""
SKIPPED = """
    @pytest.mark.compliance("RFC 9207 §2")
    def test_skipped() -> None:
        pytest.skip("not here")
"""


def run(tmp_path: Path, sample: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "test_sample.py").write_text(dedent(sample), encoding="utf-8")
    command = [sys.executable, "-m", "tests.compliance", *arguments, str(tmp_path), "-p", "no:cacheprovider"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("workers", ["0", "2"])
def test_compliance__prints_the_marked_tests_by_specification_and_section(tmp_path: Path, workers: str) -> None:
    done = run(tmp_path, SAMPLE, "-n", workers)
    lines = [line.split(" | ") for line in done.stdout.splitlines()]
    assert [(cells[0], cells[1], cells[2].split(",")[0], cells[3]) for cells in lines[2:]] == [
        ("| OpenID Connect Core 1.0", "§3.1.2.1", "`test_good`", "passed |"),
        ("| RFC 9470", "§3", "`test_cases`", "passed |"),
        ("| RFC 9470", "§10", "`test_good`", "passed |"),
    ]
    assert lines[:2] == [["| specification", "section", "test", "result |"], ["|---|---|---|---|"]]
    assert "(2 cases)" in lines[3][2]
    assert done.returncode == 0, done.stderr


def test_compliance__fails_with_any_case_and_tells_which_test(tmp_path: Path) -> None:
    done = run(tmp_path, SAMPLE + BAD, "--json", "-n", "0")
    told = {
        (row["specification"], row["section"], row["test"].rpartition("::")[2]): (row["cases"], row["result"])
        for row in json.loads(done.stdout)
    }
    assert told == {
        ("OpenID Connect Core 1.0", "3.1.2.1", "test_good"): (1, "passed"),
        ("RFC 7662", "2.2", "test_broken"): (1, "failed"),
        ("RFC 9470", "3", "test_bad"): (3, "failed"),
        ("RFC 9470", "3", "test_cases"): (2, "passed"),
        ("RFC 9470", "10", "test_good"): (1, "passed"),
    }
    assert done.returncode == 1


def test_compliance__says_what_was_skipped(tmp_path: Path) -> None:
    done = run(tmp_path, SAMPLE + SKIPPED, "--json", "-n", "0")
    assert ("RFC 9207", "skipped") in {(row["specification"], row["result"]) for row in json.loads(done.stdout)}


@pytest.mark.parametrize("sample", ["import pytest", SAMPLE.replace(" §10", " section 10"), "raise RuntimeError"])
def test_compliance__fails_where_nothing_was_proved(tmp_path: Path, sample: str) -> None:
    done = run(tmp_path, sample, "-n", "0")
    assert done.returncode == 1
    assert done.stdout.count("\n") == 2


def test_sections__stand_in_the_order_of_the_specification() -> None:
    numbers = ["3.1.2.10", "10", "3.1.2", "3.1.2.9", "2", "A"]
    rows = sorted(row_of(f"OpenID Connect Core 1.0 §{number}", "test_x") for number in numbers)
    assert [row.section for row in rows] == ["2", "3.1.2", "3.1.2.9", "3.1.2.10", "10", "A"]


def marked_sections() -> list[str]:
    return [
        ast.literal_eval(argument)
        for module in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "compliance"
        for argument in node.args
    ]


def test_sections__of_every_mark_can_be_read() -> None:
    sections = marked_sections()
    assert sections
    assert [section for section in sections if not SECTION.fullmatch(section)] == []


NOT_OURS_TO_PROVE = {"RFC 9700"}  # named by the toolkit's settings only


def test_specifications__that_the_reference_names_are_each_proved_by_some_test() -> None:
    reference = (ROOT / "docs" / "reference" / "oidc.md").read_text(encoding="utf-8")
    named = set(re.findall(r"RFC [0-9]{4}", reference)) - NOT_OURS_TO_PROVE
    named |= set(re.findall(r"OpenID Connect (?:[A-Z][A-Za-z-]+ )+[0-9]\.[0-9]", reference))
    assert {"RFC 9470", "OpenID Connect Back-Channel Logout 1.0"} <= named
    assert sorted(named - {section.partition(" §")[0] for section in marked_sections()}) == []
