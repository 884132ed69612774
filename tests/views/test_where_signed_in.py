"""Where one is signed in, as Security info lists it, and the pages that end that."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.staticfiles import finders
from django.db import connection
from django.template.loader import render_to_string
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_otp.plugins.otp_totp.models import TOTPDevice

from tap_provider.models import AuditEvent, Level, SignIn, TemporaryAccessPass
from tap_provider.sign_in import SESSION_KEY, begin_sign_in
from tap_provider.sign_in import Client as Origin
from tap_provider.views.where_signed_in import SignInsShown

from ..conftest import HOUR
from ..softauthn import SoftAuthenticator
from .test_pages import Page, query_of, text_of

SECURITY_INFO = "/account/security-info/"
END = "/account/security-info/sign-ins/end/"
EVERYWHERE = "/account/security-info/sign-out-everywhere/"
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0"

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("hasher")]  # a cheap one


def begin(user: Any, *, agent: str = "", methods: Any = ("password",), **more: Any) -> SignIn:
    now = timezone.now() - HOUR
    facts = {"amr": ["pwd"], "level": Level.SINGLE_FACTOR, "now": now, "authenticated_at": now}
    client = Origin(address="2001:db8::7", user_agent=agent)
    return begin_sign_in(user=user, methods=methods, client=client, **{**facts, **more})


def sign_in_of(browser: Client) -> SignIn:
    return SignIn.objects.get(pk=browser.session[SESSION_KEY])


def strict(browser: Client) -> Client:
    """Return the same browser, for which the CSRF token is asked."""
    copy = Client(enforce_csrf_checks=True)
    copy.cookies = browser.cookies
    return copy


def still_there(browser: Client) -> bool:
    return bool(browser.get(SECURITY_INFO).status_code == 200)


def buttons(response: Any) -> list[str]:
    return [button["value"] for button in Page(response).all("button") if button.get("name") == "end"]


@pytest.fixture(params=["registration-only", "full"])
def browser(request: pytest.FixtureRequest) -> Client:
    """Robin's browser, in a session of either kind."""
    name = {"registration-only": "holder_client", "full": "passkey_client"}[request.param]
    client: Client = request.getfixturevalue(name)
    return client


# The list


def test_list__says_on_what_from_where_by_what_and_since_when(passkey_client: Client, robin: Any) -> None:
    elsewhere = begin(robin, agent=FIREFOX, methods=["password", "totp"])
    response = passkey_client.get(SECURITY_INFO)
    told = text_of(response)
    assert "Firefox on Windows" in told
    assert "2001:db8::7" in told
    assert "Password, Authenticator app" in told
    assert elsewhere.created_at.isoformat(timespec="seconds")[:16] in response.content.decode()


def test_list__names_a_pass_a_gone_kind_and_an_unknown_one(holder_client: Client, robin: Any) -> None:
    begin(robin, methods=["carrier-pigeon"])
    begin(robin, methods=[], signed_in_at=None, authenticated_at=None)
    told = text_of(holder_client.get(SECURITY_INFO))
    assert "Temporary Access Pass ·" in told
    assert "carrier-pigeon" in told
    assert "Not known by which method" in told
    assert "Known since" in told
    assert "Unknown device" in told


def test_list__this_browser_is_first_and_marked(browser: Client, robin: Any) -> None:
    others = [begin(robin, now=timezone.now() + number * HOUR) for number in (2, 1, 3)]
    response = browser.get(SECURITY_INFO)
    newest_first = [str(others[number].pk) for number in (2, 0, 1)]
    assert buttons(response)[:4] == [str(sign_in_of(browser).pk), *newest_first]
    assert len(buttons(response)) == SignIn.objects.count()
    assert [mark.get("class") for mark in Page(response).all("span")].count("here") == 1


def test_list__holds_nobody_elses(browser: Client, admin: Any) -> None:
    theirs = begin(admin, agent=FIREFOX)
    response = browser.get(SECURITY_INFO)
    assert str(theirs.pk) not in response.content.decode()
    assert "Firefox" not in text_of(response)


