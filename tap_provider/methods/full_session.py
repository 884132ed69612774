"""Signing in with registered methods: a full session is Django's own `login()`, observed and recorded.

Whichever page called `login()` (ours, the admin's, another package's), the receiver writes the sign-in down: by which
methods, how strong, when. Nothing but what is known is claimed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    login,
    update_session_auth_hash,
)
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .. import audit
from ..exceptions import SignInRefused
from ..models import AuditEvent, SignIn
from ..sign_in import (
    Client,
    begin_sign_in,
    can_rotate,
    end_sign_in,
    expiry_of,
    hold_user,
    put_in_session,
    renew_sign_in,
    rotate_session,
    sign_in_of_session,
)
from .kinds import UsedMethod, amr_of, keys_of, level_of
from .registry import are_registered, used_by_login

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from django.http import HttpRequest


PENDING_KEY = "tap_provider_second_factor"
OTP_DEVICE_KEY = "otp_device_id"  # django-otp's, which may not be installed
_DJANGOS_KEYS = {SESSION_KEY, BACKEND_SESSION_KEY, HASH_SESSION_KEY}


def sign_in(request: HttpRequest, user: Any, *, used: Sequence[UsedMethod], backend: str) -> None:
    """Open a full session for a user whom these methods have just proved. Raises SignInRefused if one is gone."""
    with transaction.atomic():
        guard_registered(user, used)
        sign_in_of_session(request)  # kept on the request, where the receiver finds it after a flush
        request._tap_used_methods = list(used)  # type: ignore[attr-defined]
        login(request, user, backend=backend)


def guard_registered(user: Any, used: Sequence[UsedMethod]) -> None:
    """Raise SignInRefused unless the user still has these methods, and let none go until the transaction ends.

    Whoever loses a method ends what was made with it, and would miss what begins at that moment.
    """
    hold_user(user)
    if not are_registered(user, used):
        raise SignInRefused(_("That sign-in method is not registered any more."), code="method_gone")


def session_hash(user: Any) -> str:
    return str(user.get_session_auth_hash()) if hasattr(user, "get_session_auth_hash") else ""


def keep_session(request: HttpRequest, user: Any) -> None:
    """Keep this session where its user's password was changed or removed by a verb, which ends the other ones."""
    if HASH_SESSION_KEY in request.session and request.session[HASH_SESSION_KEY] != session_hash(user):
        update_session_auth_hash(request, user)


def record_login(sender: type[Any], request: HttpRequest, user: Any, **kwargs: Any) -> None:
    """Receive `user_logged_in`: end what the session was, record what it is now; the same user's is renewed."""
    now, client = timezone.now(), Client.of(request)
    previous: SignIn | None = sign_in_of_session(request) or getattr(request, "_tap_sign_in", None)
    request.session.pop(PENDING_KEY, None)  # whoever was half-way in is no longer
    used: list[UsedMethod] | None = request.__dict__.pop("_tap_used_methods", None)
    if used is None:
        used = used_by_login(user, request.session.get(BACKEND_SESSION_KEY, ""))
    told: dict[str, Any] = {
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
    begun = begin_sign_in(
        user=user, authenticated_at=now, session_expires_at=expiry_of(request.session, now=now), **told
    )
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


def record_logout(sender: type[Any], request: HttpRequest | None, user: Any, **kwargs: Any) -> None:
    """Receive `user_logged_out`: end the session's sign-in, of whichever kind."""
    if request is None:
        return
    current = sign_in_of_session(request)
    if current is not None:
        end_sign_in(current, reason=SignIn.EndedReason.SIGNED_OUT, now=timezone.now())


def _strip(request: HttpRequest, user: Any) -> None:
    # `login()` in a session that has no user of its own keeps all its data. What a registration-only session
    # gathered must not follow into a full one, least of all django-otp's mark of a verified device.
    kept = _DJANGOS_KEYS | ({OTP_DEVICE_KEY} if getattr(user, "otp_device", None) is not None else set())
    for key in set(request.session.keys()) - kept:
        del request.session[key]
