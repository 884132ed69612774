"""Does anything take longer where there are many users?

    python -m benchmarks.scale                                  1,000 and 1,000,000 users on PostgreSQL
    python -m benchmarks.scale --sqlite --many 100000           1,000 and 100,000 on SQLite

Each user of either database has a pass, a sign-in that has ended and an audit event. Six things are done in turn in
both, hashes made cheap so that they hide nothing. Prints the median of each in milliseconds and, what counts, the
ratio. The figure to reach is at most 1.2.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.database import ADMIN_URL, DATABASE, execute
from benchmarks.scale_router import current

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = ("few", "many")
FIRST_FILLER = 10_000_000  # the key of the first user who is there only to be many


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=1000)
    parser.add_argument("--many", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--sqlite", action="store_true")
    parser.add_argument(
        "--postgres", default=ADMIN_URL, help="a server on loopback; two databases are made and dropped"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"VAR_DIR": folder, "DJANGO_SETTINGS_MODULE": "benchmarks.scale_settings"}
        for size in SIZES:
            file = f"sqlite:///{folder}/{size}.sqlite3"
            os.environ[f"{size.upper()}_URL"] = file if options.sqlite else _database(options.postgres, size)
        os.environ["DATABASE_URL"] = os.environ["FEW_URL"]
        try:
            _run(options)
        finally:
            if not options.sqlite:
                for size in SIZES:
                    execute(options.postgres, f'DROP DATABASE IF EXISTS "{DATABASE}_{size}" WITH (FORCE)')


def _database(admin_url: str, size: str) -> str:
    name = f"{DATABASE}_{size}"
    execute(admin_url, f'DROP DATABASE IF EXISTS "{name}"', f'CREATE DATABASE "{name}"')
    return f"{admin_url.rpartition('/')[0]}/{name}"


def _run(options: argparse.Namespace) -> None:
    import django

    django.setup()
    worlds = {}
    for size in SIZES:
        current[0] = size
        worlds[size] = _world(options.rounds + 1)
        _fill(getattr(options, size))
        print(f"{size}: {', '.join(_counts())}")
    times: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for number in range(options.rounds + 1):
        for name, act in ACTS.items():
            for size in SIZES if number % 2 else reversed(SIZES):
                current[0] = size
                started = time.perf_counter()
                act(worlds[size], number)
                if number:  # the first time, statements are composed
                    times[name][size].append(time.perf_counter() - started)
    for name, measured in times.items():
        few, many = (median(measured[size]) * 1000 for size in SIZES)
        print(f"{name:28} {few:7.2f} ms {many:7.2f} ms   ratio {many / few:.2f}")


@dataclass
class World:
    """The people of one database who do something."""

    admin: Any
    users: list[Any]
    passcodes: list[str]
    authenticators: list[Any]
    party: Any
    browser: Any
    newcomers: list[Any] = field(default_factory=list)


def _world(users: int) -> World:
    from django.contrib.auth import get_user_model
    from django.contrib.auth.hashers import make_password
    from django.core.management import call_command
    from django.test import Client
    from django.utils import timezone
    from oauth2_provider.models import get_application_model

    from tap_provider.issue import issue_pass
    from tap_provider.models import SignIn
    from tap_provider.policy import change_policy
    from tests.oidc.conftest import CLIENT_SECRET, PASSWORD, REDIRECT_URI, Party

    call_command("migrate", database=current[0], verbosity=0, interactive=False)
    people, now = get_user_model()._default_manager, timezone.now()
    admin: Any = people.create_superuser("admin", upn="admin@example.test")
    change_policy(actor=admin, now=now, enabled=True)
    password = make_password(PASSWORD)
    made = [people.create(username=name, upn=f"{name}@example.test", password=password) for name in _names(users)]
    lifetime = timedelta(hours=8)
    passcodes = [issue_pass(actor=admin, user=user, now=now, lifetime=lifetime).passcode.reveal() for user in made]
    browser, model = Client(), get_application_model()
    browser.post("/account/sign-in/", {"upn": made[0].upn, "password": PASSWORD})
    application = model.objects.create(
        client_id="portal",
        client_secret=CLIENT_SECRET,
        client_type=model.CLIENT_CONFIDENTIAL,
        authorization_grant_type=model.GRANT_AUTHORIZATION_CODE,
        algorithm=model.RS256_ALGORITHM,
        redirect_uris=REDIRECT_URI,
        skip_authorization=True,
    )
    world = World(admin, made, passcodes, [], Party(application), browser)
    world.authenticators = [_with_passkey(user, passcode) for user, passcode in zip(made, passcodes, strict=True)]
    ended = {"ended_at": now, "ended_reason": SignIn.EndedReason.FINISHED}
    SignIn.objects.exclude(user=made[0]).update(**ended)
    return world


def _names(users: int) -> list[str]:
    return [f"user{number}" for number in range(users)]


def _with_passkey(user: Any, passcode: str) -> Any:
    from django.test import Client

    from tests.softauthn import SoftAuthenticator, register_passkey

    holder, authenticator = Client(), SoftAuthenticator(synchronised=True)
    _expect(302, holder.post("/account/sign-in/pass/", {"upn": user.upn, "passcode": passcode}))
    _expect(200, register_passkey(holder, authenticator))
    return authenticator


def _fill(users: int) -> None:
    """Multiply a user, a pass, an ended sign-in and an event."""
    from django.contrib.auth import get_user_model
    from django.db import connections

    from tap_provider.models import AuditEvent, SignIn, TemporaryAccessPass

    connection = connections[current[0]]
    uuid = "lpad(to_hex(i), 32, '0')::uuid" if connection.vendor == "postgresql" else "printf('%%032x', i)"
    user_key = f"{FIRST_FILLER} + i"
    user_model = get_user_model()
    _multiply(
        user_model._default_manager.get(username="user1"),
        users,
        {"id": user_key, "username": "'filler' || i", "upn": "'filler' || i || '@example.test'"},
    )
    user = user_model._default_manager.get(username="user1")
    of_user = {"id": uuid, "user_id": user_key}
    _multiply(TemporaryAccessPass.objects.get(user=user), users, of_user)
    _multiply(SignIn.objects.filter(user=user, ended_at__isnull=False).first(), users, {**of_user, "pass_id": uuid})
    event = AuditEvent.objects.filter(user_key=str(user.pk)).first()
    _multiply(event, users, {"id": user_key, "user_key": f"'' || ({user_key})"})
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _counts() -> list[str]:
    from django.contrib.auth import get_user_model

    from tap_provider.models import AuditEvent, SignIn, TemporaryAccessPass

    models = (get_user_model(), TemporaryAccessPass, SignIn, AuditEvent)
    return [f"{model._default_manager.count()} {model._meta.verbose_name_plural}" for model in models]


def _multiply(row: Any, count: int, changes: dict[str, str]) -> None:
    """Insert `count` copies of a row, with these expressions of `i` in place of its own values."""
    from django.db import connections

    connection = connections[current[0]]
    table, columns = row._meta.db_table, [one.column for one in row._meta.concrete_fields]
    names = ", ".join(f'"{column}"' for column in columns)
    values = ", ".join(changes.get(column, f't."{column}"') for column in columns)
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})"
    key = row._meta.pk.get_db_prep_value(row.pk, connection)
    with connection.cursor() as cursor:
        cursor.execute(
            f'INSERT INTO "{table}" ({names}) {numbers} SELECT {values} FROM "{table}" t, n WHERE t.id = %s', [key]
        )


def _redeem(world: World, number: int) -> None:
    from django.test import Client

    typed = {"upn": world.users[number].upn, "passcode": world.passcodes[number]}
    _expect(302, Client().post("/account/sign-in/pass/", typed))


def _sign_in_with_password(world: World, number: int) -> None:
    """The user has a passkey and no second factor: the password is all that is asked for."""
    from django.test import Client

    from tests.oidc.conftest import PASSWORD

    typed = {"upn": world.users[number].upn, "password": PASSWORD}
    _expect(302, Client().post("/account/sign-in/", typed))


def _sign_in_with_passkey(world: World, number: int) -> None:
    from django.test import Client

    from tests.softauthn import sign_in_with_passkey

    _expect(200, sign_in_with_passkey(Client(), world.authenticators[number]))


def _issue(world: World, number: int) -> None:
    from django.utils import timezone

    from tap_provider.issue import issue_pass

    issue_pass(actor=world.admin, user=world.users[number], now=timezone.now())


def _authorize(world: World, number: int) -> None:
    """From the authorization request to the tokens."""
    _expect(200, world.party.exchange(*world.party.code(world.browser)))


def _security_info(world: World, number: int) -> None:
    _expect(200, world.browser.get("/account/security-info/"))


def _expect(status: int, response: Any) -> None:
    if response.status_code != status:
        raise AssertionError(f"{response.status_code}: {response.content[:300]!r}")


ACTS: dict[str, Callable[[World, int], None]] = {
    "redeem": _redeem,
    "password sign-in": _sign_in_with_password,
    "passkey sign-in": _sign_in_with_passkey,
    "issue": _issue,
    "authorization and token": _authorize,
    "Security info": _security_info,
}


if __name__ == "__main__":
    main()
