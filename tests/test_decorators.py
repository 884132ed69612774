"""What a view may be marked with: opting in to registration, and the headers of our pages."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.test.utils import override_script_prefix
from django.utils.decorators import method_decorator
from django.views import View

from tap_provider.decorators import content_security_policy, no_store, page, registration_session_allowed
from tap_provider.registration_session import takes_part

AUTHORIZE = "/o/authorize/?client_id=x&redirect_uri=https%3A%2F%2Frp.example.test%2Fcb"


def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse("a page")


def directives(policy: str) -> dict[str, list[str]]:
    return {name: sources for name, *sources in (part.split() for part in policy.split("; "))}


@pytest.fixture
def get(rf: RequestFactory) -> Any:
    return rf.get


def test_registration_session_allowed__marks_a_function(get: Any) -> None:
    marked = registration_session_allowed(lambda request: view(request))
    assert takes_part(marked, "", get("/").GET)
    assert marked(get("/")).content == b"a page"


def test_registration_session_allowed__marks_a_class_through_its_dispatch(get: Any) -> None:
    @method_decorator(registration_session_allowed, name="dispatch")
    class Marked(View):
        pass

    class Unmarked(View):
        pass

    assert takes_part(Marked.as_view(), "", get("/").GET)
    assert not takes_part(Unmarked.as_view(), "", get("/").GET)


def test_registration_session_allowed__survives_our_page_decorator(get: Any) -> None:
    assert takes_part(page(registration_session_allowed(lambda request: view(request))), "", get("/").GET)


def test_registration_session_allowed__an_unmarked_view_takes_no_part(get: Any) -> None:
    assert not takes_part(view, "whatever", get("/").GET)


@pytest.mark.django_db
@pytest.mark.parametrize("url", ["/account/sign-in/", "/account/sign-in/pass/"])
@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=XX", "application/x-www-form-urlencoded"])
def test_page__refuses_a_form_in_another_encoding(url: str, kind: str) -> None:
    """It may yield half a character, which no database, hasher or page takes."""
    fields = {"upn": "nobody\\ud800", "passcode": "ABCDEFGH", "password": "\\ud800"}
    parts = [f'--XX\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in fields.items()]
    body = "".join([*parts, "--XX--\r\n"]) if "multipart" in kind else urlencode(fields)
    browser = Client(raise_request_exception=False)
    refused = browser.post(url, body.encode(), content_type=f"{kind}; charset=raw_unicode_escape")
    assert refused.status_code == 400
    for charset in ("", "; charset=utf-8", "; charset=UTF-8"):
        assert browser.post(url, body.encode(), content_type=f"{kind}{charset}").status_code == 200


def test_no_store__forbids_every_cache() -> None:
    cache_control = no_store(HttpResponse())["Cache-Control"]
    assert {"no-store", "private", "no-cache"} <= {part.strip() for part in cache_control.split(",")}


def test_no_store__overrides_what_a_view_allowed() -> None:
    assert "no-store" in no_store(HttpResponse(headers={"Cache-Control": "max-age=60"}))["Cache-Control"]


def test_page__sends_strict_headers(get: Any) -> None:
    headers = page(view)(get("/")).headers
    assert "no-store" in headers["Cache-Control"]
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Content-Security-Policy"] == content_security_policy(get("/"))


def test_page__keeps_a_policy_that_the_view_has_set(get: Any) -> None:
    own = page(lambda request: HttpResponse(headers={"Content-Security-Policy": "default-src 'self'"}))
    assert own(get("/")).headers["Content-Security-Policy"] == "default-src 'self'"


def test_content_security_policy__nothing_inline_and_nothing_foreign(get: Any) -> None:
    policy = directives(content_security_policy(get("/")))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == ["'none'"]
    assert policy["form-action"] == policy["connect-src"] == ["'self'"]
    assert policy["script-src"] == policy["style-src"] == policy["img-src"] == policy["font-src"] == ["'self'"]
    assert policy["require-trusted-types-for"] == ["'script'"]
    assert "unsafe" not in content_security_policy(get("/"))


@pytest.mark.parametrize(
    ("static_url", "origin"),
    [
        ("https://cdn.example.test/static/", "https://cdn.example.test"),
        ("//cdn.example.test/", "https://cdn.example.test"),
    ],
)
def test_content_security_policy__lets_the_sites_own_static_origin_in(
    get: Any, settings: Any, static_url: str, origin: str
) -> None:
    settings.STATIC_URL = static_url
    policy = directives(content_security_policy(get("/")))
    assert policy["script-src"] == policy["style-src"] == ["'self'", origin]
    assert policy["connect-src"] == policy["form-action"] == ["'self'"]


def test_content_security_policy__a_form_on_the_way_to_a_relying_party_may_be_redirected_there(
    rf: RequestFactory,
) -> None:
    # Chromium holds `form-action` against the redirects that follow a form post.
    assert "form-action" not in directives(content_security_policy(rf.get("/", {"next": AUTHORIZE})))
    assert "form-action" not in directives(content_security_policy(rf.post("/", {"next": AUTHORIZE})))


@pytest.mark.parametrize(
    "wanted",
    [
        "/members/",
        "/o/applications/",
        "https://evil.example/o/authorize/",
        "//evil.example/o/authorize/",
        "o/authorize/",
        "/nowhere/o/authorize/",
        "/\x00/o/authorize/",
        "",
    ],
)
def test_content_security_policy__any_other_next_keeps_forms_at_home(get: Any, wanted: str) -> None:
    assert directives(content_security_policy(get("/", {"next": wanted})))["form-action"] == ["'self'"]


def test_content_security_policy__lets_forms_on_to_authorization_below_a_prefix(get: Any) -> None:
    """Chromium would hold the redirect to the relying party back; elsewhere's endpoints are no reason."""
    for wanted, leads_on in (
        (f"/app{AUTHORIZE}", True),
        (f"http://testserver/app{AUTHORIZE}", True),
        (f"http://elsewhere.test/app{AUTHORIZE}", False),
        (f"//elsewhere.test/app{AUTHORIZE}", False),
        ("/app/members/", False),
    ):
        with override_script_prefix("/app/"):
            policy = directives(content_security_policy(get("/", {"next": wanted}, headers={"host": "testserver"})))
        assert ("form-action" not in policy) is leads_on, wanted
