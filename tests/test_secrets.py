"""Nothing that a site keeps, logs or mails shows a secret: every flow, with a fault at each statement in turn.

What libraries store in clear by design is listed in `STORED_IN_CLEAR` and in docs/reference/error-reports.md.
"""

from __future__ import annotations

import io
import json
import logging
import pickle
import re
import secrets as stdlib_secrets
import sys
import traceback
from base64 import b32encode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.cache import cache
from django.core.management import call_command
from django.core.signals import got_request_exception
from django.db import OperationalError, connection, transaction
from django.db.models.signals import pre_save
from django.test import Client
from django.utils import timezone
from django_otp.oath import totp
from django_otp.plugins.otp_totp.models import TOTPDevice
from oauth2_provider.models import get_application_model
from oauthlib import common

from tap_provider.debug import AdminEmailHandler
from tap_provider.issue import IssuedPass
from tap_provider.methods.recovery_codes import make_codes
from tap_provider.models import Level
from tap_provider.passcode import ALPHABET
from tap_provider.sign_in import Client as WhereFrom
from tap_provider.sign_in import begin_sign_in

from .oidc.conftest import forget_cores
from .test_debug import ADMINS
from .test_issue import values_of_database

PASSWORD, NEW_PASSWORD = "sentinel-password-kqz", "sentinel-new-password-kqz"
CLIENT_SECRET = "sentinel-client-secret-kqz"
VERIFIER = "sentinel-verifier-" + "kqz" * 12
REDIRECT_URI = "https://relying-party.test/callback/"
WRONG_CODE = "735281"

WRAPPED = {"passcode", "recovery code", "totp key", "totp code", "password"}
"""What no variable of our own functions shows, nothing masked by its name. The rest is text to libraries."""

STORED_IN_CLEAR = {
    "totp key": "otp_totp_totpdevice",  # django-otp computes codes with it
    "authorization code": "oauth2_provider_grant",  # the toolkit finds a code by it, until it is exchanged or expires
    "access token": "oauth2_provider_accesstoken",  # beside a checksum
    "refresh token": "oauth2_provider_refreshtoken",  # beside a checksum
    "session key": "django_session",  # Django's database engine finds a session by it
}
"""The one table that holds it."""

pytestmark = [
    pytest.mark.usefixtures("hasher", "records_of_templates"),  # a cheap one
    pytest.mark.filterwarnings("ignore:JSONOAuthLibCore:DeprecationWarning"),  # which sites have, until it is gone
]


@dataclass
class Known:
    """The secrets that a flow has used or made, by kind."""

    texts: dict[str, set[str]] = field(default_factory=dict)
    symbols: list[str] = field(default_factory=list)  # drawn for passcodes and recovery codes

    def add(self, kind: str, *texts: str) -> None:
        self.texts.setdefault(kind, set()).update(texts)

    def forget(self) -> None:
        """Keep only what is the same each time."""
        self.texts, self.symbols = {}, []
        self.add("password", PASSWORD, NEW_PASSWORD)
        self.add("client secret", CLIENT_SECRET)
        self.add("code verifier", VERIFIER)
        self.add("totp code", WRONG_CODE)

    def patterns(self) -> dict[str, re.Pattern[str]]:
        drawn = "".join(self.symbols)
        for length, kind in ((8, "passcode"), (16, "recovery code")):
            whole = [drawn[start : start + length] for start in range(0, len(drawn) - length + 1, length)]
            self.add(kind, *whole, *("-".join(re.findall("....", text)) for text in whole))
        return {
            # A code of six digits is also part of numbers that are none.
            kind: re.compile("|".join(rf"(?<![\w.]){re.escape(text)}(?!\w)" for text in sorted(texts)), re.IGNORECASE)
            for kind, texts in self.texts.items()
            if texts
        }


