"""Reports of errors: masked before the view, in libraries and in addresses; a mail that fails changes nothing."""

from __future__ import annotations

import logging
import sys
from typing import Any

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core import mail
from django.core.mail.backends.base import BaseEmailBackend
from django.db import OperationalError, connection
from django.test import Client, RequestFactory

from tap_provider.debug import AdminEmailHandler, ExceptionReporter, ExceptionReporterFilter, ScrubbingFilter
from tap_provider.secret import MASK

from .conftest import ADMINS
from .test_mail import use_backend

SECRET = "sentinel-kqz"


class BrokenHasher(MD5PasswordHasher):
    algorithm = "md5"

    def verify(self, password: str, encoded: str) -> bool:
        raise ConnectionError


class FailingBackend(BaseEmailBackend):
    def send_messages(self, messages: Any) -> int:
        raise RuntimeError(f"550 refused: {messages[0].body[:20]}{SECRET}")


@pytest.fixture
def admins(settings: Any) -> None:
    settings.ADMINS = ADMINS


def browser() -> Client:
    return Client(raise_request_exception=False)


def mails() -> str:
    assert mail.outbox
    return "".join(f"{one.subject}{one.body}{[text for text, _kind in one.alternatives]}" for one in mail.outbox)


@pytest.fixture(autouse=True)
def html_mails(monkeypatch: pytest.MonkeyPatch) -> None:
    for handler in logging.getLogger("django").handlers:
        if isinstance(handler, AdminEmailHandler):
            monkeypatch.setattr(handler, "include_html", True)


class FirstStatementFails:
    has_failed = False

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if not self.has_failed:
            self.has_failed = True
            raise OperationalError("gone away")
        return execute(sql, params, many, context)


# Where no view has marked anything.


@pytest.mark.parametrize(("path", "name"), [("/account/sign-in/pass/", "passcode"), ("/account/sign-in/", "password")])
def test_error_mail__of_a_refused_host(path: str, name: str, admins: None) -> None:
    response = browser().post(path, {"upn": "robin@example.test", name: SECRET}, HTTP_HOST="evil.test")
    assert response.status_code == 400
    assert "robin@example.test" in mails()
    assert SECRET not in mails()


@pytest.mark.django_db
def test_error_mail__of_a_database_that_fails_before_the_view(admins: None, settings: Any, robin: Any) -> None:
    settings.CSRF_USE_SESSIONS = True
    client = Client(raise_request_exception=False, enforce_csrf_checks=True)
    client.cookies[settings.SESSION_COOKIE_NAME] = "k" * 32
    with connection.execute_wrapper(FirstStatementFails()):
        response = client.post("/account/sign-in/pass/", {"upn": robin.upn, "passcode": SECRET})
    assert response.status_code == 500
    assert "gone away" in mails()
    assert SECRET not in mails()
    assert "k" * 32 not in mails()


@pytest.mark.django_db
def test_error_mail__of_a_fault_in_djangos_own_backend(admins: None, settings: Any, robin: Any) -> None:
    robin.set_password("right")
    robin.save()
    settings.PASSWORD_HASHERS = ["tests.test_debug.BrokenHasher"]
    response = browser().post("/account/sign-in/", {"upn": robin.upn, "password": SECRET})
    assert response.status_code == 500
    assert "contrib/auth/backends.py" in mails()
    assert SECRET not in mails()


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["code", "refresh_token", "client_secret", "code_verifier", "device_code"])
def test_error_mail__of_the_token_endpoint(name: str, admins: None) -> None:
    body = {"grant_type": "authorization_code", "client_id": "x", "client_secret": "y", "code": "z", name: SECRET}
    with connection.execute_wrapper(FirstStatementFails()):
        assert browser().post("/o/token/", body).status_code == 500
    assert "gone away" in mails()
    assert SECRET not in mails()


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("query", {"path": f"/o/logout/?id_token_hint={SECRET}&client_id=x"}),
        ("bearer", {"path": "/o/userinfo/", "HTTP_AUTHORIZATION": f"Bearer {SECRET}"}),
        ("basic", {"path": "/o/token/", "HTTP_AUTHORIZATION": f"Basic {SECRET}"}),
        ("cookie", {"path": "/", "HTTP_COOKIE": f"sessionid={SECRET}; theme=dark"}),
        ("referrer", {"path": "/", "HTTP_REFERER": f"https://testserver/o/authorize/?tap_query={SECRET}"}),
        ("raw address", {"path": "/", "RAW_URI": f"/?passcode={SECRET}", "REQUEST_URI": f"/?code={SECRET}"}),
        ("user code", {"path": f"/o/device-confirm/tv/{SECRET}"}),
    ],
)
def test_report__masks_addresses_headers_and_cookies(name: str, sent: dict[str, str]) -> None:
    request = RequestFactory().get(**sent)  # type: ignore[arg-type]
    try:
        assert request.path  # a variable of this function: its repr has the address
        raise ConnectionError(f"could not reach https://api.test/?access_token={SECRET}")
    except ConnectionError:
        reporter = ExceptionReporter(request, *sys.exc_info(), is_email=True)
    frames = [name for frame in reporter.get_traceback_data()["frames"] for name, _value in frame["vars"]]
    assert "request" in frames
    # This test's own source and parameter are shown as they are.
    shown = reporter.get_traceback_html().replace(f"{sent!r}", "") + reporter.get_traceback_text()
    assert SECRET not in shown


