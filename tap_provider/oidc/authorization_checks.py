"""The authorization request as two tables of named checks, in the specification's order.

First what the request itself says (`REQUEST_CHECKS`), then what the session behind it must be (`SESSION_CHECKS`). Each
check names the section that asks for it, and returns None or the one answer that it leads to. Between the tables stand
the toolkit's own checks of response type, PKCE and scope.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from oauth2_provider.models import get_access_token_model

from ..authentication_context import context_of
from ..conf import settings
from ..hooks import get_hooks
from ..methods.step_up import reachable_by_signing_in, reachable_by_step_up
from ..models import Level
from ..upn import clean_upn, fold_upn
from .authorization_request import Unreadable
from .subject import subject_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from ..models import SignIn
    from .authorization_request import AuthorizationRequest, RequestedClaim
    from .authorization_return import Returned
    from .models import RelyingParty


# The answers. Each interactive one has the error that stands for it where nobody may be asked (`prompt=none`).


@dataclass(frozen=True)
class Refuse:
    """An error, told to the client."""

    error: str
    description: str


UNMET = Refuse("unmet_authentication_requirements", "The user cannot authenticate as strongly as that.")


@dataclass(frozen=True)
class SignInAnew:
    """The user authenticates, again or for the first time; `in_vain` is for who just has, and it was not enough."""

    in_vain: Refuse | None = None

    silently = Refuse("login_required", "The user has to sign in.")


@dataclass(frozen=True)
class StepUp:
    """The user adds what the session lacks to a level; one that was merely preferred may be declined."""

    level: Level
    silently = Refuse("interaction_required", "The user has to confirm the sign-in by a further method.")


@dataclass(frozen=True)
class ChooseAccount:
    """The user says with which account to go on; another than the one that was meant only where that was a hint."""

    may_continue: bool = True
    meant: str = ""

    @property
    def silently(self) -> Refuse:
        if not self.may_continue or self.meant:
            return Refuse("login_required", "Somebody else is signed in.")
        return Refuse("account_selection_required", "The user has to choose an account.")


MOMENT = timedelta(minutes=1)

_CHALLENGE = re.compile(r"[A-Za-z0-9._~-]{43,128}")  # RFC 7636 §4.2

Answer = Refuse | SignInAnew | StepUp | ChooseAccount


@dataclass(frozen=True)
class Asked:
    """An authorization request, and the session that it meets."""

    request: AuthorizationRequest
    party: RelyingParty
    application: Any
    scopes: tuple[str, ...]
    hint: dict[str, Any] | None  # what its id_token_hint claims, verified
    user: Any | None
    sign_in: SignIn | None
    returned: Returned
    now: datetime

    @property
    def is_silent(self) -> bool:
        return "none" in self.request.prompt

    @property
    def max_age(self) -> timedelta | None:
        """How old the authentication may be: asked for, or the client's default (Dynamic Client Registration §2)."""
        seconds = self.party.default_max_age if self.request.max_age is None else self.request.max_age
        return None if seconds is None else timedelta(seconds=seconds)

    @property
    def wants_a_new_sign_in(self) -> bool:
        """Tell whether the request may ask for a sign-in that is newer than the request itself."""
        wishes = self.request.prompt & {"login", "select_account"} or self.request.text("login_hint")
        return self.user is not None or bool(wishes) or self.max_age is not None

    @property
    def essential_acr(self) -> RequestedClaim | None:
        wish = self.request.claim("acr")
        return wish if wish.is_essential else None

    @property
    def preferred_levels(self) -> list[Level]:
        """What the request would like (§3.1.2.1 `acr_values`, §5.5.1.1), else the client by default."""
        wish = self.request.claim("acr")
        asked_for = [*self.request.acr_values, *(wish.values if not wish.is_essential else ())]
        return levels_of(asked_for or self.party.default_acr_values.split())

    @property
    def level(self) -> Level | None:
        """How strong this session's authentication was; None if nobody knows by what it was."""
        if self.sign_in is None or context_of(self.sign_in).acr is None:
            return None
        return Level(self.sign_in.level)

    @property
    def acr(self) -> str:
        """The acr to tell: of those acceptable the strongest that was reached, else the one that was reached."""
        wish = self.essential_acr
        acceptable = levels_of(wish.values) if wish is not None else self.preferred_levels
        if self.level is None:
            return ""
        reached = [level for level in acceptable if level.rank <= self.level.rank]
        return settings.acr_values[max(reached, key=lambda level: level.rank) if reached else self.level]


def levels_of(acr_values: Iterable[Any]) -> list[Level]:
    """Return the levels that these acr values name; what we do not know names none."""
    by_value = {value: Level(level) for level, value in settings.acr_values.items()}
    return [by_value[value] for value in acr_values if isinstance(value, str) and value in by_value]


