"""What is a secret by its name, and by its look; Sentry's events."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tap_provider.scrubbing import is_secret_module, is_secret_name, scrub, scrub_text
from tap_provider.secret import MASK
from tap_provider.sentry import DENYLIST, before_send, before_send_log

SECRET = "sentinel-kqz"


@pytest.mark.parametrize(
    "name", ["passcode", "Client-Secret", "context.passcode", "HTTP_AUTHORIZATION", b"code", "x_token"]
)
def test_is_secret_name__in_whatever_spelling(name: Any) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["upn", "status_code", "language_code", "user", "passport", "client_id", "scope", ""])
def test_is_secret_name__leaves_what_helps(name: str) -> None:
    assert not is_secret_name(name)


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


@pytest.mark.parametrize(
    "text",
    ["upn=robin&x=1", "status_code=400", "nothing to see", "'upn': 'robin'", "?next=%2Fa%3Fupn%3Dx", "['a']"],
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
