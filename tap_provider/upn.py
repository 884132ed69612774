"""User principal names: one normal form, in which what was typed and what is stored are compared.

Two UPNs are the same if their NFKC forms are the same without regard to case (Unicode §3.13, caseless matching). No
database compares so on its own: it is asked, by an index, for every spelling in which a UPN is likely stored, and
Python compares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unicodedata import category, normalize

from django.db.models import F
from django.db.models.functions import Lower
from django.db.models.lookups import In

from .databases import atomic, users_connection

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet

LONGEST_UPN = 254
NOBODY = "\N{REPLACEMENT CHARACTER}"

_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def clean_upn(typed: str) -> str | None:
    """Return the UPN in NFKC, as a database can be asked for it, or None if it cannot be one.

    White space and invisible marks around it (as copied from a mail) are dropped; NUL bytes, lone surrogates and
    anything longer than a mail address would only make a database complain.
    """
    upn = normalize("NFKC", typed[: 4 * LONGEST_UPN])
    while upn and (upn[0].isspace() or category(upn[0]) == "Cf"):
        upn = upn[1:]
    while upn and (upn[-1].isspace() or category(upn[-1]) == "Cf"):
        upn = upn[:-1]
    if not upn or len(upn) > LONGEST_UPN or any(category(character) in {"Cc", "Cs"} for character in upn):
        return None
    return upn


def fold_upn(upn: str) -> str:
    """Return the form that is the same for all spellings of one UPN: NFKC, without case."""
    return normalize("NFKC", normalize("NFKC", upn).casefold())


def with_upn(users: QuerySet[Any], field: str, upn: str) -> QuerySet[Any]:
    """Narrow users to those whose field may hold this UPN: compare with `fold_upn`, the database may find too many.

    By an index on `field` on MariaDB, whose collations disregard case; else by one on `LOWER(field)`.
    """
    if users_connection().vendor == "mysql":
        return users.filter(**{f"{field}__in": _spellings(upn)})
    return users.filter(In(Lower(F(field)), _spellings(upn)))


def _spellings(upn: str) -> list[str]:
    """Return the forms in which this UPN may be stored, as databases lower them.

    Composed and decomposed; and in upper and lower case, because SQLite, and PostgreSQL with the locale `C`, know the
    case of ASCII alone.
    """
    cases = (upn, upn.lower(), upn.upper(), upn.title(), upn.casefold())
    forms = {normalize(form, text) for text in cases for form in ("NFC", "NFD")}
    return sorted({spelling for text in forms for spelling in (text.lower(), text.translate(_ASCII_LOWER))})


def has_upn_index(users: type[Model], field: str) -> bool:
    """Return True if the database finds a UPN without reading every user."""
    connection = users_connection()
    if connection.vendor == "mysql":
        return _leads_an_index(users._meta.db_table, str(users._meta.get_field(field).column))  # type: ignore[union-attr]
    query = with_upn(users._base_manager.using(connection.alias).values("pk"), field, "upn")
    if connection.vendor == "sqlite":
        return "SCAN" not in query.explain()
    with atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")  # which a table of few rows would prefer
        return "Seq Scan" not in query.explain()


def _leads_an_index(table: str, column: str) -> bool:
    connection = users_connection()
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, table).values()
    return any(one["columns"][:1] == [column] for one in constraints if one["index"] or one["unique"])