@pytest.mark.parametrize(
    "agent", ["<script>alert(1)</script>", "<b>bot/1.0</b>", "Bot<img src=x>/2 Safari/1", "A" * 10_000]
)
def test_list__a_hostile_browser_is_escaped(passkey: SoftAuthenticator, robin: Any, agent: str) -> None:
    client = Client(headers={"user-agent": agent})
    client.force_login(robin)
    page = Page(client.get(SECURITY_INFO))
    assert {"b", "img"}.isdisjoint(tag for tag, _ in page.tags)
    assert [script for script in page.all("script") if "src" not in script and script.get("type") == ""] == []
    assert len(page.all("button")) > 0


def test_list__escapes_whatever_a_device_or_method_may_be_called(robin: Any) -> None:
    """Today's rules name no browser in its own words; those of tomorrow may."""
    row = {"sign_in": begin(robin), "device": "<b>bot</b>", "methods": ["<i>x</i>", "<u>y</u>"], "is_current": False}
    shown = render_to_string(
        "tap_provider/includes/sign_ins.html", {"sign_ins": SignInsShown([row], count=1), "next": ""}
    )
    assert "&lt;b&gt;bot&lt;/b&gt;" in shown
    assert "&lt;i&gt;x&lt;/i&gt;, &lt;u&gt;y&lt;/u&gt;" in shown


def test_list__says_when_each_was_last_seen(passkey_client: Client, robin: Any) -> None:
    elsewhere = begin(robin, agent=FIREFOX)
    SignIn.objects.filter(pk=elsewhere.pk).update(last_seen_at=timezone.now() - 3 * HOUR)
    page = text_of(passkey_client.get(SECURITY_INFO))
    others = SignIn.objects.filter(user=robin, ended_at=None).count() - 1
    assert page.count("Last active") == others  # of this browser it is plain


def test_list__says_where_there_are_more(passkey_client: Client, robin: Any) -> None:
    """A thief who signs in two hundred times is not out of sight."""
    assert "Show all" not in text_of(passkey_client.get(SECURITY_INFO))
    for _ in range(200):
        begin(robin)
    first = passkey_client.get(SECURITY_INFO)
    assert len(buttons(first)) == 5
    assert f'href="{SECURITY_INFO}?all-sign-ins#sign-ins"' in first.content.decode()
    page = text_of(passkey_client.get(f"{SECURITY_INFO}?all-sign-ins"))
    assert "Only the last 200 are shown. Signing out everywhere ends the others too." in page


def test_list__of_twenty_methods_and_fifty_sign_ins_is_twelve_queries_and_sixty_kilobytes(
    passkey_client: Client, robin: Any, issue: Any
) -> None:
    now = timezone.now()
    for number in range(19):
        TOTPDevice.objects.create(user=robin, confirmed=True, name=f"App {number}", created_at=now, last_used_at=now)
    for number in range(49):
        begin(robin, agent=f"{FIREFOX} {number}", methods=["password", "totp"])
    issue(robin)
    passkey_client.get(SECURITY_INFO)
    with CaptureQueriesContext(connection) as statements:
        response = passkey_client.get(SECURITY_INFO)
    assert len(buttons(response)) == 5
    assert len(statements) <= 12, [query["sql"] for query in statements]
    assert len(response.content) + weight_of_what_it_loads(response) < 60_000
    with CaptureQueriesContext(connection) as statements:
        response = passkey_client.get(f"{SECURITY_INFO}?all-sign-ins")
    assert len(buttons(response)) == 50
    assert len(statements) <= 12, [query["sql"] for query in statements]
    assert len(response.content) < 60_000


