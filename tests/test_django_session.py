"""The Django session ends with its sign-in: deleted on every engine that can, and the request that ends it goes on."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextvars import Context
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.auth import get_user, get_user_model
from django.contrib.sessions.backends.db import SessionStore as DatabaseSession
from django.core.cache.backends.locmem import LocMemCache
from django.core.management import call_command
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.urls import include, path
from django.utils import timezone

from tap_provider.issue import revoke_pass
from tap_provider.models import AuditEvent, SignIn
from tap_provider.sign_in import SESSION_KEY, end_sign_in, end_sign_ins
from tap_provider.sign_in.django_session import AT_ONCE, delete_left_sessions
from tap_provider.sign_in.session_key import note_session_key
from tap_provider.sign_in.session_store import new_session

from .test_middleware import MODEL_BACKEND

PASSWORD = "robins-password"
Reason = SignIn.EndedReason

DELETING = ["db", "cached_db", "cache", "file"]

pytestmark = [
    pytest.mark.django_db(transaction=True),  # what is done after a commit is done at its time
    pytest.mark.urls("tests.test_django_session"),
    pytest.mark.usefixtures("hasher"),
]


# The site of these tests: views that end the sign-in they are in, and go on.


def rotate(request: HttpRequest) -> HttpResponse:
    """Somebody else's view that renews the session's key and asks for nobody."""
    request.session.cycle_key()
    return HttpResponse("ok")


async def arotate(request: HttpRequest) -> HttpResponse:
    await request.session.acycle_key()
    return HttpResponse("ok")


def end_here(request: HttpRequest) -> HttpResponse:
    """Deactivate oneself, which ends the sign-in, and write to the session afterwards."""
    user: Any = request.user
    user.is_active = False
    user.save()
    request.session["basket"] = ["apples"]
    return HttpResponse("ok", status=int(request.GET.get("status", "200")))


def end_here_and_rotate(request: HttpRequest) -> HttpResponse:
    response = end_here(request)
    request.session.cycle_key()
    return response


def delete_oneself(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    user.delete()
    request.session["basket"] = ["apples"]
    return HttpResponse("ok")


def end_in_vain(request: HttpRequest) -> HttpResponse:
    """End it in a transaction that is rolled back."""
    with transaction.atomic():
        end_here(request)
        transaction.set_rollback(True)
    return HttpResponse("ok")


def be_overtaken(request: HttpRequest) -> HttpResponse:
    """Write to the session, whose sign-in another request has ended after this one had looked at it."""
    sign_in = SignIn.objects.get(pk=request.session[SESSION_KEY])
    elsewhere = Context()
    elsewhere.run(partial(end_sign_in, sign_in, reason=Reason.SIGNED_OUT, now=timezone.now()))
    request.session["basket"] = ["apples"]
    return HttpResponse("ok")


def lose_session(request: HttpRequest) -> HttpResponse:
    """Write to a session that other code has deleted: the sign-in goes on."""
    request.session["basket"] = ["apples"]
    new_session().delete(request.session.session_key)
    return HttpResponse("ok")


urlpatterns = [
    path("test/rotate/", rotate),
    path("test/arotate/", arotate),
    path("test/end-here/", end_here),
    path("test/end-here/rotate/", end_here_and_rotate),
    path("test/delete-oneself/", delete_oneself),
    path("test/end-in-vain/", end_in_vain),
    path("test/be-overtaken/", be_overtaken),
    path("test/lose-session/", lose_session),
    path("", include("example_project.urls")),
]


class Failing(LocMemCache):
    """A cache server that can be switched off."""

    is_down = False

    def delete_many(self, keys: Any, version: Any = None) -> None:
        if self.is_down:
            raise ConnectionError(f"no answer when asked to delete {keys}")
        super().delete_many(keys, version)


@pytest.fixture(autouse=True)
def cache_server(settings: Any) -> Iterator[type[Failing]]:
    settings.CACHES = {"default": {"BACKEND": "tests.test_django_session.Failing", "LOCATION": "sessions"}}
    yield Failing
    Failing.is_down = False


@pytest.fixture
def use(settings: Any, tmp_path: Path) -> Callable[[str], None]:
    def use_engine(name: str) -> None:
        settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{name}"
        settings.SESSION_FILE_PATH = str(tmp_path)

    return use_engine


@pytest.fixture(params=DELETING)
def engine(request: pytest.FixtureRequest, use: Callable[[str], None]) -> str:
    use(request.param)
    return str(request.param)


@pytest.fixture
def robin(robin: Any) -> Any:
    robin.set_password(PASSWORD)
    robin.save()
    return robin


@pytest.fixture
def sign_in_by_password(robin: Any) -> Callable[[], Client]:
    def sign_in() -> Client:
        browser = Client()
        assert browser.post("/account/sign-in/", {"upn": robin.upn, "password": PASSWORD})["Location"] == "/"
        return browser

    return sign_in


def key_of(browser: Client | AsyncClient) -> str:
    return browser.cookies["sessionid"].value


def is_stored(key: str) -> bool:
    return bool(new_session().exists(key))


def user_of(key: str) -> Any:
    """Return whom code sees that reads the session itself, past every middleware."""
    request = HttpRequest()
    request.session = type(new_session())(key)
    return get_user(request)


def sign_in_of(browser: Client) -> SignIn:
    return SignIn.objects.get(pk=browser.session[SESSION_KEY])


def everywhere(browser: Client, *, here: str) -> None:
    assert browser.post("/account/security-info/sign-out-everywhere/", {"here": here}).status_code == 302


# Elsewhere


def test_end__deletes_the_sessions_of_other_browsers(
    engine: str, robin: Any, sign_in_by_password: Callable[[], Client]
) -> None:
    here, elsewhere = sign_in_by_password(), sign_in_by_password()
    assert user_of(key_of(elsewhere)) == robin
    everywhere(here, here="stay")
    assert not is_stored(key_of(elsewhere))
    assert not user_of(key_of(elsewhere)).is_authenticated
    assert user_of(key_of(here)) == robin
    assert here.get("/members/").status_code == 200
    assert elsewhere.get("/members/").status_code == 302


def test_end__of_a_pass_deletes_the_session_that_it_opened(
    engine: str, admin: Any, issue: Any, robin: Any, sign_in_with_pass: Any
) -> None:
    holder, issued = Client(), issue(robin)
    sign_in_with_pass(robin.upn, issued.passcode, holder)
    assert is_stored(key_of(holder))
    revoke_pass(actor=admin, temporary_access_pass=issued.temporary_access_pass, now=timezone.now())
    assert not is_stored(key_of(holder))


def test_end__by_a_login_that_no_middleware_saw(engine: str, robin: Any) -> None:
    browser = Client()
    browser.force_login(robin, backend=MODEL_BACKEND)
    end_sign_in(sign_in_of(browser), reason=Reason.SIGNED_OUT, now=timezone.now())
    assert not is_stored(key_of(browser))


def test_end__with_the_user_deletes_their_sessions(
    engine: str, robin: Any, sign_in_by_password: Callable[[], Client]
) -> None:
    browser = sign_in_by_password()
    robin.delete()
    assert not is_stored(key_of(browser))


def test_end__rolled_back_deletes_nothing(engine: str, robin: Any, sign_in_by_password: Callable[[], Client]) -> None:
    browser = sign_in_by_password()
    with transaction.atomic():
        end_sign_in(sign_in_of(browser), reason=Reason.SIGNED_OUT, now=timezone.now())
        transaction.set_rollback(True)
    assert browser.get("/members/").status_code == 200


def test_end__on_an_engine_that_deletes_in_its_own_way(
    settings: Any, sign_in_by_password: Callable[[], Client]
) -> None:
    settings.SESSION_ENGINE = "tests.test_django_session"
    browser = sign_in_by_password()
    SessionStore.deleted.clear()
    end_sign_in(sign_in_of(browser), reason=Reason.SIGNED_OUT, now=timezone.now())
    assert SessionStore.deleted == [key_of(browser)]
    assert not is_stored(key_of(browser))


class SessionStore(DatabaseSession):
    """An engine of somebody else's, with a column or another store of its own."""

    deleted: list[str | None] = []

    def delete(self, session_key: str | None = None) -> None:
        self.deleted.append(session_key)
        super().delete(session_key)


