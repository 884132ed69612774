"""What is a secret by its name, and by its look; Sentry's events."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tap_provider.scrubbing import SECRET_FIELDS, is_secret_module, is_secret_name, scrub, scrub_text
from tap_provider.secret import MASK
from tap_provider.sentry import DENYLIST, before_send, before_send_log

SECRET = "sentinel-kqz"


@pytest.mark.parametrize(
    "name",
    [
        *("passcode", "Client-Secret", "context.passcode", "HTTP_AUTHORIZATION", b"code", "x_token"),
        *(
            "accessToken",
            "clientSecret",
            "temporaryAccessPass",
            "id_tokenHint",
            "IDToken",
            "newPassword",
            "X-CSRFToken",
        ),
        *("password_confirm", "password_confirmation", "passwordConfirm", "password3", "sessionId", "X-Api-Key"),
        *("form-0-code", "codes[0]", "password[]", "data[password]", "__Host-sessionid", "_code"),
    ],
)
def test_is_secret_name__in_whatever_spelling(name: Any) -> None:
    assert is_secret_name(name)


HARMLESS_NAMES = [
    *("upn", "status_code", "language_code", "zip_code", "user", "passport", "client_id", "scope", "token_type"),
    *("expires_in", "grant_type", "keyboard", "response_type", "code_challenge_method", "tokenType", "statusCode", ""),
]


@pytest.mark.parametrize("name", HARMLESS_NAMES)
def test_is_secret_name__leaves_what_helps(name: str) -> None:
    assert not is_secret_name(name)


def spellings(name: str) -> list[str]:
    words = name.split("_")
    camel = words[0] + "".join(word.capitalize() for word in words[1:])
    return [
        name,
        name.upper(),
        "-".join(words),
        ".".join(words),
        "".join(words),
        camel,
        f"x_{name}",
        f"x.{name}",
        f"{name}2",
    ]


def test_scrub_text__masks_the_names_that_is_secret_name_knows() -> None:
    names = [one for name in [*SECRET_FIELDS, *filter(None, HARMLESS_NAMES)] for one in spellings(name)]
    for name in [
        *names,
        "form-0-code",
        "form-0-upn",
        "_code",
        "codes[0]",
        "upn[0]",
        "user[passcode]",
        "code[a]",
        "form[0][code]",
    ]:
        for text in (f"{name}={SECRET}", f"a=1&{name}={SECRET}&b=2", f"?next=%2Fa%3F{name}%3D{SECRET}"):
            assert (SECRET not in scrub_text(text)) == is_secret_name(name), text
        text = f"{{'{name}': '{SECRET}'}}"
        assert (SECRET not in scrub_text(text)) == is_secret_name(name), text


def test_is_secret_module__and_what_is_in_it() -> None:
    assert is_secret_module("oauthlib.common")
    assert not is_secret_module("oauthlibrary")
    assert not is_secret_module(None)


@pytest.mark.parametrize(
    "text",
    [
        f"code={SECRET}&x=1",
        f"https://x.test/?a=b&id_token_hint={SECRET}",
        f"Cookie: sessionid={SECRET}; theme=dark",
        f"{{'passcode': ['{SECRET}']}}",
        f'{{"a": 1, "refresh_token": "{SECRET}"}}',
        f"<QueryDict: {{'code': ['{SECRET}']}}>",
        f"Thing(password='{SECRET}')",
        f"<Grant: {SECRET}>",
        f"<OurAccessToken: {SECRET}>",
        f"DETAIL:  Key (session_key)=({SECRET}) already exists.",
        f"Duplicate entry '{SECRET}' for key 'x'",
        f"DETAIL:  Failing row contains (1, {SECRET}, null).",
        f"/sign-in/?next=%2Fo%2Fauthorize%2F%3Fa%3Db%26id_token_hint%3D{SECRET}",
        f"/sign-in/?next=%2Fauthorize%3Fcode%3D{SECRET}%26state%3Dx",
        f"?next=%252Fauthorize%253Fhandle%253D{SECRET}%2526x%253D1",
        f"next=%2Fo%2F%3Fhint%3DeyJhbGciOiJSUzI1NiJ9.eyJ{SECRET}.x",
        f"{{'codes': ['a', '{SECRET}']}}",
        f"{{'password': ('a', '{SECRET}')}}",
        f"""WHERE "code" = '{SECRET}'""",
        f"GET django.contrib.sessions.cached_db{SECRET.replace('-', '')}",
    ],
)
def test_scrub_text__masks_what_looks_like_a_secret(text: str) -> None:
    assert SECRET not in scrub_text(text)
    assert SECRET.replace("-", "") not in scrub_text(text)


MULTIPART = f'--X\r\nContent-Disposition: form-data; name="password"\r\n\r\n{SECRET}\r\n--X--\r\n'
JSON = json.dumps({"upn": "robin", "password": SECRET})


@pytest.mark.parametrize(
    "text",
    [
        # In the value of a harmless name.
        f"next=/o/authorize/?id_token_hint={SECRET}",
        f"https://x.test/cb?next=/a?code={SECRET}",
        f"""{{'detail': "{{'password': '{SECRET}'}}"}}""",
        json.dumps({"event": "login", "body": JSON}),
        f"step-up/%3Fnext%3D%252Fo%252Fauthorize%252F%253Fid_token_hint%253D{SECRET}%2526x",
        f"%3Fnext%3D%252Fo%253Fnext%253D%25252Fa%25253Fcode%25253D{SECRET}",
        f"next=/a%3Fcode={SECRET}",
        # Literals with a prefix, lists and tuples, calls.
        f"X(key=b'{SECRET}')",
        f'token=b"{SECRET}"',
        f"key = rb'{SECRET}'",
        f"codes=['a', '{SECRET}']",
        f"params=('a', '{SECRET}')",
        f"codes = [['a'], ['{SECRET}']]",
        f"{{'codes': ['a)]', '{SECRET}']}}",
        f"{{'tokens': {{'value': '{SECRET}'}}}}",
        f"{{'codes': frozenset({{'a', '{SECRET}'}})}}",
        f"{{'response_type': 'code', 'password': '{SECRET}'}}",
        f"['grant_type', 'password', 'code', '{SECRET}']",
        # Names.
        f'{{"accessToken": "{SECRET}"}}',
        f"temporaryAccessPass={SECRET}",
        f"password[]={SECRET}",
        f"codes%5B0%5D={SECRET}",
        f"b'upn=x\\ncode={SECRET}'",
        f"upn=x\\u0026code={SECRET}",
        f"pass%77ord={SECRET}",
        f"""kwargs["password"] = "{SECRET}\"""",
        f"""WHERE `code` = '{SECRET}'""",
        f"{{clientSecret: '{SECRET}'}}",
        # Other bodies.
        MULTIPART,
        repr(MULTIPART),
        repr(MULTIPART.encode()),
        '--X\r\nContent-Disposition: form-data; name="password"\r\nContent-Type: text/plain\r\n\r\n' + SECRET,
        f"q={quote(JSON)}&x=1",
        urlencode({"q": JSON}),
        quote(quote(urlencode({"q": JSON}))),
        f"{{&quot;password&quot;: &quot;{SECRET}&quot;}}",
        f"{{&#x27;password&#x27;: &#x27;{SECRET}&#x27;}}",
        # Truncated.
        f"{{'password': '{SECRET}",
        f'{{"upn": "x", "password": "{SECRET}...',
        f"{{'codes': ['aaa', '{SECRET}",
        # Characters within a value.
        *(f"password=ab{character}{SECRET}&x=1" for character in "),;']}[({"),
        f"password=[{SECRET}&x=1",
        f"next=%2Fa%3Fpassword%3Dab%20{SECRET}%26x",
        f"next=%2Fa%3Fpassword%3Dab%22{SECRET}%26x",
        f"next=%2Fa%3Fpassword%3Dab%2526{SECRET}%26x",
        f"%26code=ab%26{SECRET}",
        # Headers and addresses.
        f"Authorization: Token {SECRET}",
        f"Authorization: DPoP {SECRET}",
        f"authorization=Bearer {SECRET}",
        f'Authorization: Digest username="a", response="{SECRET}"',
        f"curl -H 'Authorization: Token {SECRET}' https://x.test/",
        f"Cookie: a=b; __Host-other={SECRET}",
        f"cookie: a=it's; other={SECRET}",
        f'Cookie: sessionid="a"; other="{SECRET}"',
        f"X-Api-Key: {SECRET}",
        f"cookie: '{SECRET}'",
        f"x=Basic%20{SECRET}",
        f"Bearer abc:{SECRET}",
        f"https://client:{SECRET}@rp.test/",
        f"redis://:{SECRET}@localhost:6379/0",
        f"x eyJhbGciOi.a.b.c.{SECRET}",
        f"DETAIL:  Key (token)=(ab){SECRET}) already exists.",
        # Nested quotes.
        repr(json.dumps({"body": JSON})),
        json.dumps({"body": json.dumps({"body": JSON})}),
        json.dumps({"body": json.dumps({"password": f'ab"{SECRET}'})}),
        repr(json.dumps({"password": f"it's \"{SECRET}"})),
        repr(repr({"password": f"'\"{SECRET}"})),
        f'password="""{SECRET}"""',
        repr(UnicodeDecodeError("utf-8", f"upn=x {SECRET}".encode(), 0, 1, "invalid")),
    ],
)
def test_scrub_text__masks_secrets_in_other_shapes(text: str) -> None:
    assert SECRET not in scrub_text(text)
    assert scrub_text(scrub_text(text)) == scrub_text(text)


