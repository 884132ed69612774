"""The middleware for ASGI applications that are not Django's own; with Channels itself: `tests/sites/channels`."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser
from django.test import Client
from django.utils import timezone

from tap_provider.asgi import SignInScopeMiddleware
from tap_provider.models import SignIn
from tap_provider.sign_in import end_sign_in

from .test_live_user import scope_of
from .test_middleware import MODEL_BACKEND

pytestmark = pytest.mark.django_db


def scope_inside(scope: dict[str, Any]) -> dict[str, Any]:
    """Return the scope that an application behind the middleware gets."""
    got: list[dict[str, Any]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        got.append(scope)

    async def never(*args: Any) -> None:
        raise AssertionError("this middleware neither receives nor sends")

    async_to_sync(SignInScopeMiddleware(application))(scope, never, never)
    return got[0]


@pytest.fixture
def full(robin: Any) -> Client:
    browser = Client()
    browser.force_login(robin, backend=MODEL_BACKEND)
    return browser


@pytest.mark.parametrize("kind", ["websocket", "http"])
def test_scope__has_the_user_whose_sign_in_lives(full: Client, robin: Any, kind: str) -> None:
    scope = {**scope_of(full), "type": kind}
    assert scope_inside(scope)["user"] == robin
    assert "user" not in scope  # of whoever is outside


def test_scope__of_an_ended_sign_in_has_nobody_whatever_was_there(full: Client, robin: Any) -> None:
    scope = {**scope_of(full), "user": robin}
    end_sign_in(SignIn.objects.get(), reason=SignIn.EndedReason.SIGNED_OUT_EVERYWHERE, now=timezone.now())
    assert scope_inside(scope)["user"] == AnonymousUser()


def test_scope__without_a_session_has_nobody(robin: Any) -> None:
    assert scope_inside({"type": "websocket", "user": robin})["user"] == AnonymousUser()


def test_scope__of_the_servers_own_life_is_let_alone() -> None:
    assert scope_inside({"type": "lifespan"}) == {"type": "lifespan"}
