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
        from . import checks, contexts

        checks.register_all()
        self.sweepers: dict[str, Callable[..., int]] = {"code and token contexts": contexts.sweep}
