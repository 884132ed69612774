"""A resource server's side, in the same site: which access token a view demands, and what it answers to any other.

    @access_token_required(level="multi_factor", max_age=300, scopes=["payments"])
    def pay(request):
        request.access_token.user, request.auth_context.acr, …

For function views, for class-based ones by `method_decorator(…, name="dispatch")`, and for asynchronous ones. What a
pass opens reaches only a view that demands the scope `method_registration`. A token that no user stands behind (client
credentials) reaches only a view that says `needs_user=False`.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial, wraps
from inspect import unwrap
from types import FunctionType
from typing import TYPE_CHECKING, Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.http import HttpResponse
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from oauth2_provider import decorators
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauth2_provider.settings import oauth2_settings
from oauthlib.common import Request as OAuthRequest

from ..authentication_context import AuthenticationContext, context_of
from ..conf import settings
from ..models import Level
from . import request_context
from .scopes import OF_A_USER, REGISTRATION_SCOPE, unearned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from django.http import HttpRequest

REALM = "api"

TOOLKIT_DECORATORS = (
    decorators.protected_resource,
    decorators.protected_resource_metadata,
    decorators.rw_protected_resource,
    decorators.rw_protected_resource_metadata,
)


@dataclass(frozen=True)
class PresentedToken:
    """A valid access token: the toolkit's row, and what the sign-in behind it was when its code was issued."""

    access_token: Any
    context: AuthenticationContext | None  # None: nobody signed in for it, or before this was installed


class AccessRefused(Exception):
    """The request is not answered; `status` and `challenge` say what to do about it (RFC 6750 §3)."""

    def __init__(self, code: str | None, description: str, *, status: int = 401, **told: str | None) -> None:
        super().__init__(description)
        self.code, self.status = code, status
        error = {} if code is None else {"error": code, "error_description": description}
        parameters = {"realm": REALM, **error, **told}
        self.challenge = "Bearer " + ", ".join(
            f"{name}={_quoted(value)}" for name, value in parameters.items() if value is not None
        )


