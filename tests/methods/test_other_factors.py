"""Second factors that no kind knows: our login page does not sign their users in by the password alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from django_otp.plugins.otp_totp.models import TOTPDevice
from django_otp_webauthn.models import WebAuthnCredential

from tap_provider.exceptions import RegistrationNotAllowed
from tap_provider.hooks import Hooks
from tap_provider.methods import registry
from tap_provider.methods.other_factors import has_other_factor, is_covered
from tap_provider.methods.registration import guard_registration, has_second_factor
from tap_provider.models import AttemptCounter, AuditEvent, SignIn
from tap_provider.policy import change_policy, resolve_policy
from tap_provider.sign_in import SESSION_KEY

PASSWORD = "correct-horse"
SIGN_IN = "/account/sign-in/"

pytestmark = pytest.mark.usefixtures("hasher")  # a cheap one


class Card(Hooks):
    """Of a site with smart cards that only it knows of."""

    def has_other_second_factor(self, user: Any) -> bool:
        return bool(user.username == "robin")


@pytest.fixture
def known(robin: Any) -> Any:
    robin.set_password(PASSWORD)
    robin.save()
    return robin


@pytest.fixture
def without_totp() -> Iterator[None]:
    """A site on which no kind knows TOTP devices: they are another package's."""
    before = dict(registry._kinds)
    del registry._kinds["totp"]
    yield
    registry._kinds.clear()
    registry._kinds.update(before)


@pytest.fixture
def factor(known: Any, without_totp: None) -> TOTPDevice:
    return TOTPDevice.objects.create(user=known, name="default", confirmed=True)


def post(client: Client, user: Any, password: str = PASSWORD) -> Any:
    return client.post(SIGN_IN, {"upn": user.upn, "password": password})


def test_sign_in_with_password__goes_around_no_second_factor_of_another_package(
    client: Client, known: Any, factor: TOTPDevice
) -> None:
    response = post(client, known)
    assert response.status_code == 200
    assert "a second step, which this page cannot ask for" in response.context["form"].non_field_errors()[0]
    assert SESSION_KEY not in client.session
    assert not SignIn.objects.exists()
    event = AuditEvent.objects.get(kind=AuditEvent.Kind.SIGN_IN_REFUSED)
    assert (event.user_name, event.detail["reason"]) == (known.upn, "other_second_factor")
    assert sum(AttemptCounter.objects.values_list("count", flat=True)) == 0  # it was no guess
    assert client.get("/account/sign-in/verify/")["Location"].startswith(SIGN_IN)  # nothing is awaited


def test_sign_in_with_password__leads_to_the_sites_own_page_where_there_is_one(
    client: Client, known: Any, factor: TOTPDevice, settings: Any
) -> None:
    assert post(client, known).context["elsewhere_url"] is None
    settings.LOGIN_URL = "/accounts/login/"
    response = post(client, known)
    assert response.context["elsewhere_url"] == "/accounts/login/"
    assert 'href="/accounts/login/"' in response.content.decode()


def test_sign_in_with_password__a_wrong_one_tells_nothing_of_it(
    client: Client, known: Any, factor: TOTPDevice, settings: Any
) -> None:
    settings.LOGIN_URL = "/accounts/login/"
    response = post(client, known, "wrong")
    assert response.context["form"].non_field_errors() == ["That user name and password do not match."]
    assert response.context["elsewhere_url"] is None


@pytest.mark.usefixtures("without_totp")
def test_sign_in_with_password__an_unconfirmed_device_is_no_factor(client: Client, known: Any) -> None:
    TOTPDevice.objects.create(user=known, confirmed=False)
    assert post(client, known)["Location"] == "/"


def test_sign_in_with_password__the_hook_knows_factors_of_the_sites_own(
    client: Client, known: Any, admin: Any, settings: Any
) -> None:
    settings.TAP_PROVIDER_HOOKS = f"{__name__}.Card"
    assert post(client, known).status_code == 200
    assert SESSION_KEY not in client.session
    assert post(Client(), admin, "admin-password")["Location"] == "/"


def test_sign_in_with_password__a_second_factor_that_is_known_is_asked_for(
    client: Client, known: Any, settings: Any
) -> None:
    settings.TAP_PROVIDER_HOOKS = f"{__name__}.Card"
    TOTPDevice.objects.create(user=known, confirmed=True)
    assert post(client, known)["Location"] == "/account/sign-in/verify/"


def test_has_other_factor__devices_that_a_kind_knows_are_none(known: Any) -> None:
    TOTPDevice.objects.create(user=known, confirmed=True)
    WebAuthnCredential.objects.create(user=known, confirmed=True, credential_id=b"1", public_key=b"1")
    assert not has_other_factor(known)


def test_has_other_factor__of_another_user_is_not_theirs(factor: TOTPDevice, admin: Any) -> None:
    assert has_other_factor(factor.user)
    assert not has_other_factor(admin)


def test_is_covered__by_a_kind_that_says_so() -> None:
    assert not is_covered("allauth.mfa")
    kind = registry.find_kind("totp")
    assert kind is not None
    type(kind).covers_apps = ("allauth.mfa",)
    try:
        assert is_covered("allauth.mfa")
    finally:
        del type(kind).covers_apps  # type: ignore[misc]


def test_guard_registration__a_lenient_policy_takes_no_password_of_somebody_with_another_factor(
    client: Client, known: Any, admin: Any, policy_on: Any, settings: Any
) -> None:
    change_policy(actor=admin, now=timezone.now(), require_strong_authentication_to_register=False)
    post(client, known)
    sign_in = SignIn.objects.get()
    policy, now = resolve_policy(known), timezone.now()
    guard_registration(sign_in=sign_in, policy=policy, now=now)
    settings.TAP_PROVIDER_HOOKS = f"{__name__}.Card"
    assert has_second_factor(known)
    with pytest.raises(RegistrationNotAllowed) as refused:
        guard_registration(sign_in=sign_in, policy=policy, now=now)
    assert refused.value.code == "not_strong_enough"
