from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import django
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
        from django.conf import settings
        from django.db.models.signals import post_delete, pre_delete
        from oauth2_provider.models import get_application_model

        from ..models import SignIn
        from ..people import connect_to_users
        from ..sign_in import sign_in_ending, unrecorded_ending
        from ..sign_out import signing_out_everywhere, who_knows_of_use
        from ..signals import sign_in_ended
        from . import backchannel_logout, checks, contexts, hashers, password_tokens, resource_server, revocation

        checks.register_all()
        resource_server.guard_toolkit_decorators()
        application = get_application_model()
        # A form says which secret is too weak; without this the toolkit's would fail as it saves.
        application._meta.get_field("client_secret").validators.append(hashers.validate_client_secret)
        self.sweepers: dict[str, Callable[..., int]] = {
            "code and token contexts": contexts.sweep,
            "passwords behind tokens": password_tokens.sweep,
            "logout deliveries": backchannel_logout.sweep,
        }
        self.deliverers: list[Callable[..., dict[str, int]]] = [backchannel_logout.deliver_due]
        sign_in_ending.connect(backchannel_logout.queue_deliveries, dispatch_uid="tap_provider_oidc.queue_deliveries")
        pre_delete.connect(contexts.forget_sign_in, sender=SignIn, dispatch_uid="tap_provider_oidc.forget_sign_in")
        connect_to_users(pre_delete, contexts.forget_user)
        who_knows_of_use.append(contexts.with_tokens_in_use)
        signing_out_everywhere.connect(revocation.revoke_everywhere, dispatch_uid="tap_provider_oidc.revoke_everywhere")
        unrecorded_ending.connect(revocation.revoke_unrecorded, dispatch_uid="tap_provider_oidc.revoke_unrecorded")
        post_delete.connect(
            backchannel_logout.forget_client,
            sender=application,
            dispatch_uid="tap_provider_oidc.forget_client",
        )
        _keep_secrets_out_of_logs()
        if django.VERSION >= (6, 0) and "default" in settings.TASKS:
            from . import tasks

            sign_in_ended.connect(tasks.hand_over, dispatch_uid="tap_provider_oidc.hand_over")


def _keep_secrets_out_of_logs() -> None:
    """Mask what oauthlib and the toolkit log at DEBUG level: codes when they are made, tokens when they are used."""
    from ..debug import ScrubbingFilter

    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in {"oauthlib", "oauth2_provider"}:
            logging.getLogger(name).addFilter(ScrubbingFilter())
