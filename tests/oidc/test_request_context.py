"""How the sign-in reaches the toolkit's validator: put there by us, and never believed from a client."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.http import HttpRequest
from django.test import Client
from oauth2_provider.models import get_access_token_model, get_grant_model, get_id_token_model
from oauthlib.common import Request

from tap_provider.models import SignIn
from tap_provider.oidc import request_context
from tap_provider.oidc.contexts import digest_of
from tap_provider.oidc.request_context import (
    ATTRIBUTE,
    CODE_DIGEST,
    EXCHANGED,
    GRANT,
    AuthorizationMoment,
    current_moment,
)

from .conftest import AUTHORIZE, Party

SIGN_IN = SignIn(pk=UUID(int=7))


def oauth_request(query: str = "", body: str = "") -> Request:
    return Request(f"{AUTHORIZE}?{query}", http_method="POST", body=body)


def test_take__returns_what_was_put() -> None:
    request = oauth_request()
    request_context.put(request, SIGN_IN)

    assert request_context.take(request) is SIGN_IN


def test_take__returns_nothing_where_nothing_was_put() -> None:
    assert request_context.take(oauth_request()) is None


@pytest.mark.parametrize(("query", "body"), [(f"{ATTRIBUTE}=x", ""), ("", f"{ATTRIBUTE}=x")])
def test_take__never_believes_what_a_client_sent(query: str, body: str) -> None:
    request = oauth_request(query, body)
    assert getattr(request, ATTRIBUTE) == "x"  # the trap: oauthlib answers attributes from parameters

    assert request_context.take(request) is None


@pytest.mark.parametrize("value", [str(SIGN_IN.pk), SIGN_IN.pk, {"pk": str(SIGN_IN.pk)}, True, object()])
def test_take__believes_a_sign_in_only(value: Any) -> None:
    request = oauth_request()
    request.__dict__[ATTRIBUTE] = value

    assert request_context.take(request) is None


def test_put__nothing_shadows_what_a_client_sent() -> None:
    request = oauth_request(f"{ATTRIBUTE}=x")

    request_context.put(request, None)

    assert getattr(request, ATTRIBUTE) is None


def test_put__replaces() -> None:
    request = oauth_request()
    request_context.put(request, SIGN_IN)

    request_context.put(request, None)

    assert request_context.take(request) is None


def test_code_digest_of__is_what_was_put() -> None:
    request = oauth_request()
    request_context.put(request, SIGN_IN, code_digest="digest")

    assert request_context.code_digest_of(request) == "digest"


def test_take_grant__returns_the_grant_of_this_very_code() -> None:
    request, grant = oauth_request(), get_grant_model()(code="Code")
    request_context.put_grant(request, grant)

    assert request_context.take_grant(request, "Code") is grant
    assert request_context.take_grant(request, "code") is None


@pytest.mark.parametrize("name", [CODE_DIGEST, GRANT, EXCHANGED])
def test_request__never_carries_what_a_client_sent(name: str) -> None:
    for request in (oauth_request(f"{name}=x"), oauth_request("", f"{name}=x")):
        assert getattr(request, name) == "x"

        assert request_context.code_digest_of(request) == ""
        assert request_context.take_grant(request, "x") is None
        assert request_context.exchanged(request) is None


def test_current_moment__is_nothing_outside_an_authorization_request() -> None:
    assert current_moment.get() is None


def test_current_moment__carries_request_and_sign_in() -> None:
    request = HttpRequest()
    token = current_moment.set(AuthorizationMoment(request=request, sign_in=SIGN_IN))

    moment = current_moment.get()
    current_moment.reset(token)

    assert moment is not None
    assert (moment.request, moment.sign_in) == (request, SIGN_IN)


def test_current_moment__is_over_with_its_request(full: Client, intranet: Party) -> None:
    intranet.code(full)

    assert current_moment.get() is None


def test_current_moment__is_over_even_when_the_request_fails(full: Client, intranet: Party) -> None:
    """The next request in this thread must not be answered as somebody else's."""
    intranet.application.redirect_uris = "unheard-of:/callback"
    intranet.application.save()
    asked = intranet.request(redirect_uri="unheard-of:/callback")
    full.raise_request_exception = False

    full.get(asked.url)

    assert current_moment.get() is None


# The ID token of a response, while that response's tokens are stored


def test_id_token_signed_just_now__is_known_while_its_response_is_stored_and_never_after() -> None:
    request, record = oauth_request(), get_id_token_model()()
    request.__dict__["id_token"] = record

    with request_context.signed_just_now("the.id.token", request):
        assert request_context.id_token_signed_just_now("the.id.token") is record
        assert request_context.id_token_signed_just_now("another.id.token") is None
    assert request_context.id_token_signed_just_now("the.id.token") is None


def test_id_token_signed_just_now__is_forgotten_where_storing_fails() -> None:
    request = oauth_request()
    request.__dict__["id_token"] = get_id_token_model()()

    with pytest.raises(ValueError, match="x"), request_context.signed_just_now("the.id.token", request):
        raise ValueError("x")

    assert request_context.id_token_signed_just_now("the.id.token") is None


@pytest.mark.parametrize(("signed", "record"), [(None, True), ("the.id.token", False)])
def test_id_token_signed_just_now__is_none_where_the_response_has_none(signed: str | None, record: bool) -> None:
    request = oauth_request("id_token=sent", "id_token=sent")
    if record:
        request.__dict__["id_token"] = get_id_token_model()()

    with request_context.signed_just_now(signed, request):
        assert request_context.id_token_signed_just_now("None") is None
        assert request_context.id_token_signed_just_now("sent") is None
        assert request_context.id_token_signed_just_now("the.id.token") is None


@pytest.mark.django_db
def test_access_token__belongs_to_the_id_token_of_its_response(full: Client, intranet: Party) -> None:
    """What is deleted with an ID token, or found by it, is its own response's."""
    first, second = intranet.tokens(full), intranet.tokens(full)

    for tokens in (first, second):
        stored = get_access_token_model().objects.get(token_checksum=digest_of(tokens.access_token))
        assert stored.id_token.jti == UUID(tokens.claims["jti"])
