"""The pages' addresses: what `path("account/", include("tap_provider.urls"))` mounts, by name."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import resolve, reverse

ADDRESSES = {
    "sign_in": "/account/sign-in/",
    "sign_in_second_step": "/account/sign-in/verify/",
    "sign_in_with_pass": "/account/sign-in/pass/",
    "sign_out": "/account/sign-out/",
    "security_info": "/account/security-info/",
    "finish": "/account/security-info/finish/",
    "passkey_registration_begin": "/account/methods/passkey/registration/begin/",
    "passkey_registration_complete": "/account/methods/passkey/registration/complete/",
    "passkey_authentication_begin": "/account/methods/passkey/authentication/begin/",
    "passkey_authentication_complete": "/account/methods/passkey/authentication/complete/",
    "passkey_texts": "/account/methods/passkey/texts.js",
}


@pytest.mark.parametrize(("name", "address"), ADDRESSES.items())
def test_urls__stand_where_they_are_promised(name: str, address: str) -> None:
    assert reverse(f"tap_provider:{name}") == address
    assert resolve(address).view_name == f"tap_provider:{name}"


def test_urls__a_kind_of_method_registers_below_its_slug() -> None:
    assert reverse("tap_provider:register_method", args=["totp"]) == "/account/security-info/add/totp/"


@pytest.mark.django_db
@pytest.mark.parametrize("address", ADDRESSES.values())
def test_urls__none_is_missing_and_none_fails_for_a_stranger(address: str) -> None:
    assert Client().get(address).status_code in {200, 302, 403, 405}
