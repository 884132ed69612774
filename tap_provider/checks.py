"""System checks: what a site must have in place for the guarantees to hold, each with an id of its own.

Documented in `docs/reference/checks.md`.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import FieldDoesNotExist
from django.core.mail.backends.smtp import EmailBackend as SmtpBackend
from django.db.models import UniqueConstraint
from django.urls import NoReverseMatch, reverse
from django.utils.module_loading import import_string

from .conf import DEFAULTS, PREFIX, settings
from .hooks import Hooks
from .mail import make_connection
from .methods import login_checks
from .methods.registry import find_kind
from .models import Level
from .passcode import hashes_alike
from .permissions import sources_not_compared_on_objects
from .sign_in import can_rotate, new_session

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MIDDLEWARE = "tap_provider.middleware.SignInMiddleware"
AUTHENTICATION_MIDDLEWARE = "django.contrib.auth.middleware.AuthenticationMiddleware"
LATER_MIDDLEWARE = ("django_otp.middleware.OTPMiddleware", "django.contrib.auth.middleware.LoginRequiredMiddleware")
BACKEND = "tap_provider.backends.TemporaryAccessPassBackend"
LIBRARY_PASSKEY_BACKEND = "django_otp_webauthn.backends.WebAuthnBackend"
PASSKEY_BACKEND = "tap_provider.methods.passkey.PasskeyBackend"
FORBIDDEN_NAMESPACES = ("oauth2_provider", "admin")

E001 = "tap_provider.E001"  # middleware missing
E002 = "tap_provider.E002"  # middleware in the wrong place
E003 = "tap_provider.E003"  # backend missing
E004 = "tap_provider.E004"  # backend not last
E006 = "tap_provider.E006"  # a forbidden name among the registration views
E007 = "tap_provider.E007"  # the library's passkey backend instead of ours, or none
E008 = "tap_provider.E008"  # the UPN field does not exist
E009 = "tap_provider.E009"  # hooks or hasher cannot be loaded
E010 = "tap_provider.E010"  # a setting of ours that does not exist, or has the wrong shape
W011 = "tap_provider.W011"  # a registrable kind whose app is not installed
W012 = "tap_provider.W012"  # the UPN field is not unique
W015 = "tap_provider.W015"  # the library's own passkey views are mounted
W016 = "tap_provider.W016"  # a mail server may be waited for without end
W017 = "tap_provider.W017"  # mails without links
W018 = "tap_provider.W018"  # sessions that cannot be deleted
W026 = "tap_provider.W026"  # permissions that cannot be listed
W027 = "tap_provider.W027"  # addresses follow the Host header


def register_all() -> None:
    """Register every check below; called once by `AppConfig.ready`."""
    for check in (
        check_middleware,
        check_backends,
        check_settings,
        check_registrable_methods,
        check_mail,
        check_sessions,
        check_hosts,
    ):
        register(Tags.security)(check)
    register(Tags.security)(check_permissions)
    register(Tags.security)(login_checks.check_password_backend)
    for check in (login_checks.check_login_url, login_checks.check_second_login, login_checks.check_kinds_taken):
        register(Tags.urls)(check)
    register(Tags.urls)(check_passkey_urls)


def check_middleware(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    order = list(django_settings.MIDDLEWARE)
    if MIDDLEWARE not in order:
        return [Error("The sign-in middleware is missing.", hint=f"Add {MIDDLEWARE!r} to MIDDLEWARE.", id=E001)]
    ours = order.index(MIDDLEWARE)
    found = [
        Error(f"{MIDDLEWARE} must stand after {name}.", id=E002)
        for name in (AUTHENTICATION_MIDDLEWARE,)
        if name not in order or order.index(name) > ours
    ]
    found += [
        Error(f"{MIDDLEWARE} must stand before {name}.", id=E002)
        for name in LATER_MIDDLEWARE
        if name in order and order.index(name) < ours
    ]
    return list(found)


def check_backends(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    backends = list(django_settings.AUTHENTICATION_BACKENDS)
    found: list[CheckMessage] = []
    if BACKEND not in backends:
        found.append(
            Error("The backend is missing.", hint=f"Add {BACKEND!r} to AUTHENTICATION_BACKENDS, last.", id=E003)
        )
    elif backends[-1] != BACKEND:
        hint = "Backends are tried in order, and `force_login()` takes the first: move it to the end."
        found.append(Error(f"{BACKEND} must be the last of AUTHENTICATION_BACKENDS.", hint=hint, id=E004))
    if LIBRARY_PASSKEY_BACKEND in backends:
        hint = f"Replace it by {PASSKEY_BACKEND!r}."
        found.append(Error("The library's passkey backend has no asynchronous methods.", hint=hint, id=E007))
    elif apps.is_installed("django_otp_webauthn") and PASSKEY_BACKEND not in backends:
        hint = f"Add {PASSKEY_BACKEND!r} to AUTHENTICATION_BACKENDS."
        found.append(Error("Passkeys are installed, but nothing signs in with them.", hint=hint, id=E007))
    return found


def check_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    misshapen = list(_misshapen_settings())
    views = [] if misshapen else list(_registration_views())
    return [*_unknown_settings(), *misshapen, *_loadable(), *_upn_field(), *views]


def check_registrable_methods(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if not hasattr(django_settings, f"{PREFIX}REGISTRABLE_METHODS"):
        return []  # the default names what most sites have, and offers what there is
    return [
        CheckWarning(
            f"{PREFIX}REGISTRABLE_METHODS names {slug!r}, but no installed app brings such a kind.",
            hint="Install its app, or leave it out.",
            id=W011,
        )
        for slug in settings.registrable_methods
        if find_kind(slug) is None
    ]


def check_passkey_urls(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    try:
        reverse("otp_webauthn:credential-registration-begin")
    except NoReverseMatch:
        return []
    hint = "Leave django_otp_webauthn.urls out: tap_provider.urls brings these pages with the rules of registration."
    return [CheckWarning("Passkeys can be registered by the library's own views.", hint=hint, id=W015)]


def check_mail(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if not settings.base_url:
        hint = f"Set {PREFIX}BASE_URL to where browsers reach the site."
        found.append(CheckWarning("Mails tell people to open Security info, but not where.", hint=hint, id=W017))
    try:
        connection = make_connection()
    except Exception:  # noqa: BLE001 whatever a backend raises; it is the site's to see when it sends
        return found
    if isinstance(connection, SmtpBackend) and connection.timeout is None:
        message = "Whoever acts waits for the mail server, and nothing says how long at most."
        hint = 'Set EMAIL_TIMEOUT, or "timeout" among the OPTIONS of MAILERS["default"], to a few seconds.'
        found.append(CheckWarning(message, hint=hint, id=W016))
    return found


def check_hosts(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.base_url or "*" not in django_settings.ALLOWED_HOSTS:
        return []
    hint = f"Set {PREFIX}BASE_URL to where browsers reach the site, or name the hosts in ALLOWED_HOSTS."
    message = "The sign-in address that administrators hand over follows the Host header of any request."
    return [CheckWarning(message, hint=hint, id=W027)]


def check_permissions(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Rights that cannot be compared are named, unless the site's hook says whom they raise."""
    try:
        hooks = import_string(settings.hooks)
    except (ImportError, TypeError):
        return []  # which has an id of its own
    if getattr(hooks, "standing_of", None) is not Hooks.standing_of:
        return []
    hint = f"Let `standing_of` of {PREFIX}HOOKS raise the users who have such rights; see docs/reference/checks.md."
    return [
        CheckWarning(
            f"{source.__module__}.{source.__qualname__} has methods of its own for permissions: what they grant on "
            "single objects is not compared when an administrator issues a pass.",
            hint=hint,
            id=W026,
        )
        for source in sources_not_compared_on_objects()
    ]