def variables_of(**variables: Any) -> dict[str, str]:
    """Return how a report shows variables of these names and values."""

    def fail() -> None:
        raise ConnectionError

    namespace: dict[str, Any] = {"fail": fail, "given": variables}
    lines = [f"    {name} = given[{name!r}]" for name in variables]
    exec("\n".join(["def function():", *lines, "    fail()"]), namespace)
    try:
        namespace["function"]()
    except ConnectionError:
        reporter = ExceptionReporter(None, *sys.exc_info())
    (frame,) = [frame for frame in reporter.get_traceback_frames() if frame["function"] == "function"]
    return {name: str(value) for name, value in frame["vars"]}


@pytest.mark.parametrize(
    "value",
    [
        SECRET,
        {"passcode": SECRET, "upn": "robin"},
        [("code", SECRET)],
        {"credentials": {"deep": SECRET}},
        f"grant_type=x&code={SECRET}&scope=openid",
        f"grant_type=x&code={SECRET}".encode(),
        f'{{"client_secret": "{SECRET}"}}',
        f"otpauth://totp/x?secret={SECRET}",
        RequestFactory().get(f"/?passcode={SECRET}"),
    ],
    ids=repr,
)
def test_report__masks_variables_by_name_by_key_and_by_look(value: Any) -> None:
    name = "passcode" if value == SECRET else "anything"
    shown = variables_of(**{name: value, "upn": "robin@example.test"})
    assert SECRET not in str(shown)
    assert "robin@example.test" in shown["upn"]


def test_report__says_so_where_a_variable_cannot_be_shown() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    assert "Error in formatting" in variables_of(thing=Broken())["thing"]


def test_report__shows_no_text_that_could_not_be_decoded() -> None:
    text = f"{SECRET}\xff{SECRET}".encode("latin-1")
    try:
        text.decode()
    except UnicodeDecodeError:
        data = ExceptionReporter(None, *sys.exc_info()).get_traceback_data()
    assert data["unicode_hint"] == MASK


def test_report__shows_a_unicode_error_by_its_type() -> None:
    class OwnError(UnicodeDecodeError):
        pass

    error = UnicodeDecodeError("utf-8", SECRET.encode(), 0, 1, "invalid")
    shown = variables_of(error=error, own=OwnError(*error.args), errors=[error])
    assert shown["error"] == "UnicodeDecodeError"
    assert shown["own"] == "OwnError"
    assert SECRET not in shown["errors"]


def test_filter__masks_settings_as_django_does(settings: Any) -> None:
    shown = ExceptionReporterFilter().get_safe_settings()
    assert shown["SECRET_KEY"] == shown["OAUTH2_PROVIDER"] == ExceptionReporterFilter.cleansed_substitute
    assert shown["TIME_ZONE"] == settings.TIME_ZONE


# A handler that fails itself.


def test_handler__that_fails_changes_no_answer_and_says_nothing_but_its_kind(
    admins: None, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = {"upn": "robin@example.test", "passcode": SECRET}
    expected = browser().post("/account/sign-in/pass/", sent, HTTP_HOST="evil.test")
    use_backend(settings, FailingBackend)
    answer = browser().post("/account/sign-in/pass/", sent, HTTP_HOST="evil.test")
    assert (answer.status_code, answer.content) == (expected.status_code, expected.content)
    said = capsys.readouterr().err
    assert "An error mail was not sent: RuntimeError" in said
    assert SECRET not in said


def test_handler__leaves_the_record_to_other_handlers_as_it_was(admins: None) -> None:
    record = logging.LogRecord("x", logging.ERROR, "", 1, "code=%s", ("abc",), None)
    AdminEmailHandler().emit(record)
    assert record.getMessage() == "code=abc"


# Logs.


@pytest.mark.parametrize(
    ("message", "args"),
    [
        ("Success url: https://x.test/?code=%s", (SECRET,)),
        ("Saving grant %r for %r", ({"code": SECRET}, "request")),
        ("Validating refresh token %s for client %r.", (SECRET, "client")),
        ("no arguments, Bearer " + SECRET, ()),
        ("too many %s", (f"passcode={SECRET}", "x")),
    ],
)
def test_scrubbing_filter__masks_the_message_and_lets_it_pass(message: str, args: tuple[Any, ...]) -> None:
    record = logging.LogRecord("x", logging.DEBUG, "", 1, message, args, None)
    assert ScrubbingFilter().filter(record)
    assert SECRET not in record.getMessage()


def test_scrubbing_filter__masks_the_exception() -> None:
    try:
        raise ConnectionError(f"https://x.test/?access_token={SECRET}")
    except ConnectionError:
        record = logging.LogRecord("x", logging.ERROR, "", 1, "failed", (), sys.exc_info())
    ScrubbingFilter().filter(record)
    assert SECRET not in logging.Formatter().format(record)
