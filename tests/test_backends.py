"""The authentication backend: for pages of a site's own, and never a way around the registration-only session."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import BACKEND_SESSION_KEY, aauthenticate, authenticate, login
from django.contrib.auth.signals import user_login_failed
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.http import HttpRequest
from django.test import Client as Browser
from django.test import RequestFactory
from django.utils import timezone

from tap_provider.backends import TemporaryAccessPassBackend
from tap_provider.models import AttemptCounter, AuditEvent, SignIn, TemporaryAccessPass
from tap_provider.sign_in import SESSION_KEY, sign_in_of_session

BACKEND = "tap_provider.backends.TemporaryAccessPassBackend"
SECURITY_INFO = "/account/security-info/"

pytestmark = pytest.mark.django_db


@pytest.fixture
def request_(rf: RequestFactory) -> HttpRequest:
    return with_session(rf.post("/"))


def with_session(request: HttpRequest) -> HttpRequest:
    request.session = SessionStore()
    return request


@pytest.fixture
def failures() -> Iterator[list[dict[str, Any]]]:
    """The credentials that receivers of Django's `user_login_failed` are told."""
    told: list[dict[str, Any]] = []

    def note(sender: Any, credentials: dict[str, Any], **kwargs: Any) -> None:
        told.append(credentials)

    user_login_failed.connect(note)
    yield told
    user_login_failed.disconnect(note)


def browser_with(request: HttpRequest) -> Browser:
    """A browser that goes on with the session of this request."""
    browser = Browser()
    session = browser.session
    session.update(dict(request.session.items()))
    session.save()
    return browser


def test_authenticate__opens_the_registration_only_session(robin: Any, issue: Any, request_: HttpRequest) -> None:
    issued = issue(robin)
    assert authenticate(request_, upn=robin.upn, tap_secret=issued.passcode_for_reading.reveal().lower()) == robin
    sign_in = sign_in_of_session(request_)
    assert sign_in is not None
    assert sign_in.is_registration_only
    assert set(request_.session.keys()) == {SESSION_KEY, "_session_expiry"}
    browser = browser_with(request_)
    assert browser.get(SECURITY_INFO).context["upn"] == robin.upn
    assert browser.get("/members/").status_code == 302


def test_authenticate__asynchronously(robin: Any, issue: Any, request_: HttpRequest) -> None:
    issued = issue(robin)
    assert async_to_sync(aauthenticate)(request_, upn=robin.upn, tap_secret=issued.passcode.reveal()) == robin


def test_authenticate__a_refusal_is_none(robin: Any, issue: Any, request_: HttpRequest) -> None:
    issued = issue(robin, is_usable_once=True)
    assert authenticate(request_, upn=robin.upn, tap_secret="00000000") is None
    assert authenticate(request_, upn="nobody@example.test", tap_secret=issued.passcode.reveal()) is None
    assert SESSION_KEY not in request_.session
    assert authenticate(request_, upn=robin.upn, tap_secret=issued.passcode.reveal()) == robin
    assert (
        authenticate(with_session(RequestFactory().post("/")), upn=robin.upn, tap_secret=issued.passcode.reveal())
        is None
    )


def test_authenticate__is_throttled(robin: Any, issue: Any, rf: RequestFactory) -> None:
    issued = issue(robin)
    for _ in range(10):
        assert authenticate(with_session(rf.post("/")), upn=robin.upn, tap_secret="00000000") is None
    assert authenticate(with_session(rf.post("/")), upn=robin.upn, tap_secret=issued.passcode.reveal()) is None
    assert TemporaryAccessPass.objects.get().redemption_count == 0


@pytest.mark.parametrize("without", ["a request", "a session"])
def test_authenticate__without_a_session_to_open_spends_nothing(
    without: str, robin: Any, issue: Any, rf: RequestFactory
) -> None:
    issued = issue(robin, is_usable_once=True)
    request = None if without == "a request" else rf.post("/")
    assert authenticate(request, upn=robin.upn, tap_secret=issued.passcode.reveal()) is None
    assert TemporaryAccessPass.objects.get().redemption_count == 0


def test_authenticate__failures_are_told_masked(
    robin: Any, issue: Any, request_: HttpRequest, failures: list[dict[str, Any]]
) -> None:
    """Peer failure 19: Django masks only what matches `api|token|key|secret|password|signature`."""
    issue(robin)
    authenticate(request_, upn=robin.upn, tap_secret="HVNTER22")
    authenticate(None, upn=robin.upn, tap_secret="HVNTER22")
    assert failures
    assert all(set(told["tap_secret"]) == {"*"} for told in failures)
    assert "HVNTER22" not in str(failures)


def test_authenticate__a_failure_is_told_once(
    robin: Any, issue: Any, request_: HttpRequest, failures: list[dict[str, Any]]
) -> None:
    """Packages that count `user_login_failed` would lock people out after half as many."""
    issue(robin)
    authenticate(request_, upn=robin.upn, tap_secret="00000000")
    assert len(failures) == 1


