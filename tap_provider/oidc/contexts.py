"""Which sign-in stands behind a code or a token, and does it still live.

A code or token dies with its sign-in because this is asked whenever it is used, not because somebody remembered to
delete it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from django.db.models import Exists, OuterRef, Q
from oauth2_provider.models import get_access_token_model, get_grant_model, get_refresh_token_model

from ..registration_session import is_live
from ..sign_in import note_pass, of_pass
from .models import CodeContext, Context, RelyingParty, TokenContext

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.models import QuerySet

    from ..models import SignIn

__all__ = [
    "digest_of",
    "is_live",
    "parties_to_tell",
    "remember_code",
    "remember_tokens",
    "sign_in_of_code",
    "sign_in_of_token",
    "sweep",
]

KEEP = timedelta(days=1)
AT_ONCE = 500

SNAPSHOT = ("methods", "amr", "level", "authenticated_at", "told_acr")
"""What of a sign-in may change while it lives: codes and tokens keep what it was."""


def digest_of(secret: str) -> str:
    """Return what a code or token is kept by."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def remember_code(code: str, sign_in: SignIn, *, client_id: str, now: datetime, returned: str = "") -> None:
    """Note which sign-in an authorization code was issued from, what it was, and which return it used up.

    Raises IntegrityError if that return was used before.
    """
    told = {"client_id": client_id, "created_at": now, "returned": returned or None}
    CodeContext.objects.create(digest=digest_of(code), **told, **_snapshot(sign_in))


def remember_tokens(
    tokens: Iterable[str], sign_in: SignIn, *, client_id: str, now: datetime, code: str | None = None
) -> None:
    """Note which sign-in these tokens come from, and by which code. One statement."""
    told = {"client_id": client_id, "created_at": now, "code_digest": "" if code is None else digest_of(code)}
    rows = [TokenContext(digest=digest_of(token), **told, **_snapshot(sign_in)) for token in tokens]
    TokenContext.objects.bulk_create(rows, ignore_conflicts=True)


def _snapshot(sign_in: SignIn) -> dict[str, Any]:
    return {"sign_in": sign_in, **{name: getattr(sign_in, name) for name in SNAPSHOT}}


def sign_in_of_code(code: str) -> SignIn | None:
    """Return the sign-in behind an authorization code as it was then, with its user. One query."""
    return _sign_in_of(CodeContext, code)


def sign_in_of_token(token: str) -> SignIn | None:
    """Return the sign-in behind a token as it was at its code, with its user; None if none stands behind it.

    One query.
    """
    return _sign_in_of(TokenContext, token)


def parties_to_tell(sign_in: SignIn) -> QuerySet[RelyingParty]:
    """Return the clients that took part in this sign-in (got a code or a token) and want to be told of its end."""
    codes, tokens = (
        Exists(model._default_manager.filter(sign_in=sign_in, client_id=OuterRef("client_id")))
        for model in (CodeContext, TokenContext)
    )
    return RelyingParty.objects.exclude(backchannel_logout_uri="").filter(codes | tokens)


def sweep(*, now: datetime) -> int:
    """Delete contexts of old codes, and of tokens that exist no more; return how many.

    While a sign-in has not ended, one context of each client stays: a relying party's own session outlives its codes
    and tokens, and it is to be told of the end.
    """
    # Codes live for a minute, unless the site says otherwise: the few that live are spared.
    live = get_grant_model().objects.filter(expires__gt=now).values_list("code", flat=True)
    old = CodeContext.objects.filter(created_at__lt=now - KEEP).exclude(digest__in=[digest_of(code) for code in live])
    gone = TokenContext.objects.filter(
        ~Exists(get_access_token_model().objects.filter(token_checksum=OuterRef("digest"))),
        ~Exists(get_refresh_token_model().objects.filter(token_checksum=OuterRef("digest"))),
        created_at__lt=now - KEEP,
    )
    tokens = _delete(gone.filter(_is_dispensable(CodeContext.objects.all()) | _is_dispensable(_later(TokenContext))))
    codes = _delete(old.filter(_is_dispensable(_later(CodeContext))))
    return codes + tokens


def _later(model: type[Context]) -> QuerySet[Context]:
    return model._default_manager.filter(digest__gt=OuterRef("digest"))  # any order will do, so that one is last


def _is_dispensable(others: QuerySet[Any]) -> Q:
    says_as_much = others.filter(sign_in=OuterRef("sign_in"), client_id=OuterRef("client_id"))
    return Q(client_id="") | Q(sign_in__ended_at__isnull=False) | Q(Exists(says_as_much))


def _delete(rows: QuerySet[Any]) -> int:
    # By key: MariaDB does not delete from a table that the condition reads.
    keys = list(rows.values_list("pk", flat=True))
    deleted = 0
    for start in range(0, len(keys), AT_ONCE):
        count, _ = rows.model._default_manager.filter(pk__in=keys[start : start + AT_ONCE]).delete()
        deleted += count
    return deleted


def _sign_in_of(model: type[Context], secret: str) -> SignIn | None:
    contexts = model._default_manager.select_related("sign_in__user").annotate(**of_pass("sign_in__pass_id"))
    context = contexts.filter(digest=digest_of(secret)).first()
    if context is None:
        return None
    sign_in: SignIn = context.sign_in
    note_pass(sign_in, context)
    for name in SNAPSHOT:
        setattr(sign_in, name, getattr(context, name))
    return sign_in
