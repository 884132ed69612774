"""Which sign-in stands behind a code or a token, and does it still live.

A code or token dies with its sign-in because this is asked whenever it is used, not because somebody remembered to
delete it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from django.db import IntegrityError, connections
from django.db.models import Exists, OuterRef, Q, Subquery
from django.utils import timezone
from oauth2_provider.models import (
    get_access_token_model,
    get_device_grant_model,
    get_grant_model,
    get_id_token_model,
    get_refresh_token_model,
)

from ..conflicts import retry_conflicts
from ..databases import atomic, delete_in_parts, where
from ..models import SignIn
from ..registration_session import is_live
from ..sign_in import hold_sign_in, of_pass, with_user
from .models import CodeContext, Context, RelyingParty, TokenContext

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.models import QuerySet

__all__ = [
    "digest_of",
    "forget_sign_in",
    "is_live",
    "parties_to_tell",
    "remember_answer_without_code",
    "remember_code",
    "remember_tokens",
    "revoke_tokens_of_code",
    "sign_in_of_code",
    "sign_in_of_token",
    "sweep",
]

KEEP = timedelta(days=1)
AT_ONCE = 500

SNAPSHOT = ("methods", "amr", "level", "authenticated_at")
"""What of a sign-in may change while it lives: codes and tokens keep what it was."""

KEPT_BESIDE = ("told_acr", "code_digest")
"""What contexts keep that is no column of a sign-in."""


def digest_of(secret: str) -> str:
    """Return what a code or token is kept by."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def remember_code(code: str, sign_in: SignIn, *, client_id: str, now: datetime, returned: str = "") -> None:
    """Note which sign-in an authorization code was issued from, what it was, and which return it used up.

    Raises IntegrityError if that return was used before.
    """
    told = {"client_id": client_id, "created_at": now, "returned": returned or None}
    CodeContext.objects.create(digest=digest_of(code), **told, **_snapshot(sign_in))


def remember_answer_without_code(sign_in: SignIn, *, client_id: str, now: datetime, returned: str = "") -> bool:
    """Note that this client takes part in this sign-in, by which return; False if that was used up before."""
    try:
        with atomic():
            remember_code(f"no code: {uuid4()}", sign_in, client_id=client_id, now=now, returned=returned)
    except IntegrityError:
        return False
    return True


def remember_tokens(
    tokens: Iterable[str], sign_in: SignIn, *, client_id: str, now: datetime, code_digest: str = ""
) -> None:
    """Note which sign-in these tokens come from, and by which code in the end. One statement."""
    told = {"client_id": client_id, "created_at": now, "code_digest": code_digest}
    rows = [TokenContext(digest=digest_of(token), **told, **_snapshot(sign_in)) for token in tokens]
    TokenContext.objects.bulk_create(rows, ignore_conflicts=True)


def _snapshot(sign_in: SignIn) -> dict[str, Any]:
    return {"sign_in": sign_in, **{name: getattr(sign_in, name) for name in (*SNAPSHOT, "told_acr")}}


def sign_in_of_code(code: str, *, user: Any | None = None) -> SignIn | None:
    """Return the sign-in behind an authorization code as it was then. One query.

    `user` is who was read with the code, where somebody was; otherwise they are read when asked for.
    """
    return _find(CodeContext, code, user)


def sign_in_of_token(token: str, *, user: Any | None = None) -> SignIn | None:
    """Return the sign-in behind a token as it was at its code; None if none stands behind it. One query.

    `code_digest` of what it returns tells which code that was.
    """
    return _find(TokenContext, token, user)


def parties_to_tell(sign_ins: Iterable[SignIn]) -> list[tuple[SignIn, RelyingParty]]:
    """Return the clients that took part in each sign-in (got a code or a token) and want to be told of its end.

    One query, and one more where anybody is to be told, however many the sign-ins.
    """
    by_id = {sign_in.pk: sign_in for sign_in in sign_ins}
    wanting = RelyingParty.objects.exclude(backchannel_logout_uri="")
    party = Subquery(wanting.filter(client_id=OuterRef("client_id")).values("pk")[:1])
    codes, tokens = (
        model._default_manager.filter(sign_in__in=list(by_id))
        .annotate(party=party)
        .exclude(party=None)
        .values_list("sign_in_id", "party")
        for model in (CodeContext, TokenContext)
    )
    took_part = sorted(codes.union(tokens))
    parties = wanting.in_bulk({party_id for _, party_id in took_part})
    return [(by_id[sign_in_id], parties[party_id]) for sign_in_id, party_id in took_part]


def with_tokens_in_use(sign_ins: Iterable[SignIn]) -> set[UUID]:
    """Return which of these sign-ins a relying party still has a token of. One query."""
    tokens = TokenContext.objects.filter(sign_in__in=[sign_in.pk for sign_in in sign_ins])
    access = get_access_token_model().objects.filter(token_checksum=OuterRef("digest"), expires__gt=timezone.now())
    refresh = get_refresh_token_model().objects.filter(token_checksum=OuterRef("digest"), revoked=None)
    return set(tokens.filter(Exists(access) | Exists(refresh)).values_list("sign_in_id", flat=True))


