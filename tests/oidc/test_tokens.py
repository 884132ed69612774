"""What a code brings, how often, until when: RFC 6749 §4.1.2, §5.1, §6, §10.5; OpenID Connect Core §11, §12."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from oauth2_provider.models import (
    get_access_token_model,
    get_grant_model,
    get_id_token_model,
    get_refresh_token_model,
)

from tap_provider.models import Level, SignIn
from tap_provider.oidc.contexts import digest_of, revoke_tokens_of_code
from tap_provider.oidc.models import TokenContext
from tap_provider.oidc.validator import TapOAuth2Validator
from tap_provider.sign_in import Client as From
from tap_provider.sign_in import renew_sign_in

from ..conftest import HOUR, all_at_once
from .conftest import (
    PASSWORD_ACR,
    REGISTRATION_SCOPE,
    Party,
    deactivate,
    plain_toolkit,
    same_browser,
    seconds,
    sign_in_of,
    toolkit_settings,
)

MANY = 16
OFFLINE = "openid profile offline_access"


def is_refused(response: Any) -> bool:
    assert response.headers["Content-Type"] == "application/json"
    assert "no-store" in response.headers["Cache-Control"]
    assert response.headers["Pragma"] == "no-cache"
    return bool(response.status_code == 400 and response.json()["error"] == "invalid_grant")


def is_dead(party: Party, response: dict[str, Any]) -> bool:
    """Tell whether nothing of a token response is good for anything."""
    assert party.introspect(response["access_token"]) == {"active": False}
    assert party.userinfo(response["access_token"]).status_code == 401
    assert not get_access_token_model().objects.filter(token_checksum=digest_of(response["access_token"])).exists()
    if "refresh_token" in response:
        assert is_refused(party.refresh(response["refresh_token"]))
    return True


# A code is good once (RFC 6749 §4.1.2, §10.5; RFC 9700 §2.1.1)


@pytest.mark.compliance("RFC 6749 §4.1.2", "RFC 6749 §10.5", "OpenID Connect Core 1.0 §3.1.3.2")
def test_exchange__of_a_code_used_twice_kills_the_tokens_of_its_first_use(full: Client, intranet: Party) -> None:
    code, asked = intranet.code(full)
    first = intranet.read(intranet.exchange(code, asked), nonce=asked.query["nonce"])
    assert intranet.userinfo(first.access_token).status_code == 200

    assert is_refused(intranet.exchange(code, asked))

    assert is_dead(intranet, first.response)
    assert not get_refresh_token_model().objects.filter(revoked=None).exists()
    assert not get_id_token_model().objects.exists()


@pytest.mark.compliance("RFC 6749 §4.1.2", "RFC 6749 §10.5")
def test_exchange__of_a_code_used_twice_kills_what_was_refreshed_from_it(full: Client, intranet: Party) -> None:
    code, asked = intranet.code(full)
    first = intranet.exchange(code, asked).json()
    second = intranet.refresh(first["refresh_token"]).json()
    third = intranet.refresh(second["refresh_token"]).json()
    assert intranet.userinfo(third["access_token"]).status_code == 200

    assert is_refused(intranet.exchange(code, asked))

    assert is_dead(intranet, third)


@pytest.mark.compliance("RFC 6749 §4.1.2", "RFC 6749 §10.5")
def test_exchange__of_a_code_used_twice_kills_what_was_refreshed_without_rotation(
    full: Client, intranet: Party
) -> None:
    with toolkit_settings(ROTATE_REFRESH_TOKEN=False, COMPLIANT_BCP_RFC9700_REFRESH_TOKEN=None):
        code, asked = intranet.code(full)
        first = intranet.exchange(code, asked).json()
        second = intranet.refresh(first["refresh_token"]).json()
        assert intranet.userinfo(second["access_token"]).status_code == 200

        assert is_refused(intranet.exchange(code, asked))

        assert is_dead(intranet, second)


@pytest.mark.compliance("RFC 6749 §4.1.2", "RFC 6749 §10.5")
@pytest.mark.parametrize(
    "changes",
    [{"code_verifier": "x" * 43}, {"redirect_uri": "https://elsewhere.test/"}, {"code_verifier": ""}],
    ids=["wrong_verifier", "wrong_address", "no_verifier"],
)
def test_exchange__of_a_code_used_twice_needs_nothing_else_to_be_right(
    full: Client, intranet: Party, changes: dict[str, str]
) -> None:
    """That somebody else has the code is enough to know."""
    code, asked = intranet.code(full)
    first = intranet.exchange(code, asked).json()

    assert is_refused(intranet.exchange(code, asked, **changes))

    assert is_dead(intranet, first)


@pytest.mark.compliance("RFC 6749 §4.1.3")
def test_exchange__of_a_code_used_twice_by_another_client_kills_nothing(
    full: Client, intranet: Party, portal: Party
) -> None:
    code, asked = intranet.code(full)
    first = intranet.exchange(code, asked).json()

    assert is_refused(portal.exchange(code, asked))

    assert intranet.userinfo(first["access_token"]).status_code == 200
    assert intranet.refresh(first["refresh_token"]).status_code == 200


@pytest.mark.compliance("RFC 6749 §5.2")
def test_exchange__of_a_code_used_twice_without_the_clients_secret_kills_nothing(full: Client, intranet: Party) -> None:
    code, asked = intranet.code(full)
    first = intranet.exchange(code, asked).json()

    for secret in ("wrong", ""):
        assert intranet.exchange(code, asked, client_secret=secret).json()["error"] == "invalid_client"

    assert intranet.userinfo(first["access_token"]).status_code == 200


@pytest.mark.compliance("RFC 6749 §4.1.2")
def test_exchange__of_a_code_used_twice_leaves_tokens_of_other_codes_alone(full: Client, intranet: Party) -> None:
    other = intranet.tokens(full)
    code, asked = intranet.code(full)
    intranet.exchange(code, asked)

    assert is_refused(intranet.exchange(code, asked))

    assert intranet.userinfo(other.access_token).status_code == 200
    assert intranet.refresh(other.refresh_token).status_code == 200


def test_exchange__that_failed_before_is_the_first_use_still(full: Client, intranet: Party) -> None:
    code, asked = intranet.code(full)
    assert is_refused(intranet.exchange(code, asked, code_verifier="x" * 43))

    assert intranet.exchange(code, asked).status_code == 200


@pytest.mark.compliance("RFC 6749 §4.1.2", "RFC 6749 §5.2")
def test_exchange__of_a_code_that_has_expired_is_refused(full: Client, intranet: Party) -> None:
    code, asked = intranet.code(full)
    get_grant_model().objects.update(expires=timezone.now())

    assert is_refused(intranet.exchange(code, asked))


@pytest.mark.parametrize("change", [str.swapcase, lambda code: f"{code} ", lambda code: f"{code}\u0301"])
def test_exchange__of_something_like_the_code_is_refused(
    holder: Client, portal: Party, change: Callable[[str], str]
) -> None:
    """Databases may compare text without regard to case, to spaces at its end, or to accents."""
    code, asked = portal.code(holder)

    assert is_refused(portal.exchange(change(code), asked))
    assert not get_access_token_model().objects.exists()


def exchange_at_once(party: Party, browser: Client) -> list[Any]:
    code, asked = party.code(same_browser(browser))

    def exchange() -> Any:
        return Party(party.application, server=Client(raise_request_exception=False)).exchange(code, asked)

    return all_at_once(*[exchange] * MANY)


@pytest.mark.compliance("RFC 6749 §4.1.2", "RFC 6749 §10.5")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("again", range(3))
def test_exchange__of_many_at_once_at_most_one_brings_tokens(again: int, full: Client, intranet: Party) -> None:
    """And those are dead as well, because the code was used more than once."""
    responses = exchange_at_once(intranet, full)

    told = Counter((response.status_code, response.json().get("error")) for response in responses)
    assert set(told) <= {(200, None), (400, "invalid_grant")}, told
    assert told[200, None] <= 1
    assert not get_access_token_model().objects.exists()
    assert not get_id_token_model().objects.exists()
    assert not get_refresh_token_model().objects.filter(revoked=None).exists()


@pytest.mark.django_db(transaction=True)
def test_exchange__of_many_at_once_would_bring_several_with_the_toolkit_alone(full: Client, intranet: Party) -> None:
    """The race above is worth something."""
    for _ in range(10):
        with plain_toolkit():
            exchange_at_once(intranet, full)
        if get_access_token_model().objects.count() > 1:
            return
        get_access_token_model().objects.all().delete()
    pytest.fail(f"never once in 10 rounds on {connection.vendor}")


class Meanwhile(TapOAuth2Validator):
    """Lets the code be used again while the answer to its first use is on its way."""

    def invalidate_authorization_code(self, client_id: str, code: str, request: Any, *args: Any, **kwargs: Any) -> None:
        super().invalidate_authorization_code(client_id, code, request, *args, **kwargs)
        revoke_tokens_of_code(digest_of(code), client_id=client_id)


@pytest.mark.compliance("RFC 6749 §4.1.2")
def test_exchange__of_a_code_used_again_before_the_answer_is_refused(full: Client, intranet: Party) -> None:
    code, asked = intranet.code(full)
    with toolkit_settings(OAUTH2_VALIDATOR_CLASS="tests.oidc.test_tokens.Meanwhile"):
        assert is_refused(intranet.exchange(code, asked))


@pytest.mark.django_db(transaction=True)
def test_exchange__of_many_codes_at_once_brings_tokens_for_each(full: Client, intranet: Party) -> None:
    codes = [intranet.code(same_browser(full)) for _ in range(8)]

    responses = all_at_once(*[partial(Party(intranet.application).exchange, code, asked) for code, asked in codes])

    assert [response.status_code for response in responses] == [200] * 8
    assert get_access_token_model().objects.count() == 8


# Until when


@pytest.mark.compliance("RFC 6749 §5.1", "RFC 7662 §2.2", "OpenID Connect Core 1.0 §2")
@pytest.mark.parametrize("microseconds", [0, 1, 500_000, 999_999])
def test_exchange__of_a_registration_only_session_ends_to_the_second(
    holder: Client, portal: Party, microseconds: int
) -> None:
    """RFC 6749 §5.1 (`expires_in`), RFC 7662 §2.2 (`exp`) and OpenID Connect Core §2 (`exp`) agree."""
    deadline = (timezone.now() + timedelta(minutes=5)).replace(microsecond=microseconds)
    SignIn.objects.filter(pk=sign_in_of(holder).pk).update(deadline=deadline)
    before = timezone.now()

    tokens = portal.tokens(holder)

    after, end = timezone.now(), deadline.replace(microsecond=0)
    row = get_access_token_model().objects.get()
    assert row.expires == end
    assert get_id_token_model().objects.get().expires == end
    assert tokens.claims["exp"] == seconds(end)
    assert portal.introspect(tokens.access_token)["exp"] == seconds(end)
    assert (end - after).total_seconds() - 1 <= tokens.response["expires_in"] <= (end - before).total_seconds()


@pytest.mark.parametrize("lifetime", [0, 1, 60])
def test_exchange__of_a_registration_only_session_keeps_to_a_shorter_lifetime_of_the_sites(
    holder: Client, portal: Party, lifetime: int
) -> None:
    """oauthlib takes a lifetime of 0 for an hour."""
    with toolkit_settings(ACCESS_TOKEN_EXPIRE_SECONDS=lifetime):
        tokens = portal.tokens(holder)

    assert tokens.response["expires_in"] <= (lifetime or 3600)
    assert get_access_token_model().objects.get().expires <= timezone.now() + timedelta(seconds=lifetime or 3600)
    deadline = sign_in_of(holder).deadline
    assert deadline is not None
    assert get_access_token_model().objects.get().expires <= deadline


@pytest.mark.compliance("RFC 6749 §5.2")
def test_exchange__of_a_registration_only_session_without_a_second_left_is_refused(
    holder: Client, portal: Party
) -> None:
    code, asked = portal.code(holder)
    SignIn.objects.filter(pk=sign_in_of(holder).pk).update(deadline=timezone.now() + timedelta(milliseconds=999))

    assert is_refused(portal.exchange(code, asked))


@pytest.mark.compliance("OpenID Connect Core 1.0 §11", "RFC 6749 §3.3")
def test_exchange__of_a_registration_only_session_never_brings_offline_access(
    settings: Any, holder: Client, portal: Party
) -> None:
    """Whatever the site says of refresh tokens (OpenID Connect Core §11)."""
    settings.TAP_PROVIDER_REFRESH_TOKENS = "always"

    tokens = portal.tokens(holder, scope=f"{REGISTRATION_SCOPE} offline_access")

    assert tokens.response["scope"].split() == REGISTRATION_SCOPE.split()
    assert "refresh_token" not in tokens.response
    assert not get_refresh_token_model().objects.exists()


# A refresh never raises the context (OpenID Connect Core §12.2)


@pytest.mark.compliance("OpenID Connect Core 1.0 §12.2")
def test_refresh__after_the_sign_in_was_renewed_tells_what_its_code_told(full: Client, intranet: Party) -> None:
    tokens, sign_in = intranet.tokens(full), sign_in_of(full)
    stronger: dict[str, Any] = {"methods": ["passkey"], "amr": ["hwk", "mfa"], "level": Level.PHISHING_RESISTANT}
    later = timezone.now() + HOUR
    assert renew_sign_in(sign_in, **stronger, client=From(), now=later, authenticated_at=later)

    refreshed = intranet.read(intranet.refresh(tokens.refresh_token), nonce=None)
    again = intranet.read(intranet.refresh(refreshed.refresh_token), nonce=None)

    for claims in (refreshed.claims, again.claims, intranet.introspect(again.access_token)):
        for name in ("acr", "amr", "auth_time", "sid", "sub"):
            assert claims[name] == tokens.claims[name]
    assert again.claims["acr"] == PASSWORD_ACR


def test_refresh__carries_the_code_that_it_goes_back_to(full: Client, intranet: Party) -> None:
    code, asked = intranet.code(full)
    intranet.refresh(intranet.exchange(code, asked).json()["refresh_token"])

    assert set(TokenContext.objects.values_list("code_digest", flat=True)) == {digest_of(code)}
    assert TokenContext.objects.count() == 4


# Inactive users and ended sign-ins


@pytest.mark.compliance("OpenID Connect Core 1.0 §12.3", "RFC 6749 §5.2", "RFC 6750 §3.1", "RFC 7662 §2.2")
def test_refresh__of_a_deactivated_user_is_refused_at_every_turn(kim: Any, full: Client, intranet: Party) -> None:
    """Peer failure 20."""
    tokens, (code, asked) = intranet.tokens(full), intranet.code(full)

    deactivate(kim)

    assert is_refused(intranet.exchange(code, asked))
    assert is_refused(intranet.refresh(tokens.refresh_token))
    assert intranet.userinfo(tokens.access_token).status_code == 401
    assert intranet.introspect(tokens.access_token) == {"active": False}


# Refresh tokens (OpenID Connect Core §11)


@pytest.mark.compliance("OpenID Connect Core 1.0 §11")
@pytest.mark.parametrize(
    ("said", "scope", "brought"),
    [
        (None, "openid profile", False),
        (None, OFFLINE, True),
        (None, "profile", True),
        ("offline_access", "openid profile", False),
        ("always", "openid profile", True),
        ("always", OFFLINE, True),
    ],
)
def test_refresh_tokens__are_for_offline_access_or_by_the_sites_setting(
    settings: Any, full: Client, intranet: Party, said: str | None, scope: str, brought: bool
) -> None:
    if said is not None:
        settings.TAP_PROVIDER_REFRESH_TOKENS = said

    tokens = intranet.tokens(full, scope=scope)

    assert ("refresh_token" in tokens.response) is brought
    assert get_refresh_token_model().objects.exists() is brought


@pytest.mark.compliance("RFC 6749 §6")
def test_refresh_tokens__issued_before_the_rule_are_renewed(settings: Any, full: Client, intranet: Party) -> None:
    """Who holds one was promised it; taking it away at a refresh would leave the old one good for ever."""
    settings.TAP_PROVIDER_REFRESH_TOKENS = "always"
    tokens = intranet.tokens(full, scope="openid profile")
    settings.TAP_PROVIDER_REFRESH_TOKENS = "offline_access"

    refreshed = intranet.refresh(tokens.refresh_token).json()

    assert refreshed["refresh_token"] != tokens.refresh_token
    assert is_refused(intranet.refresh(tokens.refresh_token))
