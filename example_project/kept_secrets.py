"""Secrets that are made on first use and kept in a file that only its owner reads, so that none is ever committed."""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def kept_secret(path: Path, make: Callable[[], str]) -> str:
    """Return what the file holds; make it first if there is none. Whole or not at all, whoever else does the same."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent) as file:  # made with mode 0600
            file.write(make())
            file.flush()
            with contextlib.suppress(FileExistsError):  # then somebody was faster
                os.link(file.name, path)
    return path.read_text()


def new_signing_key() -> str:
    """Return a new RSA private key in PEM, for the OpenID provider."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem.decode()
