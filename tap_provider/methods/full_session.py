"""Signing in with registered methods: a full session is Django's own `login()`, observed and recorded.

Whichever page called `login()` (ours, the admin's, another package's), the receiver writes the sign-in down: by which
methods, how strong, when. Nothing but what is known is claimed.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    authenticate,
    get_user_model,
    login,
    update_session_auth_hash,
)
from django.core.exceptions import MultipleObjectsReturned, ObjectDoesNotExist
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from .. import audit
from ..exceptions import AmbiguousUpn, SignInRefused
from ..hooks import NOBODY, clean_upn, find_user, get_hooks
from ..models import AuditEvent, SignIn
from ..sign_in import (
    Client,
    begin_sign_in,
    can_rotate,
    end_sign_in,
    hold_user,
    put_in_session,
    renew_sign_in,
    sign_in_of_session,
)
from ..throttle import count_attempt, take_back
from .kinds import UsedMethod, amr_of, keys_of, level_of
from .password import USED_PASSWORD
from .registry import all_kinds, are_registered, used_by_login

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.forms import Form
    from django.http import HttpRequest

    from .kinds import MethodKind

PENDING_KEY = "tap_provider_second_factor"
PENDING_FOR = timedelta(minutes=10)

TOKEN_BACKEND = "oauth2_provider.backends.OAuth2Backend"  # noqa: S105 a path; whether it is installed or not
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


@sensitive_variables()
def sign_in_with_password(request: HttpRequest, *, upn: str, password: str, now: datetime) -> bool:
    """Check UPN and password. True: signed in. False: the password was right, a second factor is awaited.

    Raises TooManyAttempts before anything is hashed, or SignInRefused.
    """
    named = _whom(upn)
    attempt = count_attempt(
        purpose="password", upn=_counted_as(named, typed=upn), address=Client.of(request).address, now=now
    )
    # A text that cannot be a name is tried as one that nobody has, which costs the same and no database refuses.
    username = (clean_upn(upn) or NOBODY) if named is None else named.get_username()
    try:
        user = authenticate(request, username=username, password=password)
    except ValueError:  # a lone surrogate, which no hasher can encode
        user = None
    if user is None or _is_by_token(user.backend):
        record_refusal(request, named, reason="password", now=now)
        raise SignInRefused(_("That user name and password do not match."), code="password_not_accepted")
    take_back(attempt)
    backend: str = user.backend
    if not second_factor_kinds(user):
        sign_in(request, user, used=[USED_PASSWORD], backend=backend)
        return True
    request.session.cycle_key()
    request.session[PENDING_KEY] = {
        "user": str(user.pk),
        "backend": backend,
        "until": (now + PENDING_FOR).isoformat(),
        "hash": _session_hash(user),
    }
    return False


def _is_by_token(backend: str) -> bool:
    # django-oauth-toolkit's backend takes any access token in the request for a proof, whatever was typed: each relying
    # party would be its users at this page.
    classes = import_string(backend).__mro__
    return any(f"{known.__module__}.{known.__qualname__}" == TOKEN_BACKEND for known in classes)


def _whom(typed: str) -> Any | None:
    """Return the user whom Django would find by this text, as UPN or else as user name. Two queries, whoever it is."""
    by_upn = by_user_name = None
    with suppress(AmbiguousUpn):
        by_upn = find_user(typed)
    users: Any = get_user_model()._default_manager
    with suppress(ObjectDoesNotExist, MultipleObjectsReturned):
        by_user_name = users.get_by_natural_key(clean_upn(typed) or NOBODY)
    return by_upn or by_user_name


def _counted_as(named: Any | None, *, typed: str) -> str:
    # However somebody is named (a user name, another case, accents that a collation disregards), guesses at one
    # account are counted as one. What names nobody here may still be known to another backend, a directory say.
    known_as = None if named is None else get_hooks().get_upn(named) or named.get_username()
    return known_as or clean_upn(typed) or typed[:256]


def second_factor_kinds(user: Any) -> list[MethodKind]:
    """Return the kinds that this user may give after the password; the first is asked for unless they choose."""
    return [kind for kind in all_kinds() if kind.second_factor_form(user) is not None]


def awaited_user(request: HttpRequest, *, now: datetime) -> Any | None:
    """Return whose second factor this session awaits, or None."""
    pending = request.session.get(PENDING_KEY)
    if not pending or now >= datetime.fromisoformat(pending["until"]):
        return None
    user = get_user_model()._default_manager.filter(pk=pending["user"]).first()
    if user is None or not user.is_active:
        return None
    # A password that was changed meanwhile ends what was begun with the old one, as Django ends sessions.
    return user if constant_time_compare(pending["hash"], _session_hash(user)) else None


@sensitive_variables()
def sign_in_with_second_factor(request: HttpRequest, *, user: Any, kind: MethodKind, form: Form, now: datetime) -> None:
    """Check the awaited second factor and sign in. Raises TooManyAttempts or SignInRefused."""
    awaited = awaited_user(request, now=now)
    if awaited is None or awaited.pk != user.pk:
        raise SignInRefused(_("Start again: it is too long since you gave your password."), code="not_awaited")
    attempt = count_attempt(
        purpose="second factor", upn=get_hooks().get_upn(user), address=Client.of(request).address, now=now
    )
    used = kind.verify_second_factor(user, form) if form.is_valid() else None
    if used is None:
        record_refusal(request, user, reason=kind.slug, now=now)
        raise SignInRefused(kind.wrong_answer, code="code_not_accepted")
    take_back(attempt)
    backend = request.session.pop(PENDING_KEY)["backend"]
    sign_in(request, user, used=[USED_PASSWORD, used], backend=backend)


def _session_hash(user: Any) -> str:
    return str(user.get_session_auth_hash()) if hasattr(user, "get_session_auth_hash") else ""


def keep_session(request: HttpRequest, user: Any) -> None:
    """Keep this session where its user's password was changed or removed by a verb, which ends the other ones."""
    if HASH_SESSION_KEY in request.session and request.session[HASH_SESSION_KEY] != _session_hash(user):
        update_session_auth_hash(request, user)


def record_refusal(request: HttpRequest, user: Any | None, *, reason: str, now: datetime) -> None:
    """Record that a password or second factor was refused, and of whom, if anybody was meant."""
    address = Client.of(request).address
    audit.record(AuditEvent.Kind.SIGN_IN_REFUSED, now=now, user=user, address=address, reason=reason)


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
        request.session.cycle_key()  # a cookie from before is dead, as after any other sign-in
        return
    if previous is not None:
        end_sign_in(previous, reason=SignIn.EndedReason.SIGNED_IN_ANEW, now=now)
        if previous.is_registration_only:
            _strip(request, user)
    begun = begin_sign_in(user=user, authenticated_at=now, **told)
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
