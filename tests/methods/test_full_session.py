"""Full sessions: whichever page called Django's `login()`, what is recorded is what was proved, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import alogin, alogout, authenticate, login, logout
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieSession
from django.db import OperationalError, connection, transaction
from django.http import HttpRequest, QueryDict
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from django_otp.plugins.otp_totp.models import TOTPDevice
from rest_framework.request import Request

from tap_provider import audit
from tap_provider.backends import mark_proved
from tap_provider.databases import where
from tap_provider.exceptions import RegistrationNotAllowed, SignInRefused, TooManyAttempts
from tap_provider.hooks import Hooks
from tap_provider.methods.full_session import PENDING_KEY, sign_in
from tap_provider.methods.kinds import Factor, UsedMethod
from tap_provider.methods.password import USED_PASSWORD
from tap_provider.methods.registration import guard_registration, is_fresh
from tap_provider.methods.totp import TotpKind
from tap_provider.methods.two_steps import (
    awaited_user,
    second_factor_kinds,
    sign_in_with_password,
    sign_in_with_second_factor,
)
from tap_provider.models import AuditEvent, Level, SignIn
from tap_provider.policy import change_policy, resolve_policy
from tap_provider.redeem import redeem_pass
from tap_provider.sign_in import (
    SESSION_KEY,
    adopt_session,
    begin_sign_in,
    end_sign_in,
    renew_sign_in,
    sign_in_of_session,
)
from tap_provider.sign_in import Client as WhereFrom
from tap_provider.signals import sign_in_begun, sign_in_ended, sign_in_renewed

from ..conftest import HOUR, MINUTE, NOW, all_at_once
from .test_totp import PASSWORD, SIGN_IN, VERIFY, app, awaiting_client, code_of

__all__ = ["app", "awaiting_client"]  # fixtures

ADMIN_LOGIN = "/admin/login/"
MODEL_BACKEND = "tap_provider.backends.ModelBackend"

pytestmark = pytest.mark.usefixtures("hasher")  # a cheap one


class LooserBackend(ModelBackend):
    """A site's own."""


class WithoutUpn(Hooks):
    """Of a site where not everybody has one."""

    def get_upn(self, user: Any) -> str:
        return ""


def sign_in_of(client: Client) -> SignIn:
    return SignIn.objects.get(pk=client.session[SESSION_KEY])


@pytest.fixture
def known(robin: Any) -> Any:
    """Robin, who has a password."""
    robin.set_password(PASSWORD)
    robin.save()
    return robin


@pytest.fixture
def make_request(rf: RequestFactory) -> Callable[..., HttpRequest]:
    def make(session_key: str | None = None) -> HttpRequest:
        request = rf.post("/", REMOTE_ADDR="192.0.2.7", HTTP_USER_AGENT="a browser")
        request.session = SessionStore(session_key)
        return request

    return make


# What is recorded of whom.


def test_record_login__by_our_password_page(client: Client, known: Any) -> None:
    begun = timezone.now()
    response = client.post(SIGN_IN, {"upn": known.upn, "password": PASSWORD}, HTTP_USER_AGENT="a browser")
    assert response["Location"] == "/"
    sign_in = sign_in_of(client)
    assert (sign_in.user, sign_in.methods, sign_in.amr, sign_in.level) == (
        known,
        ["password"],
        ["pwd"],
        "single_factor",
    )
    assert begun <= sign_in.authenticated_at <= timezone.now()
    assert (sign_in.address, sign_in.user_agent) == ("127.0.0.1", "a browser")
    assert (sign_in.deadline, sign_in.pass_id, sign_in.ended_at) == (None, None, None)
    event = AuditEvent.objects.get(kind=AuditEvent.Kind.SIGN_IN_BEGUN)
    assert (event.user_name, event.sign_in_id, event.address) == (known.upn, sign_in.pk, "127.0.0.1")
    assert event.detail == {"methods": ["password"], "user_agent": "a browser"}


def test_record_login__by_the_admins_page(client: Client, admin: Any) -> None:
    response = client.post(f"{ADMIN_LOGIN}?next=/admin/", {"username": "admin", "password": "admin-password"})
    assert response["Location"] == "/admin/"
    sign_in = sign_in_of(client)
    assert (sign_in.methods, sign_in.amr, sign_in.level) == (["password"], ["pwd"], "single_factor")
    assert client.get("/admin/").status_code == 200


def test_record_login__by_the_admins_page_claims_no_second_factor_that_it_did_not_ask_for(
    client: Client, admin: Any
) -> None:
    TOTPDevice.objects.create(user=admin, confirmed=True)
    client.post(ADMIN_LOGIN, {"username": "admin", "password": "admin-password"})
    assert (sign_in_of(client).methods, sign_in_of(client).level) == (["password"], "single_factor")


