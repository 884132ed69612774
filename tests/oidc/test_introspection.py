"""Introspection: RFC 7662, and what RFC 9470 §6.2 adds to it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_application_model

from tap_provider.models import SignIn
from tap_provider.oidc.contexts import digest_of
from tap_provider.oidc.models import TokenContext

from ..conftest import HOUR, MINUTE
from .conftest import (
    ENDS_OF_FULL_SESSION,
    ENDS_OF_REGISTRATION,
    INTROSPECT,
    ISSUER,
    MULTI_FACTOR_ACR,
    PASSWORD,
    REGISTRATION_SCOPE,
    TOKEN,
    Party,
    answer_of,
    counted,
    seconds,
    session_from_before,
    sign_in_of,
    toolkit_settings,
)


@pytest.mark.compliance("RFC 7662 §2.2", "RFC 9470 §6.2")
def test_introspection__tells_the_context(holder: Client, robin: Any, portal: Party) -> None:
    """RFC 9470 §6.2."""
    SignIn.objects.update(authenticated_at=timezone.now() - HOUR)
    tokens = portal.tokens(holder, scope=REGISTRATION_SCOPE)
    sign_in = sign_in_of(holder)

    answer = portal.introspect(tokens.access_token)

    assert answer == {
        "active": True,
        "client_id": "portal",
        "scope": REGISTRATION_SCOPE,
        "exp": seconds(get_access_token_model().objects.get().expires),
        "token_type": "Bearer",
        "iss": ISSUER,
        "username": robin.get_username(),
        "sub": str(robin.pk),
        "acr": MULTI_FACTOR_ACR,
        "amr": ["mfa", "tap"],
        "auth_time": seconds(sign_in.authenticated_at),
        "sid": str(sign_in.pk),
    }


@pytest.mark.compliance("RFC 9470 §6.2")
def test_introspection__agrees_with_the_id_token(full: Client, intranet: Party) -> None:
    tokens = intranet.tokens(full)

    answer = intranet.introspect(tokens.access_token)

    for name in ("iss", "sub", "acr", "amr", "auth_time", "sid"):
        assert answer[name] == tokens.claims[name]


@pytest.mark.compliance("RFC 9470 §6.2")
def test_introspection__of_an_adopted_session_tells_no_time(kim: Any, intranet: Party) -> None:
    tokens = intranet.tokens(session_from_before(kim))

    assert "auth_time" not in intranet.introspect(tokens.access_token)


@pytest.mark.compliance("RFC 7662 §2.2")
@pytest.mark.parametrize("way", ENDS_OF_REGISTRATION)
def test_introspection__is_inactive_once_the_registration_only_session_is_over(
    way: str, holder: Client, portal: Party, end_by: Callable[[str, Client], None]
) -> None:
    tokens = portal.tokens(holder)
    assert portal.introspect(tokens.access_token)["active"]

    end_by(way, holder)

    assert portal.introspect(tokens.access_token) == {"active": False}


@pytest.mark.compliance("RFC 7662 §2.2")
@pytest.mark.parametrize("way", ENDS_OF_FULL_SESSION)
def test_introspection__is_inactive_once_the_full_session_is_over(
    way: str, full: Client, intranet: Party, end_by: Callable[[str, Client], None]
) -> None:
    tokens = intranet.tokens(full)
    assert intranet.introspect(tokens.access_token)["active"]

    end_by(way, full)

    assert intranet.introspect(tokens.access_token) == {"active": False}


@pytest.mark.compliance("RFC 7662 §2.2")
def test_introspection__of_a_token_expired_is_inactive(full: Client, intranet: Party) -> None:
    tokens = intranet.tokens(full)

    get_access_token_model().objects.update(expires=timezone.now())

    assert intranet.introspect(tokens.access_token) == {"active": False}


@pytest.mark.parametrize("method", ["get", "post"])
def test_introspection__is_the_same_by_either_method(full: Client, intranet: Party, method: str) -> None:
    tokens = intranet.tokens(full)
    basic = b64encode(f"{intranet.client_id}:{intranet.secret}".encode()).decode()

    response = getattr(intranet.server, method)(
        INTROSPECT, {"token": tokens.access_token}, headers={"authorization": f"Basic {basic}"}
    )

    assert response.json() == intranet.introspect(tokens.access_token)


@pytest.mark.compliance("RFC 7662 §2.2")
@pytest.mark.parametrize("token", ["", "unknown", "é", "\U0001f511", pytest.param("x" * 100_000, id="endless")])
def test_introspection__of_what_is_no_token_is_inactive(intranet: Party, token: str) -> None:
    assert intranet.introspect(token) == {"active": False}


@pytest.mark.compliance("RFC 7662 §2.1")
def test_introspection__without_a_token_is_invalid(intranet: Party) -> None:
    response = intranet.server.post(INTROSPECT, intranet.credentials)

    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


@pytest.mark.compliance("RFC 7662 §2.3")
def test_introspection__needs_a_clients_credentials(full: Client, intranet: Party) -> None:
    token = {"token": intranet.tokens(full).access_token}
    wrong = {"client_id": intranet.client_id, "client_secret": "wrong"}

    for browser in (Client(), full):
        for credentials in ({}, wrong, {"client_id": "nobody", "client_secret": "wrong"}):
            response = browser.post(INTROSPECT, {**token, **credentials})
            assert (response.status_code, response.json()) == (401, {"error": "invalid_client"})
    basic = b64encode(f"{intranet.client_id}:wrong".encode()).decode()
    response = Client().post(INTROSPECT, token, headers={"authorization": f"Basic {basic}"})
    assert (response.status_code, response.json()) == (401, {"error": "invalid_client"})
    assert response.headers["WWW-Authenticate"].startswith("Basic ")


@pytest.mark.compliance("RFC 7662 §2.3")
def test_introspection__by_a_token_that_may_not(full: Client, intranet: Party) -> None:
    """RFC 6750 §3.1: a 401 where the token is no good, a 403 where it lacks the scope."""
    mine = intranet.tokens(full).access_token
    for token, status, error in (("unknown", 401, "invalid_token"), (mine, 403, "insufficient_scope")):
        response = Client().post(INTROSPECT, {"token": mine}, headers={"authorization": f"Bearer {token}"})
        assert response.status_code == status
        assert response.headers["WWW-Authenticate"].startswith("Bearer ")
        assert f'error="{error}"' in response.headers["WWW-Authenticate"]
        assert not response.content


@pytest.mark.compliance("RFC 7662 §2.2")
def test_introspection__of_a_token_with_an_audience_keeps_it(full: Client, intranet: Party) -> None:
    """RFC 8707; whatever the toolkit tells beside the context stays."""
    tokens = intranet.tokens(full, resource="https://api.test/")

    answer = intranet.introspect(tokens.access_token)

    assert answer["aud"] == ["https://api.test/"]
    assert answer["amr"] == ["pwd"]


@pytest.mark.compliance("RFC 7662 §2.2")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
def test_introspection__of_a_deactivated_users_token_without_a_sign_in_is_inactive(
    kim: Any, make_party: Callable[..., Party]
) -> None:
    party = make_party("legacy", authorization_grant_type=get_application_model().GRANT_PASSWORD)
    with toolkit_settings(COMPLIANT_BCP_RFC9700_PASSWORD_GRANT=False):
        body = {"grant_type": "password", "username": "kim", "password": PASSWORD, "scope": "profile"}
        token = party.server.post("/o/token/", {**body, **party.credentials}).json()["access_token"]
    assert party.introspect(token)["active"]

    kim.is_active = False
    kim.save()

    assert party.introspect(token) == {"active": False}


@pytest.mark.compliance("RFC 7662 §2.2")
def test_introspection__names_the_issuer_by_the_request_where_none_is_set(full: Client, intranet: Party) -> None:
    """RFC 7662 §2.2, as the ID token names it (OpenID Connect Core §2)."""
    tokens = intranet.tokens(full)

    with toolkit_settings(OIDC_ISS_ENDPOINT=None):
        assert intranet.introspect(tokens.access_token)["iss"] == "http://testserver/o"


@pytest.mark.compliance("RFC 7662 §2.2", "RFC 6749 §5.1")
@pytest.mark.parametrize("deadline_in", [timedelta(minutes=5), None])
def test_introspection__ends_to_the_second_when_the_response_and_the_database_say(
    deadline_in: timedelta | None, holder: Client, full: Client, portal: Party
) -> None:
    """RFC 7662 §2.2 `exp`; RFC 6749 §5.1 `expires_in`."""
    browser = full
    if deadline_in is not None:
        browser = holder
        SignIn.objects.filter(pk=sign_in_of(holder).pk).update(deadline=timezone.now() + deadline_in)
    code, asked = portal.code(browser)

    before = timezone.now()
    answer = portal.exchange(code, asked).json()
    after = timezone.now()

    exp = portal.introspect(answer["access_token"])["exp"]
    row = get_access_token_model().objects.get(token_checksum=digest_of(answer["access_token"]))
    assert exp == seconds(row.expires)
    assert seconds(before) <= exp - answer["expires_in"] <= seconds(after) + 1  # whole seconds are told


def test_introspection__without_a_sign_in_names_the_user_and_no_context(full: Client, intranet: Party) -> None:
    """As one from before the installation: what is not known is left out."""
    token = intranet.tokens(full).access_token
    TokenContext.objects.all().delete()

    answer = intranet.introspect(token)

    assert answer["sub"] == str(sign_in_of(full).user_id)
    assert not {"acr", "amr", "auth_time", "sid"} & set(answer)


@pytest.mark.compliance("RFC 7662 §2.2")
def test_introspection__of_nobodys_token_names_no_subject(make_party: Callable[..., Party]) -> None:
    party = make_party("machine", authorization_grant_type="client-credentials")
    body = {"grant_type": "client_credentials", "scope": "profile", **party.credentials}
    token = party.server.post(TOKEN, body).json()["access_token"]

    with counted() as unknown:
        party.introspect("unknown")
    with counted() as known:
        answer = party.introspect(token)

    assert known() == unknown()  # nobody signed in, so no context is looked for
    assert (answer["active"], answer["token_type"], answer["iss"]) == (True, "Bearer", ISSUER)
    assert not {"sub", "username", "acr", "sid"} & set(answer)


def test_introspection__is_inactive_where_the_sign_in_is_somebody_elses(
    full: Client, robin: Any, intranet: Party
) -> None:
    """Peer failure 5: whatever brought a token together with another user's sign-in."""
    token = intranet.tokens(full).access_token
    get_access_token_model().objects.update(user=robin)

    assert intranet.introspect(token) == {"active": False}


