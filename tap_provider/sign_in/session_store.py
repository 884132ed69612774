"""Deleting Django sessions by their keys, on whichever engine the site keeps them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.contrib.sessions.backends.cache import SessionStore as CacheSession
from django.contrib.sessions.backends.cached_db import SessionStore as CachedDatabaseSession
from django.contrib.sessions.backends.db import SessionStore as DatabaseSession

if TYPE_CHECKING:
    from collections.abc import Sequence


def new_session() -> Any:
    """Return a new, empty session of the site's engine (`SESSION_ENGINE`); nothing is stored."""
    return import_module(django_settings.SESSION_ENGINE).SessionStore(None)


def delete_sessions(session_keys: Sequence[str]) -> list[Exception]:
    """Delete the sessions with these keys; return what went wrong, one error at most for each key.

    Django's own engines delete them together: in the database by one statement, however many they are. An engine that
    deletes in its own way is asked for each.
    """
    session, errors = new_session(), list[Exception]()
    delete = type(session).delete
    together = delete in (DatabaseSession.delete, CachedDatabaseSession.delete, CacheSession.delete)
    for keys in [session_keys] if together else [[key] for key in session_keys]:
        try:
            _delete_together(session, keys) if together else session.delete(*keys)
        except Exception as error:  # noqa: BLE001 whatever an engine raises: the others are deleted all the same
            errors.append(error)
    return errors


def _delete_together(session: Any, session_keys: Sequence[str]) -> None:
    if isinstance(session, DatabaseSession):
        session.get_model_class().objects.filter(session_key__in=session_keys).delete()
    if isinstance(session, CachedDatabaseSession | CacheSession):
        cache = session._cache  # type: ignore[union-attr]  # unknown to the stubs
        cache.delete_many([session.cache_key_prefix + key for key in session_keys])