# The session's key moves


@pytest.mark.parametrize("url", ["/test/rotate/", "/test/arotate/"])
def test_middleware__notes_a_new_key_in_the_same_request(
    engine: str, url: str, sign_in_by_password: Callable[[], Client]
) -> None:
    browser = sign_in_by_password()
    before = key_of(browser)
    assert browser.get(url).status_code == 200
    assert key_of(browser) != before
    end_sign_in(sign_in_of(browser), reason=Reason.SIGNED_OUT, now=timezone.now())
    assert not is_stored(key_of(browser))


@pytest.mark.parametrize("url", ["/test/rotate/", "/test/arotate/"])
def test_middleware__notes_a_new_key_on_the_asynchronous_stack(
    engine: str, url: str, sign_in_by_password: Callable[[], Client]
) -> None:
    browser, twin = sign_in_by_password(), AsyncClient()
    twin.cookies["sessionid"] = key_of(browser)
    assert async_to_sync(twin.get)(url).status_code == 200
    assert key_of(twin) != key_of(browser)
    end_sign_in(SignIn.objects.get(), reason=Reason.SIGNED_OUT, now=timezone.now())
    assert not is_stored(key_of(twin))


@pytest.mark.parametrize("url", ["/test/end-here/", "/test/end-here/rotate/"])
def test_end__of_ones_own_on_the_asynchronous_stack(
    engine: str, url: str, sign_in_by_password: Callable[[], Client]
) -> None:
    browser, twin = sign_in_by_password(), AsyncClient()
    twin.cookies["sessionid"] = key_of(browser)
    assert async_to_sync(twin.get)(url).status_code == 200
    assert not is_stored(key_of(browser))
    assert key_of(twin) == ""


