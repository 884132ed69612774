"""System checks of what a site sends to its administrators when something fails. See `docs/reference/checks.md`."""

from __future__ import annotations

import logging
import sys
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning
from django.utils.log import AdminEmailHandler as DjangoAdminEmailHandler
from django.utils.module_loading import import_string

from .debug import AdminEmailHandler, ExceptionReporter, ExceptionReporterFilter

REPORTERS: dict[str, type[Any]] = {
    "DEFAULT_EXCEPTION_REPORTER": ExceptionReporter,
    "DEFAULT_EXCEPTION_REPORTER_FILTER": ExceptionReporterFilter,
}
W020 = "tap_provider.W020"  # error reports that do not know our secrets
E020 = "tap_provider.E020"  # an exception reporter or its filter that cannot be loaded
W021 = "tap_provider.W021"  # Sentry without a scrubber


def register_all() -> None:
    """Register every check below; called once by `AppConfig.ready`."""
    register(Tags.security)(check_error_reports)
    register(Tags.security)(check_sentry)


def check_error_reports(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for name, expected in REPORTERS.items():
        path = f"{expected.__module__}.{expected.__qualname__}"
        hint = f"{name} = {path!r}, or a subclass of it."
        try:
            named = import_string(getattr(django_settings, name))
        except (ImportError, TypeError, AttributeError) as error:
            found.append(Error(f"{name} cannot be loaded: {error}", hint=hint, id=E020))
            continue
        if not (isinstance(named, type) and issubclass(named, expected)):
            found.append(CheckWarning("Error reports and error mails show secrets.", hint=hint, id=W020))
    return [*found, *_handlers_of_error_mails()]


def _handlers_of_error_mails() -> list[CheckMessage]:
    if not django_settings.ADMINS:
        return []  # no mail is sent
    names = [name for name, logger in logging.root.manager.loggerDict.items() if isinstance(logger, logging.Logger)]
    mailing = [
        name or "root"
        for name in ("", *sorted(names))
        for handler in logging.getLogger(name).handlers
        if isinstance(handler, DjangoAdminEmailHandler) and not isinstance(handler, AdminEmailHandler)
    ]
    hint = f"Name {AdminEmailHandler.__module__}.{AdminEmailHandler.__qualname__} in LOGGING."
    return [
        CheckWarning(f"Error mails of the logger {name!r} show secrets in their subject.", hint=hint, id=W020)
        for name in mailing
    ]


def check_sentry(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    sdk = sys.modules.get("sentry_sdk")  # nothing of ours imports it
    client = sdk.get_client() if sdk is not None else None
    if client is None or not client.is_active():
        return []
    names = [
        "before_send",
        "before_send_transaction",
        *(["before_send_log"] if client.options.get("enable_logs") else []),
    ]
    missing = [name for name in names if client.options.get(name) is None]
    ours = ", ".join(f"{name}={'before_send_log' if name == 'before_send_log' else 'before_send'}" for name in missing)
    hint = f"sentry_sdk.init(..., {ours}), of tap_provider.sentry."
    message = f"Sentry is sent secrets in clear: {', '.join(missing)} not set."
    return [CheckWarning(message, hint=hint, id=W021)] if missing else []
