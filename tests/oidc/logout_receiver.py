"""A relying party's back-channel logout endpoint, on a port of this machine: it answers as a test wants it to."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs


@dataclass
class Receiver:
    """What came in, and what goes out."""

    uri: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    behaviour: str = "answer"  # or "hang", "drip"
    preface: bytes = b""  # what goes out before the answer, and is none
    requests: list[tuple[str, str, str, dict[str, list[str]]]] = field(default_factory=list)
    finished: Event = field(default_factory=Event)

    @property
    def tokens(self) -> list[str]:
        return [body["logout_token"][0] for *_, body in self.requests]


@contextmanager
def receiving(context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            receiver.requests.append((self.command, self.path, self.headers["Content-Type"], parse_qs(body)))
            if receiver.behaviour == "hang":
                receiver.finished.wait(30)
                return
            if receiver.behaviour == "drip":
                self.drip()
                return
            self.wfile.write(receiver.preface)
            self.send_response(receiver.status)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.end_headers()

        do_GET = do_POST  # noqa: N815 the library's name

        def drip(self) -> None:
            """Send a header without end, a byte at a time, each before a socket's own time-out."""
            with suppress(OSError):
                self.wfile.write(b"HTTP/1.0 200 OK\r\nX: ")
                while not receiver.finished.wait(0.02):
                    self.wfile.write(b"x")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 the library's name
            """Stay silent."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Stay silent: what the sender makes of it is what is tested."""

    server = Server(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    receiver.uri = f"http{'s' if context else ''}://127.0.0.1:{server.server_port}/logout?from=provider"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.finished.set()
        server.shutdown()
        thread.join()
        server.server_close()
