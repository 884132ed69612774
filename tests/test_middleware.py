"""Who `request.user` is: the sign-in behind the session decides, on every engine, sync and async, and at what price."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings as django_settings
from django.contrib.auth import alogin, get_user_model, login
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.urls import include, path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from tap_provider.decorators import page, registration_session_allowed
from tap_provider.issue import revoke_pass
from tap_provider.models import AuditEvent, SignIn, TemporaryAccessPass
from tap_provider.policy import change_policy
from tap_provider.registration_session import allow
from tap_provider.sign_in import SESSION_KEY, end_sign_ins

from .conftest import HOUR, MINUTE
from .softauthn import BEGIN_AUTHENTICATION, BEGIN_REGISTRATION, post_json

OURS = "tap_provider.middleware.SignInMiddleware"
OTP = "django_otp.middleware.OTPMiddleware"
LOGIN_REQUIRED = "django.contrib.auth.middleware.LoginRequiredMiddleware"
MODEL_BACKEND = "tap_provider.backends.ModelBackend"
OUR_BACKEND = "tap_provider.backends.TemporaryAccessPassBackend"

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.urls("tests.test_middleware"),
    pytest.mark.usefixtures("hasher"),  # a cheap one
]


# The site of these tests: views that say whom they see.


def _told(user: Any) -> JsonResponse:
    is_verified = getattr(user, "is_verified", None)
    return JsonResponse(
        {"upn": getattr(user, "upn", None), "verified": "missing" if is_verified is None else is_verified()}
    )


def whoami(request: HttpRequest) -> HttpResponse:
    return _told(request.user)


async def awhoami(request: HttpRequest) -> HttpResponse:
    return _told(await request.auser())


async def both(request: HttpRequest) -> HttpResponse:
    user = await request.auser()
    return await sync_to_async(lambda: JsonResponse({"same": request.user.pk == user.pk}))()


def untouched(request: HttpRequest) -> HttpResponse:
    return HttpResponse("nobody asked who you are")


@page
def refusing(request: HttpRequest) -> HttpResponse:
    raise PermissionDenied


@method_decorator(registration_session_allowed, name="dispatch")
class OptedIn(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return _told(request.user)


def opted_in_for_some(view: Callable[..., Any]) -> Callable[..., Any]:
    return allow(view, when=lambda query: query.get("client_id") == "onboarding")


def log_in(request: HttpRequest) -> HttpResponse:
    """Somebody else's page that calls Django's `login()` without looking at `request.user` first."""
    user = get_user_model()._default_manager.get(username=request.GET["username"])
    login(request, user, backend=request.GET.get("backend", MODEL_BACKEND))
    return _told(request.user)


async def alog_in(request: HttpRequest) -> HttpResponse:
    """The same, asynchronously."""
    user = await get_user_model()._default_manager.aget(username=request.GET["username"])
    await alogin(request, user, backend=MODEL_BACKEND)
    return await sync_to_async(_told)(user)


def log_in_again(request: HttpRequest) -> HttpResponse:
    """A page that calls `login()` with the very user whom the session has."""
    login(request, request.user, backend=MODEL_BACKEND)  # type: ignore[arg-type]
    return _told(request.user)


def wrapped(view: Callable[..., Any]) -> Callable[..., Any]:
    """Another function around the same view: an opt-in marks the view object it was given."""

    def inner(request: HttpRequest) -> HttpResponse:
        return view(request)

    return inner


async def opted_in_async(request: HttpRequest) -> HttpResponse:
    return await awhoami(request)


urlpatterns = [
    path("test/whoami/", whoami, name="whoami"),
    path("test/awhoami/", awhoami, name="awhoami"),
    path("test/both/", both),
    path("test/untouched/", untouched),
    path("test/refusing/", csrf_exempt(refusing)),
    path("test/members/", login_required(whoami)),
    path("test/opted-in/", registration_session_allowed(wrapped(whoami))),
    path("test/opted-in/class/", OptedIn.as_view()),
    path("test/opted-in/async/", registration_session_allowed(opted_in_async)),
    path("test/opted-in/some/", opted_in_for_some(wrapped(whoami))),
    path("test/opted-in/by-name/", wrapped(whoami), name="third_party_wizard"),
    path("test/log-in/", log_in),
    path("test/alog-in/", alog_in),
    path("test/log-in/again/", log_in_again),
    path("test/log-in/opted-in/", registration_session_allowed(wrapped(log_in))),
    path("o/", include("tap_provider.oidc.management_urls")),
    path("", include("example_project.urls")),
]

CLOSED = [
    "/members/",
    "/admin/",
    "/admin/tap_provider/temporaryaccesspasspolicy/1/change/",
    "/o/applications/",
    "/o/applications/register/",
    "/o/authorized_tokens/",
    "/o/device/",
    "/test/members/",
]

ENGINES = ["db", "cached_db", "cache", "file", "signed_cookies"]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, settings: Any, tmp_path: Any) -> str:
    """Each of Django's session engines."""
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{request.param}"
    settings.SESSION_FILE_PATH = str(tmp_path)
    return str(request.param)


