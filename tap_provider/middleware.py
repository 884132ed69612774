"""The one middleware: who `request.user` is, given the sign-in behind the session.

It stands after Django's `AuthenticationMiddleware`, and before django-otp's `OTPMiddleware` and Django's
`LoginRequiredMiddleware`. A request that does not touch `request.user` costs nothing; one that does costs one
primary-key look-up, and one statement every five minutes that notes when they were seen; anonymous visitors cost none.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.apps import apps
from django.contrib.auth import SESSION_KEY as DJANGO_SESSION_KEY
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import SuspiciousOperation
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from django.utils.module_loading import import_string

from . import registration_session
from .decorators import protect_in_its_place
from .methods.registry import READ_FROM_SESSION
from .models import SignIn
from .sign_in import (
    SESSION_KEY,
    adopt_session,
    end_sign_in,
    is_unsettled,
    note_seen,
    note_session_key,
    save_unless_ended,
    serving,
    settle_session,
    sign_in_of_session,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase


class SignInMiddleware:
    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)
        # By name, so that django-otp stays optional.
        self.dress: Callable[[HttpRequest], None] | None = (
            import_string("tap_provider.methods.otp_devices.dress") if apps.is_installed("django_otp") else None
        )

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        self._look_up_users_later(request)
        brought_session_key = request.session.session_key
        if self.is_async:
            return self._answer_later(request, brought_session_key)
        with serving(request):
            response: HttpResponseBase = self.get_response(request)
            if is_unsettled(request, brought_session_key=brought_session_key):
                settle_session(request)
        return protect_in_its_place(request, response)

    async def _answer_later(self, request: HttpRequest, brought_session_key: str | None) -> HttpResponseBase:
        with serving(request):
            response: HttpResponseBase = await self.get_response(request)
            if is_unsettled(request, brought_session_key=brought_session_key):
                await sync_to_async(settle_session)(request)
        return protect_in_its_place(request, response)

    def _look_up_users_later(self, request: HttpRequest) -> None:
        request.user = SimpleLazyObject(partial(_live_user, request, request.user))  # type: ignore[assignment]
        _look_before_flushing(request)
        save_unless_ended(request)
        request.auser = partial(_alive_user, request, request.auser)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]
    ) -> None:
        """Let views that take part in registration, and only them, see the holder of a pass."""
        name = request.resolver_match.view_name if request.resolver_match else ""
        if not registration_session.may_take_part(view, name):
            return  # before the session is touched, which costs a query
        if SESSION_KEY not in request.session or DJANGO_SESSION_KEY in request.session:
            return  # anonymous, or a full session
        try:
            query = request.GET
        except SuspiciousOperation:
            return  # more parameters than Django reads: the view says so
        if not registration_session.takes_part(view, name, query):
            return
        request.user = SimpleLazyObject(partial(_holder, request))  # type: ignore[assignment]
        request.auser = sync_to_async(partial(_holder, request))
        if self.dress is not None:
            self.dress(request)


def _look_before_flushing(request: HttpRequest) -> None:
    # Django's `login()` of another user flushes the session before it tells anybody. The sign-in that the session
    # carried is kept on the request, where whoever records the new one finds and ends it.
    flush = request.session.flush

    def flush_after_a_look() -> None:
        sign_in_of_session(request)
        flush()

    aflush = request.session.aflush

    async def aflush_after_a_look() -> None:
        await sync_to_async(sign_in_of_session)(request)
        await aflush()

    request.session.flush = flush_after_a_look  # type: ignore[method-assign]
    request.session.aflush = aflush_after_a_look  # type: ignore[method-assign]


def _live_user(request: HttpRequest, user: Any, *, named_somebody: bool | None = None) -> Any:
    """Return the session's user if their sign-in still lives; otherwise the session is flushed."""
    if named_somebody is None:
        named_somebody = DJANGO_SESSION_KEY in request.session  # before `user`, which is lazy, is read
    if not user.is_authenticated:
        if DJANGO_SESSION_KEY in request.session:
            # It names somebody, yet yields nobody (deactivated, or our own backend): a later login of that user
            # would keep its key.
            sign_in = sign_in_of_session(request)
            if sign_in is not None:
                registration_session.is_live(sign_in, now=timezone.now())  # ends what has died of itself
            request.session.flush()
        elif named_somebody:
            _end_with_password(request)
        return user
    now = timezone.now()
    sign_in = sign_in_of_session(request, user=user)
    if sign_in is None:
        if SESSION_KEY not in request.session and adopt_session(request, user, now=now) is not None:
            return _as_read_from_session(user)
    elif (
        sign_in.user_id == user.pk
        and not sign_in.is_registration_only
        and registration_session.is_live(sign_in, now=now)
        and note_session_key(request.session, sign_in)
    ):
        note_seen(request, sign_in, now=now)
        return _as_read_from_session(user)
    request.session.flush()
    return AnonymousUser()


def _as_read_from_session(user: Any) -> Any:
    setattr(user, READ_FROM_SESSION, True)  # what django-otp says of them is of an earlier login
    return user


def _end_with_password(request: HttpRequest) -> None:
    # Django has flushed the session, because its user's password is another one. On the request stands what it carried.
    sign_in: SignIn | None = getattr(request, "_tap_sign_in", None)
    if sign_in is not None and sign_in.ended_at is None:
        end_sign_in(sign_in, reason=SignIn.EndedReason.PASSWORD_CHANGED, now=timezone.now())


async def _alive_user(request: HttpRequest, auser: Callable[[], Awaitable[Any]]) -> Any:
    named_somebody = await request.session.ahas_key(DJANGO_SESSION_KEY)
    user = await auser()
    return await sync_to_async(_live_user)(request, user, named_somebody=named_somebody)


def _holder(request: HttpRequest) -> Any:
    now = timezone.now()
    sign_in = registration_session.current(request, now=now)
    if sign_in is None:
        return AnonymousUser()
    if not note_session_key(request.session, sign_in):  # it has ended this very moment
        request.session.flush()
        return AnonymousUser()
    note_seen(request, sign_in, now=now)
    return sign_in.user
