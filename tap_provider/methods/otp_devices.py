"""What django-otp wants of a request: `user.is_verified()` and `user.otp_device`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpResponse
from django_otp.middleware import OTPMiddleware

if TYPE_CHECKING:
    from django.http import HttpRequest

_dresser = OTPMiddleware(lambda request: HttpResponse())


def dress(request: HttpRequest) -> None:
    """Let django-otp dress `request.user` anew, after it was replaced behind its back."""
    _dresser(request)
