"""The tests of sites that use a session engine of other people's."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest
from django.test import Client
from django.utils import timezone

from tap_provider.live_user import live_user
from tap_provider.models import SignIn
from tap_provider.sign_in import end_sign_in

__all__ = [
    "kim",
    "pytestmark",
    "test_delete__ones_own_while_the_request_goes_on",
    "test_live_user__knows_who_is_signed_in",
    "test_notice__is_shown_to_whoever_comes_with_the_old_cookie",
    "test_sign_out_everywhere__deletes_the_other_session",
    "test_sign_out_everywhere__keeps_the_one_that_stays",
]

PASSWORD = "a-long-enough-phrase"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def kim(make_user: Callable[..., Any]) -> Any:
    return make_user("kim", password=PASSWORD)


def sign_in(user: Any) -> Client:
    browser = Client()
    told = {"upn": user.get_username(), "password": PASSWORD}
    assert browser.post("/account/sign-in/", told)["Location"] == "/"
    assert browser.get("/").content == b"kim"
    return browser


def session_of(browser: Client) -> Any:
    return import_module(settings.SESSION_ENGINE).SessionStore(browser.cookies["sessionid"].value)


def user_of(session: Any) -> Any:
    request = HttpRequest()
    request.session = session
    return get_user(request)


def sign_out_everywhere_else(browser: Client) -> None:
    assert browser.post("/account/security-info/sign-out-everywhere/", {"here": "stay"}).status_code == 302


def test_sign_out_everywhere__deletes_the_other_session(kim: Any) -> None:
    here, elsewhere = sign_in(kim), sign_in(kim)
    key = elsewhere.cookies["sessionid"].value
    assert user_of(session_of(elsewhere)) == kim
    sign_out_everywhere_else(here)
    assert not session_of(elsewhere).exists(key)
    assert not user_of(session_of(elsewhere)).is_authenticated
    assert elsewhere.get("/").status_code == 302


def test_sign_out_everywhere__keeps_the_one_that_stays(kim: Any) -> None:
    here = sign_in(kim)
    sign_out_everywhere_else(here)
    assert here.get("/").content == b"kim"
    assert here.post("/account/sign-in/", {"upn": "kim", "password": PASSWORD}).status_code == 302
    assert here.get("/").content == b"kim"


def test_delete__ones_own_while_the_request_goes_on(kim: Any) -> None:
    here = sign_in(kim)
    key = here.cookies["sessionid"].value
    response = here.post("/account/security-info/sign-out-everywhere/", {"here": "leave"})
    assert response.status_code == 302
    assert not session_of(sign_in(kim)).exists(key)
    assert here.get("/").status_code == 302


def test_notice__is_shown_to_whoever_comes_with_the_old_cookie(kim: Any) -> None:
    here, elsewhere = sign_in(kim), sign_in(kim)
    sign_out_everywhere_else(here)
    assert elsewhere.get("/account/security-info/")["Location"].endswith("notice=session_ended")


def test_live_user__knows_who_is_signed_in(kim: Any) -> None:
    session = session_of(sign_in(kim))
    assert live_user({"session": session}) == kim
    end_sign_in(SignIn.objects.get(), reason=SignIn.EndedReason.SIGNED_OUT_EVERYWHERE, now=timezone.now())
    assert not live_user({"session": session}).is_authenticated
