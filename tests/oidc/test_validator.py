"""The gates at code, token and every use, and honest claims: what a client is told is what happened, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.utils import timezone, translation
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from oauth2_provider.models import (
    get_access_token_model,
    get_application_model,
    get_grant_model,
    get_id_token_model,
    get_refresh_token_model,
)
from oauth2_provider.views.generic import ProtectedResourceView, ScopedProtectedResourceView
from oauthlib.common import Request
from oauthlib.oauth2.rfc6749.errors import InvalidGrantError, OAuth2Error

from tap_provider.hooks import Hooks
from tap_provider.models import SignIn
from tap_provider.oidc import request_context
from tap_provider.oidc.contexts import sign_in_of_token
from tap_provider.oidc.models import CodeContext, TokenContext
from tap_provider.oidc.validator import REGISTRATION_SCOPES, TapOAuth2Validator

from ..conftest import HOUR, MINUTE
from .conftest import (
    AUTHORIZE,
    ENDS_OF_FULL_SESSION,
    ENDS_OF_REGISTRATION,
    ISSUER,
    MULTI_FACTOR_ACR,
    PASSWORD,
    PASSWORD_ACR,
    PHISHING_RESISTANT_ACR,
    REDIRECT_URI,
    REGISTRATION_SCOPE,
    TOKEN,
    Party,
    Tokens,
    answer_of,
    consent,
    deactivate,
    is_sign_in_page,
    plain_toolkit,
    same_browser,
    seconds,
    session_from_before,
    sign_in_of,
    sign_in_with_passkey,
    sign_in_with_password,
    sign_in_with_totp,
    toolkit_settings,
)

READ_ONCE_MORE = timedelta(seconds=2)  # the toolkit reads the clock for itself, a moment after we did


def move(browser: Client, **changes: Any) -> SignIn:
    """Change the record behind a browser's session, and return it."""
    SignIn.objects.filter(pk=sign_in_of(browser).pk).update(**changes)
    return sign_in_of(browser)


def context_claims(claims: dict[str, Any]) -> dict[str, Any]:
    return {name: claims[name] for name in ("acr", "amr", "auth_time", "sid") if name in claims}


def is_refused(response: Any) -> bool:
    assert "access_token" not in response.json()
    return bool(response.status_code == 400 and response.json()["error"] == "invalid_grant")


# What a registration-only session is told as


@pytest.mark.compliance("OpenID Connect Core 1.0 §2", "RFC 8176 §2")
def test_id_token__of_a_registration_only_session_says_strong_by_a_pass(
    robin: Any, holder: Client, portal: Party
) -> None:
    sign_in = move(holder, authenticated_at=timezone.now() - 7 * MINUTE)
    robin.last_login = timezone.now() - HOUR
    robin.save()

    claims = portal.tokens(holder, scope=REGISTRATION_SCOPE).claims

    assert claims["sub"] == str(robin.pk)
    assert claims["acr"] == MULTI_FACTOR_ACR
    assert claims["amr"] == ["mfa", "tap"]
    assert claims["auth_time"] == seconds(sign_in.authenticated_at)
    assert claims["sid"] == str(sign_in.pk)


@pytest.mark.compliance("OpenID Connect Core 1.0 §2")
def test_id_token__acr_and_amr_of_a_pass_are_the_sites_to_choose(
    settings: Any, robin: Any, open_registration: Callable[..., Client], portal: Party
) -> None:
    settings.TAP_PROVIDER_ACR_VALUES = {"multi_factor": "urn:site:strong"}
    settings.TAP_PROVIDER_PASS_AMR = ["tap"]

    claims = portal.tokens(open_registration(robin)).claims

    assert (claims["acr"], claims["amr"]) == ("urn:site:strong", ["tap"])


@pytest.mark.compliance("RFC 6749 §5.1", "OpenID Connect Core 1.0 §2")
def test_tokens__of_a_registration_only_session_end_at_its_deadline(holder: Client, portal: Party) -> None:
    """Response, database row, ID token and introspection agree."""
    sign_in = move(holder, deadline=timezone.now() + 5 * MINUTE)
    code, asked = portal.code(holder)
    before = timezone.now()

    tokens = portal.read(portal.exchange(code, asked), nonce=asked.query["nonce"])

    assert sign_in.deadline is not None
    expires_in = tokens.response["expires_in"]
    assert expires_in > 290
    assert before + timedelta(seconds=expires_in) <= sign_in.deadline
    row = get_access_token_model().objects.get()
    assert abs(row.expires - before - timedelta(seconds=expires_in)) < 2 * READ_ONCE_MORE
    assert row.expires <= sign_in.deadline + READ_ONCE_MORE
    assert portal.introspect(tokens.access_token)["exp"] == seconds(row.expires)
    assert tokens.claims["exp"] == seconds(sign_in.deadline)
    assert get_id_token_model().objects.get().expires <= sign_in.deadline


def test_tokens__of_a_one_time_pass_end_with_its_registration_window(
    robin: Any, open_registration: Callable[..., Client], portal: Party
) -> None:
    browser = open_registration(robin, is_usable_once=True)

    tokens = portal.tokens(browser)

    assert 590 < tokens.response["expires_in"] <= 600
    assert tokens.claims["exp"] == seconds(sign_in_of(browser).deadline)


def test_tokens__of_a_registration_only_session_are_never_longer_than_the_sites(holder: Client, portal: Party) -> None:
    with toolkit_settings(ACCESS_TOKEN_EXPIRE_SECONDS=60, ID_TOKEN_EXPIRE_SECONDS=90):
        tokens = portal.tokens(holder)

    assert tokens.response["expires_in"] == 60
    assert tokens.claims["exp"] - tokens.claims["iat"] <= 95


@pytest.mark.compliance("OpenID Connect Core 1.0 §11")
def test_tokens__of_a_registration_only_session_cannot_be_refreshed(holder: Client, portal: Party) -> None:
    tokens = portal.tokens(holder, scope=f"{REGISTRATION_SCOPE} offline_access")

    assert "refresh_token" not in tokens.response
    assert not get_refresh_token_model().objects.exists()


