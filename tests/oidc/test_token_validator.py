"""What is decided before anything is hashed or spent: passwords and codes at the token endpoint."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.contrib.auth.signals import user_login_failed
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django_otp.plugins.otp_totp.models import TOTPDevice
from oauth2_provider.models import get_access_token_model, get_application_model

from tap_provider.hooks import Hooks
from tap_provider.models import AuditEvent
from tap_provider.oidc.models import RelyingParty

from .conftest import PASSWORD, REDIRECT_URI, TOKEN, Party, deactivate, sign_in_with_passkey, toolkit_settings

# Guesses at passwords (RFC 6749 §4.3.2)


class CountedPasswords(MD5PasswordHasher):
    """Django's own for tests, which notes what it was asked to hash."""

    hashed: list[str] = []

    def encode(self, password: str, salt: str) -> str:
        self.hashed.append(password)
        return super().encode(password, salt)


@pytest.fixture
def hashed(settings: Any, kim: Any) -> list[str]:
    """List what the site's first hasher is asked to hash from now on."""
    settings.PASSWORD_HASHERS = [
        f"{__name__}.CountedPasswords",
        "tap_provider.oidc.hashers.ClientSecretHasher",
    ]
    CountedPasswords.hashed.clear()
    return CountedPasswords.hashed


@pytest.fixture
def legacy(make_party: Callable[..., Party]) -> Party:
    """A public client that has the right to the password grant."""
    model = get_application_model()
    return make_party("legacy", client_type=model.CLIENT_PUBLIC, authorization_grant_type=model.GRANT_PASSWORD)


@pytest.fixture
def public(make_party: Callable[..., Party]) -> Party:
    """A public client that has not."""
    return make_party("public", client_type=get_application_model().CLIENT_PUBLIC)


def guess(party: Party, username: str, password: str, **changes: Any) -> Any:
    """Send a password to the token endpoint of a site that has the grant switched on."""
    body = {"grant_type": "password", "username": username, "password": password, "client_id": party.client_id}
    body["scope"] = "profile"
    with toolkit_settings(COMPLIANT_BCP_RFC9700_PASSWORD_GRANT=False):
        return Client().post(TOKEN, {**body, **changes})


def answer(response: Any) -> Any:
    return response.status_code, response.json(), response.headers.get("Retry-After")


@pytest.mark.compliance("RFC 6749 §4.3.2", "RFC 6749 §5.2")
@pytest.mark.parametrize("gate", [True, False], ids=["switched_off", "not_the_clients"])
def test_validate_user__decides_the_clients_right_before_it_hashes(
    kim: Any, public: Party, legacy: Party, hashed: list[str], gate: bool
) -> None:
    """A public client's id is no secret: any stranger could guess through it."""
    party = legacy if gate else public
    body = {"grant_type": "password", "username": kim.username, "client_id": party.client_id}
    with toolkit_settings(COMPLIANT_BCP_RFC9700_PASSWORD_GRANT=gate):
        answers = [Client().post(TOKEN, {**body, "password": typed}) for typed in (PASSWORD, "wrong")]

    assert [answer(response) for response in answers] == [(400, {"error": "unauthorized_client"}, None)] * 2
    assert hashed == []


@pytest.mark.compliance("RFC 6749 §4.3.2")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
def test_validate_user__decides_the_scopes_before_it_hashes(kim: Any, legacy: Party, hashed: list[str]) -> None:
    answers = [guess(legacy, kim.username, typed, scope="introspection") for typed in (PASSWORD, "wrong")]

    assert [response.json()["error"] for response in answers] == ["invalid_scope"] * 2
    assert hashed == []


@pytest.mark.compliance("RFC 6749 §4.3.2", "RFC 6749 §10.10")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
@pytest.mark.parametrize("name", ["kim", "nobody"])
def test_validate_user__hashes_ten_guesses_of_a_hundred(kim: Any, legacy: Party, hashed: list[str], name: str) -> None:
    answers = [guess(legacy, name, f"guess {number}") for number in range(100)]

    assert {response.status_code for response in answers} == {400}
    assert {response.json()["error"] for response in answers} == {"invalid_grant"}
    assert len(hashed) == 10
    assert [("Retry-After" in response.headers) for response in answers] == [False] * 10 + [True] * 90
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 11 * 60
    # The right password is refused as well, here and at the page, which tells as much of a name that nobody has.
    assert guess(legacy, name, PASSWORD).json() == answers[-1].json()
    assert Client().post("/account/sign-in/", {"upn": name, "password": PASSWORD}).status_code == 429


