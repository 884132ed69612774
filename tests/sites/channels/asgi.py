"""The consumers: one behind Channels' own middleware alone, one behind ours too, one behind ours in place of it."""

from __future__ import annotations

from typing import Any

from channels.auth import AuthMiddlewareStack, get_user
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.sessions import SessionMiddlewareStack
from django.core.asgi import get_asgi_application
from django.urls import path

from tap_provider.asgi import SignInScopeMiddleware
from tap_provider.live_user import alive_user


class Whoami(AsyncJsonWebsocketConsumer):
    """Says who is there: as the scope has it from the beginning, and asked anew."""

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        asked = {
            "scope": lambda: _now(self.scope["user"]),
            "alive_user": lambda: alive_user(self.scope),
            "get_user": lambda: get_user(self.scope),
        }
        user = await asked[content]()
        await self.send_json(user.get_username() or None)


async def _now(user: Any) -> Any:
    return user


whoami = Whoami.as_asgi()

application = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": URLRouter(
            [
                path("channels/", AuthMiddlewareStack(whoami)),
                path("both/", AuthMiddlewareStack(SignInScopeMiddleware(whoami))),
                path("ours/", SessionMiddlewareStack(SignInScopeMiddleware(whoami))),
                path("no-session/", SignInScopeMiddleware(whoami)),
            ]
        ),
    }
)
