"""The headers of the provider's pages: every address that is mounted, whatever it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.http import HttpResponse
from django.test import Client
from django.urls import path, reverse
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_application_model, get_device_grant_model

from tap_provider.decorators import is_html
from tap_provider.oidc import management_urls, urls
from tap_provider.oidc.pages import provider_pages

from .conftest import REDIRECT_URI, Party, consent_page, toolkit_settings

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.oidc.managed_urls")]

STRICT = ("default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "script-src 'self'")
METHODS = ("get", "post", "put", "delete", "head", "options", "patch")


def assert_protected(response: Any, *, is_the_sites: bool = False) -> None:
    """Assert the headers of our pages; a page that the site answers with has its own styles."""
    policy = response.headers.get("Content-Security-Policy", "")
    assert "frame-ancestors 'none'" in policy, response.headers
    if not is_the_sites:
        assert all(directive in policy for directive in STRICT), policy
    assert "no-store" in response.headers["Cache-Control"]
    assert response.headers["Referrer-Policy"] == "same-origin"
    assert response.headers["X-Frame-Options"] == "DENY"


@pytest.fixture
def objects(kim: Any, make_party: Callable[..., Party]) -> dict[str, Any]:
    """What the addresses name: Kim's application, token, and a device that waits for Kim."""
    application = make_party("kims", user=kim, skip_authorization=False).application
    kim.user_permissions.set(Permission.objects.filter(content_type__app_label="oauth2_provider"))
    later, devices = timezone.now() + timedelta(hours=1), get_device_grant_model()
    token = get_access_token_model().objects.create(user=kim, application=application, token="token", expires=later)
    devices.objects.create(
        client_id="kims",
        device_code="code",
        user_code="WDJBMJHT",
        scope="openid",
        expires=later,
        interval=5,
        status=devices.AUTHORIZATION_PENDING,
        user=kim,
    )
    return {"application": application, "token": token}


def addresses(objects: dict[str, Any], *, are_known: bool) -> Iterator[str]:
    """Yield the address of every pattern; of objects that exist, or of none."""
    of_token = "authorized-token-delete"
    for pattern in management_urls.urlpatterns:
        known = {
            "client_id": "kims",
            "user_code": "WDJBMJHT",
            "issuer_path": "o",
            "resource_path": "o",
            "pk": objects["token" if pattern.name == of_token else "application"].pk,
        }
        names = pattern.pattern.converters
        unknown = {**dict.fromkeys(known, "nothing"), "pk": 0}
        values = {name: (known if are_known else unknown)[name] for name in names}
        yield reverse(f"oauth2_provider:{pattern.name}", kwargs=values)


def answers(browser: Client, objects: dict[str, Any], **query: str) -> Iterator[Any]:
    for are_known in (True, False):
        for address in addresses(objects, are_known=are_known):
            for method in METHODS:
                yield getattr(browser, method)(address, query_params=query)


@pytest.mark.parametrize("visitor", ["anonymous", "full", "holder"])
@pytest.mark.parametrize("query", [{}, {"client_id": "kims", "scope": "openid", "response_type": "code"}])
def test_pages__every_html_answer_of_every_address_is_protected(
    visitor: str, query: dict[str, str], request: Any, objects: dict[str, Any]
) -> None:
    browser = Client() if visitor == "anonymous" else request.getfixturevalue(visitor)
    statuses = set()
    with toolkit_settings(DCR_ENABLED=True):
        for response in answers(browser, objects, **query):
            if is_html(response):
                statuses.add(response.status_code)
                assert_protected(response, is_the_sites=response.status_code in {403, 404})
    assert {302, 405} <= statuses
    assert query or 400 in statuses
    assert visitor != "full" or {200, 404} <= statuses


def test_pages__every_view_of_the_conf_is_marked() -> None:
    """New patterns of a later toolkit included: the conf wraps whatever it mounts."""
    for patterns in (urls.urlpatterns, management_urls.urlpatterns):
        assert all(pattern.callback.is_tap_page for pattern in patterns)


def test_provider_pages__leaves_the_given_patterns_alone() -> None:
    ours = path("x/", lambda request: HttpResponse(), name="x")
    [wrapped] = provider_pages([ours])

    assert not hasattr(ours.callback, "is_tap_page")
    assert (wrapped.name, wrapped.pattern, wrapped.callback.is_tap_page) == ("x", ours.pattern, True)


def test_consent__page_and_its_refusals_are_protected(full: Client, objects: dict[str, Any], kim: Any) -> None:
    asked = Party(objects["application"]).request(scope="openid")
    page = full.get(asked.url)
    assert page.status_code == 200
    assert_protected(page)
    # Chromium holds `form-action` against the redirect to the client, and against those that the client adds.
    assert "form-action" not in page.headers["Content-Security-Policy"]
    for changes in ({"client_id": "unknown"}, {"redirect_uri": "https://elsewhere.test/"}, {"client_id": None}):
        refused = full.get(Party(objects["application"]).request(**changes).url)
        assert refused.status_code == 400
        assert_protected(refused)
    answered = full.post(asked.url, consent_page(full, asked))
    assert answered.status_code == 302
    assert answered.headers["Location"].startswith(REDIRECT_URI)
    assert_protected(answered)
    elsewhere = Client(enforce_csrf_checks=True)
    elsewhere.force_login(kim, "django.contrib.auth.backends.ModelBackend")
    forged = elsewhere.post(asked.url, {**asked.query, "allow": "Authorize"})
    assert forged.status_code == 403
    assert_protected(forged, is_the_sites=True)


def test_logout__question_and_error_are_protected(full: Client, objects: dict[str, Any]) -> None:
    question, error = full.get("/o/logout/"), full.get("/o/logout/", {"id_token_hint": "x"})

    assert (question.status_code, error.status_code) == (200, 400)
    for page in (question, error):
        assert_protected(page)
        assert "form-action" not in page.headers["Content-Security-Policy"]  # it may lead back to the client


@pytest.mark.parametrize(
    "path",
    [
        "device/",
        "device-confirm/kims/WDJBMJHT",
        "device-grant-status/kims/WDJBMJHT",
        "authorized_tokens/",
        "authorized_tokens/{token.pk}/delete/",
        "applications/",
        "applications/register/",
        "applications/{application.pk}/update/",
    ],
)
def test_pages__that_lead_nowhere_else_keep_forms_at_home(path: str, full: Client, objects: dict[str, Any]) -> None:
    page = full.get(f"/o/{path.format(**objects)}")

    assert page.status_code == 200
    assert_protected(page)
    assert "form-action 'self'" in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["authorized_tokens/{token.pk}/delete/", "device-confirm/kims/WDJBMJHT", "device/"])
def test_pages__refused_for_want_of_a_csrf_token_are_protected(path: str, kim: Any, objects: dict[str, Any]) -> None:
    """The middleware answers in place of the view."""
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(kim, "django.contrib.auth.backends.ModelBackend")

    response = browser.post(f"/o/{path.format(**objects)}")

    assert response.status_code == 403
    assert_protected(response, is_the_sites=True)


def test_pages__json_keeps_what_it_says_of_caching(client: Client) -> None:
    """Keys may be kept, by anybody."""
    response = client.get("/o/.well-known/jwks.json")

    assert "public" in response.headers["Cache-Control"]
    assert "Content-Security-Policy" not in response.headers
    assert get_application_model().objects.count() == 0
