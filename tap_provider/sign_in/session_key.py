"""The key of the Django session that carries a sign-in: noted with the sign-in, sealed and as a digest.

By the sealed key the session is found when its sign-in ends; by the digest the sign-in is found when a cookie brings
the key of a session that is gone. Both need `SECRET_KEY`: a copy of the database holds no key that opens a session.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings as django_settings
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieSession
from django.utils.crypto import salted_hmac

from ..models import SignIn

if TYPE_CHECKING:
    from collections.abc import Sequence

_DIGEST = "tap_provider.session_key.digest"
_SEAL = "tap_provider.session_key.seal"


def can_rotate(session: Any) -> bool:
    """Tell whether renewing the session's key leaves a copied cookie behind: one that carries its data stays good.

    The same sessions can be deleted.
    """
    return not isinstance(session, CookieSession)


def note_session_key(session: Any, sign_in: SignIn) -> bool:
    """Note the key under which this session is stored, if it is another one than noted; False if the sign-in has ended.

    A session that has no key yet is saved under one. One statement where there is something to note. Of a session that
    is kept in the cookie itself nothing is noted: it cannot be deleted, and its key is all that it holds.
    """
    if not can_rotate(session):
        return True
    if session.session_key is None:
        session.cycle_key()  # of all engines the one call that stores the data under a new key
    digest = digest_of(session.session_key)
    if sign_in.session_digest == digest:
        return True
    noted = {"session_digest": digest, "sealed_session_key": seal(session.session_key)}
    if not SignIn.objects.not_ended().filter(pk=sign_in.pk).update(**noted):
        return False
    for name, value in noted.items():
        setattr(sign_in, name, value)
    return True


def digest_of(session_key: str) -> str:
    """Return the digest by which this key is noted, 64 hexadecimal digits."""
    return _digest(session_key, django_settings.SECRET_KEY)


def digests_of(session_key: str) -> list[str]:
    """Return every digest by which this key may have been noted, under the secret key and its fallbacks."""
    return [_digest(session_key, secret) for secret in _secrets()]


def seal(session_key: str) -> str:
    """Return the key encrypted and authenticated under `SECRET_KEY`."""
    return _box(_secrets()).encrypt(session_key.encode()).decode()


def unseal(sealed: str) -> str | None:
    """Return the sealed key, or None if it was sealed under a secret key that is neither in force nor a fallback."""
    try:
        return _box(_secrets()).decrypt(sealed.encode()).decode()
    except InvalidToken:
        return None


def _digest(session_key: str, secret: str | bytes) -> str:
    return salted_hmac(_DIGEST, session_key, secret=secret, algorithm="sha256").hexdigest()


def _secrets() -> tuple[str | bytes, ...]:
    return (django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS)


@lru_cache(maxsize=2)
def _box(secrets: Sequence[str | bytes]) -> MultiFernet:
    keys = [salted_hmac(_SEAL, "", secret=secret, algorithm="sha256").digest() for secret in secrets]
    return MultiFernet([Fernet(urlsafe_b64encode(key)) for key in keys])
