"""What in a report is a secret by its name, and how it is masked: the one list behind Django's reports and Sentry's.

The second line. What passes through our own code is a `Secret` and does not show itself; here are the fields of
requests, and what libraries hold in clear: codes and tokens of OAuth, statements' parameters, what hashers hash.

Text is scrubbed in three steps: secrets without a name, values of secret names, and both within percent-encoded words.
The search continues inside the value of a harmless name, which may contain a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from urllib.parse import unquote

from .secret import MASK, Secret

Span = tuple[int, int]

SECRET_FIELDS = frozenset(
    {
        # Our forms, django.contrib.auth's, and variables of those names.
        *("passcode", "passcode_hash", "tap_secret", "password", "passwd", "raw_password", "old_password", "password1"),
        *("password2", "new_password1", "new_password2", "usable_password", "code", "codes", "recovery_code"),
        *("code_hash", "otp", "otp_token", "app_url", "qr_code", "key", "keys", "bin_key", "secret", "credentials"),
        *("temporary_access_pass", "api_key", "secret_key"),
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

_COMPACT = frozenset(field.replace("_", "") for field in SECRET_FIELDS)
_ENDINGS = (
    *("password", "passwd", "passcode", "_access_pass", "_secret", "_token", "_private_key", "_signing_key"),
    *("_session_key", "_api_key", "_secret_key"),
)
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")  # accessToken, IDToken
_REPEATED = re.compile(r"_?(?:confirm|confirmation|repeat|again|(?<!\d)\d+)$")  # password_confirm, password2
LONGEST_NAME = 200
_PARTS = re.compile(r"[.\[\]]|-\d+-|^__(?:Host|Secure)-", re.IGNORECASE)  # a.code, a[code], form-0-code, cookies
DEEPEST = 12


def is_secret_name(name: Any) -> bool:
    """Tell whether what has this name is masked, in snake_case, kebab-case or camelCase.

    The last part of a compound name counts: `context.passcode`, `form-0-code`, `codes[0]`. Of one with an index in
    brackets the first part does too: `passcode[a]`. Of a very long name only both ends are judged.
    """
    text = name.decode("latin-1") if isinstance(name, bytes) else str(name)
    if len(text) > LONGEST_NAME:
        text = f"{text[: LONGEST_NAME // 2]}.{text[-LONGEST_NAME // 2 :]}"
    parts = [part for part in _PARTS.split(text) if part and not part.isdigit()]
    judged = parts[-1:] + (parts[:1] if "[" in text else [])
    return any(_is_secret(one) for one in (text, *judged))


def _is_secret(name: str) -> bool:
    plain = re.sub(r"[-.\s]", "_", _WORDS.sub("_", name).lower()).strip("_")
    either = (plain, _REPEATED.sub("", plain))
    return any(one.replace("_", "") in _COMPACT or one.endswith(_ENDINGS) for one in either)


def is_secret_module(module: str | None) -> bool:
    """Tell whether functions of this module show no variable at all."""
    return module is not None and any(module == known or module.startswith(f"{known}.") for known in SECRET_MODULES)


# Patterns for text. Scrubbing takes linear time: each repetition is possessive or bounded, or its characters cannot
# match what follows it. A repetition that starts a pattern does not start within a run of its own characters. The scan
# continues after a masked value, and a value without a closing quote or bracket is masked to the end of the text, so
# no part of a text is searched twice for an end.

_QUOTES = r"""(?:"{3}|'{3}|["']|&(?:quot|apos|\#x27|\#39|\#34);)"""
_INDEX = r"(?:\[[\w-]{0,64}+\]|%5B[\w-]{0,64}+%5D){0,8}+"
_NAME = re.compile(r"[\w.-]++")
_NAMED = re.compile(
    rf"(?<![\w.-])(?P<name>{_NAME.pattern})(?P<index>{_INDEX})(?P<closing>\\*+{_QUOTES}|`)?\]?{_INDEX}\s*+"
    r"(?P<separator>[=:,])(?P<gap>\+|\s*+)"
)
_ESCAPES = {  # the rest of an escape, which looks like the start of the name: `\ncode`, `\u0026code`, `%253Fcode`
    "\\": re.compile(r"^(?:u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|[a-z])"),
    "%": re.compile(r"^(?:25)*[0-9A-Fa-f]{2}"),
}
_LITERAL = re.compile(rf"[bBrRuUfF]{{0,2}}(?P<escapes>\\*+)(?P<quote>{_QUOTES})")
_OPENING = re.compile(r"(?:[\w.]++(?=\(\s*+[bBrRuUfF]{0,2}\\*+[\"'\[({]))?[\[({]")  # a list, or a call in a repr
_TOKENS = re.compile(rf"(?P<open>[\[({{])|[\])}}]|(?<!\\)(?P<escapes>\\*+)(?P<quote>{_QUOTES})")
_COLON = re.compile(r"\s*+:(?!:)")
_NUMBER = re.compile(r"-?\d[\w.+-]*+")
_END = r"(?=[\s\"'<>&),;\]}]|\Z)"  # follows a `)`, `,` or `'` that ends a value; any other one is part of the value
_BARE = re.compile(
    rf"(?:(?:Bearer|Basic|DPoP|Token)[ \t]++)?(?:[^\s&\"<>'),;\]}}]|['),;\]}}](?!{_END}))++", re.IGNORECASE
)
_HEADER = re.compile(rf"(?:=\"[^\"\r\n]*+\"|[^\r\n\"'\\]|'(?!{_END})|\\(?![\\rn\"']))++")
_HEADERS = ("authorization", "cookie")
_LINE_END = r"(?:\r?\n|(?:\\{1,8}r)?\\{1,8}n)"  # as it is, or in a repr
_PART = re.compile(
    rf"\bname=\\{{0,8}}\"(?P<name>[^\"\\\r\n]++)\\{{0,8}}\"(?:;[^\r\n\\]{{0,200}})?"
    rf"(?:{_LINE_END}[A-Za-z-]{{1,40}}:[^\r\n\\]{{0,200}}){{0,8}}{_LINE_END}{{2}}"
)
_PART_END = re.compile(rf"{_LINE_END}--|\Z")
_UNICODE_ERROR = re.compile(r"Unicode(?:Decode|Encode|Translate)Error\(")  # its repr holds the whole text
_RULES = [
    re.compile(r"(?P<before>\b(?:Bearer|Basic)\s++)[\w.~+/=:-]++", re.IGNORECASE),
    re.compile(r"(?P<before>otpauth:)[^\s\"'<>]++"),
    re.compile(r"(?P<before>)(?:(?<![\w-])|(?<=\\[nrt]))eyJ[\w-]*+(?:\.[\w-]*+){2,}+"),  # a JWT
    re.compile(r"(?P<before>://[^\s/?#@:\"'<>]*+:)[^\s/?#@\"<>]++(?=@)"),  # a password in an address
    re.compile(r"(?P<before>/device-confirm/[^/\s]++/)[^/?\s\"']++"),
    re.compile(r"(?P<before>django\.contrib\.sessions\.cache(?:d_db)?)\w++"),
    # The toolkit's models are shown as what they hold; databases quote what is a duplicate.
    re.compile(r"(?P<before><\w*(?:Grant|AccessToken|RefreshToken|IDToken): )[^>]++"),
    re.compile(r"(?P<before>Key \([^)\n]{0,200}\)=\()(?:[^)\n]|\)(?! (?:already|is|conflicts)\b))++"),
    re.compile(r"(?P<before>Failing row contains \()[^\n]*+"),
    re.compile(r"(?P<before>Duplicate entry ')(?:(?!' for key).)*+"),
]
_ENCODED = re.compile(r"(?<![^\s\"'<>])[^\s\"'<>%]*+%[^\s\"'<>]*+")
_KEPT = re.compile(r"%(?=[01][0-9A-F]|2[027]|3[CE]|5C|7F|[89A-F][0-9A-F])", re.IGNORECASE)
_DELIMITER = re.compile(r"%(09|0A|0D|2[027]|3[CE]|5C)", re.IGNORECASE)
_ENCODINGS = 5


def scrub_text(text: str) -> str:
    """Return the text with what looks like a secret masked: queries, cookies, JSON, reprs, tokens."""
    return _ENCODED.sub(_scrub_encoded, _scrub_plain(text))


def _scrub_plain(text: str) -> str:
    text = _mask(text, _PART, _part_value)
    for rule in _RULES:
        text = rule.sub(lambda match: f"{match['before']}{MASK}", text)
    text = _mask(text, _UNICODE_ERROR, lambda match: (match.end(), _closing_bracket(match.string, match.end())))
    return _mask(text, _NAMED, _named_value)


def _scrub_encoded(match: re.Match[str]) -> str:
    # Scrub each level before the next is decoded: an `&` that is still encoded is part of a value.
    shown = word = match[0]
    for level in range(_ENCODINGS):
        decoded = unquote(_KEPT.sub("%25", word))
        if level and decoded == word:
            break
        word = _scrub_word(decoded)
        shown = word if word != decoded else shown
    return shown


def _scrub_word(word: str) -> str:
    # Encoded white space and quotes are part of a value in a query, but delimiters in JSON: scrub for both. They stay
    # encoded in the result, which may be a log line.
    word = _scrub_plain(word)
    spaced = _DELIMITER.sub(lambda match: chr(int(match[1], 16)), word)
    masked = _scrub_plain(spaced)
    return word if masked == spaced else re.sub(r"[\s\"'<>\\]", lambda match: f"%{ord(match[0]):02X}", masked)


def _mask(text: str, pattern: re.Pattern[str], find_value: Callable[[re.Match[str]], Span | None]) -> str:
    shown, kept, position = [], 0, 0
    while match := pattern.search(text, position):
        position = match.end()
        span = find_value(match)
        if span is not None:
            start, end = span
            shown += [text[kept:start], MASK]
            kept = position = end
            if _NAME.fullmatch(text, start, end):
                position = start  # a masked word may name the next value: ["grant_type", "password", "code", "..."]
    return "".join([*shown, text[kept:]])


def _part_value(match: re.Match[str]) -> Span | None:
    # A field of a multipart body: `name="password"`, an empty line, the value.
    if not is_secret_name(match["name"]):
        return None
    end = _PART_END.search(match.string, match.end())
    return (match.end(), end.start()) if end else None


def _named_value(match: re.Match[str]) -> Span | None:
    if not _has_secret_name(match):
        return None
    text, start = match.string, match.end()
    if not match["closing"] and match["separator"] != "=":
        return _unquoted_name_value(match)
    if literal := _LITERAL.match(text, start):
        end, behind = _closing_quote(literal)
        return None if _ends_an_entry(match) and _COLON.match(text, behind) else (literal.end(), end)
    if opening := _OPENING.match(text, start):
        return opening.end(), _closing_bracket(text, opening.end())
    is_bare = match["separator"] == "=" and not match["gap"].strip("+")
    value = (_BARE if is_bare else _NUMBER).match(text, start)
    return (start, start + len(value[0].rstrip("\\"))) if value else None


def _ends_an_entry(match: re.Match[str]) -> bool:
    # {"response_type": "code", "client_id": "portal"}: "code" is a value here, not a name.
    before = match.string[max(match.start() - 16, 0) : match.start()].rstrip("bBrRuUfF\\\"'").rstrip()
    return match["separator"] == "," and before.endswith(":")


def _unquoted_name_value(match: re.Match[str]) -> Span | None:
    # A header line, or a key of a JavaScript object.
    if match["separator"] == ",":
        return None
    name = match["name"].lower()
    is_header = "-" in name or name.endswith(_HEADERS)
    if is_header and (line := _HEADER.match(match.string, match.end())):
        return line.span()
    literal = _LITERAL.match(match.string, match.end())
    return (literal.end(), _closing_quote(literal)[0]) if literal else None


def _has_secret_name(match: re.Match[str]) -> bool:
    name, before = match["name"], match.string[max(match.start() - 1, 0) : match.start()]
    if match["index"]:
        name += unquote(match["index"])
    return is_secret_name(name) or (before in _ESCAPES and is_secret_name(_ESCAPES[before].sub("", name)))


def _closing_quote(opening: re.Match[str]) -> Span:
    # A quote with more backslashes than the opening one is part of the value.
    for closing in _closing_pattern(opening["quote"]).finditer(opening.string, opening.end()):
        if len(closing["escapes"]) <= len(opening["escapes"]):
            return closing.span()
    return len(opening.string), len(opening.string)


@cache
def _closing_pattern(quote: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\\)(?P<escapes>\\*+){re.escape(quote)}")


def _closing_bracket(text: str, position: int) -> int:
    depth = 1
    while token := _TOKENS.search(text, position):
        position = token.end()
        if token["quote"]:
            position = _closing_quote(token)[1]
            continue
        depth += 1 if token["open"] else -1
        if not depth:
            return token.start()
    return len(text)


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
