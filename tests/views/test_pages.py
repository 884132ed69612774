"""The pages: what they show, where they lead, what they refuse, and that nothing a stranger sends breaks them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.sessions.models import Session
from django.core.signals import got_request_exception
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone
from django.views.debug import ExceptionReporter
from django_otp.plugins.otp_totp.models import TOTPDevice
from django_otp_webauthn.models import WebAuthnCredential

from tap_provider.hooks import Hooks
from tap_provider.models import SignIn, TemporaryAccessPass
from tap_provider.policy import change_policy
from tap_provider.sign_in import SESSION_KEY

from ..conftest import HOUR, MINUTE
from ..methods.test_totp import PASSWORD, app, awaiting_client, code_of, forgive
from ..softauthn import BEGIN_AUTHENTICATION, SoftAuthenticator, post_json, register_passkey

__all__ = ["app", "awaiting_client"]  # fixtures

SIGN_IN = "/account/sign-in/"
VERIFY = "/account/sign-in/verify/"
PASS = "/account/sign-in/pass/"
SIGN_OUT = "/account/sign-out/"
SECURITY_INFO = "/account/security-info/"
FINISH = "/account/security-info/finish/"
ADD_TOTP = "/account/security-info/add/totp/"
ADD_PASSWORD = "/account/security-info/add/password/"
RECOVERY_CODES = "/account/methods/recovery_codes/"

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("hasher")]  # a cheap one


class Page(HTMLParser):
    """What a test wants to know of a page: tags with attributes, and what stands inside scripts and styles."""

    def __init__(self, response: HttpResponse) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.inline: list[tuple[str, str]] = []
        self._within: str | None = None
        self.feed(response.content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._within = tag if tag in {"script", "style"} else self._within

    def handle_endtag(self, tag: str) -> None:
        self._within = None if tag == self._within else self._within

    def handle_data(self, data: str) -> None:
        if self._within is not None and data.strip():
            kind = dict(self.tags[-1][1]).get("type", "")
            self.inline.append((f"{self._within} {kind}".strip(), data))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def value_of(self, name: str) -> str | None:
        return next((field.get("value") for field in self.all("input") if field.get("name") == name), None)

    @property
    def links(self) -> list[str]:
        return [link.get("href", "") for link in self.all("a")]

    @property
    def ids(self) -> set[str]:
        return {attributes["id"] for _, attributes in self.tags if "id" in attributes}


def text_of(response: HttpResponse) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def query_of(url: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(url).query)


def age_pass(user: Any, by: Any) -> None:
    """Let the user's pass be that much older."""
    held = TemporaryAccessPass.objects.get(user=user)
    held.starts_at, held.expires_at = held.starts_at - by, held.expires_at - by
    held.save()


@pytest.fixture
def known(robin: Any) -> Any:
    """Robin, who has a password."""
    robin.set_password(PASSWORD)
    robin.save()
    return robin


# Every page of ours.


@pytest.fixture
def every_page(
    robin: Any, app: TOTPDevice, issue: Any, admin: Any, settings: Any, sign_in_with_pass: Any
) -> dict[str, HttpResponse]:
    """Visit every page of ours in each of its states."""
    settings.TAP_PROVIDER_REGISTRABLE_METHODS = ["passkey", "totp", "recovery_codes", "password"]
    stranger, awaiting, holder, full = Client(), Client(), Client(), Client()
    pages = {
        "sign in": stranger.get(SIGN_IN),
        "sign in, notice": stranger.get(f"{SIGN_IN}?notice=ended&next=/members/"),
        "sign in, refused": stranger.post(SIGN_IN, {"upn": robin.upn, "password": "wrong"}),
        "sign in, incomplete": stranger.post(SIGN_IN, {"upn": ""}),
        "pass": stranger.get(PASS),
        "pass, refused": stranger.post(PASS, {"upn": robin.upn, "passcode": "ABCD-EFGH"}),
        "pass, empty": stranger.post(PASS, {}),
        "sign out": stranger.get(SIGN_OUT),
        "signed out": stranger.get(SECURITY_INFO),
        "finish by get": stranger.get(FINISH),
        "texts": stranger.get("/account/methods/passkey/texts.js"),
        "password right": awaiting.post(SIGN_IN, {"upn": robin.upn, "password": PASSWORD}),
        "second step": awaiting.get(VERIFY),
        "second step, refused": awaiting.post(VERIFY, {"code": "no code"}),
    }
    app.delete()
    change_policy(actor=admin, now=timezone.now(), require_registration=True)
    pages["pass, accepted"] = sign_in_with_pass(robin.upn, issue(robin).passcode.reveal(), holder)
    pages["security info"] = holder.get(f"{SECURITY_INFO}?next=/members/")
    pages["finish, refused"] = holder.post(FINISH)
    for url in ("sign-out-everywhere/", "pass/delete/"):
        pages[url] = holder.get(f"{SECURITY_INFO}{url}")
    pages["sign out everywhere, no choice"] = holder.post(f"{SECURITY_INFO}sign-out-everywhere/")
    pages["signed out everywhere"] = holder.post(f"{SECURITY_INFO}sign-out-everywhere/", {"here": "stay"}, follow=True)
    for kind, url in (("app", ADD_TOTP), ("password", ADD_PASSWORD)):
        pages[f"add {kind}, begun"] = holder.post(url, {"begin": "1"})
        pages[f"add {kind}"] = holder.get(url)
        pages[f"add {kind}, refused"] = holder.post(url, {"code": "1", "new_password1": "1", "new_password2": "2"})
    pages["recovery codes"] = holder.post(RECOVERY_CODES)
    register_passkey(holder, SoftAuthenticator())
    pages["security info, with a method"] = holder.get(f"{SECURITY_INFO}?registered=passkey")
    pages["finished"] = holder.post(FINISH)
    full.force_login(robin)
    pages["security info, may not register"] = full.get(SECURITY_INFO)
    late = Client()
    late.post(SIGN_IN, {"upn": robin.upn, "password": PASSWORD})
    pages["second step, recovery code"] = late.get(VERIFY)
    pages["second step, recovery code refused"] = late.post(VERIFY, {"code": "no code"})
    for _ in range(10):
        stranger.post(PASS, {"upn": "nobody@example.test", "passcode": "ABCD-EFGH"})
    pages["too many"] = stranger.post(PASS, {"upn": "nobody@example.test", "passcode": "ABCD-EFGH"})
    return pages


