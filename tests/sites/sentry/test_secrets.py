"""What Sentry is sent holds no secret: events with variables and request data, traces with templates' contexts."""

from __future__ import annotations

import re
import secrets as stdlib_secrets
from base64 import b32encode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import sentry_sdk
from django.core.checks import run_checks
from django.db import OperationalError, connection, transaction
from django.db.models.signals import pre_save
from django.test import Client
from django_otp.oath import totp
from django_otp.plugins.otp_totp.models import TOTPDevice
from oauth2_provider.models import get_application_model
from oauthlib import common

from tap_provider.passcode import ALPHABET
from tap_provider.report_checks import W021

from .settings import start_sentry
from .transport import sent

PASSWORD, NEW_PASSWORD = "sentinel-password-kqz", "sentinel-new-password-kqz"
CLIENT_SECRET = "sentinel-client-secret-kqz"
VERIFIER = "sentinel-verifier-" + "kqz" * 12
WRONG_CODE = "735281"
REDIRECT_URI = "https://relying-party.test/callback/"
OURS = {"passcode", "recovery code", "totp key", "totp code", "password"}
"""What passes through our own functions alone; the rest is text by the interfaces of libraries."""

pytestmark = [pytest.mark.usefixtures("hasher"), pytest.mark.django_db]


class Secrets:
    """What is to be found nowhere."""

    def __init__(self) -> None:
        self.symbols: list[str] = []
        self.known: dict[str, set[str]] = {
            "password": {PASSWORD, NEW_PASSWORD},
            "client secret": {CLIENT_SECRET},
            "code verifier": {VERIFIER},
            "totp code": {WRONG_CODE},
        }

    def add(self, kind: str, *texts: str) -> None:
        self.known.setdefault(kind, set()).update(texts)

    def found_in(self, text: str) -> set[str]:
        drawn = "".join(self.symbols)
        for kind, length in (("passcode", 8), ("recovery code", 16)):
            whole = [drawn[start : start + length] for start in range(0, len(drawn) - length + 1, length)]
            self.add(kind, *whole, *("-".join(re.findall("....", one)) for one in whole))
        return {
            kind
            for kind, texts in self.known.items()
            if any(re.search(rf"(?<![\w.]){re.escape(one)}(?!\w)", text, re.IGNORECASE) for one in texts)
        }


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> Iterator[Secrets]:
    """Listen where secrets are made."""
    secrets = Secrets()
    choose, generate = stdlib_secrets.choice, common.generate_token

    def choice(options: Any) -> Any:
        chosen = choose(options)
        if options == ALPHABET:
            secrets.symbols.append(chosen)
        return chosen

    def generate_token(*args: Any, **kwargs: Any) -> str:
        token = generate(*args, **kwargs)
        secrets.add("code or token", token)
        return token

    def note_key(sender: type[Any], instance: Any, **kwargs: Any) -> None:
        if isinstance(instance, TOTPDevice):
            secrets.add("totp key", instance.key, b32encode(instance.bin_key).decode().rstrip("="))

    monkeypatch.setattr(stdlib_secrets, "choice", choice)
    monkeypatch.setattr(common, "generate_token", generate_token)
    pre_save.connect(note_key)
    yield secrets
    pre_save.disconnect(note_key)


@pytest.fixture
def robin(make_user: Callable[..., Any]) -> Any:
    return make_user("robin", password=PASSWORD)


@pytest.fixture
def issued(issue: Any, robin: Any) -> Callable[[], str]:
    return lambda: issue(robin).passcode.reveal()


