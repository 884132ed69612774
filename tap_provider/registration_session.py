"""Step 4. What a pass opens: a session that counts for registering sign-in methods and for nothing else.

It is not a login. Django's `login()` is not called and `request.user` stays anonymous, so that every view of the site,
the admin and third-party packages included, is closed by construction. Views that take part in registration opt in,
and only they see the holder as `request.user` (`middleware.SignInMiddleware`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.http import QueryDict
from django.middleware.csrf import rotate_token
from django.urls import Resolver404, get_script_prefix, resolve
from django.urls.exceptions import NoReverseMatch
from django.utils import timezone

from .conf import settings
from .models import SignIn
from .people import lock_many
from .policy import ResolvedPolicy, allows_sign_in
from .sign_in import end_sign_in, has_same_password, of_pass, put_in_session, renew_stamp, sign_in_of_session

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from datetime import datetime

    from django.http import HttpRequest
    from django.urls import ResolverMatch

    from .models import TemporaryAccessPass

    Reach = bool | Callable[[QueryDict], bool]

ViewT = TypeVar("ViewT", bound="Callable[..., Any]")

AFTERWARDS = timedelta(minutes=10)


def allow(view: ViewT, *, when: Callable[[QueryDict], bool] | None = None) -> ViewT:
    """Let this view take part in registration; `when` may look at the query first (as the OpenID endpoint does)."""
    view.registration_session = when or True  # type: ignore[attr-defined]
    return view


def deadline_for(temporary_access_pass: TemporaryAccessPass, policy: ResolvedPolicy, *, now: datetime) -> datetime:
    """Return when a session that this pass opens at `now` ends: the pass's expiry, sooner for a one-time pass."""
    if temporary_access_pass.is_usable_once:
        return min(temporary_access_pass.expires_at, now + policy.registration_window)
    return temporary_access_pass.expires_at


def begin(request: HttpRequest, sign_in: SignIn, *, now: datetime) -> None:
    """Open the registration-only session of this sign-in; whatever the session was before is gone."""
    previous = sign_in_of_session(request)
    if previous is not None:
        end_sign_in(previous, reason=SignIn.EndedReason.SIGNED_IN_ANEW, now=now)
    request.session.flush()  # no fixation, and no identity mixes with another
    rotate_token(request)
    put_in_session(request, sign_in)
    if sign_in.deadline is not None:
        # A little longer than the sign-in lives: who comes too late is told that it has ended, not met as a stranger.
        request.session.set_expiry(int((sign_in.deadline - now + AFTERWARDS).total_seconds()))
    request.user = AnonymousUser()


def current(request: HttpRequest, *, now: datetime) -> SignIn | None:
    """Return the sign-in of a live registration-only session, or None; one that has died is ended and flushed."""
    sign_in = sign_in_of_session(request)
    if sign_in is None or not sign_in.is_registration_only:
        return None
    if is_live(sign_in, now=now):
        return sign_in
    request.session.flush()
    return None


def is_live(sign_in: SignIn, *, now: datetime) -> bool:
    """Tell whether a sign-in of either kind still lives; one that turns out to have died is ended, and told of."""
    reason = why_over(sign_in, now=now)
    if reason is None:
        renew_stamp(sign_in)  # after the secret key was changed
    elif sign_in.ended_at is None:
        end_sign_in(sign_in, reason=reason, now=now)
    return reason is None


def why_over(sign_in: SignIn, *, now: datetime) -> SignIn.EndedReason | None:
    """Return why a sign-in is over, or None while it lives. One query for a registration-only session: the policy's.

    Computed from the facts whenever it is asked, so that a change of any of them takes effect at once.
    """
    reasons = SignIn.EndedReason
    if sign_in.ended_at is not None:
        return reasons(sign_in.ended_reason)
    if sign_in.is_over(now=now):
        return reasons.DEADLINE
    if not sign_in.user.is_active:
        return reasons.USER_DEACTIVATED
    if not has_same_password(sign_in):
        return reasons.PASSWORD_CHANGED
    if not sign_in.is_registration_only:
        return None
    if sign_in.pass_is_usable_once is None:  # the pass is gone, by whatever means
        return reasons.PASS_REVOKED
    if not allows_sign_in(sign_in):
        return reasons.POLICY
    return None