@pytest.fixture
def full_client(admin: Any) -> Client:
    """A browser of its own in the superuser's full session."""
    client = Client()
    client.force_login(admin)
    return client


def sees(client: Client | AsyncClient, url: str = "/test/whoami/") -> Any:
    """Return the UPN that a view at this address sees."""
    return ask(client, url)["upn"]


def ask(client: Client | AsyncClient, url: str) -> Any:
    get = async_to_sync(client.get) if isinstance(client, AsyncClient) else client.get
    response = get(url)
    assert response.status_code == 200
    return json.loads(response.content)


def with_cookies_of(client: Client, kind: type[Client] | type[AsyncClient] = Client) -> Any:
    """Return another browser with the same cookies."""
    twin = kind()
    twin.cookies = client.cookies.copy()
    return twin


def put(client: Client, **data: Any) -> None:
    session = client.session
    session.update(data)
    session.save()


def sign_in_of(client: Client) -> SignIn:
    return SignIn.objects.get(pk=client.session[SESSION_KEY])


# Closed by construction.


@pytest.mark.parametrize("url", CLOSED)
def test_registration_session__is_anonymous_in_every_view_that_has_not_opted_in(
    holder_client: Client, url: str
) -> None:
    response = holder_client.get(url)
    assert response.status_code == 302
    assert "sign-in" in response["Location"] or "login" in response["Location"]


@pytest.mark.parametrize("url", CLOSED)
def test_full_session__reaches_what_a_registration_session_does_not(full_client: Client, url: str) -> None:
    assert full_client.get(url).status_code == 200


@pytest.mark.parametrize("url", ["/test/whoami/", "/test/awhoami/"])
def test_registration_session__a_third_party_view_sees_nobody(holder_client: Client, url: str) -> None:
    assert ask(holder_client, url) == {"upn": None, "verified": False}


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "head", "options"])
def test_registration_session__is_anonymous_whatever_the_method(holder_client: Client, method: str) -> None:
    assert getattr(holder_client, method)("/members/").status_code == 302


@pytest.mark.parametrize("url", ["/test/opted-in/", "/test/opted-in/class/", "/test/opted-in/async/"])
def test_registration_session__an_opted_in_view_sees_the_holder_unverified(
    holder_client: Client, robin: Any, url: str
) -> None:
    assert ask(holder_client, url) == {"upn": robin.upn, "verified": False}


def test_registration_session__a_view_opts_in_by_name(holder_client: Client, robin: Any, settings: Any) -> None:
    assert sees(holder_client, "/test/opted-in/by-name/") is None
    settings.TAP_PROVIDER_REGISTRATION_VIEWS = ["third_party_wizard"]
    assert ask(holder_client, "/test/opted-in/by-name/") == {"upn": robin.upn, "verified": False}
    assert sees(holder_client, "/test/whoami/") is None


def test_registration_session__a_view_may_opt_in_for_some_requests_only(holder_client: Client, robin: Any) -> None:
    assert sees(holder_client, "/test/opted-in/some/") is None
    assert sees(holder_client, "/test/opted-in/some/?client_id=intranet") is None
    assert sees(holder_client, "/test/opted-in/some/?client_id=onboarding") == robin.upn


def test_registration_session__opting_in_changes_nothing_for_others(full_client: Client, admin: Any) -> None:
    assert sees(full_client, "/test/opted-in/") == admin.upn
    assert sees(Client(), "/test/opted-in/") is None