@pytest.mark.compliance("RFC 9470 §6.2")
def test_introspection__tells_what_the_sign_in_was_when_the_token_was_issued(full: Client, intranet: Party) -> None:
    token = intranet.tokens(full).access_token
    SignIn.objects.update(amr=["hwk"], level="phishing_resistant", authenticated_at=timezone.now() + MINUTE)

    answer = intranet.introspect(token)

    assert answer["amr"] == ["pwd"]
    assert answer["auth_time"] <= seconds(timezone.now())


@pytest.mark.parametrize(("has_sign_in", "statements"), [(True, 1), (False, 2)])
def test_introspection__costs_one_statement_for_the_token_and_one_for_each_kind_of_context(
    has_sign_in: bool, statements: int, full: Client, intranet: Party
) -> None:
    token = intranet.tokens(full).access_token
    if not has_sign_in:
        TokenContext.objects.all().delete()
    with counted() as unknown:
        intranet.introspect("unknown")
    with counted() as known:
        intranet.introspect(token)

    assert known() == unknown() + statements


# Who may introspect what (RFC 7662 §2.1, §2.2, §4)


@pytest.fixture
def theirs(full: Client, intranet: Party) -> str:
    """A token of another client's."""
    return intranet.tokens(full).access_token


@pytest.mark.compliance("RFC 7662 §2.1")
def test_introspection__an_administrators_resource_server_introspects_tokens_of_other_clients(
    theirs: str, make_party: Callable[..., Party]
) -> None:
    assert make_party("api").introspect(theirs)["active"]


