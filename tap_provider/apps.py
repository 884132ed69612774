from __future__ import annotations

from typing import TYPE_CHECKING

import django
from django.apps import AppConfig, apps
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from collections.abc import Callable

OPTIONAL_KINDS = {
    "django_otp_webauthn": "tap_provider.methods.passkey.PasskeyKind",
    "django_otp.plugins.otp_totp": "tap_provider.methods.totp.TotpKind",
}
"""Which method kind comes with which app, if the site has installed it."""


class TapProviderConfig(AppConfig):
    name = "tap_provider"
    verbose_name = _("Temporary Access Pass")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.conf import settings
        from django.contrib.auth.signals import user_logged_in, user_logged_out
        from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete, pre_save

        from . import (
            checks,
            database_checks,
            issue,
            mail,
            notices,
            people,
            registration_session,
            report_checks,
            retention,
            sign_in,
            throttle,
        )
        from .methods import full_session, password, recovery_codes, registry

        self.sweepers: dict[str, Callable[..., int]] = {  # for `manage.py tap sweep`
            "attempt counters": throttle.sweep,
            "session keys": sign_in.delete_left_sessions,
            "unfinished registrations": registry.sweep_registrations,
            "ended sign-ins": retention.sweep_sign_ins,
            "audit events": retention.sweep_audit_events,
        }
        checks.register_all()
        database_checks.register_all()
        report_checks.register_all()
        for app, path in OPTIONAL_KINDS.items():
            if apps.is_installed(app):
                registry.register_ours(import_string(path)())
        registry.register_ours(recovery_codes.RecoveryCodesKind())
        registry.register_ours(password.PasswordKind())
        user_logged_in.connect(full_session.record_login, dispatch_uid="tap_provider.record_login")
        user_logged_out.connect(full_session.record_logout, dispatch_uid="tap_provider.record_logout")
        sign_in.user_deactivated.connect(
            issue.end_pass_of_deactivated, dispatch_uid="tap_provider.end_pass_of_deactivated"
        )
        people.connect_to_users(pre_save, sign_in.compare_activity)
        people.connect_to_users(pre_save, sign_in.keep_with_rehash)
        people.connect_to_users(post_save, sign_in.end_with_activity)
        people.connect_to_users(post_save, sign_in.end_with_password)
        people.connect_to_users(post_save, registration_session.end_with_standing)
        pre_delete.connect(
            sign_in.end_before_deletion, sender="tap_provider.SignIn", dispatch_uid="tap_provider.end_before_deletion"
        )
        people.connect_to_users(pre_delete, sign_in.end_with_user)
        groups = people.groups_of_users()
        if groups is not None:
            m2m_changed.connect(
                registration_session.end_with_membership,
                sender=groups.remote_field.through,
                dispatch_uid="tap_provider.end_with_membership",
            )
            people.connect_to_family(pre_delete, registration_session.hold_members, of=groups.remote_field.model)
            people.connect_to_family(post_delete, registration_session.end_with_group, of=groups.remote_field.model)
        notices.connect()
        if django.VERSION >= (6, 0) and "default" in settings.TASKS:
            from . import tasks

            mail.couriers.append(tasks.hand_over)
