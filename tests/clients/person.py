"""The user in the browser, without a browser: follows redirects and fills in whichever of our pages it meets."""

from __future__ import annotations

import json
import re
import time
from base64 import b32decode
from collections.abc import Collection
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
from django_otp.oath import hotp

from tests.softauthn import SoftAuthenticator

MOST_PAGES = 20
TOTP_STEP = 30

SIGN_IN, WITH_PASS = "/account/sign-in/", "/account/sign-in/pass/"
SECURITY_INFO, FINISH = "/account/security-info/", "/account/security-info/finish/"
ADD_TOTP = "/account/security-info/add/totp/"


@dataclass
class Person:
    """Somebody who knows a password and holds a pass, and whatever they registered since."""

    upn: str
    password: str
    passcode: str
    pass_ends: int
    totp_key: bytes = b""
    passkey: SoftAuthenticator | None = None
    _last_step: int = 0

    def code(self) -> str:
        """Return a code of the authenticator app that was not used before: this half minute's, or the next one's."""
        now = int(time.time()) // TOTP_STEP
        self._last_step = max(now, self._last_step + 1)
        assert self._last_step <= now + 1, "a third code within half a minute is not accepted"
        return f"{hotp(self.totp_key, self._last_step):06d}"


@dataclass
class Form:
    action: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: set[str] = field(default_factory=set)


@dataclass
class Page(HTMLParser):
    """What there is on a page to fill in, and what its scripts are told."""

    url: str
    text: str
    forms: list[Form] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    inputs: dict[str, str] = field(default_factory=dict)  # in a form or not

    def __post_init__(self) -> None:
        super().__init__()
        self._is_in_form = False
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(action=urljoin(self.url, attributes.get("action", ""))))
            self._is_in_form = True
        elif tag == "a":
            self.links.append(urljoin(self.url, attributes.get("href", "")))
        elif tag == "input" and attributes.get("name"):
            self.inputs.setdefault(attributes["name"], attributes.get("value", ""))
        if self._is_in_form and tag in {"input", "button"} and attributes.get("name"):
            self._note(attributes, is_button=tag == "button" or attributes.get("type") == "submit")

    def handle_endtag(self, tag: str) -> None:
        self._is_in_form = self._is_in_form and tag != "form"

    def _note(self, attributes: dict[str, str], *, is_button: bool) -> None:
        form = self.forms[-1]
        if is_button:
            form.buttons.add(attributes["name"])
        else:
            form.fields[attributes["name"]] = attributes.get("value", "")

    def form_with(self, name: str) -> Form | None:
        return next((form for form in self.forms if name in form.fields or name in form.buttons), None)

    @property
    def passkey_configuration(self) -> dict[str, Any] | None:
        told = re.search(r'<script id="otp_webauthn_config" type="application/json">(.*?)</script>', self.text)
        return None if told is None else json.loads(told[1])


@dataclass(frozen=True)
class Arrival:
    """Where the browser ended: sent to a client that nobody serves, or on a page with nothing to fill in."""

    url: str
    form: dict[str, str] | None = None
    response: httpx.Response | None = None

    @property
    def parameters(self) -> dict[str, str]:
        """Return what the client was sent, each parameter once."""
        assert self.response is None, (self.url, self.response.status_code, self.response.text[:2000])
        if self.form is not None:
            return self.form
        sent = parse_qs(urlsplit(self.url).query, keep_blank_values=True)
        assert all(len(values) == 1 for values in sent.values()), sent
        return {name: values[0] for name, values in sent.items()}


