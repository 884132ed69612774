"""The middleware for ASGI applications that are not Django's own, such as the consumers of Channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .live_user import alive_user

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Scope = MutableMapping[str, Any]
    ASGIApplication = Callable[[Scope, Callable[..., Any], Callable[..., Any]], Awaitable[None]]


class SignInScopeMiddleware:
    """Let `scope["user"]` be who is signed in when the connection begins: `live_user.live_user`, and nobody else.

    It stands where `scope["session"]` is known: inside Channels' `AuthMiddlewareStack`, or inside its
    `SessionMiddlewareStack` alone. A scope without a session has an `AnonymousUser`. While the connection lasts, ask
    `live_user.alive_user(scope)`.
    """

    def __init__(self, inner: ASGIApplication) -> None:
        self.inner = inner

    async def __call__(self, scope: Scope, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        if scope["type"] != "lifespan":
            scope = {**scope, "user": await alive_user(scope)}
        await self.inner(scope, receive, send)
