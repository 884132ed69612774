"""Signing in with registered methods: a full session is Django's own `login()`, observed and recorded.

Whichever page called `login()` (ours, the admin's, another package's), the receiver writes the sign-in down: by which
methods, how strong, when. Nothing but what is known is claimed. A login that nobody calls an authentication, as by
support staff who act as the user, has no methods and no time of authentication.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    login,
    update_session_auth_hash,
)
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .. import audit
from ..databases import atomic
from ..exceptions import SignInRefused
from ..models import AuditEvent, SignIn
from ..sign_in import (
    Client,
    begin_sign_in,
    can_rotate,
    end_sign_in,
    expiry_of,
    has_just_logged_in,
    hold_user,
    put_in_session,
    renew_sign_in,
    request_of,
    rotate_session,
    session_hash,
    session_of,
    sign_in_of_session,
    sign_in_of_user,
)
from .kinds import UsedMethod, amr_of, keys_of, level_of
from .login_page import login_is_elsewhere
from .proof import forget_proof
from .registry import are_registered, used_by_login

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from django.http import HttpRequest


PENDING_KEY = "tap_provider_second_factor"
OTP_DEVICE_KEY = "otp_device_id"  # django-otp's, which may not be installed
INACTIVE = "inactive_user"
_DJANGOS_KEYS = {SESSION_KEY, BACKEND_SESSION_KEY, HASH_SESSION_KEY}


def sign_in(request: HttpRequest, user: Any, *, used: Sequence[UsedMethod], backend: str) -> None:
    """Open a full session for a user whom these methods have just proved. Raises SignInRefused if one is gone.

    Where the site has a login page of its own, nobody gets in here: the user of a full session may confirm it.
    """
    if login_is_elsewhere() and not _is_signed_in(request, user):
        raise SignInRefused(
            _("This page is not for signing in. Use the sign-in page of this site."), code="login_elsewhere"
        )
    with atomic():
        guard_registered(user, used)
        sign_in_of_session(request)  # kept on the request, where the receiver finds it after a flush
        request._tap_used_methods = list(used)  # type: ignore[attr-defined]
        login(request, user, backend=backend)


def _is_signed_in(request: HttpRequest, user: Any) -> bool:
    current = full_sign_in(request)
    return current is not None and current.user_id == user.pk


def full_sign_in(request: HttpRequest) -> SignIn | None:
    """Return the sign-in of the full session whose user this view sees; None for anybody else."""
    current = sign_in_of_user(request) if hasattr(request, "user") else None
    return None if current is None or current.is_registration_only else current


def guard_registered(user: Any, used: Sequence[UsedMethod]) -> None:
    """Raise SignInRefused unless the user is active and still has these methods, and let neither change until the
    transaction ends.

    Whoever loses a method, or deactivates a user, ends what there is, and would miss what begins at that moment.
    """
    held = hold_user(user)
    if held is None or not held.is_active:
        raise SignInRefused(_("This account is not active. Contact your administrator."), code=INACTIVE)
    if not are_registered(user, used):
        raise SignInRefused(_("That sign-in method is not registered any more."), code="method_gone")


def keep_session(request: HttpRequest, user: Any) -> None:
    """Keep this session where its user's password was changed or removed by a verb, which ends the other ones."""
    if HASH_SESSION_KEY in request.session and request.session[HASH_SESSION_KEY] != session_hash(user):
        update_session_auth_hash(request, user)


