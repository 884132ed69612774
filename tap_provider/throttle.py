"""How often may one guess: attempts are counted in the database before they are judged, and before any hashing.

Counters are kept a minute at a time, and an attempt is judged by the sum of the last eleven minutes, so that within
*any* ten minutes no more than the limit pass. Each attempt is one atomic upsert in a commit of its own, which no later
failure can roll back; then it is judged by what everybody has written: of simultaneous attempts no more than the limit
pass either. A refused attempt is taken back, or impatience would prolong the wait; a success takes back its own
attempt and nobody else's, or one valid account would re-arm an attacker.

The database is used because it is the one state that every deployment shares: `cache.incr` loses counts on Django's
database and file caches and counts per process on the local-memory one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any

from django.db import OperationalError
from django.utils.crypto import salted_hmac

from .databases import users_connection
from .exceptions import TooManyAttempts
from .models import AttemptCounter
from .moments import from_timestamp
from .upn import fold_upn

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

SPAN = timedelta(minutes=10)
MOST_BY_UPN = 10
MOST_FROM_ADDRESS = 100

_MINUTES = int(SPAN.total_seconds()) // 60
_TRIES = 3


@dataclass(frozen=True)
class Attempt:
    """A counted attempt: which counters it raised, in the order in which they are always locked."""

    limits: tuple[tuple[str, int], ...]  # (digest, most)
    minute: int

    @property
    def digests(self) -> list[str]:
        return [digest for digest, _ in self.limits]


def count_attempt(*, purpose: str, upn: str, address: str | None, now: datetime) -> Attempt:
    """Count one attempt by this UPN from this address, then let it pass or raise TooManyAttempts.

    `purpose` separates what is guessed at ("pass", "password"); `upn` may be an account as well (`account_of`). Two
    statements, one commit.
    """
    limits = {_digest(purpose, "upn", fold_upn(upn)): MOST_BY_UPN, **_address_limit(purpose, address)}
    return _count(limits, now=now)


def count_attempt_from_network(*, purpose: str, upn: str, address: str | None, now: datetime) -> Attempt:
    """Count one attempt by this UPN within the network of this address, then let it pass or raise TooManyAttempts.

    Attempts from elsewhere at the same UPN do not count: a stranger cannot use up the attempts of its user. Without an
    address all attempts at a UPN are one count. Two statements, one commit.
    """
    network = "" if address is None else _network(address)
    by_both = _digest(purpose, "upn and network", f"{network} {fold_upn(upn)}")
    return _count({by_both: MOST_BY_UPN, **_address_limit(purpose, address)}, now=now)


def count_attempt_by_handle(*, purpose: str, handle: str, now: datetime) -> Attempt:
    """Count one attempt that names its target by something that cannot be guessed, from whatever address.

    Raises TooManyAttempts. Two statements, one commit.
    """
    return _count({_digest(purpose, "handle", handle): MOST_BY_UPN}, now=now)


def _address_limit(purpose: str, address: str | None) -> dict[str, int]:
    return {} if address is None else {_digest(purpose, "address", _network(address)): MOST_FROM_ADDRESS}


def _count(limits: dict[str, int], *, now: datetime) -> Attempt:
    attempt = Attempt(limits=tuple(sorted(limits.items())), minute=int(now.timestamp()) // 60)
    counted = _add_or_retry(attempt, 1)
    _judge(attempt, counted, now=now)
    return attempt


def account_of(user: Any) -> str:
    """Return what is counted for a user's account, by whatever names it is called, if any."""
    return f"account {user.pk}"


def take_back(attempt: Attempt) -> None:
    """Uncount this attempt, because it was no wrong guess. One statement."""
    _add_or_retry(attempt, -1)


