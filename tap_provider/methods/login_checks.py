"""System checks of the ways in: one login page, no way around its second step, and backends that say what they proved.

Documented in `docs/reference/checks.md`.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch, reverse

from ..conf import settings
from .login_page import login_is_elsewhere, login_is_ours
from .other_factors import ALLAUTH_MFA, TWO_FACTOR, is_covered
from .registry import registrable_kinds

DJANGO_BACKENDS = {
    f"django.contrib.auth.backends.{name}": f"tap_provider.backends.{name}"
    for name in ("ModelBackend", "AllowAllUsersModelBackend")
}
ALLAUTH_ACCOUNT = "allauth.account"

E022 = "tap_provider.E022"  # registration-only mode, and LOGIN_URL is our page that leads to LOGIN_URL
W022 = "tap_provider.W022"  # our login page beside a package with a login of its own that asks for more
W023 = "tap_provider.W023"  # our login page is mounted, and LOGIN_URL is another one
W024 = "tap_provider.W024"  # registration-only mode, and the site's login page does not take a kind that is offered
W025 = "tap_provider.W025"  # Django's password backend, which does not say what it proved

REGISTRATION_ONLY = "Mount tap_provider.registration_urls instead of tap_provider.urls"


def check_login_url(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if not (login_is_ours() or login_is_elsewhere()):
        return []
    try:
        login_url = resolve_url(django_settings.LOGIN_URL)
    except NoReverseMatch:
        return []  # which fails by itself, loudly
    leads_to_us = login_url.removeprefix(settings.base_url).split("?")[0] == reverse("tap_provider:sign_in")
    if login_is_elsewhere() and leads_to_us:
        hint = "Set LOGIN_URL to the login page of the site; if it has none, mount tap_provider.urls."
        return [Error("LOGIN_URL is a page that leads to LOGIN_URL.", hint=hint, id=E022)]
    if login_is_ours() and not leads_to_us:
        hint = f"{REGISTRATION_ONLY}, or set LOGIN_URL to 'tap_provider:sign_in'."
        return [CheckWarning("There are two login pages: LOGIN_URL, and ours.", hint=hint, id=W023)]
    return []


def check_second_login(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """What other packages ask for at their login page, ours does not."""
    if not login_is_ours():
        return []
    hint = f"{REGISTRATION_ONLY}: people then sign in at the package's page."
    found: list[CheckMessage] = []
    for app in (ALLAUTH_MFA, TWO_FACTOR):
        if apps.is_installed(app) and not is_covered(app):
            message = f"Our login page does not ask for the second factors of {app}. It refuses users who have one."
            found.append(CheckWarning(message, hint=hint, id=W022))
    if apps.is_installed(ALLAUTH_ACCOUNT) and getattr(django_settings, "ACCOUNT_EMAIL_VERIFICATION", "") == "mandatory":
        message = "Our login page does not ask for the verified e-mail address that allauth.account demands."
        found.append(CheckWarning(message, hint=hint, id=W022))
    return found


def check_kinds_taken(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Nobody should register what they cannot sign in with afterwards."""
    hint = (
        "Leave it out of TAP_PROVIDER_REGISTRABLE_METHODS; or let the login page take it, and the kind say so "
        "(is_taken_elsewhere)."
    )
    return [
        CheckWarning(
            f"The login page of the site takes no {kind.slug}, but people may register one.", hint=hint, id=W024
        )
        for kind in (registrable_kinds() if login_is_elsewhere() else [])
        if not kind.is_taken_at_login
    ]


def check_password_backend(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    return [
        CheckWarning(
            f"{backend} does not say what it proved: sign-ins on pages that are not ours count as unknown.",
            hint=f"Replace it by {DJANGO_BACKENDS[backend]!r}. Everybody then signs in once more.",
            id=W025,
        )
        for backend in django_settings.AUTHENTICATION_BACKENDS
        if backend in DJANGO_BACKENDS
    ]