def test_every_page__is_what_it_is_meant_to_be(every_page: dict[str, HttpResponse]) -> None:
    redirects = {"signed out", "password right", "pass, accepted", "add app, begun", "add password, begun", "finished"}
    redirects.add("finish by get")
    others = {"finish, refused": 409, "too many": 429}
    expected = {name: 302 if name in redirects else others.get(name, 200) for name in every_page}
    assert {name: response.status_code for name, response in every_page.items()} == expected


def test_every_page__forbids_whatever_is_inline_or_foreign(every_page: dict[str, HttpResponse]) -> None:
    del every_page["texts"]
    for name, response in every_page.items():
        policy = response["Content-Security-Policy"]
        assert "default-src 'none'" in policy, name
        assert "script-src 'self';" in policy, name
        assert "style-src 'self';" in policy, name
        assert "unsafe" not in policy, name
        assert "form-action 'self'" in policy, name


def test_every_page__holds_no_inline_script_or_style(every_page: dict[str, HttpResponse]) -> None:
    for name, response in every_page.items():
        if not response["Content-Type"].startswith("text/html"):
            continue
        page = Page(response)
        assert {kind for kind, _ in page.inline} <= {"script application/json"}, name
        for tag, attributes in page.tags:
            assert "style" not in attributes, (name, tag)
            assert not any(attribute.startswith("on") for attribute in attributes), (name, tag)
            for address in {"href", "src", "action", "formaction"} - ({"href"} if "download" in attributes else set()):
                assert not re.match(r"\s*(javascript|data|https?|//)", attributes.get(address, "")), (name, tag)


def test_every_page__is_kept_by_no_cache(every_page: dict[str, HttpResponse]) -> None:
    del every_page["texts"]
    for name, response in every_page.items():
        assert "no-store" in response["Cache-Control"], name


def test_every_page__keeps_its_address_to_itself(every_page: dict[str, HttpResponse]) -> None:
    del every_page["texts"]
    for name, response in every_page.items():
        assert response["Referrer-Policy"] == "same-origin", name
        assert response["X-Frame-Options"] == "DENY", name


def test_every_page__has_one_heading_a_language_and_a_title(every_page: dict[str, HttpResponse]) -> None:
    for name, response in every_page.items():
        if response.status_code == 200 and response["Content-Type"].startswith("text/html"):
            page = Page(response)
            assert len(page.all("h1")) == 1, name
            assert page.all("html")[0]["lang"] == "en", name
            assert "<title>" in response.content.decode(), name


def test_every_page__labels_every_field(every_page: dict[str, HttpResponse]) -> None:
    for name, response in every_page.items():
        if response["Content-Type"].startswith("text/html"):
            page = Page(response)
            labelled = {label.get("for") for label in page.all("label")}
            fields = [field for field in page.all("input") if field.get("type") not in {"hidden", "submit"}]
            assert {field.get("id") for field in fields} <= labelled, name


def test_every_page__posts_with_the_csrf_token(every_page: dict[str, HttpResponse]) -> None:
    for name, response in every_page.items():
        if response["Content-Type"].startswith("text/html"):
            page = Page(response)
            posts = [form for form in page.all("form") if form.get("method", "get").lower() == "post"]
            tokens = [field for field in page.all("input") if field.get("name") == "csrfmiddlewaretoken"]
            assert len(tokens) == len(posts), name


@pytest.mark.parametrize("url", [SIGN_IN, PASS, SIGN_OUT, FINISH, ADD_TOTP])
def test_post__without_the_csrf_token_is_refused(holder_client: Client, url: str) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = holder_client.cookies
    assert strict.post(url, {"begin": "1"}).status_code == 403
    assert holder_client.get(SECURITY_INFO).status_code == 200


@pytest.mark.parametrize("url", [SIGN_IN, PASS, SIGN_OUT, FINISH, ADD_TOTP])
def test_post__asks_for_the_csrf_token_even_where_the_site_has_no_middleware_for_it(
    holder_client: Client, settings: Any, url: str
) -> None:
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if not name.endswith("CsrfViewMiddleware")]
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = holder_client.cookies
    assert strict.post(url, {"begin": "1"}).status_code == 403


@pytest.mark.parametrize("url", [SIGN_IN, VERIFY, PASS, SIGN_OUT, SECURITY_INFO, FINISH, ADD_TOTP])
@pytest.mark.parametrize("method", ["put", "patch", "delete", "options"])
def test_page__other_methods_are_refused(holder_client: Client, url: str, method: str) -> None:
    assert getattr(holder_client, method)(url).status_code == 405