def record_login(sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
    """Receive `user_logged_in`: end what the session was, record what it is now; the same user's is renewed.

    Packages send the same signal for logins that are none of a session: by an API, without a request. Of those nothing
    is recorded, and no session is touched. A user who was deactivated while their password was checked is not signed
    in, whichever page called `login()`.
    """
    django_request = request_of(request)
    if django_request is None or not has_just_logged_in(django_request, user):
        return
    with atomic():
        # Our own `sign_in` holds the user and has looked.
        held = user if "_tap_used_methods" in django_request.__dict__ else hold_user(user)
        if held is None or not held.is_active:
            _turn_away(django_request)
        else:
            _record_session_login(django_request, user)


def _turn_away(request: HttpRequest) -> None:
    previous = sign_in_of_session(request) or getattr(request, "_tap_sign_in", None)
    if previous is not None:
        end_sign_in(previous, reason=SignIn.EndedReason.SIGNED_IN_ANEW, now=timezone.now())
    request.session.flush()
    request.user = AnonymousUser()


def _record_session_login(request: HttpRequest, user: Any) -> None:
    now, client = timezone.now(), Client.of(request)
    previous: SignIn | None = sign_in_of_session(request) or getattr(request, "_tap_sign_in", None)
    request.session.pop(PENDING_KEY, None)  # whoever was half-way in is no longer
    used: list[UsedMethod] | None = request.__dict__.pop("_tap_used_methods", None)
    if used is None:
        used = used_by_login(user)
    forget_proof(user)
    authenticated_at, used = (None, []) if used is None else (now, used)
    told: dict[str, Any] = {
        "authenticated_at": authenticated_at,
        "methods": [method.kind for method in used],
        "amr": amr_of(used),
        "level": level_of(used),
        "used": keys_of(used),
        "client": client,
        "now": now,
    }
    renewable = _renewable(request, user, now=now)
    if renewable is not None and renew_sign_in(renewable, **told):
        rotate_session(request, renewable)  # a cookie from before is dead, as after any other sign-in
        return
    if previous is not None:
        end_sign_in(previous, reason=SignIn.EndedReason.SIGNED_IN_ANEW, now=now)
        if previous.is_registration_only:
            _strip(request, user)
    begun = begin_sign_in(user=user, signed_in_at=now, session_expires_at=expiry_of(request.session, now=now), **told)
    put_in_session(request, begun)
    audit.record(
        AuditEvent.Kind.SIGN_IN_BEGUN,
        now=now,
        user=user,
        sign_in_id=begun.pk,
        address=client.address,
        methods=begun.methods,
        user_agent=client.user_agent,
    )


def _renewable(request: HttpRequest, user: Any, *, now: datetime) -> SignIn | None:
    # `login()` of the same user keeps the session, and so its sign-in; anybody else's was flushed before.
    carried = sign_in_of_session(request)
    if not can_rotate(request.session):
        return None
    if carried is None or carried.user_id != user.pk or carried.is_registration_only or carried.is_over(now=now):
        return None
    return carried


def record_logout(sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
    """Receive `user_logged_out`: let the session's sign-in, of whichever kind, end with the session.

    Django's `logout()` sends the signal and then flushes the session. What sends it and leaves the session alone has
    ended something else: a token of an API, in a browser that is signed in as well.
    """
    django_request = request_of(request)
    session = session_of(django_request)
    if django_request is None or session is None:
        return
    flush, aflush = session.flush, session.aflush

    def end() -> None:
        session.flush, session.aflush = flush, aflush  # type: ignore[method-assign]
        current = sign_in_of_session(django_request)
        if current is not None:
            end_sign_in(current, reason=SignIn.EndedReason.SIGNED_OUT, now=timezone.now())

    def end_and_flush() -> None:
        end()
        flush()

    async def end_and_aflush() -> None:
        await sync_to_async(end)()
        await aflush()

    session.flush, session.aflush = end_and_flush, end_and_aflush  # type: ignore[method-assign]


def _strip(request: HttpRequest, user: Any) -> None:
    # `login()` in a session that has no user of its own keeps all its data. What a registration-only session
    # gathered must not follow into a full one, least of all django-otp's mark of a verified device.
    kept = _DJANGOS_KEYS | ({OTP_DEVICE_KEY} if getattr(user, "otp_device", None) is not None else set())
    for key in set(request.session.keys()) - kept:
        del request.session[key]