def is_first_use(what: str, *, until: datetime) -> bool:
    """Tell whether this is used for the first time, and remember that until then. One statement, one commit.

    Of simultaneous uses one is the first, on every database and whatever holds the session.
    """
    digest = _digest("once", "use", what)
    return _add_or_retry(Attempt(limits=((digest, 1),), minute=int(until.timestamp()) // 60), 1)[digest] == 1


def sweep(*, now: datetime) -> int:
    """Delete counters that can no longer matter; return how many."""
    deleted, _ = AttemptCounter.objects.filter(minute__lt=int(now.timestamp()) // 60 - 2 * _MINUTES).delete()
    return deleted


def _digest(purpose: str, scope: str, value: str) -> str:
    # Keyed, so that the table tells nobody which UPNs and addresses were tried.
    text = f"{purpose}:{scope}:{value}".encode("utf-8", "surrogatepass").hex()
    return salted_hmac("tap_provider.throttle", text, algorithm="sha256").hexdigest()


def _network(address: str) -> str:
    """An IPv6 client commands a whole /64, so that is what is counted."""
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped  # a dual-stack socket names IPv4 clients so
    return str(ip_network((parsed, 64), strict=False)) if isinstance(parsed, IPv6Address) else str(parsed)


def _add_or_retry(attempt: Attempt, number: int) -> dict[str, int]:
    # MariaDB may make one of two simultaneous upserts a deadlock's victim; being one statement, it can be sent again.
    for _ in range(_TRIES - 1):
        try:
            return _add(attempt, number)
        except OperationalError:
            if users_connection().in_atomic_block:
                raise
    return _add(attempt, number)


def _add(attempt: Attempt, number: int) -> dict[str, int]:
    # Django's bulk_create can overwrite on conflict, but not add. The rows are always locked in the order of their
    # digests, so that no two of these can wait for each other.
    connection = users_connection()
    table, digest, minute, count = _names(connection)
    on_conflict = (
        f"ON DUPLICATE KEY UPDATE {count} = {count} + (%s)"
        if connection.vendor == "mysql"
        else f"ON CONFLICT ({digest}, {minute}) DO UPDATE SET {count} = {table}.{count} + (%s)"
    )
    rows = ", ".join(["(%s, %s, %s)"] * len(attempt.limits))
    values = [value for name in attempt.digests for value in (name, attempt.minute, max(number, 0))]
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({digest}, {minute}, {count}) VALUES {rows} {on_conflict} "  # noqa: S608 our own names
            f"RETURNING {digest}, {count}",
            [*values, number],
        )
        return dict(cursor.fetchall())


def _earlier(attempt: Attempt) -> list[tuple[str, int, int]]:
    """Return what was counted in the ten minutes before this attempt's own."""
    # Written out because it precedes every hash: composed by the ORM it costs a fortieth of one.
    connection = users_connection()
    table, digest, minute, count = _names(connection)
    places = ", ".join(["%s"] * len(attempt.limits))
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {digest}, {minute}, {count} FROM {table} "  # noqa: S608 our own names
            f"WHERE {digest} IN ({places}) AND {minute} >= %s AND {minute} <> %s",
            [*attempt.digests, attempt.minute - _MINUTES, attempt.minute],
        )
        return list(cursor.fetchall())


def _names(connection: BaseDatabaseWrapper) -> tuple[str, str, str, str]:
    quote = connection.ops.quote_name
    return quote(AttemptCounter._meta.db_table), quote("digest"), quote("minute"), quote("count")


def _judge(attempt: Attempt, counted: dict[str, int], *, now: datetime) -> None:
    # Of its own minute each attempt is judged by the count that its own upsert returned, its place in the row: read
    # afterwards, 32 at once would see 32 and all be refused.
    rows = _earlier(attempt) + [(digest, attempt.minute, count) for digest, count in counted.items()]
    waits = [
        _wait(sorted((minute, count) for name, minute, count in rows if name == digest), most, now=now)
        for digest, most in attempt.limits
    ]
    if any(waits):
        take_back(attempt)
        raise TooManyAttempts(retry_after=max(waits))


def _wait(counts: list[tuple[int, int]], most: int, *, now: datetime) -> timedelta:
    """Return how long until one more attempt would pass; zero if this one does."""
    surplus = sum(count for _, count in counts) - most
    for minute, count in counts:
        if surplus <= 0:
            break
        surplus -= count
        free_at = from_timestamp((minute + _MINUTES + 1) * 60)
        if surplus <= 0:
            return max(free_at - now, timedelta(seconds=1))
    return timedelta()