def weight_of_what_it_loads(response: Any) -> int:
    """The style sheet and the scripts, as they are sent without compression."""
    page, weight = Page(response), 0
    addresses = [tag["href"] for tag in page.all("link")]
    addresses += [tag["src"] for tag in page.all("script") if "src" in tag]
    for address in addresses:
        is_static = address.startswith("/static/")
        found = finders.find(address.removeprefix("/static/")) if is_static else None
        weight += len(Path(found).read_bytes() if found else Client().get(address).content)
    return weight


# Ending one


def test_end__the_other_browser_is_out_at_its_next_request(browser: Client, robin: Any) -> None:
    other = Client()
    other.force_login(robin)
    assert still_there(other)
    answer = browser.post(END, {"end": str(sign_in_of(other).pk)}, follow=True)
    assert "That sign-in is ended." in text_of(answer)
    assert not still_there(other)
    assert still_there(browser)


def test_end__this_browser_is_signed_out(browser: Client, robin: Any) -> None:
    this = sign_in_of(browser)
    answer = browser.post(END, {"end": str(this.pk)})
    assert answer["Location"] == "/account/sign-in/?notice=signed_out"
    assert dict(browser.session) == {}
    assert not still_there(browser)
    this.refresh_from_db()
    assert this.ended_reason == SignIn.EndedReason.SIGNED_OUT


@pytest.mark.parametrize("what", ["another user's", "unknown", "", "x", "\x00", "1" * 10_000, None], ids=str)
def test_end__of_what_is_not_ones_own_is_the_same_answer_and_ends_nothing(
    browser: Client, admin: Any, what: Any
) -> None:
    theirs = begin(admin)
    value = {"another user's": str(theirs.pk), "unknown": str(uuid4())}.get(what, what)
    answer = browser.post(END, {} if value is None else {"end": value})
    assert answer["Location"] == f"{SECURITY_INFO}?notice=sign_in_gone"
    theirs.refresh_from_db()
    assert theirs.ended_at is None
    assert "not open any more" in text_of(browser.get(answer["Location"]))


# Ending all


def test_everywhere__stays_signed_in_here_by_choice(browser: Client, robin: Any) -> None:
    other = Client()
    other.force_login(robin)
    answer = browser.post(EVERYWHERE, {"here": "stay"}, follow=True)
    assert "signed out everywhere but here" in text_of(answer)
    assert not still_there(other)
    assert still_there(browser)


def test_everywhere__signs_out_here_too_by_choice(browser: Client, robin: Any) -> None:
    other = Client()
    other.force_login(robin)
    answer = browser.post(EVERYWHERE, {"here": "leave"}, follow=True)
    assert answer.redirect_chain[0][0] == "/account/sign-in/?notice=signed_out_everywhere"
    assert "You are signed out everywhere." in text_of(answer)
    assert dict(browser.session) == {}
    assert {one.ended_reason for one in SignIn.objects.filter(ended_at__gte=timezone.now() - HOUR)} <= {
        "everywhere",
        "signed_in_anew",
    }
    assert not still_there(other)
    assert not still_there(browser)


def test_everywhere__says_that_a_pass_stays(passkey_client: Client, robin: Any, issue: Any) -> None:
    TemporaryAccessPass.objects.all().delete()
    said = "Your Temporary Access Pass stays, too"
    assert said not in text_of(passkey_client.get(EVERYWHERE))
    issue(robin)
    assert said in text_of(passkey_client.get(EVERYWHERE))
    passkey_client.post(EVERYWHERE, {"here": "stay"})
    assert TemporaryAccessPass.objects.filter(user=robin).exists()


def test_everywhere__a_copy_of_this_browsers_cookie_is_no_way_in(browser: Client) -> None:
    """Whoever copied the cookie is in the same session, and would be kept with it."""
    thief = Client()
    thief.cookies["sessionid"] = browser.cookies["sessionid"].value
    assert still_there(thief)
    before = browser.session.get_expiry_age()
    browser.post(EVERYWHERE, {"here": "stay"})
    assert not still_there(thief)
    assert still_there(browser)
    assert abs(browser.session.get_expiry_age() - before) < 60


