"""What the provider has in its database before clients meet it: the demo's clients, a public one, and people.

Everybody here has a password and a pass; what else they use they register themselves. Run in the provider's settings.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.core.management import call_command
from django.utils import timezone
from oauth2_provider.models import get_application_model

from example_project.seed import ADMINISTRATOR, Addresses, seed
from tap_provider.issue import issue_pass

PEOPLE = 120
PASSWORD = "correct horse battery staple"
LIFETIME = timedelta(minutes=30)
"""Of the passes: shorter than the provider's tokens, so that the deadline is what ends them."""


def main() -> None:
    """Seed, and print what the tests need to know as one JSON object."""
    addresses, now = Addresses(port=int(sys.argv[1])), timezone.now()
    call_command("migrate", verbosity=0, interactive=False)
    seeded = seed(addresses, now=now, lifetime=LIFETIME)
    seeded["clients"]["public"] = public_client(addresses)
    json.dump({**seeded, "people": people(now=now)}, sys.stdout)


def people(*, now: datetime) -> list[dict[str, Any]]:
    users = get_user_model()._default_manager
    administrator = users.get(upn=ADMINISTRATOR)
    hashed = make_password(PASSWORD)  # once: it is slow on purpose
    made = []
    for number in range(PEOPLE):
        name = f"person-{number}"
        upn = f"{name}@example.test"
        user = users.create(username=name, upn=upn, email=upn, first_name="Person", last_name=str(number))
        users.filter(pk=user.pk).update(password=hashed)
        issued = issue_pass(actor=administrator, user=user, now=now, lifetime=LIFETIME, is_usable_once=False)
        deadline = int(issued.temporary_access_pass.expires_at.timestamp())
        made.append({"upn": upn, "password": PASSWORD, "passcode": issued.passcode.reveal(), "pass_ends": deadline})
    return made


def public_client(addresses: Addresses) -> dict[str, str]:
    """Register a client without a secret, whose users are asked for their consent."""
    application_model = get_application_model()
    application = application_model.objects.create(
        client_id="public",
        name="Browser application",
        client_type=application_model.CLIENT_PUBLIC,
        authorization_grant_type=application_model.GRANT_AUTHORIZATION_CODE,
        redirect_uris=addresses.redirect_uri("public"),
        algorithm=application_model.RS256_ALGORITHM,
        skip_authorization=False,
    )
    return {"client_id": application.client_id, "client_secret": "", "redirect_uri": application.redirect_uris}
