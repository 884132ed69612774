"""What an authorization request asks, parsed; whatever else may be sent is told apart from it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.http import QueryDict
from django.test import RequestFactory

from tap_provider.oidc.authorization_request import (
    LONGEST_AGE,
    AuthorizationRequest,
    RequestedClaim,
    Unreadable,
    parse_claims,
)


def request_of(query: str) -> AuthorizationRequest:
    return AuthorizationRequest(QueryDict(query))


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
@pytest.mark.parametrize(
    ("sent", "seconds"),
    [("0", 0), ("1", 1), ("300", 300), ("0300", 300), ("9" * 19, LONGEST_AGE), ("9" * 5000, LONGEST_AGE)],
)
def test_max_age__is_seconds(sent: str, seconds: int) -> None:
    """OpenID Connect Core 1.0 §3.1.2.1."""
    assert request_of(f"max_age={sent}").max_age == seconds


def test_max_age__that_was_not_sent_is_none() -> None:
    assert request_of("").max_age is None


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
@pytest.mark.parametrize("sent", ["-1", "abc", "1.5", "", "1e3", "٣", "0x10", "1 2", "%00"])
def test_max_age__that_is_no_number_cannot_be_read(sent: str) -> None:
    with pytest.raises(Unreadable) as unreadable:
        _ = request_of(f"max_age={sent}").max_age
    assert (unreadable.value.error, "max_age" in unreadable.value.description) == ("invalid_request", True)


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
@pytest.mark.parametrize(
    ("sent", "prompt"),
    [
        ("", set()),
        ("none", {"none"}),
        ("login", {"login"}),
        ("login+consent", {"login", "consent"}),
        ("select_account++login", {"select_account", "login"}),
    ],
)
def test_prompt__is_a_set(sent: str, prompt: set[str]) -> None:
    assert request_of(f"prompt={sent}").prompt == prompt


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
@pytest.mark.parametrize("sent", ["none+login", "none+consent", "none+select_account", "none+login+consent"])
def test_prompt__none_stands_alone(sent: str) -> None:
    """OpenID Connect Core 1.0 §3.1.2.1: with any other value an error is returned."""
    with pytest.raises(Unreadable):
        _ = request_of(f"prompt={sent}").prompt


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
@pytest.mark.parametrize("sent", ["Login", "never", "login+never", "none%00"])
def test_prompt__unknown_values_are_refused(sent: str) -> None:
    """Case counts: the values are case-sensitive."""
    with pytest.raises(Unreadable):
        _ = request_of(f"prompt={sent}").prompt


@pytest.mark.parametrize("mode", ["query", "fragment", "form_post", ""])
def test_response_mode__known(mode: str) -> None:
    assert request_of(f"response_mode={mode}&response_type=code&redirect_uri=https://a.test/").response_mode == mode


@pytest.mark.compliance(
    "OAuth 2.0 Multiple Response Type Encoding Practices 1.0 §2.1",
    "OAuth 2.0 Multiple Response Type Encoding Practices 1.0 §5",
)
@pytest.mark.parametrize(
    "query",
    [
        "response_mode=web_message&response_type=code",
        "response_mode=query&response_type=id_token",
        "response_mode=query&response_type=code+token",
        "response_mode=form_post&redirect_uri=com.example.app:/callback",
    ],
)
def test_response_mode__that_cannot_be_used_is_refused(query: str) -> None:
    with pytest.raises(Unreadable):
        _ = request_of(query).response_mode


@pytest.mark.compliance("OpenID Connect Core 1.0 §5.5.1")
@pytest.mark.parametrize(
    ("wish", "told"),
    [
        (None, RequestedClaim(is_requested=True)),
        ({"essential": True}, RequestedClaim(is_requested=True, is_essential=True)),
        ({"value": "a"}, RequestedClaim(is_requested=True, values=("a",))),
        ({"essential": True, "values": ["a", "b"]}, RequestedClaim(True, True, ("a", "b"))),
        ({"essential": False, "unknown": 1}, RequestedClaim(is_requested=True)),
    ],
)
def test_claim__says_how_it_was_requested(wish: Any, told: RequestedClaim) -> None:
    """OpenID Connect Core 1.0 §5.5.1; unknown members are ignored."""
    query = QueryDict(mutable=True)
    query["claims"] = json.dumps({"id_token": {"acr": wish}, "unknown": 1})
    request = AuthorizationRequest(query)
    assert request.claim("acr") == told
    assert request.claim("amr") == RequestedClaim()


@pytest.mark.parametrize("text", ["", "null", "{}", '{"id_token": null}', '{"userinfo": {"email": null}}'])
def test_parse_claims__nothing_asked_of_the_id_token(text: str) -> None:
    assert not parse_claims(text).get("id_token")


@pytest.mark.compliance("OpenID Connect Core 1.0 §5.5")
@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[1]",
        "1",
        '"text"',
        '{"id_token": []}',
        '{"id_token": 1}',
        '{"userinfo": "email"}',
        '{"id_token": {"acr": 1}}',
        '{"id_token": {"acr": []}}',
        '{"id_token": {"acr": {"essential": "yes"}}}',
        '{"id_token": {"acr": {"essential": 1}}}',
        '{"id_token": {"acr": {"values": "phr"}}}',
        '{"id_token": {"acr": {"values": null}}}',
        '{"id_token": {"acr": {"value": "a", "values": ["a"]}}}',
        "[" * 100_000,
        "NaN",
    ],
)
def test_parse_claims__malformed_is_refused(text: str) -> None:
    """OpenID Connect Core 1.0 §5.5."""
    with pytest.raises(Unreadable) as unreadable:
        parse_claims(text)
    assert unreadable.value.error == "invalid_request"


@pytest.mark.parametrize("value", ["%00", "a%0Ab", "%7F", "%C2%85"])
@pytest.mark.parametrize("name", ["state", "nonce", "ui_locales", "acr_values", "whatever"])
def test_read_all__control_characters_are_refused_in_any_parameter(name: str, value: str) -> None:
    with pytest.raises(Unreadable):
        request_of(f"{name}={value}").read_all()


def test_read_all__what_no_column_holds_is_refused() -> None:
    for name, most in {"nonce": 255, "code_challenge": 128}.items():
        request_of(f"{name}={'a' * most}").read_all()
        with pytest.raises(Unreadable):
            request_of(f"{name}={'a' * (most + 1)}").read_all()


def test_read_all__takes_what_people_write() -> None:
    request_of("state=%C3%A9%20%F0%9F%94%91&login_hint=j%C3%BCrgen%40example.test&ui_locales=de+fr").read_all()


@pytest.mark.compliance("RFC 6749 §3.1", "RFC 8707 §2")
def test_repeated__all_but_resource() -> None:
    """RFC 6749 §3.1; RFC 8707 §2."""
    assert request_of("a=1&resource=x&resource=y&b=1&b=1&c=1&c=2").repeated == {"b", "c"}


def test_canonical__every_parser_can_read_it() -> None:
    sent = "client_id=a&state=%zz&state=2&resource=x&resource=y&claims={&nonce=\xff%ff"
    canonical = request_of(sent).canonical(leaving_out=("claims",))
    assert canonical.isascii()
    told = dict(QueryDict(canonical).lists())
    assert (told["state"], told["resource"], "claims" in told) == (["%zz"], ["x", "y"], False)


def test_fingerprint__is_of_everything_but_what_is_ours() -> None:
    one = request_of("a=1&b=2").fingerprint
    assert one == request_of("b=2&a=1").fingerprint == request_of("a=1&b=2&tap_return=signed").fingerprint
    for other in ("a=1", "a=1&b=3", "a=1&b=2&c=", "a=1&b=2&b=2"):
        assert request_of(other).fingerprint != one


@pytest.mark.parametrize(
    ("query", "is_one"),
    [
        ("client_id=a&redirect_uri=https://a.test/", True),
        ("client_id=a", True),
        ("client_id=a&client_id=a", False),
        ("client_id=a&redirect_uri=x&redirect_uri=y", False),
        ("client_id=a%00", False),
        ("client_id=a&redirect_uri=https://a.test/%00", False),
    ],
)
def test_names_one_client__or_nobody_can_be_redirected_to(query: str, is_one: bool) -> None:
    assert request_of(query).names_one_client is is_one


def test_of__what_was_posted_holds_in_place_of_the_query(rf: RequestFactory) -> None:
    """The toolkit acts on the consent form's fields, so these are what is judged."""
    request = rf.post(
        "/o/authorize/?client_id=a&scope=openid&max_age=5", {"client_id": "b", "max_age": "9", "state": ""}
    )
    asked = AuthorizationRequest.of(request)
    assert (asked.text("client_id"), asked.text("scope"), asked.max_age) == ("b", "openid", 5)
