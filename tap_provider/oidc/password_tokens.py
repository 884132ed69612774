"""The password behind tokens of the password grant (RFC 6749 §4.3), which have no sign-in behind them.

Such a token is good, and is refreshed, while that password alone still lets its user in.
A password that is set by `set_password()` and `save()` deletes the tokens at once (`revocation`). Every other change is
seen here, when a token is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import Exists, OuterRef
from oauth2_provider.models import get_access_token_model, get_refresh_token_model

from ..conflicts import retry_conflicts
from ..databases import atomic
from ..methods.registration import has_second_factor
from ..sign_in import is_stamp_current
from .contexts import KEEP, digest_of
from .models import PasswordTokenContext

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from django.db.models import QuerySet


def remember_password(tokens: Iterable[str], stamp: str, *, now: datetime) -> None:
    """Store the stamp of the password by which these tokens were issued. One statement."""
    rows = [PasswordTokenContext(digest=digest_of(token), password_stamp=stamp, created_at=now) for token in tokens]
    PasswordTokenContext.objects.bulk_create(rows, ignore_conflicts=True)


def stamp_behind(token: str) -> str | None:
    """Return the stamp of the password by which a token was issued; None if no password grant issued it. One query."""
    contexts = PasswordTokenContext.objects.filter(digest=digest_of(token))
    return contexts.values_list("password_stamp", flat=True).first()


def is_still_granted(user: Any, token: str) -> bool:
    """Return True unless a password grant issued this token, and would refuse it to its user now.

    One query, and for tokens of that grant those of `has_second_factor`.
    """
    stamp = stamp_behind(token)
    return stamp is None or is_password_enough(user, stamp)


def is_password_enough(user: Any, stamp: str) -> bool:
    """Return True if this password alone would let the user in now: it is theirs, and there is no second factor."""
    return is_stamp_current(stamp, user) and not has_second_factor(user)


@retry_conflicts
def revoke_ungranted(user: Any) -> None:
    """Delete the user's tokens of the password grant that the grant would not issue now; others stay."""
    access_tokens = get_access_token_model().objects.filter(user=user)
    refresh_tokens = get_refresh_token_model().objects.filter(user=user)
    with atomic():
        digests = {*_digests(access_tokens), *_digests(refresh_tokens)}
        issued = PasswordTokenContext.objects.filter(digest__in=digests).values_list("digest", "password_stamp")
        is_alone = not has_second_factor(user)
        dead = [digest for digest, stamp in issued if not (is_alone and is_stamp_current(stamp, user))]
        refresh_tokens.filter(token_checksum__in=dead).delete()  # first, as the toolkit itself takes its locks
        access_tokens.filter(token_checksum__in=dead).delete()


def _digests(tokens: QuerySet[Any]) -> Iterable[str]:
    return tokens.values_list("token_checksum", flat=True)


def sweep(*, now: datetime) -> int:
    """Delete the contexts of tokens that no longer exist; return how many."""
    gone = PasswordTokenContext.objects.filter(
        ~Exists(get_access_token_model().objects.filter(token_checksum=OuterRef("digest"))),
        ~Exists(get_refresh_token_model().objects.filter(token_checksum=OuterRef("digest"))),
        created_at__lt=now - KEEP,
    )
    deleted, _ = gone.delete()
    return deleted