@pytest.mark.compliance("RFC 6749 §4.3.2")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
def test_validate_user__counts_what_the_page_has_refused(kim: Any, legacy: Party, hashed: list[str]) -> None:
    for _ in range(10):
        Client().post("/account/sign-in/", {"upn": kim.username, "password": "wrong"})
    hashed.clear()

    assert "Retry-After" in guess(legacy, kim.username, PASSWORD).headers
    assert hashed == []


@pytest.mark.compliance("RFC 6749 §5.2")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
def test_validate_user__refuses_everything_alike(kim: Any, make_user: Callable[..., Any], legacy: Party) -> None:
    """Neither a second factor, nor deactivation, nor the client's minimum tells that a password was right."""
    with_app, with_passkey, gone = (make_user(name, password=PASSWORD) for name in ("app", "key", "gone"))
    TOTPDevice.objects.create(user=with_app, confirmed=True, name="app")
    sign_in_with_passkey(with_passkey)
    deactivate(gone)

    refused = [guess(legacy, user.username, PASSWORD) for user in (with_app, with_passkey, gone)]
    refused += [guess(legacy, name, "wrong") for name in (kim.username, "app", "key", "gone", "nobody")]
    RelyingParty.objects.create(client_id=legacy.client_id, minimum_level="multi_factor")
    refused += [guess(legacy, kim.username, typed) for typed in (PASSWORD, "wrong")]

    answers = [answer(response) for response in refused]
    assert answers[0][0] == 400
    assert answers[0][1] == {"error": "invalid_grant", "error_description": "Invalid credentials given."}
    assert all(one == answers[0] for one in answers)
    assert not get_access_token_model().objects.exists()


class KnowsAnotherFactor(Hooks):
    def has_other_second_factor(self, user: Any) -> bool:
        return True


@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
@pytest.mark.parametrize("state", ["app", "passkey", "by the hook", "inactive"])
def test_validate_user__a_right_password_that_is_refused_leaves_the_traces_of_a_wrong_one(
    state: str, make_user: Callable[..., Any], legacy: Party, hashed: list[str], settings: Any
) -> None:
    """In statements, in hashes, and in Django's signal, by which packages count failures and lock."""
    user = make_user("robin", password=PASSWORD)
    if state == "inactive":
        deactivate(user)
    elif state == "passkey":
        sign_in_with_passkey(user)
    elif state == "app":
        TOTPDevice.objects.create(user=user, confirmed=True, name="x")
    else:
        settings.TAP_PROVIDER_HOOKS = f"{__name__}.KnowsAnotherFactor"
    failed: list[Any] = []

    def note(sender: Any, credentials: Any, **kwargs: Any) -> None:
        failed.append(credentials["username"])

    traces = []
    guess(legacy, "robin", "the first of all")  # which computes what is kept for the process
    user_login_failed.connect(note)
    for typed in (PASSWORD, "wrong"):
        failed.clear()
        hashed.clear()
        with CaptureQueriesContext(connection) as queries:
            response = guess(legacy, "robin", typed)
        statements = [re.sub(r"'[^']*'|[0-9]+", "?", query["sql"]) for query in queries]
        traces.append((answer(response), statements, len(hashed), list(failed)))
    user_login_failed.disconnect(note)

    assert traces[0] == traces[1]
    assert traces[0][3] == ["robin"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
def test_validate_user__records_a_refusal_as_the_page_does(kim: Any, legacy: Party) -> None:
    guess(legacy, kim.username, "typed-by-mistake")

    event = AuditEvent.objects.get(kind=AuditEvent.Kind.SIGN_IN_REFUSED)
    assert (event.user_key, event.address, event.detail) == (str(kim.pk), "127.0.0.1", {"reason": "password"})


@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
def test_validate_user__a_right_password_is_no_guess(kim: Any, legacy: Party) -> None:
    assert [guess(legacy, kim.username, PASSWORD, scope="profile").status_code for _ in range(12)] == [200] * 12


# Which client asks (RFC 6749 §2.3)


@pytest.mark.compliance("RFC 6749 §2.3", "OpenID Connect Core 1.0 §3.1.3.7")
@pytest.mark.parametrize("grant", ["authorization_code", "refresh_token"])
def test_authenticate_client__refuses_one_that_names_another(
    full: Client, intranet: Party, portal: Party, grant: str
) -> None:
    """What the body names would be the audience of the ID token: one of Kim's for a client that Kim never used."""
    code, asked = intranet.code(full)
    body = {"code": code, "redirect_uri": REDIRECT_URI, "code_verifier": asked.verifier}
    if grant == "refresh_token":
        body = {"refresh_token": intranet.exchange(code, asked).json()["refresh_token"]}
    basic = b64encode(f"{intranet.client_id}:{intranet.secret}".encode()).decode()

    def send(**more: str) -> Any:
        headers = {"authorization": f"Basic {basic}"}
        return intranet.server.post(TOKEN, {"grant_type": grant, **body, **more}, headers=headers)

    refused = send(client_id=portal.client_id)
    assert (refused.status_code, refused.json()) == (401, {"error": "invalid_client"})
    assert intranet.read(send(client_id=intranet.client_id), nonce=None).claims["aud"] == intranet.client_id


@pytest.mark.compliance("RFC 6749 §2.3")
def test_authenticate_client__a_client_id_of_another_case_is_no_public_clients(
    full: Client, make_party: Callable[..., Party]
) -> None:
    """Some databases find it by that."""
    party = make_party("phone", client_type=get_application_model().CLIENT_PUBLIC)
    code, asked = party.code(full)

    assert party.exchange(code, asked, client_id="PHONE", client_secret="").json()["error"] == "invalid_client"
    assert party.exchange(code, asked, client_secret="").status_code == 200


# PKCE (RFC 7636 §4; RFC 9700 §2.1.1, §4.8.2)


@pytest.fixture
def exempt() -> Iterator[None]:
    """Have no client obliged to PKCE, and both methods allowed."""
    with toolkit_settings(
        PKCE_REQUIRED=False,
        COMPLIANT_BCP_RFC9700_PKCE_REQUIRED=False,
        COMPLIANT_BCP_RFC9700_PKCE_METHOD=False,
    ):
        yield


NO_CHALLENGE: dict[str, Any] = {"code_challenge": None, "code_challenge_method": None}


@pytest.mark.compliance("RFC 9700 §2.1.1", "RFC 9700 §4.8.2")
@pytest.mark.usefixtures("exempt")
@pytest.mark.parametrize("client_type", ["confidential", "public"])
def test_validate_code__refuses_a_verifier_where_no_challenge_was_sent(
    full: Client, make_party: Callable[..., Party], client_type: str
) -> None:
    """Who took the challenge out of the request holds a code that nothing protects, and the client sends a verifier."""
    party = make_party("careful", client_type=client_type)
    code, asked = party.code(full, **NO_CHALLENGE)

    refused = party.exchange(code, asked)

    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    assert not get_access_token_model().objects.exists()


@pytest.mark.compliance("RFC 6749 §3.2")
@pytest.mark.usefixtures("exempt")
@pytest.mark.parametrize("sent", [{"code_verifier": ""}, {}], ids=["empty", "missing"])
def test_validate_code__takes_an_empty_verifier_for_none(full: Client, intranet: Party, sent: dict[str, str]) -> None:
    """RFC 6749 §3.2: what is sent without a value is omitted. A client without PKCE is served where it may be."""
    code, _ = intranet.code(full, **NO_CHALLENGE)
    body = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI, **intranet.credentials}

    assert intranet.server.post(TOKEN, {**body, **sent}).status_code == 200


