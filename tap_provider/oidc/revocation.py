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

from ..conflicts import retry_conflicts
from ..databases import atomic
from .contexts import digest_of
from .models import CodeContext, TokenContext

if TYPE_CHECKING:
    from django.db.models import QuerySet


def revoke_everywhere(sender: type[Any], user: Any, **kwargs: Any) -> None:
    """Receive `signing_out_everywhere`: revoke the user's tokens, codes and approved devices that no sign-in stands
    behind, and ID tokens of which nobody knows what stands behind them.

    Those of the sign-ins that have just ended are dead, and may be held by a refresh that waits for us.
    """
    revoke_without_sign_in(user)
    # As bearer tokens, which the toolkit takes them for, they are told apart by the access token that they came with.
    get_id_token_model().objects.filter(user=user, access_token=None).delete()


def revoke_unrecorded(sender: type[Any], user: Any, **kwargs: Any) -> None:
    """Receive `unrecorded_ending`: revoke the user's tokens, codes and approved devices that no sign-in stands behind.

    With what they were got nobody knows: with what is lost, perhaps.
    """
    revoke_without_sign_in(user)


@retry_conflicts
def revoke_without_sign_in(user: Any) -> None:
    """Delete the user's tokens, codes and approvals of devices that no sign-in stands behind: all of them, or none."""
    with atomic():
        _delete_tokens(user)
        _unrecorded(get_grant_model().objects.filter(user=user), "code").delete()
        devices = get_device_grant_model()
        approved = devices.objects.filter(user=user, status=devices.AUTHORIZED)
        _unrecorded(approved, "device_code").update(status=devices.DENIED)


def _delete_tokens(user: Any) -> None:
    # Rows are deleted, not marked: the toolkit honours a refresh token for a while after it was marked
    # (`REFRESH_TOKEN_GRACE_PERIOD_SECONDS`).
    stays = Exists(TokenContext.objects.filter(digest=OuterRef("token_checksum")))
    access_tokens = get_access_token_model().objects.filter(~stays, user=user)
    id_tokens = list(access_tokens.exclude(id_token=None).values_list("id_token_id", flat=True))
    # Refresh tokens first, as the toolkit itself takes its locks.
    get_refresh_token_model().objects.filter(~stays, user=user).delete()
    access_tokens.delete()
    get_id_token_model().objects.filter(pk__in=id_tokens).delete()


def _unrecorded(grants: QuerySet[Any], name: str) -> QuerySet[Any]:
    codes = {digest_of(code): key for key, code in grants.values_list("pk", name)}
    recorded = set(CodeContext.objects.filter(digest__in=list(codes)).values_list("digest", flat=True))
    # By key: one that is stored just now, with its context, is none of these.
    return grants.filter(pk__in=[key for digest, key in codes.items() if digest not in recorded])