def test_record_login__by_django_otps_own_form_the_device_counts(make_request: Any, known: Any) -> None:
    device = TOTPDevice.objects.create(user=known, confirmed=True)
    request = make_request()
    user = authenticate(request, username=known.username, password=PASSWORD)
    user.otp_device = device  # what django-otp's authentication form leaves on the user
    login(request, user)
    sign_in = sign_in_of_session(request)
    assert sign_in is not None
    assert sorted(sign_in.methods) == ["password", "totp"]
    assert (sign_in.amr, sign_in.level) == (["mfa", "otp", "pwd"], "multi_factor")


@pytest.mark.parametrize("backend", [MODEL_BACKEND, "django.contrib.auth.backends.ModelBackend"])
@pytest.mark.parametrize("by_hand", [True, False])
def test_record_login__a_backend_that_was_merely_named_proves_nothing(
    make_request: Any, known: Any, backend: str, by_hand: bool
) -> None:
    """Support staff act as a user so, and people who followed a link in a mail are let in so."""
    request = make_request()
    if by_hand:
        known.backend = backend
    login(request, known, **({} if by_hand else {"backend": backend}))
    sign_in = sign_in_of_session(request)
    assert sign_in is not None
    assert (sign_in.methods, sign_in.amr, sign_in.level) == ([], [], "single_factor")
    assert sign_in.authenticated_at is None
    assert sign_in.signed_in_at is not None


@pytest.mark.parametrize("is_lazy", [False, True])
def test_record_login__a_proof_counts_for_one_login(make_request: Any, known: Any, is_lazy: bool) -> None:
    """Code keeps the object of a user who has authenticated, and later lets support staff act as that user."""
    proved = mark_proved(SimpleLazyObject(lambda: known) if is_lazy else known, "password")
    theirs, staffs = make_request(), make_request()
    login(theirs, proved, backend=MODEL_BACKEND)
    login(staffs, proved, backend=MODEL_BACKEND)
    methods = [SignIn.objects.get(pk=request.session[SESSION_KEY]).methods for request in (theirs, staffs)]
    assert methods == [["password"], []]


def test_record_login__that_proved_something_unknown_has_a_time_and_no_method(make_request: Any, robin: Any) -> None:
    request = make_request()
    login(request, mark_proved(robin), backend=f"{__name__}.LooserBackend")
    sign_in = sign_in_of_session(request)
    assert sign_in is not None
    assert (sign_in.methods, sign_in.amr, sign_in.level) == ([], [], "single_factor")
    assert sign_in.authenticated_at is not None


def test_record_login__a_login_without_proof_keeps_nothing_of_what_its_session_had_proved(
    client: Client, known: Any, make_request: Any
) -> None:
    client.post(SIGN_IN, {"upn": known.upn, "password": PASSWORD})
    before = sign_in_of(client)
    request = make_request(client.session.session_key)
    login(request, known, backend=MODEL_BACKEND)
    sign_in = sign_in_of_session(request)
    assert sign_in is not None
    assert sign_in.pk == before.pk
    assert (sign_in.methods, sign_in.amr, sign_in.authenticated_at) == ([], [], None)


@pytest.mark.parametrize("requires_strong", [True, False])
def test_record_login__a_login_without_proof_registers_nothing_under_any_policy(
    client: Client, known: Any, admin: Any, policy_on: Any, requires_strong: bool
) -> None:
    change_policy(actor=admin, now=timezone.now(), require_strong_authentication_to_register=requires_strong)
    client.force_login(known)
    sign_in = sign_in_of(client)
    assert not is_fresh(sign_in, now=timezone.now())
    with pytest.raises(RegistrationNotAllowed):
        guard_registration(sign_in=sign_in, policy=resolve_policy(known), now=timezone.now())
    client.post("/account/security-info/add/totp/", {"begin": "1"})
    assert not TOTPDevice.objects.exists()


def test_adopt_session__is_not_stopped_by_the_end_of_a_login_without_proof(make_request: Any, known: Any) -> None:
    """Sessions in cookies are adopted until one that was adopted has ended: then a copy would live again."""
    request = make_request()
    login(request, known, backend=MODEL_BACKEND)
    logout(request)
    before = make_request()
    before.session = CookieSession()
    assert adopt_session(before, known, now=timezone.now()) is not None
    end_sign_in(sign_in_of_session(before), reason=SignIn.EndedReason.SIGNED_OUT, now=timezone.now())
    assert adopt_session(before, known, now=timezone.now()) is None


# Logins that are none of a session.


def drf_request(request: HttpRequest, user: Any) -> Request:
    """The request of an API, which authenticated its user by a token or a password."""
    wrapped = Request(request)
    wrapped.user = user
    return wrapped


def send_logged_in(request: Any, user: Any) -> None:
    """What knox, djoser, NetBox and others do after an API login."""
    user_logged_in.send(sender=type(user), request=request, user=user)