@pytest.mark.compliance("RFC 7636 §4.6")
@pytest.mark.usefixtures("exempt")
@pytest.mark.parametrize("verifier", ["", "x" * 43, None], ids=["empty", "wrong", "missing"])
def test_validate_code__needs_the_verifier_where_a_challenge_was_sent(
    full: Client, intranet: Party, verifier: str | None
) -> None:
    code, asked = intranet.code(full)
    body = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI, **intranet.credentials}
    sent = {} if verifier is None else {"code_verifier": verifier}

    refused = intranet.server.post(TOKEN, {**body, **sent})

    assert (refused.status_code, refused.json()["error"]) == (
        400,
        "invalid_request" if verifier is None else "invalid_grant",
    )
    assert intranet.exchange(code, asked).status_code == 200


@pytest.mark.compliance("RFC 7636 §4.3", "RFC 7636 §4.6")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
@pytest.mark.usefixtures("exempt")
@pytest.mark.parametrize("method", ["plain", None], ids=["plain", "missing"])
def test_validate_code__compares_a_plain_challenge_with_the_verifier(
    full: Client, intranet: Party, method: str | None
) -> None:
    challenge = "plain-" + "x" * 40
    for verifier, status in ((challenge, 200), (challenge.upper(), 400)):
        code, asked = intranet.code(full, code_challenge=challenge, code_challenge_method=method)
        assert intranet.exchange(code, asked, code_verifier=verifier).status_code == status


@pytest.mark.compliance("RFC 9700 §4.8.2")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
@pytest.mark.usefixtures("exempt")
def test_validate_code__a_challenge_stripped_of_its_method_does_not_fit_the_clients_verifier(
    full: Client, intranet: Party
) -> None:
    code, asked = intranet.code(full, code_challenge_method=None)

    assert intranet.exchange(code, asked).json()["error"] == "invalid_grant"
