"""Discovery: what this provider really does, in both documents (OpenID Connect Discovery 1.0 §3; RFC 8414 §2).

The toolkit tells different things in each of them and is silent on much of what a client goes by. Where OpenID Connect
is on, ours tell the same: OAuth's members, OpenID's over them, and what is true of this site over those.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from django.urls import NoReverseMatch, reverse
from oauth2_provider.settings import oauth2_settings
from oauth2_provider.views import ConnectDiscoveryInfoView as ToolkitConnectDiscoveryInfoView
from oauth2_provider.views import OAuthServerMetadataView as ToolkitOAuthServerMetadataView

from ...conf import settings
from ..device_codes import DEVICE_CODE_GRANT, verification_uri

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


class ConnectDiscoveryInfoView(ToolkitConnectDiscoveryInfoView):
    """`/.well-known/openid-configuration`."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().get(request, *args, **kwargs)
        by_oauth = ToolkitOAuthServerMetadataView().get(request)
        return _tell(request, response, {**json.loads(by_oauth.content), **_openid(json.loads(response.content))})


class OAuthServerMetadataView(ToolkitOAuthServerMetadataView):
    """`/.well-known/oauth-authorization-server`, which keeps its own `issuer`: it may be told by the address."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().get(request, *args, **kwargs)
        told = json.loads(response.content)
        if oauth2_settings.OIDC_ENABLED:
            by_openid = ToolkitConnectDiscoveryInfoView().get(request)
            told = {**told, **_openid(json.loads(by_openid.content)), "issuer": told["issuer"]}
        return _tell(request, response, told)


def _openid(told: dict[str, Any]) -> dict[str, Any]:
    """Return OpenID's own members, completed (OpenID Connect Discovery 1.0 §3; Back-Channel Logout 1.0 §2.1)."""
    # Nobody waits for a logout token, so there is no request whose host could name the issuer.
    tells_logouts = bool(oauth2_settings.OIDC_ISS_ENDPOINT)
    creates = "create" in told["prompt_values_supported"]
    return {
        **told,
        "backchannel_logout_session_supported": tells_logouts,
        "backchannel_logout_supported": tells_logouts,
        "claims_parameter_supported": True,
        "claims_supported": sorted(told["claims_supported"]),
        "prompt_values_supported": ["none", "login", "consent", "select_account", *(["create"] if creates else [])],
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "require_request_uri_registration": False,
    }


def _tell(request: HttpRequest, response: HttpResponse, told: dict[str, Any]) -> HttpResponse:
    """Put this into the toolkit's response, whose headers stay: any origin may read it."""
    device_endpoint = _device_endpoint(told) if verification_uri(request) else None
    grants = [grant for grant in told["grant_types_supported"] if grant != DEVICE_CODE_GRANT or device_endpoint]
    told |= {
        "acr_values_supported": list(dict.fromkeys(settings.acr_values.values())),  # RFC 9470 §7
        "authorization_response_iss_parameter_supported": oauth2_settings.COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS,
        "grant_types_supported": grants,
        "response_modes_supported": ["query", "fragment", "form_post"],
        "scopes_supported": sorted(told["scopes_supported"]),
        # Public clients are served, whatever the toolkit's setting names beside them (RFC 8414 §2).
        "token_endpoint_auth_methods_supported": list(
            dict.fromkeys([*told.get("token_endpoint_auth_methods_supported", []), "none"])
        ),
    }
    if DEVICE_CODE_GRANT in grants:
        told["device_authorization_endpoint"] = device_endpoint
    response.content = json.dumps(told).encode()
    return response


def _device_endpoint(told: dict[str, Any]) -> str | None:
    """Return where a device asks for its code, if that is mounted (RFC 8628 §4)."""
    try:
        return urljoin(told["token_endpoint"], reverse("oauth2_provider:device-authorization"))
    except (KeyError, NoReverseMatch):
        return None