def test_record_login__without_a_request_or_a_session_records_nothing(rf: RequestFactory, known: Any) -> None:
    for request in (None, rf.post("/"), drf_request(rf.post("/"), known), HttpRequest(), object()):
        send_logged_in(request, mark_proved(known, "password"))
        user_logged_out.send(sender=type(known), request=request, user=known)
        user_login_failed.send(sender=__name__, credentials={"username": "x"}, request=request)
    assert not SignIn.objects.exists()
    assert not AuditEvent.objects.filter(kind__startswith="sign_in").exists()


def test_record_login__by_an_api_makes_no_session(make_request: Any, known: Any) -> None:
    for request in (make_request(), drf_request(make_request(), known)):
        send_logged_in(request, mark_proved(known, "password"))
        assert not request.session.modified
        assert request.session.session_key is None
    assert not SignIn.objects.exists()


@pytest.mark.parametrize("whose", ["their own", "another user's"])
@pytest.mark.parametrize("wrap", [drf_request, lambda request, user: request])
def test_record_login__by_an_api_leaves_the_session_of_the_browser_alone(
    client: Client, make_request: Any, known: Any, admin: Any, whose: str, wrap: Any
) -> None:
    client.force_login(mark_proved(known if whose == "their own" else admin, "password"))
    before, cookie = sign_in_of(client), client.session.session_key
    request = wrap(make_request(cookie), known)
    assert SESSION_KEY in request.session  # the API has looked at it
    send_logged_in(request, known)
    assert (request.session.session_key, request.session.modified) == (cookie, False)
    after = sign_in_of(client)
    assert (after.pk, after.ended_at, after.authenticated_at) == (before.pk, None, before.authenticated_at)
    assert SignIn.objects.count() == 1


@pytest.mark.parametrize("wrap", [drf_request, lambda request, user: request])
def test_record_logout__of_an_api_leaves_the_session_of_the_browser_alone(
    client: Client, make_request: Any, known: Any, wrap: Any
) -> None:
    client.force_login(known)
    request = wrap(make_request(client.session.session_key), known)
    user_logged_out.send(sender=type(known), request=request, user=known)
    assert sign_in_of(client).ended_at is None
    assert not request.session.modified


def test_record_login__by_an_api_view_that_opens_a_session_is_recorded(make_request: Any, known: Any) -> None:
    """A page without reloads signs in so: Django's `login()` with the API's request."""
    request = make_request()
    login(drf_request(request, known), mark_proved(known, "password"), backend=MODEL_BACKEND)
    sign_in = sign_in_of_session(request)
    assert sign_in is not None
    assert sign_in.methods == ["password"]
    logout(drf_request(request, known))
    assert SignIn.objects.get().ended_reason == SignIn.EndedReason.SIGNED_OUT


def test_record_logout__asynchronously_ends_the_sign_in(make_request: Any, known: Any) -> None:
    request = make_request()
    async_to_sync(alogin)(request, known, backend=MODEL_BACKEND)
    async_to_sync(alogout)(request)
    assert SignIn.objects.get().ended_reason == SignIn.EndedReason.SIGNED_OUT


def test_record_login__is_told_to_observers_once(
    client: Client, known: Any, django_capture_on_commit_callbacks: Any
) -> None:
    heard: list[Any] = []
    receivers = [(sign_in_begun, "begun"), (user_logged_in, "logged in")]
    for signal, name in receivers:
        signal.connect(lambda name=name, **kwargs: heard.append(name), weak=False, dispatch_uid=name)
    try:
        with django_capture_on_commit_callbacks(execute=True, using=where()):
            client.post(SIGN_IN, {"upn": known.upn, "password": PASSWORD})
    finally:
        for signal, name in receivers:
            signal.disconnect(dispatch_uid=name)
    assert sorted(heard) == ["begun", "logged in"]


def test_record_login__again_by_the_same_user_renews_the_sign_in(
    client: Client, known: Any, django_capture_on_commit_callbacks: Any
) -> None:
    client.post(SIGN_IN, {"upn": known.upn, "password": PASSWORD})
    before, cookie = sign_in_of(client), client.cookies["sessionid"].value
    SignIn.objects.update(
        authenticated_at=NOW, methods=["passkey"], amr=["hwk"], level=Level.PHISHING_RESISTANT, created_at=NOW
    )
    heard: list[Any] = []
    sign_in_renewed.connect(lambda sign_in, **kwargs: heard.append(sign_in.pk), weak=False, dispatch_uid="heard")
    try:
        with django_capture_on_commit_callbacks(execute=True, using=where()):
            client.post(SIGN_IN, {"upn": known.upn, "password": PASSWORD})
    finally:
        sign_in_renewed.disconnect(dispatch_uid="heard")
    after = sign_in_of(client)
    assert (after.pk, after.ended_at, after.created_at) == (before.pk, None, NOW)
    assert (after.methods, after.amr, after.level) == (["password"], ["pwd"], Level.SINGLE_FACTOR)
    assert after.authenticated_at is not None
    assert after.authenticated_at > NOW
    assert client.cookies["sessionid"].value != cookie  # whoever has copied the cookie is left behind
    assert heard == [before.pk]
    event = AuditEvent.objects.get(kind=AuditEvent.Kind.SIGN_IN_RENEWED)
    assert (event.user_name, event.sign_in_id, event.detail["methods"]) == (known.upn, before.pk, ["password"])
    assert SignIn.objects.count() == AuditEvent.objects.filter(kind=AuditEvent.Kind.SIGN_IN_BEGUN).count() == 1