# Signing in with a pass.


def test_sign_in_with_pass__leads_to_security_info(
    client: Client, robin: Any, issue: Any, sign_in_with_pass: Any
) -> None:
    response = sign_in_with_pass(robin.upn, issue(robin).passcode.reveal())
    assert response["Location"] == SECURITY_INFO
    assert client.get(SECURITY_INFO).status_code == 200


def test_sign_in_with_pass__the_cookie_lives_a_little_longer_than_the_session(
    client: Client, robin: Any, issue: Any, sign_in_with_pass: Any
) -> None:
    sign_in_with_pass(robin.upn, issue(robin, is_usable_once=True).passcode.reveal())
    assert 0 < client.cookies["sessionid"]["max-age"] <= 600 + 600  # who comes too late is told so
    assert client.cookies["sessionid"]["httponly"]


def typed(passcode: str, how: str) -> str:
    dashed = "-".join(passcode[i : i + 4] for i in range(0, len(passcode), 4))
    return {
        "as shown": dashed,
        "lower case": passcode.lower(),
        "spaces": " ".join(passcode),
        "odd dashes": dashed.replace("-", "\u2013"),
        "look-alikes": passcode.replace("0", "O").replace("1", "l"),
        "more look-alikes": passcode.replace("0", "o").replace("1", "I"),
        "copied with marks": f"\u202a{dashed}\u202c\u200f\n",
        "full width": "".join(chr(ord(c) + 0xFEE0) for c in passcode),
    }[how]


@pytest.mark.parametrize(
    "how",
    [
        "as shown",
        "lower case",
        "spaces",
        "odd dashes",
        "look-alikes",
        "more look-alikes",
        "copied with marks",
        "full width",
    ],
)
def test_sign_in_with_pass__is_accepted_as_people_type_it(
    robin: Any, issue: Any, sign_in_with_pass: Any, how: str
) -> None:
    assert sign_in_with_pass(robin.upn, typed(issue(robin).passcode.reveal(), how)).status_code == 302


@pytest.mark.parametrize("upn", ["ROBIN@EXAMPLE.TEST", " robin@example.test ", "robin@example.test\u200f"])
def test_sign_in_with_pass__the_upn_is_matched_without_regard_to_case(
    robin: Any, issue: Any, sign_in_with_pass: Any, upn: str
) -> None:
    assert sign_in_with_pass(upn, issue(robin).passcode.reveal()).status_code == 302


@pytest.fixture
def refusals(make_user: Any, robin: Any, issue: Any, admin: Any, sign_in_with_pass: Any) -> dict[str, HttpResponse]:
    """Everything that must look the same from outside; all inputs of the same length."""
    quinn, gonne, bored, alone = (make_user(name) for name in ("quinn", "gonne", "bored", "alone"))
    wrong, robins, quinns, gonnes = (
        "ABCDEFGH",
        issue(robin).passcode.reveal(),
        issue(quinn).passcode.reveal(),
        issue(gonne).passcode.reveal(),
    )
    issue(bored)
    type(gonne)._default_manager.filter(pk=gonne.pk).update(is_active=False)
    change_policy(actor=admin, now=timezone.now(), excluded_users=[bored])
    assert robins != quinns != wrong
    cases = {
        "unknown user": ("nobod@example.test", wrong),
        "no pass": (alone.upn, wrong),
        "wrong passcode": (robin.upn, wrong),
        "another user's passcode": (robin.upn, quinns),
        "inactive user, right passcode": (gonne.upn, gonnes),
        "inactive user, wrong passcode": (gonne.upn, wrong),
        "user outside the policy, wrong passcode": (bored.upn, wrong),
        "no passcode at all": (robin.upn, "!!!!!!!!"),
    }
    return {name: sign_in_with_pass(upn, passcode, Client()) for name, (upn, passcode) in cases.items()}


def without_what_was_typed(response: HttpResponse) -> str:
    page = Page(response)
    html = response.content.decode()
    for name in ("upn", "passcode", "csrfmiddlewaretoken"):
        value = page.value_of(name)
        html = html.replace(value, f"({name})") if value else html
    return html


def test_sign_in_with_pass__every_refusal_is_the_same_page(refusals: dict[str, HttpResponse]) -> None:
    assert {response.status_code for response in refusals.values()} == {200}
    assert len({len(response.content) for response in refusals.values()}) == 1
    assert len({without_what_was_typed(response) for response in refusals.values()}) == 1
    headers = {tuple(sorted((name, len(value)) for name, value in page.headers.items())) for page in refusals.values()}
    assert len(headers) == 1
    assert len({tuple(sorted(response.cookies)) for response in refusals.values()}) == 1
    assert "do not match" in text_of(refusals["wrong passcode"])


def test_sign_in_with_pass__what_was_typed_as_a_passcode_is_not_sent_back(sign_in_with_pass: Any) -> None:
    assert "ABCD-EFGH" not in sign_in_with_pass("robin@example.test", "ABCD-EFGH").content.decode()


