"""A transport that keeps what would be sent."""

from __future__ import annotations

from typing import Any

from sentry_sdk.transport import Transport

sent: list[str] = []


class Kept(Transport):
    def capture_envelope(self, envelope: Any) -> None:
        sent.append(envelope.serialize().decode())
