"""What the OpenID tests share: applications, browsers in every kind of session, and a small client of our own.

The client does what a real one does, in this process: it asks with state, nonce and PKCE, exchanges the code, checks
the ID token against the keys that the provider serves, and keeps no cookie of the browser's.
"""

from __future__ import annotations

import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import clear_url_caches
from django.utils import timezone
from django_otp.oath import totp
from django_otp.plugins.otp_totp.models import TOTPDevice
from django_otp_webauthn.models import WebAuthnCredential
from joserfc import jwt
from joserfc.jwk import KeySet
from oauth2_provider.models import get_application_model

from tap_provider.backends import mark_proved
from tap_provider.issue import IssuedPass, issue_pass, revoke_pass
from tap_provider.models import SignIn, TemporaryAccessPass, TemporaryAccessPassPolicy
from tap_provider.oidc.models import RelyingParty
from tap_provider.policy import change_policy
from tap_provider.sign_in import SESSION_KEY, end_sign_in

from ..toolkit import forget_cores

ISSUER = django_settings.OAUTH2_PROVIDER["OIDC_ISS_ENDPOINT"]
REDIRECT_URI = "https://relying-party.test/callback/"
CLIENT_SECRET = "the-client-secret-of-the-tests"

AUTHORIZE, TOKEN, USERINFO = "/o/authorize/", "/o/token/", "/o/userinfo/"
INTROSPECT, REVOKE, JWKS = "/o/introspect/", "/o/revoke_token/", "/o/.well-known/jwks.json"

PASSWORD_ACR = "urn:oasis:names:tc:SAML:2.0:ac:classes:Password"
MULTI_FACTOR_ACR = "http://schemas.openid.net/pape/policies/2007/06/multi-factor"
PHISHING_RESISTANT_ACR = "phr"
PASSWORD = "correct horse battery staple"
REGISTRATION_SCOPE = "openid profile email method_registration"

TRANSACTION_STATEMENTS = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE SAVEPOINT", "SET TRANSACTION")


@dataclass(frozen=True)
class Asked:
    """What an authorization request sent, and the client must find again in the answer."""

    query: dict[str, str]
    verifier: str

    @property
    def url(self) -> str:
        return f"{AUTHORIZE}?{urlencode(self.query)}"


@dataclass(frozen=True)
class Tokens:
    """A token response and the claims of its ID token, validated."""

    response: dict[str, Any]
    claims: dict[str, Any] = field(default_factory=dict)

    @property
    def access_token(self) -> str:
        return str(self.response["access_token"])

    @property
    def refresh_token(self) -> str:
        return str(self.response["refresh_token"])