def end_with_membership(
    sender: type[Any], instance: Any, action: str, reverse: bool, pk_set: set[Any] | None = None, **kwargs: Any
) -> None:
    """Receive `m2m_changed` of a user's groups: end registration-only sign-ins that the policy forbids now.

    Otherwise a sign-in that nothing has used meanwhile would live again once the user has left the group. Users are
    held before their groups change. What opens a session for a user holds them too: it comes before, and ends here, or
    it sees the change.
    """
    if action.startswith("pre_"):
        keys = pk_set if reverse else {instance.pk}
        lock_many(_keys_of_members(instance) if keys is None else keys)
    elif not reverse:
        _end_what_is_over(user=instance)
    elif pk_set is None:  # the group lost all its users, and no longer knows them
        _end_what_is_over()
    else:
        _end_what_is_over(user__in=pk_set)


def _keys_of_members(group: Any) -> Iterable[Any]:
    return get_user_model()._base_manager.filter(groups=group).values_list("pk", flat=True)


def hold_members(sender: type[Any], instance: Any, **kwargs: Any) -> None:
    """Receive `pre_delete` of a group: its users are held, as before any other change of their groups."""
    lock_many(_keys_of_members(instance))


def end_with_group(sender: type[Any], instance: Any, **kwargs: Any) -> None:
    """Receive `post_delete` of a group, which sends no `m2m_changed`: its users may be included no more."""
    _end_what_is_over()


def end_with_standing(
    sender: type[Any],
    instance: Any,
    created: bool,
    raw: bool = False,
    update_fields: Collection[str] | None = None,
    **kwargs: Any,
) -> None:
    """Receive `post_save` of a user: end registration-only sign-ins whose pass is not for a user of this standing.

    Costs one query, for staff and superusers alone.
    """
    is_of_standing = getattr(instance, "is_staff", False) or getattr(instance, "is_superuser", False)
    is_standing_saved = update_fields is None or not {"is_staff", "is_superuser"}.isdisjoint(update_fields)
    if is_of_standing and is_standing_saved and not created and not raw:
        _end_what_is_over(user=instance)


def _end_what_is_over(**of: Any) -> None:
    open_ones = SignIn.objects.not_ended().exclude(pass_id=None).filter(**of)
    now = timezone.now()
    for sign_in in open_ones.select_related("user").annotate(**of_pass()):
        is_live(sign_in, now=now)


def end(request: HttpRequest, *, reason: SignIn.EndedReason, now: datetime) -> None:
    """End the session's sign-in, of whichever kind, and forget the session."""
    sign_in = sign_in_of_session(request)
    if sign_in is not None:
        end_sign_in(sign_in, reason=reason, now=now)
    request.session.flush()
    rotate_token(request)
    request.user = AnonymousUser()


def may_take_part(view: Callable[..., Any], view_name: str) -> bool:
    """Tell whether this view has opted in at all."""
    return bool(getattr(view, "registration_session", False)) or view_name in settings.registration_views


def takes_part(view: Callable[..., Any], view_name: str, query: QueryDict) -> bool:
    """Tell whether this view, so called, takes part in registration."""
    reach: Reach = getattr(view, "registration_session", False)
    return reach(query) if callable(reach) else may_take_part(view, view_name)


def reaches(url: str, *, host: str = "") -> bool:
    """Tell whether a registration-only session gets anywhere at this address of ours (say, the `next` of a sign-in)."""
    match = resolve_ours(url, host=host)
    return match is not None and takes_part(match.func, match.view_name, QueryDict(urlsplit(url).query))


def resolve_ours(url: str, *, host: str = "") -> ResolverMatch | None:
    """Return the view at this address of ours, or None; `host` is where we are, below a prefix if the site has one."""
    try:
        parts = urlsplit(url)
        if parts.netloc not in {"", host} or not parts.path.startswith("/"):
            return None
        return resolve("/" + parts.path.removeprefix(get_script_prefix()).removeprefix("/"))
    except (Resolver404, NoReverseMatch, ValueError):
        return None