def test_sign_in_with_pass__no_refusal_signs_anybody_in(refusals: dict[str, HttpResponse]) -> None:
    assert not SignIn.objects.exists()
    assert all("sessionid" not in response.cookies for response in refusals.values())


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("expired", "expired"),
        ("not yet valid", "not valid yet"),
        ("already used", "already used"),
        ("policy off", "policy"),
        ("user excluded", "policy"),
        ("one-time only", "policy"),
    ],
)
def test_sign_in_with_pass__the_right_passcode_is_told_why_it_is_of_no_use(
    robin: Any, admin: Any, issue: Any, sign_in_with_pass: Any, case: str, said: str
) -> None:
    now = timezone.now()
    passcode = issue(robin, is_usable_once=case == "already used").passcode.reveal()
    if case in {"expired", "not yet valid"}:
        age_pass(robin, by=2 * HOUR if case == "expired" else -2 * HOUR)
    elif case == "already used":
        sign_in_with_pass(robin.upn, passcode, Client())
    else:
        changes: dict[str, dict[str, Any]] = {
            "policy off": {"enabled": False},
            "user excluded": {"excluded_users": [robin]},
            "one-time only": {"one_time_only": True},
        }
        change_policy(actor=admin, now=now, **changes[case])
    response = sign_in_with_pass(robin.upn, passcode, Client())
    assert response.status_code == 200
    assert said in text_of(response)
    assert "administrator" in text_of(response)
    assert "do not match" not in text_of(response)
    assert "sessionid" not in response.cookies


def test_sign_in_with_pass__the_eleventh_guess_is_told_how_long_to_wait(
    robin: Any, issue: Any, sign_in_with_pass: Any
) -> None:
    passcode = issue(robin).passcode.reveal()
    for _ in range(10):
        assert sign_in_with_pass(robin.upn, "ABCD-EFGH").status_code == 200
    response = sign_in_with_pass(robin.upn, passcode)  # not even with the right one
    assert response.status_code == 429
    assert 0 < int(response["Retry-After"]) <= 660
    assert "too many attempts" in text_of(response)
    assert not SignIn.objects.exists()


def test_sign_in_with_pass__the_eleventh_guess_at_nobody_is_the_same_page(
    robin: Any, issue: Any, sign_in_with_pass: Any
) -> None:
    issue(robin)
    pages = []
    for upn in (robin.upn, "nobod@example.test"):
        for _ in range(10):
            sign_in_with_pass(upn, "ABCD-EFGH")
        pages.append(sign_in_with_pass(upn, "ABCD-EFGH"))
    assert [page.status_code for page in pages] == [429, 429]
    assert len({without_what_was_typed(page) for page in pages}) == 1


@pytest.mark.parametrize("method", ["get", "head"])
def test_sign_in_with_pass__only_a_post_spends(robin: Any, issue: Any, client: Client, method: str) -> None:
    # Scanners of mail follow links.
    passcode = issue(robin, is_usable_once=True).passcode.reveal()
    response = getattr(client, method)(PASS, {"upn": robin.upn, "passcode": passcode})
    assert response.status_code == 200
    assert client.post(f"{PASS}?upn={robin.upn}&passcode={passcode}", {}).status_code == 200
    assert TemporaryAccessPass.objects.get(user=robin).redemption_count == 0
    assert not SignIn.objects.exists()
    assert passcode not in response.content.decode()


# Security info.


@pytest.mark.aware_times
def test_security_info__says_until_when_and_for_what(holder_client: Client, robin: Any) -> None:
    response = holder_client.get(SECURITY_INFO)
    page = Page(response)
    deadline = SignIn.objects.get(user=robin).deadline
    assert deadline is not None
    shown = [moment["datetime"] for moment in page.all("time")]
    assert deadline.replace(microsecond=0).isoformat() in [
        at.partition(".")[0].replace("+00:00", "") + "+00:00" for at in shown
    ]
    assert robin.upn in text_of(response)
    assert "Temporary Access Pass" in text_of(response)
    assert {"session", "method-passkey", "method-totp", "passkey-registration-placeholder"} <= page.ids
    assert "method-password" not in page.ids


def test_security_info__lists_what_is_registered(holder_client: Client, robin: Any) -> None:
    TOTPDevice.objects.create(user=robin, name="Robin's old phone", confirmed=True)
    TOTPDevice.objects.create(user=robin, name="never confirmed", confirmed=False)
    response = holder_client.get(SECURITY_INFO)
    assert "Robin&#x27;s old phone" in response.content.decode()
    assert "never confirmed" not in response.content.decode()


@pytest.mark.parametrize("why", ["never was", "has ended"])
def test_security_info__who_is_not_signed_in_is_sent_to_sign_in(holder_client: Client, robin: Any, why: str) -> None:
    browser = holder_client if why == "has ended" else Client()
    SignIn.objects.filter(user=robin).update(deadline=timezone.now() - MINUTE)
    response = browser.get(f"{SECURITY_INFO}?registered=totp")
    assert response["Location"].startswith(SIGN_IN)
    query = query_of(response["Location"])
    assert query["next"] == [SECURITY_INFO]  # what it said had just happened is not said once more
    assert query.get("notice") == (["ended"] if why == "has ended" else None)


@pytest.mark.parametrize("url", [ADD_TOTP, FINISH, RECOVERY_CODES, f"{SECURITY_INFO}sign-out-everywhere/"])
def test_form__posted_when_not_even_the_cookie_is_left_is_told_that_the_session_has_ended(url: str) -> None:
    response = Client().post(url, {"begin": "1"})
    assert query_of(response["Location"])["notice"] == ["ended"]