def test_everywhere__the_csrf_token_is_another_afterwards(browser: Client) -> None:
    browser.get(EVERYWHERE)
    before = browser.cookies["csrftoken"].value
    browser.post(EVERYWHERE, {"here": "stay"})
    assert browser.cookies["csrftoken"].value != before


@pytest.mark.parametrize("kind", ["full", "registration-only"])
def test_everywhere__a_copy_of_a_cookie_that_holds_the_session_is_none_either(
    settings: Any, kind: str, robin: Any, issue: Any, sign_in_with_pass: Any
) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    browser, thief = Client(), Client()
    if kind == "full":
        browser.force_login(robin)
    else:
        sign_in_with_pass(robin.upn, issue(robin).passcode.reveal(), browser)
    before = SignIn.objects.get(ended_at=None)
    thief.cookies["sessionid"] = browser.cookies["sessionid"].value
    assert thief.get(SECURITY_INFO).status_code == 200

    browser.post(EVERYWHERE, {"here": "stay"})

    assert thief.get(SECURITY_INFO).status_code == 302
    assert browser.get(SECURITY_INFO).status_code == 200
    after = SignIn.objects.get(ended_at=None)
    for fact in ("methods", "amr", "level", "authenticated_at", "signed_in_at", "deadline", "pass_id"):
        assert getattr(after, fact) == getattr(before, fact), fact


@pytest.mark.parametrize("choice", [{}, {"here": ""}, {"here": "perhaps"}, {"here": "\x00"}], ids=str)
def test_everywhere__without_a_choice_asks_again(browser: Client, robin: Any, choice: dict[str, str]) -> None:
    other = begin(robin)
    answer = browser.post(EVERYWHERE, choice)
    assert answer.status_code == 200
    assert "id_here_error" in Page(answer).ids
    other.refresh_from_db()
    assert other.ended_at is None


def test_everywhere__next_travels_along_if_it_is_ours(browser: Client) -> None:
    form = Page(browser.get(f"{EVERYWHERE}?next=/members/"))
    assert form.value_of("next") == "/members/"
    answer = browser.post(EVERYWHERE, {"here": "stay", "next": "/members/"})
    assert query_of(answer["Location"])["next"] == ["/members/"]
    answer = browser.post(EVERYWHERE, {"here": "stay", "next": "https://elsewhere.test/"})
    assert "next" not in query_of(answer["Location"])


# Both


@pytest.mark.parametrize("method", ["get", "head"])
@pytest.mark.parametrize("url", [END, EVERYWHERE])
def test_pages__by_get_end_nothing(browser: Client, robin: Any, url: str, method: str) -> None:
    other = begin(robin)
    events = AuditEvent.objects.count()
    response = getattr(browser, method)(url, {"end": str(other.pk), "here": "leave"})
    assert response.status_code == (405 if url == END else 200)
    other.refresh_from_db()
    assert other.ended_at is None
    assert AuditEvent.objects.count() == events


@pytest.mark.parametrize("site_has_middleware", [True, False])
@pytest.mark.parametrize("url", [END, EVERYWHERE])
def test_pages__ask_for_the_csrf_token(
    browser: Client, robin: Any, settings: Any, url: str, site_has_middleware: bool
) -> None:
    other = begin(robin)
    if not site_has_middleware:
        settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if not name.endswith("CsrfViewMiddleware")]
    assert strict(browser).post(url, {"end": str(other.pk), "here": "leave"}).status_code == 403
    other.refresh_from_db()
    assert other.ended_at is None


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("url", [END, EVERYWHERE])
def test_pages__send_strangers_to_the_sign_in_page(client: Client, robin: Any, url: str, method: str) -> None:
    other = begin(robin)
    response = getattr(client, method)(url, {"end": str(other.pk), "here": "leave"})
    if (url, method) != (END, "get"):
        assert response["Location"].startswith("/account/sign-in/?next=")
    other.refresh_from_db()
    assert other.ended_at is None
