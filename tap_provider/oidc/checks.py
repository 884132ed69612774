"""System checks of the OpenID part. Documented in `docs/reference/checks.md`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.contrib.auth.mixins import PermissionRequiredMixin, UserPassesTestMixin
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning
from django.template import TemplateDoesNotExist
from django.template.loader import get_template
from django.urls import NoReverseMatch, URLResolver, get_resolver, get_script_prefix, resolve, reverse
from oauth2_provider import views as toolkit_views
from oauth2_provider.cimd import AllowAllCIMDPermission
from oauth2_provider.dcr import AllowAllDCRPermission
from oauth2_provider.settings import oauth2_settings

from . import views
from .hashers import ClientSecretHasher
from .scopes import NEVER_BY_DEFAULT, REGISTRATION_SCOPES
from .validator import TapOAuth2Validator

if TYPE_CHECKING:
    from collections.abc import Iterator

E101 = "tap_provider.E101"  # the toolkit's validator instead of ours
E102 = "tap_provider.E102"  # the toolkit's view instead of ours
W103 = "tap_provider.W103"  # the scope `method_registration` is not offered
E104 = "tap_provider.E104"  # the hasher of client secrets is missing among the password hashers, or is their first
W105 = "tap_provider.W105"  # client secrets are hashed like passwords
W106 = "tap_provider.W106"  # the toolkit's backend signs in whoever shows an access token
W109 = "tap_provider.W109"  # a consent template of the site's own that is not used
W110 = "tap_provider.W110"  # any caller, or any host, may register a client
W112 = "tap_provider.W112"  # the issuer follows the Host header of any request
W111 = "tap_provider.W111"  # a default scope that is never granted by default
W113 = "tap_provider.W113"  # client registration where times are naive

TOKEN_BACKEND = "oauth2_provider.backends.OAuth2Backend"  # noqa: S105 a path, no token


VIEWS = {
    "oauth2_provider:authorize": views.AuthorizationView,
    "oauth2_provider:token": views.TokenView,
    "oauth2_provider:revoke-token": views.RevokeTokenView,
    "oauth2_provider:device-authorization": views.DeviceAuthorizationView,
    "oauth2_provider:device": views.DeviceUserCodeView,
    "oauth2_provider:device-confirm": views.DeviceConfirmView,
    "oauth2_provider:user-info": views.UserInfoView,
    "oauth2_provider:introspect": views.IntrospectTokenView,
    "oauth2_provider:rp-initiated-logout": views.RPInitiatedLogoutView,
    "oauth2_provider:oidc-connect-discovery-info": views.ConnectDiscoveryInfoView,
    "oauth2_provider:oauth-server-metadata": views.OAuthServerMetadataView,
    "oauth-server-metadata": views.OAuthServerMetadataView,  # at the root of the host, in no namespace
}

APPLICATION_PAGES = (
    toolkit_views.ApplicationList,
    toolkit_views.ApplicationDetail,
    toolkit_views.ApplicationRegistration,
    toolkit_views.ApplicationUpdate,
    toolkit_views.ApplicationDelete,
)


def register_all() -> None:
    """Register every check below; called once by `AppConfig.ready`."""
    register(Tags.security)(check_validator)
    register(Tags.security)(check_scopes)
    register(Tags.security)(check_client_secrets)
    register(Tags.security)(check_token_backend)
    register(Tags.security)(check_client_registration)
    register(Tags.security)(check_default_scopes)
    register(Tags.security)(check_issuer)
    register(Tags.security)(check_naive_times)
    register(Tags.templates)(check_consent_template)
    register(Tags.urls)(check_views)
    register(Tags.urls)(check_application_pages)


def check_validator(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    validator = oauth2_settings.OAUTH2_VALIDATOR_CLASS
    if isinstance(validator, type) and issubclass(validator, TapOAuth2Validator):
        return []
    path = f"{TapOAuth2Validator.__module__}.{TapOAuth2Validator.__qualname__}"
    hint = f'OAUTH2_PROVIDER["OAUTH2_VALIDATOR_CLASS"] = "{path}", or a subclass of it.'
    return [Error("django-oauth-toolkit's validator knows nothing of sign-ins.", hint=hint, id=E101)]


def check_scopes(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    missing = sorted(REGISTRATION_SCOPES - {"profile", "email"} - set(oauth2_settings.SCOPES))
    if not missing:
        return []
    hint = 'Add them to OAUTH2_PROVIDER["SCOPES"].'
    return [
        CheckWarning(
            f"Clients that host registration ask for scopes that are not offered: {missing}.", hint=hint, id=W103
        )
    ]


def check_client_secrets(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    path = f"{ClientSecretHasher.__module__}.{ClientSecretHasher.__qualname__}"
    hashers = list(django_settings.PASSWORD_HASHERS)
    if hashers[:1] == [path]:
        hint = "Put it last: the first of PASSWORD_HASHERS hashes people's passwords, which can be guessed."
        return [Error(f"{path} is no hasher for passwords.", hint=hint, id=E104)]
    named = oauth2_settings.CLIENT_SECRET_HASHER
    if named == ClientSecretHasher.algorithm and path not in hashers:
        hint = f"Add {path!r} to PASSWORD_HASHERS, last."
        return [Error("The hasher of client secrets is not among the password hashers.", hint=hint, id=E104)]
    if named == "default":
        hint = (
            f'Add {path!r} to PASSWORD_HASHERS, last, and OAUTH2_PROVIDER["CLIENT_SECRET_HASHER"] = '
            f'"{ClientSecretHasher.algorithm}".'
        )
        return [CheckWarning("Client secrets are hashed as slowly as passwords.", hint=hint, id=W105)]
    return []


def check_token_backend(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if TOKEN_BACKEND not in django_settings.AUTHENTICATION_BACKENDS:
        return []
    hint = "Take it out of AUTHENTICATION_BACKENDS, and guard views by access token one by one."
    return [CheckWarning("Whoever shows an access token can open a session of its user.", hint=hint, id=W106)]


def check_views(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for name, expected in VIEWS.items():
        try:
            path = reverse(name, args=["client", "code"] if name.endswith("device-confirm") else None)
        except NoReverseMatch:
            continue  # not mounted: then nobody reaches it
        # Below a prefix (`FORCE_SCRIPT_NAME`), which `reverse` adds and `resolve` does not know.
        view = resolve("/" + path.removeprefix(get_script_prefix()).removeprefix("/")).func
        if not issubclass(getattr(view, "view_class", object), expected):
            hint = "Include tap_provider.oidc.urls (and well_known_urls) in place of oauth2_provider's."
            found.append(Error(f"{name} is django-oauth-toolkit's own view.", hint=hint, id=E102))
    return found


def check_application_pages(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Report the toolkit's pages for applications wherever they are mounted without asking for a permission."""
    if not getattr(django_settings, "ROOT_URLCONF", None):
        return []
    hint = "Mount tap_provider.oidc.management_urls, whose pages need the permissions of the application model."
    return [
        Error(f"{route} lets any user register or change applications.", hint=hint, id=E102)
        for route, view in _mounted(get_resolver())
        if isinstance(view, type)
        and issubclass(view, APPLICATION_PAGES)
        and not issubclass(view, (PermissionRequiredMixin, UserPassesTestMixin))
    ]


