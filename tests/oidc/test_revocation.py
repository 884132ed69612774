"""Signing out everywhere: every token and code of the user's dies, whatever stands behind it, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_otp.plugins.otp_totp.models import TOTPDevice
from oauth2_provider.models import (
    get_access_token_model,
    get_application_model,
    get_device_grant_model,
    get_grant_model,
    get_id_token_model,
    get_refresh_token_model,
)

from tap_provider.models import SignIn
from tap_provider.oidc.contexts import remember_code
from tap_provider.oidc.device_codes import DEVICE_CODE_GRANT
from tap_provider.oidc.models import LogoutDelivery, RelyingParty
from tap_provider.sign_in import Client as Origin
from tap_provider.sign_out import sign_out_everywhere

from .conftest import (
    PASSWORD,
    TOKEN,
    Party,
    Tokens,
    deactivate,
    session_from_before,
    sign_in_of,
    sign_in_with_passkey,
    sign_in_with_password,
    toolkit_settings,
)
from .test_validator import ask_resource, from_before

NEW = "another-long-enough-phrase"
EVERYWHERE = "/account/security-info/sign-out-everywhere/"


def everywhere(browser: Client, *, keep: bool) -> None:
    """Sign out everywhere, as the page does."""
    response = browser.post(EVERYWHERE, {"here": "stay" if keep else "leave"})
    assert "notice=signed_out_everywhere" in response["Location"]


def is_dead(party: Party, tokens: Tokens) -> bool:
    """Tell whether it is dead at every door; some are, some are not, is a failure."""
    answers = {
        "userinfo": party.userinfo(tokens.access_token).status_code == 200,
        "introspection": party.introspect(tokens.access_token)["active"],
        "resource": ask_resource(tokens.access_token).status_code == 200,
        "refresh": party.refresh(tokens.refresh_token).status_code == 200,
    }
    assert len(set(answers.values())) == 1, answers
    return not any(answers.values())


# What a sign-in stands behind


@pytest.mark.parametrize("keep", [True, False])
def test_sign_out_everywhere__kills_every_token_but_those_of_the_sign_in_that_is_kept(
    kim: Any, admin: Any, intranet: Party, keep: bool
) -> None:
    here, there = sign_in_with_password(kim), sign_in_with_password(kim)
    others = Client()
    others.post("/account/sign-in/", {"upn": admin.username, "password": "admin-password"})
    mine, theirs, another = (intranet.tokens(browser) for browser in (here, there, others))

    everywhere(here, keep=keep)

    assert is_dead(intranet, theirs)
    assert is_dead(intranet, mine) is not keep
    assert not is_dead(intranet, another)


def test_sign_out_everywhere__a_code_of_the_sign_in_that_is_kept_is_still_good(kim: Any, intranet: Party) -> None:
    here, there = sign_in_with_password(kim), sign_in_with_password(kim)
    (code, asked), (other_code, other_asked) = intranet.code(here), intranet.code(there)

    everywhere(here, keep=True)

    assert intranet.exchange(other_code, other_asked).status_code == 400
    assert intranet.exchange(code, asked).status_code == 200


def test_sign_out_everywhere__what_was_refreshed_by_the_sign_in_that_is_kept_lives(kim: Any, intranet: Party) -> None:
    here = sign_in_with_password(kim)
    refreshed = intranet.read(intranet.refresh(intranet.tokens(here).refresh_token), nonce=None)

    everywhere(here, keep=True)

    assert intranet.userinfo(refreshed.access_token).status_code == 200
    assert intranet.refresh(refreshed.refresh_token).status_code == 200


def test_sign_out_everywhere__deletes_nothing_that_ends_with_its_sign_in(kim: Any, intranet: Party) -> None:
    """A refresh may hold these rows, and wait for the ending to let go of the sign-in."""
    here, there = sign_in_with_password(kim), sign_in_with_password(kim)
    tokens = intranet.tokens(there)
    code, asked = intranet.code(there)

    everywhere(here, keep=True)

    assert get_access_token_model().objects.count() == get_refresh_token_model().objects.count() == 1
    assert get_grant_model().objects.count() == 1
    assert is_dead(intranet, tokens)
    assert intranet.exchange(code, asked).status_code == 400


@pytest.mark.parametrize("keep", [True, False])
def test_sign_out_everywhere__queues_a_logout_token_for_each_client_of_each_sign_in(
    kim: Any, intranet: Party, make_party: Callable[..., Party], keep: bool
) -> None:
    wiki = make_party("wiki", may_host_registration=False)
    for party in (intranet, wiki):
        row = RelyingParty.objects.filter(client_id=party.client_id)
        row.update(backchannel_logout_uri=f"https://{party.client_id}.test/")
    here, there, elsewhere = (sign_in_with_password(kim) for _ in range(3))
    ids = [sign_in_of(browser).pk for browser in (here, there, elsewhere)]
    for party, browser in ((intranet, here), (intranet, there), (wiki, there), (wiki, elsewhere)):
        party.tokens(browser)

    everywhere(here, keep=keep)

    queued = set(LogoutDelivery.objects.values_list("client_id", "sign_in_id"))
    told = {("intranet", ids[1]), ("wiki", ids[1]), ("wiki", ids[2])}
    assert queued == (told if keep else {*told, ("intranet", ids[0])})
    assert LogoutDelivery.objects.count() == len(queued)


# What none stands behind


@pytest.mark.parametrize("keep", [True, False])
def test_sign_out_everywhere__kills_codes_and_tokens_from_before_the_installation(
    kim: Any, intranet: Party, keep: bool
) -> None:
    _, shown = from_before(intranet, sign_in_with_password(kim))
    assert not is_dead(intranet, shown)  # which uses up what it tries
    (code, asked), before = from_before(intranet, sign_in_with_password(kim))
    here = sign_in_with_password(kim)
    mine = intranet.tokens(here)

    everywhere(here, keep=keep)

    for model in (get_access_token_model(), get_refresh_token_model(), get_id_token_model()):
        assert model.objects.filter(user=kim).count() == 1  # which ends with the sign-in behind it
    assert not get_grant_model().objects.exists()
    assert intranet.exchange(code, asked).status_code == 400
    assert is_dead(intranet, before)
    assert is_dead(intranet, mine) is not keep


def test_sign_out_everywhere__kills_refresh_tokens_at_once_where_the_site_grants_them_grace(
    kim: Any, intranet: Party
) -> None:
    _, before = from_before(intranet, sign_in_with_password(kim))
    with toolkit_settings(REFRESH_TOKEN_GRACE_PERIOD_SECONDS=300):
        refreshed = intranet.read(intranet.refresh(before.refresh_token), nonce=None)
        everywhere(sign_in_with_password(kim), keep=True)
        for tokens in (before, refreshed):
            assert intranet.refresh(tokens.refresh_token).status_code == 400


@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
def test_sign_out_everywhere__kills_tokens_of_the_password_grant(kim: Any, make_party: Callable[..., Party]) -> None:
    legacy = make_party("legacy", authorization_grant_type=get_application_model().GRANT_PASSWORD)
    typed = {"username": kim.username, "password": PASSWORD, "scope": "profile"}
    with toolkit_settings(COMPLIANT_BCP_RFC9700_PASSWORD_GRANT=False):
        answer = legacy.server.post(TOKEN, {"grant_type": "password", **typed, **legacy.credentials}).json()
        assert legacy.introspect(answer["access_token"])["active"]
        everywhere(sign_in_with_password(kim), keep=True)
        assert not legacy.introspect(answer["access_token"])["active"]
        assert legacy.refresh(answer["refresh_token"]).status_code == 400


def test_sign_out_everywhere__leaves_alone_what_belongs_to_no_user(kim: Any, make_party: Callable[..., Party]) -> None:
    machine = make_party("machine", authorization_grant_type=get_application_model().GRANT_CLIENT_CREDENTIALS)
    body = {"grant_type": "client_credentials", "scope": "profile", **machine.credentials}
    token = machine.server.post(TOKEN, body).json()["access_token"]
    everywhere(sign_in_with_password(kim), keep=False)
    assert machine.introspect(token)["active"]


def test_sign_out_everywhere__denies_devices_approved_before_the_installation(
    kim: Any, admin: Any, make_party: Callable[..., Party]
) -> None:
    model = get_device_grant_model()
    party = make_party("television", authorization_grant_type=get_application_model().GRANT_DEVICE_CODE)
    here = sign_in_with_passkey(kim)
    for name, user, status in (
        ("before", kim, model.AUTHORIZED),
        ("of-kept", kim, model.AUTHORIZED),
        ("waiting", kim, model.AUTHORIZATION_PENDING),
        ("anothers", admin, model.AUTHORIZED),
    ):
        model.objects.create(
            client_id=party.client_id,
            device_code=name,
            user_code=name,
            user=user,
            status=status,
            expires=timezone.now() + timedelta(minutes=10),
        )
    remember_code("of-kept", sign_in_of(here), client_id=party.client_id, now=timezone.now())

    everywhere(here, keep=True)

    denied = model.objects.filter(status=model.DENIED)
    assert list(denied.values_list("device_code", flat=True)) == ["before"]
    body = {"grant_type": DEVICE_CODE_GRANT, "device_code": "before", **party.credentials}
    assert party.server.post(TOKEN, body).status_code == 400


@pytest.mark.parametrize("keep", [True, False])
def test_sign_out_everywhere__sessions_from_before_the_installation_are_over(kim: Any, keep: bool) -> None:
    before, here = session_from_before(kim), sign_in_with_password(kim)
    everywhere(here, keep=keep)
    assert before.get("/members/").status_code == 302
    assert dict(before.session) == {}
    assert SignIn.objects.filter(user=kim).count() == 1


def test_sign_out_everywhere__costs_the_same_however_many_tokens(kim: Any, intranet: Party) -> None:
    spent = []
    for number in (2, 8):
        for _ in range(number):
            intranet.tokens(sign_in_with_password(kim))
            intranet.code(sign_in_with_password(kim))
        current = sign_in_of(sign_in_with_password(kim))
        with CaptureQueriesContext(connection) as statements:
            sign_out_everywhere(sign_in=current, keep_current=False, client=Origin(), now=timezone.now())
        spent.append(len(statements))
    assert spent[0] == spent[1]
    assert spent[0] <= 40


# Losing a method, a changed password, and deactivation


def test_unrecorded__tokens_and_codes_of_a_reactivated_user_stay_dead(kim: Any, intranet: Party) -> None:
    (code, asked), before = from_before(intranet, sign_in_with_password(kim))
    deactivate(kim)
    kim.is_active = True
    kim.save()
    assert is_dead(intranet, before)
    assert intranet.exchange(code, asked).status_code == 400


@pytest.mark.parametrize("act", ["lost", "set anew"])
def test_unrecorded__tokens_from_before_and_of_the_password_grant_die_with_the_password(
    kim: Any, intranet: Party, issue: Callable[..., Any], settings: Any, act: str
) -> None:
    """With what they were got nobody knows: with the password that somebody else knows, perhaps."""
    settings.TAP_PROVIDER_REGISTRABLE_METHODS = ["passkey", "password"]
    _code, before = from_before(intranet, sign_in_with_password(kim))
    holder = Client()
    holder.post("/account/sign-in/pass/", {"upn": kim.upn, "passcode": issue(kim).passcode.reveal()})
    if act == "lost":
        holder.post("/account/security-info/methods/password/password/lost/")
    else:
        holder.post("/account/security-info/add/password/", {"begin": "1"})
        holder.post("/account/security-info/add/password/", {"new_password1": NEW, "new_password2": NEW})
    kim.refresh_from_db()
    assert kim.has_usable_password() is (act == "set anew")
    assert is_dead(intranet, before)


def test_unrecorded__losing_an_app_leaves_what_another_sign_in_stands_behind(kim: Any, intranet: Party) -> None:
    app = TOTPDevice.objects.create(user=kim, name="Phone", confirmed=True)
    browser = sign_in_with_passkey(kim)
    tokens = intranet.tokens(browser)
    code, asked = intranet.code(browser)
    _code, before = from_before(intranet, browser)
    assert browser.post(f"/account/security-info/methods/totp/{app.pk}/lost/")["Location"].endswith("notice=lost")
    assert intranet.exchange(code, asked).status_code == 200
    assert not is_dead(intranet, tokens)
    assert is_dead(intranet, before)