# Under Django's LoginRequiredMiddleware.


@pytest.fixture
def login_required_everywhere(settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, LOGIN_REQUIRED]


@pytest.mark.usefixtures("login_required_everywhere")
@pytest.mark.parametrize(
    "url", ["/account/sign-in/", "/account/sign-in/pass/", "/account/sign-out/", "/account/methods/passkey/texts.js"]
)
def test_login_required__our_public_pages_stay_public(url: str) -> None:
    assert Client().get(url).status_code == 200


@pytest.mark.usefixtures("login_required_everywhere")
def test_login_required__signing_in_with_a_passkey_stays_public() -> None:
    assert post_json(Client(), BEGIN_AUTHENTICATION).status_code == 200


@pytest.mark.usefixtures("login_required_everywhere")
@pytest.mark.parametrize("url", ["/", "/test/whoami/", "/members/"])
def test_login_required__other_pages_ask_a_registration_session_to_sign_in(holder_client: Client, url: str) -> None:
    response = holder_client.get(url)
    assert response.status_code == 302
    assert response["Location"].startswith("/account/sign-in/?next=")


@pytest.mark.usefixtures("login_required_everywhere")
def test_login_required__a_registration_session_registers(holder_client: Client, robin: Any) -> None:
    assert robin.upn in holder_client.get("/account/security-info/").content.decode()
    assert holder_client.post("/account/security-info/add/totp/", {"begin": "1"}).status_code == 302
    assert holder_client.get("/account/security-info/add/totp/").status_code == 200
    assert post_json(holder_client, BEGIN_REGISTRATION).status_code == 200
    assert holder_client.post("/account/security-info/finish/").status_code == 302


@pytest.mark.usefixtures("login_required_everywhere")
def test_login_required__a_full_session_goes_everywhere(full_client: Client, admin: Any) -> None:
    assert sees(full_client) == admin.upn
    assert full_client.get("/account/security-info/").status_code == 200


@pytest.mark.usefixtures("login_required_everywhere")
def test_login_required__an_ended_sign_in_is_asked_to_sign_in(full_client: Client) -> None:
    end_sign_ins([sign_in_of(full_client)], reason=SignIn.EndedReason.SIGNED_OUT, now=timezone.now())
    assert full_client.get("/test/whoami/").status_code == 302


# Synchronous and asynchronous stacks.


@pytest.mark.parametrize("stack", [Client, AsyncClient])
@pytest.mark.parametrize("url", ["/test/whoami/", "/test/awhoami/"])
def test_auser__full_session(full_client: Client, admin: Any, stack: Any, url: str) -> None:
    assert ask(with_cookies_of(full_client, stack), url) == {"upn": admin.upn, "verified": False}


@pytest.mark.parametrize("stack", [Client, AsyncClient])
@pytest.mark.parametrize("url", ["/test/whoami/", "/test/awhoami/"])
def test_auser__registration_session_is_anonymous(holder_client: Client, stack: Any, url: str) -> None:
    assert ask(with_cookies_of(holder_client, stack), url) == {"upn": None, "verified": False}


@pytest.mark.parametrize("stack", [Client, AsyncClient])
@pytest.mark.parametrize("url", ["/test/opted-in/", "/test/opted-in/class/", "/test/opted-in/async/"])
def test_auser__registration_session_in_an_opted_in_view(
    holder_client: Client, robin: Any, stack: Any, url: str
) -> None:
    assert ask(with_cookies_of(holder_client, stack), url) == {"upn": robin.upn, "verified": False}


@pytest.mark.parametrize("stack", [Client, AsyncClient])
@pytest.mark.parametrize("url", ["/test/whoami/", "/test/awhoami/", "/test/opted-in/", "/test/opted-in/async/"])
def test_auser__anonymous(stack: Any, url: str) -> None:
    assert ask(stack(), url) == {"upn": None, "verified": False}


@pytest.mark.parametrize("stack", [Client, AsyncClient])
@pytest.mark.parametrize("url", ["/test/whoami/", "/test/awhoami/"])
def test_auser__an_ended_sign_in_is_anonymous(full_client: Client, stack: Any, url: str) -> None:
    end_sign_ins([sign_in_of(full_client)], reason=SignIn.EndedReason.SIGNED_OUT, now=timezone.now())
    assert sees(with_cookies_of(full_client, stack), url) is None


