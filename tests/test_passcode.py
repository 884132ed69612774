"""The passcode: its alphabet, what people type for it, and its hash."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher

from tap_provider.passcode import (
    ALPHABET,
    LONGEST,
    SHORTEST,
    PasscodeHasher,
    fold_passcode,
    generate_passcode,
    group_passcode,
    hash_passcode,
    passcode_matches,
)
from tap_provider.secret import Secret

if TYPE_CHECKING:
    from .conftest import CountingHasher


def full_width(text: str) -> str:
    """As a keyboard for East Asian scripts types it."""
    return "".join(chr(ord(symbol) - 0x21 + 0xFF01) for symbol in text)


def test_alphabet__is_crockford_base32() -> None:
    """NIST SP 800-63B-4 §3.1.2: eight symbols of five bits are 40 bits; no look-alikes, nothing rude (U)."""
    assert ALPHABET == "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    assert len(set(ALPHABET)) == 32
    assert SHORTEST == 8


@pytest.mark.parametrize("length", [SHORTEST, 13, LONGEST])
def test_generate_passcode__has_the_length_in_symbols(length: int) -> None:
    passcode = generate_passcode(length).reveal()
    assert len(passcode) == length
    assert set(passcode) <= set(ALPHABET)


def test_generate_passcode__uses_every_symbol_and_repeats_no_passcode() -> None:
    passcodes = [generate_passcode(LONGEST).reveal() for _ in range(100)]
    assert set("".join(passcodes)) == set(ALPHABET)
    assert len(set(passcodes)) == 100


def test_generate_passcode__does_not_come_from_a_seeded_generator() -> None:
    drawn = []
    for _ in range(2):
        random.seed(20260302)
        drawn.append(generate_passcode(LONGEST).reveal())
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize(
    ("passcode", "shown"),
    [("7KQ4X2MB", "7KQ4-X2MB"), ("7KQ4X2MB9", "7KQ4-X2MB-9"), ("7KQ4X2MB9CDE", "7KQ4-X2MB-9CDE")],
)
def test_group_passcode__by_four_with_dashes(passcode: str, shown: str) -> None:
    assert group_passcode(Secret(passcode)).reveal() == shown
    assert fold_passcode(shown).reveal() == passcode


@pytest.mark.parametrize(
    "typed",
    [
        "7KQ0X1MB",
        "7kq0x1mb",
        "7KQ0-X1MB",
        "7KQ0 X1MB",
        " 7KQ0X1MB ",
        "7 K Q 0 X 1 M B",
        "7KQOXIMB",
        "7kqoximb",
        "7KQ0XLMB",
        "7kq0xlmb",
        "\t7KQ0\tX1MB\n",
        "7KQ0\r\nX1MB",
        full_width("7KQ0X1MB"),
        full_width("7kq0-x1mb"),
        "7KQ0\N{EN DASH}X1MB",
        "7KQ0\N{EM DASH}X1MB",
        "7KQ0\N{NON-BREAKING HYPHEN}X1MB",
        "7KQ0\N{NO-BREAK SPACE}X1MB",
        "7KQ0\N{IDEOGRAPHIC SPACE}X1MB",
        "\N{RIGHT-TO-LEFT MARK}7KQ0X1MB\N{LEFT-TO-RIGHT MARK}",
        "\N{ZERO WIDTH NO-BREAK SPACE}7KQ0\N{ZERO WIDTH SPACE}X1MB",
        "7KQ0\N{SOFT HYPHEN}X1MB",
    ],
    ids=ascii,
)
def test_fold_passcode__reads_what_was_meant(typed: str) -> None:
    """Issue 2, row "passcode in lower case, with spaces, dashes, O for 0, l for 1": accepted."""
    assert fold_passcode(typed).reveal() == "7KQ0X1MB"


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "7KQ0X1M",  # a symbol too few
        "-" * 8,
        "0" * (LONGEST + 1),
        "0" * 10_000,
        "7KQ0X1MB" + " " * 10_000,  # read to its end, a megabyte of this would cost seconds
        "7KQ0X1M\N{SNOWMAN}",
        "7KQ0X1MU",  # U is no symbol, nor like one
        "7KQ0X1M\ud800",
        "\udcff" * 8,
        "7KQ0X1M'",
    ],
    ids=lambda typed: ascii(typed[:20]),
)
def test_fold_passcode__what_cannot_be_a_passcode_is_none(typed: str) -> None:
    """Issue 2, row "10 kB passcode, NUL bytes, lone surrogates, right-to-left marks": clean refusal or match."""
    assert fold_passcode(typed).reveal() == ""


def test_fold_passcode__every_generated_passcode_folds_to_itself() -> None:
    for length in range(SHORTEST, LONGEST + 1):
        passcode = generate_passcode(length).reveal()
        assert fold_passcode(passcode).reveal() == passcode
        assert fold_passcode(group_passcode(Secret(passcode)).reveal().lower()).reveal() == passcode


def test_fold_passcode__the_longest_may_be_typed_symbol_by_symbol_with_dashes() -> None:
    assert fold_passcode(" - ".join("A" * LONGEST)).reveal() == "A" * LONGEST


def test_hash_passcode__is_argon2id_at_owasps_minimum() -> None:
    passcode_hash = hash_passcode(Secret("7KQ4X2MB"), hasher=PasscodeHasher())
    assert passcode_hash.startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$")


def test_hash_passcode__is_salted_for_each_pass(hasher: type[CountingHasher]) -> None:
    hashes = {hash_passcode(Secret("7KQ4X2MB"), hasher=hasher()) for _ in range(5)}
    assert len(hashes) == 5
    assert all(passcode_matches(Secret("7KQ4X2MB"), each, hasher=hasher()) for each in hashes)


@pytest.mark.parametrize("held", ["the right one", "another", "none", "of another algorithm", "damaged"])
@pytest.mark.parametrize("presented", ["7KQ4X2MB", ""], ids=["a passcode", "no passcode at all"])
def test_passcode_matches__costs_exactly_one_hash(held: str, presented: str, hasher: type[CountingHasher]) -> None:
    """Issue 2, "Figures": exactly one passcode-hash computation whatever the outcome."""
    passcode_hash = {
        "the right one": hash_passcode(Secret(presented), hasher=hasher()),
        "another": hash_passcode(Secret("0" * 8), hasher=hasher()),
        "none": None,
        "of another algorithm": MD5PasswordHasher().encode(presented, "salt"),
        "damaged": "",
    }[held]
    hasher.computed.clear()
    matches = passcode_matches(Secret(presented), passcode_hash, hasher=hasher())
    assert len(hasher.computed) == 1
    assert matches is (held == "the right one" and presented != "")
