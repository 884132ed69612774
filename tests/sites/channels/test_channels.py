"""A consumer finds nobody once the sign-in has ended, whether or not it knows of us."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils import timezone

from tap_provider.issue import issue_pass
from tap_provider.policy import change_policy

from .asgi import application

PASSWORD = "a-long-enough-phrase"
DELETING = ["db", "cached_db", "cache", "file"]
PATHS = ["channels/", "both/", "ours/"]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def use(settings: Any, tmp_path: Path) -> Callable[[str], None]:
    def use_engine(name: str) -> None:
        settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{name}"
        settings.SESSION_FILE_PATH = str(tmp_path)

    return use_engine


@pytest.fixture
def kim(make_user: Callable[..., Any]) -> Any:
    return make_user("kim", password=PASSWORD)


def sign_in(user: Any) -> Client:
    browser = Client()
    told = {"upn": user.get_username(), "password": PASSWORD}
    assert browser.post("/account/sign-in/", told)["Location"] == "/"
    return browser


def sign_out_everywhere_else(browser: Client) -> None:
    assert browser.post("/account/security-info/sign-out-everywhere/", {"here": "stay"}).status_code == 302
    assert browser.get("/").status_code == 200


def connection(browser: Client, path: str) -> WebsocketCommunicator:
    cookie = f"sessionid={browser.cookies['sessionid'].value}" if "sessionid" in browser.cookies else ""
    return WebsocketCommunicator(application, f"/{path}", headers=[(b"cookie", cookie.encode())])


async def _ask(communicator: WebsocketCommunicator, how: str) -> str | None:
    await communicator.send_json_to(how)
    answer: str | None = await communicator.receive_json_from(timeout=20)
    return answer


@async_to_sync
async def whom_it_sees(browser: Client, path: str, how: str = "scope") -> str | None:
    """Connect with the browser's cookie, and have the consumer say whom it sees."""
    communicator = connection(browser, path)
    connected, _protocol = await communicator.connect(timeout=20)
    assert connected
    answer = await _ask(communicator, how)
    await communicator.disconnect()
    return answer


@pytest.mark.parametrize("engine", [*DELETING, "signed_cookies"])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("how", ["scope", "alive_user", "get_user"])
def test_connect__whoever_is_signed_in_is_known(
    use: Callable[[str], None], kim: Any, engine: str, path: str, how: str
) -> None:
    use(engine)
    assert whom_it_sees(sign_in(kim), path, how) == "kim"


@pytest.mark.parametrize("engine", DELETING)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("how", ["scope", "alive_user", "get_user"])
def test_connect__after_signing_out_everywhere_a_cookie_opens_nothing(
    use: Callable[[str], None], kim: Any, engine: str, path: str, how: str
) -> None:
    """The other browser has made no request since."""
    use(engine)
    here, elsewhere = sign_in(kim), sign_in(kim)
    sign_out_everywhere_else(here)
    assert whom_it_sees(elsewhere, path, how) is None
    assert whom_it_sees(here, path, how) == "kim"


@pytest.mark.parametrize("path", ["both/", "ours/"])
@pytest.mark.parametrize("how", ["scope", "alive_user"])
def test_connect__with_sessions_in_cookies_our_middleware_knows(
    use: Callable[[str], None], kim: Any, path: str, how: str
) -> None:
    """Such a session cannot be deleted: `tap_provider.W018`."""
    use("signed_cookies")
    here, elsewhere = sign_in(kim), sign_in(kim)
    sign_out_everywhere_else(here)
    assert whom_it_sees(elsewhere, path, how) is None
    assert whom_it_sees(elsewhere, "channels/") == "kim"


@async_to_sync
async def _before_and_after(browser: Client, happening: Callable[[], None]) -> list[str | None]:
    communicator = connection(browser, "both/")
    await communicator.connect(timeout=20)
    before = await _ask(communicator, "alive_user")
    await sync_to_async(happening)()
    seen = [before, await _ask(communicator, "alive_user"), await _ask(communicator, "scope")]
    await communicator.disconnect()
    return seen


@pytest.mark.parametrize("engine", [*DELETING, "signed_cookies"])
def test_running__a_consumer_that_asks_again_finds_nobody(use: Callable[[str], None], kim: Any, engine: str) -> None:
    use(engine)
    here, elsewhere = sign_in(kim), sign_in(kim)
    before, after, of_the_scope = _before_and_after(elsewhere, lambda: sign_out_everywhere_else(here))
    assert (before, after) == ("kim", None)
    assert of_the_scope == "kim"  # who was there when it began: hence ask


@pytest.mark.parametrize("path", ["both/", "ours/"])
@pytest.mark.parametrize("how", ["scope", "alive_user"])
def test_connect__the_holder_of_a_pass_is_nobody(use: Callable[[str], None], kim: Any, path: str, how: str) -> None:
    admin = get_user_model()._default_manager.create_superuser("admin")
    change_policy(actor=admin, now=timezone.now(), enabled=True)
    issued = issue_pass(actor=admin, user=kim, now=timezone.now())
    holder = Client()
    holder.post("/account/sign-in/pass/", {"upn": "kim", "passcode": issued.passcode.reveal()})
    assert holder.get("/account/security-info/").status_code == 200
    assert whom_it_sees(holder, path, how) is None


@pytest.mark.parametrize("path", [*PATHS, "no-session/"])
@pytest.mark.parametrize("how", ["scope", "alive_user"])
def test_connect__without_a_cookie_or_without_a_session_is_nobody(path: str, how: str) -> None:
    assert whom_it_sees(Client(), path, how) is None


@pytest.mark.parametrize("how", ["scope", "alive_user"])
def test_connect__where_the_scope_has_no_session_a_cookie_is_not_read(kim: Any, how: str) -> None:
    assert whom_it_sees(sign_in(kim), "no-session/", how) is None
