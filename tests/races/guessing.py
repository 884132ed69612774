"""Many guesses at once, at every door of one account: the limit holds, however they are timed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from oauth2_provider.models import get_application_model

from tap_provider.models import AuditEvent

from ..conftest import all_at_once
from ..oidc.conftest import PASSWORD, TOKEN, toolkit_settings
from .scene import SIGN_IN, Scene, browser, told

GUESSES = 12
"""At each of two doors, at once; ten in all are hashed."""

LIMIT = 10


def passwords(scene: Scene) -> None:
    """Wrong passwords at the sign-in page and by the password grant (RFC 6749 §4.3), and then the right one."""
    party = scene.client("legacy")
    party.application.authorization_grant_type = get_application_model().GRANT_PASSWORD
    party.application.save()
    name = scene.kim.username

    def at_page(typed: str) -> Any:
        return browser().post(SIGN_IN, {"upn": name, "password": typed})

    def by_grant(typed: str) -> Any:
        body = {"grant_type": "password", "username": name, "password": typed, "scope": "profile"}
        return browser().post(TOKEN, {**body, **party.credentials})

    with warnings.catch_warnings(), toolkit_settings(COMPLIANT_BCP_RFC9700_PASSWORD_GRANT=False):
        warnings.simplefilter("ignore", DeprecationWarning)  # the toolkit discourages the grant
        guesses = [partial(door, f"guess {number}") for number in range(GUESSES) for door in (at_page, by_grant)]
        for outcome in all_at_once(*guesses):
            is_answer = not isinstance(outcome, Exception) and outcome.status_code < 500
            scene.expect(
                is_answer, f"a guess was answered {outcome!r}" if isinstance(outcome, Exception) else told(outcome)
            )
        refused = AuditEvent.objects.filter(kind=AuditEvent.Kind.SIGN_IN_REFUSED, user_key=str(scene.kim.pk))
        hashed = refused.count()
        scene.expect(hashed == LIMIT, f"{hashed} of {2 * GUESSES} guesses were compared")
        scene.expect(at_page(PASSWORD).status_code == 429, "the right password was taken after too many guesses")
        scene.expect(by_grant(PASSWORD).status_code == 400, "the grant took the right password after too many guesses")


RACES: dict[str, Callable[[Scene], None]] = {"guesses_at_a_password": passwords}
