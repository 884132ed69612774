"""Sign-ins end when their user's password changes, by whatever code it is changed.

Django ends full sessions by the session hash, at their next request. Tokens never meet the session, and a
registration-only session has no such hash: each sign-in keeps a stamp of what the password was. Where a password is set
by `set_password()` and `save()`, as by all of Django's own forms and commands, the sign-ins end at once.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

from django.contrib.auth.hashers import get_hasher, identify_hasher
from django.utils import timezone

from ..conflicts import retry_conflicts
from ..databases import atomic
from ..models import SignIn
from .django_session import sign_in_being_served
from .end import end_sign_ins, unrecorded_ending
from .hold import hold_user
from .stamp import is_stamp_current, password_stamp, renew_stamp

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime


def has_same_password(sign_in: SignIn) -> bool:
    """Return True if the user's password is the one that the sign-in is stamped with, or if it has no stamp."""
    return is_stamp_current(sign_in.password_stamp, sign_in.user)


def end_with_password(
    sender: type[Any],
    instance: Any,
    created: bool,
    raw: bool = False,
    update_fields: Collection[str] | None = None,
    **kwargs: Any,
) -> None:
    """Receive `post_save` of a user: whose password has been set has no other sign-ins than the one it was set in.

    `set_password()` leaves a mark on the user until `save()` is through, so that this costs no query at any other save.
    What is not seen here (a hash that was assigned, a password that was made unusable) ends sign-ins when their session
    or tokens are used next.
    """
    is_set = getattr(instance, "_password", None) is not None and (update_fields is None or "password" in update_fields)
    if created or raw or not is_set:
        return
    here = sign_in_being_served()
    keeps = here if here is not None and here.user_id == instance.pk else None
    _end_others(instance, keeps, stamp="" if keeps is None else keeps.password_stamp, now=timezone.now())


@retry_conflicts
def _end_others(user: Any, keeps: SignIn | None, *, stamp: str, now: datetime) -> None:
    with atomic():
        hold_user(user)
        others = SignIn.objects.not_ended().filter(user=user).select_related("user")
        if keeps is not None:
            others = others.exclude(pk=keeps.pk)
            keeps.user, keeps.password_stamp = user, stamp  # as it was, where this is tried once more
            renew_stamp(keeps)
        end_sign_ins(others, reason=SignIn.EndedReason.PASSWORD_CHANGED, now=now)
        unrecorded_ending.send(sender=SignIn, user=user, now=now)


def keep_with_rehash(
    sender: type[Any], instance: Any, raw: bool = False, update_fields: Collection[str] | None = None, **kwargs: Any
) -> None:
    """Receive `pre_save` of a user: the same password in another hash changes stamps, and ends nothing.

    `check_password()` saves such a hash by itself where the one in the database is by another hasher than the site's
    first, or by its settings of before. One query and one statement then; none at any other save.
    """
    if raw or update_fields is None or set(update_fields) != {"password"}:
        return
    # `check_password()` leaves this mark on the instance; a hash that other code has assigned has none.
    if vars(instance).get("_password", "") is not None or not instance.has_usable_password():
        return
    before = type(instance)._base_manager.filter(pk=instance.pk).values_list("password", flat=True).first()
    if before is None or not _is_outdated(before):
        return
    with_it = copy(instance)
    with_it.password = before
    stamped = SignIn.objects.not_ended().filter(user=instance, password_stamp=password_stamp(with_it))
    stamped.exclude(password_stamp="").update(password_stamp=password_stamp(instance))


def _is_outdated(password_hash: str) -> bool:
    # As `django.contrib.auth.hashers.verify_password` judges.
    try:
        hasher = identify_hasher(password_hash)
    except ValueError:
        return False
    preferred = get_hasher()
    return hasher.algorithm != preferred.algorithm or preferred.must_update(password_hash)