@pytest.mark.compliance("RFC 6749 §3.3")
def test_tokens__of_a_registration_only_session_are_cut_to_registration(holder: Client, portal: Party) -> None:
    tokens = portal.tokens(holder, scope=f"offline_access {REGISTRATION_SCOPE}")

    assert set(tokens.response["scope"].split()) == REGISTRATION_SCOPES
    assert get_access_token_model().objects.get().scope == tokens.response["scope"]
    assert portal.introspect(tokens.access_token)["scope"] == tokens.response["scope"]


def test_tokens__of_a_full_session_are_not_cut(full: Client, portal: Party) -> None:
    """The client that may host registration is an ordinary one for whoever is fully signed in."""
    tokens = portal.tokens(full, scope=f"{REGISTRATION_SCOPE} offline_access")

    assert tokens.response["scope"].split() == [*REGISTRATION_SCOPE.split(), "offline_access"]
    assert tokens.response["expires_in"] == 3600
    assert "refresh_token" in tokens.response
    assert tokens.claims["amr"] == ["pwd"]


def test_userinfo__tells_a_registration_only_session_who_it_is(robin: Any, holder: Client, portal: Party) -> None:
    response = portal.userinfo(portal.tokens(holder).access_token)

    assert response.status_code == 200
    assert response.json() == {
        "sub": str(robin.pk),
        "name": "Robin Newcomer",
        "given_name": "Robin",
        "family_name": "Newcomer",
        "preferred_username": robin.upn,
        "email": robin.email,
        "email_verified": False,
    }


@pytest.mark.compliance("OpenID Connect Core 1.0 §5.3.2")
def test_userinfo__leaves_out_what_is_empty(make_user: Callable[..., Any], intranet: Party) -> None:
    """OpenID Connect Core §5.3.2."""
    nameless = make_user("nameless", email="", password=PASSWORD)

    told = intranet.userinfo(intranet.tokens(sign_in_with_password(nameless)).access_token).json()

    assert told == {"sub": str(nameless.pk), "preferred_username": nameless.upn}


@pytest.mark.parametrize("name", ["", " "])
def test_userinfo__of_a_user_without_a_upn_names_none(
    name: str, make_user: Callable[..., Any], intranet: Party, settings: Any
) -> None:
    nameless = make_user("nameless", first_name=name, password=PASSWORD)
    browser = sign_in_with_password(nameless)
    settings.TAP_PROVIDER_UPN_FIELD = "first_name"
    told = intranet.userinfo(intranet.tokens(browser).access_token).json()
    assert "preferred_username" not in told


@pytest.mark.compliance("OpenID Connect Core 1.0 §5.4")
def test_userinfo__tells_no_more_than_the_scope_allows(full: Client, intranet: Party) -> None:
    assert set(intranet.userinfo(intranet.tokens(full, scope="openid").access_token).json()) == {"sub"}
    by_email = intranet.userinfo(intranet.tokens(full, scope="openid email").access_token).json()
    assert set(by_email) == {"sub", "email", "email_verified"}


class VerifyingHooks(Hooks):
    def email_is_verified(self, user: Any) -> bool:
        return bool(user.email == "kim@example.test")


@pytest.mark.compliance("OpenID Connect Core 1.0 §5.1")
def test_userinfo__tells_whether_the_address_is_verified_as_the_site_answers(
    full: Client, intranet: Party, settings: Any
) -> None:
    """OpenID Connect Core §5.1: a boolean, and so is False."""
    tokens = intranet.tokens(full)
    assert intranet.userinfo(tokens.access_token).json()["email_verified"] is False

    settings.TAP_PROVIDER_HOOKS = f"{__name__}.VerifyingHooks"

    assert intranet.userinfo(tokens.access_token).json()["email_verified"] is True
    assert intranet.tokens(full).claims["email_verified"] is True


# What full sessions are told as


@pytest.mark.parametrize(
    ("sign_in", "acr", "amr"),
    [
        pytest.param(sign_in_with_password, PASSWORD_ACR, ["pwd"], id="password"),
        pytest.param(sign_in_with_totp, MULTI_FACTOR_ACR, ["mfa", "otp", "pwd"], id="password_and_totp"),
        pytest.param(sign_in_with_passkey, PHISHING_RESISTANT_ACR, ["hwk", "mfa", "pop", "user"], id="passkey"),
        pytest.param(
            lambda user: sign_in_with_passkey(user, backup_eligible=True),
            PHISHING_RESISTANT_ACR,
            ["mfa", "pop", "swk", "user"],
            id="synchronised_passkey",
        ),
    ],
)
@pytest.mark.compliance("OpenID Connect Core 1.0 §2", "RFC 8176 §2")
def test_id_token__of_a_full_session_says_by_what(
    kim: Any, intranet: Party, sign_in: Callable[[Any], Client], acr: str, amr: list[str]
) -> None:
    browser = sign_in(kim)
    record = move(browser, authenticated_at=timezone.now() - 3 * HOUR)

    claims = intranet.tokens(browser).claims

    assert context_claims(claims) == {
        "acr": acr,
        "amr": amr,
        "auth_time": seconds(record.authenticated_at),
        "sid": str(record.pk),
    }


def test_id_token__of_a_login_elsewhere_on_the_site_claims_only_what_is_known(kim: Any, intranet: Party) -> None:
    browser = Client()
    assert browser.login(username=kim.username, password=PASSWORD)

    claims = intranet.tokens(browser).claims

    assert (claims["acr"], claims["amr"]) == (PASSWORD_ACR, ["pwd"])