def test_record_login__again_after_the_sign_in_ended_is_a_new_one(client: Client, known: Any) -> None:
    client.post(SIGN_IN, {"upn": known.upn, "password": PASSWORD})
    before = sign_in_of(client)
    SignIn.objects.update(ended_at=NOW, ended_reason=SignIn.EndedReason.SIGNED_OUT)
    client.post(SIGN_IN, {"upn": known.upn, "password": PASSWORD})
    assert sign_in_of(client).pk != before.pk
    before.refresh_from_db()
    assert before.ended_reason == SignIn.EndedReason.SIGNED_OUT


def test_renew_sign_in__renews_neither_what_has_ended_nor_what_a_pass_opened(robin: Any, issue: Any) -> None:
    by_pass = redeem_pass(upn=robin.upn, passcode=issue(robin, now=NOW).passcode.reveal(), client=WhereFrom(), now=NOW)
    ended = begin_sign_in(
        user=robin,
        methods=["password"],
        amr=["pwd"],
        level=Level.SINGLE_FACTOR,
        client=WhereFrom(),
        now=NOW,
        authenticated_at=NOW,
    )
    end_sign_in(ended, reason=SignIn.EndedReason.SIGNED_OUT, now=NOW)
    told = {"methods": ["passkey"], "amr": ["hwk"], "level": Level.PHISHING_RESISTANT, "client": WhereFrom()}
    told["authenticated_at"] = NOW + MINUTE
    for each in (by_pass, ended):
        assert not renew_sign_in(each, **told, now=NOW + MINUTE)
        each.refresh_from_db()
        assert each.authenticated_at == NOW
        assert "passkey" not in each.methods
    assert not AuditEvent.objects.filter(kind=AuditEvent.Kind.SIGN_IN_RENEWED).exists()


def test_record_login__leaves_the_users_other_sessions_alone(client: Client, known: Any) -> None:
    other = Client()
    for browser in (client, other):
        browser.post(SIGN_IN, {"upn": known.upn, "password": PASSWORD})
    assert client.get("/members/").status_code == other.get("/members/").status_code == 200


def test_record_logout__ends_the_sign_in(
    make_request: Any, known: Any, django_capture_on_commit_callbacks: Any
) -> None:
    request, ended = make_request(), []
    login(request, known, backend=MODEL_BACKEND)
    sign_in = sign_in_of_session(request)
    assert sign_in is not None
    sign_in_ended.connect(lambda sign_in, **kwargs: ended.append(sign_in.pk), weak=False, dispatch_uid="ended")
    try:
        with django_capture_on_commit_callbacks(execute=True, using=where()):
            logout(request)
    finally:
        sign_in_ended.disconnect(dispatch_uid="ended")
    sign_in.refresh_from_db()
    assert sign_in.ended_reason == SignIn.EndedReason.SIGNED_OUT
    assert ended == [sign_in.pk]


def test_record_logout__by_the_admins_page(client: Client, admin: Any) -> None:
    client.force_login(admin)
    sign_in = sign_in_of(client)
    client.post("/admin/logout/")
    sign_in.refresh_from_db()
    assert sign_in.ended_reason == SignIn.EndedReason.SIGNED_OUT


def test_record_logout__of_nobody_is_no_error(make_request: Any, db: None) -> None:
    logout(make_request())


# The password.


@pytest.mark.parametrize("upn", ["robin@example.test", "ROBIN@Example.TEST", "  robin@example.test\u200e "])
def test_sign_in_with_password__finds_the_user_by_upn_without_regard_to_case(
    client: Client, known: Any, upn: str
) -> None:
    assert client.post(SIGN_IN, {"upn": upn, "password": PASSWORD})["Location"] == "/"
    assert sign_in_of(client).user == known


