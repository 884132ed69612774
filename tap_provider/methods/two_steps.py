"""Password, then a second factor: the two steps of signing in without a passkey.

Guesses are counted before anything is hashed: at what was typed, which may be told to anybody, and at the account that
was meant, which is told to nobody.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.contrib.auth import authenticate, get_user_model
from django.core.exceptions import MultipleObjectsReturned, ObjectDoesNotExist
from django.utils.crypto import constant_time_compare, get_random_string
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from .. import audit
from ..exceptions import AmbiguousUpn, SignInRefused, TooManyAttempts
from ..hooks import find_user
from ..models import AuditEvent
from ..secret import Secret
from ..sign_in import Client, session_hash
from ..throttle import Attempt, account_of, count_attempt, take_back
from ..upn import NOBODY, clean_upn
from .full_session import PENDING_KEY, sign_in
from .other_factors import has_other_factor
from .password import USED_PASSWORD
from .registration import has_second_factor
from .registry import all_kinds
from .typed_names import names_to_try

if TYPE_CHECKING:
    from django.forms import Form
    from django.http import HttpRequest

    from .kinds import MethodKind, UsedMethod

PENDING_FOR = timedelta(minutes=10)

ENDINGS = (AuditEvent.Kind.USER_DEACTIVATED, AuditEvent.Kind.SIGNED_OUT_EVERYWHERE, AuditEvent.Kind.METHOD_LOST)
"""Events that end all sign-ins of their user, and so also one whose second step is awaited."""

TOKEN_BACKEND = "oauth2_provider.backends.OAuth2Backend"  # noqa: S105 a path; whether it is installed or not


@sensitive_variables()
def sign_in_with_password(request: HttpRequest, *, upn: str, password: str | Secret, now: datetime) -> bool:
    """Check UPN and password. True: signed in. False: the password was right, a second factor is awaited.

    Raises TooManyAttempts before anything is hashed, or SignInRefused.
    """
    password = Secret.of(password)
    user = _verify_password(request, typed=upn, password=password, now=now)
    backend: str = user.backend
    if not second_factor_kinds(user):
        _guard_alone(request, user, now=now)
        sign_in(request, user, used=[USED_PASSWORD], backend=backend)
        return True
    request.session.cycle_key()
    request.session[PENDING_KEY] = {
        "user": str(user.pk),
        "backend": backend,
        "begun": now.isoformat(),
        "until": (now + PENDING_FOR).isoformat(),
        "hash": session_hash(user),
    }
    return False


def _guard_alone(request: HttpRequest, user: Any, *, now: datetime) -> None:
    # Another package's page would ask for more than the password: this one must not be a way around it.
    if has_other_factor(user):
        record_refusal(request, user, reason="other_second_factor", now=now)
        message = _(
            "Your password was right. Your account also has a second step, which this page cannot ask for. Sign in on "
            "the page where you usually do."
        )
        raise SignInRefused(message, code="other_second_factor")


@sensitive_variables()
def verify_password_alone(request: HttpRequest, *, username: str, password: str | Secret, now: datetime) -> Any:
    """Return the user with this user name and password, for a caller that asks for nothing else (RFC 6749 §4.3).

    Raises TooManyAttempts before anything is hashed, or SignInRefused. The password of a user with a second factor is
    not tried at all: answer, count, statements and signals are those of a wrong password, whether it was right or not.
    """
    password = Secret.of(password)
    return _verify_password(request, typed=username, password=password, now=now, alone=True)


@sensitive_variables()
def _verify_password(request: HttpRequest, *, typed: str, password: Secret, now: datetime, alone: bool = False) -> Any:
    """Count a guess, check the password, and return the user, with the `backend` that accepted it.

    Every door at which a password can be guessed comes through here, so that all of them share the counters.

    `alone`: nothing follows the password. The caller is then a client of OAuth's, which sends a user name and no UPN.
    """
    named, name = _whom(typed, by_user_name_first=alone), clean_upn(typed) or typed[:256]
    attempt = count_attempt(purpose="password", upn=name, address=Client.of(request).address, now=now)
    counted = [_count_at_account(named, typed=name, now=now)]
    # An account that was guessed at too often is tried as well, and refused whatever comes of it.
    names = (clean_upn(typed) or NOBODY,) if alone else names_to_try(typed, named)
    tried = Secret(get_random_string(32)) if alone and has_second_factor(named or _unsaved_user()) else password
    user = _authenticate(request, names, tried)
    if user is not None and not _is_same(user, named):
        # A backend of the site's own knows them by this name: guesses at their account are one count all the same.
        counted.append(_count_at_account(user, typed=name, now=now))
    if user is None or None in counted or not _is_proof(user) or (alone and _has_unseen_factor(user, named)):
        record_refusal(request, user or named, reason="password", now=now)
        raise SignInRefused(_("That user name and password do not match."), code="password_not_accepted")
    for each in (attempt, *filter(None, counted)):
        take_back(each)
    return user


def _is_same(user: Any, named: Any | None) -> bool:
    return named is not None and bool(named.pk == user.pk)


@sensitive_variables()
def _authenticate(request: HttpRequest, names: tuple[str, ...], password: Secret) -> Any | None:
    try:
        found = (authenticate(request, username=name, password=password.reveal()) for name in names)
        return next((user for user in found if user is not None), None)
    except ValueError:  # a lone surrogate, which no hasher can encode
        return None


def _unsaved_user() -> Any:
    """Return a user who is in no database: an unknown name then costs the statements of a known one."""
    user: Any = get_user_model()()
    if user.pk is None:
        user.pk = 0
    return user


def _has_unseen_factor(user: Any, named: Any | None) -> bool:
    # A backend of the site's own may have found another user by this name than the one who was asked about.
    return not _is_same(user, named) and has_second_factor(user)


def _is_proof(user: Any) -> bool:
    """Tell whether the success of this user's backend proves the password of a user who may sign in."""
    return user.is_active and not _is_by_token(user.backend)