def test_renewed_sign_in__is_noted_with_its_new_key(engine: str, sign_in_by_password: Callable[[], Client]) -> None:
    browser = sign_in_by_password()
    before, sign_in = key_of(browser), sign_in_of(browser)
    browser.post("/account/sign-in/", {"upn": sign_in.user.upn, "password": PASSWORD})
    assert (sign_in_of(browser), key_of(browser) == before) == (sign_in, False)
    end_sign_in(sign_in, reason=Reason.SIGNED_OUT, now=timezone.now())
    assert not is_stored(key_of(browser))


def test_middleware__notes_a_session_from_before_keys_were_noted(
    engine: str, sign_in_by_password: Callable[[], Client]
) -> None:
    browser = sign_in_by_password()
    SignIn.objects.update(session_digest="", sealed_session_key="")
    browser.get("/members/")
    end_sign_in(sign_in_of(browser), reason=Reason.SIGNED_OUT, now=timezone.now())
    assert not is_stored(key_of(browser))


def test_middleware__writes_nothing_where_the_key_is_noted(
    engine: str, sign_in_by_password: Callable[[], Client]
) -> None:
    browser = sign_in_by_password()
    with CaptureQueriesContext(connection) as queries:
        browser.get("/members/")
    assert [query["sql"] for query in queries if not query["sql"].startswith("SELECT")] == []


def test_note_session_key__of_a_sign_in_that_has_ended_is_refused(robin: Any) -> None:
    browser = Client()
    browser.force_login(robin, backend=MODEL_BACKEND)
    stale, session = sign_in_of(browser), new_session()
    end_sign_in(sign_in_of(browser), reason=Reason.SIGNED_OUT, now=timezone.now())
    assert not note_session_key(session, stale)
    stale.refresh_from_db()
    assert stale.session_digest != ""
    assert stale.sealed_session_key == ""


# Here: the request that ends its own sign-in goes on.


