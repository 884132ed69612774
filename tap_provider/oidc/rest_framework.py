"""The resource server's side for django-rest-framework. Import it only where that is installed.

    class Payments(APIView):
        authentication_classes = [AccessTokenAuthentication]
        permission_classes = [access_token_demanded(level="multi_factor", max_age=300, scopes=["payments"])]

Alone, the authentication lets nobody in by a pass: its holder is anonymous until a view demands `method_registration`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import AnonymousUser
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException
from rest_framework.permissions import BasePermission

from .resource_server import AccessRefused, Demand, PresentedToken, bearer_token, presented_token

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rest_framework.request import Request

    from ..models import Level


class AccessDenied(APIException):
    """An answer with a challenge of its own. (The framework's exceptions get that of the first authenticator.)"""

    def __init__(self, refused: AccessRefused) -> None:
        super().__init__(detail=str(refused), code=refused.code or "not_authenticated")
        self.status_code, self.auth_header = refused.status, refused.challenge


class AccessTokenAuthentication(BaseAuthentication):
    """Authenticates by an access token in the Authorization header.

    `request.auth` is the token, a `PresentedToken`; `request.auth_context` its context; `request.user` its user. That
    is an anonymous one where nobody signed in for it, or somebody by a pass.
    """

    def authenticate(self, request: Request) -> tuple[Any, PresentedToken] | None:
        _vary(request)
        if bearer_token(request) is None:
            return None
        try:
            presented = presented_token(request)
        except AccessRefused as refused:
            raise AccessDenied(refused) from refused
        request.auth_context = presented.context
        is_by_pass = presented.context is not None and presented.context.is_registration_only
        return AnonymousUser() if is_by_pass else _user_of(presented), presented

    def authenticate_header(self, request: Request) -> str:
        return AccessRefused(None, "").challenge


def access_token_demanded(
    *,
    level: Level | str | None = None,
    acr_values: Iterable[str] | str = (),
    max_age: int | None = None,
    scopes: Iterable[str] = (),
    needs_user: bool = True,
) -> type[BasePermission]:
    """Return a permission that demands an access token as `access_token_required` does.

    It stands before others that ask for `request.user`.
    """
    demand = Demand.of(level=level, acr_values=acr_values, max_age=max_age, scopes=scopes, needs_user=needs_user)

    class AccessTokenDemanded(BasePermission):
        def has_permission(self, request: Request, view: Any) -> bool:
            try:
                if not isinstance(request.auth, PresentedToken):
                    raise AccessRefused(None, "An access token is required.")  # noqa: TRY301 as the others are
                demand.check(request.auth, now=timezone.now())
            except AccessRefused as refused:
                raise AccessDenied(refused) from refused
            request.user = _user_of(request.auth)
            return True

    return AccessTokenDemanded


def _vary(request: Request) -> None:
    # A cache of Django's own would give one token's answer to another, or to none. The framework has no response yet.
    headers = getattr((request.parser_context or {}).get("view"), "headers", None)
    if headers is not None:
        headers["Vary"] = ", ".join(filter(None, [headers.get("Vary"), "Authorization"]))


def _user_of(presented: PresentedToken) -> Any:
    return presented.access_token.user or AnonymousUser()