@pytest.mark.compliance("OpenID Connect Core 1.0 §2")
def test_id_token__of_an_adopted_session_has_no_auth_time(kim: Any, intranet: Party) -> None:
    """Nobody knows when; `last_login` is the user's, and `max_age` must not be satisfied by it."""
    browser = session_from_before(kim)

    tokens = intranet.tokens(browser)

    assert "auth_time" not in tokens.claims
    assert "acr" not in tokens.claims  # nor by which methods
    assert "amr" not in tokens.claims
    assert tokens.claims["sid"] == str(sign_in_of(browser).pk)
    assert "auth_time" not in intranet.introspect(tokens.access_token)


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.1")
def test_id_token__two_sessions_of_one_user_are_told_apart(kim: Any, intranet: Party) -> None:
    by_password, by_passkey = sign_in_with_password(kim), sign_in_with_passkey(kim)

    weak, strong = intranet.tokens(by_password).claims, intranet.tokens(by_passkey).claims

    assert (weak["acr"], strong["acr"]) == (PASSWORD_ACR, PHISHING_RESISTANT_ACR)
    assert weak["sid"] != strong["sid"]


def test_id_token__keeps_to_the_sites_lifetime_where_there_is_no_deadline(full: Client, intranet: Party) -> None:
    claims = intranet.tokens(full).claims

    assert 3595 <= claims["exp"] - claims["iat"] <= 3605


@pytest.mark.parametrize("who", ["full", "holder"])
@pytest.mark.compliance("OpenID Connect Core 1.0 §2")
def test_auth_time__is_not_moved_by_a_login_on_another_device(
    kim: Any, robin: Any, full: Client, holder: Client, portal: Party, who: str
) -> None:
    """Plain django-oauth-toolkit tells `user.last_login` at the token step."""
    browser, user = (full, kim) if who == "full" else (holder, robin)
    record = move(browser, authenticated_at=timezone.now() - HOUR)
    code, asked = portal.code(browser)

    Client().force_login(user, backend="tap_provider.backends.ModelBackend")

    claims = portal.read(portal.exchange(code, asked), nonce=asked.query["nonce"]).claims
    user.refresh_from_db()
    assert user.last_login > timezone.now() - MINUTE
    assert claims["auth_time"] == seconds(record.authenticated_at)
    assert claims["sid"] == str(record.pk)


# Refresh


@pytest.mark.compliance("OpenID Connect Core 1.0 §12.2")
def test_refresh__keeps_the_context(full: Client, kim: Any, intranet: Party) -> None:
    move(full, authenticated_at=timezone.now() - HOUR)
    first = intranet.tokens(full)
    sign_in_with_passkey(kim)  # elsewhere, and stronger

    second = intranet.read(intranet.refresh(first.refresh_token), nonce=None)
    third = intranet.read(intranet.refresh(second.refresh_token), nonce=None)

    assert context_claims(first.claims).keys() == {"acr", "amr", "auth_time", "sid"}
    assert context_claims(second.claims) == context_claims(first.claims)
    assert context_claims(third.claims) == context_claims(first.claims)
    assert intranet.introspect(third.access_token)["sid"] == first.claims["sid"]


def test_refresh__without_rotation_keeps_the_context(full: Client, intranet: Party, end_by: Any) -> None:
    with toolkit_settings(ROTATE_REFRESH_TOKEN=False):
        first = intranet.tokens(full)
        second = intranet.read(intranet.refresh(first.refresh_token), nonce=None)

        assert second.refresh_token == first.refresh_token
        assert context_claims(second.claims) == context_claims(first.claims)
        end_by("ended_by_an_administrator", full)
        assert is_refused(intranet.refresh(second.refresh_token))
        assert intranet.userinfo(second.access_token).status_code == 401


def test_refresh__repeated_within_the_grace_period_keeps_the_context(
    full: Client, intranet: Party, end_by: Any
) -> None:
    # Where the toolkit stores digests only, it cannot hand out the same tokens again.
    with toolkit_settings(REFRESH_TOKEN_GRACE_PERIOD_SECONDS=120, COMPLIANT_BCP_RFC9700_TOKEN_STORAGE=False):
        first = intranet.tokens(full)
        second = intranet.read(intranet.refresh(first.refresh_token), nonce=None)
        again = intranet.refresh(first.refresh_token).json()

        assert again["access_token"] == second.access_token
        end_by("ended_by_an_administrator", full)
        assert intranet.introspect(again["access_token"]) == {"active": False}
        assert is_refused(intranet.refresh(again["refresh_token"]))


@pytest.mark.compliance("RFC 6749 §6", "OpenID Connect Core 1.0 §12.2")
def test_refresh__of_a_narrower_scope_keeps_the_context(full: Client, intranet: Party) -> None:
    first = intranet.tokens(full)

    second = intranet.read(intranet.refresh(first.refresh_token, scope="openid"), nonce=None)

    assert second.response["scope"] == "openid"
    assert context_claims(second.claims) == context_claims(first.claims)


# Dead with the sign-in


@pytest.mark.parametrize("way", ENDS_OF_REGISTRATION)
def test_validate_code__refuses_once_the_registration_only_session_is_over(
    way: str, holder: Client, portal: Party, end_by: Callable[[str, Client], None]
) -> None:
    code, asked = portal.code(holder)

    end_by(way, holder)

    assert is_refused(portal.exchange(code, asked))
    assert not get_access_token_model().objects.exists()


@pytest.mark.parametrize("way", ENDS_OF_FULL_SESSION)
@pytest.mark.compliance("RFC 6749 §5.2")
def test_validate_code__refuses_once_the_full_session_is_over(
    way: str, full: Client, intranet: Party, end_by: Callable[[str, Client], None]
) -> None:
    code, asked = intranet.code(full)

    end_by(way, full)

    assert is_refused(intranet.exchange(code, asked))
    assert not get_access_token_model().objects.exists()