@dataclass
class Party:
    """A relying party: a client of the provider's, with a way to ask of its own."""

    application: Any
    secret: str = CLIENT_SECRET
    server: Any = field(default_factory=Client)  # its own HTTP client: no cookie of the user's is in it
    issuer: str = ISSUER

    @property
    def client_id(self) -> str:
        return str(self.application.client_id)

    @property
    def credentials(self) -> dict[str, str]:
        return {"client_id": self.client_id, "client_secret": self.secret}

    def request(self, **changes: Any) -> Asked:
        """Make an authorization request; None leaves a parameter out."""
        verifier = secrets.token_urlsafe(48)
        challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")
        query = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": REDIRECT_URI,
            "scope": "openid profile email offline_access",
            "state": secrets.token_urlsafe(8),
            "nonce": secrets.token_urlsafe(8),
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **changes,
        }
        return Asked(query={name: value for name, value in query.items() if value is not None}, verifier=verifier)

    def code(self, browser: Any, **changes: Any) -> tuple[str, Asked]:
        """Ask, and return the code that the answer must carry."""
        asked = self.request(**changes)
        answer = answer_of(browser.get(asked.url))
        assert "code" in answer, answer
        assert answer.get("state") == asked.query.get("state")
        assert answer["iss"] == self.issuer
        return answer["code"], asked

    def exchange(self, code: str, asked: Asked, **changes: Any) -> Any:
        """Send the code to the token endpoint."""
        body = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT_URI,
            "code_verifier": asked.verifier,
            **self.credentials,
            **changes,
        }
        return self.server.post(TOKEN, body)

    def refresh(self, refresh_token: str, **changes: Any) -> Any:
        body = {"grant_type": "refresh_token", "refresh_token": refresh_token, **self.credentials, **changes}
        return self.server.post(TOKEN, body)

    def tokens(self, browser: Any, **changes: Any) -> Tokens:
        """Walk authorize, code, token; validate the ID token."""
        code, asked = self.code(browser, **changes)
        return self.read(self.exchange(code, asked), nonce=asked.query.get("nonce"))

    def read(self, response: Any, *, nonce: str | None) -> Tokens:
        """Return what a successful token response holds, its ID token validated (OpenID Connect Core §3.1.3.7)."""
        assert response.status_code == 200, response.content
        assert "no-store" in response.headers["Cache-Control"]
        answer = response.json()
        id_token = answer.get("id_token")
        if id_token is None:
            return Tokens(response=answer)
        return Tokens(response=answer, claims=self.validate(id_token, nonce=nonce, access_token=answer["access_token"]))

    def validate(self, id_token: str, *, nonce: str | None, access_token: str) -> dict[str, Any]:
        keys = KeySet.import_key_set(self.server.get(JWKS).json())
        token = jwt.decode(id_token, keys, algorithms=["RS256"])
        options: dict[str, Any] = {
            "iss": {"essential": True, "value": self.issuer},
            "aud": {"essential": True, "value": self.client_id},
            "sub": {"essential": True},
            "exp": {"essential": True},
            "iat": {"essential": True},
        }
        if nonce is not None:
            options["nonce"] = {"essential": True, "value": nonce}
        jwt.JWTClaimsRegistry(**options).validate(token.claims)
        digest = sha256(access_token.encode()).digest()
        assert token.claims["at_hash"] == urlsafe_b64encode(digest[:16]).decode().rstrip("=")
        return dict(token.claims)

    def userinfo(self, token: str) -> Any:
        return self.server.get(USERINFO, headers={"authorization": f"Bearer {token}"})

    def introspect(self, token: str) -> dict[str, Any]:
        response = self.server.post(INTROSPECT, {"token": token, **self.credentials})
        assert response.status_code == 200, response.content
        answer: dict[str, Any] = response.json()
        return answer

    def revoke(self, token: str, **changes: Any) -> Any:
        return self.server.post(REVOKE, {"token": token, **self.credentials, **changes})


def answer_of(response: Any) -> dict[str, str]:
    """Return the parameters with which the browser was sent back to the client; each must come once."""
    assert response.status_code == 302, (response.status_code, response.content[:500])
    location = urlsplit(response.headers["Location"])
    assert f"{location.scheme}://{location.netloc}{location.path}" == REDIRECT_URI, response.headers["Location"]
    parameters = parse_qs(location.query or location.fragment, keep_blank_values=True, strict_parsing=True)
    assert all(len(values) == 1 for values in parameters.values()), parameters
    return {name: values[0] for name, values in parameters.items()}


def is_sign_in_page(response: Any) -> bool:
    """Tell whether the browser was sent to the sign-in page."""
    return response.status_code == 302 and response.headers["Location"].startswith("/account/sign-in/?")


def consent_page(browser: Client, asked: Asked) -> dict[str, str]:
    """Open the consent page and return the fields of its form, as a browser would post them."""
    response = browser.get(asked.url)
    assert response.status_code == 200, response.headers
    fields = {}
    for tag in re.findall(r"<input[^>]+>", response.content.decode()):
        attributes = {name: unescape(value) for name, value in re.findall(r'([\w-]+)="([^"]*)"', tag)}
        if attributes.get("type") == "hidden" and "name" in attributes:
            fields[attributes["name"]] = attributes.get("value", "")
    return {**fields, "allow": "Authorize"}


def consent(browser: Client, asked: Asked, **changes: str) -> Any:
    """Allow on the consent page; `changes` are what a user may alter in its hidden fields."""
    return browser.post(asked.url, {**consent_page(browser, asked), **changes})


def sign_in_of(browser: Client) -> SignIn:
    """Return the record behind a browser's session."""
    return SignIn.objects.get(pk=browser.session[SESSION_KEY])


def seconds(moment: datetime | None) -> int:
    """Return a moment as the claims tell it."""
    assert moment is not None
    return int(moment.timestamp())