@pytest.mark.parametrize(
    ("upn", "password"),
    [
        ("robin@example.test", "wrong"),
        ("nobod@example.test", PASSWORD),
        ("robin@example.test", PASSWORD.upper()),
        ("robin@example.test", f" {PASSWORD}"),
        ("x" * 10_000, "y" * 10_000),
        ("robin@example.test\u202e", "\u202e"),
    ],
)
def test_sign_in_with_password__a_wrong_one_is_refused_in_one_way(
    client: Client, known: Any, upn: str, password: str
) -> None:
    response = client.post(SIGN_IN, {"upn": upn, "password": password})
    assert response.status_code == 200
    assert response.context["form"].non_field_errors() == ["That user name and password do not match."]
    assert SESSION_KEY not in client.session


def test_sign_in_with_password__of_an_inactive_user_is_refused_in_the_same_way(client: Client, known: Any) -> None:
    known.is_active = False
    known.save()
    response = client.post(SIGN_IN, {"upn": known.upn, "password": PASSWORD})
    assert response.context["form"].non_field_errors() == ["That user name and password do not match."]


def test_sign_in_with_password__without_a_password_nothing_signs_in(client: Client, robin: Any) -> None:
    for password in ("", " ", "!", robin.password):
        client.post(SIGN_IN, {"upn": robin.upn, "password": password})
    assert SESSION_KEY not in client.session


def test_sign_in_with_password__a_passcode_is_no_password(client: Client, known: Any, issue: Any) -> None:
    client.post(SIGN_IN, {"upn": known.upn, "password": issue(known).passcode.reveal()})
    assert SESSION_KEY not in client.session


def test_sign_in_with_password__who_shares_a_upn_by_case_is_refused(
    make_request: Any, make_user: Any, settings: Any
) -> None:
    settings.TAP_PROVIDER_UPN_FIELD = "email"
    for name, email in (("quinn", "Q@example.test"), ("quincy", "q@example.test")):
        make_user(name, email=email, password=PASSWORD)
    with pytest.raises(SignInRefused):
        sign_in_with_password(make_request(), upn="q@example.test", password=PASSWORD, now=NOW)


@pytest.mark.parametrize("upn", ["a\x00b", "\ud800", "\u202e" * 300, ""])
@pytest.mark.parametrize("password", ["a\x00b", "\ud800", "x" * 10_000, ""])
def test_sign_in_with_password__odd_text_is_refused_cleanly(
    make_request: Any, known: Any, upn: str, password: str
) -> None:
    with pytest.raises(SignInRefused):
        sign_in_with_password(make_request(), upn=upn, password=password, now=NOW)


def test_sign_in_with_password__an_odd_password_of_a_known_user_is_refused_cleanly(
    make_request: Any, known: Any
) -> None:
    for password in ("a\x00b", "\ud800", ""):
        with pytest.raises(SignInRefused):
            sign_in_with_password(make_request(), upn=known.upn, password=password, now=NOW)


@pytest.mark.parametrize("upn", ["robin@example.test", "nobody@example.test"])
def test_sign_in_with_password__the_eleventh_wrong_guess_waits(make_request: Any, known: Any, upn: str) -> None:
    for _ in range(10):
        with pytest.raises(SignInRefused):
            sign_in_with_password(make_request(), upn=upn, password="wrong", now=NOW)
    with pytest.raises(TooManyAttempts):
        sign_in_with_password(make_request(), upn=upn, password=PASSWORD, now=NOW + MINUTE)


def test_sign_in_with_password__guesses_at_one_account_are_one_count_however_it_is_named(
    make_request: Any, known: Any
) -> None:
    names = [known.upn, known.username, known.upn.upper(), f" {known.username}"]
    names += ["róbin", "ROBÍN"] if connection.vendor == "mysql" else []  # which its collation equates
    for number in range(10):
        with pytest.raises(SignInRefused):
            sign_in_with_password(make_request(), upn=names[number % len(names)], password="wrong", now=NOW)
    for name in names:
        with pytest.raises(SignInRefused):
            sign_in_with_password(make_request(), upn=name, password=PASSWORD, now=NOW)
    assert sign_in_with_password(make_request(), upn=known.upn, password=PASSWORD, now=NOW + HOUR)


def test_sign_in_with_password__refuses_no_name_because_of_guesses_at_another(make_request: Any, known: Any) -> None:
    """Two names that are refused together are one person's, whom strangers are not told of."""
    answers = {}
    names = [(known.upn, known.username), ("nobody@example.test", "nobody")]
    names += [("robin", "röbin"), ("nobody", "nöbody")] if connection.vendor == "mysql" else []
    for number, (guessed, asked) in enumerate(names):
        for _ in range(10):
            with pytest.raises(SignInRefused):
                sign_in_with_password(make_request(), upn=guessed, password="wrong", now=NOW + number * HOUR)
        with pytest.raises(TooManyAttempts):
            sign_in_with_password(make_request(), upn=guessed, password=PASSWORD, now=NOW + number * HOUR)
        with pytest.raises(SignInRefused) as refused:
            sign_in_with_password(make_request(), upn=asked, password=PASSWORD, now=NOW + number * HOUR)
        answers[asked] = refused.value.code
    assert set(answers.values()) == {"password_not_accepted"}


