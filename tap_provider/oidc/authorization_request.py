"""What an authorization request asks, parsed: each parameter, or why it cannot be read (OpenID Connect Core §3.1.2.1).

Nothing here asks the database or the session. What cannot be read raises Unreadable with the error to answer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from unicodedata import category
from urllib.parse import urlsplit

from django.core import signing
from django.http import QueryDict
from oauth2_provider.settings import oauth2_settings

from .models import LONGEST_CLIENT_ID

if TYPE_CHECKING:
    from django.http import HttpRequest

REMEMBERED = "tap_query"
RETURNED = "tap_return"
"""The one parameter that is ours: what the user has done since the request was first made (`authorization_return`)."""

PROMPTS = frozenset({"none", "login", "consent", "select_account"})
RESPONSE_MODES = frozenset({"query", "fragment", "form_post"})
REPEATABLE = frozenset({"resource"})  # RFC 8707 §2
LONGEST = {"client_id": LONGEST_CLIENT_ID, "nonce": 255, "code_challenge": 128}  # what the toolkit's columns hold
LONGEST_AGE = 10**9  # seconds; whatever is older is as good as never

# What the consent page posts: these hold in place of the query's, because the toolkit acts on them.
POSTED = (
    "client_id",
    "redirect_uri",
    "response_type",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "claims",
)


class Unreadable(Exception):
    """A parameter that cannot be read; `error` is the OAuth error to answer."""

    def __init__(self, description: str, *, error: str = "invalid_request") -> None:
        super().__init__(description)
        self.error, self.description = error, description


@dataclass(frozen=True)
class RequestedClaim:
    """What the `claims` parameter says of one claim (OpenID Connect Core §5.5.1)."""

    is_requested: bool = False
    is_essential: bool = False
    values: tuple[Any, ...] = ()


@dataclass(frozen=True)
class AuthorizationRequest:
    """The parameters of one authorization request, as they were sent."""

    query: QueryDict
    sent: QueryDict | None = None  # the query as it was before the consent page posted

    @classmethod
    def of(cls, request: HttpRequest) -> AuthorizationRequest:
        """Read the query; on the consent page's post, with what was posted in place of it.

        A consent page of the site's own may post without the query: then our form remembers it (`remember_query`).
        """
        sent = request.GET if "client_id" in request.GET else _remembered_query(request.POST.get(REMEMBERED, ""))
        query = request.GET.copy() if sent is None else sent.copy()
        if request.method == "POST":
            for name in POSTED:
                if request.POST.get(name, "null") != "null":  # as the toolkit's form has it where there are no claims
                    query.setlist(name, request.POST.getlist(name))
            if request.POST.get("resource"):
                query.setlist("resource", request.POST["resource"].split())
        return cls(_without_empty(query), sent)

    @classmethod
    def posted(cls, request: HttpRequest) -> AuthorizationRequest:
        """Read what a relying party has posted, beside what stood in the address."""
        query = request.GET.copy()
        for name, values in request.POST.lists():
            query.setlistdefault(name).extend(values)
        return cls(query)

    def text(self, name: str) -> str:
        """Return a parameter, "" if it is missing; the first if it is repeated."""
        values = self.query.getlist(name)
        return str(values[0]) if values else ""

    @cached_property
    def names(self) -> list[str]:
        return [name for name in self.query if name != RETURNED]

    @cached_property
    def repeated(self) -> set[str]:
        return {name for name in self.names if len(self.query.getlist(name)) > 1 and name not in REPEATABLE}

    @cached_property
    def fingerprint(self) -> str:
        """Identifies this very request, whatever the user has done since."""
        query = self.sent or self.query
        lists = sorted((name, values) for name, values in query.lists() if name != RETURNED)
        return sha256(json.dumps(lists).encode()).hexdigest()

    @property
    def again(self) -> str:
        """The query string by which the same request is made again."""
        return _canonical(self.sent or self.query, leaving_out=(RETURNED,))

    def canonical(self, *, leaving_out: tuple[str, ...] = ()) -> str:
        """Return the query string with every parameter once (but `resource`), encoded as any parser can read it."""
        return _canonical(self.query, leaving_out=leaving_out)

    @property
    def names_one_client(self) -> bool:
        """Tell whether client and redirect URI can be looked up at all; else nobody can be redirected to."""
        values = [value for name in ("client_id", "redirect_uri") for value in self.query.getlist(name)]
        is_clean = all(map(_is_clean, values)) and all(map(is_address, self.query.getlist("redirect_uri")))
        return is_clean and not {"client_id", "redirect_uri"} & self.repeated

    # Parameters that must be read.

    @cached_property
    def prompt(self) -> frozenset[str]:
        prompt = frozenset(self.text("prompt").split())
        unknown = sorted(
            prompt - PROMPTS - ({"create"} if oauth2_settings.OIDC_RP_INITIATED_REGISTRATION_ENABLED else set())
        )
        if unknown:
            raise Unreadable(f"There is no prompt {unknown[0][:40]!r}.")
        if "none" in prompt and len(prompt) > 1:
            raise Unreadable("prompt=none stands alone.")
        return prompt

    @cached_property
    def max_age(self) -> int | None:
        """Seconds; None if it was not sent."""
        if "max_age" not in self.query:
            return None
        text = self.text("max_age").strip()
        if not (text.isascii() and text.isdigit()):
            raise Unreadable("max_age is a number of seconds, 0 or more.")
        return min(int(text[:20]), LONGEST_AGE)

    @cached_property
    def response_mode(self) -> str:
        """Return the mode asked for, "" for the response type's own."""
        mode = self.text("response_mode")
        if mode and mode not in RESPONSE_MODES:
            raise Unreadable("There is no such response_mode.")
        if mode == "query" and set(self.text("response_type").split()) & {"token", "id_token"}:
            raise Unreadable("Tokens are not sent in a query.")  # OAuth 2.0 Multiple Response Type Encoding §5
        address = self.text("redirect_uri")
        if mode == "form_post" and address and not address.startswith(("http://", "https://")):
            raise Unreadable("A form is posted to a web address.")
        return mode

    @property
    def mode(self) -> str:
        """The response mode in force (OAuth 2.0 Multiple Response Type Encoding Practices §2.1, §5)."""
        asked_for = self.text("response_mode")
        if asked_for in RESPONSE_MODES:
            return asked_for
        return "fragment" if set(self.text("response_type").split()) & {"token", "id_token"} else "query"

    @property
    def acr_values(self) -> tuple[str, ...]:
        return tuple(self.text("acr_values").split())

    @cached_property
    def _claims(self) -> dict[str, Any]:
        return parse_claims(self.text("claims"))

    def claim(self, name: str) -> RequestedClaim:
        """Return what the request says of this claim in the ID token."""
        return claim_of(self._claims, name)

    def read_all(self) -> None:
        """Raise Unreadable for the first parameter that cannot be read, but for those of the toolkit."""
        for name in self.names:
            self._check_text(name)
        if not all(map(is_address, self.query.getlist("resource"))):
            raise Unreadable("A resource is no address.", error="invalid_target")  # RFC 8707 §2
        _ = self.prompt, self.max_age, self.response_mode, self._claims

    def _check_text(self, name: str) -> None:
        for value in self.query.getlist(name):
            if not _is_clean(value):
                raise Unreadable("A parameter has characters that none may have.")
            if len(value) > LONGEST.get(name, len(value)):
                raise Unreadable(f"{name} is too long.")


