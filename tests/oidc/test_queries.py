"""What it costs: statements of ours beside plain django-oauth-toolkit's for the same request.

The aims: authorization plus token request at most 4 more, userinfo at most 1 more. Statements that
only open or close a transaction are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.test import Client

from .conftest import (
    REGISTRATION_SCOPE,
    USERINFO,
    Party,
    counted,
    plain_toolkit,
    same_browser,
    session_from_before,
    sign_in_with_password,
)


@dataclass(frozen=True)
class Cost:
    authorize: int
    token: int
    userinfo: int
    introspect: int
    refresh: int | None = None

    @property
    def flow(self) -> int:
        return self.authorize + self.token


def cost_of(browser: Client, party: Party, *, scope: str = "openid profile email offline_access") -> Cost:
    """Walk the whole flow and count each step."""
    browser, party = same_browser(browser), Party(party.application)
    browser.get("/o/.well-known/jwks.json")  # loads the middleware, which asks nothing, and warms caches
    party.server.get("/o/.well-known/jwks.json")
    with counted() as authorize:
        code, asked = party.code(browser, scope=scope)
    with counted() as token:
        response = party.exchange(code, asked)
    tokens = party.read(response, nonce=asked.query["nonce"])
    with counted() as userinfo:
        assert party.server.get(USERINFO, headers={"authorization": f"Bearer {tokens.access_token}"}).status_code == 200
    with counted() as introspect:
        assert party.introspect(tokens.access_token)["active"]
    if "refresh_token" not in tokens.response:
        return Cost(authorize(), token(), userinfo(), introspect())
    with counted() as refresh:
        assert party.refresh(tokens.refresh_token).status_code == 200
    return Cost(authorize(), token(), userinfo(), introspect(), refresh())


def costs(browser: Client, party: Party) -> tuple[Cost, Cost]:
    """Return what plain django-oauth-toolkit and what ours costs, in the same session."""
    with plain_toolkit():
        plain = cost_of(browser, party)
    return plain, cost_of(browser, party)


HELD = 2 if connection.vendor == "mysql" else 1
"""What it costs to hold a sign-in while a code or a token of it is stored: on MariaDB its user as well."""


def test_full_session__authorization_and_token_cost_no_statement_more(full: Client, intranet: Party) -> None:
    plain, ours = costs(full, intranet)

    # The session's sign-in, the client's row, the code's context; one look-up of the application less.
    assert (plain.authorize, ours.authorize) == (6, 8 + HELD)
    # The code's context and the tokens' contexts; four look-ups of the grant less, and the ID token is not read again.
    assert (plain.token, ours.token) == (16, 12 + HELD)
    assert ours.flow == plain.flow - 2 + 2 * HELD


def test_full_session__userinfo_costs_one_statement_more(full: Client, intranet: Party) -> None:
    plain, ours = costs(full, intranet)

    assert (plain.userinfo, ours.userinfo) == (1, 2)


def test_full_session__introspection_costs_one_statement_more(full: Client, intranet: Party) -> None:
    plain, ours = costs(full, intranet)

    assert ours.introspect == plain.introspect + 1


def test_full_session__refresh_costs_three_statements_more(full: Client, intranet: Party) -> None:
    plain, ours = costs(full, intranet)

    assert plain.refresh is not None
    # The client's minimum, which may have been raised since; the sign-in and the refresh token, which are held.
    assert ours.refresh == plain.refresh + 2 + HELD


def test_full_session__costs_do_not_grow_with_what_was_issued_before(full: Client, intranet: Party) -> None:
    first = cost_of(full, intranet)
    for _ in range(3):
        intranet.tokens(full)

    assert cost_of(full, intranet) == first


def test_full_session__of_a_client_that_may_host_registration_costs_the_same(
    full: Client, intranet: Party, portal: Party
) -> None:
    """Whether a client may host registration is asked in registration-only sessions only."""
    assert cost_of(full, portal) == cost_of(full, intranet)


def test_adopted_session__costs_its_adoption_once(kim: Any, intranet: Party) -> None:
    adopted, known = session_from_before(kim), sign_in_with_password(kim)
    first = cost_of(adopted, intranet)

    assert first.authorize > cost_of(known, intranet).authorize
    assert cost_of(adopted, intranet) == cost_of(known, intranet)


def test_registration_only_session__costs_are_known(holder: Client, portal: Party) -> None:
    """No figure is asked of it; these are recorded, so that a change of them is noticed.

    Each time that the scope `method_registration` is granted or told, the client's right to it is asked for.
    """
    cost = cost_of(holder, portal, scope=REGISTRATION_SCOPE)

    assert cost == Cost(authorize=13 + HELD, token=14 + HELD, userinfo=3, introspect=5)