@pytest.mark.parametrize("way", ENDS_OF_REGISTRATION)
@pytest.mark.compliance("OpenID Connect Core 1.0 §5.3.3", "RFC 6750 §3.1")
def test_userinfo__is_refused_once_the_registration_only_session_is_over(
    way: str, holder: Client, portal: Party, end_by: Callable[[str, Client], None]
) -> None:
    tokens = portal.tokens(holder)
    assert portal.userinfo(tokens.access_token).status_code == 200

    end_by(way, holder)

    response = portal.userinfo(tokens.access_token)
    assert response.status_code == 401
    assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]
    assert b"sub" not in response.content


@pytest.mark.parametrize("way", ENDS_OF_FULL_SESSION)
@pytest.mark.compliance("OpenID Connect Core 1.0 §5.3.3", "RFC 6750 §3.1")
def test_userinfo__is_refused_once_the_full_session_is_over(
    way: str, full: Client, intranet: Party, end_by: Callable[[str, Client], None]
) -> None:
    tokens = intranet.tokens(full)
    assert intranet.userinfo(tokens.access_token).status_code == 200

    end_by(way, full)

    assert intranet.userinfo(tokens.access_token).status_code == 401


@pytest.mark.parametrize("way", ENDS_OF_FULL_SESSION)
@pytest.mark.compliance("OpenID Connect Core 1.0 §12.3")
def test_refresh__is_refused_once_the_full_session_is_over(
    way: str, full: Client, intranet: Party, end_by: Callable[[str, Client], None]
) -> None:
    tokens = intranet.tokens(full)

    end_by(way, full)

    assert is_refused(intranet.refresh(tokens.refresh_token))


def test_refresh__of_a_later_generation_is_refused_once_the_full_session_is_over(
    full: Client, intranet: Party, end_by: Callable[[str, Client], None]
) -> None:
    tokens = intranet.tokens(full)
    tokens = intranet.read(intranet.refresh(tokens.refresh_token), nonce=None)

    end_by("signed_out", full)

    assert is_refused(intranet.refresh(tokens.refresh_token))
    assert intranet.userinfo(tokens.access_token).status_code == 401


def test_refresh__of_one_session_survives_the_end_of_another(kim: Any, intranet: Party, end_by: Any) -> None:
    here, there = sign_in_with_password(kim), sign_in_with_password(kim)
    tokens = intranet.tokens(here)

    end_by("signed_out", there)

    assert intranet.userinfo(tokens.access_token).status_code == 200
    assert intranet.refresh(tokens.refresh_token).status_code == 200


def test_tokens__of_an_earlier_pass_stay_dead_when_a_new_one_is_redeemed(
    robin: Any, holder: Client, portal: Party, open_registration: Callable[..., Client]
) -> None:
    code, asked = portal.code(holder)
    tokens = portal.tokens(holder)

    open_registration(robin)  # replaces the pass

    assert is_refused(portal.exchange(code, asked))
    assert portal.userinfo(tokens.access_token).status_code == 401


class Resource(ProtectedResourceView):
    """A resource of the site's own, protected as the toolkit's documentation says."""

    def get(self, request: Any) -> HttpResponse:
        return HttpResponse(str(request.resource_owner))


class ScopedResource(ScopedProtectedResourceView):
    """The same, and it demands scopes."""

    def get(self, request: Any) -> HttpResponse:
        return HttpResponse(str(request.resource_owner))


def ask_resource(token: str, *scopes: str) -> Any:
    view = ScopedResource.as_view(required_scopes=list(scopes)) if scopes else Resource.as_view()
    return view(RequestFactory().get("/resource/", headers={"authorization": f"Bearer {token}"}))


@pytest.mark.parametrize("way", ["pass_revoked", "user_deactivated", "deadline_passed"])
def test_validate_bearer_token__holds_at_every_resource_of_the_site(
    way: str, holder: Client, portal: Party, end_by: Callable[[str, Client], None]
) -> None:
    tokens = portal.tokens(holder, scope=REGISTRATION_SCOPE)
    assert ask_resource(tokens.access_token, "method_registration").status_code == 200

    end_by(way, holder)

    assert ask_resource(tokens.access_token, "method_registration").status_code == 403


@pytest.mark.parametrize("scopes", [(), ("email",), ("openid", "email")])
def test_validate_bearer_token__of_a_registration_only_session_opens_nothing_but_registration(
    scopes: tuple[str, ...], holder: Client, portal: Party
) -> None:
    token = portal.tokens(holder, scope=REGISTRATION_SCOPE).access_token

    assert ask_resource(token, *scopes).status_code == 403
    assert ask_resource(token, "method_registration").status_code == 200


@pytest.mark.parametrize("kind", ["access_token", "id_token"])
def test_validate_bearer_token__of_a_registration_only_session_does_not_sign_in_by_the_toolkits_backend(
    kind: str, holder: Client, portal: Party, settings: Any
) -> None:
    """That backend takes whoever shows a token for its user, at any form that calls `authenticate()`."""
    settings.AUTHENTICATION_BACKENDS = [*settings.AUTHENTICATION_BACKENDS, "oauth2_provider.backends.OAuth2Backend"]
    browser = Client(headers={"authorization": f"Bearer {portal.tokens(holder).response[kind]}"})

    browser.post("/account/sign-in/", {"upn": "nobody@example.test", "password": "guessed"})

    assert "_auth_user_id" not in browser.session


@pytest.mark.compliance("RFC 6750 §3")
def test_validate_bearer_token__tells_why_in_ascii_whatever_the_language(
    full: Client, intranet: Party, end_by: Callable[[str, Client], None]
) -> None:
    """`error_description` has no other characters; Django would encode the whole header."""
    token = intranet.tokens(full).access_token
    end_by("signed_out", full)
    request = Request("/resource/")

    with translation.override("ja"):
        assert not TapOAuth2Validator().validate_bearer_token(token, ["openid"], request)

        assert str(request.oauth2_error["error_description"]) == "The sign-in behind it has ended."


