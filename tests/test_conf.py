"""Settings: flat, typed, read live, with their defaults."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from django.test import override_settings

from tap_provider.conf import DEFAULTS, Settings, settings

from .conftest import CountingHasher


def test_settings__are_twelve_at_most() -> None:
    """Design, section 6.10."""
    assert len(DEFAULTS) <= 12


def test_settings__each_is_a_documented_property_of_its_own() -> None:
    properties = {name: value for name, value in vars(Settings).items() if isinstance(value, property)}
    assert set(properties) == {name.lower() for name in DEFAULTS}
    for name, value in properties.items():
        assert f"`TAP_PROVIDER_{name.upper()}`" in (value.__doc__ or "")


@pytest.fixture
def without_ours(settings: Any) -> None:
    """A site that says nothing; the example names some."""
    for name in DEFAULTS:
        if hasattr(settings, f"TAP_PROVIDER_{name}"):
            delattr(settings, f"TAP_PROVIDER_{name}")


@pytest.mark.usefixtures("without_ours")
def test_settings__defaults() -> None:
    assert settings.upn_field == "username"  # the user model's USERNAME_FIELD
    assert settings.trusted_proxies == 0  # peer failure 17: forwarded headers are ignored unless a site says otherwise
    assert settings.hooks == "tap_provider.hooks.Hooks"
    assert settings.passcode_hasher.memory_cost == 19_456  # type: ignore[attr-defined]
    assert settings.registration_views == frozenset()
    assert settings.registrable_methods == ("passkey", "totp", "recovery_codes")
    assert settings.pass_amr == ("mfa", "tap")
    assert settings.refresh_tokens == "offline_access"
    assert settings.base_url == ""
    assert settings.acr_values == {
        "single_factor": "urn:oasis:names:tc:SAML:2.0:ac:classes:Password",
        "multi_factor": "http://schemas.openid.net/pape/policies/2007/06/multi-factor",
        "phishing_resistant": "phr",
    }


@pytest.mark.parametrize(
    ("name", "value", "read", "told"),
    [
        ("UPN_FIELD", "email", "upn_field", "email"),
        ("TRUSTED_PROXIES", 2, "trusted_proxies", 2),
        ("HOOKS", "site.Hooks", "hooks", "site.Hooks"),
        ("REGISTRATION_VIEWS", ["a:b"], "registration_views", frozenset({"a:b"})),
        ("REGISTRABLE_METHODS", ["totp"], "registrable_methods", ("totp",)),
        ("BASE_URL", "https://login.example.test/", "base_url", "https://login.example.test"),
        ("PASS_AMR", ["tap"], "pass_amr", ("tap",)),
        ("BACKCHANNEL_NETWORKS", ["10.0.0.0/8"], "backchannel_networks", (ip_network("10.0.0.0/8"),)),
        ("REFRESH_TOKENS", "always", "refresh_tokens", "always"),
        ("RETENTION_DAYS", {"sign_ins": 9}, "retention_days", {"sign_ins": 9, "audit_events": None}),
    ],
)
def test_settings__are_read_live(name: str, value: Any, read: str, told: Any) -> None:
    before = getattr(settings, read)
    with override_settings(**{f"TAP_PROVIDER_{name}": value}):
        assert getattr(settings, read) == told
    assert getattr(settings, read) == before


@override_settings(TAP_PROVIDER_PASSCODE_HASHER="tests.conftest.CountingHasher")
def test_settings__the_hasher_is_loaded_by_its_dotted_path() -> None:
    assert isinstance(settings.passcode_hasher, CountingHasher)


@override_settings(TAP_PROVIDER_ACR_VALUES={"multi_factor": "urn:example:strong"})
def test_settings__acr_values_left_out_keep_their_defaults() -> None:
    assert settings.acr_values["multi_factor"] == "urn:example:strong"
    assert settings.acr_values["phishing_resistant"] == "phr"
    assert set(settings.acr_values) == {"single_factor", "multi_factor", "phishing_resistant"}
