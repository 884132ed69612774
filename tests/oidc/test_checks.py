"""The system checks of the OpenID part: each fires where its rule is broken, and only there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import override_settings
from django.urls import clear_url_caches, include, path
from oauth2_provider.oauth2_validators import OAuth2Validator

from tap_provider.oidc.checks import E101, E102, W103, check_scopes, check_validator, check_views
from tap_provider.oidc.validator import REGISTRATION_SCOPES, TapOAuth2Validator
from tap_provider.oidc.views import AuthorizationView, IntrospectTokenView

from .conftest import toolkit_settings


class SiteValidator(TapOAuth2Validator):
    """A site's own, over ours."""


class SiteAuthorizationView(AuthorizationView):
    """A site's own, over ours."""


class ForeignValidator(OAuth2Validator):
    """A site's own, over the toolkit's."""


@contextmanager
def addresses(*patterns: Any) -> Iterator[None]:
    with override_settings(ROOT_URLCONF=tuple(patterns)):
        clear_url_caches()
        yield
    clear_url_caches()


def ids(messages: list[Any]) -> list[str]:
    return [message.id for message in messages]


def test_checks__are_silent_on_the_example() -> None:
    assert [*check_validator(None), *check_scopes(None), *check_views(None)] == []


def test_check_validator__E101_where_the_toolkits_validator_is_used() -> None:  # noqa: N802
    with toolkit_settings(OAUTH2_VALIDATOR_CLASS=None):
        [found] = check_validator(None)

    assert found.id == E101 == "tap_provider.E101"
    assert found.is_serious()
    assert "tap_provider.oidc.validator.TapOAuth2Validator" in found.hint


def test_check_validator__E101_where_a_validator_is_not_over_ours() -> None:  # noqa: N802
    with toolkit_settings(OAUTH2_VALIDATOR_CLASS=f"{__name__}.ForeignValidator"):
        assert ids(check_validator(None)) == [E101]


def test_check_validator__is_silent_on_a_subclass_of_ours() -> None:
    with toolkit_settings(OAUTH2_VALIDATOR_CLASS=f"{__name__}.SiteValidator"):
        assert check_validator(None) == []


def test_check_validator__names_a_path_that_can_be_put_into_the_settings() -> None:
    with toolkit_settings(OAUTH2_VALIDATOR_CLASS=None):
        [found] = check_validator(None)
    path_told = found.hint.split('"')[3]

    with toolkit_settings(OAUTH2_VALIDATOR_CLASS=path_told):
        assert check_validator(None) == []


def test_check_views__E102_for_each_view_of_the_toolkits() -> None:  # noqa: N802
    with addresses(path("o/", include("oauth2_provider.urls"))):
        found = check_views(None)

    assert ids(found) == [E102, E102] == ["tap_provider.E102"] * 2
    assert all(message.is_serious() for message in found)
    assert "oauth2_provider:authorize" in found[0].msg
    assert "oauth2_provider:introspect" in found[1].msg


@pytest.mark.parametrize("view", [IntrospectTokenView.as_view(), lambda request: None])
def test_check_views__E102_for_any_view_that_is_not_over_ours(view: Any) -> None:  # noqa: N802
    own = [path("authorize/", view, name="authorize")]

    with addresses(path("o/", include((own, "oauth2_provider")))):
        assert ids(check_views(None)) == [E102]


def test_check_views__is_silent_on_a_subclass_of_ours() -> None:
    own = [path("authorize/", SiteAuthorizationView.as_view(), name="authorize")]

    with addresses(path("o/", include((own, "oauth2_provider")))):
        assert check_views(None) == []


def test_check_views__is_silent_where_the_toolkit_is_not_mounted() -> None:
    with addresses():
        assert check_views(None) == []


def test_check_scopes__W103_where_the_scope_is_not_offered() -> None:  # noqa: N802
    with toolkit_settings(SCOPES={"openid": "", "profile": "", "email": ""}):
        [found] = check_scopes(None)

    assert found.id == W103 == "tap_provider.W103"
    assert not found.is_serious()
    assert "method_registration" in found.msg


@pytest.mark.parametrize("left_out", ["profile", "email"])
def test_check_scopes__is_silent_where_only_names_or_addresses_are_not_told(left_out: str) -> None:
    with toolkit_settings(SCOPES=dict.fromkeys(REGISTRATION_SCOPES - {left_out}, "")):
        assert check_scopes(None) == []


def test_checks__are_run_by_the_command_line() -> None:
    broken = toolkit_settings(OAUTH2_VALIDATOR_CLASS=None, SCOPES={"openid": ""})
    with (
        broken,
        addresses(path("account/", include("tap_provider.urls")), path("o/", include("oauth2_provider.urls"))),
        override_settings(
            INSTALLED_APPS=[app for app in django_settings.INSTALLED_APPS if app != "django.contrib.admin"]
        ),
        pytest.raises(SystemCheckError) as refusal,
    ):
        call_command("check", stderr=StringIO(), stdout=StringIO())

    for check_id in (E101, E102, W103):
        assert check_id in str(refusal.value)
