"""The whole story of a pass over HTTP: a real server, and for each person and each relying party a client of their own.

The numbers in the comments are the steps of the story as the README tells it.
"""

from __future__ import annotations

import json
import logging
import re
from base64 import b32decode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
import requests
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import connection
from django.utils import timezone
from django_otp.oath import totp

from tap_provider.models import SignIn
from tests.oidc.conftest import (
    MULTI_FACTOR_ACR,
    PASSWORD,
    PHISHING_RESISTANT_ACR,
    REGISTRATION_SCOPE,
    Party,
    answer_of,
    forget_cores,
    is_sign_in_page,
    make_party,
    seconds,
    toolkit_settings,
)
from tests.softauthn import (
    BEGIN_AUTHENTICATION,
    BEGIN_REGISTRATION,
    COMPLETE_AUTHENTICATION,
    COMPLETE_REGISTRATION,
    SoftAuthenticator,
)

__all__ = ["make_party"]  # a fixture

CLOSED = (
    "/members/",
    "/admin/",
    "/admin/accounts/user/",
    "/o/authorized_tokens/",
    "/o/device/",
)


class Http:
    """An HTTP client of somebody's own: their cookies, no redirect followed unasked."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy of the machine's

    def get(self, path: str, **arguments: Any) -> requests.Response:
        return self._request("GET", path, **arguments)

    def post(self, path: str, data: Any = None, **arguments: Any) -> requests.Response:
        return self._request("POST", path, data=data, **arguments)

    def follow(self, response: requests.Response) -> requests.Response:
        """Go where a redirect leads."""
        assert response.status_code == 302, response.text
        return self.get(urljoin(response.url, response.headers["Location"]))

    def click(self, page: requests.Response, text: str) -> requests.Response:
        """Follow the last link of this text on a page: navigation comes before content."""
        links = re.findall(r'<a [^>]*href="([^"]*)"[^>]*>\s*([^<]*?)\s*</a>', page.text)
        addresses = [unescape(address) for address, label in links if unescape(label) == text]
        assert addresses, (text, links)
        response = self.get(urljoin(page.url, addresses[-1]))
        assert response.status_code == 200, (text, response.status_code)
        return response

    def submit(self, page: requests.Response, **entered: Any) -> requests.Response:
        """Fill in a page's own form as a browser would, and send it."""
        return self.post(page.url, {**fields_of(page), **entered})

    def post_json(self, path: str, body: Any = None) -> Any:
        headers = {"Content-Type": "application/json", "X-CSRFToken": self.session.cookies["csrftoken"]}
        response = self.post(path, json.dumps(body or {}), headers=headers)
        assert response.status_code == 200, response.text
        return response.json()

    def _request(self, method: str, path: str, **arguments: Any) -> requests.Response:
        arguments.setdefault("allow_redirects", False)
        return self.session.request(method, urljoin(self.base_url, path), timeout=20, **arguments)


def fields_of(page: requests.Response) -> dict[str, Any]:
    """Return what a page's form sends when nothing is entered."""
    fields: dict[str, Any] = {}
    for tag in re.findall(r"<input[^>]*>", page.text):
        attributes = {name: unescape(value) for name, value in re.findall(r'([\w-]+)="([^"]*)"', tag)}
        is_off = attributes.get("type") in {"checkbox", "radio"} and not re.search(r"\schecked\b", tag)
        if "name" in attributes and not is_off and attributes.get("type") not in {"submit", "file"}:
            fields[attributes["name"]] = attributes.get("value", "on" if attributes.get("type") == "checkbox" else "")
    return fields


def text_of(page: requests.Response, element_id: str) -> str:
    found = re.search(rf'id="{element_id}"[^>]*>([^<]*)<', page.text)
    assert found is not None, element_id
    return unescape(found[1]).strip()


def where_kept(secrets: set[str]) -> list[str]:
    """Return in which tables of the database one of these texts is found, sessions read as Django reads them."""
    with connection.cursor() as cursor:
        found = []
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            if any(secret in str(row) for row in cursor.fetchall() for secret in secrets):
                found.append(table)
    sessions = [SessionStore().decode(session.session_data) for session in Session.objects.all()]
    return found + [f"session {data}" for data in sessions if any(secret in str(data) for secret in secrets)]


@pytest.fixture
def provider(live_server: Any) -> Iterator[str]:
    """The address of the site, its issuer and the origin of its passkeys with it."""
    with toolkit_settings(OIDC_ISS_ENDPOINT=f"{live_server.url}/o"):
        yield live_server.url
    forget_cores()


@pytest.fixture
def new_http(provider: str) -> Iterator[Callable[[], Http]]:
    with ExitStack() as stack:

        def make() -> Http:
            http = Http(provider)
            stack.enter_context(http.session)
            return http

        yield make


