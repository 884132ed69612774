"""Client secrets: hashed fast where they are strong, refused where they are not, verified whatever they are."""

from __future__ import annotations

import secrets
import string
from hashlib import sha256
from random import Random
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher, check_password, identify_hasher, make_password
from django.core.exceptions import ValidationError
from django.test import Client
from oauth2_provider.generators import generate_client_secret
from oauth2_provider.models import get_application_model

from tap_provider.oidc.hashers import ClientSecretHasher, WeakClientSecret, is_weak, validate_client_secret

from .conftest import CLIENT_SECRET, INTROSPECT, TOKEN, Party, toolkit_settings

ALGORITHM = ClientSecretHasher.algorithm
PBKDF2 = "django.contrib.auth.hashers.PBKDF2PasswordHasher"
LETTERS = string.ascii_letters + string.digits


def encoded_before(secret: str, salt: str = "salt") -> str:
    """Return what is stored of a secret that would be refused today."""
    return f"{ALGORITHM}${salt}${sha256(f'{salt}{secret}'.encode()).hexdigest()}"


STRONG = [
    pytest.param(generate_client_secret(), id="the toolkit's"),
    pytest.param(secrets.token_urlsafe(96), id="the demo's"),
    pytest.param("0123456789abcdef0123456789ab", id="28 of hexadecimal: 112 bits"),
    pytest.param("0123456789ABCDEF0123456789AB", id="the same in upper case"),
    pytest.param("3141592653589793238462643383279502", id="34 digits: 113 bits"),
    pytest.param("The quick brown fox 19", id="22 of four classes"),
    pytest.param("ÄÖÜäöüßéèê0123456789", id="outside ASCII"),
]
WEAK = [
    pytest.param("secret", id="a word"),
    pytest.param("0123456789abcdef0123456789a", id="27 of hexadecimal: 108 bits"),
    pytest.param("0123456789ABCDEF0123456789A", id="the same in upper case"),
    pytest.param("314159265358979323846264338327950", id="33 digits: 109.6 bits"),
    pytest.param("abcdefghijklmnopqrstuvw", id="23 of lower case: 108.1 bits"),
    pytest.param("a" * 200, id="one symbol"),
    pytest.param("password" * 16, id="repeated"),
    pytest.param("ab12" * 40 + "ab", id="repeated, and cut"),
    pytest.param("0001101011" * 12 + "1110001010", id="of two symbols"),
]


@pytest.mark.parametrize("secret", STRONG)
def test_encode__hashes_a_strong_secret_with_a_salt_of_its_own(secret: str) -> None:
    first, second = make_password(secret, hasher=ALGORITHM), make_password(secret, hasher=ALGORITHM)

    assert first.startswith(f"{ALGORITHM}$")
    assert first != second
    assert len(first) < 128
    assert secret not in first
    assert check_password(secret, first)
    assert not check_password(f"{secret}x", first)


@pytest.mark.parametrize("secret", WEAK)
def test_encode__refuses_a_weak_secret(secret: str) -> None:
    with pytest.raises(WeakClientSecret) as refused:
        make_password(secret, hasher=ALGORITHM)

    assert refused.value.code == "weak_client_secret"
    assert str(refused.value).startswith("A client secret needs at least 112 bits.")


def test_is_weak__refuses_no_random_secret_of_enough_bits() -> None:
    """The same ones each time: two hexadecimal secrets in a million have no letter, and look like a weak one."""
    chance = Random(112)
    for _ in range(2000):
        assert not is_weak("".join(chance.choice(LETTERS) for _ in range(22)))
        assert not is_weak(chance.randbytes(14).hex())


@pytest.mark.parametrize("secret", ["secret", "", "é" * 3, "a" * 100_000])
def test_verify__never_refuses_for_weakness(secret: str) -> None:
    assert ClientSecretHasher().verify(secret, encoded_before(secret))
    assert not ClientSecretHasher().verify(f"{secret}.", encoded_before(secret))


@pytest.mark.parametrize("presented", ["", "x", generate_client_secret()])
def test_encode__of_no_secret_is_what_nothing_verifies_against(presented: str) -> None:
    """A public client may be saved without a secret; nobody can present it."""
    encoded = make_password("", hasher=ALGORITHM)

    assert not check_password(presented, encoded)


