"""The Django session ends with its sign-in: it is deleted once the ending is committed, on every engine that can.

Code that reads the session itself, past the middleware, then finds nothing. The session of the request that ends its
own sign-in is left alone until the view has done with it.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from django.conf import settings as django_settings
from django.contrib.auth import SESSION_KEY as DJANGO_SESSION_KEY
from django.contrib.sessions.backends.base import UpdateError

from ..databases import on_commit
from ..models import SignIn
from .session import SESSION_KEY, sign_in_of_session
from .session_key import can_rotate, digests_of, note_session_key, unseal
from .session_store import delete_sessions, new_session
from .stamp import is_stamp_outdated, take_stamp_of_session

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import datetime
    from uuid import UUID

    from django.http import HttpRequest

logger = logging.getLogger(__name__)

AT_ONCE = 500

_served: ContextVar[HttpRequest | None] = ContextVar("tap_provider_served", default=None)


@contextmanager
def serving(request: HttpRequest) -> Iterator[None]:
    """Let what is done meanwhile know that it is done for this request."""
    token = _served.set(request)
    try:
        yield
    finally:
        _served.reset(token)


def sign_in_being_served() -> SignIn | None:
    """Return the sign-in of the session of the request that is being served; None outside the middleware."""
    request = _served.get()
    return None if request is None or not _may_carry(request) else sign_in_of_session(request)


def delete_sessions_after_commit(ended: Collection[SignIn]) -> None:
    """Delete the sessions of these sign-ins once the transaction that ends them has committed.

    To be called in that transaction. Statements do not grow with how many they are, where the engine deletes together.
    """
    request = _served.get()
    here = request.session.get(SESSION_KEY) if request is not None and _may_carry(request) else None
    elsewhere = [sign_in.pk for sign_in in ended if str(sign_in.pk) != here]
    if len(elsewhere) < len(ended):
        request._tap_ended_here = True  # type: ignore[union-attr]
    if elsewhere and can_rotate(new_session()):
        # Read now, with the rows locked: they may have moved to another key, or be deleted with their user.
        for noted in _in_parts(elsewhere):
            on_commit(partial(_delete, noted))


def is_unsettled(request: HttpRequest, *, brought_session_key: str | None) -> bool:
    """Return True if this request ended its own sign-in, or gave its session another key or password. No query."""
    if hasattr(request, "_tap_ended_here"):
        return True
    return _may_carry(request) and (
        request.session.session_key != brought_session_key or _has_another_password(request)
    )


def _has_another_password(request: HttpRequest) -> bool:
    sign_in: SignIn | None = getattr(request, "_tap_sign_in", None)
    return (
        sign_in is not None
        and hasattr(request.session, "_session_cache")
        and (request.session.get(SESSION_KEY) == str(sign_in.pk))
        and is_stamp_outdated(request.session, sign_in)
    )


def settle_session(request: HttpRequest) -> None:
    """After the view: note the session's new key and password, or flush it if the sign-in that it carries has ended.

    Flushed, not merely deleted: Django refuses to save a session that has gone, and the response would fail.
    """
    sign_in = sign_in_of_session(request)
    if sign_in is None:
        return
    has_ended = hasattr(request, "_tap_ended_here") and not SignIn.objects.not_ended().filter(pk=sign_in.pk).exists()
    # One that names no user is worth nothing to anybody, and may have begun to sign somebody in anew.
    if has_ended or (not note_session_key(request.session, sign_in) and DJANGO_SESSION_KEY in request.session):
        request.session.flush()
    elif not sign_in.is_registration_only:
        take_stamp_of_session(request.session, sign_in)


def save_unless_ended(request: HttpRequest) -> None:
    """Let `request.session.save()` pass over a session that was deleted because its sign-in ended in another request.

    Django answers such a request with 400 Bad Request. Its response is what it would have been a moment before the end;
    the browser's next request finds no session, and a page of ours says why the sign-in ended.
    """
    save = request.session.save

    def save_or_pass_over(must_create: bool = False) -> None:
        try:
            save(must_create=must_create)
        except UpdateError:
            sign_in = sign_in_of_session(request)
            if sign_in is None or SignIn.objects.not_ended().filter(pk=sign_in.pk).exists():
                raise

    request.session.save = save_or_pass_over  # type: ignore[method-assign]


def delete_left_sessions(*, now: datetime) -> int:
    """Delete sessions whose sign-ins have ended and that could not be deleted then; return of how many sign-ins.

    For `manage.py tap sweep`: a cache server did not answer, or the process died. No session lasts longer than
    `SESSION_COOKIE_AGE` unless the site says so, and no longer is looked back.
    """
    since = now - timedelta(seconds=django_settings.SESSION_COOKIE_AGE)
    left = SignIn.objects.filter(ended_at__gte=since).exclude(sealed_session_key="").values_list("pk", flat=True)
    return sum(_delete(noted) for noted in _in_parts(list(left)))


def sign_in_that_was(request: HttpRequest) -> SignIn | None:
    """Return the sign-in that this browser had when its session was still there, to tell why it is gone.

    One query where the session was deleted and its cookie still came.
    """
    known: SignIn | None = getattr(request, "_tap_sign_in", None)
    key = request.COOKIES.get(django_settings.SESSION_COOKIE_NAME)
    if known is not None or not key or not can_rotate(request.session):
        return known
    if request.session.get(SESSION_KEY) is not None or request.session.session_key == key:
        return None
    ended = SignIn.objects.filter(session_digest__in=digests_of(key), ended_at__isnull=False)
    return ended.order_by("-ended_at").first()


def _may_carry(request: HttpRequest) -> bool:
    # Without a cookie and untouched, there is nothing in it: asking would make the response vary by cookie.
    return request.session.session_key is not None or hasattr(request.session, "_session_cache")


_Noted = dict["UUID", str]


def _in_parts(sign_in_ids: list[UUID]) -> Iterator[_Noted]:
    """Yield the sealed keys of these sign-ins, some at a time, of those that have one."""
    for start in range(0, len(sign_in_ids), AT_ONCE):
        some = SignIn.objects.filter(pk__in=sign_in_ids[start : start + AT_ONCE]).exclude(sealed_session_key="")
        noted = dict(some.values_list("pk", "sealed_session_key"))
        if noted:
            yield noted


def _delete(noted: _Noted) -> int:
    """Delete these sessions and forget their keys; return how many sign-ins. What fails is left for the next sweep.

    Nothing is raised: the ending is committed, and whoever ended it is served. No message of an engine is logged, as it
    may name a key.
    """
    try:
        return _delete_or_raise(noted)
    except Exception as error:  # noqa: BLE001 a cache server or database that does not answer
        _log_left(len(noted), error)
        return 0


def _delete_or_raise(noted: _Noted) -> int:
    keys = [key for key in map(unseal, noted.values()) if key is not None]
    by_digest = {digest: key for key in keys for digest in digests_of(key)}
    # A session that was signed in to again under the same key belongs to that sign-in.
    held = SignIn.objects.not_ended().filter(session_digest__in=list(by_digest))
    kept = {by_digest[digest] for digest in held.values_list("session_digest", flat=True)}
    errors = delete_sessions([key for key in keys if key not in kept])
    if errors:
        _log_left(len(errors), errors[0])
        return 0
    return SignIn.objects.filter(pk__in=list(noted)).update(sealed_session_key="")


def _log_left(how_many: int, error: Exception) -> None:
    logger.error(
        "Sessions of up to %d ended sign-ins were not deleted: %s. The next `manage.py tap sweep` tries again.",
        how_many,
        type(error).__name__,
    )