@pytest.fixture
def new_party(make_party: Callable[..., Party], new_http: Callable[[], Http], provider: str) -> Callable[..., Party]:
    """A relying party on another origin, which talks to the provider over HTTP."""

    def make(client_id: str, **fields: Any) -> Party:
        application = make_party(client_id, **fields).application
        return Party(application, server=new_http(), issuer=f"{provider}/o")

    return make


def sign_in_to_admin(http: Http) -> requests.Response:
    page = http.get("/admin/login/?next=/admin/")
    response = http.submit(page, username="admin", password="admin-password")
    return http.follow(response)


def issue_pass(http: Http, robin: Any, **wishes: Any) -> requests.Response:
    """Click through from the user's page to the passcode."""
    page = http.get(f"/admin/accounts/user/{robin.pk}/change/")
    page = http.click(http.click(page, "Authentication methods"), "Add authentication method")
    page = http.click(page, "Temporary Access Pass")
    assert fields_of(page)["lifetime_minutes"] == "60"
    return http.submit(page, **wishes)


def use_pass(http: Http, sign_in_url: str, upn: str, passcode: str) -> requests.Response:
    response = http.submit(http.get(sign_in_url), upn=upn, passcode=passcode)
    assert urlsplit(response.headers["Location"]).path == "/account/security-info/"
    return http.follow(response)


