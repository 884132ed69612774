"""Addresses of this site's own pages: the setting decides, not the request's Host header."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.test import RequestFactory
from django.urls import set_script_prefix

from tap_provider.addresses import pass_sign_in_url, security_info_url, site_name
from tap_provider.handle import handle_of

PASS = UUID("6f1c3f0e-7f0c-4b57-9b8e-0a4f5a1f2a11")
PATH = "/account/sign-in/pass/"


@pytest.fixture
def request_to_an_invented_host(settings: Any) -> Any:
    settings.ALLOWED_HOSTS = ["*"]
    return RequestFactory().get("/", headers={"host": "evil.example"})


def test_pass_sign_in_url__follows_the_setting_and_not_the_host(
    settings: Any, request_to_an_invented_host: Any
) -> None:
    settings.TAP_PROVIDER_BASE_URL = "https://login.example.com"
    expected = f"https://login.example.com{PATH}?handle={handle_of(PASS)}"
    assert pass_sign_in_url(PASS, request=request_to_an_invented_host) == expected


def test_pass_sign_in_url__without_the_setting_follows_the_request(
    settings: Any, request_to_an_invented_host: Any
) -> None:
    settings.TAP_PROVIDER_BASE_URL = ""
    assert pass_sign_in_url(PASS, request=request_to_an_invented_host).startswith(f"http://evil.example{PATH}?handle=")
    assert pass_sign_in_url(PASS).startswith(f"{PATH}?handle=")


def test_pass_sign_in_url__below_a_prefix_has_it_once(settings: Any) -> None:
    settings.TAP_PROVIDER_BASE_URL = "https://example.com/idp"
    try:
        set_script_prefix("/idp/")
        assert pass_sign_in_url(PASS).startswith(f"https://example.com/idp{PATH}?")
        assert security_info_url() == "https://example.com/idp/account/security-info/"
    finally:
        set_script_prefix("/")


def test_site_name__is_the_settings(settings: Any, request_to_an_invented_host: Any) -> None:
    settings.TAP_PROVIDER_BASE_URL = "https://login.example.com"
    assert site_name(request_to_an_invented_host) == "login.example.com"
    settings.TAP_PROVIDER_BASE_URL = ""
    assert site_name(request_to_an_invented_host) == "evil.example"
