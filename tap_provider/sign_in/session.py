"""What a Django session carries of a sign-in, which is its id; and finding the sign-in by that."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import connections
from django.db.models.expressions import RawSQL

from ..composed_query import ComposedQuery, Parameter
from ..databases import atomic, where
from ..models import SignIn, TemporaryAccessPass
from .session_key import note_session_key

if TYPE_CHECKING:
    from django.http import HttpRequest

SESSION_KEY = "tap_provider_sign_in"

OF_PASS = ("is_usable_once", "highest_standing")  # what the policy asks of the pass behind a sign-in


def put_in_session(request: HttpRequest, sign_in: SignIn) -> None:
    """Let this session carry this sign-in, which notes under which key the session is stored."""
    request.session[SESSION_KEY] = str(sign_in.pk)
    request._tap_sign_in = sign_in  # type: ignore[attr-defined]
    with atomic():  # one commit with a new session
        note_session_key(request.session, sign_in)


def rotate_session(request: HttpRequest, sign_in: SignIn) -> None:
    """Give the session of this sign-in another key: a cookie from before opens nothing any more."""
    request.session.cycle_key()
    note_session_key(request.session, sign_in)


def sign_in_of_session(request: HttpRequest, *, user: Any | None = None) -> SignIn | None:
    """Return the sign-in that this session carries, over or not, with its user; one query, kept on the request.

    `user` is who was read from the database just now, where somebody was: they are not read again.
    """
    carried = request.session.get(SESSION_KEY) if hasattr(request, "session") else None
    if carried is None:
        return None
    kept: SignIn | None = getattr(request, "_tap_sign_in", None)
    if kept is None or str(kept.pk) != carried:
        kept = find_sign_in(carried, user=user)
        request._tap_sign_in = kept  # type: ignore[attr-defined]
    return kept


def sign_in_of_user(request: HttpRequest) -> SignIn | None:
    """Return the sign-in of whom this view sees as signed in; None where nobody is, or `request.user` is somebody else.

    Packages that let support staff act as a user put that user there: what is told and done then is not by the
    session's sign-in, which is the staff's own.
    """
    if not request.user.is_authenticated:
        return None
    sign_in = sign_in_of_session(request)
    return sign_in if sign_in is not None and sign_in.user_id == request.user.pk else None


def find_sign_in(sign_in_id: str | UUID, *, user: Any | None = None) -> SignIn | None:
    """Return the sign-in with its user and what is left of its pass, in one query; None for anything else.

    `user` as for `sign_in_of_session`.
    """
    try:
        key = UUID(str(sign_in_id))
    except ValueError:
        return None
    if user is None:
        return SignIn.objects.select_related("user").annotate(**of_pass()).filter(pk=key).first()
    sign_in = _SIGN_IN.first(key, field=SignIn._meta.pk)
    return None if sign_in is None else with_user(sign_in, user)


def with_user(sign_in: SignIn, user: Any) -> SignIn:
    """Let a sign-in have its user, if this is who it belongs to: otherwise they are read when asked for."""
    if sign_in.user_id == user.pk:
        sign_in.user = user
    return sign_in


def of_pass() -> dict[str, RawSQL]:
    """Return annotations that tell what is left of a sign-in's pass, where a query selects or joins sign-ins."""
    return _of_pass(where())


@lru_cache(maxsize=8)
def _of_pass(using: str) -> dict[str, RawSQL]:
    # Every request of a session asks this. Two subqueries of the ORM cost more to compose than the rest of it.
    quote, passes = connections[using].ops.quote_name, TemporaryAccessPass._meta
    table, sign_ins = quote(passes.db_table), quote(SignIn._meta.db_table)
    told: dict[str, Any] = {name: passes.get_field(name) for name in OF_PASS}
    return {
        f"pass_{name}": RawSQL(  # noqa: S611 our own names
            f"SELECT {quote(name)} FROM {table} WHERE {table}.{quote('id')} = {sign_ins}.{quote('pass_id')}",  # noqa: S608
            (),
            output_field=field,
        )
        for name, field in told.items()
    }


_SIGN_IN = ComposedQuery(SignIn, lambda sign_ins: sign_ins.annotate(**of_pass()).filter(pk=Parameter()))


def note_pass(sign_in: SignIn, source: Any, *, prefix: str = "pass_") -> None:
    """Note on a sign-in what is known of its pass: from an annotated row, or from the pass itself without a prefix."""
    for name in OF_PASS:
        setattr(sign_in, f"pass_{name}", getattr(source, f"{prefix}{name}"))
