"""Servers that tests start as processes of their own: where, how, and until when."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
NOT_INHERITED = {"BASE_URL", "DATABASE_URL", "DJANGO_SETTINGS_MODULE", "OIDC_RSA_PRIVATE_KEY", "SECRET_KEY"}


def environment_of(**variables: str) -> dict[str, str]:
    """Return an environment for a process with a database, a key and addresses of its own."""
    inherited = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    return {**inherited, **variables}


def free_port_pair() -> int:
    """Return a port that is free together with the next one."""
    for port in range(18_000 + os.getpid() % 1000 * 2, 40_000, 2):
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise RuntimeError("no two free ports")


@contextmanager
def served(application: str, url: str, *, environment: dict[str, str], log: Path) -> Iterator[None]:
    """Serve a WSGI application under gunicorn at a loopback address while the block runs."""
    bind = f"--bind=127.0.0.1:{urlsplit(url).port}"
    command = [sys.executable, "-m", "gunicorn", application, bind, "--threads=4"]
    with (
        log.open("wb") as said,
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=said, stderr=said) as server,
    ):
        try:
            wait_until_served(url)
            yield
        finally:
            server.terminate()


def wait_until_served(url: str) -> None:
    address = urlsplit(url)
    for _ in range(300):
        try:
            socket.create_connection((str(address.hostname), int(address.port or 80)), timeout=1).close()
        except OSError:
            time.sleep(0.1)  # a server's start has no other sign than that it answers
        else:
            return
    raise RuntimeError(f"{url} did not come up")