@pytest.mark.parametrize("stack", [Client, AsyncClient])
@pytest.mark.parametrize("url", ["/test/opted-in/", "/test/opted-in/async/"])
def test_auser__an_ended_registration_session_is_anonymous(holder_client: Client, stack: Any, url: str) -> None:
    end_sign_ins([sign_in_of(holder_client)], reason=SignIn.EndedReason.PASS_REVOKED, now=timezone.now())
    assert sees(with_cookies_of(holder_client, stack), url) is None


@pytest.mark.parametrize("stack", [Client, AsyncClient])
def test_auser__a_session_signed_in_with_a_passkey(passkey_client: Client, robin: Any, stack: Any) -> None:
    # The library's own backend has no asynchronous methods: there, this is a 500.
    assert ask(with_cookies_of(passkey_client, stack), "/test/awhoami/") == {"upn": robin.upn, "verified": True}


# What it costs.


@pytest.fixture
def cost(settings: Any) -> Callable[..., tuple[int, int]]:
    """Count the queries of a request with our middleware and without it."""

    def count(client: Client, url: str, stack: Any = Client) -> tuple[int, int]:
        counts = []
        for middleware in (django_settings.MIDDLEWARE, [name for name in settings.MIDDLEWARE if name != OURS]):
            settings.MIDDLEWARE = middleware
            twin = with_cookies_of(client, stack)
            get = async_to_sync(twin.get) if stack is AsyncClient else twin.get
            with CaptureQueriesContext(connection) as captured:
                assert get(url).status_code == 200
            counts.append(len(captured))
        return counts[0], counts[1]

    return count


def test_middleware__a_request_that_does_not_touch_the_user_costs_nothing(
    full_client: Client, holder_client: Client, cost: Callable[..., tuple[int, int]]
) -> None:
    assert cost(full_client, "/test/untouched/") == (0, 0)
    assert cost(holder_client, "/test/untouched/") == (0, 0)
    assert cost(Client(), "/test/untouched/") == (0, 0)


def test_middleware__a_request_that_does_not_touch_the_user_does_not_vary_with_the_cookie(full_client: Client) -> None:
    # A session that was looked at makes the response uncacheable for everybody.
    assert "Cookie" not in full_client.get("/test/untouched/").get("Vary", "")


@pytest.mark.parametrize("stack", [Client, AsyncClient])
@pytest.mark.parametrize("url", ["/test/whoami/", "/test/awhoami/", "/test/both/"])
def test_middleware__a_request_that_touches_the_user_costs_one_more(
    full_client: Client, cost: Callable[..., tuple[int, int]], url: str, stack: Any
) -> None:
    with_ours, without = cost(full_client, url, stack)
    assert without > 0
    assert with_ours - without == 1


@pytest.mark.parametrize(("url", "name"), [("/test/whoami/", "full_client"), ("/test/opted-in/", "holder_client")])
def test_middleware__notes_every_five_minutes_when_somebody_was_here(
    request: pytest.FixtureRequest, url: str, name: str
) -> None:
    client: Client = request.getfixturevalue(name)
    for minutes, is_noted in ((4, False), (5, True)):
        seen = timezone.now() - minutes * MINUTE
        SignIn.objects.update(last_seen_at=seen, session_expires_at=None)
        assert sees(client, url) is not None
        sign_in = sign_in_of(client)
        assert (sign_in.last_seen_at > seen) is is_noted
        expected = is_noted and name == "full_client"
        assert (sign_in.session_expires_at is not None) is expected
        if expected:
            age = (sign_in.session_expires_at - sign_in.last_seen_at).total_seconds()
            assert abs(age - client.session.get_expiry_age()) < 5


def test_middleware__touching_the_user_costs_an_anonymous_visitor_nothing(
    client: Client, cost: Callable[..., tuple[int, int]]
) -> None:
    assert cost(client, "/test/whoami/") == (0, 0)
    put(client, basket=["apples"])
    with_ours, without = cost(client, "/test/whoami/")
    assert with_ours == without == 1  # the session's own