def test_authenticate__takes_its_own_keywords_and_nothing_else() -> None:
    """With `**kwargs` the admin's login and the password grant would try it."""
    parameters = inspect.signature(TemporaryAccessPassBackend().authenticate).parameters
    assert list(parameters) == ["request", "upn", "tap_secret", "handle"]
    assert all(parameters[name].kind is inspect.Parameter.KEYWORD_ONLY for name in ("upn", "tap_secret", "handle"))


@pytest.mark.parametrize(
    "credentials",
    [
        {"username": "robin", "password": "PASSCODE"},
        {"username": "robin@example.test", "password": "PASSCODE"},
        {"upn": "robin@example.test", "password": "PASSCODE"},
        {"username": "robin", "tap_secret": "PASSCODE"},
        {"upn": "robin@example.test", "tap_secret": "PASSCODE", "password": "PASSCODE"},
    ],
    ids=lambda credentials: "+".join(credentials),
)
def test_authenticate__by_other_keywords_never_reaches_it(
    credentials: dict[str, str], robin: Any, issue: Any, request_: HttpRequest
) -> None:
    """Peer failure 6: a passcode is no password."""
    passcode = issue(robin).passcode.reveal()
    given = {name: value.replace("PASSCODE", passcode) for name, value in credentials.items()}
    assert authenticate(request_, **given) is None
    assert not AuditEvent.objects.filter(kind=AuditEvent.Kind.PASS_REFUSED).exists()
    assert not AttemptCounter.objects.exists()
    assert TemporaryAccessPass.objects.get().redemption_count == 0


def test_admin_login__takes_no_passcode(admin: Any, make_user: Any, issue: Any, client: Browser) -> None:
    """Peer failure 6."""
    other = make_user("other", is_staff=True, is_superuser=True)
    passcode = issue(admin, actor=other).passcode.reveal()
    response = client.post("/admin/login/?next=/admin/", {"username": admin.username, "password": passcode})
    assert response.status_code == 200
    assert "_auth_user_id" not in client.session
    assert TemporaryAccessPass.objects.get().redemption_count == 0


def test_get_user__is_nobody(robin: Any) -> None:
    backend = TemporaryAccessPassBackend()
    assert backend.get_user(robin.pk) is None
    assert async_to_sync(backend.aget_user)(robin.pk) is None


def test_backend__grants_no_permissions(admin: Any) -> None:
    backend = TemporaryAccessPassBackend()
    assert backend.get_all_permissions(admin) == set()
    assert not backend.has_perm(admin, "tap_provider.add_temporaryaccesspass")


def test_login__with_this_backend_opens_nothing_beyond_its_own_request(
    robin: Any, issue: Any, request_: HttpRequest
) -> None:
    """Peer failure 7: a page of the site's own that goes on to call `login()`, as with any other backend."""
    user = authenticate(request_, upn=robin.upn, tap_secret=issue(robin).passcode.reveal())
    assert user is not None
    login(request_, user)
    assert request_.session[BACKEND_SESSION_KEY] == BACKEND
    browser = browser_with(request_)
    for path in ("/members/", SECURITY_INFO, "/admin/"):
        assert browser.get(path).status_code == 302
    assert "_auth_user_id" not in browser.session  # what names somebody but yields nobody is flushed
    assert not SignIn.objects.filter(level="phishing_resistant").exists()


def test_login__with_this_backend_claims_no_strength(robin: Any, issue: Any, request_: HttpRequest) -> None:
    user = authenticate(request_, upn=robin.upn, tap_secret=issue(robin).passcode.reveal())
    login(request_, user)
    current = sign_in_of_session(request_)
    assert current is not None
    assert (current.level, current.amr, current.methods) == ("single_factor", [], [])
    by_pass = SignIn.objects.exclude(pass_id=None).get()
    assert by_pass.ended_reason == SignIn.EndedReason.SIGNED_IN_ANEW


def test_force_login__takes_the_first_backend_which_is_not_this_one(robin: Any, client: Browser) -> None:
    client.force_login(robin)
    assert client.session[BACKEND_SESSION_KEY] == "tap_provider.backends.ModelBackend"
    assert client.get("/members/").status_code == 200


def test_force_login__with_this_backend_opens_nothing(robin: Any, client: Browser) -> None:
    client.force_login(robin, backend=BACKEND)
    assert client.get("/members/").status_code == 302
    assert client.get(SECURITY_INFO).status_code == 302


def test_authenticate__the_session_it_opens_dies_with_the_pass(robin: Any, issue: Any, request_: HttpRequest) -> None:
    issued = issue(robin)
    authenticate(request_, upn=robin.upn, tap_secret=issued.passcode.reveal())
    browser = browser_with(request_)
    assert browser.get(SECURITY_INFO).status_code == 200
    TemporaryAccessPass.objects.all().delete()
    assert browser.get(SECURITY_INFO).status_code == 302
    assert SignIn.objects.get().ended_at <= timezone.now()