def test_security_info__of_a_full_session_that_has_ended_speaks_of_no_pass(passkey_client: Client) -> None:
    SignIn.objects.update(ended_at=timezone.now(), ended_reason=SignIn.EndedReason.ENDED_ELSEWHERE)
    response = passkey_client.get(SECURITY_INFO)
    assert query_of(response["Location"])["notice"] == ["session_ended"]
    assert "Your session has ended. Sign in again." in text_of(passkey_client.get(response["Location"]))


@pytest.mark.parametrize("notice", ["ended", "session_ended", "too_late", "signed_out", "finished"])
def test_sign_in__says_what_has_just_happened(client: Client, notice: str) -> None:
    plain = len(client.get(SIGN_IN).content)
    assert len(client.get(SIGN_IN, {"notice": notice}).content) > plain
    assert "<i>" not in client.get(SIGN_IN, {"notice": "<i>"}).content.decode()


HOSTILE = "\"><script>alert(1)</script>'&{{x}}"


def test_page__a_hostile_name_is_escaped(make_user: Any, issue: Any, admin: Any, sign_in_with_pass: Any) -> None:
    quinn = make_user("quinn", upn=f"{HOSTILE}@example.test", first_name=HOSTILE)
    TOTPDevice.objects.create(user=quinn, name=HOSTILE, confirmed=True)
    quinn.set_password(PASSWORD)
    quinn.save()
    holder, awaiting = Client(), Client()
    responses = [sign_in_with_pass(quinn.upn, "ABCD-EFGH", Client())]
    sign_in_with_pass(quinn.upn, issue(quinn).passcode.reveal(), holder)
    holder.post(ADD_TOTP, {"begin": "1"})
    awaiting.post(SIGN_IN, {"upn": quinn.upn, "password": PASSWORD})
    responses += [holder.get(SECURITY_INFO), holder.get(ADD_TOTP), awaiting.get(VERIFY)]
    for response in responses:
        assert response.status_code == 200
        assert "<script>alert" not in response.content.decode()
        assert {kind for kind, _ in Page(response).inline} <= {"script application/json"}


@pytest.mark.parametrize("url", [SIGN_IN, PASS, SIGN_OUT, SECURITY_INFO])
@pytest.mark.parametrize("name", ["next", "notice", "registered", "upn"])
def test_page__a_hostile_address_is_escaped(holder_client: Client, url: str, name: str) -> None:
    for value in (f"/{HOSTILE}", HOSTILE):
        assert "<script>alert" not in holder_client.get(url, {name: value}).content.decode()


# Finishing and signing out.


def test_finish__ends_the_session_and_leads_to_signing_in(holder_client: Client, robin: Any) -> None:
    register_passkey(holder_client, SoftAuthenticator())
    response = holder_client.post(FINISH)
    assert response["Location"] == f"{SIGN_IN}?notice=finished"
    sign_in = SignIn.objects.get(user=robin)
    assert sign_in.ended_reason == SignIn.EndedReason.FINISHED
    assert dict(holder_client.session) == {}
    assert holder_client.get(SECURITY_INFO).status_code == 302


def test_finish__with_nothing_added_does_not_speak_of_a_new_method(holder_client: Client) -> None:
    assert holder_client.post(FINISH)["Location"] == f"{SIGN_IN}?notice=signed_out"


@pytest.mark.parametrize("is_usable_once", [True, False])
def test_security_info__says_that_leaving_with_nothing_costs_a_one_time_pass(
    robin: Any, issue: Any, sign_in_with_pass: Any, client: Client, is_usable_once: bool
) -> None:
    sign_in_with_pass(robin.upn, issue(robin, is_usable_once=is_usable_once).passcode.reveal())
    said = "your pass is good for one sign-in only"
    for page in (SECURITY_INFO, SIGN_OUT):
        assert (said in text_of(client.get(page))) is is_usable_once
    register_passkey(client, SoftAuthenticator())
    for page in (SECURITY_INFO, SIGN_OUT):
        assert said not in text_of(client.get(page))


@pytest.mark.parametrize(("kind", "told"), [("passkey", "you can sign in with it"), ("totp", "after your password")])
def test_security_info__says_of_a_new_method_when_it_is_asked_for(holder_client: Client, kind: str, told: str) -> None:
    assert told in text_of(holder_client.get(f"{SECURITY_INFO}?registered={kind}"))


@pytest.mark.parametrize(("url", "secret"), [(SIGN_IN, "password"), (PASS, "passcode")])
def test_sign_in__after_a_refusal_the_secret_is_typed_anew(client: Client, url: str, secret: str) -> None:
    def focused(response: HttpResponse) -> list[str]:
        return [attrs["name"] for _tag, attrs in Page(response).tags if "autofocus" in attrs]

    assert focused(client.get(url)) == ["upn"]
    assert focused(client.post(url, {"upn": "robin@example.test", secret: "wrong"})) == [secret]
    assert focused(client.post(url, {secret: "wrong"})) == ["upn"]


def test_finish__is_blocked_with_a_reason_until_a_strong_method_exists(
    holder_client: Client, admin: Any, robin: Any
) -> None:
    change_policy(actor=admin, now=timezone.now(), require_registration=True)
    assert "left-to-do" in Page(holder_client.get(SECURITY_INFO)).ids
    response = holder_client.post(FINISH)
    assert response.status_code == 409
    assert "Add at least one of these: Passkey or Authenticator app." in text_of(response)
    assert SignIn.objects.get(user=robin).ended_at is None
    assert register_passkey(holder_client, SoftAuthenticator()).status_code == 200
    assert "left-to-do" not in Page(holder_client.get(SECURITY_INFO)).ids
    assert holder_client.post(FINISH).status_code == 302


