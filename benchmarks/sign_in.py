"""How fast is a sign-in by pass, compared with what its hash alone allows and with Django's own password login?

    python -m benchmarks.sign_in            PostgreSQL at 127.0.0.1:5432; gunicorn with two workers

Three things in turn, several rounds in one run: the passcode hash alone in as many processes as there are workers, the
page that redeems a pass, and `django.contrib.auth`'s LoginView with the default hasher. Prints rates and, what counts,
their ratios (medians over the rounds).
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from functools import partial
from statistics import median
from typing import Any

from benchmarks.database import ADMIN_URL, scratch_database

WORKERS = 2
PASSWORD = "correct horse battery staple"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8, help="length of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--postgres", default=ADMIN_URL, help="a server on loopback; a database is made and dropped")
    options = parser.parse_args()
    with scratch_database(options.postgres):
        _run(options)


def _run(options: argparse.Namespace) -> None:
    from benchmarks.load import gunicorn, post_rate

    passes, passwords = _prepare(options.users)
    rates: dict[str, list[float]] = {"hash": [], "redeem": [], "password": []}
    plain = {"DJANGO_SETTINGS_MODULE": "benchmarks.plain_settings"}
    with (
        gunicorn("example_project.wsgi", workers=WORKERS) as ours,
        gunicorn("django.core.wsgi:get_wsgi_application()", workers=WORKERS, **plain) as djangos,
    ):
        post_rate(ours, "/account/sign-in/pass/", passes, seconds=2)
        post_rate(djangos, "/login/", passwords, seconds=2)
        for _ in range(options.rounds):
            rates["hash"].append(_hash_rate(options.seconds))
            rates["redeem"].append(post_rate(ours, "/account/sign-in/pass/", passes, seconds=options.seconds))
            rates["password"].append(post_rate(djangos, "/login/", passwords, seconds=options.seconds))
    _report(rates)


def _report(rates: dict[str, list[float]]) -> None:
    for name, measured in rates.items():
        print(f"{name:9} {median(measured):7.1f}/s   rounds: {', '.join(f'{rate:.1f}' for rate in measured)}")
    by_hash = median(redeem / alone for redeem, alone in zip(rates["redeem"], rates["hash"], strict=True))
    by_password = median(redeem / plain for redeem, plain in zip(rates["redeem"], rates["password"], strict=True))
    print(f"redeem / hash alone:     {by_hash:.2f}   (at least 0.65; the aim is 0.75)")
    print(f"redeem / password login: {by_password:.1f}   (at least 8)")


def _hash_rate(seconds: float) -> float:
    from benchmarks.load import call_rate
    from tap_provider.passcode import PasscodeHasher

    with ProcessPoolExecutor(WORKERS) as processes:
        one = partial(PasscodeHasher().encode, "0123456789", "salt" * 5)
        return sum(
            future.result() for future in [processes.submit(call_rate, one, seconds=seconds) for _ in range(WORKERS)]
        )


def _prepare(users: int) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "example_project.settings"
    django.setup()
    from django.contrib.auth import get_user_model
    from django.contrib.auth.hashers import make_password
    from django.core.management import call_command
    from django.db import connection
    from django.utils import timezone

    from tap_provider.issue import issue_pass
    from tap_provider.policy import change_policy

    call_command("migrate", verbosity=0, interactive=False)
    user_model: Any = get_user_model()
    admin = user_model.objects.create_superuser("admin", upn="admin@example.test")
    now = timezone.now()
    change_policy(actor=admin, now=now, enabled=True)
    password = make_password(PASSWORD)  # Django's default hasher
    names = [f"user{number}" for number in range(users)]
    user_model.objects.bulk_create(
        user_model(username=name, upn=f"{name}@example.test", password=password) for name in names
    )
    passes = [
        {
            "upn": user.upn,
            "passcode": issue_pass(actor=admin, user=user, now=now, lifetime=timedelta(hours=8)).passcode.reveal(),
        }
        for user in user_model.objects.exclude(pk=admin.pk)
    ]
    connection.close()
    return passes, [{"username": name, "password": PASSWORD} for name in names]


if __name__ == "__main__":
    main()