@pytest.mark.parametrize("way", ["header", "body"])
@pytest.mark.parametrize("first", [True, False], ids=["listed_first", "listed_last"])
def test_sign_in__an_access_token_is_no_password(
    way: str, first: bool, full: Client, kim: Any, intranet: Party, settings: Any
) -> None:
    """Or each relying party that holds one would be its user at our sign-in page."""
    token, backends = intranet.tokens(full).access_token, settings.AUTHENTICATION_BACKENDS
    toolkits = ["oauth2_provider.backends.OAuth2Backend"]
    settings.AUTHENTICATION_BACKENDS = toolkits + backends if first else backends + toolkits
    headers, extra = ({"authorization": f"Bearer {token}"}, {}) if way == "header" else ({}, {"access_token": token})
    browser = Client(headers=headers)

    response = browser.post("/account/sign-in/", {"upn": kim.upn, "password": "guessed", **extra})

    assert response.status_code == 200
    assert "_auth_user_id" not in browser.session
    if not first:
        assert browser.post("/account/sign-in/", {"upn": kim.upn, "password": PASSWORD, **extra}).status_code == 302


def test_validate_id_token__signed_by_its_clients_own_secret_proves_nothing(
    full: Client, intranet: Party, make_party: Callable[..., Party]
) -> None:
    """Such a client can write whatever it likes into one: another client's `jti`, and neither sign-in nor end."""
    secret = "a secret of at least thirty-two characters"
    party = make_party("by-secret", algorithm="HS256", client_secret=secret, hash_client_secret=False)
    key = RSAKey.import_key(django_settings.OAUTH2_PROVIDER["OIDC_RSA_PRIVATE_KEY"])
    theirs = jwt.decode(intranet.tokens(full).response["id_token"], key, algorithms=["RS256"]).claims
    forged = {"iss": theirs["iss"], "sub": theirs["sub"], "aud": party.client_id, "jti": theirs["jti"]}

    token = jwt.encode({"alg": "HS256", "typ": "JWT"}, forged, OctKey.import_key(secret))

    assert ask_resource(token).status_code == 403


@pytest.mark.parametrize("algorithm", ["", "HS256"])
def test_validate_id_token__for_a_client_that_has_none_is_refused(
    algorithm: str, full: Client, intranet: Party
) -> None:
    """Anybody can write a client's name into `aud`; the toolkit would answer with a server error."""
    id_token = intranet.tokens(full).response["id_token"]
    get_application_model().objects.update(algorithm=algorithm)

    assert ask_resource(id_token).status_code == 403


def test_validate_id_token__is_no_bearer_token(full: Client, holder: Client, intranet: Party, portal: Party) -> None:
    """The toolkit takes it for one. Neither revoking nor a code that is used twice would end it."""
    of_full, of_pass = intranet.tokens(full), portal.tokens(holder, scope=REGISTRATION_SCOPE)
    assert ask_resource(of_full.access_token).status_code == 200
    for tokens in (of_full, of_pass):
        for scopes in ((), ("openid",), ("method_registration",)):
            assert ask_resource(tokens.response["id_token"], *scopes).status_code == 403


# Deactivated users, also where no sign-in is known: codes and tokens from before the installation


def from_before(party: Party, browser: Client) -> tuple[tuple[str, Any], Tokens]:
    """Return a code and tokens that plain django-oauth-toolkit issued."""
    with plain_toolkit():
        old = Party(party.application)
        there = same_browser(browser)
        return old.code(there), old.read(old.exchange(*old.code(there)), nonce=None)


def test_codes_and_tokens_from_before__still_work(full: Client, intranet: Party) -> None:
    (code, asked), tokens = from_before(intranet, full)
    assert sign_in_of_token(tokens.access_token) is None

    exchanged = intranet.read(intranet.exchange(code, asked), nonce=asked.query["nonce"])
    refreshed = intranet.read(intranet.refresh(tokens.refresh_token), nonce=None)

    assert intranet.userinfo(exchanged.access_token).status_code == 200
    assert intranet.introspect(refreshed.access_token)["active"]
    assert ask_resource(tokens.access_token).status_code == 403  # its refresh has replaced it


def test_codes_and_tokens_from_before__claim_nothing(full: Client, intranet: Party) -> None:
    """Nothing is known of how they came about, so neither strength nor time is told."""
    (code, asked), tokens = from_before(intranet, full)

    exchanged = intranet.read(intranet.exchange(code, asked), nonce=asked.query["nonce"])
    refreshed = intranet.read(intranet.refresh(tokens.refresh_token), nonce=None)

    assert context_claims(exchanged.claims) == {}
    assert context_claims(refreshed.claims) == {}
    assert context_claims(intranet.introspect(refreshed.access_token)) == {}


def test_codes_and_tokens_from_before__die_with_the_users_deactivation(kim: Any, full: Client, intranet: Party) -> None:
    (code, asked), tokens = from_before(intranet, full)

    deactivate(kim)

    assert is_refused(intranet.exchange(code, asked))
    assert is_refused(intranet.refresh(tokens.refresh_token))
    assert intranet.userinfo(tokens.access_token).status_code == 401
    assert intranet.introspect(tokens.access_token) == {"active": False}
    assert ask_resource(tokens.access_token).status_code == 403
    assert ask_resource(tokens.response["id_token"]).status_code == 403


def test_codes_and_tokens__of_a_reactivated_user_stay_dead(kim: Any, full: Client, intranet: Party) -> None:
    """Relying parties were told that it has ended (Back-Channel Logout 1.0 §2.7)."""
    tokens = intranet.tokens(full)
    deactivate(kim)
    assert intranet.userinfo(tokens.access_token).status_code == 401

    kim.is_active = True
    kim.save()

    assert intranet.userinfo(tokens.access_token).status_code == 401


# Injection: what a client sends under the name of our attribute


@pytest.fixture
def stronger(kim: Any) -> str:
    """The id of a sign-in of the same user that says more than the session's own."""
    return str(sign_in_of(sign_in_with_passkey(kim)).pk)


