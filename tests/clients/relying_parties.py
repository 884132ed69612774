"""Clients that we did not write, behind one interface: ask, take the answer, use and refresh the tokens, sign out.

Each checks the provider's answers by its own code. What it takes for an OAuth error is `Refused`; anything else that it
throws fails the test, because then it could not accept what the provider sent.
"""

from __future__ import annotations

import copy
import json
import re
import select
import subprocess
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.django_client import OAuth
from django.test import RequestFactory

from tests.clients.person import Arrival

SCOPE = "openid profile email"
REFRESHABLE = {"scope": f"{SCOPE} offline_access", "prompt": "consent"}  # OpenID Connect Core §11
SECONDS_TO_ANSWER = 60


@dataclass(frozen=True)
class Registration:
    """What the provider registered for a client."""

    client_id: str
    client_secret: str
    redirect_uri: str


class Refused(Exception):
    """The provider refused, and the client recognised it as an OAuth error."""

    def __init__(self, *, error: str | None, kind: str) -> None:
        super().__init__(f"{kind}: {error}")
        self.error, self.kind = error, kind


@dataclass(frozen=True)
class Tokens:
    """A token response that the client accepted, with the ID token's claims as it validated them."""

    response: dict[str, Any] = field(repr=False)
    claims: dict[str, Any]

    @property
    def access_token(self) -> str:
        return str(self.response["access_token"])

    @property
    def id_token(self) -> str:
        return str(self.response["id_token"])


def essential_acr(*values: str) -> str:
    """Return the claims parameter that demands one of these (OpenID Connect Core §5.5.1.1)."""
    return json.dumps({"id_token": {"acr": {"essential": True, "values": list(values)}}})


class RelyingParty(Protocol):
    def ask(self, **parameters: str) -> str:
        """Begin a sign-in; return the authorization request for the browser."""

    def take(self, callback: Arrival) -> Tokens:
        """Check what the browser was sent back with, exchange the code, validate the ID token."""

    def userinfo(self, tokens: Tokens) -> dict[str, Any]: ...

    def refresh(self, tokens: Tokens) -> Tokens: ...

    def end_session(self, tokens: Tokens, *, post_logout_redirect_uri: str, state: str) -> str:
        """Return where the browser signs out at the provider."""

    def close(self) -> None: ...


class Authlib:
    """Authlib's Django client, with the checks that it offers switched on."""

    def __init__(self, issuer: str, registration: Registration) -> None:
        self.issuer, self.registration = issuer, registration
        self.session: dict[str, Any] = {}  # what it keeps between question and answer
        self.acr_values: list[str] = []
        self.app = OAuth().register(
            "provider",
            client_id=registration.client_id,
            client_secret=registration.client_secret or None,
            server_metadata_url=f"{issuer}/.well-known/openid-configuration",
            client_kwargs={
                "scope": SCOPE,
                "code_challenge_method": "S256",
                "token_endpoint_auth_method": "client_secret_basic" if registration.client_secret else "none",
            },
        )

    def ask(self, **parameters: str) -> str:
        request = RequestFactory().get("/")
        request.session = self.session = {}
        essential = json.loads(parameters.get("claims", "{}")).get("id_token", {}).get("acr", {})
        self.acr_values = essential.get("values", [])
        return str(self.app.authorize_redirect(request, self.registration.redirect_uri, **parameters).url)

    def take(self, callback: Arrival) -> Tokens:
        factory = RequestFactory()
        request = factory.get(callback.url) if callback.form is None else factory.post(callback.url, callback.form)
        request.session = copy.deepcopy(self.session)  # as a site would find it that is sent the same code again
        options: dict[str, Any] = {"iss": {"essential": True, "value": self.issuer}}
        if self.acr_values:
            options["acr"] = {"essential": True, "values": self.acr_values}
        with _in_authlibs_words():
            response = self.app.authorize_access_token(request, claims_options=options, leeway=0)
        return Tokens(response=dict(response), claims=dict(response["userinfo"]))

    def userinfo(self, tokens: Tokens) -> dict[str, Any]:
        with _in_authlibs_words():
            return dict(self.app.userinfo(token={"access_token": tokens.access_token, "token_type": "Bearer"}))

    def refresh(self, tokens: Tokens) -> Tokens:
        with _in_authlibs_words():
            response = self.app.fetch_access_token(
                grant_type="refresh_token", refresh_token=tokens.response["refresh_token"]
            )
        claims = self.app.parse_id_token(response, nonce=None) if "id_token" in response else {}
        return Tokens(response=dict(response), claims=dict(claims))

    def end_session(self, tokens: Tokens, *, post_logout_redirect_uri: str, state: str) -> str:
        request = RequestFactory().get("/")
        request.session = self.session
        answer = self.app.logout_redirect(
            request, post_logout_redirect_uri=post_logout_redirect_uri, id_token_hint=tokens.id_token, state=state
        )
        return str(answer.url)

    def close(self) -> None:
        """Nothing runs."""


@contextmanager
def _in_authlibs_words() -> Any:
    try:
        yield
    except OAuthError as refusal:
        raise Refused(error=refusal.error, kind=type(refusal).__name__) from refusal
    except requests.HTTPError as refusal:  # its userinfo leaves the status and the challenge to the caller
        challenge = re.search(r'error="([^"]+)"', refusal.response.headers.get("WWW-Authenticate", ""))
        error = None if challenge is None else challenge[1]
        raise Refused(error=error, kind=f"HTTPError {refusal.response.status_code}") from refusal


class NodeClient:
    """A client from npm, as a process that is spoken to in lines of JSON."""

    def __init__(self, script: Path, issuer: str, registration: Registration) -> None:
        self.registration = registration
        self.process = subprocess.Popen(
            ["node", script.name], cwd=script.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        credentials = {"client_id": registration.client_id, "client_secret": registration.client_secret}
        self._do("discover", issuer=issuer, **credentials)

    def ask(self, **parameters: str) -> str:
        asked = {"redirect_uri": self.registration.redirect_uri, "scope": SCOPE, **parameters}
        return str(self._do("ask", parameters=asked))

    def take(self, callback: Arrival) -> Tokens:
        return _tokens(self._do("take", callback={"url": callback.url, "form": callback.form}))

    def userinfo(self, tokens: Tokens) -> dict[str, Any]:
        return dict(self._do("userinfo", access_token=tokens.access_token, sub=tokens.claims["sub"]))

    def refresh(self, tokens: Tokens) -> Tokens:
        return _tokens(self._do("refresh", refresh_token=tokens.response["refresh_token"]))

    def end_session(self, tokens: Tokens, *, post_logout_redirect_uri: str, state: str) -> str:
        asked = {"post_logout_redirect_uri": post_logout_redirect_uri, "state": state}
        return str(self._do("end_session", id_token=tokens.id_token, **asked))

    def close(self) -> None:
        self.process.communicate(timeout=SECONDS_TO_ANSWER)  # the end of its input is the end of the conversation

    def _do(self, verb: str, **command: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"verb": verb, **command}).encode() + b"\n")
        self.process.stdin.flush()
        answered, _, _ = select.select([self.process.stdout], [], [], SECONDS_TO_ANSWER)
        assert answered, f"no answer to {verb}"
        answer = json.loads(self.process.stdout.readline())
        if "refused" in answer:
            raise Refused(error=answer["refused"].get("error"), kind=answer["refused"]["kind"])
        assert "broken" not in answer, answer["broken"]
        return answer.get("done")


def _tokens(response: dict[str, Any]) -> Tokens:
    return Tokens(response=response, claims=response.pop("claims", None) or {})


Connect = Callable[..., RelyingParty]