@pytest.mark.parametrize("save_every_request", [False, True])
@pytest.mark.parametrize("url", ["/test/end-here/", "/test/end-here/rotate/", "/test/delete-oneself/"])
def test_end__of_ones_own_does_not_disturb_the_request(
    engine: str, url: str, save_every_request: bool, settings: Any, sign_in_by_password: Callable[[], Client]
) -> None:
    settings.SESSION_SAVE_EVERY_REQUEST = save_every_request
    browser = sign_in_by_password()
    before = key_of(browser)
    response = browser.get(url)
    assert (response.status_code, response.content) == (200, b"ok")
    assert not is_stored(before)
    assert key_of(browser) == ""  # the browser is told to forget it


def test_end__by_another_request_leaves_this_one_its_answer(
    engine: str, sign_in_by_password: Callable[[], Client]
) -> None:
    """Django would answer 400: the session was deleted before the request completed."""
    browser = sign_in_by_password()
    before = key_of(browser)
    response = browser.get("/test/be-overtaken/")
    assert (response.status_code, response.content) == (200, b"ok")
    assert not is_stored(before)
    assert notice_of(browser) == "session_ended"


def test_end__by_another_request_leaves_a_holder_their_answer(
    engine: str, issue: Any, robin: Any, sign_in_with_pass: Any
) -> None:
    holder = Client()
    sign_in_with_pass(robin.upn, issue(robin).passcode, holder)
    before = key_of(holder)
    assert holder.get("/test/be-overtaken/").content == b"ok"
    assert not is_stored(before)


def test_session__deleted_by_other_code_is_not_passed_over(
    engine: str, sign_in_by_password: Callable[[], Client]
) -> None:
    assert sign_in_by_password().get("/test/lose-session/").status_code == 400


def test_end__of_ones_own_in_a_request_that_fails(engine: str, sign_in_by_password: Callable[[], Client]) -> None:
    """Django saves no session then."""
    browser = sign_in_by_password()
    before = key_of(browser)
    assert browser.get("/test/end-here/?status=503").status_code == 503
    assert not is_stored(before)


def test_end__of_ones_own_that_is_rolled_back_ends_nothing(
    engine: str, sign_in_by_password: Callable[[], Client]
) -> None:
    browser = sign_in_by_password()
    assert browser.get("/test/end-in-vain/").status_code == 200
    assert browser.get("/members/").status_code == 200


@pytest.mark.parametrize("here", ["stay", "leave"])
def test_sign_out_everywhere__leaves_no_session_but_the_one_that_stays(
    engine: str, here: str, sign_in_by_password: Callable[[], Client]
) -> None:
    browser = sign_in_by_password()
    before = key_of(browser)
    everywhere(browser, here=here)
    assert not is_stored(before)
    assert browser.get("/members/").status_code == (200 if here == "stay" else 302)


def test_sign_in__in_the_same_browser_goes_on_in_the_new_session(
    engine: str, admin: Any, issue: Any, robin: Any, sign_in_with_pass: Any, sign_in_by_password: Callable[[], Client]
) -> None:
    browser = sign_in_by_password()
    full = key_of(browser)
    assert sign_in_with_pass(robin.upn, issue(robin).passcode, browser).status_code == 302
    by_pass = key_of(browser)
    assert browser.get("/account/security-info/").status_code == 200
    browser.post("/account/sign-in/", {"upn": robin.upn, "password": PASSWORD})
    assert browser.get("/members/").status_code == 200
    assert not is_stored(full)
    assert not is_stored(by_pass)
    delete_left_sessions(now=timezone.now())
    assert browser.get("/members/").status_code == 200


# What the database knows


@pytest.mark.parametrize("name", ["cache", "file"])
def test_database__holds_no_key_of_a_session(
    name: str, use: Callable[[str], None], issue: Any, robin: Any, sign_in_with_pass: Any, client: Client
) -> None:
    use(name)
    sign_in_with_pass(robin.upn, issue(robin).passcode)
    full = Client()
    full.post("/account/sign-in/", {"upn": robin.upn, "password": PASSWORD})
    everything = json.dumps([list(model._base_manager.values()) for model in apps.get_models()], default=str)
    assert str(sign_in_of(full).pk) in everything
    assert key_of(client) not in everything
    assert key_of(full) not in everything