@pytest.mark.parametrize("text", ['{"otp_token": 492039}', '{"otp_token":492039}', "{'code': 492039}", "code = 492039"])
def test_scrub_text__masks_numbers(text: str) -> None:
    assert scrub_text(text) == text.replace("492039", MASK)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"f(code={SECRET}), x", f"f(code={MASK}), x"),
        (f"<R: GET '/?passcode={SECRET}'>", f"<R: GET '/?passcode={MASK}'>"),
        (f"sessionid={SECRET}; theme=dark", f"sessionid={MASK}; theme=dark"),
        (f"password={SECRET}&next=/a", f"password={MASK}&next=/a"),
        (f"X(key=b'{SECRET}', upn='robin')", f"X(key=b'{MASK}', upn='robin')"),
        (f"codes=['a', '{SECRET}'], upn='robin'", f"codes=[{MASK}], upn='robin'"),
        (json.dumps({"a": JSON, "b": "c"}), json.dumps({"a": JSON, "b": "c"}).replace(SECRET, MASK)),
        (json.dumps([json.dumps([JSON])]), json.dumps([json.dumps([JSON])]).replace(SECRET, MASK)),
        (f"Authorization: Token {SECRET}\r\nHost: x", f"Authorization: {MASK}\r\nHost: x"),
        (f"b'Cookie: a={SECRET}\\r\\nHost: x'", f"b'Cookie: {MASK}\\r\\nHost: x'"),
        (MULTIPART, MULTIPART.replace(SECRET, MASK)),
        (repr(MULTIPART), repr(MULTIPART).replace(SECRET, MASK)),
        (f"https://client:{SECRET}@rp.test/", f"https://client:{MASK}@rp.test/"),
        (f"?next=%2Fa%3Fcode%3D{SECRET}%26x%3D1", f"?next=/a?code={MASK}&x=1"),
        (f"?next=%2Fa%0A%3Fcode%3D{SECRET}", f"?next=/a%0A?code={MASK}"),
    ],
)
def test_scrub_text__ends_where_the_value_does(text: str, shown: str) -> None:
    assert scrub_text(text) == shown


