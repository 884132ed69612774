"""What signing in with methods is worth: level and amr are computed from what was used, and from nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django_otp.plugins.otp_totp.models import TOTPDevice
from django_otp_webauthn.models import WebAuthnCredential

from tap_provider.methods.kinds import Factor, Method, MethodKind, UsedMethod, amr_of, level_of
from tap_provider.methods.passkey import PasskeyKind
from tap_provider.methods.password import USED_PASSWORD, PasswordKind
from tap_provider.methods.totp import TotpKind
from tap_provider.models import Level

TOTP = UsedMethod(kind="totp", amr=("otp",), factors=frozenset({Factor.POSSESSION}))
PASSKEY = UsedMethod(
    kind="passkey", amr=("hwk", "mfa", "pop", "user"), factors=frozenset(Factor), is_phishing_resistant=True
)
SECURITY_KEY = UsedMethod(
    kind="key", amr=("hwk", "pop"), factors=frozenset({Factor.POSSESSION}), is_phishing_resistant=True
)


@pytest.mark.parametrize(
    ("used", "level", "amr"),
    [
        ([], Level.SINGLE_FACTOR, []),
        ([USED_PASSWORD], Level.SINGLE_FACTOR, ["pwd"]),
        ([TOTP], Level.SINGLE_FACTOR, ["otp"]),
        ([USED_PASSWORD, TOTP], Level.MULTI_FACTOR, ["mfa", "otp", "pwd"]),
        ([TOTP, USED_PASSWORD], Level.MULTI_FACTOR, ["mfa", "otp", "pwd"]),
        ([USED_PASSWORD, USED_PASSWORD], Level.SINGLE_FACTOR, ["pwd"]),
        ([TOTP, TOTP], Level.SINGLE_FACTOR, ["otp"]),
        ([PASSKEY], Level.PHISHING_RESISTANT, ["hwk", "mfa", "pop", "user"]),
        ([USED_PASSWORD, PASSKEY], Level.PHISHING_RESISTANT, ["hwk", "mfa", "pop", "pwd", "user"]),
        ([SECURITY_KEY], Level.SINGLE_FACTOR, ["hwk", "pop"]),  # something one has, and nothing else
        ([USED_PASSWORD, SECURITY_KEY], Level.PHISHING_RESISTANT, ["hwk", "mfa", "pop", "pwd"]),
    ],
)
def test_level_of__is_computed_from_the_factors(used: list[UsedMethod], level: Level, amr: list[str]) -> None:
    assert level_of(used) is level
    assert amr_of(used) == amr


def test_level_of__takes_any_iterable() -> None:
    assert level_of(method for method in (USED_PASSWORD, TOTP)) is Level.MULTI_FACTOR
    assert amr_of(method for method in (USED_PASSWORD, TOTP)) == ["mfa", "otp", "pwd"]


@pytest.mark.parametrize(("backup_eligible", "held"), [(False, "hwk"), (True, "swk")])
def test_used_device__a_synchronised_passkey_is_a_software_secured_key(backup_eligible: bool, held: str) -> None:
    used = PasskeyKind().used_device(WebAuthnCredential(pk=7, backup_eligible=backup_eligible))
    assert used is not None
    assert (used.kind, used.amr, used.method_id) == ("passkey", (held, "mfa", "pop", "user"), "7")
    assert used.factors == frozenset(Factor)
    assert used.is_phishing_resistant


def test_used_device__an_authenticator_app_is_something_one_has() -> None:
    used = TotpKind().used_device(TOTPDevice(pk=7))
    assert used is not None
    assert (used.kind, used.amr, used.method_id) == ("totp", ("otp",), "7")
    assert used.factors == {Factor.POSSESSION}
    assert not used.is_phishing_resistant


@pytest.mark.parametrize("kind", [PasskeyKind(), TotpKind(), PasswordKind()])
def test_used_device__a_kind_claims_no_device_but_its_own(kind: MethodKind) -> None:
    strangers: list[Any] = [object(), None, TOTPDevice() if kind.slug != "totp" else WebAuthnCredential()]
    assert [kind.used_device(stranger) for stranger in strangers] == [None, None, None]


@pytest.mark.parametrize(("kind", "is_strong"), [(PasskeyKind(), True), (TotpKind(), True), (PasswordKind(), False)])
def test_is_strong__a_password_is_not(kind: MethodKind, is_strong: bool) -> None:
    assert kind.is_strong is is_strong


def test_method_kind__a_kind_of_a_third_party_needs_no_more_than_its_methods() -> None:
    class Badge(MethodKind):
        slug, label, description, is_strong, card_template = "badge", "Badge", "", True, "badge.html"

        def methods(self, user: Any) -> list[Method]:
            return []

        def remove(self, user: Any, method_id: str) -> bool:
            return False

    badge, user = Badge(), get_user_model()()
    assert badge.used_by_backend(user) is None
    assert badge.used_device(object()) is None
    assert badge.second_factor_form(user) is None
    assert list(badge.urls()) == []