class Browser:
    """A browser of its own, in the hands of a person who signs in by these means."""

    def __init__(self, home: str, person: Person, *, means: str = "password", sites: Collection[str] = ()) -> None:
        self.home, self.person, self.means = home, person, means
        self.served = {home, *sites}
        self.acts: list[str] = []
        """What the person was asked for, in order: password, passkey, passcode, code, consent."""
        self.http = httpx.Client(timeout=30)

    def visit(self, url: str) -> Arrival:
        """Go there, and wherever that leads."""
        request = self.http.build_request("GET", url)
        for _ in range(MOST_PAGES):
            arrived = self._send(request)
            if isinstance(arrived, Arrival):
                return arrived
            request = arrived
        raise AssertionError(f"no end of pages: {self.acts}, at {request.url}")

    def open(self, path: str) -> Page:
        """Open one page of the provider's, and fill in nothing."""
        response = self.http.get(self.home + path)
        assert response.status_code == 200, (path, response.status_code, response.headers.get("Location"))
        return Page(str(response.url), response.text)

    def submit(self, form: Form | None, **filled: str) -> httpx.Response:
        assert form is not None
        return self.http.send(self._filled(form, **filled))

    def sign_out(self) -> None:
        assert self.submit(self.open("/account/sign-out/").form_with("csrfmiddlewaretoken")).status_code == 302

    def close(self) -> None:
        self.http.close()

    def _send(self, request: httpx.Request) -> httpx.Request | Arrival:
        if _origin(str(request.url)) not in self.served:
            return Arrival(str(request.url))
        response = self.http.send(request)
        if response.next_request is not None:
            return response.next_request
        if _origin(str(response.url)) != self.home or response.status_code >= 400:
            return Arrival(str(response.url), response=response)
        return self._fill_in(Page(str(response.url), response.text)) or Arrival(str(response.url), response=response)

    def _fill_in(self, page: Page) -> httpx.Request | Arrival | None:
        """Do what the page asks for; None where it asks for nothing that is known here."""
        away = next((form for form in page.forms if _origin(form.action) not in self.served), None)
        if away is not None:  # OAuth 2.0 Form Post Response Mode
            return Arrival(away.action, form=away.fields)
        if self.means == "passkey" and page.passkey_configuration is not None:
            return self._use_passkey(page, page.passkey_configuration)
        if (form := page.form_with("code")) is not None:
            return self._act("code", form, code=self.person.code())
        if (form := page.form_with("passcode")) is not None:
            return self._act("passcode", form, upn=self.person.upn, passcode=self.person.passcode)
        if (form := page.form_with("password")) is not None and self.means == "pass":
            return self.http.build_request("GET", next(link for link in page.links if WITH_PASS in link))
        if form is not None:
            return self._act("password", form, upn=self.person.upn, password=self.person.password)
        if (form := page.form_with("allow")) is not None:
            return self._act("consent", form, allow="Authorize")
        return None

    def _act(self, name: str, form: Form, **filled: str) -> httpx.Request:
        self.acts.append(name)
        return self._filled(form, **filled)

    def _filled(self, form: Form, **filled: str) -> httpx.Request:
        return self.http.build_request("POST", form.action, data={**form.fields, **filled})

    def _use_passkey(self, page: Page, configuration: dict[str, Any]) -> httpx.Request:
        """Do what django-otp-webauthn's script does on the page."""
        assert self.person.passkey is not None
        self.acts.append("passkey")
        token = {"X-CSRFToken": configuration["csrfToken"]}
        options = self.http.post(self.home + configuration["beginAuthenticationUrl"], json={}, headers=token)
        complete = self.home + configuration["completeAuthenticationUrl"]
        following = page.inputs.get("next", "")
        answer = self.person.passkey.get(options.json())
        done = self.http.post(complete, json=answer, headers=token, params={"next": following} if following else {})
        assert done.status_code == 200, done.text
        return self.http.build_request("GET", urljoin(page.url, done.json()["redirect_url"]))


def register_totp(home: str, person: Person) -> None:
    """Register an authenticator app with the pass, in a browser of its own."""
    browser = Browser(home, person, means="pass")
    assert browser.visit(home + SECURITY_INFO).url == home + SECURITY_INFO
    begin = next(form for form in browser.open(SECURITY_INFO).forms if form.action == home + ADD_TOTP)
    assert browser.submit(begin, begin="1").status_code == 302
    page = browser.open(ADD_TOTP)
    key = re.search(r'id="totp-key"[^>]*>([A-Z2-7 ]+)<', page.text)
    assert key is not None
    text = key[1].replace(" ", "")
    person.totp_key = b32decode(text + "=" * (-len(text) % 8))
    assert "registered=totp" in browser.submit(page.form_with("code"), code=person.code()).headers["Location"]
    _finish(browser)


def register_passkey(home: str, person: Person) -> None:
    """Register a passkey with the pass, in a browser of its own."""
    browser = Browser(home, person, means="pass")
    assert browser.visit(home + SECURITY_INFO).url == home + SECURITY_INFO
    configuration = browser.open(SECURITY_INFO).passkey_configuration
    assert configuration is not None
    person.passkey = SoftAuthenticator(origin=home)
    token = {"X-CSRFToken": configuration["csrfToken"]}
    options = browser.http.post(home + configuration["beginRegistrationUrl"], json={}, headers=token)
    answer = person.passkey.create(options.json())
    done = browser.http.post(home + configuration["completeRegistrationUrl"], json=answer, headers=token)
    assert done.status_code == 200, done.text
    _finish(browser)


def _finish(browser: Browser) -> None:
    page = browser.open(SECURITY_INFO)
    finish = next(form for form in page.forms if form.action == browser.home + FINISH)
    assert "notice=finished" in browser.submit(finish).headers["Location"]
    browser.close()


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
