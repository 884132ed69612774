"""A site that reports to Sentry, set up as docs/reference/error-reports.md says."""

import warnings

import sentry_sdk
from sentry_sdk.integrations.django import DjangoIntegration

from tap_provider.sentry import before_send, before_send_log

from .. import provider
from ..base import *  # noqa: F403
from .transport import Kept

ROOT_URLCONF = "tests.sites.sentry.urls"
INSTALLED_APPS = [*INSTALLED_APPS, "oauth2_provider", "tap_provider.oidc"]  # noqa: F405
PASSWORD_HASHERS = [*PASSWORD_HASHERS, "tap_provider.oidc.hashers.ClientSecretHasher"]  # noqa: F405
TAP_PROVIDER_REGISTRABLE_METHODS = ["totp", "recovery_codes", "password"]
OAUTH2_PROVIDER = provider.OAUTH2_PROVIDER
DEFAULT_EXCEPTION_REPORTER = "tap_provider.debug.ExceptionReporter"
DEFAULT_EXCEPTION_REPORTER_FILTER = "tap_provider.debug.ExceptionReporterFilter"


def start_sentry(*, with_scrubber: bool = True, send_default_pii: bool = True) -> None:
    """Start the SDK with everything on that reports more."""
    names = {
        "before_send": before_send,
        "before_send_transaction": before_send,
        "before_send_log": before_send_log,
    }
    ours = names if with_scrubber else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # `send_default_pii`, which sites have
        sentry_sdk.init(
            dsn="https://key@sentry.test/1",
            transport=Kept(),
            integrations=[DjangoIntegration(cache_spans=True)],
            send_default_pii=send_default_pii,
            traces_sample_rate=1.0,
            enable_logs=True,
            include_local_variables=True,
            max_request_body_size="always",
            max_value_length=100_000,
            **ours,
        )


start_sentry()