def test_finish__a_full_session_has_nothing_to_end(client: Client, robin: Any) -> None:
    client.force_login(robin)
    assert client.post(FINISH)["Location"] == "/"
    assert client.get("/members/").status_code == 200


def test_finish__of_nobody_leads_to_signing_in(client: Client) -> None:
    assert client.post(FINISH)["Location"].startswith(SIGN_IN)


@pytest.mark.parametrize("method", ["get", "head"])
def test_finish__by_get_changes_nothing(holder_client: Client, robin: Any, method: str) -> None:
    assert getattr(holder_client, method)(FINISH).headers["Location"] == SECURITY_INFO
    assert SignIn.objects.get(user=robin).ended_at is None
    assert holder_client.get(SECURITY_INFO).status_code == 200


@pytest.mark.parametrize("method", ["get", "head"])
@pytest.mark.parametrize("kind", ["registration-only", "full"])
def test_sign_out__by_get_asks_and_changes_nothing(
    holder_client: Client, client: Client, robin: Any, method: str, kind: str
) -> None:
    if kind == "full":
        client.force_login(robin)
    assert getattr(client, method)(SIGN_OUT).status_code == 200
    assert client.get(SECURITY_INFO).status_code == 200


@pytest.mark.parametrize("kind", ["registration-only", "full"])
def test_sign_out__ends_the_session(holder_client: Client, robin: Any, kind: str) -> None:
    browser = holder_client
    if kind == "full":
        browser = Client()
        browser.force_login(robin)
    sign_in = SignIn.objects.get(pk=browser.session[SESSION_KEY])
    response = browser.post(SIGN_OUT)
    assert response["Location"] == f"{SIGN_IN}?notice=signed_out"
    sign_in.refresh_from_db()
    assert sign_in.ended_reason == SignIn.EndedReason.SIGNED_OUT
    assert dict(browser.session) == {}
    assert browser.get(SECURITY_INFO).status_code == 302


def test_sign_out__of_nobody_is_no_error(client: Client) -> None:
    assert client.post(SIGN_OUT).status_code == 302


@pytest.mark.parametrize("method", ["get", "head"])
def test_register_method__by_get_begins_nothing(holder_client: Client, method: str) -> None:
    assert getattr(holder_client, method)(ADD_TOTP, {"begin": "1"}).status_code == 302
    assert not TOTPDevice.objects.exists()


# Where to go afterwards.

FOREIGN = [
    "//evil.example/",
    "https://evil.example/",
    "http://evil.example/",
    "HTTPS://evil.example/",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)//evil.example",
    "data:text/html,evil.example",
    "/\\evil.example/",
    "\\\\evil.example/",
    "\\/evil.example/",
    "///evil.example/",
    "////evil.example/",
    "https:evil.example",
    "https:///evil.example",
    " //evil.example/",
    "\t//evil.example/",
    "\x00//evil.example/",
    "//testserver@evil.example/",
    "http://testserver.evil.example/",
    "//evil.example\\@testserver/",
]


def password_page(browser: Client, user: Any, wanted: str) -> Any:
    return browser.post(SIGN_IN, {"upn": user.upn, "password": PASSWORD, "next": wanted})


@pytest.fixture(params=["password", "second step", "pass", "finish", "sign out", "sign out of a full session"])
def leave(
    request: pytest.FixtureRequest, known: Any, issue: Any, sign_in_with_pass: Any
) -> Callable[[str], HttpResponse]:
    """Post to each of the pages that take `next`, with a `next`; return the response."""

    def post(wanted: str) -> Any:
        browser = Client()
        if request.param == "password":
            return password_page(browser, known, wanted)
        if request.param == "second step":
            device = TOTPDevice.objects.create(user=known, confirmed=True)
            browser.post(SIGN_IN, {"upn": known.upn, "password": PASSWORD})
            response = browser.post(VERIFY, {"code": code_of(device), "next": wanted})
            device.delete()
            return response
        if request.param == "pass":
            return sign_in_with_pass(known.upn, issue(known).passcode.reveal(), browser, query_params={"next": wanted})
        if request.param == "sign out of a full session":
            browser.force_login(known)
            return browser.post(SIGN_OUT, {"next": wanted})
        sign_in_with_pass(known.upn, issue(known).passcode.reveal(), browser)
        return browser.post(FINISH if request.param == "finish" else SIGN_OUT, {"next": wanted})

    return post


@pytest.mark.parametrize("wanted", FOREIGN)
def test_next__a_foreign_place_is_refused(leave: Callable[[str], HttpResponse], wanted: str) -> None:
    response = leave(wanted)
    assert response.status_code == 302
    assert "evil" not in response["Location"]
    assert "script:" not in response["Location"].lower()
    assert response["Location"].startswith("/")
    assert not response["Location"].startswith("//")


@pytest.mark.parametrize("wanted", ["/members/", "/members/?a=1&b=%2F#top", "http://testserver/members/"])
def test_next__a_place_of_ours_is_honoured(leave: Callable[[str], HttpResponse], wanted: str) -> None:
    location = leave(wanted)["Location"]
    assert location == wanted or query_of(location)["next"] == [wanted]


