"""Which sign-in stands behind a code or a token, and does it still live.

A code or token dies with its sign-in because this is asked whenever it is used, not because somebody remembered to
delete it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import transaction
from django.db.models import Exists, OuterRef
from oauth2_provider.models import (
    get_access_token_model,
    get_device_grant_model,
    get_grant_model,
    get_id_token_model,
    get_refresh_token_model,
)

from .. import registration_session
from ..sign_in import note_pass, of_pass
from .models import CodeContext, Context, TokenContext

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..models import SignIn

ContextT = TypeVar("ContextT", bound=Context)

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
    tokens: Iterable[str], sign_in: SignIn, *, client_id: str, now: datetime, code_digest: str = ""
) -> None:
    """Note which sign-in these tokens come from, and by which code in the end. One statement."""
    told = {"client_id": client_id, "created_at": now, "code_digest": code_digest}
    rows = [TokenContext(digest=digest_of(token), **told, **_snapshot(sign_in)) for token in tokens]
    TokenContext.objects.bulk_create(rows, ignore_conflicts=True)


def _snapshot(sign_in: SignIn) -> dict[str, Any]:
    return {"sign_in": sign_in, **{name: getattr(sign_in, name) for name in SNAPSHOT}}


def sign_in_of_code(code: str) -> SignIn | None:
    """Return the sign-in behind an authorization code as it was then, with its user. One query."""
    context = _find(CodeContext, code)
    return None if context is None else context.sign_in


def sign_in_of_token(token: str) -> SignIn | None:
    """Return the sign-in behind a token as it was at its code, with its user; None if none stands behind it.

    One query.
    """
    context = context_of_token(token)
    return None if context is None else context.sign_in


def context_of_token(token: str) -> TokenContext | None:
    """Return what is kept of a token, its sign-in as it was at its code. One query."""
    return _find(TokenContext, token)


def is_live(sign_in: SignIn, *, now: datetime) -> bool:
    """Tell whether codes and tokens of this sign-in are still good."""
    if sign_in.is_registration_only:
        return registration_session.why_over(sign_in, now=now) is None
    return not sign_in.is_over(now=now) and bool(sign_in.user.is_active)


def revoke_tokens_of_code(code_digest: str, *, client_id: str) -> None:
    """Revoke what this client got by this code, and whatever was refreshed from it (RFC 6749 §4.1.2).

    Nothing where the client got nothing by it: one query then.
    """
    issued = TokenContext.objects.filter(code_digest=code_digest, client_id=client_id)
    digests = list(issued.values_list("digest", flat=True))
    if not digests:
        return
    access_tokens = get_access_token_model().objects.filter(token_checksum__in=digests)
    with transaction.atomic():
        id_tokens = list(access_tokens.exclude(id_token=None).values_list("id_token_id", flat=True))
        # Refresh tokens first, as the toolkit itself takes its locks.
        for refresh_token in get_refresh_token_model().objects.filter(token_checksum__in=digests, revoked=None):
            refresh_token.revoke()
        access_tokens.delete()
        get_id_token_model().objects.filter(pk__in=id_tokens).delete()


def sweep(*, now: datetime) -> int:
    """Delete contexts of old codes, and of tokens that exist no more; return how many."""
    # Codes live for a minute, those of devices for half an hour, unless the site says otherwise: the few that live are
    # spared.
    codes_of_grants = get_grant_model().objects.filter(expires__gt=now).values_list("code", flat=True)
    codes_of_devices = get_device_grant_model().objects.filter(expires__gt=now).values_list("device_code", flat=True)
    live = [digest_of(code) for code in (*codes_of_grants, *codes_of_devices)]
    old = CodeContext.objects.filter(created_at__lt=now - KEEP).exclude(digest__in=live)
    codes, _ = old.delete()
    gone = TokenContext.objects.filter(
        ~Exists(get_access_token_model().objects.filter(token_checksum=OuterRef("digest"))),
        ~Exists(get_refresh_token_model().objects.filter(token_checksum=OuterRef("digest"))),
        created_at__lt=now - KEEP,
    )
    tokens, _ = gone.delete()
    return codes + tokens


def _find(model: type[ContextT], secret: str) -> ContextT | None:
    contexts = model._default_manager.select_related("sign_in__user").annotate(**of_pass("sign_in__pass_id"))
    context = contexts.filter(digest=digest_of(secret)).first()
    if context is None:
        return None
    note_pass(context.sign_in, context)
    for name in SNAPSHOT:
        setattr(context.sign_in, name, getattr(context, name))
    return context