@pytest.fixture
def acts(secret: Secrets, robin: Any, admin: Any, issued: Callable[[], str]) -> dict[str, Callable[[], Any]]:  # noqa: C901 a table
    """Return the flows: each prepares itself, and returns the one request that is watched."""
    application_model = get_application_model()
    application_model.objects.create(
        name="Intranet",
        client_id="intranet",
        client_secret=CLIENT_SECRET,
        client_type=application_model.CLIENT_CONFIDENTIAL,
        authorization_grant_type=application_model.GRANT_AUTHORIZATION_CODE,
        redirect_uris=REDIRECT_URI,
        skip_authorization=True,
    )
    signing, adding = "/account/sign-in/", "/account/security-info/add/"

    def browser() -> Client:
        return Client(raise_request_exception=False)

    def holder() -> Client:
        client = browser()
        client.post(f"{signing}pass/", {"upn": robin.username, "passcode": issued()})
        return client

    def signed_in() -> Client:
        client = browser()
        client.post(signing, {"upn": robin.username, "password": PASSWORD})
        return client

    def issue_in_admin() -> Any:
        client = browser()
        client.force_login(admin)
        page = f"/admin/tap_provider/temporaryaccesspass/users/{robin.pk}/add/temporary-access-pass/"
        return partial(client.post, page, {"lifetime_minutes": "60"})

    def second_step() -> Any:
        device = TOTPDevice.objects.create(user=robin, name="App", confirmed=True)
        code = f"{totp(device.bin_key):06d}"
        secret.add("totp code", code)
        return partial(signed_in().post, f"{signing}verify/", {"code": code})

    def register_an_app() -> Any:
        client = holder()
        client.post(f"{adding}totp/", {"begin": "1"})
        return partial(client.post, f"{adding}totp/", {"code": WRONG_CODE})

    def see_the_key() -> Any:
        client = holder()
        client.post(f"{adding}totp/", {"begin": "1"})
        return partial(client.get, f"{adding}totp/")

    def set_a_password() -> Any:
        client = holder()
        client.post(f"{adding}password/", {"begin": "1"})
        return partial(client.post, f"{adding}password/", {f"new_password{n}": NEW_PASSWORD for n in (1, 2)})

    def authorization() -> Any:
        challenge = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
        query = {"response_type": "code", "client_id": "intranet", "redirect_uri": REDIRECT_URI, "scope": "profile"}
        query |= {"code_challenge": challenge, "code_challenge_method": "S256"}
        return partial(signed_in().get, f"/o/authorize/?{urlencode(query)}")

    def exchange() -> Any:
        code = parse_qs(urlsplit(authorization()().headers["Location"]).query)["code"][0]
        body = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI}
        body |= {"client_id": "intranet", "client_secret": CLIENT_SECRET, "code_verifier": VERIFIER}
        return partial(browser().post, "/o/token/", urlencode(body), content_type="application/x-www-form-urlencoded")

    return {
        "issue in admin": issue_in_admin,
        "redeem": lambda: partial(
            browser().post, f"{signing}pass/", {"upn": robin.username, "passcode": issued().lower()}
        ),
        "sign in": lambda: partial(browser().post, signing, {"upn": robin.username, "password": PASSWORD}),
        "second step": second_step,
        "register an app": register_an_app,
        "see the key": see_the_key,
        "make recovery codes": lambda: partial(holder().post, "/account/methods/recovery_codes/"),
        "set a password": set_a_password,
        "authorize": authorization,
        "exchange": exchange,
    }


class Fault:
    """Fails the n-th statement, once."""

    def __init__(self, at: int) -> None:
        self.at, self.count = at, 0

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.count += 1
        if self.count == self.at:
            raise OperationalError("the database has gone away")
        return execute(sql, params, many, context)


FLOWS = [
    "issue in admin",
    "redeem",
    "sign in",
    "second step",
    "register an app",
    "see the key",
    "make recovery codes",
    "set a password",
    "authorize",
    "exchange",
]


def leaks_of(prepare: Callable[[], Any], secret: Secrets) -> dict[int, set[str]]:
    leaks: dict[int, set[str]] = {}
    number, reached, events = 0, True, 0
    while reached:
        with transaction.atomic():
            act = prepare()
            sent.clear()
            fault = Fault(number)
            # As Sentry's WSGI middleware does, which the test client does not pass.
            whole = sentry_sdk.start_transaction(op="http.server", name="flow")
            with sentry_sdk.isolation_scope(), whole, connection.execute_wrapper(fault):
                act()
            sentry_sdk.flush()
            transaction.set_rollback(True)
        events += sum('"type":"event"' in one for one in sent)
        assert any('"type":"transaction"' in one for one in sent)
        found = secret.found_in("\n".join(sent))
        leaks |= {number: found} if found else {}
        reached = fault.count >= number
        number += 1
    assert events >= 2, "no fault was reported"
    return leaks


@pytest.mark.parametrize("send_default_pii", [True, False], ids=["with PII", "without PII"])
@pytest.mark.parametrize("flow", FLOWS)
def test_events_and_traces__hold_no_secret(
    flow: str, send_default_pii: bool, acts: dict[str, Callable[[], Any]], secret: Secrets
) -> None:
    start_sentry(send_default_pii=send_default_pii)
    assert leaks_of(acts[flow], secret) == {}


@pytest.mark.parametrize("flow", FLOWS)
def test_our_functions_and_contexts__hold_no_secret_without_the_scrubber(
    flow: str, acts: dict[str, Callable[[], Any]], secret: Secrets
) -> None:
    start_sentry(with_scrubber=False)
    options = sentry_sdk.get_client().options
    options["before_send"] = options["before_send_transaction"] = only_ours
    try:
        assert {number: kinds & OURS for number, kinds in leaks_of(acts[flow], secret).items() if kinds & OURS} == {}
    finally:
        start_sentry()


def only_ours(event: dict[str, Any], hint: Any) -> dict[str, Any]:
    """Leave of an event the variables of our functions, and of a trace what templates were given."""
    event.pop("request", None)
    for error in event.get("exception", {}).get("values", []):
        frames = error.get("stacktrace", {}).get("frames", [])
        error["stacktrace"] = {"frames": [frame for frame in frames if is_ours(frame["module"])]}
    return event


def is_ours(module: str) -> bool:
    return module.startswith("tap_provider.") and not module.startswith("tap_provider.oidc")


def test_check__warns_where_sentry_has_no_scrubber() -> None:
    start_sentry(with_scrubber=False)
    try:
        assert [found.id for found in run_checks() if found.id == W021] == [W021]
    finally:
        start_sentry()
    assert [found.id for found in run_checks() if found.id == W021] == []
