"""Support staff who act as a user are in their account, and have not authenticated as them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils import timezone
from django_otp.plugins.otp_totp.models import TOTPDevice

from tap_provider.authentication_context import context_of
from tap_provider.methods.registration import is_fresh
from tap_provider.models import SignIn
from tap_provider.policy import change_policy
from tap_provider.sign_in import SESSION_KEY

PASSWORD = "correct-horse"
SECURITY_INFO = "/security/security-info/"


@pytest.fixture
def kim(make_user: Any) -> Any:
    return make_user("kim", password=PASSWORD)


@pytest.fixture
def staff(client: Client, db: None) -> Client:
    """A browser of support staff who have just signed in with their password at django-admin's page."""
    admin = get_user_model()._default_manager.create_superuser("admin", "admin@example.test", PASSWORD)
    # The policy that lets a password register, as long as its user has nothing else.
    change_policy(actor=admin, now=timezone.now(), enabled=True, require_strong_authentication_to_register=False)
    client.post("/admin/login/?next=/", {"username": "admin", "password": PASSWORD})
    assert sign_in_of(client).methods == ["password"]
    assert client.get(SECURITY_INFO).context["refusal"] is None
    return client


def sign_in_of(browser: Client) -> SignIn:
    return SignIn.objects.get(pk=browser.session[SESSION_KEY])


WAYS: list[tuple[str, Callable[[Client, Any], Any]]] = [
    ("loginas", lambda browser, user: browser.post(f"/loginas/login/user/{user.pk}/")),
    ("hijack", lambda browser, user: browser.post("/hijack/acquire/", {"user_pk": user.pk})),
    ("by hand", lambda browser, user: browser.post(f"/by-hand/{user.pk}/")),
]


@pytest.mark.parametrize("act_as", [way for _name, way in WAYS], ids=[name for name, _way in WAYS])
def test_acting_as_a_user__is_no_authentication(staff: Client, kim: Any, act_as: Callable[..., Any]) -> None:
    own = sign_in_of(staff)
    assert act_as(staff, kim).status_code == 302
    assert staff.get("/").content == b"kim"
    sign_in = sign_in_of(staff)
    assert (sign_in.user, sign_in.methods, sign_in.amr, sign_in.authenticated_at) == (kim, [], [], None)
    context = context_of(sign_in)
    assert set(context.claims) == {"sid"}
    assert not is_fresh(sign_in, now=timezone.now())
    own.refresh_from_db()
    assert own.ended_at is not None


@pytest.mark.parametrize("act_as", [way for _name, way in WAYS], ids=[name for name, _way in WAYS])
def test_acting_as_a_user__registers_and_changes_nothing(staff: Client, kim: Any, act_as: Callable[..., Any]) -> None:
    act_as(staff, kim)
    assert staff.get(SECURITY_INFO).context["refusal"].code == "not_fresh"
    staff.post(f"{SECURITY_INFO}add/totp/", {"begin": "1"})
    assert not TOTPDevice.objects.exists()
    before = kim.password
    staff.post(f"{SECURITY_INFO}methods/password/password/remove/")
    staff.post(f"{SECURITY_INFO}methods/password/password/lost/")
    kim.refresh_from_db()
    assert kim.password == before


@pytest.mark.parametrize(
    ("act_as", "release"),
    [(WAYS[0][1], "/loginas/logout/"), (WAYS[1][1], "/hijack/release/")],
    ids=["loginas", "hijack"],
)
def test_acting_as_a_user__coming_back_is_no_authentication_either(
    staff: Client, kim: Any, act_as: Callable[..., Any], release: str
) -> None:
    act_as(staff, kim)
    acting = sign_in_of(staff)
    assert staff.post(release).status_code == 302
    assert staff.get("/").content == b"admin"
    sign_in = sign_in_of(staff)
    assert (sign_in.user.get_username(), sign_in.methods, sign_in.authenticated_at) == ("admin", [], None)
    acting.refresh_from_db()
    assert acting.ended_at is not None


def test_impersonate__the_session_stays_the_staffs_own(staff: Client, kim: Any) -> None:
    own = sign_in_of(staff)
    assert staff.get(f"/impersonate/{kim.pk}/").status_code == 302
    assert staff.get("/").content == b"kim"
    assert sign_in_of(staff) == own
    assert staff.get(SECURITY_INFO)["Location"].startswith("/security/sign-in/")
    staff.post(f"{SECURITY_INFO}add/totp/", {"begin": "1"})
    assert not TOTPDevice.objects.exists()
    staff.get("/impersonate/stop/")
    assert staff.get(SECURITY_INFO).context["upn"] == "admin"