def remember_query(request: AuthorizationRequest) -> str:
    """Return the query, signed, for a hidden field of the consent page."""
    return signing.dumps(request.again, salt=REMEMBERED)


def _remembered_query(signed: str) -> QueryDict | None:
    try:
        return QueryDict(signing.loads(signed, salt=REMEMBERED)) if signed else None
    except signing.BadSignature:
        return None


def _without_empty(query: QueryDict) -> QueryDict:
    # RFC 6749 §3.1: parameters sent without a value are treated as if they were omitted.
    for name, values in list(query.lists()):
        query.setlist(name, [value for value in values if value])
        if not query.getlist(name):
            del query[name]
    return query


def _canonical(sent: QueryDict, *, leaving_out: tuple[str, ...]) -> str:
    query = QueryDict(mutable=True)
    for name, values in sent.lists():
        if name not in leaving_out:
            query.setlist(name, values if name in REPEATABLE else values[:1])
    return query.urlencode()


def _is_clean(text: str) -> bool:
    return not any(category(character) in {"Cc", "Cs"} for character in text)


def is_address(text: str) -> bool:
    """Tell whether a resource or redirect URI can be read as an address at all; the toolkit asks for more."""
    try:
        _ = urlsplit(text).port  # read when it is asked for
    except ValueError:
        return False
    return True


def parse_claims(text: str) -> dict[str, Any]:
    """Read the `claims` parameter: an object of objects whose members are null or objects (§5.5)."""
    if not text:
        return {}
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        raise Unreadable("claims is not JSON.") from None
    if told is None:
        return {}  # what the toolkit's consent page posts where none were sent
    if not isinstance(told, dict):
        raise Unreadable("claims is not an object.")
    for place in ("id_token", "userinfo"):
        wishes = {} if told.get(place) is None else told[place]
        if not isinstance(wishes, dict):
            raise Unreadable(f"{place} in claims is not an object.")
        for name, wish in wishes.items():
            _check_wish(name, wish)
    return told


def _check_wish(name: str, wish: Any) -> None:
    if wish is None:
        return
    well_formed = (
        isinstance(wish, dict)
        and isinstance(wish.get("essential", False), bool)
        and isinstance(wish.get("values", []), list)
        and not ("value" in wish and "values" in wish)
    )
    if not well_formed:
        raise Unreadable(f"claims says something of {name[:40]!r} that cannot be read.")


def claim_of(claims: dict[str, Any], name: str) -> RequestedClaim:
    """Return what a parsed `claims` parameter says of this claim in the ID token."""
    place = claims.get("id_token") or {}
    if name not in place:
        return RequestedClaim()
    wish = place[name] or {}
    values = [wish["value"]] if "value" in wish else wish.get("values", [])
    return RequestedClaim(is_requested=True, is_essential=wish.get("essential", False), values=tuple(values))
