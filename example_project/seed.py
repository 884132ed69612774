"""What the demo needs in its database: people, the policy, OpenID clients, and one pass. Seeding twice is fine.

Every secret is made anew at each seeding, so nothing secret is ever committed or left over.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.urls import reverse
from oauth2_provider.models import get_application_model

from tap_provider.issue import IssuedPass, issue_pass
from tap_provider.models import TemporaryAccessPassPolicy
from tap_provider.moments import as_aware
from tap_provider.oidc.models import RelyingParty
from tap_provider.policy import change_policy

if TYPE_CHECKING:
    from datetime import datetime

ADMINISTRATOR = "admin@example.test"
HOLDER = "robin@example.test"
CLIENTS = {"registration": "Onboarding portal", "ordinary": "Intranet"}


@dataclass(frozen=True)
class Addresses:
    """Where the two processes are reached. Names matter: passkeys want `localhost`, cookies do not separate ports."""

    port: int

    @property
    def base_url(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def issuer(self) -> str:
        return f"{self.base_url}/o"

    @property
    def relying_party_url(self) -> str:
        return f"http://127.0.0.1:{self.port + 1}"

    def redirect_uri(self, client: str) -> str:
        return f"{self.relying_party_url}/callback/{client}/"

    def logout_uri(self, client: str) -> str:
        return f"{self.relying_party_url}/logout/{client}/"

    def page(self, name: str) -> str:
        return self.base_url + reverse(f"tap_provider:{name}")


def seed(
    addresses: Addresses, *, now: datetime, lifetime: timedelta | None = None, one_time: bool | None = None
) -> dict[str, Any]:
    """Seed, and return everything that somebody needs to live the story."""
    administrator, admin_password = _person("admin", ADMINISTRATOR, first_name="Alex", last_name="Admin", is_staff=True)
    holder, password = _person("robin", HOLDER, first_name="Robin", last_name="Newcomer", is_staff=False)
    _turn_policy_on(administrator, lifetime, now=now)
    issued = issue_pass(
        actor=administrator,
        user=holder,
        now=now,
        lifetime=lifetime,
        is_usable_once=one_time,
        reason="The demo's first day at work.",
    )
    return {
        "base_url": addresses.base_url,
        "issuer": addresses.issuer,
        "sign_in_with_pass_url": addresses.page("sign_in_with_pass"),
        "security_info_url": addresses.page("security_info"),
        "admin": {"username": administrator.get_username(), "password": admin_password},
        "user": {"upn": holder.upn, "password": password},
        "pass": _pass_facts(issued),
        "clients": {name: _client(name, title, addresses) for name, title in CLIENTS.items()},
        "relying_party_url": addresses.relying_party_url,
    }


def _person(username: str, upn: str, *, first_name: str, last_name: str, is_staff: bool) -> tuple[Any, str]:
    password = secrets.token_urlsafe(12)
    user, _ = get_user_model()._default_manager.get_or_create(username=username, defaults={"upn": upn})
    user.upn, user.email = upn, upn
    user.first_name, user.last_name = first_name, last_name
    user.is_active, user.is_staff, user.is_superuser = True, is_staff, is_staff
    user.set_password(password)
    user.save()
    return user, password


def _turn_policy_on(administrator: Any, lifetime: timedelta | None, *, now: datetime) -> None:
    """Switch the policy on; a lifetime asked for beyond its bounds widens them, for the demo only."""
    changes: dict[str, Any] = {"enabled": True, "include_all_users": True, "one_time_only": False}
    if lifetime is not None:
        policy = TemporaryAccessPassPolicy.objects.current()
        minutes = lifetime // timedelta(minutes=1)
        changes["minimum_lifetime_minutes"] = min(policy.minimum_lifetime_minutes, minutes)
        changes["maximum_lifetime_minutes"] = max(policy.maximum_lifetime_minutes, minutes)
    change_policy(actor=administrator, now=now, **changes)


def _pass_facts(issued: IssuedPass) -> dict[str, str]:
    held = issued.temporary_access_pass
    return {
        "id": str(held.pk),
        "passcode": issued.passcode_for_reading.reveal(),
        "starts_at": as_aware(held.starts_at).isoformat(),
        "expires_at": as_aware(held.expires_at).isoformat(),
    }


def _client(name: str, title: str, addresses: Addresses) -> dict[str, str]:
    application_model = get_application_model()
    client_id, client_secret = f"demo-{name}", secrets.token_urlsafe(96)
    redirect_uri = addresses.redirect_uri(name)
    application = application_model.objects.filter(client_id=client_id).first() or application_model(
        client_id=client_id
    )
    application.name = title
    application.client_type = application_model.CLIENT_CONFIDENTIAL
    application.authorization_grant_type = application_model.GRANT_AUTHORIZATION_CODE
    application.redirect_uris = redirect_uri
    application.post_logout_redirect_uris = addresses.relying_party_url + "/"
    application.algorithm = application_model.RS256_ALGORITHM
    application.skip_authorization = True
    application.hash_client_secret = True
    application.client_secret = client_secret
    application.save()
    RelyingParty.objects.update_or_create(
        client_id=client_id,
        defaults={
            "may_host_registration": name == "registration",
            "backchannel_logout_uri": addresses.logout_uri(name),
        },
    )
    return {"client_id": client_id, "client_secret": client_secret, "redirect_uri": redirect_uri}
