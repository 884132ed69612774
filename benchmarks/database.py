"""A PostgreSQL database of a benchmark's own, made before Django starts and dropped at the end."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ADMIN_URL = "postgres://postgres@127.0.0.1:5432/postgres"
DATABASE = "tap_benchmark"


@contextmanager
def scratch_database(admin_url: str) -> Iterator[None]:
    """Point the example's settings, in this process and in those that it starts, at a new database."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"VAR_DIR": folder, "DATABASE_URL": admin_url.rpartition("/")[0] + f"/{DATABASE}"}
        execute(admin_url, f'DROP DATABASE IF EXISTS "{DATABASE}"', f'CREATE DATABASE "{DATABASE}"')
        try:
            yield
        finally:
            execute(admin_url, f'DROP DATABASE IF EXISTS "{DATABASE}" WITH (FORCE)')


def execute(url: str, *statements: str) -> None:
    """Run statements outside a transaction."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())