@pytest.mark.parametrize(
    "wanted", ["members", "home", "#", "?", "admin", "tap_provider:sign_out", "x" * 3000, "/%ff", "é"]
)
def test_next__odd_text_is_no_error(leave: Callable[[str], HttpResponse], wanted: str) -> None:
    assert leave(wanted).status_code == 302


@pytest.mark.parametrize("url", [SIGN_IN, PASS, SIGN_OUT, SECURITY_INFO])
@pytest.mark.parametrize("wanted", FOREIGN)
def test_next__a_foreign_place_is_on_no_page(holder_client: Client, url: str, wanted: str) -> None:
    response = holder_client.get(url, {"next": wanted})
    assert response.status_code == 200
    assert "evil" not in response.content.decode()


@pytest.mark.parametrize("url", [SIGN_IN, PASS, SIGN_OUT, SECURITY_INFO])
def test_next__travels_in_the_forms(holder_client: Client, url: str) -> None:
    page = Page(holder_client.get(url, {"next": "/members/?a=1&b=2"}))
    assert page.value_of("next") == "/members/?a=1&b=2"


@pytest.mark.parametrize(("url", "other"), [(SIGN_IN, PASS), (PASS, SIGN_IN)])
def test_next__travels_between_the_two_ways_of_signing_in(client: Client, url: str, other: str) -> None:
    links = Page(client.get(url, {"next": "/members/?a=1&b=2"})).links
    (link,) = [link for link in links if urlsplit(link).path == other]
    assert query_of(link)["next"] == ["/members/?a=1&b=2"]


def test_next__survives_a_refusal(client: Client, known: Any) -> None:
    for url, data in ((SIGN_IN, {"password": "wrong"}), (PASS, {"passcode": "ABCD-EFGH"})):
        for wanted_in in ({"data": {"next": "/members/"}}, {"query_params": {"next": "/members/"}}):
            extra = dict(wanted_in)
            response = client.post(url, {"upn": known.upn, **data, **extra.pop("data", {})}, **extra)
            assert Page(response).value_of("next") == "/members/"


def test_next__travels_all_the_way_from_the_pass_to_the_first_real_sign_in(
    client: Client, robin: Any, issue: Any
) -> None:
    passcode = issue(robin).passcode.reveal()
    response = client.post(PASS, {"upn": robin.upn, "passcode": passcode, "next": "/members/"})
    assert response["Location"] == f"{SECURITY_INFO}?next=%2Fmembers%2F"
    page = Page(client.get(response["Location"]))
    assert page.value_of("next") == "/members/"
    response = client.post(ADD_TOTP, {"begin": "1", "next": "/members/"})
    assert response["Location"] == f"{ADD_TOTP}?next=%2Fmembers%2F"
    assert Page(client.get(response["Location"])).value_of("next") == "/members/"
    device = TOTPDevice.objects.get(user=robin)
    response = client.post(ADD_TOTP, {"code": code_of(device), "next": "/members/"})
    assert query_of(response["Location"]) == {"registered": ["totp"], "next": ["/members/"]}
    response = client.post(FINISH, {"next": "/members/"})
    # An app alone signs nobody in, and nobody is told that it does.
    assert query_of(response["Location"]) == {"notice": ["signed_out"], "next": ["/members/"]}
    robin.set_password(PASSWORD)
    robin.save()
    assert Page(client.get(response["Location"])).value_of("next") == "/members/"
    response = client.post(SIGN_IN, {"upn": robin.upn, "password": PASSWORD, "next": "/members/"})
    assert response["Location"] == f"{VERIFY}?next=%2Fmembers%2F"
    assert Page(client.get(response["Location"])).value_of("next") == "/members/"
    forgive(device)
    response = client.post(VERIFY, {"code": code_of(device, steps=1), "next": "/members/"})
    assert response["Location"] == "/members/"
    assert client.get("/members/").status_code == 200


def test_next__starting_the_second_step_again_keeps_it(awaiting_client: Client) -> None:
    links = Page(awaiting_client.get(VERIFY, {"next": "/members/"})).links
    assert f"{SIGN_IN}?next=%2Fmembers%2F" in links


def test_next__a_pass_leads_straight_to_a_place_that_it_reaches(robin: Any, issue: Any, sign_in_with_pass: Any) -> None:
    response = sign_in_with_pass(robin.upn, issue(robin).passcode.reveal(), query_params={"next": f"{ADD_TOTP}?x=1"})
    assert response["Location"] == f"{ADD_TOTP}?x=1"


# Whatever is sent.

ODD = {
    "10 kB": b"x" * 10_000,
    "a nul": b"a%00b",
    "no utf-8": b"%ff%fe%80",
    "raw bytes that are no utf-8": b"\xff\xfe\x80",
    "a lone surrogate": b"%ed%a0%80",
    "right-to-left marks": "\u202e\u200f\u2066abc".encode(),
    "only marks": "\u200b\u200e".encode(),
    "an astral plane": "\U0001f511\U0010ffff".encode(),
    "a decomposed letter": "e\u0301".encode(),
    "sql": b"' OR 1=1 --",
    "a like pattern": b"%25%5f%5c",
    "line ends": b"a%0d%0aSet-Cookie:%20x=1",
    "nothing": b"",
}