# Applications


@pytest.fixture
def make_party(db: None) -> Callable[..., Party]:
    """Register a client with the toolkit; with `may_host_registration` also with us."""

    def make(client_id: str, *, may_host_registration: bool | None = None, **fields: Any) -> Party:
        application_model = get_application_model()
        application = application_model(
            client_id=client_id,
            **{
                "name": client_id,
                "client_secret": CLIENT_SECRET,
                "client_type": application_model.CLIENT_CONFIDENTIAL,
                "authorization_grant_type": application_model.GRANT_AUTHORIZATION_CODE,
                "algorithm": application_model.RS256_ALGORITHM,
                "redirect_uris": REDIRECT_URI,
                "skip_authorization": True,
                **fields,
            },
        )
        application.full_clean(exclude=["user"])
        application.save()
        if may_host_registration is not None:
            RelyingParty.objects.create(client_id=client_id, may_host_registration=may_host_registration)
        return Party(application)

    return make


@pytest.fixture
def portal(make_party: Callable[..., Party]) -> Party:
    """A client that may host registration."""
    return make_party("portal", may_host_registration=True)


@pytest.fixture
def intranet(make_party: Callable[..., Party]) -> Party:
    """An ordinary client."""
    return make_party("intranet", may_host_registration=False)


# Browsers


@pytest.fixture
def open_registration(issue: Callable[..., IssuedPass]) -> Callable[..., Client]:
    """Open a registration-only session: issue a pass and redeem it on the page."""

    def open_for(user: Any, **wishes: Any) -> Client:
        issued, browser = issue(user, **wishes), Client()
        browser.post("/account/sign-in/pass/", {"upn": user.upn, "passcode": issued.passcode.reveal()})
        assert sign_in_of(browser).is_registration_only
        return browser

    return open_for


@pytest.fixture
def holder(robin: Any, open_registration: Callable[..., Client]) -> Client:
    """A browser in Robin's registration-only session."""
    return open_registration(robin)


@pytest.fixture
def kim(make_user: Callable[..., Any]) -> Any:
    """Somebody with a password."""
    return make_user("kim", first_name="Kim", last_name="Colleague", password=PASSWORD)


def sign_in_with_password(user: Any) -> Client:
    browser = Client()
    response = browser.post("/account/sign-in/", {"upn": user.username, "password": PASSWORD})
    assert response.status_code == 302, response.content
    return browser


def sign_in_with_totp(user: Any) -> Client:
    """Sign in with the password and then the code of an authenticator app."""
    device = TOTPDevice.objects.create(user=user, confirmed=True, name="app")
    browser = sign_in_with_password(user)
    response = browser.post("/account/sign-in/verify/", {"code": f"{totp(device.bin_key):06d}"})
    assert response.status_code == 302, response.content
    return browser


def sign_in_with_passkey(user: Any, *, backup_eligible: bool = False) -> Client:
    """Sign in as the passkey's view does after the ceremony, which is not tested here."""
    credential_id = secrets.token_bytes(16)
    user.tap_passkey = WebAuthnCredential.objects.create(
        user=user,
        name="key",
        confirmed=True,
        credential_id=credential_id,
        credential_id_sha256=sha256(credential_id).hexdigest(),
        public_key=b"unused",
        backup_eligible=backup_eligible,
    )
    browser = Client()
    browser.force_login(mark_proved(user, "passkey"), backend="tap_provider.methods.passkey.PasskeyBackend")
    return browser


def session_from_before(user: Any) -> Client:
    """A full session that began before this was installed: nothing was written down."""
    browser = Client()
    browser.force_login(user, backend="tap_provider.backends.ModelBackend")
    session = browser.session
    SignIn.objects.filter(pk=session.pop(SESSION_KEY)).delete()
    session.save()
    return browser


@pytest.fixture
def full(kim: Any) -> Client:
    """A browser in Kim's full session, by password."""
    return sign_in_with_password(kim)


# Ends

