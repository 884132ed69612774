"""Run every race many times, on a database that is made for it, and print how many rounds went wrong.

    python -m tests.races                              200 rounds of each on SQLite
    python -m tests.races --database postgres          on PostgreSQL
    python -m tests.races --database mariadb --rounds 20 everywhere_against_8_refreshers

`DATABASE_URL` names the server where it is set; otherwise it is the one on this machine. The exit status is 1 if any
round went wrong.
"""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import sys
import time
from collections import Counter
from typing import Any

SERVERS = {
    "sqlite": "",
    "postgres": "postgres://postgres@127.0.0.1:5432/{name}",
    "mariadb": "mysql://root@127.0.0.1:3306/{name}",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("races", nargs="*", help="names, or beginnings of names; all of them by default")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--database", choices=SERVERS, default="sqlite")
    parser.add_argument("--list", action="store_true", help="print the names of the races")
    options = parser.parse_args()
    server = SERVERS[options.database]
    if server:
        os.environ.setdefault("DATABASE_URL", server.format(name=f"races_{secrets.token_hex(4)}"))
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"

    import django

    django.setup()
    from .runner import RACES, run

    names = [name for name in RACES if not options.races or name.startswith(tuple(options.races))]
    if options.list or not names:
        print(*RACES, sep="\n")
        sys.exit(0 if options.list else "there is no such race")
    sys.exit(1 if _run(run, names, rounds=options.rounds) else 0)


def _run(run: Any, names: list[str], *, rounds: int) -> int:
    from django.db import connection
    from django.test.utils import setup_test_environment, teardown_test_environment

    logging.disable(logging.CRITICAL)
    setup_test_environment()
    before = connection.settings_dict["NAME"]
    connection.creation.create_test_db(verbosity=0)
    failed = 0
    try:
        for name in names:
            began, wrong = time.monotonic(), Counter[str]()
            bad = 0
            for _ in range(rounds):
                found = run(name)
                bad += bool(found)
                wrong.update(found)
            failed += bad
            seconds = time.monotonic() - began
            print(f"{connection.vendor} {name}: {bad} of {rounds} rounds went wrong ({seconds:.0f} s)", flush=True)
            for message, times in wrong.most_common(20):
                print(f"    {times} times: {message}", flush=True)
    finally:
        connection.creation.destroy_test_db(before, verbosity=0)
        teardown_test_environment()
    return failed


if __name__ == "__main__":
    main()
