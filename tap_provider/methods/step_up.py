"""Step-up: the user of a full session adds what is missing to a stronger level, and need not start over.

By password alone: the second factor, or a passkey. What is raised is this sign-in; it takes the time of the step.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from ..databases import atomic
from ..exceptions import SignInRefused
from ..models import Level, SignIn
from ..sign_in import (
    Client,
    can_rotate,
    put_in_session,
    renew_sign_in,
    replace_sign_in,
    rotate_session,
    sign_in_of_session,
)
from .full_session import OTP_DEVICE_KEY, guard_registered
from .kinds import amr_of, keys_of, level_of
from .password import USED_PASSWORD
from .registration import is_fresh
from .registry import all_kinds, has_password
from .two_steps import verify_second_factor

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from django.forms import Form
    from django.http import HttpRequest

    from ..exceptions import RegistrationNotAllowed
    from .kinds import MethodKind


def kinds_alone(user: Any) -> list[MethodKind]:
    """Return the kinds of this user's that are worth several factors without anything else."""
    return [kind for kind in all_kinds() if kind.alone is not Level.SINGLE_FACTOR and kind.methods(user)]


def second_factors(sign_in: SignIn) -> list[MethodKind]:
    """Return the kinds that raise this sign-in by a second factor: it must have been by password."""
    if USED_PASSWORD.kind not in sign_in.methods or sign_in.is_registration_only:
        return []
    return [kind for kind in all_kinds() if kind.second_factor_form(sign_in.user) is not None]


def reachable_by_step_up(sign_in: SignIn) -> Level:
    """Return the highest level that this sign-in's user can raise it to."""
    if sign_in.is_registration_only:
        return Level(sign_in.level)  # it stays what it is: its holder finishes, and signs in
    levels = [kind.alone for kind in kinds_alone(sign_in.user)]
    return _highest([Level(sign_in.level), *levels, *([Level.MULTI_FACTOR] if second_factors(sign_in) else [])])


def reachable_by_signing_in(user: Any) -> Level:
    """Return the highest level that this user reaches by signing in anew with what they have registered."""
    levels = [kind.alone for kind in kinds_alone(user)]
    if has_password(user) and any(kind.second_factor_form(user) is not None for kind in all_kinds()):
        levels.append(Level.MULTI_FACTOR)
    return _highest([Level.SINGLE_FACTOR, *levels])


class Way(Enum):
    """What would let a session register that may not register now."""

    STEP_UP = "step_up"
    SIGN_IN_ALONE = "sign_in_alone"  # the page of a step-up, for what signs in without anything else: a passkey
    SIGN_IN = "sign_in"
    PASS = "sign_in_with_pass"  # noqa: S105 the name of a page


def way_past(refusal: RegistrationNotAllowed, sign_in: SignIn, *, now: datetime) -> Way | None:
    """Tell the shortest way to where this sign-in's user may register; None where its time is up."""
    if refusal.code == "not_fresh" or (refusal.code == "not_strong_enough" and not is_fresh(sign_in, now=now)):
        if kinds_alone(sign_in.user):
            return Way.SIGN_IN_ALONE
        if refusal.code == "not_fresh" or reachable_by_signing_in(sign_in.user).rank >= Level.MULTI_FACTOR.rank:
            return Way.SIGN_IN
        return Way.PASS
    if refusal.code == "not_strong_enough":
        if reachable_by_step_up(sign_in).rank >= Level.MULTI_FACTOR.rank:
            return Way.STEP_UP
        if reachable_by_signing_in(sign_in.user).rank >= Level.MULTI_FACTOR.rank:
            return Way.SIGN_IN
        return Way.PASS
    return None


@sensitive_variables()
def step_up(request: HttpRequest, *, kind: MethodKind, form: Form, now: datetime) -> SignIn:
    """Check a second factor and raise this session's sign-in by it. Raises TooManyAttempts or SignInRefused."""
    sign_in = sign_in_of_session(request)
    if sign_in is None or sign_in.is_over(now=now) or kind not in second_factors(sign_in):
        raise SignInRefused(_("Sign in first."), code="not_signed_in")
    user, client = sign_in.user, Client.of(request)
    used = verify_second_factor(request, user, kind=kind, form=form, now=now)
    both = [USED_PASSWORD, used]
    methods = [method.kind for method in both]
    told: dict[str, Any] = {
        "methods": methods,
        "amr": amr_of(both),
        "level": level_of(both),
        "used": keys_of(both),
        "client": client,
    }
    with atomic():
        guard_registered(user, [used])
        raised = _raise(request, sign_in, told, now=now)
    if raised is None:
        raise SignInRefused(_("Sign in first."), code="not_signed_in")
    rotate_session(request, raised)
    device = getattr(user, "otp_device", None)
    if device is not None:
        request.session[OTP_DEVICE_KEY] = device.persistent_id  # as django-otp's own receiver marks a login
    return raised


def _raise(request: HttpRequest, sign_in: SignIn, told: dict[str, Any], *, now: datetime) -> SignIn | None:
    if can_rotate(request.session):
        renewed = renew_sign_in(sign_in, now=now, authenticated_at=now, is_step_up=True, **told)
        return sign_in if renewed else None
    # A copy of the old cookie would rise with it: another sign-in takes its place.
    reason = SignIn.EndedReason.SIGNED_IN_ANEW
    replacing = replace_sign_in(sign_in, reason=reason, authenticated_at=now, now=now, **told)
    if replacing is not None:
        put_in_session(request, replacing)
    return replacing


def _highest(levels: Iterable[Level]) -> Level:
    return max(levels, key=lambda level: level.rank)
