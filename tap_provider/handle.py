"""Naming a pass before its passcode is verified, so that only attempts at that pass count against it (decision 0026).

An attempt names a pass in one of two ways. The sign-in address that an administrator hands over carries the pass's
handle, which cannot be guessed. The passcode itself begins with a group of four symbols that belongs to the pass. Both
are computed from the pass's id and SECRET_KEY; neither is stored, and neither opens anything.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings as django_settings
from django.utils.crypto import constant_time_compare, salted_hmac

from .passcode import ALPHABET, GROUP
from .secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator

HANDLE_BYTES = 16
"""128 bits: a handle cannot be guessed, whatever the number of attempts."""

_ID_BYTES = 16


def handle_of(pass_id: UUID) -> str:
    """Return the handle of a pass: its id and a keyed digest of it, as URL-safe text."""
    return _encoded(pass_id.bytes + _handle_digest(pass_id, django_settings.SECRET_KEY))


def read_handle(text: str) -> UUID | None:
    """Return the id of the pass that a handle names, or None if the text is not a handle of this site.

    The pass may be gone. Handles that were made with one of `SECRET_KEY_FALLBACKS` are still read.
    """
    try:
        data = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except ValueError:  # not ASCII, or not Base64
        return None
    if len(data) != _ID_BYTES + HANDLE_BYTES or _encoded(data) != text:
        return None
    pass_id, digest = UUID(bytes=data[:_ID_BYTES]), data[_ID_BYTES:]
    matches = [constant_time_compare(digest, _handle_digest(pass_id, key)) for key in _keys()]
    return pass_id if any(matches) else None


def first_group_of(pass_id: UUID) -> Secret:
    """Return the four symbols (20 bits) with which the passcode of this pass begins."""
    return _first_group(pass_id, django_settings.SECRET_KEY)


def begins_like(passcode: Secret, pass_id: UUID) -> bool:
    """Return True if a folded passcode begins with the group of this pass. Takes the same time for any passcode."""
    begun = Secret(passcode.reveal()[:GROUP].ljust(GROUP))
    compared = [begun == _first_group(pass_id, key) for key in _keys()]  # in constant time, with every key
    return any(compared)


def _keys() -> Iterator[str | bytes]:
    yield django_settings.SECRET_KEY
    yield from django_settings.SECRET_KEY_FALLBACKS


def _first_group(pass_id: UUID, key: str | bytes) -> Secret:
    digest = salted_hmac("tap_provider.first_group", pass_id.hex, secret=key, algorithm="sha256").digest()
    return Secret("".join(ALPHABET[byte % len(ALPHABET)] for byte in digest[:GROUP]))  # 32 divides 256: no bias


def _handle_digest(pass_id: UUID, key: str | bytes) -> bytes:
    digest = salted_hmac("tap_provider.handle", pass_id.hex, secret=key, algorithm="sha256").digest()
    return digest[:HANDLE_BYTES]


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")
