"""A bounded load on a server of ours: a few clients, each with a connection at a time, for a few seconds."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent
CLIENTS = 4
CSRF = "a" * 32  # the cookie and the form agree: that is all that Django asks of a client

WRK_SCRIPT = """
local bodies, number, wrong = {BODIES}, 0, 0
local headers = {["Content-Type"] = "application/x-www-form-urlencoded", ["Cookie"] = "COOKIE"}
local threads = {}
function setup(thread) table.insert(threads, thread) end
function request()
  number = number % #bodies + 1
  return wrk.format("POST", nil, headers, bodies[number])
end
function response(status) if status ~= 302 then wrong = wrong + 1; wrk.thread:set("wrong", wrong) end end
function done(summary)
  print("rate=" .. summary.requests / (summary.duration / 1e6))
  local e = summary.errors
  print("wrong=" .. (threads[1]:get("wrong") or 0) + e.connect + e.read + e.write + e.timeout)
end
"""


@contextmanager
def gunicorn(application: str, *, workers: int, **environment: str) -> Iterator[int]:
    """Serve an application on loopback; yield its port; stop it afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "gunicorn", application, f"--workers={workers}", f"--bind=127.0.0.1:{port}"]
    command += ["--log-level=warning", "--backlog=64"]
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}) as server:
        try:
            _wait_for(port)
            yield port
        finally:
            server.terminate()


def post_rate(port: int, path: str, forms: list[dict[str, str]], *, seconds: float) -> float:
    """Return how many posts a second were answered by a redirect; any other answer is an error.

    Driven by wrk where it is installed, which takes less of the processors than the driver in Python.
    """
    wrk = shutil.which("wrk")
    return _python_rate(port, path, forms, seconds) if wrk is None else _wrk_rate(wrk, port, path, forms, seconds)


def _wrk_rate(wrk: str, port: int, path: str, forms: list[dict[str, str]], seconds: float) -> float:
    bodies = ",".join(f'"{_body(form)}"' for form in forms)
    script = WRK_SCRIPT.replace("BODIES", bodies).replace("COOKIE", f"csrftoken={CSRF}")
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        command = [wrk, "-t1", f"-c{CLIENTS}", f"-d{round(seconds)}s", "--timeout=30s", "-s", file.name]
        run = subprocess.run([*command, f"http://127.0.0.1:{port}{path}"], check=True, capture_output=True, text=True)
    told = dict(line.split("=") for line in run.stdout.splitlines() if line.startswith(("rate=", "wrong=")))
    if int(told["wrong"]):
        raise RuntimeError(f"{path} answered {told['wrong']} times something else than a redirect")
    return float(told["rate"])


def _python_rate(port: int, path: str, forms: list[dict[str, str]], seconds: float) -> float:
    numbers = count()
    until = time.monotonic() + seconds

    def client() -> int:
        done = 0
        while time.monotonic() < until:
            post(port, path, forms[next(numbers) % len(forms)])
            done += 1
        return done

    started = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as clients:
        answered = sum(future.result() for future in [clients.submit(client) for _ in range(CLIENTS)])
    return answered / (time.monotonic() - started)


def post(port: int, path: str, form: dict[str, str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": f"csrftoken={CSRF}"}
    connection.request("POST", path, _body(form), headers)
    response = connection.getresponse()
    response.read()
    connection.close()
    if response.status != 302:
        raise RuntimeError(f"{path} answered {response.status}")


def _body(form: dict[str, str]) -> str:
    return urlencode({**form, "csrfmiddlewaretoken": CSRF})


def call_rate(function: Callable[[], object], *, seconds: float) -> float:
    """Return how often a second the function can be called, one call after the other."""
    done, started = 0, time.monotonic()
    while time.monotonic() - started < seconds:
        function()
        done += 1
    return done / (time.monotonic() - started)


def _wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("the server did not come up")
