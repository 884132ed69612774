"""Holding a user or a sign-in until the transaction ends: in one order, the user first (decision 0022).

On PostgreSQL without keeping out foreign keys (`FOR NO KEY UPDATE`). MariaDB knows no such lock: there a row that
refers to a user waits for whoever holds them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..databases import users_connection
from ..models import SignIn
from ..people import lock_people

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from uuid import UUID


def hold_user(user: Any) -> Any | None:
    """Keep out other transactions that hold this user, until this one ends; return the user as they are now.

    None if the user has been deleted. Deactivating a user waits for this too: whoever begins something for a user holds
    them and sees here that they are active.
    """
    [held] = lock_people(user.pk)
    return held


def hold_sign_in(sign_in: SignIn) -> bool:
    """Keep this sign-in from ending until the transaction ends; False if it has ended, or was deleted.

    For whatever stores a code or a token of it. Where a row that refers to the user would hold them as well (MariaDB),
    the user is held first, as by the verbs that end sign-ins.
    """
    features = users_connection().features
    if features.has_select_for_update and not features.has_select_for_no_key_update:
        lock_people(sign_in.user_id)
    return [ended_at for _key, ended_at in hold_sign_ins([sign_in.pk])] == [None]


def hold_sign_ins(sign_in_ids: Iterable[UUID]) -> list[tuple[UUID, datetime | None]]:
    """Hold these sign-ins, in the order of their keys; return key and end of each. One statement."""
    # By key alone: MariaDB would find those that have not ended by their index, and lock on its way what somebody else
    # is just beginning.
    rows = SignIn.objects.filter(pk__in=list(sign_in_ids)).select_for_update(no_key=_no_key(SignIn))
    return list(rows.order_by("pk").values_list("pk", "ended_at"))


def _no_key(model: type[Any]) -> bool:
    return users_connection().features.has_select_for_no_key_update
