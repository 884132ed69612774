"""What django-otp wants of a request, `user.is_verified()` and `user.otp_device`; and the devices of all its apps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.http import HttpResponse
from django_otp import devices_for_user
from django_otp.middleware import OTPMiddleware

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.http import HttpRequest

_dresser = OTPMiddleware(lambda request: HttpResponse())


def dress(request: HttpRequest) -> None:
    """Let django-otp dress `request.user` anew, after it was replaced behind its back."""
    _dresser(request)


def devices_of(user: Any) -> Iterable[Any]:
    """Return the user's confirmed devices, of every app that has some. A query for each model, as they are read."""
    devices: Iterable[Any] = devices_for_user(user, confirmed=True)
    return devices
