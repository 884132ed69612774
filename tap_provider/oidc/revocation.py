"""What a user's signing out everywhere revokes: every token and code of theirs but those of the sign-in that stays.

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
    """Receive `signing_out_everywhere`: revoke the user's tokens, codes and approved devices, but those of `kept`.

    Rows are deleted, not marked: the toolkit honours a refresh token for a while after it was marked
    (`REFRESH_TOKEN_GRACE_PERIOD_SECONDS`).
    """
    of_kept = TokenContext.objects.filter(sign_in_id=None if kept is None else kept.pk)
    stays = Exists(of_kept.filter(digest=OuterRef("token_checksum")))
    # Refresh tokens first, as the toolkit itself takes its locks.
    for model in (get_refresh_token_model(), get_access_token_model()):
        model.objects.filter(~stays, user=user).delete()
    # As bearer tokens, which the toolkit takes them for, they are told apart by the access token that they came with.
    get_id_token_model().objects.filter(user=user, access_token=None).delete()
    _but_those_of(kept, get_grant_model().objects.filter(user=user), "code").delete()
    devices = get_device_grant_model()
    approved = devices.objects.filter(user=user, status=devices.AUTHORIZED)
    _but_those_of(kept, approved, "device_code").update(status=devices.DENIED)


def _but_those_of(kept: SignIn | None, grants: QuerySet[Any], name: str) -> QuerySet[Any]:
    codes = {digest_of(code): key for key, code in grants.values_list("pk", name)}
    of_kept = CodeContext.objects.filter(sign_in_id=None if kept is None else kept.pk, digest__in=list(codes))
    stay = [codes[digest] for digest in of_kept.values_list("digest", flat=True)]
    return grants.exclude(pk__in=stay)
