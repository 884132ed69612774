"""What the environment says: where the provider is, where this site is, and the credentials of its two clients.

A module apart from `settings.py`, because `client.py` must work without this site's Django settings.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

REGISTRATION = "registration"
ORDINARY = "ordinary"

SCOPES = {
    REGISTRATION: "openid profile email method_registration",
    ORDINARY: "openid profile email",
}


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """How one of the two clients is known to the provider."""

    client_id: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Everything that differs between two installations of this site."""

    issuer: str
    url: str
    credentials: Mapping[str, Credentials]

    @property
    def host(self) -> str:
        """Return the host name under which browsers must come, so that the callback finds their session cookie."""
        return urlsplit(self.url).hostname or ""

    @property
    def is_https(self) -> bool:
        return urlsplit(self.url).scheme == "https"


def read_configuration(environment: Mapping[str, str]) -> Configuration:
    """Read the configuration; a client without an id stays unconfigured, and its pages say so."""
    return Configuration(
        # Kept to the letter, a trailing slash included: an issuer is compared, not resolved (OIDC Core §3.1.3.7).
        issuer=environment.get("ISSUER") or "http://localhost:8000/o",
        url=(environment.get("RELYING_PARTY_URL") or "http://127.0.0.1:8001").rstrip("/"),
        credentials={
            name: Credentials(
                client_id=environment.get(f"{name.upper()}_CLIENT_ID", ""),
                client_secret=environment.get(f"{name.upper()}_CLIENT_SECRET", ""),
            )
            for name in SCOPES
        },
    )


@cache
def configuration() -> Configuration:
    """Return the configuration of this process."""
    return read_configuration(os.environ)
