"""Tokens of the password grant: they end with the password, and with a second factor."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_otp.plugins.otp_totp.models import TOTPDevice
from oauth2_provider.models import get_access_token_model, get_application_model, get_refresh_token_model

from tap_provider.oidc import password_tokens, token_validator
from tap_provider.oidc.contexts import digest_of
from tap_provider.oidc.models import PasswordTokenContext

from .conftest import PASSWORD, TOKEN, Party, toolkit_settings

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")


@pytest.fixture
def legacy(make_party: Callable[..., Party]) -> Party:
    """A confidential client that has the right to the password grant."""
    return make_party("legacy", authorization_grant_type=get_application_model().GRANT_PASSWORD)


def tokens_of(party: Party, user: Any, password: str = PASSWORD) -> dict[str, Any]:
    body = {"grant_type": "password", "username": user.get_username(), "password": password, "scope": "profile"}
    with toolkit_settings(COMPLIANT_BCP_RFC9700_PASSWORD_GRANT=False):
        response = party.server.post(TOKEN, {**body, **party.credentials})
    assert response.status_code == 200, response.content
    tokens: dict[str, Any] = response.json()
    return tokens


def is_live(party: Party, tokens: dict[str, Any]) -> tuple[bool, bool]:
    """Return whether the access token is active, and whether the refresh token brings a new one."""
    is_active = party.introspect(tokens["access_token"])["active"]
    return is_active, party.refresh(tokens["refresh_token"]).status_code == 200


def assign_hash(user: Any) -> None:
    user.password = make_password("another-long-enough-phrase")
    user.save()


def update_hash(user: Any) -> None:
    get_user_model()._default_manager.filter(pk=user.pk).update(password=make_password("another-long-enough-phrase"))


def take_away(user: Any) -> None:
    user.set_unusable_password()
    user.save()


def set_and_save(user: Any) -> None:
    user.set_password("another-long-enough-phrase")
    user.save()


@pytest.mark.parametrize("change", [assign_hash, update_hash, take_away, set_and_save])
def test_tokens__end_when_the_password_is_changed_in_any_way(
    change: Callable[[Any], None], kim: Any, legacy: Party
) -> None:
    tokens, refreshed_first = tokens_of(legacy, kim), tokens_of(legacy, kim)
    refreshed = legacy.refresh(refreshed_first["refresh_token"]).json()
    assert legacy.introspect(tokens["access_token"])["active"]

    change(kim)

    for these in (tokens, refreshed):
        assert is_live(legacy, these) == (False, False)
        assert legacy.userinfo(these["access_token"]).status_code == 401


def test_tokens__are_good_and_are_refreshed_while_nothing_changes(kim: Any, legacy: Party) -> None:
    tokens = tokens_of(legacy, kim)
    kim.first_name = "Kim"
    kim.save()
    assert is_live(legacy, tokens) == (True, True)


def test_tokens__end_once_the_user_has_a_second_factor(kim: Any, legacy: Party) -> None:
    tokens = tokens_of(legacy, kim)
    device = TOTPDevice.objects.create(user=kim, name="App", confirmed=False)
    assert legacy.refresh(tokens["refresh_token"]).status_code == 200

    tokens = tokens_of(legacy, kim)
    device.confirmed = True
    device.save()

    assert is_live(legacy, tokens) == (False, False)


def test_tokens__from_before_the_installation_have_no_password_to_compare(kim: Any, legacy: Party) -> None:
    tokens = tokens_of(legacy, kim)
    PasswordTokenContext.objects.all().delete()
    assign_hash(kim)
    assert is_live(legacy, tokens) == (True, True)


def test_tokens__are_refused_if_the_password_changes_while_they_are_made(
    kim: Any, legacy: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The password is changed after it was hashed, before the transaction that stores the tokens holds the user."""
    hold_origin = token_validator.hold_origin

    def change_then_hold(*args: Any) -> None:
        update_hash(kim)
        hold_origin(*args)

    body = {"grant_type": "password", "username": kim.username, "password": PASSWORD, "scope": "profile"}
    monkeypatch.setattr(token_validator, "hold_origin", change_then_hold)
    with toolkit_settings(COMPLIANT_BCP_RFC9700_PASSWORD_GRANT=False):
        response = legacy.server.post(TOKEN, {**body, **legacy.credentials})
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    assert not get_access_token_model().objects.exists()


def test_tokens__are_looked_up_by_one_statement_at_their_use(kim: Any, legacy: Party) -> None:
    tokens = tokens_of(legacy, kim)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        legacy.introspect(tokens["access_token"])
    assert sum("passwordtokencontext" in query["sql"] for query in queries) == 1


def test_sweep__deletes_what_is_kept_of_tokens_that_are_gone(kim: Any, legacy: Party) -> None:
    kept, gone = tokens_of(legacy, kim), tokens_of(legacy, kim)
    get_refresh_token_model().objects.filter(token_checksum=digest_of(gone["refresh_token"])).delete()
    get_access_token_model().objects.filter(token_checksum=digest_of(gone["access_token"])).delete()
    now = timezone.now()
    assert password_tokens.sweep(now=now) == 0
    assert password_tokens.sweep(now=now + timedelta(days=2)) == 2
    assert is_live(legacy, kept) == (True, True)


def test_tokens__that_have_no_part_in_it_outlive_one_that_is_refused(kim: Any, legacy: Party) -> None:
    """Whoever shows a dead token must not end the live ones: those of the new password, and of no grant."""
    dead, personal = tokens_of(legacy, kim), tokens_of(legacy, kim)
    contexts = PasswordTokenContext.objects.filter(
        digest__in=[digest_of(personal[name]) for name in ("access_token", "refresh_token")]
    )
    contexts.delete()  # as one that the site has made itself
    update_hash(kim)
    fresh = tokens_of(legacy, kim, password="another-long-enough-phrase")
    assert not legacy.introspect(dead["access_token"])["active"]
    assert is_live(legacy, personal) == (True, True)
    assert is_live(legacy, fresh) == (True, True)


def confirm_app(user: Any) -> Callable[[], Any]:
    """Give the user a second factor, and return what takes it away again."""
    device = TOTPDevice.objects.create(user=user, name="App", confirmed=True)
    return device.delete


def deactivate_by_statement(user: Any) -> Callable[[], Any]:
    rows = get_user_model()._default_manager.filter(pk=user.pk)
    rows.update(is_active=False)
    return partial(rows.update, is_active=True)


def change_hash_by_statement(user: Any) -> Callable[[], Any]:
    rows, before = get_user_model()._default_manager.filter(pk=user.pk), user.password
    update_hash(user)
    return partial(rows.update, password=before)


@pytest.mark.parametrize("forbid", [confirm_app, deactivate_by_statement, change_hash_by_statement])
@pytest.mark.parametrize("used", ["access_token", "refresh_token"])
def test_tokens__that_were_refused_once_stay_dead(
    forbid: Callable[[Any], Callable[[], Any]], used: str, kim: Any, legacy: Party
) -> None:
    """The reason is gone again, the tokens are not: whoever holds them may not be their user."""
    tokens, others = tokens_of(legacy, kim), tokens_of(legacy, kim)
    allow = forbid(kim)
    if used == "access_token":
        assert not legacy.introspect(tokens["access_token"])["active"]
    else:
        assert legacy.refresh(tokens["refresh_token"]).status_code == 400
    allow()
    for these in (tokens, others):
        assert is_live(legacy, these) == (False, False)
    assert is_live(legacy, tokens_of(legacy, kim)) == (True, True)
