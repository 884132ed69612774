"""Contexts and relying parties: what is kept, by which key, and what a missing row grants (nothing)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from oauth2_provider.models import get_access_token_model, get_grant_model

from tap_provider.models import SignIn
from tap_provider.oidc.contexts import sign_in_of_code, sign_in_of_token
from tap_provider.oidc.models import CodeContext, RelyingParty, TokenContext, may_host_registration

from .conftest import Party, counted, sign_in_of


@pytest.mark.parametrize("granted", [True, False])
def test_may_host_registration__is_what_the_row_says(make_party: Callable[..., Party], granted: bool) -> None:
    make_party("portal", may_host_registration=granted)

    assert may_host_registration("portal") is granted


def test_may_host_registration__is_granted_to_nobody_without_a_row(make_party: Callable[..., Party]) -> None:
    make_party("portal", may_host_registration=True)
    make_party("unknown-to-us")

    assert not may_host_registration("unknown-to-us")
    assert not may_host_registration("no-such-client")


@pytest.mark.django_db
def test_relying_party__may_host_registration_is_off_unless_somebody_turns_it_on() -> None:
    assert not RelyingParty.objects.create(client_id="new").may_host_registration
    assert not may_host_registration("new")


@pytest.mark.parametrize(
    "client_id",
    ["", None, 7, "port", "portal\x00", "\x00", "\U0001f511", "%", pytest.param("x" * 100_000, id="endless")],
)
def test_may_host_registration__answers_no_to_whatever_is_no_client_id(
    make_party: Callable[..., Party], client_id: Any
) -> None:
    """PostgreSQL refuses to look up a NUL byte: the client id comes from the address line of anybody."""
    make_party("portal", may_host_registration=True)

    assert not may_host_registration(client_id)


def test_may_host_registration__costs_one_query(portal: Party) -> None:
    with counted() as queries:
        may_host_registration("portal")

    assert queries() == 1


@pytest.mark.django_db
def test_relying_party__is_one_per_client() -> None:
    RelyingParty.objects.create(client_id="portal")

    with pytest.raises(IntegrityError), transaction.atomic():
        RelyingParty.objects.create(client_id="portal", may_host_registration=True)


def test_relying_party_admin__lists_and_changes_what_a_client_may(admin: Any, portal: Party) -> None:
    browser = Client()
    browser.force_login(admin, "tap_provider.backends.ModelBackend")
    row = RelyingParty.objects.get(client_id="portal")

    assert b"portal" in browser.get("/admin/tap_provider_oidc/relyingparty/").content
    response = browser.post(f"/admin/tap_provider_oidc/relyingparty/{row.pk}/change/", {"client_id": "portal"})

    assert response.status_code == 302
    assert not may_host_registration("portal")


def test_contexts__never_hold_a_code_or_token_in_clear(full: Client, intranet: Party) -> None:
    code, asked = intranet.code(full)
    tokens = intranet.read(intranet.exchange(code, asked), nonce=asked.query["nonce"])

    rows = [*CodeContext.objects.values(), *TokenContext.objects.values()]
    assert len(rows) == 3
    kept = " ".join(str(value) for row in rows for value in row.values())
    for secret in (code, tokens.access_token, tokens.refresh_token):
        assert secret not in kept


def test_contexts__do_not_depend_on_the_models_that_a_site_may_swap() -> None:
    for model in (CodeContext, TokenContext):
        related = [field.related_model for field in model._meta.get_fields() if field.is_relation]
        assert related == [SignIn]


def test_contexts__secrets_of_one_kind_are_not_found_as_another(holder: Client, portal: Party) -> None:
    code, asked = portal.code(holder)
    tokens = portal.read(portal.exchange(code, asked), nonce=asked.query["nonce"])

    assert sign_in_of_code(code) == sign_in_of(holder)
    assert sign_in_of_token(tokens.access_token) == sign_in_of(holder)
    assert sign_in_of_token(code) is None
    assert sign_in_of_code(tokens.access_token) is None
    assert portal.userinfo(code).status_code == 401
    assert portal.introspect(code) == {"active": False}


def test_contexts__outlive_the_code_but_not_the_sign_in(holder: Client, portal: Party) -> None:
    portal.tokens(holder)
    assert not get_grant_model().objects.exists()
    assert CodeContext.objects.count() == 1

    get_access_token_model().objects.all().delete()
    SignIn.objects.all().delete()

    assert not CodeContext.objects.exists()
    assert not TokenContext.objects.exists()


def test_contexts__say_which_without_telling_the_secret(holder: Client, portal: Party) -> None:
    portal.tokens(holder)

    context = TokenContext.objects.get()
    assert str(context) == f"{context.digest[:8]} · {sign_in_of(holder).pk}"
    assert str(RelyingParty.objects.get()) == "portal"