class Check(NamedTuple):
    name: str
    section: str
    ask: Callable[[Any], Answer | None]


# What the request says.


def _once(request: AuthorizationRequest) -> Answer | None:
    if not request.repeated:
        return None
    return Refuse("invalid_request", f"Sent more than once: {', '.join(sorted(request.repeated))[:80]}.")


def _request_object(request: AuthorizationRequest) -> Answer | None:
    for name in ("request", "request_uri", "registration"):
        if name in request.query:
            return Refuse(f"{name}_not_supported", f"The parameter {name} is not supported.")
    return None


def _readable(request: AuthorizationRequest) -> Answer | None:
    try:
        request.read_all()
    except Unreadable as unreadable:
        return Refuse(unreadable.error, unreadable.description)
    return None


def _challenge(request: AuthorizationRequest) -> Answer | None:
    """A client that names a method has sent a challenge: without it a code would be issued that nothing protects."""
    challenge = request.text("code_challenge")
    if not challenge and request.text("code_challenge_method"):
        return Refuse("invalid_request", "code_challenge_method comes with a code_challenge.")
    if challenge and not _CHALLENGE.fullmatch(challenge):
        return Refuse("invalid_request", "code_challenge has 43 to 128 letters, digits, or any of - . _ ~.")
    return None


REQUEST_CHECKS = (
    Check("each parameter once", "RFC 6749 §3.1", _once),
    Check("no request object", "OpenID Connect Core 1.0 §3.1.2.6", _request_object),
    Check("readable parameters", "OpenID Connect Core 1.0 §3.1.2.2", _readable),
    Check("a PKCE challenge", "RFC 7636 §4.3", _challenge),
)


# What the session must be.


def _readable_hint(asked: Asked) -> Answer | None:
    if asked.hint is not None or not asked.request.text("id_token_hint"):
        return None
    return Refuse("invalid_request", "id_token_hint is no ID token of this provider's.")


def _signed_in(asked: Asked) -> Answer | None:
    return SignInAnew() if asked.user is None or asked.sign_in is None else None


def _hinted_user(asked: Asked) -> Answer | None:
    """The user of the ID token, or of the requested `sub`: nobody else is answered for."""
    meant = [] if asked.hint is None else [{str(asked.hint.get("sub"))}]
    meant += [{str(value) for value in asked.request.claim("sub").values}] if asked.request.claim("sub").values else []
    if not meant:
        return None
    subject = subject_of(asked.user, client=asked.application, scopes=asked.scopes)
    return None if all(subject in wanted for wanted in meant) else ChooseAccount(may_continue=False)


def _hinted_login(asked: Asked) -> Answer | None:
    hint = clean_upn(asked.request.text("login_hint"))
    if hint is None or fold_upn(hint) in _names(asked) or _has_chosen(asked):
        return None
    return ChooseAccount(meant=hint)


def _selected_account(asked: Asked) -> Answer | None:
    if "select_account" not in asked.request.prompt or _has_chosen(asked):
        return None
    return ChooseAccount()


def _authenticated_again(asked: Asked) -> Answer | None:
    if "login" not in asked.request.prompt or asked.returned.is_newer(asked.sign_in):
        return None
    return SignInAnew()


def _recent_enough(asked: Asked) -> Answer | None:
    assert asked.sign_in is not None  # noqa: S101 asked before
    at, most = asked.sign_in.authenticated_at, asked.max_age
    if most is None:
        return None
    if at is None:
        return SignInAnew()
    # Just signed in for this request: that takes a moment, and so does reading the consent page. Nothing else is new
    # enough for 0, whatever a clock says.
    if asked.returned.is_newer(asked.sign_in) and asked.now - at <= MOMENT:
        return None
    return SignInAnew() if not most or asked.now - at > most else None


def _known(asked: Asked) -> Answer | None:
    """Told are only what and when is known; who must know authenticates the user anew."""
    assert asked.sign_in is not None  # noqa: S101 asked before
    wants_time = asked.request.claim("auth_time").is_essential
    wants_acr = asked.essential_acr is not None or bool(asked.party.minimum_level)
    if (wants_time and asked.sign_in.authenticated_at is None) or (wants_acr and asked.level is None):
        return SignInAnew(in_vain=SignInAnew.silently if wants_time else UNMET)
    return None


def _strong_enough(asked: Asked) -> Answer | None:
    return _raised(asked, [Level(asked.party.minimum_level)]) if asked.party.minimum_level else None


def _essential_acr(asked: Asked) -> Answer | None:
    wish = asked.essential_acr
    if wish is None or not wish.values:
        return None
    return _raised(asked, levels_of(wish.values))