def test_signed_cookies__nothing_is_noted_and_the_middleware_ends_them(
    use: Callable[[str], None], sign_in_by_password: Callable[[], Client]
) -> None:
    use("signed_cookies")
    here, elsewhere = sign_in_by_password(), sign_in_by_password()
    assert set(SignIn.objects.values_list("session_digest", "sealed_session_key")) == {("", "")}
    everywhere(here, here="stay")
    assert here.get("/members/").status_code == 200
    assert elsewhere.get("/members/").status_code == 302


def test_secret_key__that_was_changed_still_finds_the_sessions_of_before(
    engine: str, settings: Any, sign_in_by_password: Callable[[], Client]
) -> None:
    here, elsewhere = sign_in_by_password(), sign_in_by_password()
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another-" + "y" * 40
    key = key_of(elsewhere)
    everywhere(here, here="stay")
    assert not is_stored(key)
    assert notice_of(elsewhere) == "session_ended"


def test_secret_key__that_was_thrown_away_undoes_no_ending(
    settings: Any, sign_in_by_password: Callable[[], Client]
) -> None:
    sign_in = sign_in_of(sign_in_by_password())
    settings.SECRET_KEY = "another-" + "y" * 40
    end_sign_in(sign_in, reason=Reason.SIGNED_OUT, now=timezone.now())
    sign_in.refresh_from_db()
    assert sign_in.ended_at is not None


# What it costs


def statements_of_ending(sign_ins: list[SignIn]) -> list[str]:
    with CaptureQueriesContext(connection) as queries:
        end_sign_ins(sign_ins, reason=Reason.SIGNED_OUT_EVERYWHERE, now=timezone.now())
    return [query["sql"] for query in queries]


@pytest.mark.parametrize("name", ["db", "cached_db"])
def test_end__of_many_costs_as_many_statements_as_of_two(name: str, use: Callable[[str], None], robin: Any) -> None:
    use(name)

    def begun(how_many: int) -> list[SignIn]:
        browsers = [Client() for _ in range(how_many)]
        for browser in browsers:
            browser.force_login(robin, backend=MODEL_BACKEND)
        return list(SignIn.objects.not_ended().select_related("user"))

    of_two, of_many = statements_of_ending(begun(2)), statements_of_ending(begun(30))
    assert len(of_many) == len(of_two)
    assert sum(sql.startswith("DELETE") for sql in of_many) == 1
    assert AT_ONCE >= 500


# What fails


def test_end__a_cache_server_that_is_down_undoes_nothing_and_the_sweep_deletes_later(
    use: Callable[[str], None],
    cache_server: type[Failing],
    caplog: pytest.LogCaptureFixture,
    sign_in_by_password: Callable[[], Client],
) -> None:
    use("cache")
    here, elsewhere = sign_in_by_password(), sign_in_by_password()
    sign_in, key = sign_in_of(elsewhere), key_of(elsewhere)
    cache_server.is_down = True
    with caplog.at_level(logging.DEBUG):
        everywhere(here, here="stay")
    sign_in.refresh_from_db()
    assert sign_in.ended_reason == Reason.SIGNED_OUT_EVERYWHERE
    told = [record for record in caplog.records if record.name == "tap_provider.sign_in.django_session"]
    assert [record.levelname for record in told] == ["ERROR"]
    assert "ConnectionError" in told[0].getMessage()
    assert key not in caplog.text
    assert is_stored(key)
    assert delete_left_sessions(now=timezone.now()) == 0
    cache_server.is_down = False
    call_command("tap", "sweep")
    assert not is_stored(key)
    assert delete_left_sessions(now=timezone.now()) == 0


def test_sweep__deletes_what_a_process_left_that_died_with_the_commit(
    engine: str, sign_in_by_password: Callable[[], Client]
) -> None:
    browser, now = sign_in_by_password(), timezone.now()
    SignIn.objects.update(ended_at=now, ended_reason=Reason.SIGNED_OUT)
    assert delete_left_sessions(now=now) == 1
    assert not is_stored(key_of(browser))