def test_middleware__a_registration_session_costs_other_views_nothing(
    holder_client: Client, cost: Callable[..., tuple[int, int]]
) -> None:
    with_ours, without = cost(holder_client, "/test/whoami/")
    assert with_ours == without


def test_middleware__seeing_the_holder_costs_one_more_than_a_full_session(
    holder_client: Client, full_client: Client, cost: Callable[..., tuple[int, int]]
) -> None:
    with_ours, _ = cost(holder_client, "/test/opted-in/")
    _, djangos_own = cost(full_client, "/test/opted-in/")
    assert with_ours - djangos_own <= 1


# A sign-in that has ended, on every session engine.


def test_ended_sign_in__signs_out_on_the_next_request(engine: str, full_client: Client, admin: Any) -> None:
    cookies_from_before = with_cookies_of(full_client)
    assert sees(full_client) == admin.upn
    SignIn.objects.filter(user=admin).update(ended_at=timezone.now(), ended_reason=SignIn.EndedReason.SIGNED_OUT)
    assert sees(full_client) is None
    assert dict(full_client.session) == {}
    assert sees(cookies_from_before) is None


def test_ended_sign_in__signs_a_registration_session_out_on_the_next_request(
    engine: str, holder_client: Client, robin: Any
) -> None:
    cookies_from_before = with_cookies_of(holder_client)
    assert sees(holder_client, "/test/opted-in/") == robin.upn
    SignIn.objects.filter(user=robin).update(ended_at=timezone.now(), ended_reason=SignIn.EndedReason.PASS_REVOKED)
    assert sees(holder_client, "/test/opted-in/") is None
    assert dict(holder_client.session) == {}
    assert sees(cookies_from_before, "/test/opted-in/") is None


def test_ended_sign_in__leaves_other_sessions_of_the_user_alone(full_client: Client, admin: Any) -> None:
    other = Client()
    other.force_login(admin)
    end_sign_ins([sign_in_of(full_client)], reason=SignIn.EndedReason.SIGNED_OUT, now=timezone.now())
    assert sees(full_client) is None
    assert sees(other) == admin.upn


def test_sign_in__past_its_deadline_signs_out(full_client: Client) -> None:
    SignIn.objects.filter(pk=sign_in_of(full_client).pk).update(deadline=timezone.now() - MINUTE)
    assert sees(full_client) is None


@pytest.mark.parametrize("url", ["/test/opted-in/", "/test/opted-in/async/"])
@pytest.mark.parametrize("reason", ["deadline", "pass_revoked", "pass_replaced", "policy", "user_deactivated"])
def test_registration_session__ends_on_the_next_request(
    holder_client: Client, robin: Any, admin: Any, issue: Any, url: str, reason: str
) -> None:
    now, held, sign_in = timezone.now(), TemporaryAccessPass.objects.get(user=robin), sign_in_of(holder_client)
    assert sees(holder_client, url) == robin.upn
    if reason == "deadline":
        SignIn.objects.filter(pk=sign_in.pk).update(deadline=now - MINUTE)
    elif reason == "pass_revoked":
        revoke_pass(actor=admin, temporary_access_pass=held, now=now)
    elif reason == "pass_replaced":
        issue(robin)
    elif reason == "policy":
        change_policy(actor=admin, now=now, excluded_users=[robin])
    else:
        get_user_model()._default_manager.filter(pk=robin.pk).update(is_active=False)
    assert sees(holder_client, url) is None
    sign_in.refresh_from_db()
    assert (sign_in.ended_at is None, sign_in.ended_reason) == (False, reason)


def test_registration_session__ends_where_facts_changed_without_a_verb(
    holder_client: Client, robin: Any, issue: Any, sign_in_with_pass: Any
) -> None:
    # Somebody deletes the row, or puts the user into an excluded group: no verb has ended the sign-in.
    TemporaryAccessPass.objects.get(user=robin).delete()
    assert sees(holder_client, "/test/opted-in/") is None
    issued = issue(robin)
    again = Client()
    sign_in_with_pass(robin.upn, issued.passcode.reveal(), again)
    group = Group.objects.create(name="contractors")
    change_policy(actor=issued.temporary_access_pass.created_by, now=timezone.now(), excluded_groups=[group])
    assert sees(again, "/test/opted-in/") == robin.upn
    robin.groups.add(group)
    assert sees(again, "/test/opted-in/") is None


