"""The protocol of a method kind: what it must be able to tell and do.

A kind lists and registers a user's methods of one type, and says what signing in with one of them is worth.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext_lazy as _

from ..models import Level
from .login_page import login_takes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from django import forms
    from django.http import HttpRequest
    from django.urls import URLPattern
    from django.utils.functional import _StrOrPromise

    from ..models import SignIn


class Factor(Enum):
    """What a method proves (NIST SP 800-63B-4 §2)."""

    KNOWLEDGE = "something one knows"
    POSSESSION = "something one has"


@dataclass(frozen=True)
class Method:
    """One registered method of a user, as pages show it."""

    id: str
    name: str
    created_at: datetime | None = None
    last_used_at: datetime | None = None
    detail: _StrOrPromise = ""  # what else a page says of it: how many are left, say
    is_managed_elsewhere: bool = False  # it counts, and is neither named nor removed here: a directory's password


@dataclass(frozen=True)
class UsedMethod:
    """A method that has just proved somebody: what it says of the authentication (amr: RFC 8176)."""

    kind: str
    amr: tuple[str, ...]
    factors: frozenset[Factor]
    is_phishing_resistant: bool = False
    method_id: str = ""


def level_of(used: Iterable[UsedMethod]) -> Level:
    """Compute the level from what was used; it is never taken from anywhere else."""
    used = list(used)
    factors = frozenset[Factor]().union(*(method.factors for method in used))
    if len(factors) < len(Factor):
        return Level.SINGLE_FACTOR
    return Level.PHISHING_RESISTANT if any(method.is_phishing_resistant for method in used) else Level.MULTI_FACTOR


def amr_of(used: Iterable[UsedMethod]) -> list[str]:
    """Return the `amr` of everything used together, sorted; `mfa` where the factors add up to several."""
    used = list(used)
    values = {value for method in used for value in method.amr}
    if level_of(used) is not Level.SINGLE_FACTOR:
        values.add("mfa")
    return sorted(values)


def free_name(name: str, methods: Iterable[Method]) -> str:
    """Return the name, with a number behind it where another method has it."""
    taken = {method.name for method in methods}
    numbered = (name if number == 1 else f"{name} {number}" for number in count(1))
    return next(candidate for candidate in numbered if candidate not in taken)


def keys_of(used: Iterable[UsedMethod]) -> list[tuple[str, str]]:
    """Return kind and id of the very methods that were used, where they have an id."""
    return [(method.kind, method.method_id) for method in used if method.method_id]


@dataclass(frozen=True)
class RegistrationPage:
    """What the page of a registration under way shows."""

    template_name: str
    form: forms.Form
    context: dict[str, Any] = field(default_factory=dict, repr=False)


class MethodKind(ABC):
    """A kind of method. Subclass it, and register an instance with `registry.register`."""

    slug: str
    label: _StrOrPromise
    description: _StrOrPromise
    is_strong: bool  # does having one satisfy "require registration"?
    alone: Level = Level.SINGLE_FACTOR  # what signing in with it and nothing else is worth
    card_template: str  # how Security info shows it: lists the methods, offers to add one
    backends: tuple[str, ...] = ()  # authentication backends that take it without anything else, and mark it as proved
    wrong_answer: _StrOrPromise = _("That code is not right. Try again.")  # what is said of one, as a second factor
    is_held: bool = True  # something one has, and may lose; off: something one knows
    has_names: bool = False  # may the user give each method a name?
    ends_sessions: bool = False  # do the user's other full sessions end when one is registered or removed?
    is_last_resort: bool = False  # is it asked for only after every other kind, whichever was registered first?
    covers_apps: tuple[str, ...] = ()  # apps whose second factors it asks for as well: "allauth.mfa", "two_factor"

    @property
    def is_taken_at_login(self) -> bool:
        """Whether the login page of this site takes or asks for it, ours or another."""
        return login_takes(self)

    @property
    def signs_in_alone(self) -> bool:
        """Whether the login page of this site signs its user in with it and nothing else."""
        return bool(self.backends) and self.is_taken_at_login

    def is_taken_elsewhere(self) -> bool:
        """Tell whether a login page that is not ours takes it or asks for it, as far as can be told."""
        return True

    @abstractmethod
    def methods(self, user: Any) -> list[Method]:
        """Return the user's registered methods, only such as can be signed in with. One query."""

    @abstractmethod
    def remove(self, user: Any, method_id: str) -> bool:
        """Remove this method of the user's, so that nobody signs in with it again; False if there is none."""

    def has(self, user: Any, method_id: str) -> bool:
        """Tell whether this method is registered, even where it cannot be used any more. One query."""
        return any(method.id == method_id for method in self.methods(user))

    def rename(self, user: Any, method_id: str, name: str) -> bool:
        """Give this method of the user's another name; False if there is none. For kinds that have names."""
        raise NotImplementedError

    def keeps_name(self, user: Any, method_id: str) -> bool:
        """Tell whether this method of the user's keeps its name, because another package may look for it."""
        return False

    def why_not_register(self, user: Any, sign_in: SignIn) -> _StrOrPromise | None:
        """Tell why this user may not register one (more) of this kind in this session, or None if they may."""
        return None

    def used_by_backend(self, user: Any) -> UsedMethod | None:
        """Tell what it was worth that a backend or a page has marked this kind as proved (`proof.mark_proved`)."""
        return None

    def used_device(self, device: Any) -> UsedMethod | None:
        """Tell what a django-otp device proved, if it is one of this kind."""
        return None

    # Registering: kinds with a form implement these three, kinds with a ceremony bring `urls` instead.

    def begin_registration(self, request: HttpRequest, user: Any) -> None:  # noqa: B027 a ceremony needs none
        """Prepare a registration and remember it in the session (never a secret: only a reference)."""

    def registration_page(self, request: HttpRequest, user: Any, data: Any | None = None) -> RegistrationPage | None:
        """Return the page of the registration under way, or None if none is."""
        return None

    def complete_registration(
        self, request: HttpRequest, user: Any, page: RegistrationPage, *, now: datetime
    ) -> Method:
        """Verify the new method and make it count. Raises MethodNotVerified."""
        raise NotImplementedError

    def sweep(self, *, now: datetime) -> int:
        """Delete what registrations left behind that were never completed, for `tap sweep`; return how many."""
        return 0

    def urls(self) -> Sequence[URLPattern]:
        """Return further URL patterns of this kind, mounted below its place in `tap_provider.urls`."""
        return ()

    # Signing in: as a second step after the password.

    def second_factor_form(self, user: Any, data: Any | None = None) -> forms.Form | None:
        """Return the form that asks for this kind as a second factor, or None if the user has none."""
        return None

    def verify_second_factor(self, user: Any, form: forms.Form) -> UsedMethod | None:
        """Tell what a valid form proved, or None if it proved nothing."""
        return None
