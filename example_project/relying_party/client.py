"""The relying party's side of OpenID Connect: the two clients, as Authlib's with the missing checks built in.

A sign-in fails with `AnswerRefused`, Authlib's `OAuthError` or joserfc's `JoseError`, and with nothing else.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from authlib.integrations.base_client import MismatchingStateError
from authlib.integrations.django_client import DjangoOAuth2App, OAuth, OAuthError
from django.http import HttpResponseRedirect
from joserfc.errors import InvalidKeyIdError
from joserfc.jwk import KeySet
from requests import RequestException

from .configuration import SCOPES, configuration
from .validation import (
    IssuerMismatch,
    NotConfigured,
    ProviderUnreachable,
    TokenMissing,
    check_issuer_parameter,
    check_userinfo_subject,
    validate_id_token,
    validate_logout_token,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from django.http import HttpRequest

    from .configuration import Configuration

TIMEOUT_SECONDS = 10
METADATA_LIFETIME_SECONDS = 600  # after this, keys that the provider withdrew are no longer trusted
OK = 200


class ProviderRefused(OAuthError):
    """The provider sent the browser back with an error; `flow` is what was being tried."""

    def __init__(self, *, error: str, description: str, flow: Mapping[str, Any]) -> None:
        super().__init__(error=error, description=description)
        self.flow = flow


@dataclass(frozen=True, kw_only=True)
class SignIn:
    """What a completed flow leaves in the session. The refresh token is not kept: nothing here would use it."""

    client: str
    claims: dict[str, Any]
    scope: str
    expires_in: int | None
    has_refresh_token: bool
    access_token: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class UserInfo:
    """The userinfo endpoint's answer of this moment; 401 means that the access token has ended."""

    status: int
    claims: dict[str, Any]


@contextmanager
def reaching_provider() -> Iterator[None]:
    """Turn every way in which a provider can fail to answer sensibly into one refusal."""
    try:
        yield
    except (RequestException, ValueError, TypeError, KeyError, RuntimeError) as error:
        # Authlib lets malformed JSON, and metadata without an endpoint, escape as Python's own exceptions.
        raise ProviderUnreachable("The provider did not answer, or not as an OpenID provider does.") from error