def post_raw(client: Client, url: str, **fields: bytes) -> Any:
    body = b"&".join(name.encode() + b"=" + value for name, value in fields.items())
    return client.post(url, body, content_type="application/x-www-form-urlencoded")


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_sign_in_with_pass__odd_text_is_refused_cleanly(client: Client, robin: Any, issue: Any, odd: bytes) -> None:
    passcode = issue(robin).passcode.reveal().encode()
    upn = robin.upn.encode()
    for fields in ({"upn": odd, "passcode": odd}, {"upn": odd, "passcode": passcode}, {"upn": upn, "passcode": odd}):
        response = post_raw(client, PASS, **fields)
        assert response.status_code == 200
        assert "x" not in response.cookies
    assert not SignIn.objects.exists()


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_sign_in__odd_text_is_refused_cleanly(client: Client, known: Any, odd: bytes) -> None:
    upn, password = known.upn.encode(), PASSWORD.encode()
    for fields in ({"upn": odd, "password": odd}, {"upn": odd, "password": password}, {"upn": upn, "password": odd}):
        assert post_raw(client, SIGN_IN, **fields).status_code == 200
    assert not SignIn.objects.exists()


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_sign_in_second_step__odd_text_is_refused_cleanly(awaiting_client: Client, odd: bytes) -> None:
    assert post_raw(awaiting_client, VERIFY, code=odd).status_code == 200
    assert not SignIn.objects.exists()


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
@pytest.mark.parametrize("field", ["next", "notice", "registered", "begin"])
def test_page__odd_text_in_any_parameter_is_no_error(holder_client: Client, odd: bytes, field: str) -> None:
    if not any(byte >= 0x80 for byte in odd):  # an address is ASCII
        for url in (SIGN_IN, PASS, SIGN_OUT, SECURITY_INFO, ADD_TOTP):
            assert holder_client.get(url, QUERY_STRING=f"{field}={odd.decode()}").status_code in {200, 302}
    for url in (SIGN_IN, PASS, ADD_TOTP, FINISH):
        assert post_raw(holder_client, url, **{field: odd}).status_code in {200, 302}


def test_page__an_odd_session_is_no_error(client: Client, admin: Any) -> None:
    client.cookies["sessionid"] = "\x7f' OR 1=1"
    for url in (SIGN_IN, SECURITY_INFO, VERIFY):
        assert client.get(url).status_code in {200, 302}
    assert Session.objects.count() == 0


def test_page__an_odd_address_and_browser_are_no_error(robin: Any, issue: Any, sign_in_with_pass: Any) -> None:
    response = sign_in_with_pass(
        robin.upn,
        issue(robin).passcode.reveal(),
        REMOTE_ADDR="unix:",
        HTTP_USER_AGENT="x" * 5000 + "\x00\u202e",
        HTTP_X_FORWARDED_FOR="192.0.2.1",
    )
    assert response.status_code == 302
    sign_in = SignIn.objects.get()
    assert (sign_in.address, len(sign_in.user_agent)) == (None, 256)


# What an error report tells.


class BrokenHooks(Hooks):
    """A site's own, with a fault in it."""

    def find_user(self, upn: str) -> Any:
        raise RuntimeError("the directory is down")


def report_of(post: Callable[[], Any]) -> str:
    """Return the report that Django would mail to the site's administrators."""
    reports = []

    def remember(request: Any, **kwargs: Any) -> None:
        reports.append(ExceptionReporter(request, *_exc_info()).get_traceback_html())

    got_request_exception.connect(remember, weak=False, dispatch_uid="remember")
    try:
        assert post().status_code == 500
    finally:
        got_request_exception.disconnect(dispatch_uid="remember")
    (report,) = reports
    return report


def _exc_info() -> Any:
    return sys.exc_info()


@pytest.mark.parametrize(("url", "field"), [(PASS, "passcode"), (SIGN_IN, "password")])
def test_error_report__does_not_tell_what_was_typed_as_a_secret(settings: Any, url: str, field: str) -> None:
    settings.TAP_PROVIDER_HOOKS = "tests.views.test_pages.BrokenHooks"
    browser = Client(raise_request_exception=False)
    report = report_of(lambda: browser.post(url, {"upn": "robin@example.test", field: "typed-as-a-secret"}))
    assert "the directory is down" in report
    assert "typed-as-a-secret" not in report


def test_passkey_configuration__is_data_and_names_our_addresses(client: Client) -> None:
    page = Page(client.get(SIGN_IN))
    ((_, data),) = page.inline
    assert BEGIN_AUTHENTICATION in data
    assert post_json(client, BEGIN_AUTHENTICATION).status_code == 200


@pytest.mark.aware_times
def test_moment__names_its_zone_where_no_script_runs(holder_client: Client, settings: Any) -> None:
    settings.TIME_ZONE = "Asia/Tokyo"
    page = holder_client.get(SECURITY_INFO).content.decode()
    times = re.findall(r"<time datetime=\"([^\"]+)\" data-local>([^<]+)</time>", page)
    assert times
    assert all(told.endswith(" JST") and at.endswith("+09:00") for at, told in times)


def test_time_left__is_told_on_every_page_that_ends_with_the_session(holder_client: Client) -> None:
    register_passkey(holder_client, SoftAuthenticator())
    key = WebAuthnCredential.objects.get()
    method = f"{SECURITY_INFO}methods/passkey/{key.pk}/"
    holder_client.post(ADD_TOTP, {"begin": "1"})
    for path in (SECURITY_INFO, ADD_TOTP, method, f"{method}remove/", f"{method}lost/"):
        assert "data-deadline=" in holder_client.get(path).content.decode(), path
