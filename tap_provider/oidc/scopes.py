"""Which scopes a client gets: never more than it asks for, and some only by a right that an administrator has given.

Asked where scopes are requested, where tokens are stored, and at every use (`scope_validator`, `validator`,
`resource_server`), so that a right that was withdrawn is gone at the next request. RFC 6749 §3.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_permission_codename
from oauth2_provider.settings import oauth2_settings

from ..permissions import has_permission
from .models import may_host_registration

if TYPE_CHECKING:
    from collections.abc import Iterable

REGISTRATION_SCOPE = "method_registration"
REGISTRATION_SCOPES = frozenset({"openid", "profile", "email", REGISTRATION_SCOPE})
"""All that a client is granted from a registration-only session."""

INTROSPECTION_SCOPE = "introspection"
OF_A_USER = frozenset({"openid", REGISTRATION_SCOPE})
"""Scopes that mean a user: a token that no user stands behind reaches nothing that demands one of them."""

NEVER_BY_DEFAULT = frozenset({"offline_access", REGISTRATION_SCOPE, INTROSPECTION_SCOPE})
"""Scopes that a request must name, whatever the site's defaults."""


def defaults_of(named: Iterable[str]) -> list[str]:
    """Return the scopes of a request that names none, given what the toolkit would grant it.

    The toolkit's own default is everything (`DEFAULT_SCOPES = ["__all__"]`), which counts as nothing here. What a site
    lists in `DEFAULT_SCOPES`, or returns from its `SCOPES_BACKEND_CLASS`, stays.
    """
    scopes = list(named)
    if "__all__" in oauth2_settings.DEFAULT_SCOPES and set(scopes) == set(oauth2_settings.SCOPES):
        return []
    return [scope for scope in scopes if scope not in NEVER_BY_DEFAULT]


def unearned(scopes: Iterable[str], client: Any | None) -> frozenset[str]:
    """Return those of these scopes that the client has no right to. At most one query a right that is asked about."""
    asked = frozenset(scopes)
    refused = asked & {oauth2_settings.DCR_REGISTRATION_SCOPE}  # of registration access tokens only (RFC 7592 §3)
    if REGISTRATION_SCOPE in asked and (client is None or not may_host_registration(client.client_id)):
        refused |= {REGISTRATION_SCOPE}
    if INTROSPECTION_SCOPE in asked and not may_introspect_others(client):
        refused |= {INTROSPECTION_SCOPE}
    return refused


def earned(scope: str, client: Any | None) -> str:
    """Return a token's scope without what its client has no right to, or not any more."""
    refused = unearned(scope.split(), client)
    return " ".join(name for name in scope.split() if name not in refused) if refused else scope


def may_introspect_others(client: Any | None) -> bool:
    """Tell whether this client may introspect tokens of other clients: a confidential one of an administrator's.

    An administrator's is one that was not registered by itself and that either belongs to no user, or to one who may
    add applications. (RFC 7662 §2.1, §4.)
    """
    if client is None or client.client_type != client.CLIENT_CONFIDENTIAL:
        return False
    if client.registration_source != client.RegistrationSource.MANUAL:
        return False
    return client.user_id is None or has_permission(client.user, permission_to("add", type(client)))


def permission_to(action: str, model: Any) -> str:
    """Return the name of a model's permission to add, change, delete or view."""
    return f"{model._meta.app_label}.{get_permission_codename(action, model._meta)}"
