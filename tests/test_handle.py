"""Naming a pass: by a handle that cannot be guessed, or by the first group of its passcode."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from tap_provider.handle import begins_like, first_group_of, handle_of, read_handle
from tap_provider.passcode import ALPHABET, fold_passcode
from tap_provider.secret import Secret

PASS = UUID("6f1c3f0e-7f0c-4b57-9b8e-0a4f5a1f2a11")


def test_handle_of__is_read_again() -> None:
    assert read_handle(handle_of(PASS)) == PASS
    assert len(handle_of(PASS)) == 43


@pytest.mark.parametrize("position", [0, 15, 21, 22, 30, 42])
def test_read_handle__refuses_a_handle_that_was_changed(position: int) -> None:
    handle = handle_of(PASS)
    changed = "B" if handle[position] != "B" else "C"
    assert read_handle(handle[:position] + changed + handle[position + 1 :]) is None


@pytest.mark.parametrize("text", ["", "a", "a" * 42, "a" * 44, "\ud800", "é" * 43, "%00" * 14, "!" * 43, "A" * 43])
def test_read_handle__refuses_what_is_none(text: str) -> None:
    assert read_handle(text) is None


def test_read_handle__refuses_the_handle_of_another_site(settings: Any) -> None:
    handle = handle_of(PASS)
    settings.SECRET_KEY = "another" * 10
    assert read_handle(handle) is None


def test_handle__outlives_a_rotation_of_the_secret_key(settings: Any) -> None:
    handle, group = handle_of(PASS), first_group_of(PASS).reveal()
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another" * 10
    assert read_handle(handle) == PASS
    assert begins_like(Secret(group + "0000"), PASS)
    assert handle_of(PASS) != handle


def test_first_group_of__is_four_symbols_that_vary_with_the_pass() -> None:
    groups = {first_group_of(uuid4()).reveal() for _ in range(1000)}
    assert len(groups) > 990  # of a million
    assert {len(group) for group in groups} == {4}
    assert set("".join(groups)) == set(ALPHABET)


@pytest.mark.parametrize("typed", ["", "0", "000", "0000", "00000000"])
def test_begins_like__refuses_another_group(typed: str) -> None:
    assert first_group_of(PASS).reveal() != "0000"
    assert not begins_like(Secret(typed), PASS)


def test_begins_like__takes_a_passcode_as_it_was_folded() -> None:
    typed = f" {first_group_of(PASS).reveal().lower()}-zzzz"
    assert begins_like(fold_passcode(typed), PASS)