def check_client_registration(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Report dynamic registration (RFC 7591), and client ID metadata documents, that are open to the world."""
    found: list[CheckMessage] = []
    if oauth2_settings.DCR_ENABLED and _allows_all("DCR_REGISTRATION_PERMISSION_CLASSES", AllowAllDCRPermission):
        hint = 'Name a permission class of your own in OAUTH2_PROVIDER["DCR_REGISTRATION_PERMISSION_CLASSES"].'
        found.append(CheckWarning("Any caller can register a client under any name.", hint=hint, id=W110))
    if oauth2_settings.CIMD_ENABLED and _allows_all("CIMD_REGISTRATION_PERMISSION_CLASSES", AllowAllCIMDPermission):
        hint = (
            'Name oauth2_provider.cimd.HostAllowlistCIMDPermission in OAUTH2_PROVIDER["CIMD_REGISTRATION_PERMISSION_'
            'CLASSES"], and the hosts in "CIMD_ALLOWED_HOSTS".'
        )
        found.append(CheckWarning("Any host can register a client under any name.", hint=hint, id=W110))
    return found


def _allows_all(setting: str, allowing: type[Any]) -> bool:
    # With no class named, the toolkit refuses every registration.
    classes = list(getattr(oauth2_settings, setting) or ())
    return bool(classes) and all(issubclass(permission, allowing) for permission in classes)


def check_default_scopes(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    never = sorted(NEVER_BY_DEFAULT & set(oauth2_settings.DEFAULT_SCOPES))
    if not never:
        return []
    hint = 'Take them out of OAUTH2_PROVIDER["DEFAULT_SCOPES"]; clients name them.'
    return [CheckWarning(f"Scopes that are never granted by default: {never}.", hint=hint, id=W111)]


def check_issuer(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if oauth2_settings.OIDC_ISS_ENDPOINT or "*" not in django_settings.ALLOWED_HOSTS:
        return []
    hint = 'Set OAUTH2_PROVIDER["OIDC_ISS_ENDPOINT"] to its address, or name the hosts in ALLOWED_HOSTS.'
    message = "The issuer, and every address in the metadata, follow the Host header of any request."
    return [CheckWarning(message, hint=hint, id=W112)]


def check_naive_times(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Name what the toolkit cannot do where `USE_TZ` is off. The device grant is off there, and not advertised."""
    if django_settings.USE_TZ or not oauth2_settings.DCR_ENABLED:
        return []
    message = "Clients cannot register themselves while USE_TZ is off: the toolkit stores times with their zone."
    return [CheckWarning(message, hint='Switch USE_TZ on, or OAUTH2_PROVIDER["DCR_ENABLED"] off.', id=W113)]


def check_consent_template(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    try:
        found = get_template("oauth2_provider/authorize.html")
    except TemplateDoesNotExist:
        return []
    origin = str(getattr(getattr(found, "origin", None), "name", ""))
    if Path(origin).is_relative_to(Path(toolkit_views.__file__).parents[1]):
        return []
    hint = f"Name it {views.AuthorizationView.template_name}, and show client_host beside client_name."
    return [CheckWarning("The template oauth2_provider/authorize.html is not used.", hint=hint, id=W109)]


def _mounted(resolver: URLResolver, before: str = "/") -> Iterator[tuple[str, Any]]:
    for pattern in resolver.url_patterns:
        route = f"{before}{pattern.pattern}"
        if isinstance(pattern, URLResolver):
            yield from _mounted(pattern, route)
        else:
            yield route, getattr(pattern.callback, "view_class", None)