def test_sign_in_with_password__users_without_a_upn_are_counted_each_by_their_user_name(
    make_request: Any, make_user: Any, settings: Any
) -> None:
    settings.TAP_PROVIDER_HOOKS = f"{__name__}.WithoutUpn"
    for name in ("kay", "quinn"):
        make_user(name, password=PASSWORD)
    for _ in range(10):
        with pytest.raises(SignInRefused):
            sign_in_with_password(make_request(), upn="kay", password="wrong", now=NOW)
    assert sign_in_with_password(make_request(), upn="quinn", password=PASSWORD, now=NOW)


def test_sign_in_with_password__costs_as_many_statements_whoever_is_named(make_request: Any, known: Any) -> None:
    def refused(name: str) -> int:
        with CaptureQueriesContext(connection) as queries, pytest.raises(SignInRefused):
            sign_in_with_password(make_request(), upn=name, password="wrong", now=NOW)
        return len(queries)

    assert refused(known.upn) == refused(known.username) == refused("nobody@example.test") == refused("a\x00b")


def test_sign_in_with_password__successes_are_no_guesses(make_request: Any, known: Any) -> None:
    for _ in range(12):
        assert sign_in_with_password(make_request(), upn=known.upn, password=PASSWORD, now=NOW)


def test_sign_in_with_password__guesses_at_a_pass_are_counted_apart(
    make_request: Any, known: Any, client: Client
) -> None:
    for _ in range(10):
        client.post("/account/sign-in/pass/", {"upn": known.upn, "passcode": "ABCD-EFGH"})
    assert client.post(SIGN_IN, {"upn": known.upn, "password": PASSWORD})["Location"] == "/"