ENDS_OF_REGISTRATION = (
    "signed_out",
    "finished",
    "signed_in_anew",
    "pass_revoked",
    "pass_replaced",
    "pass_deleted_behind_the_verb",
    "policy_off",
    "policy_off_behind_the_verb",
    "user_excluded",
    "one_time_only",
    "user_deactivated",
    "password_set",
    "password_changed_past_us",
    "deadline_passed",
)
ENDS_OF_FULL_SESSION = (
    "signed_out",
    "signed_in_anew",
    "ended_by_an_administrator",
    "user_deactivated",
    "password_set",
    "password_changed_past_us",
    "deadline_passed",
)


@pytest.fixture
def end_by(admin: Any) -> Callable[[str, Client], None]:
    """End the sign-in behind a browser's session in one of the ways above."""

    def end(way: str, browser: Client) -> None:
        sign_in, now = sign_in_of(browser), timezone.now()
        user, rows = sign_in.user, SignIn.objects.filter(pk=sign_in.pk)
        ways: dict[str, Callable[[], Any]] = {
            "signed_out": lambda: browser.post("/account/sign-out/"),
            "finished": lambda: browser.post("/account/security-info/finish/"),
            "signed_in_anew": lambda: browser.post(
                "/account/sign-in/", {"upn": admin.username, "password": "admin-password"}
            ),
            "ended_by_an_administrator": lambda: end_sign_in(
                sign_in, reason=SignIn.EndedReason.SIGNED_OUT, now=now, actor=admin
            ),
            "pass_revoked": lambda: revoke_pass(
                actor=admin, temporary_access_pass=TemporaryAccessPass.objects.get(user=user), now=now
            ),
            "pass_replaced": lambda: issue_pass(actor=admin, user=user, now=now),
            "pass_deleted_behind_the_verb": lambda: TemporaryAccessPass.objects.filter(user=user).delete(),
            "policy_off": lambda: change_policy(actor=admin, now=now, enabled=False),
            "policy_off_behind_the_verb": lambda: TemporaryAccessPassPolicy.objects.update(enabled=False),
            "user_excluded": lambda: change_policy(actor=admin, now=now, excluded_users=[user]),
            "one_time_only": lambda: change_policy(actor=admin, now=now, one_time_only=True),
            "user_deactivated": lambda: deactivate(user),
            "password_set": lambda: set_password(user),
            "password_changed_past_us": lambda: type(user)._default_manager.filter(pk=user.pk).update(password="!"),
            "deadline_passed": lambda: rows.update(deadline=now),
        }
        ways[way]()

    return end


def deactivate(user: Any) -> None:
    user.is_active = False
    user.save(update_fields=["is_active"])


def set_password(user: Any) -> None:
    user.set_password("another-password")
    user.save()


# The toolkit


@pytest.fixture(autouse=True)
def _fresh_cores() -> Iterator[None]:
    forget_cores()
    yield
    forget_cores()


@contextmanager
def toolkit_settings(**changes: Any) -> Iterator[None]:
    """Change settings of the toolkit; None takes one out."""
    changed = {**django_settings.OAUTH2_PROVIDER, **changes}
    kept = {name: value for name, value in changed.items() if value is not None}
    with override_settings(OAUTH2_PROVIDER=kept):
        forget_cores()
        yield
    forget_cores()


@contextmanager
def plain_toolkit() -> Iterator[None]:
    """The same site with django-oauth-toolkit alone: its URLs, its validator, and no middleware of ours."""
    middleware = [name for name in django_settings.MIDDLEWARE if not name.startswith("tap_provider.")]
    with (
        override_settings(ROOT_URLCONF="tests.oidc.plain_urls", MIDDLEWARE=middleware),
        toolkit_settings(OAUTH2_VALIDATOR_CLASS=None),
    ):
        clear_url_caches()
        yield
    clear_url_caches()


def same_browser(browser: Client) -> Client:
    """Return a new test client with this browser's cookies: clients keep the middleware that they were made with."""
    copy = Client()
    copy.cookies = browser.cookies
    return copy


@contextmanager
def counted() -> Iterator[Callable[[], int]]:
    """Count statements, those that only open or close transactions left out."""
    counts: list[int] = []
    with CaptureQueriesContext(connection) as captured:
        yield lambda: counts[0]
        # Now, because the next request empties the log.
        statements = [query["sql"].upper() for query in captured.captured_queries]
        counts.append(sum(not statement.startswith(TRANSACTION_STATEMENTS) for statement in statements))