def check_sessions(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Tell where a session stays readable after its sign-in has ended."""
    if can_rotate(new_session()):
        return []
    message = "Sessions are kept in the cookie, and cannot be deleted when a sign-in ends."
    hint = "Code that reads a session past the middleware asks tap_provider.live_user.live_user, or use another engine."
    return [CheckWarning(message, hint=hint, id=W018)]


def _unknown_settings() -> Iterator[CheckMessage]:
    for name in dir(django_settings):
        if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in DEFAULTS:
            yield Error(f"{name} is no setting of ours.", hint="See docs/reference/settings.md.", id=E010)


def _misshapen_settings() -> Iterator[CheckMessage]:
    acr_values = getattr(django_settings, f"{PREFIX}ACR_VALUES", {})
    if not isinstance(acr_values, dict) or not set(acr_values) <= set(Level.values):
        yield Error(f"{PREFIX}ACR_VALUES maps {', '.join(Level.values)} to acr values.", id=E010)
    if not _is_retention(getattr(django_settings, f"{PREFIX}RETENTION_DAYS", {})):
        yield Error(f"{PREFIX}RETENTION_DAYS maps 'sign_ins' and 'audit_events' to days, 1 or more, or None.", id=E010)
    proxies = getattr(django_settings, f"{PREFIX}TRUSTED_PROXIES", 0)
    if isinstance(proxies, bool) or not isinstance(proxies, int) or proxies < 0:
        yield Error(f"{PREFIX}TRUSTED_PROXIES is a number of proxies, 0 or more.", id=E010)
    for name in ("REGISTRATION_VIEWS", "REGISTRABLE_METHODS", "PASS_AMR", "BACKCHANNEL_NETWORKS"):
        told = getattr(django_settings, PREFIX + name, ())
        if not isinstance(told, list | tuple | set | frozenset) or not all(isinstance(item, str) for item in told):
            yield Error(f"{PREFIX}{name} is a list of strings.", id=E010)
        elif name == "BACKCHANNEL_NETWORKS":
            yield from _no_networks(told)
    if getattr(django_settings, f"{PREFIX}REFRESH_TOKENS", "always") not in ("always", "offline_access"):
        yield Error(f"{PREFIX}REFRESH_TOKENS is 'offline_access' or 'always'.", id=E010)
    if not _is_base_url(getattr(django_settings, f"{PREFIX}BASE_URL", "")):
        yield Error(f"{PREFIX}BASE_URL is an address such as 'https://login.example.com'.", id=E010)


def _is_retention(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) <= set(DEFAULTS["RETENTION_DAYS"])
        and all(days is None or (type(days) is int and days > 0) for days in value.values())
    )


def _is_base_url(told: Any) -> bool:
    if told == "":
        return True
    try:
        parts = urlsplit(told)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except (TypeError, ValueError, AttributeError):
        return False
    return known and not (parts.query or parts.fragment or "@" in parts.netloc)


def _no_networks(told: Iterable[str]) -> Iterator[CheckMessage]:
    for text in told:
        try:
            ip_network(text)
        except ValueError as error:
            yield Error(f"{PREFIX}BACKCHANNEL_NETWORKS: {error}.", id=E010)


def _loadable() -> Iterator[CheckMessage]:
    try:
        if not issubclass(import_string(settings.hooks), Hooks):
            yield Error(f"{PREFIX}HOOKS must name a subclass of tap_provider.hooks.Hooks.", id=E009)
    except (ImportError, TypeError) as error:
        yield Error(f"{PREFIX}HOOKS cannot be loaded: {error}", id=E009)
    try:
        if not hashes_alike(settings.passcode_hasher):
            yield Error(f"{PREFIX}PASSCODE_HASHER does not tell the salt of a hash, as recovery codes need.", id=E009)
    except (ImportError, TypeError, AttributeError) as error:
        yield Error(f"{PREFIX}PASSCODE_HASHER cannot be loaded: {error}", id=E009)


def _upn_field() -> Iterator[CheckMessage]:
    user_model, name = get_user_model(), settings.upn_field
    try:
        field = user_model._meta.get_field(name)
    except FieldDoesNotExist:
        yield Error(f"{user_model._meta.label} has no field {name!r}.", hint=f"Set {PREFIX}UPN_FIELD.", id=E008)
        return
    alone = [{name}, {f"Lower(F({name}))"}]
    constraints = [item for item in user_model._meta.constraints if isinstance(item, UniqueConstraint)]
    constrained = any({*item.fields, *map(str, item.expressions)} in alone for item in constraints)
    if not getattr(field, "unique", False) and not constrained:
        hint = "People who share a UPN are refused. Add a unique constraint, better one without regard to case."
        yield CheckWarning(f"{user_model._meta.label}.{name} is not unique.", hint=hint, id=W012)


def _registration_views() -> Iterator[CheckMessage]:
    forbidden = {*FORBIDDEN_NAMESPACES}
    if apps.is_installed("django.contrib.admin"):
        forbidden |= {site.name for site in import_string("django.contrib.admin.sites.all_sites")}
    for name in sorted(settings.registration_views):
        if set(name.split(":")[:-1]) & forbidden:
            hint = "What a pass opens must not reach the admin or the authorization server's pages."
            yield Error(f"{PREFIX}REGISTRATION_VIEWS must not name {name!r}.", hint=hint, id=E006)