@pytest.mark.parametrize("position", ["first", "last"])
def test_injection__in_the_authorization_request_is_never_believed(
    full: Client, intranet: Party, stronger: str, position: str
) -> None:
    asked = intranet.request()
    url = {
        "first": f"{AUTHORIZE}?tap_sign_in={stronger}&{asked.url.partition('?')[2]}",
        "last": f"{asked.url}&tap_sign_in={stronger}",
    }[position]

    code = answer_of(full.get(url))["code"]

    claims = intranet.read(intranet.exchange(code, asked), nonce=asked.query["nonce"]).claims
    assert (claims["acr"], claims["sid"]) == (PASSWORD_ACR, str(sign_in_of(full).pk))


def test_injection__in_the_consent_form_is_never_believed(
    full: Client, make_party: Callable[..., Party], stronger: str
) -> None:
    party = make_party("asks-first", skip_authorization=False)
    asked = party.request(tap_sign_in=stronger)

    code = answer_of(consent(full, asked, tap_sign_in=stronger))["code"]

    claims = party.read(party.exchange(code, asked), nonce=asked.query["nonce"]).claims
    assert (claims["acr"], claims["sid"]) == (PASSWORD_ACR, str(sign_in_of(full).pk))


def test_injection__in_the_token_request_is_never_believed(full: Client, intranet: Party, stronger: str) -> None:
    code, asked = intranet.code(full)

    response = intranet.exchange(code, asked, tap_sign_in=stronger)

    claims = intranet.read(response, nonce=asked.query["nonce"]).claims
    assert (claims["acr"], claims["sid"]) == (PASSWORD_ACR, str(sign_in_of(full).pk))


def test_injection__in_the_token_requests_address_is_never_believed(
    full: Client, intranet: Party, stronger: str
) -> None:
    code, asked = intranet.code(full)
    body = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": REDIRECT_URI,
        "code_verifier": asked.verifier,
        **intranet.credentials,
    }

    response = intranet.server.post(f"{TOKEN}?tap_sign_in={stronger}", body)

    # oauthlib refuses any query there; if it ever should not, then it must not be believed.
    if response.status_code == 200:
        assert intranet.read(response, nonce=asked.query["nonce"]).claims["acr"] == PASSWORD_ACR


def test_injection__in_the_refresh_request_is_never_believed(full: Client, intranet: Party, stronger: str) -> None:
    tokens = intranet.tokens(full)

    response = intranet.refresh(tokens.refresh_token, tap_sign_in=stronger)

    claims = intranet.read(response, nonce=None).claims
    assert (claims["acr"], claims["sid"]) == (PASSWORD_ACR, str(sign_in_of(full).pk))


def test_injection__gives_tokens_from_before_no_context(full: Client, intranet: Party, stronger: str) -> None:
    (code, asked), tokens = from_before(intranet, full)

    exchanged = intranet.read(intranet.exchange(code, asked, tap_sign_in=stronger), nonce=asked.query["nonce"])
    refreshed = intranet.read(intranet.refresh(tokens.refresh_token, tap_sign_in=stronger), nonce=None)

    for answer in (exchanged, refreshed):
        assert context_claims(answer.claims) == {}
        assert sign_in_of_token(answer.access_token) is None


@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
def test_injection__gives_grants_without_a_session_no_context(
    kim: Any, make_party: Callable[..., Party], stronger: str
) -> None:
    model = get_application_model()
    machine = make_party("machine", authorization_grant_type=model.GRANT_CLIENT_CREDENTIALS)
    legacy = make_party("legacy", authorization_grant_type=model.GRANT_PASSWORD)
    kim.tap_passkey.delete()  # a user who has one is refused
    machines = {"grant_type": "client_credentials", "scope": "profile", **machine.credentials}
    persons = {"grant_type": "password", "username": kim.username, "password": PASSWORD, **legacy.credentials}

    with toolkit_settings(COMPLIANT_BCP_RFC9700_PASSWORD_GRANT=False):
        for party, body in ((machine, machines), (legacy, {**persons, "scope": "openid"})):
            tokens = party.read(party.server.post(TOKEN, {**body, "tap_sign_in": stronger}), nonce=None)
            assert context_claims(tokens.claims) == {}
            assert context_claims(party.introspect(tokens.access_token)) == {}
            assert sign_in_of_token(tokens.access_token) is None


# The last gate before any code exists


def code_request(browser: Client, party: Party, **changes: Any) -> Request:
    """Make the oauthlib request that the toolkit hands to `save_authorization_code`."""
    sign_in = sign_in_of(browser)
    request = Request(party.request().url)
    given = {
        "client": party.application,
        "user": sign_in.user,
        "scopes": ["openid", "profile"],
        "response_type": "code",
        "sign_in": sign_in,
        **changes,
    }
    request_context.put(request, SignIn.objects.get(pk=given.pop("sign_in").pk))
    for name, value in given.items():
        setattr(request, name, value)
    request_context.take(request).pass_is_usable_once = False  # type: ignore[union-attr]
    return request


def save(request: Request, *, is_granted: bool = True) -> None:
    """Save a code, as within an authorization request that the tables have granted."""
    moment = request_context.AuthorizationMoment(request=HttpRequest(), sign_in=None, is_granted=is_granted)
    reset = request_context.current_moment.set(moment)
    try:
        TapOAuth2Validator().save_authorization_code(request.client.client_id, {"code": "the-code"}, request)
    finally:
        request_context.current_moment.reset(reset)


def test_save_authorization_code__refuses_what_the_tables_have_not_granted(full: Client, intranet: Party) -> None:
    """Whichever way leads there: the toolkit's own view, or one of a site's."""
    request = code_request(full, intranet)
    with pytest.raises(OAuth2Error) as refusal:
        save(request, is_granted=False)
    assert refusal.value.error == "login_required"
    with pytest.raises(OAuth2Error):
        TapOAuth2Validator().save_authorization_code("intranet", {"code": "a-code"}, request)
    assert not get_grant_model().objects.exists()


