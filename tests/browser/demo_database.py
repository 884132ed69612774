"""The running demo's database, from outside: what has been stored, and time that has passed without anybody waiting."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any


def rows(demo: dict[str, Any], query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(demo["database"], timeout=20)) as connection:
        return connection.execute(query).fetchall()


def change(demo: dict[str, Any], statement: str) -> None:
    with closing(sqlite3.connect(demo["database"], timeout=20)) as connection, connection:
        changed = connection.execute(statement).rowcount
    assert changed > 0, f"changed nothing: {statement}"


def let_time_run_out(demo: dict[str, Any]) -> None:
    """Let the deadline of every registration-only session be a second ago; the cookies stay as they are."""
    change(
        demo,
        "UPDATE tap_provider_signin SET deadline = datetime('now', '-1 second')"
        " WHERE pass_id IS NOT NULL AND ended_at IS NULL",
    )


def let_lockout_pass(demo: dict[str, Any]) -> None:
    """Let each app's last wrong code be an hour ago: django-otp locks an app for a while after one."""
    change(
        demo,
        "UPDATE otp_totp_totpdevice SET throttling_failure_timestamp = datetime('now', '-1 hour')"
        " WHERE throttling_failure_count > 0",
    )


def set_policy(demo: dict[str, Any], **fields: bool) -> None:
    """Change the policy as an administrator does, whose own pages other tests walk."""
    changes = ", ".join(f"{name} = {int(value)}" for name, value in fields.items())
    change(demo, f"UPDATE tap_provider_temporaryaccesspasspolicy SET {changes}")


def methods_stored(demo: dict[str, Any]) -> dict[str, int]:
    """Tell how many methods count, and how many are recorded as registered."""
    counted = {
        "apps": "otp_totp_totpdevice WHERE confirmed",
        "passkeys": "django_otp_webauthn_webauthncredential",
        "recorded": "tap_provider_registeredmethod",
    }
    return {name: rows(demo, f"SELECT COUNT(*) FROM {where}")[0][0] for name, where in counted.items()}