def test_sign_in_with_password__a_refusal_is_recorded_without_what_was_typed(
    client: Client, known: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    told: list[Any] = []
    user_login_failed.connect(lambda credentials, **kwargs: told.append(credentials), weak=False, dispatch_uid="told")
    try:
        client.post(SIGN_IN, {"upn": known.upn, "password": "typed-by-mistake"})
    finally:
        user_login_failed.disconnect(dispatch_uid="told")
    event = AuditEvent.objects.get(kind=AuditEvent.Kind.SIGN_IN_REFUSED)
    assert (event.user_name, event.detail) == (known.upn, {"reason": "password"})
    assert told
    assert "typed-by-mistake" not in f"{told}{event.detail}{caplog.text}"


# The second step.


def test_second_factor_kinds__are_what_the_user_has(known: Any) -> None:
    assert second_factor_kinds(known) == []
    device = TOTPDevice.objects.create(user=known, confirmed=False)
    assert second_factor_kinds(known) == []
    device.confirmed = True
    device.save()
    assert [kind.slug for kind in second_factor_kinds(known)] == ["totp"]


def test_second_step__is_awaited_for_ten_minutes(make_request: Any, known: Any, app: TOTPDevice) -> None:
    request = make_request()
    assert sign_in_with_password(request, upn=known.upn, password=PASSWORD, now=NOW) is False
    assert SESSION_KEY not in request.session
    assert "_auth_user_id" not in request.session
    assert awaited_user(request, now=NOW + 9 * MINUTE) == known
    assert awaited_user(request, now=NOW + 10 * MINUTE) is None


@pytest.mark.parametrize("again", [False, True], ids=["once", "again"])
def test_second_step__is_awaited_no_more_once_its_user_was_deactivated(
    again: bool, make_request: Any, known: Any, app: TOTPDevice
) -> None:
    """The user is active again, and gives the password again."""
    request = make_request()
    for is_active in (False, True) if again else ():
        known.is_active = is_active
        known.save()
    now = timezone.now()
    sign_in_with_password(request, upn=known.upn, password=PASSWORD, now=now)
    assert awaited_user(request, now=now) == known
    for is_active in (False, True):
        known.is_active = is_active
        known.save()
    assert awaited_user(request, now=now) is None


@pytest.mark.parametrize("kind", [AuditEvent.Kind.SIGNED_OUT_EVERYWHERE, AuditEvent.Kind.METHOD_LOST])
def test_second_step__is_awaited_no_more_after_what_ends_all_sign_ins(
    kind: AuditEvent.Kind, make_request: Any, known: Any, app: TOTPDevice
) -> None:
    request, now = make_request(), timezone.now()
    audit.record(kind, now=now - MINUTE, user=known)
    sign_in_with_password(request, upn=known.upn, password=PASSWORD, now=now)
    assert awaited_user(request, now=now) == known
    audit.record(kind, now=now, user=known)
    assert awaited_user(request, now=now) is None


def test_second_step__gives_the_session_a_new_key(client: Client, robin: Any, app: TOTPDevice) -> None:
    session = client.session
    session["basket"] = ["apples"]
    session.save()
    before = session.session_key
    client.post(SIGN_IN, {"upn": robin.upn, "password": PASSWORD})
    assert client.session.session_key not in {None, before}


def test_second_step__without_a_first_goes_back_to_it(client: Client, app: TOTPDevice) -> None:
    for response in (client.get(VERIFY), client.post(VERIFY, {"code": code_of(app)})):
        assert response["Location"] == "/account/sign-in/"
    assert SESSION_KEY not in client.session


def test_second_step__after_its_ten_minutes_the_right_code_is_refused(awaiting_client: Client, app: TOTPDevice) -> None:
    session = awaiting_client.session
    session[PENDING_KEY] = {**session[PENDING_KEY], "until": (timezone.now() - MINUTE).isoformat()}
    session.save()
    assert awaiting_client.post(VERIFY, {"code": code_of(app)})["Location"] == "/account/sign-in/?notice=too_late"
    assert SESSION_KEY not in awaiting_client.session


def test_second_step__of_a_user_deactivated_meanwhile_is_refused(
    awaiting_client: Client, robin: Any, app: TOTPDevice
) -> None:
    type(robin)._default_manager.filter(pk=robin.pk).update(is_active=False)
    awaiting_client.post(VERIFY, {"code": code_of(app)})
    assert SESSION_KEY not in awaiting_client.session


def test_second_step__of_a_password_changed_meanwhile_is_refused(
    awaiting_client: Client, robin: Any, app: TOTPDevice
) -> None:
    # A reset ends sign-ins under way as well: whoever knew the old password stops here.
    robin.set_password("another-password")
    robin.save()
    awaiting_client.post(VERIFY, {"code": code_of(app)})
    assert SESSION_KEY not in awaiting_client.session


def test_second_step__a_first_step_of_somebody_else_takes_its_place(
    awaiting_client: Client, make_user: Any, app: TOTPDevice
) -> None:
    quinn = make_user("quinn", password="quinns-password")
    TOTPDevice.objects.create(user=quinn, confirmed=True)
    awaiting_client.post(SIGN_IN, {"upn": quinn.upn, "password": "quinns-password"})
    awaiting_client.post(VERIFY, {"code": code_of(app)})  # Robin's code, Quinn's password
    assert SESSION_KEY not in awaiting_client.session


def test_second_step__leaves_nothing_pending_behind(awaiting_client: Client, app: TOTPDevice) -> None:
    awaiting_client.post(VERIFY, {"code": code_of(app)})
    assert PENDING_KEY not in awaiting_client.session


def test_second_step__without_the_device_that_was_awaited_begins_anew(awaiting_client: Client, app: TOTPDevice) -> None:
    app.delete()
    assert awaiting_client.get(VERIFY)["Location"] == "/account/sign-in/"
    assert SESSION_KEY not in awaiting_client.session


def test_second_step__signing_in_with_a_pass_meanwhile_forgets_it(
    awaiting_client: Client, make_user: Any, issue: Any, sign_in_with_pass: Any, app: TOTPDevice
) -> None:
    quinn = make_user("quinn")
    sign_in_with_pass(quinn.upn, issue(quinn).passcode.reveal(), awaiting_client)
    assert awaiting_client.post(VERIFY, {"code": code_of(app)})["Location"] == "/account/sign-in/"
    assert sign_in_of(awaiting_client).user == quinn


def test_second_step__does_not_reveal_whose_it_is_to_a_stranger(client: Client, robin: Any, app: TOTPDevice) -> None:
    client.post(SIGN_IN, {"upn": robin.upn, "password": "wrong"})
    assert client.get(VERIFY)["Location"] == "/account/sign-in/"


def test_full_session__has_no_deadline_of_its_own(client: Client, known: Any) -> None:
    client.post(SIGN_IN, {"upn": known.upn, "password": PASSWORD})
    sign_in = sign_in_of(client)
    assert not sign_in.is_over(now=timezone.now() + 1000 * HOUR)


def test_sign_in_with_second_factor__of_nobody_but_whom_this_session_awaits(
    awaiting_client: Client, make_request: Any, robin: Any, app: TOTPDevice, make_user: Any
) -> None:
    """The page asks for the awaited user; the verb does not rely on it."""
    kind, quinn = TotpKind(), make_user("quinn")
    awaiting, fresh = make_request(awaiting_client.session.session_key), make_request()
    for request, user in ((fresh, robin), (awaiting, quinn)):
        form = kind.second_factor_form(robin, QueryDict(f"code={code_of(app)}"))
        with pytest.raises(SignInRefused) as refused:
            sign_in_with_second_factor(request, user=user, kind=kind, form=form, now=timezone.now())
        assert refused.value.code == "not_awaited"
    assert not SignIn.objects.filter(user__in=[robin, quinn]).exists()


def test_sign_in_with_second_factor__takes_no_form_that_is_not_valid(
    awaiting_client: Client, make_request: Any, robin: Any, app: TOTPDevice
) -> None:
    request, kind = make_request(awaiting_client.session.session_key), TotpKind()
    form = kind.second_factor_form(robin, QueryDict("code="))
    with pytest.raises(SignInRefused) as refused:
        sign_in_with_second_factor(request, user=robin, kind=kind, form=form, now=timezone.now())
    assert refused.value.code == "code_not_accepted"


# A user who is deactivated at the very moment: while their password was hashed, say.


def deactivate(user: Any) -> None:
    type(user)._default_manager.filter(pk=user.pk).update(is_active=False)


def test_sign_in__of_a_user_who_was_just_deactivated_is_refused(known: Any, make_request: Callable[..., Any]) -> None:
    """What began would live once they are active again."""
    request = make_request()
    deactivate(known)
    assert known.is_active  # as it was read
    with pytest.raises(SignInRefused) as refused:
        sign_in(request, known, used=[USED_PASSWORD], backend=MODEL_BACKEND)
    assert refused.value.code == "inactive_user"
    assert not SignIn.objects.exists()
    assert dict(request.session) == {}


class Deactivating(ModelBackend):
    """Somebody is deactivated while this backend checks their password."""

    def authenticate(self, request: Any, username: Any = None, password: Any = None, **kwargs: Any) -> Any:
        user = super().authenticate(request, username=username, password=password, **kwargs)
        if user is not None:
            deactivate(user)
        return user


@pytest.mark.parametrize("page", [SIGN_IN, ADMIN_LOGIN])
def test_record_login__of_a_user_who_was_just_deactivated_opens_nothing(
    page: str, client: Client, admin: Any, settings: Any
) -> None:
    settings.AUTHENTICATION_BACKENDS = ["tests.methods.test_full_session.Deactivating"]
    typed = {"upn": "admin", "username": "admin", "password": "admin-password"}
    response = client.post(page, typed)
    assert response.status_code in {200, 302}
    assert not SignIn.objects.exists()
    type(admin)._default_manager.update(is_active=True)
    settings.AUTHENTICATION_BACKENDS = [MODEL_BACKEND]
    assert client.get("/admin/").status_code == 302
    assert SESSION_KEY not in client.session


def test_record_login__of_a_user_who_was_just_deactivated_ends_what_the_session_was(
    known: Any, make_request: Callable[..., Any]
) -> None:
    request = make_request()
    sign_in(request, known, used=[USED_PASSWORD], backend=MODEL_BACKEND)
    deactivate(known)
    login(request, known, backend=MODEL_BACKEND)
    assert SignIn.objects.get().ended_reason == SignIn.EndedReason.SIGNED_IN_ANEW
    assert dict(request.session) == {}
    assert request.user.is_anonymous


# A method that is lost at the very moment.


USED_APP = UsedMethod(kind="totp", amr=("otp",), factors=frozenset({Factor.POSSESSION}), method_id="1")


def test_sign_in__with_a_method_that_has_just_gone_is_refused(known: Any, make_request: Callable[..., Any]) -> None:
    """Its loss ends what was made with it, and looks no further: what begins afterwards would live on."""
    request = make_request()
    with pytest.raises(SignInRefused) as refused:
        sign_in(request, known, used=[USED_PASSWORD, USED_APP], backend=MODEL_BACKEND)
    assert refused.value.code == "method_gone"
    assert not SignIn.objects.exists()
    assert dict(request.session) == {}


def test_sign_in__asks_only_for_methods_that_one_has(known: Any, make_request: Callable[..., Any]) -> None:
    """A password may be a directory's, of which nothing is registered here."""
    known.set_unusable_password()
    known.save()
    sign_in(make_request(), known, used=[USED_PASSWORD], backend=MODEL_BACKEND)
    assert SignIn.objects.get().methods == ["password"]


@pytest.mark.default_database
@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="transactions come one after the other there")
def test_sign_in__lets_no_method_go_while_it_begins(known: Any, make_request: Callable[..., Any]) -> None:
    users, outcomes = type(known)._default_manager, []

    def lock() -> None:
        with transaction.atomic():
            users.select_for_update(nowait=True).get(pk=known.pk)

    class Session(SessionStore):
        def cycle_key(self) -> None:
            outcomes.extend(all_at_once(lock))  # as whoever loses a method does
            super().cycle_key()

    request = make_request()
    request.session = Session()
    sign_in(request, known, used=[USED_PASSWORD], backend=MODEL_BACKEND)
    assert [type(outcome) for outcome in outcomes] == [OperationalError]
