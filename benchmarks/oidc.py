"""How fast is the OpenID provider, compared with django-oauth-toolkit alone?

    python -m benchmarks.oidc               PostgreSQL at 127.0.0.1:5432; gunicorn with two workers

Both providers serve the same database, sessions and applications, in turn, several rounds in one run. A public client
walks authorization, token and userinfo; a confidential one exchanges codes that it fetched before the clock started,
with a secret that either provider has hashed in its own way. Prints rates and, what counts, their ratios (medians over
the rounds). One driver, in a process of its own, for both.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import secrets
import time
from base64 import urlsafe_b64encode
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from statistics import median
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

from benchmarks.database import ADMIN_URL, scratch_database
from benchmarks.load import CLIENTS, gunicorn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WORKERS = 2
OURS, PLAIN = "ours", "plain"
PUBLIC = "public"
REDIRECT_URI = "https://relying-party.test/callback/"
SECRET = secrets.token_urlsafe(96)
VERIFIER = secrets.token_urlsafe(48)
CHALLENGE = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8, help="length of each measurement of the whole flow")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--postgres", default=ADMIN_URL, help="a server on loopback; a database is made and dropped")
    options = parser.parse_args()
    with scratch_database(options.postgres):
        _run(options)


def _run(options: argparse.Namespace) -> None:
    sessions = _prepare(options.users)
    flows: dict[str, list[float]] = {OURS: [], PLAIN: []}
    exchanges: dict[str, list[float]] = {OURS: [], PLAIN: []}
    plain_settings = {"DJANGO_SETTINGS_MODULE": "benchmarks.plain_oidc_settings"}
    with (
        gunicorn("example_project.wsgi", workers=WORKERS) as ours,
        gunicorn("django.core.wsgi:get_wsgi_application()", workers=WORKERS, **plain_settings) as plain,
        ProcessPoolExecutor(1) as driver,
    ):
        ports = {OURS: ours, PLAIN: plain}
        public = {name: Party(port, PUBLIC, VERIFIER, CHALLENGE) for name, port in ports.items()}
        confidential = {name: Party(port, name, VERIFIER, CHALLENGE, SECRET) for name, port in ports.items()}
        # As many as take about as long on either side: the toolkit's slow hash allows a few a second.
        codes = {OURS: round(options.seconds * 60), PLAIN: max(CLIENTS, round(options.seconds * 5))}
        for name in ports:  # warm
            driver.submit(flow_rate, public[name], sessions, seconds=2).result()
            driver.submit(exchange_rate, confidential[name], sessions, count=CLIENTS).result()
        for _ in range(options.rounds):
            for name, party in public.items():
                flows[name].append(driver.submit(flow_rate, party, sessions, seconds=options.seconds).result())
            for name, party in confidential.items():
                exchanges[name].append(driver.submit(exchange_rate, party, sessions, count=codes[name]).result())
    _report("authorization, token and userinfo of a public client", flows, aim="at least 0.90")
    _report("token request of a confidential client", exchanges, aim="at least 12")


def _report(what: str, rates: dict[str, list[float]], *, aim: str) -> None:
    print(what)
    for name, measured in rates.items():
        print(f"  {name:6} {median(measured):7.1f}/s   rounds: {', '.join(f'{rate:.1f}' for rate in measured)}")
    ratio = median(ours / plain for ours, plain in zip(rates[OURS], rates[PLAIN], strict=True))
    print(f"  ours / plain: {ratio:.2f}   ({aim})")


# The driver. It runs in a process of its own and gets what it needs as arguments: `spawn` would not keep the secrets.


@dataclass(frozen=True)
class Party:
    """A client of the provider at this port."""

    port: int
    client_id: str
    verifier: str
    challenge: str
    secret: str | None = None

    def code(self, session: str) -> str:
        query = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": REDIRECT_URI,
            "scope": "openid profile email",
            "state": "state",
            "nonce": "nonce",
            "code_challenge": self.challenge,
            "code_challenge_method": "S256",
        }
        headers = {"Cookie": f"sessionid={session}"}
        location = self._ask("GET", f"/o/authorize/?{urlencode(query)}", headers=headers, expected=302)[0]
        return parse_qs(urlsplit(location).query)["code"][0]

    def exchange(self, code: str) -> str:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT_URI,
            "code_verifier": self.verifier,
            "client_id": self.client_id,
        }
        if self.secret is not None:
            form["client_secret"] = self.secret
        answer = json.loads(self._ask("POST", "/o/token/", body=urlencode(form), headers=FORM)[1])
        return str(answer["access_token"])

    def userinfo(self, token: str) -> None:
        self._ask("GET", "/o/userinfo/", headers={"Authorization": f"Bearer {token}"})

    def _ask(
        self, method: str, path: str, *, headers: dict[str, str], body: str | None = None, expected: int = 200
    ) -> tuple[str, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        if response.status != expected:
            raise RuntimeError(f"{path} answered {response.status}: {content[:500]!r}")
        return response.headers.get("Location", ""), content


def flow_rate(party: Party, sessions: Sequence[str], *, seconds: float) -> float:
    """Return how many times a second somebody signs in to this client, one after the other, by a few at a time."""
    until = time.monotonic() + seconds

    def walk(number: int) -> int:
        done = 0
        while time.monotonic() < until:
            code = party.code(sessions[(number + done * CLIENTS) % len(sessions)])
            party.userinfo(party.exchange(code))
            done += 1
        return done

    started = time.monotonic()
    return sum(_all_at_once(walk, range(CLIENTS))) / (time.monotonic() - started)


def exchange_rate(party: Party, sessions: Sequence[str], *, count: int) -> float:
    """Return how many codes a second this client exchanges; fetching them is not timed."""
    codes = _all_at_once(party.code, [sessions[number % len(sessions)] for number in range(count)])
    started = time.monotonic()
    return len(_all_at_once(party.exchange, codes)) / (time.monotonic() - started)


def _all_at_once(function: Callable[..., Any], arguments: Any) -> list[Any]:
    with ThreadPoolExecutor(CLIENTS) as clients:
        return list(clients.map(function, arguments))


def _prepare(users: int) -> list[str]:
    """Make users, their sessions and the applications; return the sessions' keys."""
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "example_project.settings"
    django.setup()
    from django.contrib.auth import get_user_model
    from django.contrib.auth.hashers import make_password
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client
    from oauth2_provider.models import get_application_model

    call_command("migrate", verbosity=0, interactive=False)
    model: Any = get_application_model()
    for client_id, client_type, secret in (
        (PUBLIC, model.CLIENT_PUBLIC, ""),
        (OURS, model.CLIENT_CONFIDENTIAL, make_password(SECRET, hasher="tap_client_secret")),
        (PLAIN, model.CLIENT_CONFIDENTIAL, make_password(SECRET)),
    ):
        model.objects.create(
            client_id=client_id,
            client_secret=secret,
            client_type=client_type,
            authorization_grant_type=model.GRANT_AUTHORIZATION_CODE,
            algorithm=model.RS256_ALGORITHM,
            redirect_uris=REDIRECT_URI,
            skip_authorization=True,
        )
    sessions = []
    for number in range(users):
        name = f"user{number}"
        user = get_user_model()._default_manager.create(
            username=name, upn=f"{name}@example.test", email=f"{name}@example.test", first_name="A", last_name=name
        )
        browser = Client()
        browser.force_login(user, backend="tap_provider.backends.ModelBackend")
        sessions.append(browser.cookies["sessionid"].value)
    connection.close()
    return sessions


if __name__ == "__main__":
    main()