class RelyingPartyClient(DjangoOAuth2App):
    """Authlib's client for Django, which asks one fixed issuer and believes only what was checked."""

    server_metadata: dict[str, Any]

    def __init__(self, framework: Any, name: str, *, issuer: str, redirect_uri: str, **kwargs: Any) -> None:
        super().__init__(framework, name, **kwargs)
        self.issuer = issuer
        self.redirect_uri = redirect_uri
        self._metadata_lock = Lock()

    def load_server_metadata(self) -> dict[str, Any]:
        """Return the discovery document, fetched at first use because the provider may start later than this site."""
        with self._metadata_lock:  # or one thread would drop what another has just fetched
            return self._load_server_metadata()

    def _load_server_metadata(self) -> dict[str, Any]:
        if time.time() - self.server_metadata.get("_loaded_at", 0) > METADATA_LIFETIME_SECONDS:
            self.server_metadata = {}
        with reaching_provider():
            metadata: dict[str, Any] = super().load_server_metadata()
        if metadata.get("issuer") != self.issuer:
            self.server_metadata = {}
            raise IssuerMismatch("The discovery document is that of another provider.")
        return metadata

    def begin(self, request: HttpRequest, *, destination: str, attempt: int, **parameters: Any) -> HttpResponseRedirect:
        """Send the browser to the provider; the session remembers, under `state`, where the answer shall lead."""
        started = self.create_authorization_url(self.redirect_uri, **parameters)
        flow = {"destination": destination, "attempt": attempt, "is_silent": parameters.get("prompt") == "none"}
        self.save_authorize_data(request, redirect_uri=self.redirect_uri, **flow, **started)
        return HttpResponseRedirect(started["url"])

    def finish(self, request: HttpRequest) -> tuple[SignIn, dict[str, Any]]:
        """Check the answer that the browser brought, exchange the code, and return the sign-in and its flow."""
        metadata = self.load_server_metadata()
        check_issuer_parameter(
            request.GET.getlist("iss"),
            issuer=self.issuer,
            is_required=metadata.get("authorization_response_iss_parameter_supported") is True,
        )
        state = request.GET.get("state")
        flow = self.framework.get_state_data(request.session, state)
        if flow is None:
            # Authlib believes an error without a state: any site could make this one show an error of its choosing.
            raise MismatchingStateError
        if error := request.GET.get("error"):
            self.framework.clear_state_data(request.session, state)
            raise ProviderRefused(error=error, description=request.GET.get("error_description", ""), flow=flow)
        if not request.GET.get("code"):
            raise TokenMissing("The provider sent neither a code nor an error.")
        token = self.authorize_access_token(request)
        return self._read(token), flow

    def fetch_access_token(self, redirect_uri: str | None = None, **kwargs: Any) -> dict[str, Any]:
        with reaching_provider():
            token: dict[str, Any] = super().fetch_access_token(redirect_uri, **kwargs)
        for name in ("access_token", "id_token"):
            # Authlib would return a token response without an ID token as if there were nothing to check.
            if not isinstance(token.get(name), str):
                raise TokenMissing(f"The token response has no {name}.")
        return token

    def parse_id_token(self, token: dict[str, Any], nonce: str, **_: Any) -> dict[str, Any]:
        """Replace Authlib's validation by this module's; called by `authorize_access_token`."""
        try:
            return self._validate(token, nonce, self._key_set(force=False))
        except InvalidKeyIdError:
            # The provider has a new key since its keys were fetched.
            return self._validate(token, nonce, self._key_set(force=True))

    def read_logout_token(self, logout_token: str) -> dict[str, Any]:
        """Return the claims of a logout token that the provider sent, validated."""
        try:
            return self._validate_logout(logout_token, self._key_set(force=False))
        except InvalidKeyIdError:
            return self._validate_logout(logout_token, self._key_set(force=True))

    def ask_userinfo(self, sign_in: SignIn) -> UserInfo:
        """Ask the userinfo endpoint now: the provider's word on whether the sign-in still holds."""
        metadata = self.load_server_metadata()
        # Only the access token: told of expiry or a refresh token, Authlib would refresh, or refuse without asking.
        token = {"access_token": sign_in.access_token, "token_type": "Bearer"}
        with reaching_provider():
            response = self.get(metadata["userinfo_endpoint"], token=token)
            claims = dict(response.json()) if response.status_code == OK else {}
        if response.status_code == OK:
            check_userinfo_subject(claims, claims=sign_in.claims)
        return UserInfo(status=response.status_code, claims=claims)

    def _key_set(self, *, force: bool) -> KeySet:
        with reaching_provider():
            return KeySet.import_key_set(self.fetch_jwk_set(force=force))

    def _validate(self, token: dict[str, Any], nonce: str, key_set: KeySet) -> dict[str, Any]:
        return validate_id_token(
            token["id_token"],
            key_set=key_set,
            issuer=self.issuer,
            client_id=self.client_id,
            nonce=nonce,
            access_token=token["access_token"],
            now=int(time.time()),
        )

    def _validate_logout(self, logout_token: str, key_set: KeySet) -> dict[str, Any]:
        return validate_logout_token(
            logout_token, key_set=key_set, issuer=self.issuer, client_id=self.client_id, now=int(time.time())
        )

    def _read(self, token: dict[str, Any]) -> SignIn:
        if "userinfo" not in token:
            raise TokenMissing("The ID token was not checked.")
        return SignIn(
            client=self.name,
            claims=token["userinfo"],
            # A provider that grants what was asked need not repeat it (RFC 6749 §5.1).
            scope=token.get("scope", SCOPES[self.name]),
            expires_in=token.get("expires_in"),
            has_refresh_token="refresh_token" in token,
            access_token=token["access_token"],
        )


def build_registry(configured: Configuration) -> OAuth:
    """Return Authlib's registry with the clients that there are credentials for."""
    oauth = OAuth()
    for name, credentials in configured.credentials.items():
        if credentials.client_id:
            oauth.register(
                name,
                client_cls=RelyingPartyClient,
                client_id=credentials.client_id,
                client_secret=credentials.client_secret or None,
                issuer=configured.issuer,
                redirect_uri=f"{configured.url}/callback/{name}/",
                server_metadata_url=configured.issuer.rstrip("/") + "/.well-known/openid-configuration",
                client_kwargs={
                    "scope": SCOPES[name],
                    "code_challenge_method": "S256",
                    "default_timeout": TIMEOUT_SECONDS,
                },
            )
    return oauth


@cache
def registry() -> OAuth:
    """Return the registry of this process, built at first use."""
    return build_registry(configuration())


def get_client(name: str) -> RelyingPartyClient:
    """Return a client by its name, or raise `NotConfigured` when the environment has no credentials for it."""
    client = registry().create_client(name)
    if client is None:
        raise NotConfigured(f"{name.upper()}_CLIENT_ID is not set in this site's environment.")
    return client