# One session, one identity.


def test_sign_in_with_pass__a_session_key_from_before_is_dead(
    engine: str, client: Client, robin: Any, issue: Any, sign_in_with_pass: Any
) -> None:
    put(client, planted="by whoever fixed this session")
    before = with_cookies_of(client)
    sign_in_with_pass(robin.upn, issue(robin).passcode.reveal())
    assert client.cookies["sessionid"].value != before.cookies["sessionid"].value
    assert "planted" not in client.session
    assert sees(client, "/test/opted-in/") == robin.upn
    assert sees(before, "/test/opted-in/") is None
    if engine != "signed_cookies":  # there the cookie is the session; it never held anything but what was planted
        assert dict(before.session) == {}


def test_sign_in_with_pass__the_csrf_token_is_new(
    client: Client, robin: Any, issue: Any, sign_in_with_pass: Any
) -> None:
    client.get("/account/sign-in/pass/")
    before = client.cookies["csrftoken"].value
    sign_in_with_pass(robin.upn, issue(robin).passcode.reveal())
    assert client.cookies["csrftoken"].value != before


def test_sign_in_with_pass__of_somebody_else_flushes_the_session(
    engine: str, full_client: Client, robin: Any, issue: Any, sign_in_with_pass: Any
) -> None:
    put(full_client, basket=["apples"], otp_device_id="otp_totp.totpdevice/1")
    before, sign_in = with_cookies_of(full_client), sign_in_of(full_client)
    sign_in_with_pass(robin.upn, issue(robin).passcode.reveal(), full_client)
    assert set(full_client.session.keys()) == {SESSION_KEY, "_session_expiry"}
    assert ask(full_client, "/test/opted-in/") == {"upn": robin.upn, "verified": False}
    assert sees(full_client) is None
    assert sees(before) is None
    sign_in.refresh_from_db()
    assert sign_in.ended_reason == SignIn.EndedReason.SIGNED_IN_ANEW


def test_sign_in_with_pass__within_another_registration_session_ends_that_one(
    holder_client: Client, make_user: Any, issue: Any, sign_in_with_pass: Any
) -> None:
    robins, quinn = sign_in_of(holder_client), make_user("quinn")
    sign_in_with_pass(quinn.upn, issue(quinn).passcode.reveal(), holder_client)
    assert sees(holder_client, "/test/opted-in/") == quinn.upn
    robins.refresh_from_db()
    assert robins.ended_reason == SignIn.EndedReason.SIGNED_IN_ANEW


def test_sign_in_with_pass__refused_leaves_the_session_alone(full_client: Client, admin: Any, robin: Any) -> None:
    response = full_client.post("/account/sign-in/pass/", {"upn": robin.upn, "passcode": "ABCD-EFGH"})
    assert response.status_code == 200
    assert sees(full_client) == admin.upn


@pytest.mark.parametrize("url", ["/test/log-in/", "/test/log-in/opted-in/", "/test/alog-in/"])
@pytest.mark.parametrize("username", ["robin", "admin"])
def test_login__inside_a_registration_session_strips_every_key_and_ends_it(
    holder_client: Client, url: str, username: str
) -> None:
    before = sign_in_of(holder_client)
    put(
        holder_client,
        basket=["apples"],
        otp_device_id="otp_totp.totpdevice/1",
        otp_webauthn_register_state={"challenge": "x"},
        tap_provider_totp=1,
    )
    key = holder_client.session.session_key
    holder_client.get(url, {"username": username})
    assert holder_client.session.session_key != key
    assert set(holder_client.session.keys()) == {
        "_auth_user_id",
        "_auth_user_backend",
        "_auth_user_hash",
        SESSION_KEY,
    }
    assert ask(holder_client, "/test/whoami/") == {"upn": f"{username}@example.test", "verified": False}
    before.refresh_from_db()
    assert before.ended_reason == SignIn.EndedReason.SIGNED_IN_ANEW
    assert sign_in_of(holder_client).pk != before.pk
    assert not sign_in_of(holder_client).is_registration_only


