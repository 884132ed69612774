"""A hash for client secrets: random, long, and checked at every token request.

A password is hashed slowly because it can be guessed. A secret of 112 random bits or more cannot be, at whatever speed
(NIST SP 800-63B-4 §3.1.2 asks a salted, slow hash of weaker look-up secrets only), while a slow one lets a handful of
token requests occupy a server. Offered through the toolkit's setting:

    PASSWORD_HASHERS = [..., "tap_provider.oidc.hashers.ClientSecretHasher"]    never first: not for people's passwords
    OAUTH2_PROVIDER = {"CLIENT_SECRET_HASHER": "tap_client_secret", ...}
"""

from __future__ import annotations

import string
from hashlib import sha256
from math import log2
from typing import Any

from django.contrib.auth.hashers import BasePasswordHasher, identify_hasher, mask_hash
from django.core.exceptions import ValidationError
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext_lazy, gettext_noop
from oauth2_provider.settings import oauth2_settings

ENOUGH_BITS = 112
FEWEST_SYMBOLS = 6

_ALPHABETS = [
    frozenset(string.digits),
    frozenset(string.hexdigits.lower()),
    frozenset(string.hexdigits.upper()),
]
_CLASSES = [
    frozenset(string.digits),
    frozenset(string.ascii_lowercase),
    frozenset(string.ascii_uppercase),
    frozenset(string.punctuation + " "),
]
_FOREIGN = 100  # what a character outside ASCII is taken to be chosen from

WEAK = gettext_lazy("A client secret needs at least %(bits)d bits. Use one that was generated, not one made up.")


class WeakClientSecret(ValueError):
    """This secret is too short, or of too few symbols, for a fast hash."""

    code = "weak_client_secret"


class ClientSecretHasher(BasePasswordHasher):
    """One salted SHA-256, for secrets of 112 bits or more; refuses to hash what is weaker, never to verify."""

    algorithm = "tap_client_secret"

    def encode(self, password: str, salt: str) -> str:
        self._check_encode_args(password, salt)  # type: ignore[attr-defined]
        if not password:  # a public client has no secret: nothing verifies against it
            return f"{self.algorithm}${salt}$"
        if is_weak(password):
            raise WeakClientSecret(WEAK % {"bits": ENOUGH_BITS})
        return self._encoded(password, salt)

    def verify(self, password: str, encoded: str) -> bool:
        if encoded.count("$") != 2:  # an error here, and the toolkit would compare the secret with this very text
            return False
        return constant_time_compare(self._encoded(password, self.decode(encoded)["salt"]), encoded)

    def decode(self, encoded: str) -> dict[str, Any]:
        algorithm, salt, digest = encoded.split("$", 2)
        return {"algorithm": algorithm, "salt": salt, "hash": digest}

    def safe_summary(self, encoded: str) -> dict[Any, Any]:
        parts = self.decode(encoded)
        return {
            gettext_noop("algorithm"): parts["algorithm"],
            gettext_noop("salt"): mask_hash(parts["salt"], show=2),
            gettext_noop("hash"): mask_hash(parts["hash"]),
        }

    def harden_runtime(self, password: str, encoded: str) -> None:
        """Nothing to even out: there are no rounds."""

    def _encoded(self, password: str, salt: str) -> str:
        return f"{self.algorithm}${salt}${sha256(f'{salt}{password}'.encode()).hexdigest()}"


def is_weak(secret: str) -> bool:
    """Tell whether a secret has less than 112 bits, as far as its looks can tell.

    Its length times the bits of a symbol, the smallest of these that it is written in: digits, hexadecimal, or the
    classes that occur in it (lower case 26, upper case 26, digits 10, punctuation 33, anything else 100). What repeats
    itself counts once, and fewer than six different symbols are none too random. Words that a person has strung
    together pass if they are long enough: nobody can tell them from chance by looking.
    """
    symbols = set(secret)
    once = secret[: (secret + secret).find(secret, 1)]
    return len(symbols) < FEWEST_SYMBOLS or len(once) * log2(_alphabet_size(symbols)) < ENOUGH_BITS


def validate_client_secret(secret: str) -> None:
    """Say on a form what the hasher would refuse when the client is saved. A hash, or no secret, passes."""
    if not secret or ClientSecretHasher.algorithm != oauth2_settings.CLIENT_SECRET_HASHER or _is_hashed(secret):
        return
    if is_weak(secret):
        raise ValidationError(WEAK, code=WeakClientSecret.code, params={"bits": ENOUGH_BITS})


def _alphabet_size(symbols: set[str]) -> int:
    for alphabet in _ALPHABETS:
        if symbols <= alphabet:
            return len(alphabet)
    foreign = symbols - frozenset().union(*_CLASSES)
    return sum(len(found) for found in _CLASSES if symbols & found) + (_FOREIGN if foreign else 0)


def _is_hashed(secret: str) -> bool:
    try:
        identify_hasher(secret)
    except ValueError:
        return False
    return True