def test_sweep__looks_back_no_longer_than_a_session_lasts(robin: Any, sign_in_by_password: Any) -> None:
    browser, now = sign_in_by_password(), timezone.now()
    SignIn.objects.update(ended_at=now, ended_reason=Reason.SIGNED_OUT)
    later = now + timedelta(seconds=django_settings.SESSION_COOKIE_AGE + 1)
    assert delete_left_sessions(now=later) == 0
    assert is_stored(key_of(browser))


@pytest.mark.parametrize("is_secret_key_changed", [False, True])
def test_sweep__spares_a_session_that_another_sign_in_has_taken_over(
    engine: str, sign_in_by_password: Callable[[], Client], settings: Any, is_secret_key_changed: bool
) -> None:
    """A site's code may put another user into a session without another key."""
    browser, now = sign_in_by_password(), timezone.now()
    living = sign_in_of(browser)
    SignIn.objects.create(
        user=living.user,
        level=living.level,
        created_at=now,
        ended_at=now,
        ended_reason=Reason.SIGNED_IN_ANEW,
        session_digest=living.session_digest,
        sealed_session_key=living.sealed_session_key,
    )
    if is_secret_key_changed:  # the living one is noted under the new key
        settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another-" + "y" * 40
        assert browser.get("/members/").status_code == 200
    assert delete_left_sessions(now=now) == 1
    assert browser.get("/members/").status_code == 200


# Why it is gone, said to whoever comes with its cookie


def notice_of(browser: Client) -> str | None:
    location = browser.get("/account/security-info/")["Location"]
    return location.partition("notice=")[2] or None


def test_notice__of_a_full_session_that_was_ended_elsewhere(
    engine: str, sign_in_by_password: Callable[[], Client]
) -> None:
    here, elsewhere = sign_in_by_password(), sign_in_by_password()
    everywhere(here, here="stay")
    assert notice_of(elsewhere) == "session_ended"
    assert notice_of(elsewhere) is None  # the cookie is gone


def test_notice__of_a_revoked_pass(engine: str, admin: Any, issue: Any, robin: Any, sign_in_with_pass: Any) -> None:
    holder, issued = Client(), issue(robin)
    sign_in_with_pass(robin.upn, issued.passcode, holder)
    revoke_pass(actor=admin, temporary_access_pass=issued.temporary_access_pass, now=timezone.now())
    assert notice_of(holder) == "ended"


@pytest.mark.parametrize("cookie", [None, "x" * 32, "\N{LATIN SMALL LETTER E WITH ACUTE}", ""])
def test_notice__strangers_get_none(engine: str, cookie: str | None, sign_in_by_password: Any) -> None:
    end_sign_in(sign_in_of(sign_in_by_password()), reason=Reason.SIGNED_OUT, now=timezone.now())
    stranger = Client()
    if cookie is not None:
        stranger.cookies["sessionid"] = cookie
    assert notice_of(stranger) is None


@pytest.mark.parametrize(("cookie", "asked"), [(None, 0), ("x" * 32, 1)])
def test_notice__costs_one_query_where_a_cookie_came(
    cookie: str | None, asked: int, use: Callable[[str], None], robin: Any
) -> None:
    use("cache")
    stranger = Client()
    if cookie is not None:
        stranger.cookies["sessionid"] = cookie
    with CaptureQueriesContext(connection) as queries:
        stranger.get("/account/security-info/")
    assert len([query for query in queries if "tap_provider_signin" in query["sql"]]) == asked


def test_end__is_recorded_once(engine: str, robin: Any, sign_in_by_password: Callable[[], Client]) -> None:
    here, elsewhere = sign_in_by_password(), sign_in_by_password()
    everywhere(here, here="stay")
    elsewhere.get("/account/security-info/")
    assert AuditEvent.objects.filter(kind=AuditEvent.Kind.SIGN_IN_ENDED).count() == 1
    assert get_user_model()._default_manager.get(pk=robin.pk).is_active
