"""The wrapper: only `reveal()` opens it."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback
from pprint import pformat
from typing import Any

import pytest
from django.core.serializers.json import DjangoJSONEncoder
from django.template import engines

from tap_provider.issue import IssuedPass
from tap_provider.methods.recovery_codes import NewCodes
from tap_provider.secret import MASK, Secret

CLEAR = "the-clear-text"


def test_reveal__returns_the_text() -> None:
    assert Secret(CLEAR).reveal() == CLEAR


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        ascii,
        pformat,
        "{}".format,
        "{:>40}".format,
        "{!r}".format,
        lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 the old way to format, too
        lambda secret: repr([secret, {"passcode": secret}]),
        lambda secret: json.dumps({"passcode": secret}, default=str),
        lambda secret: engines["django"].from_string("{{ secret }}").render({"secret": secret}),
    ],
)
def test_secret__shows_a_mask(show: Any) -> None:
    shown = show(Secret(CLEAR))
    assert CLEAR not in shown
    assert MASK in shown


def test_secret__shows_a_mask_in_logs(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger(__name__).warning("Typed: %s", Secret(CLEAR))
    assert caplog.messages == [f"Typed: {MASK}"]


def test_secret__shows_a_mask_in_a_traceback_with_variables() -> None:
    def fail(passcode: Secret) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError) as caught:
        fail(Secret(CLEAR))
    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert CLEAR not in "".join(report.format())


@pytest.mark.parametrize(
    "store",
    [
        pickle.dumps,
        json.dumps,
        lambda secret: json.dumps(secret, cls=DjangoJSONEncoder),
        lambda secret: pickle.dumps({"passcode": secret}),
    ],
)
def test_secret__is_not_stored(store: Any) -> None:
    with pytest.raises(TypeError):
        store(Secret(CLEAR))


def test_secret__has_no_attribute_that_holds_the_text() -> None:
    secret = Secret(CLEAR)
    assert not hasattr(secret, "__dict__")
    assert CLEAR not in repr([getattr(secret, name) for name in dir(secret)])


def test_secret__is_copied_as_itself() -> None:
    secret = Secret(CLEAR)
    assert copy.copy(secret) is secret
    assert copy.deepcopy([secret])[0] is secret


def test_secret__equals_a_secret_of_the_same_text_and_no_plain_text() -> None:
    assert Secret(CLEAR) == Secret(CLEAR)
    assert Secret("ü") == Secret("ü")
    assert Secret(CLEAR) != Secret(CLEAR[:-1])
    assert Secret(CLEAR) != CLEAR


def test_secret__has_no_hash_to_search_for() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(Secret(CLEAR))


def test_secret__is_false_where_there_is_no_text() -> None:
    assert Secret(CLEAR)
    assert not Secret("")


def test_of__wraps_once() -> None:
    secret = Secret.of(CLEAR)
    assert Secret.of(secret) is secret


def test_template__opens_it_where_it_says_so() -> None:
    assert engines["django"].from_string("{{ secret.reveal }}").render({"secret": Secret(CLEAR)}) == CLEAR


def test_results__show_no_passcode_and_no_code(issue: Any, robin: Any) -> None:
    issued: IssuedPass = issue(robin)
    codes = NewCodes(made_at=issued.temporary_access_pass.created_at, codes=(Secret(CLEAR),))
    shown = f"{issued!r} {issued.passcode} {issued.passcode_for_reading!r} {codes!r} {codes.for_reading}"
    assert issued.passcode.reveal() not in shown
    assert issued.passcode_for_reading.reveal() not in shown
    assert CLEAR not in shown
