"""What signing out everywhere revokes, and losing a method: tokens and codes that do not end with a sign-in.

Whatever a sign-in stands behind has died with it already. What none stands behind would live on: tokens of the password
grant, and all from before the installation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import Exists, OuterRef
from oauth2_provider.models import (
    get_access_token_model,
    get_device_grant_model,
    get_grant_model,
    get_id_token_model,
    get_refresh_token_model,
)

from .contexts import digest_of
from .models import CodeContext, TokenContext

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from ..models import SignIn


def revoke_all_but(sender: type[Any], user: Any, kept: SignIn | None, **kwargs: Any) -> None:
    """Receive `signing_out_everywhere`: revoke the user's tokens, codes and approved devices, but those of `kept`."""
    of_kept = {"sign_in_id": None if kept is None else kept.pk}
    _revoke(user, but=TokenContext.objects.filter(**of_kept), and_=CodeContext.objects.filter(**of_kept))
    # As bearer tokens, which the toolkit takes them for, they are told apart by the access token that they came with.
    get_id_token_model().objects.filter(user=user, access_token=None).delete()


def revoke_unrecorded(sender: type[Any], user: Any, **kwargs: Any) -> None:
    """Receive `unrecorded_ending`: revoke the user's tokens, codes and approved devices that no sign-in stands behind.

    With what they were got nobody knows: with what is lost, perhaps.
    """
    _revoke(user, but=TokenContext.objects.all(), and_=CodeContext.objects.all())


def _revoke(user: Any, *, but: QuerySet[TokenContext], and_: QuerySet[CodeContext]) -> None:
    # Rows are deleted, not marked: the toolkit honours a refresh token for a while after it was marked
    # (`REFRESH_TOKEN_GRACE_PERIOD_SECONDS`).
    stays = Exists(but.filter(digest=OuterRef("token_checksum")))
    access_tokens = get_access_token_model().objects.filter(~stays, user=user)
    id_tokens = list(access_tokens.exclude(id_token=None).values_list("id_token_id", flat=True))
    # Refresh tokens first, as the toolkit itself takes its locks.
    get_refresh_token_model().objects.filter(~stays, user=user).delete()
    access_tokens.delete()
    get_id_token_model().objects.filter(pk__in=id_tokens).delete()
    _without(and_, get_grant_model().objects.filter(user=user), "code").delete()
    devices = get_device_grant_model()
    approved = devices.objects.filter(user=user, status=devices.AUTHORIZED)
    _without(and_, approved, "device_code").update(status=devices.DENIED)


def _without(contexts: QuerySet[CodeContext], grants: QuerySet[Any], name: str) -> QuerySet[Any]:
    codes = {digest_of(code): key for key, code in grants.values_list("pk", name)}
    stay = [codes[digest] for digest in contexts.filter(digest__in=list(codes)).values_list("digest", flat=True)]
    return grants.exclude(pk__in=stay)