@dataclass
class World:
    """People and clients as each flow finds them, and what is known to be secret."""

    known: Known
    admin: Any
    robin: Any
    issue: Callable[..., IssuedPass]
    application: Any

    def passcode(self) -> str:
        return self.issue(self.robin).passcode.reveal()

    def browser(self) -> Client:
        return Client(raise_request_exception=False)

    def holder(self) -> Client:
        browser = self.browser()
        browser.post("/account/sign-in/pass/", {"upn": self.robin.upn, "passcode": self.passcode()})
        return browser

    def signed_in(self) -> Client:
        browser = self.browser()
        browser.post("/account/sign-in/", {"upn": self.robin.upn, "password": PASSWORD})
        return browser

    def app(self) -> TOTPDevice:
        return TOTPDevice.objects.create(user=self.robin, name="App", confirmed=True)

    def code_of(self, device: TOTPDevice) -> str:
        code = f"{totp(device.bin_key):06d}"
        self.known.add("totp code", code)
        return code

    def recovery_code(self) -> str:
        sign_in = begin_sign_in(
            user=self.robin,
            methods=["password", "totp"],
            amr=["mfa"],
            level=Level.MULTI_FACTOR,
            client=WhereFrom(),
            now=timezone.now(),
            authenticated_at=timezone.now(),
        )
        return make_codes(sign_in=sign_in, now=timezone.now(), address=None).codes[0].reveal()

    def authorization(self, **changes: str) -> str:
        challenge = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
        query = {
            "response_type": "code",
            "client_id": self.application.client_id,
            "redirect_uri": REDIRECT_URI,
            "scope": "openid offline_access",
            "nonce": "nonce",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **changes,
        }
        return f"/o/authorize/?{urlencode(query)}"

    def code(self) -> str:
        answer = self.signed_in().get(self.authorization())
        return parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]

    def exchange(self, code: str, **extra: Any) -> Any:
        body = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI}
        body |= {"client_id": self.application.client_id, "client_secret": CLIENT_SECRET, "code_verifier": VERIFIER}
        return self.browser().post("/o/token/", body, **extra)

    def tokens(self) -> dict[str, str]:
        tokens: dict[str, str] = self.exchange(self.code()).json()
        self.known.add("id token", tokens["id_token"])
        return tokens


Act = Callable[[], Any]


def issue_in_admin(world: World) -> Act:
    browser = world.browser()
    browser.force_login(world.admin)
    path = f"/admin/tap_provider/temporaryaccesspass/users/{world.robin.pk}/add/temporary-access-pass/"
    return partial(browser.post, path, {"lifetime_minutes": "60", "reason": "First day"})


def issue_on_the_command_line(world: World) -> Act:
    def issue() -> None:
        with suppress(OperationalError):
            call_command("tap", "issue", world.robin.upn, "--actor", world.admin.upn, stdout=io.StringIO())

    return issue


def redeem_on_the_page(world: World) -> Act:
    typed = {"upn": world.robin.upn, "passcode": world.passcode().lower()}
    return partial(world.browser().post, "/account/sign-in/pass/?next=/", typed)


def sign_in_by_password(world: World) -> Act:
    return partial(world.browser().post, "/account/sign-in/", {"upn": world.robin.upn, "password": PASSWORD})


def mistype_a_password(world: World) -> Act:
    return partial(world.browser().post, "/account/sign-in/", {"upn": world.robin.upn, "password": NEW_PASSWORD})


def second_step_by_app(world: World) -> Act:
    device = world.app()
    return partial(world.signed_in().post, "/account/sign-in/verify/", {"code": world.code_of(device)})


def mistype_a_code(world: World) -> Act:
    world.app()
    return partial(world.signed_in().post, "/account/sign-in/verify/", {"code": WRONG_CODE})


def second_step_by_recovery_code(world: World) -> Act:
    code = world.recovery_code()
    return partial(world.signed_in().post, "/account/sign-in/verify/", {"code": code})


def step_up(world: World) -> Act:
    browser = world.signed_in()
    return partial(browser.post, "/account/sign-in/step-up/", {"code": world.code_of(world.app())})


def begin_an_app(world: World) -> Act:
    return partial(world.holder().post, "/account/security-info/add/totp/", {"begin": "1"})


def see_the_key_of_an_app(world: World) -> Act:
    browser = world.holder()
    browser.post("/account/security-info/add/totp/", {"begin": "1"})
    return partial(browser.get, "/account/security-info/add/totp/")


def register_an_app(world: World) -> Act:
    browser = world.holder()
    browser.post("/account/security-info/add/totp/", {"begin": "1"})
    code = world.code_of(TOTPDevice.objects.get(user=world.robin, confirmed=False))
    return partial(browser.post, "/account/security-info/add/totp/", {"code": code})


def make_recovery_codes(world: World) -> Act:
    return partial(world.holder().post, "/account/methods/recovery_codes/")


