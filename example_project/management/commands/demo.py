"""`manage.py demo`: seed a database, say what to open and type, and serve provider and relying party until Ctrl-C.

A third process delivers logout tokens.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from example_project.seed import Addresses, seed
from tap_provider.exceptions import TapError
from tap_provider.models import LONGEST_LIFETIME, SHORTEST_LIFETIME

if TYPE_CHECKING:
    from argparse import ArgumentParser

STORY = """
  Temporary Access Passes, the demo. Open these in one browser, and type what is beside them.

  1  The holder of a pass signs in and registers a passkey or an authenticator app
     {sign_in_with_pass_url}
     user name   {user[upn]}
     passcode    {pass[passcode]}     (until {until:%Y-%m-%d %H:%M %Z})

  2  A relying party, on an origin of its own, is told how strong that was
     {relying_party_url}
     and told again when you sign out at the provider: its own session ends too

  3  The administrator issues and revokes passes
     {base_url}/admin/
     user name   {admin[username]}
     password    {admin[password]}

  Robin also has a password, for signing in without a pass: {user[password]}
  Mails to Robin are files in var/mail (EMAIL_URL in the environment sends them instead)
  All of these secrets are new at each start. Stop with Ctrl-C.
"""


SERVE = ("runserver", "--noreload", "--skip-checks")


class Command(BaseCommand):
    help = "Seed the demo and serve it: the provider, and a relying party on an origin of its own."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--seed-only", action="store_true", help="seed, and serve nothing")
        parser.add_argument("--json", action="store_true", help="print what was seeded as one JSON object")
        parser.add_argument("--one-time", action="store_const", const=True, help="the pass works once")
        parser.add_argument("--lifetime", type=int, metavar="MINUTES", help="how long the pass lives; default: 60")
        parser.add_argument("--port", type=int, default=8000, help="the provider's; the relying party takes the next")

    def handle(self, *args: Any, **options: Any) -> None:
        minutes = options["lifetime"]
        if minutes is not None and not SHORTEST_LIFETIME <= minutes <= LONGEST_LIFETIME:
            raise CommandError(
                f"A lifetime lies between {SHORTEST_LIFETIME} and {LONGEST_LIFETIME} minutes.", returncode=2
            )
        if not 1 <= options["port"] <= 65_534:
            raise CommandError("A port lies between 1 and 65534.", returncode=2)
        addresses = Addresses(port=options["port"])
        call_command("migrate", verbosity=0, interactive=False)
        try:
            seeded = seed(
                addresses,
                now=timezone.now(),
                lifetime=None if minutes is None else timedelta(minutes=minutes),
                one_time=options["one_time"],
            )
        except TapError as refusal:
            raise CommandError(str(refusal.message)) from refusal
        until = datetime.fromisoformat(seeded["pass"]["expires_at"])
        self.stdout.write(json.dumps(seeded, indent=2) if options["json"] else STORY.format(**seeded, until=until))
        self.stdout.flush()
        if not options["seed_only"]:
            self._serve(addresses, seeded)

    def _serve(self, addresses: Addresses, seeded: dict[str, Any]) -> None:
        clients = seeded["clients"]
        provider = {"BASE_URL": addresses.base_url, "DJANGO_SETTINGS_MODULE": "example_project.settings"}
        relying_party = {
            "DJANGO_SETTINGS_MODULE": "example_project.relying_party.settings",
            "ISSUER": addresses.issuer,
            "RELYING_PARTY_URL": addresses.relying_party_url,
            **{f"{name.upper()}_CLIENT_ID": client["client_id"] for name, client in clients.items()},
            **{f"{name.upper()}_CLIENT_SECRET": client["client_secret"] for name, client in clients.items()},
        }
        for stop in (
            signal.SIGTERM,
            signal.SIGINT,
        ):  # before there are children to orphan, and even if inherited ignored
            signal.signal(stop, signal.default_int_handler)
        processes = [
            _start(provider, *SERVE, f"localhost:{addresses.port}"),
            _start(relying_party, *SERVE, f"127.0.0.1:{addresses.port + 1}", without=("SECRET_KEY",)),
            _start(provider, "tap", "deliver", "--watch"),  # tells the relying party of sign-ins that have ended
        ]
        try:
            _wait_for_any(processes)
        except KeyboardInterrupt:
            self.stderr.write("\nStopped.")
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(timeout=10)


def _start(environment: dict[str, str], *command: str, without: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
    inherited = {name: value for name, value in os.environ.items() if name not in without}
    return subprocess.Popen(  # noqa: S603 our own interpreter and arguments
        [sys.executable, "-m", "django", *command],
        env={**inherited, **environment, "PYTHONPATH": str(settings.BASE_DIR)},
        cwd=settings.BASE_DIR,
        stdout=sys.stderr,  # standard output is ours alone: it may be one JSON object
    )


def _wait_for_any(processes: list[subprocess.Popen[bytes]]) -> None:
    while True:
        for process in processes:
            try:
                code = process.wait(timeout=0.5)
            except subprocess.TimeoutExpired:
                continue
            raise CommandError(f"A server stopped (exit code {code}). Is its port in use? Try --port.")