def test_login__keeps_what_the_site_put_into_an_anonymous_session(client: Client, robin: Any) -> None:
    put(client, basket=["apples"])
    client.get("/test/log-in/", {"username": "robin"})
    assert client.session["basket"] == ["apples"]
    assert sees(client) == robin.upn


@pytest.mark.parametrize("stack", [Client, AsyncClient])
@pytest.mark.parametrize("url", ["/test/log-in/", "/test/alog-in/"])
@pytest.mark.parametrize("username", ["robin", "admin"])
def test_login__in_a_full_session_ends_another_users_sign_in_and_renews_ones_own(
    full_client: Client, robin: Any, username: str, url: str, stack: Any
) -> None:
    # The page never looked at `request.user`, and for another user Django flushes the session before it tells us.
    before, browser = sign_in_of(full_client), with_cookies_of(full_client, stack)
    assert ask(browser, f"{url}?username={username}")["upn"] == f"{username}@example.test"
    assert sees(browser) == f"{username}@example.test"
    before.refresh_from_db()
    if before.user.username == username:  # the same session goes on, authenticated anew
        assert (before.ended_at, sign_in_of(browser).pk) == (None, before.pk)
        assert AuditEvent.objects.filter(kind=AuditEvent.Kind.SIGN_IN_RENEWED, sign_in_id=before.pk).exists()
    else:
        assert before.ended_reason == SignIn.EndedReason.SIGNED_IN_ANEW


def test_login__with_our_backend_opens_nothing_beyond_its_own_request(client: Client, robin: Any) -> None:
    client.get("/test/log-in/", {"username": "robin", "backend": OUR_BACKEND})
    assert sees(client) is None
    assert dict(client.session) == {}


@pytest.mark.parametrize("carried", ["of somebody else", "of a pass", "unknown", "nonsense"])
def test_session__that_carries_a_foreign_sign_in_is_flushed(
    full_client: Client, robin: Any, issue: Any, sign_in_with_pass: Any, carried: str
) -> None:
    other = Client()
    if carried == "of a pass":
        sign_in_with_pass(robin.upn, issue(robin).passcode.reveal(), other)
        SignIn.objects.filter(user=robin).update(user=sign_in_of(full_client).user)
    else:
        other.force_login(robin)
    sign_in_id = {"unknown": "00000000-0000-4000-8000-000000000000", "nonsense": "x"}.get(carried)
    put(full_client, **{SESSION_KEY: sign_in_id or other.session[SESSION_KEY]})
    assert sees(full_client) is None
    assert dict(full_client.session) == {}


@pytest.mark.parametrize("carried", ["unknown", "nonsense"])
def test_registration_session__that_carries_no_sign_in_of_ours_is_anonymous(client: Client, carried: str) -> None:
    sign_in_id = {"unknown": "00000000-0000-4000-8000-000000000000", "nonsense": "x"}[carried]
    put(client, **{SESSION_KEY: sign_in_id})
    assert sees(client, "/test/opted-in/") is None
    assert client.get("/account/security-info/").status_code == 302


def test_registration_session__carrying_the_sign_in_of_a_full_session_sees_nobody(client: Client, admin: Any) -> None:
    client.force_login(admin)
    sign_in_id = client.session[SESSION_KEY]
    thief = Client()
    put(thief, **{SESSION_KEY: sign_in_id})
    assert sees(thief, "/test/opted-in/") is None
    assert sees(thief) is None


# Sessions that began without us.


@pytest.fixture
def adopted_client(robin: Any) -> Client:
    """A browser in a full session that predates the installation."""
    client = Client()
    client.force_login(robin)
    session = client.session
    del session[SESSION_KEY]
    session.save()
    SignIn.objects.all().delete()
    return client


def test_adopted_session__is_single_factor_at_an_unknown_time(adopted_client: Client, robin: Any) -> None:
    assert sees(adopted_client) == robin.upn
    adopted = sign_in_of(adopted_client)
    assert (adopted.level, adopted.authenticated_at, adopted.amr, adopted.methods, adopted.deadline) == (
        "single_factor",
        None,
        [],
        [],
        None,
    )
    assert sees(adopted_client) == robin.upn
    assert SignIn.objects.count() == 1  # adopted once