@pytest.mark.parametrize(
    "unit",
    [
        *("a=", "code=", "'", "\\", "\\'", "%3D", "%25", "code=['", "'code', \"", "a.", "Key (", "eyJ.", "1", "a", "_"),
        *("[a]", "a[a]", "%5Ba%5D", 'name="a"\r\n\r\n', 'name="code"\r\n\r\n', "-1-", "__Host-", "aB", "A"),
    ],
)
def test_scrub_text__reads_a_long_text(unit: str) -> None:
    """A pattern in quadratic time would keep this test for minutes."""
    assert SECRET not in scrub_text(unit * (200_000 // len(unit)) + f"&password={SECRET}")


@pytest.mark.parametrize(
    "text",
    [
        *("upn=robin&x=1", "status_code=400", "nothing to see", "'upn': 'robin'", "?next=%2Fa%3Fupn%3Dx", "['a']"),
        "GET /account/sign-in/?next=/o/authorize/ HTTP/1.1",
        'SELECT "code" FROM "x"',
        'SELECT "x"."code" FROM "x" WHERE "x"."code" = %s',
        "    return view(request, *args, **kwargs)",
        '    password = form.cleaned_data["password"]',
        '{"token_type": "Bearer", "expires_in": 3600}',
        "status_code=400 client_id=portal",
        "Content-Type: text/html; charset=utf-8",
        "{'response_type': 'code', 'client_id': 'portal', 'scope': 'openid'}",
        "?response_type=code&client_id=portal&code_challenge_method=S256",
        'Content-Disposition: form-data; name="upn"\r\n\r\nrobin\r\n--X--\r\n',
        "https://rp.test:8000/a@b",
        "KeyError: 'upn'",
        "the code is wrong: try again, or ask for a token",
        "100% of 5%20 LIKE '%a%'",
    ],
)
def test_scrub_text__leaves_the_rest(text: str) -> None:
    assert scrub_text(text) == text


def test_scrub__ends_in_what_contains_itself() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert MASK in repr(scrub(endless))


def test_before_send__masks_an_event_and_keeps_its_source_lines() -> None:
    frames = [
        {"module": "site.views", "vars": {"passcode": SECRET, "upn": "robin"}, "context_line": "f(code=code)"},
        {"module": "django.db.backends.utils", "vars": {"anything": SECRET}},
    ]
    event = {
        "exception": {"values": [{"value": f"code={SECRET}", "stacktrace": {"frames": frames}}]},
        "request": {"data": {"client_secret": SECRET}, "query_string": f"code={SECRET}", "cookies": {"x": SECRET}},
        "spans": [{"data": {"context": {"passcode": SECRET, "form": "<Form>"}}}],
        "logentry": {"message": "x", "params": [SECRET]},
    }
    sent = before_send(event, {})
    assert SECRET not in repr(sent)
    assert "robin" in repr(sent)
    assert "f(code=code)" in repr(sent)


def test_sentry__needs_no_sdk_and_no_settings() -> None:
    told = "import sys; from tap_provider.sentry import DENYLIST; print('sentry_sdk' in sys.modules, len(DENYLIST) > 9)"
    run = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True"]
    assert "passcode" in DENYLIST


def test_scrub_text__masks_the_handle_of_a_pass() -> None:
    """A stranger who reads it could use up the attempts of its holder."""
    assert "bxw_Dn8" not in scrub_text("GET /account/sign-in/pass/?handle=bxw_Dn8&next=/")


class Shown:
    def __repr__(self) -> str:
        return f"<Shown passcode={SECRET}>"


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("it cannot be shown")


def test_before_send_log__masks_objects_parameters_and_the_body_that_they_were_put_into() -> None:
    """Sentry computes the text of an object after this function has returned."""
    parameters = {"sentry.message.parameter.0": SECRET, "sentry.message.template": "it was %s"}
    log = {"body": f"it was {SECRET}", "attributes": {**parameters, "a": Shown(), "b": Broken(), "c": 7, "d": None}}
    masked = before_send_log(log)
    assert SECRET not in repr(masked)
    assert masked["body"] == "it was %s"
    assert masked["attributes"]["c"] == 7
    assert masked["attributes"]["b"] == MASK
    assert before_send_log({"body": f"passcode={SECRET}"})["body"] == f"passcode={MASK}"
