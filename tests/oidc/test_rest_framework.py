"""The same demands in django-rest-framework: RFC 6750 §3 and RFC 9470 §3, over its authentication and permissions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import include, path
from django.utils import timezone
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from tap_provider.models import SignIn
from tap_provider.oidc.rest_framework import AccessTokenAuthentication, access_token_demanded

from .conftest import (
    ENDS_OF_FULL_SESSION,
    MULTI_FACTOR_ACR,
    PHISHING_RESISTANT_ACR,
    REGISTRATION_SCOPE,
    TOKEN,
    Party,
    counted,
    session_from_before,
    sign_in_with_totp,
)
from .test_resource_server import challenge_of, refused_for_authentication

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


class Resource(APIView):
    authentication_classes = [AccessTokenAuthentication]

    def get(self, request: Request) -> Response:
        context = request.auth and request.auth.context
        return Response(
            {
                "user": request.user.get_username(),
                "claims": context and context.claims,
                "same": context is None or request.auth_context is context,
            }
        )

    def post(self, request: Request) -> Response:
        return Response({"user": request.user.get_username(), "data": request.data})


def resource(*permissions: Any, authentications: Any = (AccessTokenAuthentication,)) -> Any:
    return Resource.as_view(permission_classes=permissions, authentication_classes=authentications)


demanded = access_token_demanded
urlpatterns = [
    path("", include("example_project.urls")),
    path("api/open/", resource(AllowAny)),
    path("api/authenticated/", resource(IsAuthenticated)),
    path("api/any/", resource(demanded())),
    path("api/machine/", resource(demanded(needs_user=False))),
    path("api/multi-factor/", resource(demanded(level="multi_factor"), IsAuthenticated)),
    path("api/fresh/", resource(demanded(acr_values=["phr", MULTI_FACTOR_ACR], max_age=300))),
    path("api/email/", resource(demanded(scopes=["email"]))),
    path("api/register/", resource(demanded(scopes=["method_registration"]), IsAuthenticated)),
    path("api/by-session/", resource(demanded(), authentications=[SessionAuthentication])),
    path("api/either/", resource(IsAuthenticated, authentications=[AccessTokenAuthentication, SessionAuthentication])),
]


def ask(name: str, token: str | None = None, browser: Client | None = None, **extra: Any) -> Any:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    return (browser or Client(enforce_csrf_checks=True)).get(f"/api/{name}/", headers=headers, **extra)


# RFC 6750 §3


@pytest.mark.compliance("RFC 6750 §3.1")
@pytest.mark.parametrize("name", ["any", "multi-factor", "authenticated", "email"])
def test_rfc6750_3_1__without_a_token_no_error_is_told(name: str, intranet: Party) -> None:
    response = ask(name)

    assert (response.status_code, challenge_of(response)) == (401, {"realm": "api"})


@pytest.mark.compliance("RFC 6750 §3.1")
def test_rfc6750_3_1__an_unknown_token_is_invalid(intranet: Party) -> None:
    response = ask("open", "unknown")

    assert response.status_code == 401
    assert challenge_of(response)["error"] == "invalid_token"
    assert "not valid" in response.json()["detail"]


@pytest.mark.compliance("RFC 6750 §3.1")
@pytest.mark.parametrize("way", ENDS_OF_FULL_SESSION)
def test_invalid_token__once_the_sign_in_is_over(
    way: str, full: Client, intranet: Party, end_by: Callable[[str, Client], None]
) -> None:
    token = intranet.tokens(full).access_token
    assert ask("any", token).status_code == 200

    end_by(way, full)

    response = ask("any", token)
    assert (response.status_code, challenge_of(response)["error"]) == (401, "invalid_token")


@pytest.mark.compliance("RFC 6750 §3.1")
def test_rfc6750_3_1__a_missing_scope_is_forbidden_and_named(full: Client, intranet: Party) -> None:
    response = ask("email", intranet.tokens(full, scope="openid").access_token)

    assert response.status_code == 403
    challenge = challenge_of(response)
    assert (challenge["error"], challenge["scope"]) == ("insufficient_scope", "email")


# RFC 9470 §3


@pytest.mark.compliance("RFC 9470 §3")
def test_rfc9470_3__too_weak_is_told_which_acr_would_do(full: Client, intranet: Party) -> None:
    response = ask("multi-factor", intranet.tokens(full).access_token)

    assert refused_for_authentication(response) == {"acr_values": f"{MULTI_FACTOR_ACR} {PHISHING_RESISTANT_ACR}"}
    assert response.json() == {"detail": "A different authentication level is required."}


@pytest.mark.compliance("RFC 9470 §3")
def test_rfc9470_3__too_old_is_told_the_age(kim: Any, full: Client, intranet: Party) -> None:
    browser = sign_in_with_totp(kim)
    assert ask("fresh", intranet.tokens(browser).access_token).status_code == 200

    SignIn.objects.update(authenticated_at=timezone.now() - timedelta(seconds=301))
    response = ask("fresh", intranet.tokens(browser).access_token)

    assert refused_for_authentication(response) == {"acr_values": f"phr {MULTI_FACTOR_ACR}", "max_age": "300"}


@pytest.mark.compliance("RFC 9470 §3")
def test_rfc9470__strong_enough_is_let_in(kim: Any, full: Client, intranet: Party) -> None:
    tokens = intranet.tokens(sign_in_with_totp(kim))

    response = ask("multi-factor", tokens.access_token)

    claims = {key: tokens.claims[key] for key in ("acr", "amr", "auth_time", "sid")}
    assert response.json() == {"user": "kim", "claims": claims, "same": True}


@pytest.mark.compliance("RFC 9470 §3")
def test_rfc9470__an_adopted_session_meets_no_demand(kim: Any, intranet: Party) -> None:
    token = intranet.tokens(session_from_before(kim)).access_token

    assert ask("any", token).status_code == 200
    refused_for_authentication(ask("fresh", token))


# A pass


@pytest.mark.compliance("RFC 9470 §3")
@pytest.mark.parametrize("name", ["any", "multi-factor", "email"])
def test_pass__opens_no_view_but_those_of_registration(name: str, holder: Client, portal: Party) -> None:
    refused_for_authentication(ask(name, portal.tokens(holder, scope=REGISTRATION_SCOPE).access_token))


def test_pass__leaves_its_holder_anonymous_where_no_demand_is_made(holder: Client, portal: Party) -> None:
    """A view that only asks for somebody signed in is closed by construction."""
    token = portal.tokens(holder, scope=REGISTRATION_SCOPE).access_token

    assert ask("authenticated", token).status_code == 403
    assert ask("either", token).status_code == 403
    assert ask("open", token).json()["user"] == ""


def test_pass__opens_a_view_that_demands_the_scope_of_registration(holder: Client, robin: Any, portal: Party) -> None:
    response = ask("register", portal.tokens(holder, scope=REGISTRATION_SCOPE).access_token)

    assert response.status_code == 200
    assert response.json()["user"] == robin.get_username()


# Beside others


def test_authentication__leaves_others_to_theirs(full: Client, intranet: Party) -> None:
    assert ask("either", browser=full).json()["user"] == "kim"
    assert full.get("/api/either/", headers={"authorization": "Basic eDp5"}).json()["user"] == "kim"


@pytest.mark.parametrize("name", ["open", "any", "multi-factor", "email"])
@pytest.mark.parametrize("has_token", [True, False])
def test_response__varies_by_the_token(name: str, has_token: bool, full: Client, intranet: Party) -> None:
    response = ask(name, intranet.tokens(full).access_token if has_token else None)

    assert "Authorization" in response.headers["Vary"].split(", ")


def test_permission__of_whoever_came_without_a_token_is_refused(full: Client) -> None:
    response = ask("by-session", browser=full)

    assert (response.status_code, challenge_of(response)) == (401, {"realm": "api"})


def test_authentication__of_nobodys_token_is_anonymous(make_party: Callable[..., Party]) -> None:
    party = make_party("machine", authorization_grant_type="client-credentials")
    body = {"grant_type": "client_credentials", "scope": "profile", **party.credentials}
    token = party.server.post(TOKEN, body).json()["access_token"]

    assert ask("machine", token).json() == {"user": "", "claims": None, "same": True}
    assert ask("any", token).status_code == 401
    assert ask("authenticated", token).status_code == 403


def test_authentication__leaves_the_body_to_the_view(full: Client, intranet: Party) -> None:
    token = intranet.tokens(full).access_token

    response = Client(enforce_csrf_checks=True).post(
        "/api/any/", {"amount": 5}, content_type="application/json", headers={"authorization": f"Bearer {token}"}
    )

    assert response.json() == {"user": "kim", "data": {"amount": 5}}


def test_authentication__judges_the_token_before_it_reads_the_body(intranet: Party) -> None:
    response = Client().post(
        "/api/any/", "{broken", content_type="application/json", headers={"authorization": "Bearer unknown"}
    )

    assert response.status_code == 401


def test_cost__two_statements(full: Client, intranet: Party) -> None:
    token = intranet.tokens(full).access_token
    ask("any", token)
    with counted() as statements:
        assert ask("any", token).status_code == 200

    assert statements() == 2
