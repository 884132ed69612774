"""The system checks of the OpenID part: each fires where its rule is broken, and only there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.mixins import PermissionRequiredMixin
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import override_settings
from django.urls import clear_url_caches, include, path
from oauth2_provider import urls as toolkit_urls
from oauth2_provider import views as toolkit_views
from oauth2_provider.oauth2_validators import OAuth2Validator

from tap_provider.oidc.checks import (
    E101,
    E102,
    E104,
    VIEWS,
    W103,
    W105,
    W106,
    W109,
    W110,
    W111,
    W112,
    check_application_pages,
    check_client_registration,
    check_client_secrets,
    check_consent_template,
    check_default_scopes,
    check_issuer,
    check_naive_times,
    check_scopes,
    check_token_backend,
    check_validator,
    check_views,
)
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
    assert [*check_validator(None), *check_scopes(None), *check_views(None), *check_client_secrets(None)] == []
    assert check_token_backend(None) == []
    assert [*check_application_pages(None), *check_client_registration(None), *check_default_scopes(None)] == []
    assert check_consent_template(None) == []


def test_check_token_backend__W106_where_a_token_opens_a_session(settings: Any) -> None:  # noqa: N802
    settings.AUTHENTICATION_BACKENDS = ["oauth2_provider.backends.OAuth2Backend"]

    [found] = check_token_backend(None)

    assert found.id == W106 == "tap_provider.W106"


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

    names = [name for name in VIEWS if name.startswith("oauth2_provider:")]
    assert ids(found) == [E102] * len(names) == ["tap_provider.E102"] * 11
    assert all(message.is_serious() for message in found)
    assert [message.msg.split()[0] for message in found] == names


def test_check_views__E102_for_the_toolkits_document_at_the_root_of_the_host() -> None:  # noqa: N802
    root = path("", include(toolkit_urls.metadata_urlpatterns))

    with addresses(path("o/", include("tap_provider.oidc.urls")), root):
        [found] = check_views(None)

    assert found.id == E102
    assert found.msg.startswith("oauth-server-metadata is")


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


@pytest.mark.parametrize(
    ("use_tz", "is_open", "expected"),
    [(False, True, ["tap_provider.W113"]), (False, False, []), (True, True, [])],
)
def test_check_naive_times__where_clients_register_themselves(
    use_tz: bool, is_open: bool, expected: list[str], settings: Any
) -> None:
    settings.USE_TZ = use_tz
    with toolkit_settings(DCR_ENABLED=is_open):
        assert [message.id for message in check_naive_times(None)] == expected


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


HASHER = "tap_provider.oidc.hashers.ClientSecretHasher"
DJANGOS = "django.contrib.auth.hashers.PBKDF2PasswordHasher"


@pytest.mark.parametrize("hashers", [[HASHER], [HASHER, DJANGOS]])
def test_check_client_secrets__E104_where_peoples_passwords_would_get_the_fast_hash(  # noqa: N802
    hashers: list[str], settings: Any
) -> None:
    settings.PASSWORD_HASHERS = hashers

    [found] = check_client_secrets(None)

    assert found.id == E104 == "tap_provider.E104"
    assert found.is_serious()


def test_check_client_secrets__E104_where_the_hasher_is_named_and_not_listed(settings: Any) -> None:  # noqa: N802
    """The toolkit would compare what is stored as clear text: the hash itself would be accepted as the secret."""
    settings.PASSWORD_HASHERS = [DJANGOS]

    [found] = check_client_secrets(None)

    assert found.id == E104
    assert HASHER in found.hint


def test_check_client_secrets__W105_where_the_toolkits_default_is_used() -> None:  # noqa: N802
    with toolkit_settings(CLIENT_SECRET_HASHER=None):
        [found] = check_client_secrets(None)

    assert found.id == W105 == "tap_provider.W105"
    assert not found.is_serious()
    assert HASHER in found.hint
    assert "tap_client_secret" in found.hint


def test_check_client_secrets__is_silent_on_a_hasher_of_the_sites_own(settings: Any) -> None:
    settings.PASSWORD_HASHERS = [DJANGOS]

    with toolkit_settings(CLIENT_SECRET_HASHER="pbkdf2_sha256"):
        assert check_client_secrets(None) == []


def test_checks__are_run_by_the_command_line() -> None:
    broken = toolkit_settings(OAUTH2_VALIDATOR_CLASS=None, CLIENT_SECRET_HASHER=None, SCOPES={"openid": ""})
    with (
        broken,
        addresses(path("account/", include("tap_provider.urls")), path("o/", include("oauth2_provider.urls"))),
        override_settings(
            INSTALLED_APPS=[app for app in django_settings.INSTALLED_APPS if app != "django.contrib.admin"]
        ),
        pytest.raises(SystemCheckError) as refusal,
    ):
        call_command("check", stderr=StringIO(), stdout=StringIO())

    for check_id in (E101, E102, W103, W105):
        assert check_id in str(refusal.value)


# The pages for applications


class PermittedPage(PermissionRequiredMixin, toolkit_views.ApplicationRegistration):
    """A site's own, over the toolkit's."""


def test_check_application_pages__E102_wherever_the_toolkits_are_mounted() -> None:  # noqa: N802
    single = path("apps/new/", toolkit_views.ApplicationRegistration.as_view())
    for patterns, count in (
        ([path("o/", include("oauth2_provider.urls"))], 5),
        ([path("o/", include("tap_provider.oidc.urls")), single], 1),
        ([path("x/", include((toolkit_urls.management_urlpatterns, "mine"), namespace="theirs"))], 5),
    ):
        with addresses(*patterns):
            found = check_application_pages(None)
        assert ids(found) == [E102] * count
        assert all(message.is_serious() for message in found)
    assert found[0].msg.startswith("/x/applications/ ")


def test_check_application_pages__is_silent_where_a_permission_is_asked_for() -> None:
    with addresses(path("o/", include("tap_provider.oidc.management_urls")), path("apps/", PermittedPage.as_view())):
        assert check_application_pages(None) == []
        assert check_views(None) == []


def test_check_client_registration__W110_where_anybody_may_register() -> None:  # noqa: N802
    allow_all = {"DCR_REGISTRATION_PERMISSION_CLASSES": ["oauth2_provider.dcr.AllowAllDCRPermission"]}
    with toolkit_settings(DCR_ENABLED=False, **allow_all):
        assert check_client_registration(None) == []
    with toolkit_settings(DCR_ENABLED=True):
        assert check_client_registration(None) == []
    with toolkit_settings(DCR_ENABLED=True, **allow_all):
        [found] = check_client_registration(None)

    assert found.id == W110 == "tap_provider.W110"
    assert not found.is_serious()


def test_check_client_registration__W110_where_any_host_may_register() -> None:  # noqa: N802
    permission = "CIMD_REGISTRATION_PERMISSION_CLASSES"
    with toolkit_settings(CIMD_ENABLED=True):  # the toolkit's default lets every host in
        [found] = check_client_registration(None)
    assert (found.id, found.is_serious()) == (W110, False)
    with toolkit_settings(CIMD_ENABLED=True, **{permission: ["oauth2_provider.cimd.HostAllowlistCIMDPermission"]}):
        assert check_client_registration(None) == []
    with toolkit_settings(CIMD_ENABLED=True, **{permission: []}):
        assert check_client_registration(None) == []


def test_check_issuer__W112_where_any_host_names_it(settings: Any) -> None:  # noqa: N802
    settings.ALLOWED_HOSTS = ["*"]
    assert check_issuer(None) == []  # the example names its issuer
    with toolkit_settings(OIDC_ISS_ENDPOINT=None):
        [found] = check_issuer(None)
        assert (found.id, found.is_serious()) == (W112, False)
        assert W112 in [message.id for message in run_checks()]
        settings.ALLOWED_HOSTS = ["login.example.com"]
        assert check_issuer(None) == []


def test_check_default_scopes__W111_where_one_is_never_granted() -> None:  # noqa: N802
    with toolkit_settings(DEFAULT_SCOPES=["openid", "offline_access"]):
        [found] = check_default_scopes(None)

    assert found.id == W111 == "tap_provider.W111"
    assert "offline_access" in found.msg
    with toolkit_settings(DEFAULT_SCOPES=["openid"]):
        assert check_default_scopes(None) == []


def test_check_consent_template__W109_where_a_sites_own_is_not_used(  # noqa: N802
    settings: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "oauth2_provider"
    folder.mkdir()
    (folder / "authorize.html").write_text("Allow?")
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [str(tmp_path)]}]

    [found] = check_consent_template(None)

    assert found.id == W109 == "tap_provider.W109"
    assert "tap_provider/oidc/authorize.html" in found.hint