@pytest.mark.compliance("RFC 7662 §2.2", "RFC 7662 §4")
@pytest.mark.parametrize("source", ["manual", "dcr", "cimd"])
def test_introspection__of_another_clients_token_is_inactive_to_one_that_registered_itself(
    source: str, theirs: str, robin: Any, make_party: Callable[..., Party]
) -> None:
    """`manual` and of a user without the permission: as the toolkit's own page would register it."""
    user = robin if source == "manual" else None
    party = make_party("self-made", authorization_grant_type="client-credentials", user=user)
    get_application_model().objects.filter(client_id="self-made").update(registration_source=source)
    body = {"grant_type": "client_credentials", "scope": "profile", **party.credentials}
    own = party.server.post(TOKEN, body).json()["access_token"]

    assert party.introspect(theirs) == {"active": False}
    assert party.introspect(own)["active"]


def test_introspection__an_application_of_a_user_who_may_add_them_is_an_administrators(
    theirs: str, admin: Any, make_party: Callable[..., Party]
) -> None:
    party = make_party("api", user=admin)
    assert party.introspect(theirs)["active"]

    admin.is_superuser = False
    admin.save()

    assert party.introspect(theirs) == {"active": False}


@pytest.mark.compliance("RFC 7662 §2.1")
@pytest.mark.parametrize("extra", [{}, {"grant_type": "urn:ietf:params:oauth:grant-type:device_code"}])
@pytest.mark.parametrize("basic", [True, False])
def test_introspection__is_closed_to_public_clients(
    basic: bool, extra: dict[str, str], theirs: str, make_party: Callable[..., Party]
) -> None:
    """The toolkit takes a public client for authenticated where the request names the device grant."""
    party = make_party("public", client_type="public", client_secret="")
    headers = {"authorization": f"Basic {b64encode(b'public:').decode()}"} if basic else {}
    body = {"token": theirs, **extra, **({} if basic else {"client_id": "public"})}

    response = party.server.post(INTROSPECT, body, headers=headers)

    assert (response.status_code, response.json()) == (401, {"error": "invalid_client"})


