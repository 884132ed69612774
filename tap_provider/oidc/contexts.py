"""Which sign-in stands behind a code or a token, and does it still live.

A code or token dies with its sign-in because this is asked whenever it is used, not because somebody remembered to
delete it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from django.db.models import Exists, OuterRef
from oauth2_provider.models import get_access_token_model, get_grant_model, get_refresh_token_model

from .. import registration_session
from ..sign_in import note_pass, of_pass
from .models import CodeContext, Context, TokenContext

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..models import SignIn

KEEP = timedelta(days=1)

SNAPSHOT = ("methods", "amr", "level", "authenticated_at")
"""What of a sign-in may change while it lives: codes and tokens keep what it was."""


def digest_of(secret: str) -> str:
    """Return what a code or token is kept by."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def remember_code(code: str, sign_in: SignIn, *, client_id: str, now: datetime) -> None:
    """Note which sign-in an authorization code was issued from, and what it was."""
    CodeContext.objects.create(digest=digest_of(code), client_id=client_id, created_at=now, **_snapshot(sign_in))


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


def is_live(sign_in: SignIn, *, now: datetime) -> bool:
    """Tell whether codes and tokens of this sign-in are still good."""
    if sign_in.is_registration_only:
        return registration_session.why_over(sign_in, now=now) is None
    return not sign_in.is_over(now=now) and bool(sign_in.user.is_active)


def is_token_live(sign_in: SignIn | None, user: Any | None, *, now: datetime) -> bool:
    """Tell whether an unexpired access token of this user, with this sign-in behind it, is still good."""
    if user is None:  # client credentials: nobody signed in
        return True
    if sign_in is None:  # from before the installation, or by a grant without a session
        return bool(user.is_active)
    return bool(sign_in.user_id == user.pk) and is_live(sign_in, now=now)


def sweep(*, now: datetime) -> int:
    """Delete contexts of old codes, and of tokens that exist no more; return how many."""
    # Codes live for a minute, unless the site says otherwise: the few that live are spared.
    live = get_grant_model().objects.filter(expires__gt=now).values_list("code", flat=True)
    old = CodeContext.objects.filter(created_at__lt=now - KEEP).exclude(digest__in=[digest_of(code) for code in live])
    codes, _ = old.delete()
    gone = TokenContext.objects.filter(
        ~Exists(get_access_token_model().objects.filter(token_checksum=OuterRef("digest"))),
        ~Exists(get_refresh_token_model().objects.filter(token_checksum=OuterRef("digest"))),
        created_at__lt=now - KEEP,
    )
    tokens, _ = gone.delete()
    return codes + tokens


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
