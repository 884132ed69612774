"""What in a report is a secret by its name, and how it is masked: the one list behind Django's reports and Sentry's.

The second line. What passes through our own code is a `Secret` and does not show itself; here are the fields of
requests, and what libraries hold in clear: codes and tokens of OAuth, statements' parameters, what hashers hash.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .secret import MASK, Secret

SECRET_FIELDS = frozenset(
    {
        # Our forms, django.contrib.auth's, and variables of those names.
        *("passcode", "passcode_hash", "tap_secret", "password", "passwd", "raw_password", "old_password", "password1"),
        *("password2", "new_password1", "new_password2", "usable_password", "code", "codes", "recovery_code"),
        *("code_hash", "otp", "otp_token", "app_url", "qr_code", "key", "keys", "bin_key", "secret", "credentials"),
        # OAuth 2.0, OpenID Connect, RFC 7591, RFC 7636, RFC 8628.
        *("access_token", "refresh_token", "id_token", "id_token_hint", "logout_token", "token", "tokens", "grant"),
        *("authorization_code", "client_secret", "client_assertion", "assertion", "code_verifier", "code_challenge"),
        *("device_code", "user_code", "registration_access_token", "initial_access_token", "software_statement"),
        *(
            "handle",
            "handle_id",
            "tap_query",
            "tap_return",
            "authorization",
            "http_authorization",
            "proxy_authorization",
            "jwt",
            "bearer",
        ),
        # Sessions and cookies.
        *(
            "sessionid",
            "session_key",
            "session_keys",
            "session_data",
            "cookie",
            "cookies",
            "http_cookie",
            "set_cookie",
            "csrftoken",
        ),
        *("csrfmiddlewaretoken", "csrf_cookie", "csrf_token", "x_csrftoken", "http_x_csrftoken", "cache_key"),
        # What reporters add: parameters of statements.
        *("db_params", "db_paramstyle", "params", "param_list", "func_args", "func_kwargs"),
    }
)
"""Names of fields, headers and variables whose value is masked, in lower case with `_` for every `-` and `.`."""

SECRET_MODULES = (
    *("django.contrib.auth", "django.contrib.sessions", "django.core.cache", "django.core.management"),
    *("django.core.signing", "django.core.validators", "django.db", "django.forms", "django.http.multipartparser"),
    *("django.http.request", "django.http.response", "django.shortcuts", "django.template", "django.utils.crypto"),
    *("django.utils.encoding", "argon2", "base64", "django_otp", "django_otp_webauthn", "jwcrypto"),
    *("oauth2_provider", "oauthlib", "segno", "textwrap", "webauthn", "MySQLdb", "psycopg", "redis"),
    "tap_provider.oidc",
)
"""Packages in whose functions every variable is masked: nearly all of them hold what was typed, stored or issued."""

_ENDINGS = ("_password", "_passcode", "_secret", "_token", "_private_key", "_signing_key", "_session_key")
_NAME = r"[A-Za-z_][\w.-]*"
_QUOTED = r"""(?P<quote>\\?["'])(?P<value>(?:\\.|(?!(?P=quote)).)*)(?P=quote)"""
_RULES = [
    # name=value in a query, a form or a cookie; name='value' in a repr.
    re.compile(rf"(?P<before>(?P<name>{_NAME})=)(?P<value>[^\s&\"'<>;,)\]}}]+)"),
    re.compile(rf"(?P<before>(?P<name>{_NAME})\\?[\"']?\s*=\s*b?){_QUOTED}", re.DOTALL),
    # The same within a query that was encoded to stand in another one, once or twice.
    re.compile(
        rf"(?:(?<=%26)|(?<=%3F)|(?<=%2526)|(?<=%253F)|(?<![\w%.-]))(?P<before>(?P<name>{_NAME})%(?:25)*3D)"
        r"(?P<value>(?:(?!%(?:25)*26)[^\s&\"'<>])+)",
        re.IGNORECASE,
    ),
    # "name": "value", 'name': ['value'] and ('name', 'value'): JSON, and reprs of dictionaries and of pairs.
    re.compile(rf"(?P<before>\\?[\"'](?P<name>{_NAME})\\?[\"']\s*[:,]\s*\[?\s*b?){_QUOTED}", re.DOTALL),
    # Lists and tuples of several.
    re.compile(rf"(?P<before>\\?[\"'](?P<name>{_NAME})\\?[\"']\s*[:,]\s*[\[(])(?P<value>[^\])]+)"),
    # Without a name of their own.
    re.compile(r"(?P<before>\b(?:Bearer|Basic)\s+)(?P<value>[\w.~+/=-]+)", re.IGNORECASE),
    re.compile(r"(?P<before>otpauth:)(?P<value>[^\s\"'<>]+)"),
    re.compile(r"(?P<before>)(?P<value>(?:(?<![\w-])|(?<=%3D)|(?<=%3d))eyJ[\w-]+\.[\w-]+\.[\w-]*)"),  # a JWT
    re.compile(r"(?P<before>/device-confirm/[^/\s]+/)(?P<value>[^/?\s\"']+)"),
    re.compile(r"(?P<before>django\.contrib\.sessions\.cache(?:d_db)?)(?P<value>\w+)"),
    # The toolkit's models are shown as what they hold; databases quote what is a duplicate.
    re.compile(r"(?P<before><\w*(?:Grant|AccessToken|RefreshToken|IDToken): )(?P<value>[^>]+)"),
    re.compile(r"(?P<before>Key \([^)]*\)=\()(?P<value>[^)]*)"),
    re.compile(r"(?P<before>Failing row contains \()(?P<value>[^\n]*)"),
    re.compile(r"(?P<before>Duplicate entry ')(?P<value>(?:(?!' for key).)*)"),
]
DEEPEST = 12


def is_secret_name(name: Any) -> bool:
    """Tell whether what has this name is masked. The last part of a dotted name counts: `context.passcode`."""
    text = name.decode("latin-1") if isinstance(name, bytes) else str(name)
    plain = re.sub(r"[-.\s]", "_", text.lower())
    last = text.lower().rpartition(".")[2].replace("-", "_")
    return any(one in SECRET_FIELDS or one.endswith(_ENDINGS) for one in (plain, last))


def is_secret_module(module: str | None) -> bool:
    """Tell whether functions of this module show no variable at all."""
    return module is not None and any(module == known or module.startswith(f"{known}.") for known in SECRET_MODULES)


def scrub_text(text: str) -> str:
    """Return the text with what looks like a secret masked: queries, cookies, JSON, reprs, tokens."""
    for rule in _RULES:
        text = rule.sub(_masked, text)
    return text


def _masked(match: re.Match[str]) -> str:
    parts = match.groupdict()
    if "name" in parts and not is_secret_name(parts["name"]):
        return match[0]
    quote = parts.get("quote") or ""
    return f"{parts['before']}{quote}{MASK}{quote}"


def scrub(value: Any, *, name: Any = "", leave: frozenset[str] = frozenset(), depth: int = 0) -> Any:
    """Return the value with secrets masked: by its name, by the keys within it, by what its text looks like.

    Containers are copied. What is neither text, number nor container is returned as it is, and so is what stands
    under a key in `leave`.
    """
    if value is None or isinstance(value, bool | Secret):
        return value
    if is_secret_name(name) or depth > DEEPEST:
        return MASK
    if isinstance(value, str):
        return scrub_text(value)
    if isinstance(value, bytes):
        return scrub_text(value.decode("latin-1")).encode("latin-1")
    if isinstance(value, Mapping):
        return {
            key: each if key in leave else scrub(each, name=key, leave=leave, depth=depth + 1)
            for key, each in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return _scrub_each(value, leave=leave, depth=depth + 1)
    return value


def _scrub_each(values: Any, *, leave: frozenset[str], depth: int) -> Any:
    # A pair that begins with a name is as good as an entry of a dictionary: headers, and what a form was parsed into.
    kind = list if isinstance(values, list) else tuple
    each = list(values)
    if len(each) == 2 and isinstance(each[0], str | bytes):
        return kind([scrub(each[0], depth=depth), scrub(each[1], name=each[0], leave=leave, depth=depth)])
    return kind([scrub(one, leave=leave, depth=depth) for one in each])