@dataclass(frozen=True)
class Demand:
    """What a view demands of an access token. Either acr values, one of which must be told, or at least a level."""

    needs_user: bool = True
    level: Level | None = None
    acr_values: tuple[str, ...] = ()
    max_age: timedelta | None = None
    scopes: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(
        cls,
        *,
        level: Level | str | None = None,
        acr_values: Iterable[str] | str = (),
        max_age: int | None = None,
        scopes: Iterable[str] = (),
        needs_user: bool = True,
    ) -> Demand:
        """Return the demand that a view is marked with; what makes no sense is an error as the site starts."""
        acrs = tuple(acr_values.split() if isinstance(acr_values, str) else acr_values)
        if level is not None and acrs:
            raise ValueError("Demand a level or acr values, not both.")
        if any(not acr or acr != "".join(acr.split()) for acr in acrs):
            raise ValueError("An acr value has no spaces: they separate several.")
        if max_age is not None and max_age < 1:
            raise ValueError("max_age is a number of seconds, 1 or more: no token is as young as its sign-in.")
        if isinstance(scopes, str):
            raise TypeError("scopes is a list of scopes.")
        if not needs_user and (level is not None or acrs or max_age is not None or OF_A_USER & frozenset(scopes)):
            raise ValueError("A level, acr values, max_age and scopes of a user are demanded of a user.")
        return cls(
            needs_user=needs_user,
            level=None if level is None else Level(level),
            acr_values=acrs,
            max_age=None if max_age is None else timedelta(seconds=max_age),
            scopes=frozenset(scopes),
        )

    def check(self, presented: PresentedToken, *, now: datetime) -> None:
        """Let this token pass, or raise AccessRefused: scopes first (RFC 6750 §3.1), then RFC 9470 §3."""
        token = presented.access_token
        if not token.allow_scopes(self.scopes) or unearned(self.scopes, token.application):
            scope = " ".join(sorted(self.scopes))
            raise AccessRefused("insufficient_scope", "The token lacks a scope.", status=403, scope=scope)
        if self.needs_user and token.user is None:
            raise self._insufficient("The access token of a user is required.")
        context = presented.context
        if context is not None and context.is_registration_only and REGISTRATION_SCOPE not in self.scopes:
            raise self._insufficient("A Temporary Access Pass opens the registration of sign-in methods only.")
        if (self.level or self.acr_values) and not self._is_strong_enough(context):
            raise self._insufficient("A different authentication level is required.")
        if self.max_age is not None and not _is_fresh(context, self.max_age, now=now):
            raise self._insufficient("More recent authentication is required.")

    def _is_strong_enough(self, context: AuthenticationContext | None) -> bool:
        if context is None or context.acr is None:
            return False
        return context.acr in self.acr_values if self.level is None else context.satisfies(self.level)

    def _insufficient(self, description: str) -> AccessRefused:
        return AccessRefused(
            "insufficient_user_authentication",
            description,
            acr_values=" ".join(dict.fromkeys(self._acceptable())) or None,
            max_age=None if self.max_age is None else str(self.max_age // timedelta(seconds=1)),
        )

    def _acceptable(self) -> Iterator[str]:
        """Yield the acr values that meet the demand, in order of preference: what suffices first."""
        yield from self.acr_values
        if self.level is not None:
            yield from (settings.acr_values[level.value] for level in Level if level.rank >= self.level.rank)


def access_token_required(
    *,
    level: Level | str | None = None,
    acr_values: Iterable[str] | str = (),
    max_age: int | None = None,
    scopes: Iterable[str] = (),
    needs_user: bool = True,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let a view be reached only with an access token in the Authorization header, and one that meets the demand.

    The view finds `request.access_token` (the toolkit's row: its user, application and scopes) and
    `request.auth_context` (acr, amr, auth_time, sid; None where no sign-in stands behind the token). `request.user`
    stays whoever the session says: it has no part in this, and so the view needs no CSRF token.
    """
    demand = Demand.of(level=level, acr_values=acr_values, max_age=max_age, scopes=scopes, needs_user=needs_user)

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            refusal = _refuse(request, demand)
            return _varied(view(request, *args, **kwargs) if refusal is None else refusal)

        @wraps(view)
        async def guarded_later(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            refusal = await sync_to_async(_refuse)(request, demand)
            return _varied(await view(request, *args, **kwargs) if refusal is None else refusal)

        chosen: Any = guarded_later if _is_asynchronous(view) else guarded
        chosen.csrf_exempt = True
        chosen.login_required = False
        return chosen

    return decorate


def guard_toolkit_decorators() -> None:
    """Let the toolkit's decorators judge tokens by the site's validator, as its views do.

    Each takes `validator_cls`, whose default is the toolkit's own class: it knows nothing of sign-ins, and would accept
    the tokens of one that has ended. A view that names a validator of its own keeps it. Views that were decorated
    before, because another app imports them as the site starts, are found by the code of the decorators.
    """
    for decorator in TOOLKIT_DECORATORS:
        defaults = decorator.__defaults__
        decorator.__defaults__ = tuple(_site_validator if one is OAuth2Validator else one for one in defaults)
    for function in gc.get_objects():
        # Not `isinstance`, by which a lazy object would come to be.
        if type(function) is FunctionType and function.__code__.co_filename == decorators.__file__:
            for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
                if name == "validator_cls" and cell.cell_contents is OAuth2Validator:
                    cell.cell_contents = _site_validator


def _site_validator() -> Any:
    return oauth2_settings.OAUTH2_VALIDATOR_CLASS()


def presented_token(request: HttpRequest) -> PresentedToken:
    """Return the access token in the Authorization header (RFC 6750 §2.1), or raise AccessRefused. Two queries.

    It is the site's validator that judges it, so a token dies here as it does everywhere. Only the header counts: a
    form or a link of another site's can name a token, but cannot send a header.
    """
    token = bearer_token(request)
    if token is None:
        # RFC 6750 §3.1: who has shown nothing is told nothing of errors.
        raise AccessRefused(None, "An access token is required.")
    asked = OAuthRequest(request.build_absolute_uri().partition("?")[0], http_method=str(request.method))
    request_context.judge_later(asked)  # by the demand, which knows whether it is one for registration
    if not oauth2_settings.OAUTH2_VALIDATOR_CLASS().validate_bearer_token(token, [], asked):
        raise AccessRefused("invalid_token", "The access token is not valid, or not any more.")
    sign_in = request_context.take(asked)
    return PresentedToken(asked.access_token, None if sign_in is None else context_of(sign_in))


def bearer_token(request: HttpRequest) -> str | None:
    """Return what the Authorization header holds after `Bearer`, if it does."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _refuse(request: Any, demand: Demand) -> HttpResponse | None:
    try:
        presented = presented_token(request)
        demand.check(presented, now=timezone.now())
    except AccessRefused as refused:
        return HttpResponse(status=refused.status, headers={"WWW-Authenticate": refused.challenge})
    request.access_token, request.auth_context = presented.access_token, presented.context
    return None


def _varied(response: Any) -> Any:
    # A cache of Django's own would give one token's answer to another, or to none.
    patch_vary_headers(response, ["Authorization"])
    return response


def _is_asynchronous(view: Callable[..., Any]) -> bool:
    # The `dispatch` of an asynchronous class is no coroutine function itself. `method_decorator` hands it over bound,
    # in a partial.
    bound = unwrap(view, stop=lambda step: isinstance(step, partial))
    owner = getattr(getattr(bound, "func", None), "__self__", None)
    return iscoroutinefunction(view) or bool(getattr(owner, "view_is_async", False))


def _is_fresh(context: AuthenticationContext | None, max_age: timedelta, *, now: datetime) -> bool:
    return context is not None and context.auth_time is not None and now - context.auth_time <= max_age


def _quoted(value: str) -> str:
    """Return a quoted-string (RFC 9110 §5.6.4)."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
