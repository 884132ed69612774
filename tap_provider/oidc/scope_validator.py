"""The validator's rules about scopes: what is asked for, what is granted by default, what is stored (RFC 6749 §3.3)."""

from __future__ import annotations

from typing import Any

from oauth2_provider.oauth2_validators import OAuth2Validator
from oauthlib.oauth2.rfc6749.errors import InvalidScopeError

from .scopes import REGISTRATION_SCOPE, defaults_of, earned, unearned


class ScopeValidator(OAuth2Validator):
    def get_default_scopes(self, client_id: str, request: Any, *args: Any, **kwargs: Any) -> list[str]:
        """Return what a request without a scope is granted: nothing, unless the site says otherwise."""
        return defaults_of(super().get_default_scopes(client_id, request, *args, **kwargs))

    def validate_scopes(
        self, client_id: str, scopes: list[str], client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        """Refuse a request without any scope, and scopes that the client has no right to."""
        if not scopes or not super().validate_scopes(client_id, scopes, client, request, *args, **kwargs):
            return False
        if request.grant_type == "client_credentials" and REGISTRATION_SCOPE in scopes:
            return False  # a user registers methods; none stands behind this grant
        return not unearned(scopes, client)

    def get_original_scopes(self, refresh_token: str, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Leave out what the client has no right to any more: a refresh goes on with the rest."""
        original = super().get_original_scopes(refresh_token, request, *args, **kwargs)
        return earned(original, request.client) if isinstance(original, str) else original

    def _save_bearer_token(self, token: dict[str, Any], request: Any, *args: Any, **kwargs: Any) -> Any:
        """The last gate before any token exists, whatever the grant."""
        if unearned(token.get("scope", "").split(), request.client):
            raise InvalidScopeError(request=request)
        return super()._save_bearer_token(token, request, *args, **kwargs)

    def _save_id_token(self, jti: Any, request: Any, expires: Any, *args: Any, **kwargs: Any) -> Any:
        """Store what was granted: the toolkit stores what this request names, which nothing has judged by then.

        The toolkit takes ID tokens for bearer tokens, with the scopes that are stored here.
        """
        request.scope = " ".join(request.scopes)
        return super()._save_id_token(jti, request, expires, *args, **kwargs)
