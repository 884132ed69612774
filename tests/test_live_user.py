"""Who is signed in by a session at this moment, for code that runs longer than a request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.db import connection
from django.http import HttpRequest
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tap_provider.live_user import alive_user, live_user
from tap_provider.models import SignIn
from tap_provider.sign_in import SESSION_KEY, end_sign_in
from tap_provider.sign_in.session_store import new_session

from .conftest import HOUR
from .test_middleware import MODEL_BACKEND

Reason = SignIn.EndedReason

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("hasher")]


@pytest.fixture(params=["db", "cached_db", "cache", "file", "signed_cookies"])
def engine(request: pytest.FixtureRequest, settings: Any, tmp_path: Path) -> str:
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{request.param}"
    settings.SESSION_FILE_PATH = str(tmp_path)
    return str(request.param)


@pytest.fixture
def full(robin: Any, engine: str) -> Client:
    browser = Client()
    browser.force_login(robin, backend=MODEL_BACKEND)
    return browser


def session_of(browser: Client) -> Any:
    """Return the session as a connection has it that was opened with this browser's cookie, and has read it."""
    session = type(new_session())(browser.cookies["sessionid"].value)
    session.get("anything")
    return session


def scope_of(browser: Client) -> dict[str, Any]:
    return {"type": "websocket", "session": session_of(browser)}


def request_of(browser: Client) -> HttpRequest:
    request = HttpRequest()
    request.session = session_of(browser)
    return request


SOURCES = [session_of, scope_of, request_of]


@pytest.mark.parametrize("source", SOURCES)
def test_live_user__is_whoever_is_signed_in(full: Client, robin: Any, source: Callable[[Client], Any]) -> None:
    assert live_user(source(full)) == robin
    assert async_to_sync(alive_user)(source(full)) == robin


@pytest.mark.parametrize("source", SOURCES)
def test_live_user__is_asked_anew(full: Client, source: Callable[[Client], Any]) -> None:
    connected = source(full)
    assert live_user(connected).is_authenticated
    end_sign_in(SignIn.objects.get(), reason=Reason.SIGNED_OUT_EVERYWHERE, now=timezone.now())
    assert not live_user(connected).is_authenticated
    assert not async_to_sync(alive_user)(connected).is_authenticated


def change_password(user: Any) -> None:
    get_user_model()._default_manager.filter(pk=user.pk).update(password=make_password("another-password"))


def deactivate(user: Any) -> None:
    get_user_model()._default_manager.filter(pk=user.pk).update(is_active=False)


def reach_the_deadline(user: Any) -> None:
    SignIn.objects.update(deadline=timezone.now())


def delete_the_record(user: Any) -> None:
    SignIn.objects.all().delete()


def delete_the_user(user: Any) -> None:
    user.delete()


@pytest.mark.parametrize(
    "change", [change_password, deactivate, reach_the_deadline, delete_the_record, delete_the_user]
)
def test_live_user__is_nobody_after(full: Client, robin: Any, change: Callable[[Any], None]) -> None:
    connected = scope_of(full)
    change(robin)
    assert not live_user(connected).is_authenticated


def test_live_user__what_is_found_dead_is_ended(full: Client, robin: Any) -> None:
    reach_the_deadline(robin)
    live_user(scope_of(full))
    assert SignIn.objects.get().ended_reason == Reason.DEADLINE


@pytest.mark.parametrize("source", SOURCES)
def test_live_user__the_holder_of_a_pass_is_nobody(
    engine: str, issue: Any, robin: Any, sign_in_with_pass: Any, source: Callable[[Client], Any]
) -> None:
    holder = Client()
    sign_in_with_pass(robin.upn, issue(robin).passcode, holder)
    assert not live_user(source(holder)).is_authenticated


def test_live_user__of_a_registration_only_sign_in_beside_a_user_is_nobody(
    full: Client, issue: Any, robin: Any, sign_in_with_pass: Any
) -> None:
    holder = Client()
    sign_in_with_pass(robin.upn, issue(robin).passcode, holder)
    session = session_of(full)
    session[SESSION_KEY] = session_of(holder)[SESSION_KEY]
    session.save()
    assert not live_user(session).is_authenticated


def test_live_user__of_another_users_sign_in_is_nobody(full: Client, admin: Any, robin: Any) -> None:
    SignIn.objects.update(user=admin)
    assert not live_user(scope_of(full)).is_authenticated


def test_live_user__a_session_that_carries_no_sign_in_is_nobodys(full: Client, robin: Any) -> None:
    """The middleware adopts it, or refuses to, at the next request."""
    session = session_of(full)
    del session[SESSION_KEY]
    session.save()
    assert not live_user(session).is_authenticated


def test_live_user__does_not_follow_a_session_to_another_key(full: Client, robin: Any, engine: str) -> None:
    """Whoever copied the cookie would follow as well."""
    connected, moved = scope_of(full), session_of(full)
    moved.cycle_key()
    if engine != "signed_cookies":
        assert not live_user(connected).is_authenticated
    assert live_user(moved) == robin


@pytest.mark.parametrize(
    "source",
    [
        {},
        {"type": "lifespan"},
        {"type": "websocket", "session": None},
        HttpRequest(),
        SimpleNamespace(session=None),
        None,
    ],
)
def test_live_user__without_a_session_is_nobody(source: Any, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert not live_user(source).is_authenticated
        assert not async_to_sync(alive_user)(source).is_authenticated


def test_live_user__without_a_cookie_costs_nothing(engine: str, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert not live_user({"session": new_session()}).is_authenticated


@pytest.mark.parametrize("key", ["x" * 32, "\N{SNOWMAN}", "../../etc/passwd"])
def test_live_user__with_a_cookie_that_opens_nothing_is_nobody(engine: str, key: str) -> None:
    assert not live_user({"session": type(new_session())(key)}).is_authenticated


def test_live_user__costs_three_queries_and_writes_nothing(robin: Any) -> None:
    browser = Client()
    browser.force_login(robin, backend=MODEL_BACKEND)
    connected = scope_of(browser)
    SignIn.objects.update(last_seen_at=timezone.now() - HOUR)
    with CaptureQueriesContext(connection) as queries:
        live_user(connected)
    assert [query["sql"].split()[0] for query in queries] == ["SELECT"] * 3


def test_live_user__changes_no_session_when_the_secret_key_was_changed(
    full: Client, robin: Any, settings: Any, engine: str
) -> None:
    """Django would give the session another key, which the browser would not learn of."""
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another-" + "y" * 40
    assert live_user(scope_of(full)) == robin
    assert live_user(scope_of(full)) == robin
    assert full.get("/members/").status_code == 200
