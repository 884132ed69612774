"""Support staff who act as a user, as packages for that do: `request.user` is the user, the session is the staff's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.http import HttpRequest
from django.test import Client
from django.utils import timezone
from django_otp.plugins.otp_totp.models import TOTPDevice
from django_otp_webauthn.models import WebAuthnCredential

from tap_provider.authentication_context import current_context
from tap_provider.models import AuditEvent, SignIn

from .softauthn import SoftAuthenticator, register_passkey
from .softauthn import sign_in_with_passkey as ceremony

SECURITY_INFO = "/account/security-info/"
GOOD = {"new_password1": "a-long-enough-phrase", "new_password2": "a-long-enough-phrase"}

pytestmark = pytest.mark.usefixtures("hasher")  # a cheap one

contexts: list[Any] = []


class ActAs:
    """The middleware of such a package."""

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        acted_for = request.session.get("acted_for")
        if acted_for and request.user.is_authenticated:
            request.user = get_user_model()._default_manager.get(pk=acted_for)
            contexts.append(current_context(request, now=timezone.now()))
        return self.get_response(request)


@pytest.fixture(params=["before django-otp", "last"])
def staff(request: pytest.FixtureRequest, settings: Any, make_user: Any, issue: Any, robin: Any) -> Client:
    """A browser of support staff, strongly and freshly signed in, who act as Robin."""
    middleware = list(settings.MIDDLEWARE)
    place = middleware.index("django_otp.middleware.OTPMiddleware") if request.param != "last" else len(middleware)
    middleware.insert(place, "tests.test_acting_for_others.ActAs")
    settings.MIDDLEWARE = middleware
    settings.TAP_PROVIDER_REGISTRABLE_METHODS = ["passkey", "totp", "recovery_codes", "password"]
    support, browser, key = make_user("support", is_staff=True), Client(), SoftAuthenticator()
    browser.post("/account/sign-in/pass/", {"upn": support.upn, "passcode": issue(support).passcode.reveal()})
    assert register_passkey(browser, key).status_code == 200
    assert ceremony(browser, key).status_code == 200
    session = browser.session
    session["acted_for"] = robin.pk
    session.save()
    contexts.clear()
    return browser


def test_acting_for_others__registers_nothing_for_them(staff: Client, robin: Any) -> None:
    robin.set_password("robins-own")
    robin.save()
    assert register_passkey(staff, SoftAuthenticator()).status_code in {403, 422}
    for kind in ("totp", "password"):
        response = staff.post(f"{SECURITY_INFO}add/{kind}/", {"begin": "1"})
        assert response["Location"].startswith("/account/sign-in/"), kind
    staff.post(f"{SECURITY_INFO}add/password/", GOOD)
    assert staff.post("/account/methods/recovery_codes/")["Location"].startswith("/account/sign-in/")
    assert not WebAuthnCredential.objects.filter(user=robin).exists()
    assert not TOTPDevice.objects.filter(user=robin).exists()
    robin.refresh_from_db()
    assert robin.check_password("robins-own")
    assert not AuditEvent.objects.filter(kind="method_registered", user_key=str(robin.pk)).exists()


def test_acting_for_others__changes_and_shows_nothing_of_theirs(staff: Client, robin: Any) -> None:
    app = TOTPDevice.objects.create(user=robin, name="Phone", confirmed=True)
    page = f"{SECURITY_INFO}methods/totp/{app.pk}/"
    for path in (SECURITY_INFO, page, f"{page}remove/", f"{page}lost/", f"{SECURITY_INFO}sign-out-everywhere/"):
        assert staff.get(path)["Location"].startswith("/account/sign-in/"), path
    for path in (f"{page}remove/", f"{page}lost/"):
        staff.post(path)
    assert TOTPDevice.objects.filter(pk=app.pk).exists()


def test_acting_for_others__has_no_authentication_context(staff: Client) -> None:
    staff.get(SECURITY_INFO)
    assert contexts == [None]
    assert SignIn.objects.filter(ended_at=None, pass_id=None).count() == 1  # the staff's own goes on
