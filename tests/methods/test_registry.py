"""Which kinds of method the site has, and what a login by Django's own means tells of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django_otp.plugins.otp_totp.models import TOTPDevice
from django_otp_webauthn.models import WebAuthnCredential

from tap_provider.backends import mark_proved
from tap_provider.methods import registry
from tap_provider.methods.kinds import Factor, Method, MethodKind, UsedMethod
from tap_provider.methods.passkey import BACKEND, PasskeyKind
from tap_provider.methods.password import USED_PASSWORD

MODEL_BACKEND = "tap_provider.backends.ModelBackend"


class Badge(MethodKind):
    slug, label, description, is_strong, card_template = "badge", "Badge", "", True, "badge.html"

    def methods(self, user: Any) -> list[Method]:
        return []

    def remove(self, user: Any, method_id: str) -> bool:
        return False


@pytest.fixture
def kinds() -> Iterator[None]:
    """Leave the registry as it was."""
    before = dict(registry._kinds)
    yield
    registry._kinds.clear()
    registry._kinds.update(before)


def test_all_kinds__are_those_whose_apps_are_installed() -> None:
    assert {kind.slug for kind in registry.all_kinds()} == {"passkey", "totp", "recovery_codes", "password"}


def test_find_kind__by_slug_or_none() -> None:
    assert isinstance(registry.find_kind("passkey"), PasskeyKind)
    assert registry.find_kind("carrier_pigeon") is None
    assert registry.find_kind("") is None


@pytest.mark.usefixtures("kinds")
def test_register__a_third_partys_kind_is_offered_where_the_setting_names_it(settings: Any) -> None:
    registry.register(Badge())
    assert [kind.slug for kind in registry.registrable_kinds()] == ["passkey", "totp", "recovery_codes"]
    settings.TAP_PROVIDER_REGISTRABLE_METHODS = ["badge", "passkey"]
    assert [kind.slug for kind in registry.registrable_kinds()] == ["badge", "passkey"]


@pytest.mark.usefixtures("kinds")
def test_all_kinds__a_last_resort_comes_after_a_third_partys_kind() -> None:
    """Whatever is asked for after the password: nobody spends a recovery code who has something else."""
    registry.register(Badge())
    assert [kind.slug for kind in registry.all_kinds()] == ["passkey", "totp", "password", "badge", "recovery_codes"]


@pytest.mark.usefixtures("kinds")
def test_register__a_kind_of_the_same_slug_is_replaced() -> None:
    registry.register(Badge())
    another = Badge()
    registry.register(another)
    assert registry.find_kind("badge") is another
    assert [kind.slug for kind in registry.all_kinds()].count("badge") == 1


def test_registrable_kinds__stand_in_the_order_of_the_setting(settings: Any) -> None:
    settings.TAP_PROVIDER_REGISTRABLE_METHODS = ["password", "totp", "carrier_pigeon", "passkey"]
    assert [kind.slug for kind in registry.registrable_kinds()] == ["password", "totp", "passkey"]


def told(user: Any) -> list[str] | None:
    used = registry.used_by_login(user)
    return None if used is None else [method.kind for method in used]


def test_used_by_login__a_marked_password_counts(robin: Any) -> None:
    assert told(mark_proved(robin, "password")) == ["password"]


@pytest.mark.parametrize(
    "backend",
    [
        MODEL_BACKEND,
        "django.contrib.auth.backends.ModelBackend",
        "django.contrib.auth.backends.RemoteUserBackend",
        "tap_provider.backends.TemporaryAccessPassBackend",
        BACKEND,
        "",
    ],
)
def test_used_by_login__of_any_other_backend_nothing_is_claimed(robin: Any, backend: str) -> None:
    """Of any backend that was merely named, as by a page that lets in whoever followed a link, or by support staff."""
    robin.backend = backend
    robin.tap_passkey = robin.otp_device = WebAuthnCredential(user=robin)
    assert told(robin) is None


def test_used_by_login__an_authentication_by_something_that_is_not_known_claims_no_method(robin: Any) -> None:
    assert told(mark_proved(robin)) == []
    assert told(mark_proved(robin, "carrier_pigeon")) == []


def test_used_by_login__what_is_no_kind_of_the_sites_counts_as_it_is_told(robin: Any) -> None:
    badge = UsedMethod(kind="badge", amr=("hwk",), factors=frozenset({Factor.POSSESSION}))
    assert registry.used_by_login(mark_proved(robin, badge, "password")) == [badge, USED_PASSWORD]


def test_used_by_login__an_authenticator_app_that_went_with_the_password_counts(robin: Any) -> None:
    robin.otp_device = TOTPDevice(user=robin)
    assert told(mark_proved(robin, "password")) == ["password", "totp"]


def test_used_by_login__a_device_without_a_proof_claims_nothing(robin: Any) -> None:
    """django-two-factor-auth puts the device on the user for a browser that it remembers, too."""
    robin.otp_device = TOTPDevice(user=robin)
    assert told(robin) is None


def test_used_by_login__the_device_of_an_earlier_login_claims_nothing(robin: Any) -> None:
    robin.otp_device = TOTPDevice(user=robin)
    setattr(robin, registry.READ_FROM_SESSION, True)
    assert told(mark_proved(robin, "password")) == ["password"]


def test_used_by_login__an_unknown_device_claims_nothing(robin: Any) -> None:
    robin.otp_device = object()
    assert told(mark_proved(robin, "password")) == ["password"]
    robin.otp_device = None
    assert told(robin) == ["password"]


def test_used_by_login__a_passkey_counts_that_the_backend_was_given(robin: Any) -> None:
    assert told(mark_proved(robin, "passkey")) == []  # which one, nobody says
    robin.tap_passkey = WebAuthnCredential(user=robin)
    assert told(robin) == ["passkey"]


def test_used_by_login__a_passkey_told_twice_counts_once(robin: Any) -> None:
    robin.tap_passkey = robin.otp_device = WebAuthnCredential(user=robin)
    assert told(mark_proved(robin, "passkey")) == ["passkey"]
