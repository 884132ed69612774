"""System checks of the OpenID part. Documented in `docs/reference/checks.md`."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning
from django.urls import NoReverseMatch, resolve, reverse
from oauth2_provider.settings import oauth2_settings

from .validator import REGISTRATION_SCOPES, TapOAuth2Validator
from .views import AuthorizationView, IntrospectTokenView

E101 = "tap_provider.E101"  # the toolkit's validator instead of ours
E102 = "tap_provider.E102"  # the toolkit's view instead of ours
W103 = "tap_provider.W103"  # the scope `method_registration` is not offered


def register_all() -> None:
    """Register every check below; called once by `AppConfig.ready`."""
    register(Tags.security)(check_validator)
    register(Tags.security)(check_scopes)
    register(Tags.urls)(check_views)


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


def check_views(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for name, expected in (("authorize", AuthorizationView), ("introspect", IntrospectTokenView)):
        try:
            view = resolve(reverse(f"oauth2_provider:{name}")).func
        except NoReverseMatch:
            continue  # not mounted: then nobody reaches it
        if not issubclass(getattr(view, "view_class", object), expected):
            hint = "Include tap_provider.oidc.urls in place of oauth2_provider.urls."
            found.append(Error(f"oauth2_provider:{name} is django-oauth-toolkit's own view.", hint=hint, id=E102))
    return found