def set_a_password(world: World) -> Act:
    browser = world.holder()
    browser.post("/account/security-info/add/password/", {"begin": "1"})
    typed = {"new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
    return partial(browser.post, "/account/security-info/add/password/", typed)


def authorize(world: World) -> Act:
    return partial(world.signed_in().get, world.authorization())


def authorize_by_form_post(world: World) -> Act:
    return partial(world.signed_in().get, world.authorization(response_mode="form_post"))


def exchange_a_code(world: World) -> Act:
    return partial(world.exchange, world.code())


def exchange_a_code_in_json(world: World) -> Act:
    body = {"grant_type": "authorization_code", "code": world.code(), "redirect_uri": REDIRECT_URI}
    body |= {"client_id": world.application.client_id, "client_secret": CLIENT_SECRET, "code_verifier": VERIFIER}
    return partial(world.browser().post, "/o/token/", json.dumps(body), content_type="application/json")


def use_a_code_twice(world: World) -> Act:
    code = world.code()
    world.exchange(code)
    return partial(world.exchange, code)


def refresh(world: World) -> Act:
    body = {"grant_type": "refresh_token", "refresh_token": world.tokens()["refresh_token"]}
    body |= {"client_id": world.application.client_id, "client_secret": CLIENT_SECRET}
    return partial(world.browser().post, "/o/token/", body)


def ask_for_the_user(world: World) -> Act:
    headers = {"authorization": f"Bearer {world.tokens()['access_token']}"}
    return partial(world.browser().get, "/o/userinfo/", headers=headers)


def introspect(world: World) -> Act:
    body = {"token": world.tokens()["access_token"]}
    body |= {"client_id": world.application.client_id, "client_secret": CLIENT_SECRET}
    return partial(world.browser().post, "/o/introspect/", body)


def revoke(world: World) -> Act:
    body = {"token": world.tokens()["refresh_token"]}
    body |= {"client_id": world.application.client_id, "client_secret": CLIENT_SECRET}
    return partial(world.browser().post, "/o/revoke_token/", body)


def ask_to_sign_out(world: World) -> Act:
    query = urlencode({"id_token_hint": world.tokens()["id_token"], "client_id": world.application.client_id})
    return partial(world.signed_in().get, f"/o/logout/?{query}")


FLOWS = [
    issue_in_admin,
    issue_on_the_command_line,
    redeem_on_the_page,
    sign_in_by_password,
    mistype_a_password,
    second_step_by_app,
    mistype_a_code,
    second_step_by_recovery_code,
    step_up,
    begin_an_app,
    see_the_key_of_an_app,
    register_an_app,
    make_recovery_codes,
    set_a_password,
    authorize,
    authorize_by_form_post,
    exchange_a_code,
    exchange_a_code_in_json,
    use_a_code_twice,
    refresh,
    ask_for_the_user,
    introspect,
    revoke,
    ask_to_sign_out,
]


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Iterator[Known]:
    """Listen where secrets are made: to the source of randomness, to oauthlib's generator, to what is saved."""
    known = Known()
    choose, generate = stdlib_secrets.choice, common.generate_token

    def choice(options: Any) -> Any:
        chosen = choose(options)
        if options == ALPHABET:
            known.symbols.append(chosen)
        return chosen

    def generate_token(*args: Any, **kwargs: Any) -> str:
        token = generate(*args, **kwargs)
        caller = sys._getframe(1).f_code.co_name
        known.add("authorization code" if caller == "create_authorization_code" else "access token", token)
        return token

    def note_saved(sender: type[Any], instance: Any, **kwargs: Any) -> None:
        if isinstance(instance, TOTPDevice):
            known.add("totp key", instance.key, b32encode(instance.bin_key).decode().rstrip("="))
        elif isinstance(instance, Session):
            known.add("session key", instance.session_key)

    monkeypatch.setattr(stdlib_secrets, "choice", choice)
    monkeypatch.setattr(common, "generate_token", generate_token)
    monkeypatch.setattr("oauthlib.oauth2.rfc6749.tokens.common.generate_token", generate_token)
    pre_save.connect(note_saved)
    yield known
    pre_save.disconnect(note_saved)


@pytest.fixture
def world(known: Known, admin: Any, robin: Any, issue: Any, settings: Any) -> Iterator[World]:
    """A site with every kind of method, set up as the documentation says, with its administrators' address."""
    settings.TAP_PROVIDER_REGISTRABLE_METHODS = ["passkey", "totp", "recovery_codes", "password"]
    settings.ADMINS = ADMINS
    robin.set_password(PASSWORD)
    robin.save()
    application_model = get_application_model()
    application = application_model.objects.create(
        name="Intranet",
        client_id="intranet",
        client_secret=CLIENT_SECRET,
        client_type=application_model.CLIENT_CONFIDENTIAL,
        authorization_grant_type=application_model.GRANT_AUTHORIZATION_CODE,
        algorithm=application_model.RS256_ALGORITHM,
        redirect_uris=REDIRECT_URI,
        skip_authorization=True,
    )
    forget_cores()
    yield World(known=known, admin=admin, robin=robin, issue=issue, application=application)
    forget_cores()


@contextmanager
def recorded(*, every_function: bool) -> Iterator[tuple[io.StringIO, io.StringIO]]:
    """Log everything at DEBUG level, mail what is an error, and keep the variables of our own functions.

    Those of a traceback, and with `every_function` of each function when it returns: any line of it may fail one day.
    """
    said, variables = io.StringIO(), io.StringIO()
    handlers: list[logging.Handler] = [logging.StreamHandler(said), AdminEmailHandler(include_html=True)]
    handlers[1].setLevel(logging.ERROR)
    levels = {name: logging.getLogger(name).level for name in ("", "django", "django.request", "django.template")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.DEBUG)
    root, of_django = logging.getLogger(), logging.getLogger("django")
    kept = root.handlers, of_django.handlers
    root.handlers, of_django.handlers = handlers, []  # these alone

    def keep_variables_of(frame: Any) -> None:
        module = str(frame.f_globals.get("__name__"))
        if module.startswith("tap_provider.") and not module.startswith(("tap_provider.oidc", "tap_provider.secret")):
            shown = {name: safe_repr(value) for name, value in frame.f_locals.items()}
            variables.write(f"{module}.{frame.f_code.co_name} {shown}\n")

    def keep_variables(**kwargs: Any) -> None:
        for frame, _line in traceback.walk_tb(sys.exc_info()[2]):
            keep_variables_of(frame)

    def keep_variables_on_return(frame: Any, event: str, result: Any) -> None:
        if event == "return":
            keep_variables_of(frame)

    if every_function:
        sys.setprofile(keep_variables_on_return)
    got_request_exception.connect(keep_variables)
    try:
        yield said, variables
    finally:
        sys.setprofile(None)
        got_request_exception.disconnect(keep_variables)
        root.handlers, of_django.handlers = kept
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def safe_repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 as reporters do
        return f"({type(error).__name__})"


class Fault:
    """Fails the n-th statement, once."""

    def __init__(self, at: int) -> None:
        self.at, self.count = at, 0

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.count += 1
        if self.count == self.at:
            raise OperationalError("the database has gone away")
        return execute(sql, params, many, context)


def kept_texts() -> Iterator[tuple[str, str]]:
    """Yield what the site has kept: where, and the text."""
    rows: dict[str, set[str]] = {}
    for table, value in values_of_database():
        text = bytes(value).decode("latin-1") if isinstance(value, bytes | memoryview) else str(value)
        rows.setdefault(f"database {table}", set()).add(text)
    yield from ((table, "\n".join(texts)) for table, texts in rows.items())
    for session in Session.objects.all():
        yield "session", str(session.get_decoded())
    for key, pickled in cache._cache.items():  # a pickle's bytes run into the text that they hold
        yield "cache", f"{key} {pickle.loads(pickled)!r}"


def found(known: Known, texts: Iterator[tuple[str, str]]) -> list[tuple[str, str]]:
    patterns = known.patterns()
    return sorted(
        {
            (where, kind)
            for where, text in texts
            for kind, pattern in patterns.items()
            if pattern.search(text) and not is_expected(where, kind)
        }
    )


def is_expected(where: str, kind: str) -> bool:
    if where.startswith("variables"):
        return kind not in WRAPPED
    return kind in STORED_IN_CLEAR and where == f"database {STORED_IN_CLEAR[kind]}"


def run_once(world: World, flow: Callable[[World], Act], *, fail_at: int) -> tuple[bool, list[tuple[str, str]]]:
    """Run a flow with a fault at this statement; return whether it got as far, and the secrets found, and where."""
    with transaction.atomic():
        cache.clear()
        world.known.forget()
        act = flow(world)
        mail.outbox.clear()
        fault = Fault(fail_at)
        with recorded(every_function=fail_at == 0) as (said, variables), connection.execute_wrapper(fault):
            result = act()
        transaction.set_rollback(False)  # a statement may have failed that would have ended a savepoint
        leaks = found(world.known, texts_of(said, variables, result))
        transaction.set_rollback(True)
    return fault.count >= fail_at, leaks


def texts_of(said: io.StringIO, variables: io.StringIO, result: Any) -> Iterator[tuple[str, str]]:
    yield "log", said.getvalue()
    for line in set(variables.getvalue().splitlines()):
        function, _space, shown = line.partition(" ")
        yield f"variables of {function}", shown
    yield "repr", repr(result)
    for message in mail.outbox:
        yield "mail", message.subject + message.body
        yield from (("html mail", alternative[0]) for alternative in message.alternatives)
    yield from kept_texts()


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.__name__)
def test_flow__shows_no_secret_whatever_statement_fails(
    flow: Callable[[World], Act], world: World, settings: Any
) -> None:
    if flow is exchange_a_code_in_json:
        core = "oauth2_provider.oauth2_backends.JSONOAuthLibCore"
        settings.OAUTH2_PROVIDER = {**settings.OAUTH2_PROVIDER, "OAUTH2_BACKEND_CLASS": core}
    leaks: dict[int, list[tuple[str, str]]] = {}
    number, reached, has_mailed = 0, True, False
    while reached:
        reached, shown = run_once(world, flow, fail_at=number)
        has_mailed |= any("gone away" in message.body for message in mail.outbox)
        leaks |= {number: shown} if shown else {}
        number += 1
    assert number > 2, "the flow sends no statement"
    assert has_mailed or flow is issue_on_the_command_line
    assert leaks == {}
