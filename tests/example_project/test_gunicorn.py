"""The example under gunicorn, as it is deployed: static files, pages and discovery come from one process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]


def test_serve__under_gunicorn(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "SECRET_KEY"}}
    base_url = f"http://localhost:{port}"
    environment |= {
        "VAR_DIR": str(tmp_path),
        "BASE_URL": base_url,
        "DJANGO_SETTINGS_MODULE": "example_project.settings",
    }
    command = [sys.executable, "-m", "gunicorn", "example_project.wsgi", f"--bind=127.0.0.1:{port}"]
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=environment, check=True)
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as server:
        try:
            assert _first_answer(f"{base_url}/account/sign-in/pass/").status_code == 200
            assert httpx.get(f"{base_url}/static/tap_provider/tap_provider.css").status_code == 200
            assert httpx.get(f"{base_url}/o/.well-known/openid-configuration").json()["issuer"] == f"{base_url}/o"
        finally:
            server.terminate()


def _first_answer(url: str) -> httpx.Response:
    for _ in range(300):
        try:
            return httpx.get(url)
        except httpx.TransportError:
            time.sleep(0.1)  # a server's start has no other sign than that it answers
    raise RuntimeError(f"{url} did not come up")
