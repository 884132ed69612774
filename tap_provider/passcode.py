"""The passcode: its alphabet, how it is read aloud and typed, and how it is hashed.

The clear text exists only at issue and at sign-in. It is Crockford Base32 in upper case, so that no two symbols look
alike; whatever people type instead of them is folded (O for 0, I and L for 1). Here it is opened, in the expressions
that hash it; everywhere else it is a `Secret`.
"""

from __future__ import annotations

import secrets
import textwrap
import unicodedata
from copy import copy
from typing import TYPE_CHECKING

from django.contrib.auth.hashers import Argon2PasswordHasher

from .secret import Secret

if TYPE_CHECKING:
    from django.contrib.auth.hashers import BasePasswordHasher

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford Base32: 5 bits a symbol, so that 8 symbols are 40 bits (NIST SP 800-63B-4 §3.1.2)."""

SHORTEST, LONGEST = 8, 48
"""Permitted lengths in symbols, dashes not counted (Microsoft Entra's bounds)."""

GROUP = 4
LONGEST_TYPED = 4 * LONGEST  # whatever a person could type with separators; more is not a passcode

_LOOKALIKES = str.maketrans({"O": "0", "I": "1", "L": "1"})
_SEPARATORS = {"Zs", "Cf", "Pd", "Cc"}  # spaces, invisible marks, dashes, tabs and line ends

_COSTS = {"time_cost", "memory_cost", "iterations", "work_factor", "block_size", "parallelism"}
# What Django's hashers of the kinds Argon2, PBKDF2 and scrypt note in a hash, and are told by attributes.


class PasscodeHasher(Argon2PasswordHasher):
    """Argon2id at OWASP's minimum: 19 MiB, 2 passes, 1 lane; about 20 ms.

    Enough for a secret of 40 bits or more that lives for days and is throttled (NIST SP 800-63B-4 §3.2.2).
    """

    time_cost = 2
    memory_cost = 19_456
    parallelism = 1


def generate_passcode(length: int, *, begins: Secret | None = None) -> Secret:
    """Return `length` symbols without separators: `begins`, and random ones after it."""
    begins = begins or Secret("")
    return Secret(begins.reveal() + "".join(secrets.choice(ALPHABET) for _ in range(length - len(begins.reveal()))))


def group_passcode(passcode: Secret) -> Secret:
    """Return the passcode in groups of four with dashes, as it is shown and read aloud."""
    return Secret("-".join(textwrap.wrap(passcode.reveal(), GROUP)))


def fold_passcode(typed: str | Secret) -> Secret:
    """Return the symbols that were meant, or an empty secret if this cannot be a passcode at all."""
    typed = Secret.of(typed)
    if len(typed.reveal()) > LONGEST_TYPED:
        return Secret("")
    upper = Secret(unicodedata.normalize("NFKC", typed.reveal()).upper().translate(_LOOKALIKES))
    folded = Secret("".join(filter(_is_symbol, upper.reveal())))
    if not SHORTEST <= len(folded.reveal()) <= LONGEST or not set(folded.reveal()) <= set(ALPHABET):
        return Secret("")
    return folded


def _is_symbol(character: str) -> bool:
    return unicodedata.category(character) not in _SEPARATORS


def hash_passcode(passcode: Secret, *, hasher: BasePasswordHasher) -> str:
    """Return the salted hash of a folded passcode."""
    return hasher.encode(passcode.reveal(), hasher.salt())


def passcode_matches(passcode: Secret, passcode_hash: str | None, *, hasher: BasePasswordHasher) -> bool:
    """Tell whether the folded passcode is the one that was hashed, at the price of exactly one hash.

    Without a hash, or with one of another algorithm (the site changed its hasher, which ends outstanding passes), the
    passcode is compared with a decoy by the same code, so that the time tells nothing.
    """
    decoy = decoy_hash(hasher)  # made in any case: the first attempt of a process costs the same for everybody
    is_real = passcode_hash is not None and passcode_hash.partition("$")[0] == hasher.algorithm
    matches = hasher.verify(passcode.reveal(), passcode_hash if passcode_hash is not None and is_real else decoy)
    return bool(matches) and is_real and bool(passcode)


def decoy_hash(hasher: BasePasswordHasher) -> str:
    """Return a hash that no passcode has, of this class of hasher and at its costs. Computed once a process."""
    if type(hasher) not in _decoys:
        _decoys[type(hasher)] = hasher.encode(secrets.token_hex(), hasher.salt())
    return _decoys[type(hasher)]


_decoys: dict[type[BasePasswordHasher], str] = {}


def hash_alike(passcode: Secret, passcode_hash: str | None, *, hasher: BasePasswordHasher) -> str:
    """Return the hash of a folded passcode with the salt and the costs of another, at the price of exactly one hash.

    So one hash finds it among many that share a salt. Without another, the same price is paid for nothing.
    """
    if passcode_hash is None:
        return hasher.encode(passcode.reveal(), hasher.salt())
    decoded, then = hasher.decode(passcode_hash), copy(hasher)
    for cost in _COSTS & decoded.keys():
        setattr(then, cost, decoded[cost])
    return then.encode(passcode.reveal(), decoded["salt"])


def hashes_alike(hasher: BasePasswordHasher) -> bool:
    """Tell whether `hash_alike` works with this hasher: it must give back the salt that it was given."""
    salt = hasher.salt()
    try:
        return bool(hasher.decode(hasher.encode("", salt))["salt"] == salt)
    except (NotImplementedError, LookupError):
        return False