def _preferred_acr(asked: Asked) -> Answer | None:
    """Preferred, so never an error: offered once, where the user can reach it."""
    wanted = asked.preferred_levels
    if not wanted or asked.is_silent or asked.returned.declined or _reaches(asked.level, wanted):
        return None
    assert asked.sign_in is not None  # noqa: S101 asked before
    best = reachable_by_step_up(asked.sign_in)
    return StepUp(_lowest(wanted)) if _reaches(best, wanted) else None


def _consented(asked: Asked) -> Answer | None:
    if not asked.is_silent or has_consented(asked.application, asked.user, asked.scopes, now=asked.now):
        return None
    return Refuse("consent_required", "The user has to consent.")


SESSION_CHECKS = (
    Check("id_token_hint", "OpenID Connect Core 1.0 §3.1.2.2", _readable_hint),
    Check("signed in", "OpenID Connect Core 1.0 §3.1.2.3", _signed_in),
    Check("the user of id_token_hint", "OpenID Connect Core 1.0 §3.1.2.1", _hinted_user),
    Check("the user of login_hint", "OpenID Connect Core 1.0 §3.1.2.1", _hinted_login),
    Check("prompt=select_account", "OpenID Connect Core 1.0 §3.1.2.1", _selected_account),
    Check("prompt=login", "OpenID Connect Core 1.0 §3.1.2.1", _authenticated_again),
    Check("max_age", "OpenID Connect Core 1.0 §3.1.2.1", _recent_enough),
    Check("known authentication", "OpenID Connect Core 1.0 §5.5.1", _known),
    Check("the client's minimum level", "OpenID Connect Core 1.0 §3.1.2.3", _strong_enough),
    Check("essential acr", "OpenID Connect Core 1.0 §5.5.1.1", _essential_acr),
    Check("preferred acr", "OpenID Connect Core 1.0 §5.5.1.1", _preferred_acr),
    Check("consent", "OpenID Connect Core 1.0 §3.1.2.4", _consented),
)


def first_answer(checks: Iterable[Check], subject: Any) -> Answer | None:
    """Return the answer of the first check that has one, or None: then the request is granted."""
    return next((answer for check in checks if (answer := check.ask(subject)) is not None), None)


def answer_session(asked: Asked) -> Answer | None:
    """Walk the second table; where nobody may be asked, or asking was in vain, the answer is an error."""
    answer = first_answer(SESSION_CHECKS, asked)
    if answer is None or isinstance(answer, Refuse):
        return answer
    if asked.is_silent or (isinstance(answer, ChooseAccount) and asked.returned.declined):
        return answer.silently
    if isinstance(answer, SignInAnew) and asked.user is not None and asked.returned.is_too_old(asked.sign_in):
        return answer.silently  # sent away for it once: a page that sends back at once would be a loop
    if isinstance(answer, SignInAnew) and answer.in_vain is not None and asked.returned.is_newer(asked.sign_in):
        return answer.in_vain
    return answer


def has_consented(application: Any, user: Any, scopes: Iterable[str], *, now: datetime) -> bool:
    """Tell whether nobody needs to be asked: the client skips consent, or was granted these scopes before."""
    if application.skip_authorization:
        return True
    tokens = get_access_token_model().objects.filter(user_id=user.pk, application=application, expires__gt=now)
    return any(token.allow_scopes(list(scopes)) for token in tokens)


def _raised(asked: Asked, acceptable: list[Level]) -> Answer | None:
    if _reaches(asked.level, acceptable):
        return None
    assert asked.sign_in is not None  # noqa: S101 asked before
    if not asked.returned.declined:
        if _reaches(reachable_by_step_up(asked.sign_in), acceptable):
            return StepUp(_lowest(acceptable))
        if _reaches(reachable_by_signing_in(asked.user), acceptable):
            return SignInAnew(in_vain=UNMET)
    return UNMET


def _reaches(level: Level | None, acceptable: Iterable[Level]) -> bool:
    return level is not None and any(level.rank >= wanted.rank for wanted in acceptable)


def _lowest(levels: Iterable[Level]) -> Level:
    return min(levels, key=lambda level: level.rank)


def _names(asked: Asked) -> set[str]:
    assert asked.user is not None  # noqa: S101 asked before
    email = getattr(asked.user, asked.user.get_email_field_name(), "")
    return {fold_upn(str(name)) for name in (get_hooks().get_upn(asked.user), asked.user.get_username(), email)}


def _has_chosen(asked: Asked) -> bool:
    assert asked.sign_in is not None  # noqa: S101 asked before
    return asked.returned.chosen == str(asked.sign_in.pk) or asked.returned.is_newer(asked.sign_in)