@retry_conflicts
def revoke_tokens_of_code(code_digest: str, *, client_id: str) -> None:
    """Revoke what this client got by this code, and whatever was refreshed from it (RFC 6749 §4.1.2).

    Nothing where the client got nothing by it: one query then.
    """
    issued = TokenContext.objects.filter(code_digest=code_digest, client_id=client_id)
    first = issued.select_related("sign_in").first()
    if first is None:
        return
    with atomic():
        hold_sign_in(first.sign_in)  # a refresh at this very moment has stored its tokens, or finds its own revoked
        digests = list(issued.values_list("digest", flat=True))
        access_tokens = get_access_token_model().objects.filter(token_checksum__in=digests)
        id_tokens = list(access_tokens.exclude(id_token=None).values_list("id_token_id", flat=True))
        # Refresh tokens first, as the toolkit itself takes its locks.
        for refresh_token in get_refresh_token_model().objects.filter(token_checksum__in=digests, revoked=None):
            refresh_token.revoke()
        access_tokens.delete()
        get_id_token_model().objects.filter(pk__in=id_tokens).delete()


def forget_sign_in(sender: type[Any], instance: SignIn, **kwargs: Any) -> None:
    """Receive `pre_delete` of a sign-in: what came of it goes as well, or would pass for from before the installation.

    Of codes only a digest is known: whatever codes its user has waiting at these clients go.
    """
    tokens = TokenContext.objects.filter(sign_in=instance)
    digests = list(tokens.values_list("digest", flat=True))
    codes = CodeContext.objects.filter(sign_in=instance)
    waiting = {"user": instance.user_id, "application__client_id__in": codes.values_list("client_id", flat=True)}
    with atomic():
        for start in range(0, len(digests), AT_ONCE):
            of_these = {"token_checksum__in": digests[start : start + AT_ONCE]}
            get_refresh_token_model().objects.filter(**of_these).delete()
            get_access_token_model().objects.filter(**of_these).delete()
        get_grant_model().objects.filter(**waiting).delete()
        for device in get_device_grant_model().objects.filter(user=instance.user_id):
            if codes.filter(digest=digest_of(device.device_code)).exists():
                device.delete()
        tokens.delete()  # among them such as came since Django gathered what goes with the sign-in
        codes.delete()


def forget_user(sender: type[Any], instance: Any, **kwargs: Any) -> None:
    """Receive `pre_delete` of a user, after whoever keeps more from coming: what was issued to them goes as well.

    Django deletes what it has found before, and fails where a token came since.
    """
    models = (get_refresh_token_model(), get_access_token_model(), get_id_token_model(), get_grant_model())
    for model in (*models, get_device_grant_model()):
        model.objects.filter(user=instance).delete()


def sweep(*, now: datetime) -> int:
    """Delete contexts of old codes, and of tokens that exist no more; return how many.

    While a sign-in has not ended, one context of each client stays: a relying party's own session outlives its codes
    and tokens, and it is to be told of the end.
    """
    # Codes live for a minute, those of devices for half an hour, unless the site says otherwise: the few that live are
    # spared.
    codes_of_grants = get_grant_model().objects.filter(expires__gt=now).values_list("code", flat=True)
    codes_of_devices = get_device_grant_model().objects.filter(expires__gt=now).values_list("device_code", flat=True)
    live = [digest_of(code) for code in (*codes_of_grants, *codes_of_devices)]
    old = CodeContext.objects.filter(created_at__lt=now - KEEP).exclude(digest__in=live)
    gone = TokenContext.objects.filter(
        ~Exists(get_access_token_model().objects.filter(token_checksum=OuterRef("digest"))),
        ~Exists(get_refresh_token_model().objects.filter(token_checksum=OuterRef("digest"))),
        created_at__lt=now - KEEP,
    )
    tokens = delete_in_parts(
        gone.filter(_is_dispensable(CodeContext.objects.all()) | _is_dispensable(_later(TokenContext)))
    )
    codes = delete_in_parts(old.filter(_is_dispensable(_later(CodeContext))))
    return codes + tokens


def _later(model: type[Context]) -> QuerySet[Context]:
    return model._default_manager.filter(digest__gt=OuterRef("digest"))  # any order will do, so that one is last


def _is_dispensable(others: QuerySet[Any]) -> Q:
    says_as_much = others.filter(sign_in=OuterRef("sign_in"), client_id=OuterRef("client_id"))
    return Q(client_id="") | Q(sign_in__ended_at__isnull=False) | Q(Exists(says_as_much))


def _find(model: type[Context], secret: str, user: Any | None) -> SignIn | None:
    using = where()
    found = SignIn.objects.using(using).raw(_as_it_was(model, using), [digest_of(secret)])
    sign_in = next(iter(found), None)
    return sign_in if sign_in is None or user is None else with_user(sign_in, user)


@lru_cache(maxsize=8)
def _as_it_was(model: type[Context], using: str) -> str:
    """Select the sign-in behind a context, with what is kept of it in the place of what it is now.

    Written out because it is asked at every use of a token: composed by the ORM it costs three times as much.
    """
    quote = connections[using].ops.quote_name
    context, sign_in = quote(model._meta.db_table), quote(SignIn._meta.db_table)
    told = [
        f"{context if field.name in SNAPSHOT else sign_in}.{quote(field.attname)}"
        for field in SignIn._meta.concrete_fields
    ]
    told += [f"{context}.{quote(name)}" for name in KEPT_BESIDE if hasattr(model, name)]
    told += [f"({subquery.sql}) AS {quote(name)}" for name, subquery in of_pass().items()]
    its_sign_in = f"{sign_in}.{quote('id')} = {context}.{quote('sign_in_id')}"
    return f"SELECT {', '.join(told)} FROM {context} INNER JOIN {sign_in} ON {its_sign_in} WHERE digest = %s"  # noqa: S608 our own names
