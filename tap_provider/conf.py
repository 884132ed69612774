"""Settings: flat, typed, read live (so that `override_settings` works), with their defaults.

Numbers of the policy are not here: they are rows that an administrator changes (`models.TemporaryAccessPassPolicy`).
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.contrib.auth.hashers import BasePasswordHasher

PREFIX = "TAP_PROVIDER_"

DEFAULTS: dict[str, Any] = {
    "UPN_FIELD": None,
    "TRUSTED_PROXIES": 0,
    "HOOKS": "tap_provider.hooks.Hooks",
    "PASSCODE_HASHER": "tap_provider.passcode.PasscodeHasher",
    "REGISTRATION_VIEWS": (),
    "REGISTRABLE_METHODS": ("passkey", "totp", "recovery_codes"),
    "ACR_VALUES": {
        "single_factor": "urn:oasis:names:tc:SAML:2.0:ac:classes:Password",
        "multi_factor": "http://schemas.openid.net/pape/policies/2007/06/multi-factor",
        "phishing_resistant": "phr",
    },
    "PASS_AMR": ("mfa", "tap"),
    "BACKCHANNEL_NETWORKS": (),
    "REFRESH_TOKENS": "offline_access",
    "BASE_URL": "",
    "RETENTION_DAYS": {"sign_ins": None, "audit_events": None},
}


class Settings:
    """The settings of this project, one property each."""

    @staticmethod
    def _read(name: str) -> Any:
        return getattr(django_settings, PREFIX + name, DEFAULTS[name])

    @property
    def upn_field(self) -> str:
        """`TAP_PROVIDER_UPN_FIELD`: the user model's field that holds the UPN; default its `USERNAME_FIELD`."""
        return str(self._read("UPN_FIELD") or get_user_model().USERNAME_FIELD)

    @property
    def trusted_proxies(self) -> int:
        """`TAP_PROVIDER_TRUSTED_PROXIES`: how many proxies of the site's own append to `X-Forwarded-For`; default 0.

        With 0 the client address is `REMOTE_ADDR` and forwarded headers are ignored.
        """
        return int(self._read("TRUSTED_PROXIES"))

    @property
    def hooks(self) -> str:
        """`TAP_PROVIDER_HOOKS`: dotted path of the site's subclass of `tap_provider.hooks.Hooks`."""
        return str(self._read("HOOKS"))

    @property
    def passcode_hasher(self) -> BasePasswordHasher:
        """`TAP_PROVIDER_PASSCODE_HASHER`: dotted path of a Django password hasher.

        Passes hashed by another algorithm than this one's end.
        """
        hasher: BasePasswordHasher = import_string(self._read("PASSCODE_HASHER"))()
        return hasher

    @property
    def registration_views(self) -> frozenset[str]:
        """`TAP_PROVIDER_REGISTRATION_VIEWS`: names of third-party views that a registration-only session reaches.

        A view of the site's own opts in with `tap_provider.decorators.registration_session_allowed` instead.
        """
        return frozenset(self._read("REGISTRATION_VIEWS"))

    @property
    def registrable_methods(self) -> Sequence[str]:
        """`TAP_PROVIDER_REGISTRABLE_METHODS`: the method kinds that Security info offers, in order.

        Default `("passkey", "totp", "recovery_codes")`; add `"password"` to let people set one.
        """
        return tuple(self._read("REGISTRABLE_METHODS"))

    @property
    def acr_values(self) -> Mapping[str, str]:
        """`TAP_PROVIDER_ACR_VALUES`: the `acr` told for each level (keys as in the default)."""
        return {**DEFAULTS["ACR_VALUES"], **self._read("ACR_VALUES")}

    @property
    def pass_amr(self) -> Sequence[str]:
        """`TAP_PROVIDER_PASS_AMR`: the `amr` of a sign-in by pass; default `("mfa", "tap")`.

        RFC 8176 has no value for a pass: `mfa` says that it satisfies strong authentication for registration, the
        private `tap` says what it really was.
        """
        return tuple(self._read("PASS_AMR"))

    @property
    def backchannel_networks(self) -> Sequence[IPv4Network | IPv6Network]:
        """`TAP_PROVIDER_BACKCHANNEL_NETWORKS`: where logout tokens may go besides public addresses; default nowhere.

        Networks such as `"10.0.0.0/8"`. Plain http is spoken to loopback addresses only, if they are listed.
        """
        return tuple(ip_network(network) for network in self._read("BACKCHANNEL_NETWORKS"))

    @property
    def refresh_tokens(self) -> str:
        """`TAP_PROVIDER_REFRESH_TOKENS`: for which OpenID requests a code brings a refresh token.

        `"offline_access"`, the default: for those that were granted that scope; `"always"`: for all.
        """
        return str(self._read("REFRESH_TOKENS"))

    @property
    def base_url(self) -> str:
        """`TAP_PROVIDER_BASE_URL`: where browsers reach the site, for links in mails; without it they have none.

        Scheme and host, and the path below which the site is mounted, if any. Never taken from a request, whose
        `Host` is the client's invention.
        """
        return str(self._read("BASE_URL")).rstrip("/")

    @property
    def retention_days(self) -> Mapping[str, int | None]:
        """`TAP_PROVIDER_RETENTION_DAYS`: after how many days `manage.py tap sweep` deletes ended sign-ins and events.

        Keys `sign_ins` and `audit_events`; None, the default, keeps them for good.
        """
        return {**DEFAULTS["RETENTION_DAYS"], **self._read("RETENTION_DAYS")}


settings = Settings()