@pytest.mark.parametrize("strong_only", [True, False])
def test_adopted_session__cannot_register(
    adopted_client: Client, admin: Any, robin: Any, policy_on: Any, strong_only: bool
) -> None:
    change_policy(actor=admin, now=timezone.now(), require_strong_authentication_to_register=strong_only)
    refused = post_json(adopted_client, BEGIN_REGISTRATION)
    assert refused.status_code == 403
    assert refused.json()["code"] == ("not_strong_enough" if strong_only else "not_fresh")
    adopted_client.post("/account/security-info/add/totp/", {"begin": "1"})
    assert not robin.totpdevice_set.exists()


def test_adopted_session__can_be_ended(adopted_client: Client) -> None:
    sees(adopted_client)
    end_sign_ins([sign_in_of(adopted_client)], reason=SignIn.EndedReason.SIGNED_OUT, now=timezone.now())
    assert sees(adopted_client) is None


@pytest.mark.parametrize("url", ["/test/whoami/", "/test/awhoami/"])
def test_deactivated_user__the_session_is_flushed(engine: str, client: Client, robin: Any, url: str) -> None:
    client.force_login(robin)
    row = get_user_model()._default_manager.filter(pk=robin.pk)
    row.update(is_active=False)
    before = with_cookies_of(client)
    assert sees(client, url) is None
    assert dict(client.session) == {}
    assert SignIn.objects.get(user=robin).ended_reason == SignIn.EndedReason.USER_DEACTIVATED
    row.update(is_active=True)
    assert sees(client, url) is None
    assert sees(before, url) is None


@pytest.mark.parametrize("url", ["/test/whoami/", "/test/awhoami/"])
def test_changed_password__the_session_is_dead_and_its_sign_in_ends(client: Client, robin: Any, url: str) -> None:
    """Wherever it was changed: nobody tells us, but Django flushes the session."""
    client.force_login(robin)
    robin.set_password("another-password")
    robin.save()
    assert sees(client, url) is None
    assert dict(client.session) == {}
    assert SignIn.objects.get(user=robin).ended_reason == SignIn.EndedReason.PASSWORD_CHANGED


def test_login__of_the_sessions_own_user_proves_nothing_anew(passkey_client: Client, robin: Any) -> None:
    """django-otp's mark on them is of the login before; counted again, five hours would look like now."""
    SignIn.objects.update(authenticated_at=timezone.now() - 5 * HOUR, signed_in_at=timezone.now() - 5 * HOUR)
    assert passkey_client.get("/test/log-in/again/").status_code == 200
    sign_in = SignIn.objects.get(user=robin, ended_at=None, pass_id=None)
    assert (sign_in.methods, sign_in.amr, sign_in.level) == ([], [], "single_factor")
    assert post_json(passkey_client, BEGIN_REGISTRATION).status_code == 403


def test_ended_sign_in__is_recorded_once(holder_client: Client, robin: Any) -> None:
    SignIn.objects.filter(user=robin).update(deadline=timezone.now() - HOUR)
    for _ in range(2):
        sees(holder_client, "/test/opted-in/")
    assert AuditEvent.objects.filter(kind=AuditEvent.Kind.SIGN_IN_ENDED).count() == 1


# What answers in place of a page of ours.


FRAMED_BY_NOBODY = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("refuse", ["csrf", "permission"])
def test_page__an_answer_in_its_place_is_neither_framed_nor_kept(refuse: str, is_async: bool) -> None:
    """The CSRF middleware's, or the site's 403: its styles are its own."""
    url = "/account/sign-in/" if refuse == "csrf" else "/test/refusing/"
    client: Any = AsyncClient(enforce_csrf_checks=True) if is_async else Client(enforce_csrf_checks=True)
    response = (async_to_sync(client.post) if is_async else client.post)(url)

    assert response.status_code == 403
    assert {name: response.headers[name] for name in FRAMED_BY_NOBODY} == FRAMED_BY_NOBODY
    assert "no-store" in response.headers["Cache-Control"]


def test_page__of_the_site_is_left_alone(client: Client) -> None:
    for url in ("/test/untouched/", "/nowhere/"):
        assert not {"Content-Security-Policy", "Cache-Control"} & set(client.get(url).headers)