def test_save_authorization_code__remembers_the_sign_in(holder: Client, portal: Party) -> None:
    save(code_request(holder, portal))

    assert CodeContext.objects.get().sign_in == sign_in_of(holder)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"response_type": "code id_token"}, id="hybrid"),
        pytest.param({"response_type": "code token"}, id="hybrid_token"),
        pytest.param({"response_type": "token"}, id="implicit"),
        pytest.param({"response_type": None}, id="no_response_type"),
        pytest.param({"scopes": ["openid", "offline_access"]}, id="scope_beyond_registration"),
    ],
)
def test_save_authorization_code__refuses_a_registration_only_session(
    changes: dict[str, Any], holder: Client, portal: Party
) -> None:
    request = code_request(holder, portal, **changes)

    with pytest.raises(OAuth2Error) as refusal:
        save(request)

    assert refusal.value.error == ("invalid_scope" if "scopes" in changes else "login_required")
    assert refusal.value.state == request.state
    assert not get_grant_model().objects.exists()
    assert not CodeContext.objects.exists()


def test_save_authorization_code__refuses_a_registration_only_session_for_an_ordinary_client(
    holder: Client, intranet: Party
) -> None:
    with pytest.raises(OAuth2Error):
        save(code_request(holder, intranet))

    assert not get_grant_model().objects.exists()


def test_save_authorization_code__refuses_the_sign_in_of_another_user(
    holder: Client, full: Client, portal: Party
) -> None:
    for request in (
        code_request(full, portal, user=sign_in_of(holder).user),
        code_request(holder, portal, user=sign_in_of(full).user),
    ):
        with pytest.raises(OAuth2Error):
            save(request)

    assert not get_grant_model().objects.exists()


@pytest.mark.parametrize("way", ["ended_by_an_administrator", "user_deactivated", "deadline_passed"])
def test_save_authorization_code__refuses_a_sign_in_that_ended_meanwhile(
    way: str, full: Client, holder: Client, portal: Party, end_by: Callable[[str, Client], None]
) -> None:
    for browser in (full, holder):
        end_by(way, browser)
        with pytest.raises(OAuth2Error):
            save(code_request(browser, portal))

    assert not get_grant_model().objects.exists()


def token_request(browser: Client, party: Party, query: str, body: str) -> Request:
    """Make the oauthlib request that the toolkit hands to `save_bearer_token`."""
    request = Request(f"{AUTHORIZE}?{query}", http_method="POST", body=body)
    request_context.put(request, sign_in_of(browser))
    request.user, request.client, request.scopes = sign_in_of(browser).user, party.application, ["openid"]
    return request


@pytest.mark.parametrize(
    ("query", "body"),
    [
        pytest.param("response_type=token", "", id="implicit"),
        pytest.param("", "response_type=token", id="implicit_in_a_form"),
        pytest.param("", "grant_type=password", id="password"),
        pytest.param("", "grant_type=refresh_token", id="refresh"),
        pytest.param("", "grant_type=urn:ietf:params:oauth:grant-type:device_code", id="device"),
        pytest.param("response_type=token&grant_type=authorization_code", "", id="implicit_that_says_it_has_a_code"),
    ],
)
def test_save_bearer_token__refuses_a_registration_only_session_without_a_code(
    query: str, body: str, holder: Client, portal: Party
) -> None:
    """What a request says of itself is the client's to choose: only a code that was validated counts."""
    token = {"access_token": "the-token", "expires_in": 3600, "scope": "openid", "token_type": "Bearer"}

    with pytest.raises(OAuth2Error):
        TapOAuth2Validator().save_bearer_token(token, token_request(holder, portal, query, body))

    assert not get_access_token_model().objects.exists()
    assert not TokenContext.objects.exists()


@pytest.mark.compliance("RFC 6749 §5.2")
def test_save_bearer_token__in_the_last_second_is_invalid_grant(holder: Client, portal: Party) -> None:
    """RFC 6749 §5.2: an `expires_in` of 0 would be taken for "unknown", one of 1 would outlive the deadline."""
    code, asked = portal.code(holder)
    request = token_request(holder, portal, "", "grant_type=authorization_code")
    request_context.put_exchanged(request, get_grant_model().objects.get())
    move(holder, deadline=timezone.now() + timedelta(milliseconds=900))
    request_context.put(request, sign_in_of(holder))
    token = {"access_token": "the-token", "expires_in": 3600, "scope": "openid", "refresh_token": "another"}

    with pytest.raises(InvalidGrantError):
        TapOAuth2Validator().save_bearer_token(token, request)

    assert not get_access_token_model().objects.exists()
    assert is_refused(portal.exchange(code, asked))
    assert not get_id_token_model().objects.exists()


def test_validate_code__refuses_a_code_whose_sign_in_is_another_users(
    kim: Any, full: Client, holder: Client, intranet: Party
) -> None:
    """No identity mixes, whatever happened to the rows."""
    code, asked = intranet.code(full)
    CodeContext.objects.update(sign_in=sign_in_of(sign_in_with_password(kim)))
    get_grant_model().objects.update(user=sign_in_of(holder).user)

    assert is_refused(intranet.exchange(code, asked))


# Silent requests, which is what clients call those with `prompt=none`


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_silent__full_session_gets_a_code_where_consent_is_skipped(full: Client, intranet: Party) -> None:
    assert intranet.tokens(full, prompt="none").claims["amr"] == ["pwd"]


@pytest.fixture
def careful(make_party: Callable[..., Party]) -> Party:
    """A client for which people are asked whether they consent."""
    return make_party("careful", may_host_registration=True, skip_authorization=False)


def give_consent(browser: Client, party: Party, **changes: Any) -> Tokens:
    asked = party.request(**changes)
    code = answer_of(consent(browser, asked))["code"]
    return party.read(party.exchange(code, asked), nonce=asked.query["nonce"])