def test_encode__refuses_a_salt_that_would_be_read_otherwise() -> None:
    with pytest.raises(ValueError, match="salt"):
        ClientSecretHasher().encode(CLIENT_SECRET, "a$b")


def test_safe_summary__shows_neither_salt_nor_hash() -> None:
    encoded = ClientSecretHasher().encode(CLIENT_SECRET, "saltsaltsalt")

    summary = {str(name): value for name, value in ClientSecretHasher().safe_summary(encoded).items()}

    assert summary["algorithm"] == ALGORITHM
    assert summary["salt"] == "sa**********"
    assert encoded.split("$")[2][6:] not in summary["hash"]


# Over the toolkit


def test_application__keeps_its_secret_hashed(intranet: Party) -> None:
    assert identify_hasher(intranet.application.client_secret).algorithm == ALGORITHM
    assert intranet.introspect("unknown") == {"active": False}


def test_application__with_djangos_hash_keeps_working(intranet: Party, settings: Any) -> None:
    """A secret from before the hasher was chosen."""
    settings.PASSWORD_HASHERS = [PBKDF2, *settings.PASSWORD_HASHERS]
    hashed = PBKDF2PasswordHasher().encode(CLIENT_SECRET, "salt", iterations=10)
    get_application_model().objects.update(client_secret=hashed)

    wrong = {"token": "unknown", **intranet.credentials, "client_secret": "wrong"}

    assert intranet.introspect("unknown") == {"active": False}
    assert intranet.server.post(INTROSPECT, wrong).status_code == 401


def test_application__that_is_saved_again_keeps_its_secret(intranet: Party) -> None:
    intranet.application.name = "renamed"
    intranet.application.save()

    assert intranet.introspect("unknown") == {"active": False}


def test_application__with_a_wrong_secret_gets_no_token(full: Client, intranet: Party) -> None:
    code, asked = intranet.code(full)

    for wrong in ("wrong", "", intranet.application.client_secret):
        assert intranet.exchange(code, asked, client_secret=wrong).json()["error"] == "invalid_client"


def test_application__of_a_public_client_needs_no_secret(full: Client, make_party: Any) -> None:
    party = make_party("public", client_type="public", client_secret="")
    code, asked = party.code(full)
    body = {"grant_type": "authorization_code", "code": code, "code_verifier": asked.verifier}

    response = party.server.post(
        TOKEN, {**body, "client_id": party.client_id, "redirect_uri": asked.query["redirect_uri"]}
    )

    assert response.status_code == 200


# On forms


def test_validate_client_secret__refuses_what_the_hasher_would() -> None:
    with pytest.raises(ValidationError) as refused:
        validate_client_secret("secret")

    assert refused.value.code == "weak_client_secret"
    assert "112 bits" in refused.value.messages[0]


@pytest.mark.parametrize("secret", ["", CLIENT_SECRET, encoded_before("secret"), "md5$salt$hash"])
def test_validate_client_secret__lets_strong_ones_and_hashes_pass(secret: str) -> None:
    validate_client_secret(secret)


def test_validate_client_secret__is_silent_where_another_hasher_is_used() -> None:
    with toolkit_settings(CLIENT_SECRET_HASHER="default"):
        validate_client_secret("secret")


@pytest.mark.urls("tests.oidc.managed_urls")
def test_registration_page__says_that_a_secret_is_too_weak(full: Client, kim: Any) -> None:
    """In place of a server error as the client is saved."""
    form = {
        "name": "weak",
        "client_id": "weak",
        "client_secret": "secret",
        "client_type": "confidential",
        "authorization_grant_type": "authorization-code",
        "redirect_uris": "https://relying-party.test/callback/",
        "algorithm": "RS256",
        "hash_client_secret": "on",
    }
    kim.is_superuser = True
    kim.save()
    response = full.post("/o/applications/register/", form)

    assert response.status_code == 200
    assert "112 bits" in response.content.decode()
    assert not get_application_model().objects.exists()


@pytest.mark.parametrize("broken", ["tap_client_secret$", "tap_client_secret$salt"])
def test_application__whose_hash_is_none_opens_to_nobody(broken: str, full: Client, intranet: Party) -> None:
    """The toolkit takes what has no hash for a secret in clear text, however weak."""
    get_application_model().objects.update(client_secret=broken)
    intranet.secret = broken

    assert intranet.exchange(*intranet.code(full)).status_code == 401