@pytest.mark.compliance("RFC 6749 §2.3.1")
def test_introspection__takes_no_client_secret_from_the_query(theirs: str, intranet: Party) -> None:
    response = intranet.server.post(INTROSPECT, {"token": theirs}, query_params=intranet.credentials)

    assert (response.status_code, response.json()) == (401, {"error": "invalid_client"})


@pytest.mark.compliance("RFC 7662 §2.1")
@pytest.mark.parametrize(
    ("fields", "may"),
    [({}, True), ({"client_type": "public", "client_secret": ""}, False), ({"registration_source": "dcr"}, False)],
)
def test_introspection_scope__is_granted_to_clients_that_may_introspect_others(
    fields: dict[str, str], may: bool, theirs: str, full: Client, make_party: Callable[..., Party]
) -> None:
    party = make_party("asking", **fields)
    with toolkit_settings(SCOPES={"openid": "", "introspection": "Introspect tokens"}):
        answer = answer_of(full.get(party.request(scope="openid introspection").url))
        assert answer.get("error") == (None if may else "invalid_scope")


def test_introspection_scope__is_worth_nothing_once_its_client_may_not(
    theirs: str, full: Client, make_party: Callable[..., Party]
) -> None:
    party = make_party("asking")
    with toolkit_settings(SCOPES={"openid": "", "introspection": "Introspect tokens"}):
        token = party.tokens(full, scope="openid introspection").access_token
        bearer = {"authorization": f"Bearer {token}"}
        assert Client().post(INTROSPECT, {"token": theirs}, headers=bearer).json()["active"]
        get_application_model().objects.filter(client_id="asking").update(registration_source="dcr")
        response = Client().post(INTROSPECT, {"token": theirs}, headers=bearer)

    assert response.status_code == 403
    assert 'error="insufficient_scope"' in response.headers["WWW-Authenticate"]
