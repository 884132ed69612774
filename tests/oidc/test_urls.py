"""The toolkit's addresses with our views in front, under the toolkit's own names."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import NoReverseMatch, resolve, reverse
from oauth2_provider import urls as toolkit

from tap_provider.oidc import urls, well_known_urls
from tap_provider.oidc.views import (
    AuthorizationView,
    ConnectDiscoveryInfoView,
    DeviceAuthorizationView,
    DeviceConfirmView,
    DeviceGrantStatusView,
    DeviceUserCodeView,
    DynamicClientRegistrationManagementView,
    DynamicClientRegistrationView,
    IntrospectTokenView,
    OAuthServerMetadataView,
    RevokeTokenView,
    RPInitiatedLogoutView,
    TokenView,
    UserInfoView,
)
from tap_provider.oidc.views.management import AuthorizedTokenDelete, AuthorizedTokensList, PermittedMixin

from .conftest import ISSUER

ARGUMENTS = {
    "oauth-server-metadata-issuer": ["o"],
    "oauth-resource-metadata-path": ["o"],
    "device-confirm": ["client", "code"],
    "device-grant-status": ["client", "code"],
    "detail": [1],
    "delete": [1],
    "update": [1],
    "authorized-token-delete": [1],
    "dcr-register-management": ["client"],
}
MANAGEMENT = ["list", "register", "detail", "delete", "update"]
NAMES = [pattern.name for pattern in toolkit.urlpatterns if pattern.name not in MANAGEMENT]


def test_urls__keep_the_toolkits_namespace() -> None:
    """Its own code reverses by it."""
    assert urls.app_name == toolkit.app_name == "oauth2_provider"


@pytest.mark.parametrize("name", NAMES)
def test_urls__reach_everything_of_the_toolkits_by_name(name: str) -> None:
    path = reverse(f"oauth2_provider:{name}", args=ARGUMENTS.get(name))

    assert path.startswith("/o/")
    assert resolve(path).view_name == f"oauth2_provider:{name}"


@pytest.mark.parametrize("name", MANAGEMENT)
def test_urls__leave_out_the_pages_where_applications_are_registered(name: str, client: Client) -> None:
    with pytest.raises(NoReverseMatch):
        reverse(f"oauth2_provider:{name}", args=ARGUMENTS.get(name))
    assert client.get("/o/applications/register/").status_code == 404


@pytest.mark.urls("tests.oidc.managed_urls")
@pytest.mark.parametrize("name", [*MANAGEMENT, *NAMES])
def test_management_urls__have_everything(name: str) -> None:
    path = reverse(f"oauth2_provider:{name}", args=ARGUMENTS.get(name))

    assert resolve(path).view_name == f"oauth2_provider:{name}"
    if name in MANAGEMENT:
        assert issubclass(resolve(path).func.view_class, PermittedMixin)


OURS = {
    "authorize": AuthorizationView,
    "token": TokenView,
    "revoke-token": RevokeTokenView,
    "device-authorization": DeviceAuthorizationView,
    "device": DeviceUserCodeView,
    "authorized-token-delete": AuthorizedTokenDelete,
    "authorized-token-list": AuthorizedTokensList,
    "device-confirm": DeviceConfirmView,
    "device-grant-status": DeviceGrantStatusView,
    "user-info": UserInfoView,
    "introspect": IntrospectTokenView,
    "oauth-server-metadata": OAuthServerMetadataView,
    "oauth-server-metadata-issuer": OAuthServerMetadataView,
    "oidc-connect-discovery-info": ConnectDiscoveryInfoView,
    "rp-initiated-logout": RPInitiatedLogoutView,
    "dcr-register": DynamicClientRegistrationView,
    "dcr-register-management": DynamicClientRegistrationManagementView,
}


@pytest.mark.parametrize(("name", "view"), OURS.items())
def test_urls__our_views_stand_in_front(name: str, view: type) -> None:
    assert resolve(reverse(f"oauth2_provider:{name}", args=ARGUMENTS.get(name))).func.view_class is view


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(OURS)))
def test_urls__other_views_are_the_toolkits(name: str) -> None:
    view = resolve(reverse(f"oauth2_provider:{name}", args=ARGUMENTS.get(name))).func.view_class

    assert view.__module__.startswith("oauth2_provider.")


@pytest.mark.parametrize("name", OURS)
def test_urls__our_views_are_exempt_from_what_the_toolkits_are(name: str) -> None:
    """Django keeps such marks on the view function: CSRF at introspection, and the answer to anonymous visitors."""
    path = reverse(f"oauth2_provider:{name}", args=ARGUMENTS.get(name))
    ours, theirs = resolve(path).func, resolve(path.removeprefix("/o"), urlconf="oauth2_provider.urls").func

    assert getattr(ours, "login_required", None) == getattr(theirs, "login_required", None)
    # These take a relying party's request by post, and ask for the token where their own pages' answers come.
    if name not in {"authorize", "rp-initiated-logout"}:
        assert getattr(ours, "csrf_exempt", None) == getattr(theirs, "csrf_exempt", None)


def test_urls__only_the_authorization_endpoint_takes_part_in_registration() -> None:
    taking_part = [
        pattern.name for pattern in urls.urlpatterns if getattr(pattern.callback, "registration_session", False)
    ]

    assert taking_part == ["authorize"]


def test_well_known_urls__have_every_name_of_the_toolkits() -> None:
    assert {pattern.name for pattern in well_known_urls.urlpatterns} == {
        pattern.name for pattern in toolkit.metadata_urlpatterns
    }


@pytest.mark.parametrize(
    "path", ["/.well-known/oauth-authorization-server", "/.well-known/oauth-authorization-server/o"]
)
def test_well_known_urls__lead_to_our_view(path: str) -> None:
    assert resolve(path).func.view_class is OAuthServerMetadataView


@pytest.mark.parametrize(
    "path",
    [
        "/o/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-authorization-server/o",
        "/o/.well-known/oauth-authorization-server",
    ],
)
@pytest.mark.compliance("RFC 8414 §3", "OpenID Connect Discovery 1.0 §4")
def test_well_known_urls__tell_the_issuer_and_its_endpoints(client: Client, path: str) -> None:
    metadata = client.get(path).json()

    assert metadata["issuer"] == ISSUER
    assert metadata["authorization_endpoint"] == f"{ISSUER}/authorize/"
    assert metadata["token_endpoint"] == f"{ISSUER}/token/"