@pytest.mark.django_db(transaction=True)
def test_story__from_policy_to_id_token(
    admin: Any,
    robin: Any,
    provider: str,
    new_http: Callable[[], Http],
    new_party: Callable[..., Party],
    settings: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.OTP_WEBAUTHN_ALLOWED_ORIGINS = [provider]
    settings.TAP_PROVIDER_BASE_URL = provider
    caplog.set_level(logging.DEBUG)
    administrator, holder = new_http(), new_http()
    portal = new_party("portal", may_host_registration=True)
    intranet = new_party("intranet", may_host_registration=False)

    # 1. The administrator opens the policy, finds Entra's defaults, switches it on and chooses whom it applies to.
    sign_in_to_admin(administrator)
    policy = administrator.follow(administrator.get("/admin/tap_provider/temporaryaccesspasspolicy/"))
    defaults = fields_of(policy)
    assert [defaults[f"{name}_lifetime_minutes"] for name in ("minimum", "maximum", "default")] == ["60", "480", "60"]
    assert defaults["passcode_length"] == "8"
    assert not {"enabled", "one_time_only"} & set(defaults)
    response = administrator.submit(policy, enabled="on", include_all_users=None, included_users=[robin.pk])
    assert "was changed successfully" in administrator.follow(administrator.follow(response)).text

    # 2. They issue a pass and see the passcode once, beside the address to sign in at.
    shown = issue_pass(administrator, robin, lifetime_minutes="90", reason="Identified in person.")
    assert "no-store" in shown.headers["Cache-Control"]
    passcode, sign_in_url = text_of(shown, "passcode"), text_of(shown, "sign-in-url")
    assert sign_in_url.startswith(f"{provider}/account/sign-in/pass/?handle=")
    secrets = {passcode, passcode.replace("-", "")}
    assert where_kept(secrets) == []
    methods = administrator.click(shown, "OK")
    for page in (methods, administrator.get("/admin/"), administrator.get("/admin/tap_provider/auditevent/")):
        assert passcode not in page.text

    # 3. The user signs in with it, and is told until when and for what.
    security_info = use_pass(holder, sign_in_url, robin.upn.upper(), passcode.lower().replace("-", " "))
    sign_in = SignIn.objects.get(user=robin)
    assert "to register sign-in methods" in security_info.text
    assert sign_in.deadline.isoformat()[:16] in security_info.text
    assert where_kept(secrets) == []

    # 4. Every other page treats them as anonymous.
    for path in CLOSED:
        response = holder.get(path)
        assert re.match(r"/(account/sign-in|admin/login)/\?next=", response.headers["Location"]), path
    assert not holder.get("/").text.count(robin.upn)

    # 6, first half. A client that may host registration is told "strong, by a pass", for as long as that lasts.
    by_pass = portal.tokens(holder, scope=f"{REGISTRATION_SCOPE} offline_access")
    assert by_pass.claims["sub"] == str(robin.pk)
    assert by_pass.claims["acr"] == MULTI_FACTOR_ACR
    assert by_pass.claims["amr"] == ["mfa", "tap"]
    assert by_pass.claims["auth_time"] == seconds(sign_in.authenticated_at)
    assert by_pass.claims["exp"] <= seconds(sign_in.deadline)
    assert by_pass.response["scope"] == REGISTRATION_SCOPE
    assert "refresh_token" not in by_pass.response
    assert portal.userinfo(by_pass.access_token).json()["preferred_username"] == robin.upn
    assert portal.introspect(by_pass.access_token)["amr"] == ["mfa", "tap"]

    # An ordinary client is told nothing.
    silent = intranet.request(prompt="none")
    answer = answer_of(holder.get(silent.url))
    assert answer.pop("error_description")
    assert answer == {"error": "login_required", "state": silent.query["state"], "iss": f"{provider}/o"}
    assert is_sign_in_page(holder.get(intranet.request().url))

    # 5. They register a passkey, finish, and sign in again with it.
    passkey = SoftAuthenticator(origin=provider)
    holder.post_json(COMPLETE_REGISTRATION, passkey.create(holder.post_json(BEGIN_REGISTRATION)))
    security_info = holder.get("/account/security-info/")
    response = holder.post("/account/security-info/finish/", fields_of(security_info))
    assert is_sign_in_page(response)
    assert "notice=finished" in response.headers["Location"]
    assert holder.get("/members/").status_code == 302
    assert portal.userinfo(by_pass.access_token).status_code == 401
    holder.get(response.headers["Location"])
    holder.post_json(COMPLETE_AUTHENTICATION, passkey.get(holder.post_json(BEGIN_AUTHENTICATION)))
    assert holder.get("/members/").status_code == 200

    # 6, second half. The ordinary client is told "phishing-resistant".
    by_passkey = intranet.tokens(holder)
    assert by_passkey.claims["acr"] == PHISHING_RESISTANT_ACR
    assert by_passkey.claims["amr"] == ["hwk", "mfa", "pop", "user"]
    assert by_passkey.claims["sid"] != by_pass.claims["sid"]
    assert by_passkey.claims["auth_time"] >= by_pass.claims["auth_time"]
    assert "refresh_token" in by_passkey.response

    # 7. A new pass is open when the administrator revokes it: the next request is signed out, the token refused.
    elsewhere = new_http()
    shown = issue_pass(administrator, robin)
    secrets |= {text_of(shown, "passcode"), text_of(shown, "passcode").replace("-", "")}
    use_pass(elsewhere, sign_in_url, robin.upn, text_of(shown, "passcode"))
    code, asked = portal.code(elsewhere)
    revoked = portal.tokens(elsewhere)
    assert portal.introspect(revoked.access_token)["active"]
    question = administrator.click(administrator.click(shown, "OK"), "Revoke")
    assert "was revoked" in administrator.follow(administrator.submit(question)).text
    response = elsewhere.get("/account/security-info/")
    assert parse_qs(urlsplit(response.headers["Location"]).query)["notice"] == ["ended"]
    assert portal.userinfo(revoked.access_token).status_code == 401
    assert portal.introspect(revoked.access_token) == {"active": False}
    assert portal.exchange(code, asked).json()["error"] == "invalid_grant"

    # The full session goes on, and neither passcode has been kept or logged anywhere.
    assert holder.get("/members/").status_code == 200
    assert intranet.userinfo(by_passkey.access_token).status_code == 200
    assert where_kept(secrets) == []
    assert not [secret for secret in secrets if secret in caplog.text]


@pytest.mark.django_db(transaction=True)
def test_story__with_an_authenticator_app(
    robin: Any,
    issue: Callable[..., Any],
    provider: str,
    new_http: Callable[[], Http],
    new_party: Callable[..., Party],
) -> None:
    robin.set_password(PASSWORD)
    robin.save()
    holder, intranet = new_http(), new_party("intranet")
    passcode = issue(robin, is_usable_once=True, now=timezone.now()).passcode.reveal()
    security_info = use_pass(holder, f"{provider}/account/sign-in/pass/", robin.upn, passcode)

    # 5. They register an authenticator app: a QR code as SVG, and the key as text.
    response = holder.post("/account/security-info/add/totp/", {**fields_of(security_info), "begin": "1"})
    page = holder.follow(response)
    assert "<svg" in page.text
    key = text_of(page, "totp-key").replace(" ", "")
    secret = b32decode(key + "=" * (-len(key) % 8))
    response = holder.submit(page, code=f"{totp(secret):06d}")
    assert "registered=totp" in response.headers["Location"]
    security_info = holder.follow(response)
    response = holder.post("/account/security-info/finish/", fields_of(security_info))

    # They sign in again with password and app: a full session.
    response = holder.submit(holder.follow(response), upn=robin.username, password=PASSWORD)
    assert "/account/sign-in/verify/" in response.headers["Location"]
    assert is_sign_in_page(holder.get(intranet.request().url))
    code = f"{totp(secret, drift=1):06d}"  # a code counts once: the next one
    assert holder.submit(holder.follow(response), code=code).status_code == 302

    # 6. The ordinary client is told "multi-factor", and by what.
    claims = intranet.tokens(holder).claims
    assert (claims["acr"], claims["amr"]) == (MULTI_FACTOR_ACR, ["mfa", "otp", "pwd"])