@pytest.mark.parametrize("approval", ["force", "auto"])
def test_silent__full_session_gets_a_code_where_consent_was_given_before(
    full: Client, careful: Party, approval: str
) -> None:
    """`force` is the toolkit's default: it means the consent page, which `prompt=none` forbids (OIDC Core §3.1.2.1)."""
    give_consent(full, careful)

    with toolkit_settings(REQUEST_APPROVAL_PROMPT=approval):
        assert careful.tokens(full, prompt="none").claims["amr"] == ["pwd"]


@pytest.mark.parametrize("given", [None, "openid", "expired", "to_another_client", "by_another_user"])
@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.6")
def test_silent__full_session_gets_consent_required_where_it_was_not_given(
    full: Client, make_user: Any, careful: Party, make_party: Callable[..., Party], given: str | None
) -> None:
    if given == "openid":
        give_consent(full, careful, scope="openid")
    elif given == "expired":
        give_consent(full, careful)
        get_access_token_model().objects.update(expires=timezone.now())
    elif given == "to_another_client":
        give_consent(full, make_party("another", skip_authorization=False))
    elif given == "by_another_user":
        give_consent(sign_in_with_password(make_user("lee", password=PASSWORD)), careful)
    asked = careful.request(prompt="none")

    answer = answer_of(full.get(asked.url))

    assert answer["error"] == "consent_required"
    assert (answer["state"], answer["iss"]) == (asked.query["state"], ISSUER)


def test_silent__registration_only_session_gets_a_code_where_consent_is_skipped(holder: Client, portal: Party) -> None:
    assert portal.tokens(holder, prompt="none").claims["amr"] == ["mfa", "tap"]


def test_silent__registration_only_session_gets_consent_required_where_it_was_not_given(
    holder: Client, careful: Party
) -> None:
    asked = careful.request(prompt="none")

    assert answer_of(holder.get(asked.url))["error"] == "consent_required"


def test_silent__registration_only_session_gets_a_code_where_consent_was_given_to_the_cut_scopes(
    holder: Client, careful: Party
) -> None:
    """Only what is granted needs consent: what is cut off anyway does not."""
    wanted = f"{REGISTRATION_SCOPE} offline_access"
    give_consent(holder, careful, scope=wanted)

    with toolkit_settings(REQUEST_APPROVAL_PROMPT="auto"):
        tokens = careful.tokens(holder, scope=wanted, prompt="none")

    assert tokens.response["scope"] == REGISTRATION_SCOPE


@pytest.mark.parametrize("skips", [True, False])
@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.6")
def test_silent__anonymous_visitor_gets_login_required(make_party: Callable[..., Party], skips: bool) -> None:
    asked = make_party("client", skip_authorization=skips).request(prompt="none")

    answer = answer_of(Client().get(asked.url))

    assert answer.pop("error_description")
    assert answer == {"error": "login_required", "state": asked.query["state"], "iss": ISSUER}


@pytest.mark.parametrize("way", [way for way in ENDS_OF_FULL_SESSION if way != "signed_in_anew"])
@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.6")
def test_silent__ended_full_session_gets_login_required(
    way: str, full: Client, intranet: Party, end_by: Callable[[str, Client], None]
) -> None:
    end_by(way, full)

    assert answer_of(full.get(intranet.request(prompt="none").url))["error"] == "login_required"


@pytest.mark.parametrize("way", [way for way in ENDS_OF_REGISTRATION if way != "signed_in_anew"])
@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.6")
def test_silent__ended_registration_only_session_gets_login_required(
    way: str, holder: Client, portal: Party, end_by: Callable[[str, Client], None]
) -> None:
    end_by(way, holder)

    assert answer_of(holder.get(portal.request(prompt="none").url))["error"] == "login_required"


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_silent__is_refused_together_with_another_prompt(full: Client, intranet: Party) -> None:
    asked = intranet.request(prompt="none login")

    assert answer_of(full.get(asked.url))["error"] == "invalid_request"


def test_silent__validators_outside_an_authorization_request_answer_no() -> None:
    assert not TapOAuth2Validator().validate_silent_login(Request(AUTHORIZE))
    assert not TapOAuth2Validator().validate_silent_authorization(Request(AUTHORIZE))


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_prompt_login__sends_a_registration_only_session_to_the_sign_in_page(holder: Client, portal: Party) -> None:
    assert is_sign_in_page(holder.get(portal.request(prompt="login").url))


# Codes are good once


@pytest.mark.compliance("RFC 6749 §4.1.2", "OpenID Connect Core 1.0 §3.1.3.2")
def test_exchange__of_one_code_twice_is_refused(full: Client, intranet: Party) -> None:
    code, asked = intranet.code(full)
    intranet.read(intranet.exchange(code, asked), nonce=asked.query["nonce"])

    assert is_refused(intranet.exchange(code, asked))


@pytest.mark.compliance("RFC 6749 §4.1.3", "OpenID Connect Core 1.0 §3.1.3.2")
def test_exchange__of_one_code_by_another_client_is_refused(full: Client, intranet: Party, portal: Party) -> None:
    code, asked = intranet.code(full)

    assert is_refused(portal.exchange(code, asked))


@pytest.mark.compliance("RFC 7636 §4.6")
def test_exchange__without_the_verifier_is_refused(holder: Client, portal: Party) -> None:
    code, asked = portal.code(holder)

    assert is_refused(portal.exchange(code, asked, code_verifier="x" * 43))


def test_client_credentials__have_nobody_behind_them_and_live_on(admin: Any, make_party: Callable[..., Party]) -> None:
    party = make_party("machine", authorization_grant_type="client-credentials")
    body = {"grant_type": "client_credentials", "scope": "profile", **party.credentials}
    token = party.server.post(TOKEN, body).json()["access_token"]

    deactivate(admin)

    assert sign_in_of_token(token) is None
    assert set(party.introspect(token)) == {"active", "scope", "exp", "client_id", "iss", "token_type"}
    assert ask_resource(token).status_code == 200
