"""Second factors that no kind of this site knows: devices and records of other packages.

Our login page cannot ask for them. It must not sign their user in without them either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.utils.module_loading import import_string

from ..hooks import get_hooks
from .registry import all_kinds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ALLAUTH_MFA = "allauth.mfa"
TWO_FACTOR = "two_factor"
DEFAULT_DEVICE = "default"
"""The name by which django-two-factor-auth finds the device to ask for; without one of that name it asks for none."""


def has_other_factor(user: Any) -> bool:
    """Tell whether this user has a confirmed second factor that no kind knows. A query for each model of devices."""
    return _has_unknown_device(user) or _has_allauth_factor(user) or get_hooks().has_other_second_factor(user)


def is_covered(app: str) -> bool:
    """Tell whether a kind of this site asks for the second factors of that app."""
    return any(app in kind.covers_apps for kind in all_kinds())


def lacks_default_device(user: Any) -> bool:
    """Tell whether django-two-factor-auth is installed, and would ask this user for nothing after the password."""
    return apps.is_installed(TWO_FACTOR) and all(device.name != DEFAULT_DEVICE for device in _devices_of(user))


def is_name_taken(name: str) -> bool:
    """Tell whether another package looks for the device of this name, so that no user may choose it."""
    return apps.is_installed(TWO_FACTOR) and name.casefold() == DEFAULT_DEVICE


def _devices_of(user: Any) -> Iterable[Any]:
    devices_of: Callable[[Any], Iterable[Any]] = import_string("tap_provider.methods.otp_devices.devices_of")
    return devices_of(user)  # by name: it is optional


def _has_unknown_device(user: Any) -> bool:
    if not apps.is_installed("django_otp"):
        return False
    kinds = all_kinds()
    return any(all(kind.used_device(device) is None for kind in kinds) for device in _devices_of(user))


def _has_allauth_factor(user: Any) -> bool:
    if not apps.is_installed(ALLAUTH_MFA) or is_covered(ALLAUTH_MFA):
        return False
    authenticators: Any = apps.get_app_config("mfa").get_model("Authenticator")
    return bool(authenticators._default_manager.filter(user=user).exists())
