from __future__ import annotations

from typing import TYPE_CHECKING

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from collections.abc import Callable


class OidcConfig(AppConfig):
    name = "tap_provider.oidc"
    label = "tap_provider_oidc"
    verbose_name = _("Temporary Access Pass over OpenID Connect")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from oauth2_provider.models import get_application_model

        from . import checks, contexts, hashers

        checks.register_all()
        # A form says which secret is too weak; without this the toolkit's would fail as it saves.
        get_application_model()._meta.get_field("client_secret").validators.append(hashers.validate_client_secret)
        self.sweepers: dict[str, Callable[..., int]] = {"code and token contexts": contexts.sweep}