def _is_by_token(backend: str) -> bool:
    # django-oauth-toolkit's backend takes any access token in the request for a proof, whatever was typed: each relying
    # party would be its users at this page.
    classes = import_string(backend).__mro__
    return any(f"{known.__module__}.{known.__qualname__}" == TOKEN_BACKEND for known in classes)


def _whom(typed: str, *, by_user_name_first: bool) -> Any | None:
    """Return the user with this UPN or user name, or None. Two queries in every case.

    One user's UPN may be another one's user name: the guess counts against the user whose password is tried.
    """
    by_upn = by_user_name = None
    with suppress(AmbiguousUpn):
        by_upn = find_user(typed)
    users: Any = get_user_model()._default_manager
    with suppress(ObjectDoesNotExist, MultipleObjectsReturned):
        by_user_name = users.get_by_natural_key(clean_upn(typed) or NOBODY)
    return (by_user_name or by_upn) if by_user_name_first else (by_upn or by_user_name)


def _count_at_account(named: Any | None, *, typed: str, now: datetime) -> Attempt | None:
    """Count one guess at the account that was meant, or at nobody's; None where there were too many.

    However somebody is named (a user name, another case, accents that a collation disregards), guesses at one account
    are one count. It stays silent: that several names are refused together would tell strangers whose they are.
    """
    whom = f"nobody {typed}" if named is None else account_of(named)
    with suppress(TooManyAttempts):
        return count_attempt(purpose="password of an account", upn=whom, address=None, now=now)
    return None


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
    # What ends sign-ins ends one that is half made: a user who was deactivated, say, and is active again.
    if audit.has_happened(*ENDINGS, user=user, since=datetime.fromisoformat(pending["begun"])):
        return None
    # A password that was changed meanwhile ends what was begun with the old one, as Django ends sessions.
    return user if constant_time_compare(pending["hash"], session_hash(user)) else None


def is_too_late(request: HttpRequest, *, now: datetime) -> bool:
    """Tell whether this session awaited somebody's second factor, and their time is up."""
    pending = request.session.get(PENDING_KEY)
    return pending is not None and now >= datetime.fromisoformat(pending["until"])


@sensitive_variables()
def sign_in_with_second_factor(request: HttpRequest, *, user: Any, kind: MethodKind, form: Form, now: datetime) -> None:
    """Check the awaited second factor and sign in. Raises TooManyAttempts or SignInRefused."""
    awaited = awaited_user(request, now=now)
    if awaited is None or awaited.pk != user.pk:
        raise SignInRefused(_("Start again: it is too long since you gave your password."), code="not_awaited")
    used = verify_second_factor(request, user, kind=kind, form=form, now=now)
    backend = request.session.pop(PENDING_KEY)["backend"]
    sign_in(request, user, used=[USED_PASSWORD, used], backend=backend)


@sensitive_variables()
def verify_second_factor(request: HttpRequest, user: Any, *, kind: MethodKind, form: Form, now: datetime) -> UsedMethod:
    """Count an attempt, then tell what it proved. Raises TooManyAttempts or SignInRefused."""
    address = Client.of(request).address
    attempt = count_attempt(purpose="second factor", upn=account_of(user), address=address, now=now)
    refusal = SignInRefused(kind.wrong_answer, code="code_not_accepted")
    try:
        used = kind.verify_second_factor(user, form) if form.is_valid() else None
    except SignInRefused as error:
        used, refusal = None, error
    if used is None:
        record_refusal(request, user, reason=kind.slug, now=now)
        raise refusal
    take_back(attempt)
    return used


def record_refusal(request: HttpRequest, user: Any | None, *, reason: str, now: datetime) -> None:
    """Record that a password or second factor was refused, and of whom, if anybody was meant."""
    address = Client.of(request).address
    audit.record(AuditEvent.Kind.SIGN_IN_REFUSED, now=now, user=user, address=address, reason=reason)
