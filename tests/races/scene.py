"""Users, clients and browsers of one round, made without fixtures; and the loops that a race runs beside an ending."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.cookies import SimpleCookie
from threading import Barrier, Event
from typing import Any

import django
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.test import Client, override_settings
from django.utils import timezone
from oauth2_provider.models import (
    get_access_token_model,
    get_application_model,
    get_grant_model,
    get_id_token_model,
    get_refresh_token_model,
)

from tap_provider.issue import IssuedPass, issue_pass
from tap_provider.models import SignIn, TemporaryAccessPassPolicy
from tap_provider.oidc.models import RelyingParty, TokenContext
from tap_provider.secret import Secret

from ..conftest import all_at_once
from ..oidc.conftest import CLIENT_SECRET, PASSWORD, REDIRECT_URI, REGISTRATION_SCOPE, Party, answer_of, sign_in_of

SIGN_IN, PASS_PAGE = "/account/sign-in/", "/account/sign-in/pass/"

NO_MAIL = "django.core.mail.backends.dummy.EmailBackend"
CHEAP: dict[str, Any] = {
    "TAP_PROVIDER_PASSCODE_HASHER": "tests.conftest.CountingHasher",
    **({"MAILERS": {"default": {"BACKEND": NO_MAIL}}} if django.VERSION >= (6, 1) else {"EMAIL_BACKEND": NO_MAIL}),
}
"""Settings of every race: what is raced for is the database, not the processor."""


@contextmanager
def race_settings() -> Iterator[None]:
    """Let hashes be cheap and mails go nowhere."""
    with override_settings(**CHEAP):
        yield


def browser() -> Client:
    """Return a browser that shows a server error as a page, as people see it."""
    return Client(raise_request_exception=False)


def told(response: Any) -> str:
    """Say what a response is, with the exception behind a server error."""
    error = getattr(response, "exc_info", None)
    shown = f" {error[1]!r}" if error else f" {response.content[:160]!r}"
    return f"{response.status_code}{shown}"


@dataclass
class Scene:
    """What one round works on: names are its own, so that rounds need no clean database.

    Everything is made before the threads start: two threads would make it twice.
    """

    name: str = field(default_factory=lambda: secrets.token_hex(4))
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.administrator = self.user("administrator", is_staff=True, is_superuser=True)
        self.kim = self.user("kim")
        self.excluded_group: Group = Group.objects.create(name=f"excluded-{self.name}")  # a policy may exclude it
        self.intranet = self.client("intranet")
        self.portal = self.client("portal", may_host_registration=True)

    def user(self, name: str, **fields: Any) -> Any:
        """Make a user with a password, and without a mail address."""
        username = f"{name}-{self.name}"
        fields = {"password": PASSWORD, "upn": f"{username}@example.test", "email": "", **fields}
        return get_user_model()._default_manager.create_user(username=username, **fields)

    def client(self, name: str, *, may_host_registration: bool = False) -> Party:
        """Register a client with the toolkit and with us."""
        model = get_application_model()
        client_id = f"{name}-{self.name}"
        application = model(
            client_id=client_id,
            name=client_id,
            client_secret=CLIENT_SECRET,
            client_type=model.CLIENT_CONFIDENTIAL,
            authorization_grant_type=model.GRANT_AUTHORIZATION_CODE,
            algorithm=model.RS256_ALGORITHM,
            redirect_uris=REDIRECT_URI,
            skip_authorization=True,
        )
        application.save()
        RelyingParty.objects.create(
            client_id=client_id,
            may_host_registration=may_host_registration,
            backchannel_logout_uri="https://relying-party.test/logout",
        )
        return Party(application, server=browser())

    def policy(self, **fields: Any) -> None:
        """Store the policy, switched on unless `fields` say otherwise."""
        TemporaryAccessPassPolicy.objects.all().delete()
        TemporaryAccessPassPolicy.objects.create(**{"enabled": True, **fields})

    def issue(self, user: Any, **wishes: Any) -> IssuedPass:
        return issue_pass(actor=self.administrator, user=user, now=timezone.now(), **wishes)

    def sign_in(self, user: Any) -> Client:
        """Sign in with the password."""
        there = browser()
        response = there.post(SIGN_IN, {"upn": user.username, "password": PASSWORD})
        assert response.status_code == 302, told(response)
        return there

    def sign_in_by_pass(self, user: Any, passcode: str | Secret) -> Client:
        there = browser()
        response = there.post(PASS_PAGE, {"upn": user.upn, "passcode": Secret.of(passcode).reveal()})
        assert response.status_code == 302, told(response)
        return there

    def expect(self, condition: object, message: str) -> None:
        """Note `message` as wrong unless the condition holds."""
        if not condition:
            self.wrong.append(message)


def same_party(party: Party) -> Party:
    """Return the client with an HTTP client of its own: one for each thread."""
    return Party(party.application, server=browser())


MOST = 400


@dataclass
class Loop:
    """One thread that repeats an act until it is refused; wrong is what still succeeds once the endings are over."""

    scene: Scene
    name: str
    act: Callable[[], bool]  # False once it is refused
    begun: Barrier
    over: Event

    def __call__(self) -> None:
        try:
            succeeds = self.act()
        finally:
            self.begun.wait(timeout=60)
        for _ in range(MOST):
            was_over = self.over.is_set()
            if not succeeds:
                return
            succeeds = self.act()
            if succeeds and was_over:
                self.scene.wrong.append(f"{self.name} succeeded after the ending")
                return


def run_beside(scene: Scene, acts: dict[str, Callable[[], bool]], *endings: Callable[[], Any]) -> list[Any]:
    """Run the acts in loops, and once each has begun, the endings; return what the endings returned or raised."""
    over = Event()
    begun, done = Barrier(len(acts) + len(endings)), Barrier(len(endings), action=over.set)

    def when_begun(ending: Callable[[], Any]) -> Any:
        begun.wait(timeout=60)
        try:
            return ending()
        finally:
            done.wait(timeout=120)

    loops = [Loop(scene, name, act, begun, over) for name, act in acts.items()]
    outcomes = all_at_once(*loops, *[partial(when_begun, ending) for ending in endings])
    for outcome in outcomes[: len(loops)]:
        scene.expect(outcome is None, f"a loop raised {outcome!r}")
    return outcomes[len(loops) :]


@dataclass
class Chain:
    """Tokens that are refreshed on and on."""

    scene: Scene
    party: Party
    answer: dict[str, Any]

    def refresh(self) -> bool:
        response = self.party.refresh(self.answer["refresh_token"])
        if response.status_code == 200:
            self.answer = response.json()
            return True
        self.scene.expect(is_invalid_grant(response), f"a refresh was answered {told(response)}")
        return False

    def expect_dead(self) -> None:
        scene, answer = self.scene, self.answer
        scene.expect(self.party.userinfo(answer["access_token"]).status_code == 401, "an access token lives")
        if "refresh_token" in answer:
            scene.expect(is_invalid_grant(self.party.refresh(answer["refresh_token"])), "a refresh token lives")


def is_invalid_grant(response: Any) -> bool:
    return bool(response.status_code == 400 and response.json().get("error") == "invalid_grant")


def chain(scene: Scene, there: Client, party: Party | None = None) -> Chain:
    """Walk authorize, code, token, and return what came of it."""
    party = same_party(party or scene.intranet)
    response = party.exchange(*party.code(there))
    assert response.status_code == 200, told(response)
    return Chain(scene, party, response.json())


@dataclass
class Exchanges:
    """Codes that are asked for in one browser and exchanged, on and on."""

    scene: Scene
    there: Client
    party: Party
    scope: str = "openid profile email offline_access"
    chains: list[Chain] = field(default_factory=list)

    def exchange(self) -> bool:
        asked = self.party.request(scope=self.scope)
        answered = self.there.get(asked.url)
        if answered.status_code != 302 or "code=" not in answered.headers["Location"]:
            is_refused = answered.status_code == 302
            self.scene.expect(is_refused, f"an authorization request was answered {told(answered)}")
            return False
        response = self.party.exchange(answer_of(answered)["code"], asked)
        if response.status_code == 200:
            self.chains.append(Chain(self.scene, self.party, response.json()))
            return True
        self.scene.expect(is_invalid_grant(response), f"an exchange was answered {told(response)}")
        return False


def of_registration(scene: Scene, there: Client) -> Exchanges:
    return Exchanges(scene, there, same_party(scene.portal), scope=REGISTRATION_SCOPE)


def same_session(there: Client) -> Client:
    """Return a browser with a copy of this one's cookies."""
    copy = browser()
    copy.cookies = SimpleCookie({name: morsel.value for name, morsel in there.cookies.items()})
    return copy


def expect_nothing_unrecorded(scene: Scene, user: Any) -> None:
    """Expect that each token of the user's has a sign-in behind it: one without would outlive every ending."""
    known = TokenContext.objects.values("digest")
    for model in (get_access_token_model(), get_refresh_token_model()):
        left = model.objects.filter(user_id=user.pk).exclude(token_checksum__in=known)
        scene.expect(not left.exists(), f"{model.__name__} without a sign-in")


def expect_no_token(scene: Scene, user_id: Any) -> None:
    """Expect that nothing at all is left of a user."""
    models = (get_access_token_model(), get_refresh_token_model(), get_id_token_model(), get_grant_model())
    for model in models:
        scene.expect(not model.objects.filter(user_id=user_id).exists(), f"{model.__name__} of a deleted user")


def expect_ended(scene: Scene, *sign_in_ids: Any) -> None:
    left = SignIn.objects.not_ended().filter(pk__in=sign_in_ids)
    scene.expect(not left.exists(), "a sign-in has not ended")


def id_of(there: Client) -> Any:
    return sign_in_of(there).pk
