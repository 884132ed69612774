"""Step 3: the only place where a pass is spent. One refusal for strangers, one hash for everybody, one winner."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import Group
from django.contrib.auth.signals import user_login_failed
from django.core.signals import got_request_exception
from django.db import connection
from django.http import HttpRequest
from django.test import Client as Browser
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import escape
from django.views.debug import ExceptionReporter

from tap_provider.backends import TemporaryAccessPassBackend
from tap_provider.exceptions import PasscodeNotAccepted, PassNotUsable, RedemptionRefused, TooManyAttempts
from tap_provider.handle import first_group_of, handle_of
from tap_provider.hooks import Hooks
from tap_provider.issue import IssuedPass, revoke_pass
from tap_provider.models import AttemptCounter, AuditEvent, SignIn, TemporaryAccessPass, TemporaryAccessPassPolicy
from tap_provider.passcode import hash_passcode
from tap_provider.policy import change_policy
from tap_provider.redeem import MOST_REDEMPTIONS, WHY_NOT, redeem_pass
from tap_provider.secret import Secret
from tap_provider.sign_in import Client
from tap_provider.usability import UsabilityReason

from .conftest import DAY, HOUR, MINUTE, NOW, CountingHasher

MakeUser = Callable[..., Any]
Issue = Callable[..., IssuedPass]
Kind = AuditEvent.Kind

SECOND = timedelta(seconds=1)
ORIGIN = Client(address="203.0.113.7", user_agent="Browser/1.0")
WRONG = "00000000"
KNOWN = "7KQ0X1MB"
PAGE = "/account/sign-in/pass/"

pytestmark = pytest.mark.django_db


def redeem(user: Any, passcode: str, *, at: datetime = NOW, client: Client = ORIGIN, handle: str = "") -> SignIn:
    upn = user if isinstance(user, str) else user.upn
    return redeem_pass(upn=upn, passcode=passcode, handle=handle, client=client, now=at)


def refusal(user: Any, passcode: str, **more: Any) -> RedemptionRefused:
    with pytest.raises(RedemptionRefused) as refused:
        redeem(user, passcode, **more)
    return refused.value


def near_miss(user: Any) -> str:
    """Return a wrong passcode that begins with the group of the user's pass."""
    return first_group_of(held_by(user).pk).reveal() + "0000"


def held_by(user: Any) -> TemporaryAccessPass:
    return TemporaryAccessPass.objects.get(user=user)


@pytest.fixture
def known(robin: Any, issue: Issue) -> TemporaryAccessPass:
    """Robin's pass, multi-use, with a passcode that holds what people mistype."""
    held = issue(robin, now=NOW).temporary_access_pass
    held.passcode_hash = hash_passcode(Secret(KNOWN), hasher=CountingHasher())
    held.save()
    return held


# What a redemption is


def test_redeem__opens_a_sign_in_and_notes_the_use(robin: Any, issue: Issue) -> None:
    issued = issue(robin, now=NOW)
    sign_in = redeem(robin, issued.passcode.reveal(), at=NOW + MINUTE)
    sign_in.refresh_from_db()
    assert (sign_in.user, sign_in.pass_id) == (robin, issued.temporary_access_pass.pk)
    assert (sign_in.methods, sign_in.amr, sign_in.level) == (["temporary_access_pass"], ["mfa", "tap"], "multi_factor")
    assert (sign_in.authenticated_at, sign_in.created_at) == (NOW + MINUTE, NOW + MINUTE)
    assert (sign_in.deadline, sign_in.ended_at) == (NOW + HOUR, None)
    assert (sign_in.address, sign_in.user_agent) == ("203.0.113.7", "Browser/1.0")
    held = held_by(robin)
    assert (held.redemption_count, held.redeemed_at, held.failed_attempts) == (1, NOW + MINUTE, 0)
    event = AuditEvent.objects.get(kind=Kind.PASS_REDEEMED)
    assert (event.user_name, event.pass_id, event.sign_in_id) == (robin.upn, held.pk, sign_in.pk)


def test_redeem__a_one_time_pass_once(robin: Any, issue: Issue) -> None:
    """Issue 2, row "a second use of a one-time pass". Peer failures 1 and 3."""
    issued = issue(robin, now=NOW, is_usable_once=True)
    redeem(robin, issued.passcode.reveal())
    refused = refusal(robin, issued.passcode.reveal(), at=NOW + SECOND)
    assert isinstance(refused, PassNotUsable)
    assert refused.reason is UsabilityReason.ONE_TIME_USED
    assert SignIn.objects.count() == 1
    assert held_by(robin).redemption_count == 1


def test_redeem__a_multi_use_pass_until_it_expires(robin: Any, issue: Issue) -> None:
    issued = issue(robin, now=NOW, is_usable_once=False)
    for minute in range(0, 60, 5):
        redeem(robin, issued.passcode.reveal(), at=NOW + minute * MINUTE)
    assert held_by(robin).redemption_count == 12
    assert isinstance(refusal(robin, issued.passcode.reveal(), at=NOW + HOUR), PassNotUsable)


@pytest.mark.parametrize(
    "typed",
    [
        KNOWN.lower(),
        "7KQ0-X1MB",
        "7kq0 x1mb",
        " 7 K Q 0 - X 1 M B ",
        "7KQOX1MB",
        "7kqoxlmb",
        "7KQ0XIMB",
        "7kq0ximb",
        "7KQ0\tX1MB\n",
        "".join(chr(ord(symbol) - 0x21 + 0xFF01) for symbol in KNOWN),  # full width
        "\N{RIGHT-TO-LEFT MARK}7KQ0X1MB",
    ],
    ids=ascii,
)
def test_redeem__takes_what_people_type(typed: str, robin: Any, known: TemporaryAccessPass) -> None:
    """Issue 2, row "passcode in lower case, with spaces, dashes, O for 0, l for 1": accepted."""
    assert redeem(robin, typed).pass_id == known.pk


@pytest.mark.parametrize(
    "upn", ["ROBIN@EXAMPLE.TEST", " robin@example.test\t", "\N{LEFT-TO-RIGHT MARK}Robin@example.test"]
)
def test_redeem__takes_the_upn_in_another_case(upn: str, known: TemporaryAccessPass) -> None:
    """Issue 2, row "a UPN in another case": match."""
    assert redeem(upn, KNOWN).pass_id == known.pk


# One refusal for whoever has not shown the right passcode


def normalised(sql: str) -> str:
    """The statement without its parameters."""
    sql = re.sub(r"[EX]?'(?:[^']|'')*'(?:::\w+)?", "?", sql)
    sql = re.sub(r"\b(?:NULL|true|false|\d+)\b", "?", sql, flags=re.IGNORECASE)
    sql = sql.replace(" IS ?", " = ?")  # Django's way to ask for None
    # Who does not exist holds the pass of a key that does not exist: another unique index, the same price.
    return re.sub(r"(temporaryaccesspass[\"`]\.[\"`])(?:user_)?id([\"`] = \?)", r"\1…id\2", sql)


def is_work(sql: str) -> bool:
    return not sql.startswith(("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE SAVEPOINT"))


@contextmanager
def statements() -> Iterator[list[str]]:
    """Collect the statements besides those that begin and end transactions."""
    collected: list[str] = []
    with CaptureQueriesContext(connection) as captured:
        yield collected
    collected += [normalised(query["sql"]) for query in captured.captured_queries if is_work(query["sql"])]


def whatever_the_upn_field(executed: list[str]) -> list[str]:
    return [sql.replace("email", "upn") for sql in executed]


def told_of(refused: RedemptionRefused) -> tuple[Any, ...]:
    return type(refused), refused.code, str(refused), refused.field, vars(refused).keys()


@dataclass
class Scene:
    """What a case is arranged with."""

    robin: Any
    admin: Any
    issue: Issue
    make_user: MakeUser
    settings: Any

    def issued(self, **wishes: Any) -> IssuedPass:
        return self.issue(self.robin, now=wishes.pop("now", NOW), **wishes)

    def after_change(self, **changes: Any) -> tuple[str, str]:
        self.issued(is_usable_once=False)
        change_policy(actor=self.admin, now=NOW, **changes)
        return self.robin.upn, WRONG

    def after_group_exclusion(self) -> tuple[str, str]:
        group = Group.objects.create(name="newcomers")
        self.robin.groups.add(group)
        return self.after_change(excluded_groups=[group])

    def inactive(self, *, is_right: bool) -> tuple[str, str]:
        issued = self.issued()
        type(self.robin).objects.filter(pk=self.robin.pk).update(is_active=False)
        return self.robin.upn, issued.passcode.reveal() if is_right else WRONG

    def expired(self) -> tuple[str, str]:
        self.issued()
        TemporaryAccessPass.objects.update(starts_at=NOW - DAY, expires_at=NOW - HOUR)
        return self.robin.upn, WRONG

    def used(self) -> tuple[str, str]:
        issued = self.issued(is_usable_once=True)
        redeem(self.robin, issued.passcode.reveal())
        return self.robin.upn, WRONG

    def not_yet_valid(self) -> tuple[str, str]:
        self.issued(starts_at=NOW + DAY)
        return self.robin.upn, WRONG

    def of_another(self) -> tuple[str, str]:
        kay = self.make_user("kay")
        self.issue(kay, now=NOW)
        return kay.upn, self.issued().passcode.reveal()

    def ambiguous(self) -> tuple[str, str]:
        self.settings.TAP_PROVIDER_UPN_FIELD = "email"  # which this user model does not keep unique
        passcode = self.issued().passcode.reveal()
        self.make_user("another", email=self.robin.email.upper())  # afterwards: none is issued to one of the two
        return self.robin.email, passcode

    def named_otherwise(self, upn: str) -> tuple[str, str]:
        return upn, self.issued().passcode.reveal()


# How each case is arranged; the result is the UPN and passcode that are presented in it.
STRANGERS: dict[str, Callable[[Scene], tuple[str, str]]] = {
    "unknown UPN": lambda scene: scene.named_otherwise("nobody@example.test"),
    "no UPN at all": lambda scene: scene.named_otherwise(""),
    "a UPN that no database can be asked for": lambda scene: scene.named_otherwise("robin\x00@example.test"),
    "no pass": lambda scene: (scene.make_user("kay").upn, WRONG),
    "wrong passcode": lambda scene: (scene.issued() and scene.robin.upn, WRONG),
    "another user's passcode": Scene.of_another,
    "no passcode at all": lambda scene: (scene.issued() and scene.robin.upn, ""),
    "the id of the pass": lambda scene: (scene.robin.upn, scene.issued().temporary_access_pass.pk.hex.upper()),
    "the hash of the passcode": lambda scene: (scene.robin.upn, scene.issued().temporary_access_pass.passcode_hash),
    "inactive user": lambda scene: scene.inactive(is_right=False),
    "inactive user with the right passcode": lambda scene: scene.inactive(is_right=True),
    "policy off": lambda scene: scene.after_change(enabled=False),
    "user excluded": lambda scene: scene.after_change(excluded_users=[scene.robin]),
    "group excluded": Scene.after_group_exclusion,
    "user not included": lambda scene: scene.after_change(include_all_users=False),
    "multi-use under a one-time policy": lambda scene: scene.after_change(one_time_only=True),
    "expired": Scene.expired,
    "already used": Scene.used,
    "not yet valid": Scene.not_yet_valid,
    "two users who differ by case only": Scene.ambiguous,
}


@pytest.fixture
def scene(robin: Any, admin: Any, issue: Issue, make_user: MakeUser, settings: Any) -> Scene:
    return Scene(robin, admin, issue, make_user, settings)


@pytest.fixture
def mistyper(admin: Any, hasher: type[CountingHasher]) -> Any:
    """The model of all strangers: an active user who mistypes the passcode of a pass that is usable."""
    user = type(admin).objects.create_user("model", upn="model@example.test", email="model@example.test")
    TemporaryAccessPass.objects.create(
        user=user,
        passcode_hash=hash_passcode(Secret(KNOWN), hasher=hasher()),
        created_at=NOW,
        starts_at=NOW,
        expires_at=NOW + 1000 * DAY,
        lifetime_minutes=60,
    )
    return user


@pytest.mark.parametrize("arrange", STRANGERS.values(), ids=STRANGERS.keys())
def test_redeem__strangers_are_all_told_the_same_at_the_same_price(
    arrange: Callable[[Scene], tuple[str, str]], scene: Scene, mistyper: Any, hasher: type[CountingHasher]
) -> None:
    """Issue 2, row "unknown UPN, no pass, wrong passcode …": one exception, one sequence of statements, one hash.

    Peer failures 4, 6 and 16.
    """
    with statements() as model_statements:
        model_refusal = refusal(mistyper, WRONG)
    upn, passcode = arrange(scene)
    sign_ins = SignIn.objects.count()
    hasher.computed.clear()
    with statements() as stranger_statements:
        stranger_refusal = refusal(upn, passcode)
    assert type(stranger_refusal) is PasscodeNotAccepted
    assert told_of(stranger_refusal) == told_of(model_refusal)
    assert whatever_the_upn_field(stranger_statements) == whatever_the_upn_field(model_statements)
    assert len(hasher.computed) == 1
    assert SignIn.objects.count() == sign_ins
    assert AuditEvent.objects.latest("pk").detail == {"reason": "passcode_not_accepted"}


@pytest.mark.parametrize("arrange", STRANGERS.values(), ids=STRANGERS.keys())
def test_sign_in_with_pass__strangers_all_see_the_same_page(
    arrange: Callable[[Scene], tuple[str, str]], scene: Scene, mistyper: Any, client: Browser
) -> None:
    """Issue 2, row "unknown UPN, no pass, wrong passcode …": one page, status and length."""
    upn, passcode = arrange(scene)
    if not upn or not passcode or "\x00" in upn:
        upn, passcode = "somebody@example.test", WRONG  # the form itself refuses those before anybody is looked up
    pages = [
        client.post(PAGE, {"upn": who, "passcode": what}) for who, what in ((mistyper.upn, WRONG), (upn, passcode))
    ]
    assert [page.status_code for page in pages] == [200, 200]
    assert without_input(pages[0], mistyper.upn, WRONG) == without_input(pages[1], upn, passcode)


def without_input(page: Any, upn: str, passcode: str) -> str:
    """The page without what was typed into it, and without Django's token, which differs each time."""
    text: str = page.content.decode().replace(escape(upn), "UPN").replace(escape(passcode), "PASSCODE")
    return re.sub(r'(name="csrfmiddlewaretoken" value=|"csrfToken": )"\w+"', r"\1TOKEN", text)


# The right passcode, but


NOT_USABLE = [
    # (how the pass was issued, what then happened, when it is presented, the reason)
    ({"is_usable_once": True}, "used", NOW, UsabilityReason.ONE_TIME_USED),
    ({}, "", NOW + HOUR, UsabilityReason.EXPIRED),
    ({}, "", NOW + 100 * DAY, UsabilityReason.EXPIRED),
    ({}, "policy off", NOW, UsabilityReason.DISABLED_BY_POLICY),
    ({}, "user excluded", NOW, UsabilityReason.DISABLED_BY_POLICY),
    ({}, "not included", NOW, UsabilityReason.DISABLED_BY_POLICY),
    ({"is_usable_once": False}, "one-time only", NOW, UsabilityReason.DISABLED_BY_POLICY),
    ({}, "too many failures", NOW, UsabilityReason.DISABLED_BY_POLICY),
    ({"starts_at": NOW + HOUR}, "", NOW + HOUR - SECOND, UsabilityReason.NOT_YET_VALID),
    # In the order of precedence: each also fulfils what comes after its reason.
    ({"is_usable_once": True}, "used, policy off", NOW + HOUR, UsabilityReason.ONE_TIME_USED),
    ({"is_usable_once": True}, "used, policy off", NOW - DAY, UsabilityReason.ONE_TIME_USED),
    ({}, "policy off, too many failures", NOW + HOUR, UsabilityReason.EXPIRED),
    ({"starts_at": NOW + HOUR}, "policy off", NOW, UsabilityReason.DISABLED_BY_POLICY),
]


@pytest.mark.parametrize(("wishes", "events", "at", "reason"), NOT_USABLE, ids=str)
def test_redeem__right_passcode_but_not_usable_says_which(
    wishes: dict[str, Any],
    events: str,
    at: datetime,
    reason: UsabilityReason,
    robin: Any,
    admin: Any,
    issue: Issue,
    hasher: type[CountingHasher],
) -> None:
    """Issue 2, row "right passcode, but expired / not yet valid / …": refused, and told which. Peer failure 4."""
    issued = issue(robin, now=NOW, **wishes)
    for event in events.split(", "):
        match event:
            case "used":
                redeem(robin, issued.passcode.reveal())
            case "policy off":
                change_policy(actor=admin, now=NOW, enabled=False)
            case "user excluded":
                change_policy(actor=admin, now=NOW, excluded_users=[robin])
            case "not included":
                change_policy(actor=admin, now=NOW, include_all_users=False)
            case "one-time only":
                change_policy(actor=admin, now=NOW, one_time_only=True)
            case "too many failures":
                TemporaryAccessPass.objects.update(failed_attempts=100)
    before = TemporaryAccessPass.objects.values().get()
    sign_ins = SignIn.objects.count()
    hasher.computed.clear()

    refused = refusal(robin, issued.passcode.reveal(), at=at)
    assert isinstance(refused, PassNotUsable)
    assert refused.reason is reason
    assert refused.code == "pass_not_usable"
    assert str(refused) == str(WHY_NOT[reason])
    assert len(hasher.computed) == 1
    assert TemporaryAccessPass.objects.values().get() == before  # it was no failure of the person's
    assert SignIn.objects.count() == sign_ins
    assert AuditEvent.objects.latest("pk").detail == {"reason": reason.value}


def test_why_not__each_reason_has_its_text_and_says_what_to_do() -> None:
    assert set(WHY_NOT) == set(UsabilityReason) - {UsabilityReason.ENABLED_BY_POLICY}
    texts = {str(text) for text in WHY_NOT.values()}
    assert len(texts) == len(WHY_NOT)
    assert all("administrator" in text for text in texts)


def test_redeem__one_time_pass_under_a_one_time_policy(robin: Any, admin: Any, issue: Issue) -> None:
    issued = issue(robin, now=NOW, is_usable_once=True)
    change_policy(actor=admin, now=NOW, one_time_only=True)
    assert redeem(robin, issued.passcode.reveal())


# Bad input


STRANGE = {
    "10 kB": "A" * 10_000,
    "a megabyte": "\N{SNOWMAN}" * 250_000,
    "NUL bytes": "7KQ0\x00X1MC\x00",
    "nothing but NUL": "\x00" * 8,
    "lone surrogates": "\ud8007KQ0\udfff",
    "surrogates from a command line": "\udcff\udcfe",
    "right-to-left marks": "\N{RIGHT-TO-LEFT OVERRIDE}BM1X0QK7\N{RIGHT-TO-LEFT MARK}",
    "noncharacters": "\uffff\ufffe",
    "astral": "\N{PILE OF POO}" * 8,
    "SQL": "' OR 1=1 --",
    "wildcards": "%_%",
    "format": "%s%(x)s{0}",
    "white space": " \t\r\n\N{NO-BREAK SPACE}",
    "combining": "a" + "\N{COMBINING ACUTE ACCENT}" * 500,
    "expanding": "\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}" * 190,  # NFKC makes 18 of each
}


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE.keys())
def test_redeem__strange_passcodes_are_refused_cleanly(
    strange: str, robin: Any, known: TemporaryAccessPass, hasher: type[CountingHasher]
) -> None:
    """Issue 2, row "10 kB passcode, NUL bytes, lone surrogates, right-to-left marks": never a database error."""
    assert type(refusal(robin, strange)) is PasscodeNotAccepted
    assert len(hasher.computed) == 1
    assert held_by(robin).failed_attempts == 0


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE.keys())
def test_redeem__strange_upns_are_refused_cleanly(
    strange: str, known: TemporaryAccessPass, hasher: type[CountingHasher]
) -> None:
    """Issue 2, row "10 kB passcode, NUL bytes, lone surrogates, right-to-left marks": never a database error."""
    for upn in (strange, "robin@example.test" + strange.strip() + "x", strange + "robin@example.test" + "x"):
        hasher.computed.clear()
        assert type(refusal(upn, KNOWN)) is PasscodeNotAccepted
        assert len(hasher.computed) == 1


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE.keys())
def test_sign_in_with_pass__strange_input_is_never_an_error_of_ours(
    strange: str, robin: Any, known: TemporaryAccessPass, client: Browser
) -> None:
    for typed in ({"upn": robin.upn, "passcode": strange}, {"upn": strange, "passcode": KNOWN}):
        body = urlencode(typed, errors="surrogatepass")  # what a hostile client sends
        response = client.post(PAGE, body, content_type="application/x-www-form-urlencoded")
        assert response.status_code == 200
    assert not SignIn.objects.exists()


# The throttle


def test_redeem__the_eleventh_wrong_guess_is_refused_before_any_hashing(
    robin: Any, issue: Issue, hasher: type[CountingHasher]
) -> None:
    """Issue 2, row "eleventh wrong guess within ten minutes for a UPN (whether it exists or not)"."""
    issued = issue(robin, now=NOW)
    outcomes = {}
    for upn in (robin.upn, "nobody@example.test"):
        hasher.computed.clear()
        guess = near_miss(robin)
        kinds = [type(refusal(upn, guess)) for _ in range(10)]
        with statements() as eleventh:
            refused = refusal(upn, WRONG)
        assert kinds == [PasscodeNotAccepted] * 10
        assert len(hasher.computed) == 10
        outcomes[upn] = (told_of(refused), eleventh)
    # Peer failure 16: no lock-out that happens only where a pass exists.
    assert outcomes[robin.upn] == outcomes["nobody@example.test"]
    assert outcomes[robin.upn][0][1] == "too_many_attempts"
    hasher.computed.clear()
    assert type(refusal(robin, issued.passcode.reveal())) is TooManyAttempts
    assert hasher.computed == []
    assert held_by(robin).failed_attempts == 10  # what was not hashed was not judged either
    assert AuditEvent.objects.filter(kind=Kind.PASS_REFUSED).count() == 20


def test_redeem__a_hundred_wrong_guesses_from_an_address(make_user: MakeUser, issue: Issue, hasher: Any) -> None:
    """Issue 2, row "or 100 from an address": whoever asks next, until the wait is over."""
    robin = make_user("robin")
    issued = issue(robin, now=NOW)
    for number in range(100):
        assert type(refusal(f"user-{number}@example.test", WRONG)) is PasscodeNotAccepted
    hasher.computed.clear()
    refused = refusal(robin, issued.passcode.reveal())
    assert isinstance(refused, TooManyAttempts)
    assert hasher.computed == []
    elsewhere = Client(address="198.51.100.1")
    assert redeem(robin, issued.passcode.reveal(), client=elsewhere)
    assert redeem(robin, issued.passcode.reveal(), at=NOW + refused.retry_after)


def test_redeem__a_success_takes_back_its_own_attempt_only(robin: Any, issue: Issue, hasher: Any) -> None:
    """Issue 2: "a success does not clear the address's count". Peer failure 17: nor does it re-arm an attacker."""
    issued = issue(robin, now=NOW, lifetime=2 * HOUR)
    for _ in range(9):
        refusal(robin, WRONG)
    for _ in range(20):
        redeem(robin, issued.passcode.reveal())
    assert type(refusal(robin, WRONG)) is PasscodeNotAccepted
    assert type(refusal(robin, WRONG)) is TooManyAttempts
    for number in range(90):
        assert type(refusal(f"user-{number}@example.test", WRONG)) is PasscodeNotAccepted
    assert type(refusal("user-91@example.test", WRONG)) is TooManyAttempts


def test_redeem__one_valid_account_does_not_re_arm_the_address(
    robin: Any, make_user: MakeUser, issue: Issue, hasher: Any
) -> None:
    own = [issue(make_user(f"attacker-{number}"), now=NOW) for number in range(4)]
    victims = [make_user(f"victim-{number}").upn for number in range(101)]
    outcomes = []
    for victim in victims:
        outcomes.append(type(refusal(victim, WRONG)))
        if outcomes[-1] is not TooManyAttempts and len(outcomes) < 100:
            number = len(outcomes) % 4
            redeem(f"attacker-{number}@example.test", own[number].passcode)
    assert outcomes == [PasscodeNotAccepted] * 100 + [TooManyAttempts]


@pytest.mark.parametrize(
    "spellings",
    [
        ["robin@example.test", "ROBIN@EXAMPLE.TEST", "rObIn@example.test"],
        ["robin@example.test", " robin@example.test", "robin@example.test\t ", "\N{NO-BREAK SPACE}robin@example.test"],
        ["robin@example.test", "\N{ZERO WIDTH SPACE}robin@example.test", "robin@example.test\N{RIGHT-TO-LEFT MARK}"],
    ],
    ids=["case", "white space", "invisible marks"],
)
def test_redeem__the_throttle_is_not_evaded_by_spelling(spellings: list[str], robin: Any, hasher: Any) -> None:
    """Peer failure 17."""
    for number in range(10):
        assert type(refusal(spellings[number % len(spellings)], WRONG)) is PasscodeNotAccepted
    assert {type(refusal(spelling, WRONG)) for spelling in spellings} == {TooManyAttempts}


def test_redeem__decomposed_letters_are_the_same_upn_to_the_throttle(hasher: Any) -> None:
    for number in range(10):
        refusal(["ren\u00e9@example.test", "rene\u0301@example.test"][number % 2], WRONG)
    assert type(refusal("rene\u0301@example.test", WRONG)) is TooManyAttempts


def test_redeem__forwarded_headers_do_not_evade_the_throttle(client: Browser, hasher: Any) -> None:
    """Peer failure 17: allauth 65.14.2 trusted X-Forwarded-For by default."""
    statuses = [
        client.post(
            PAGE,
            {"upn": f"user-{number}@example.test", "passcode": WRONG},
            headers={"x-forwarded-for": f"198.51.100.{number}", "x-real-ip": f"198.51.100.{number}"},
        ).status_code
        for number in range(101)
    ]
    assert statuses == [200] * 100 + [429]


def test_sign_in_with_pass__too_many_attempts_are_429_with_an_honest_retry_after(
    robin: Any, issue: Issue, sign_in_with_pass: Callable[..., Any], hasher: Any
) -> None:
    """Issue 2, row "eleventh wrong guess": 429 with Retry-After, before any hashing."""
    issued = issue(robin)
    for _ in range(10):
        assert sign_in_with_pass(robin.upn, WRONG).status_code == 200
    hasher.computed.clear()
    response = sign_in_with_pass(robin.upn, issued.passcode.reveal())
    assert response.status_code == 429
    assert hasher.computed == []
    after = timezone.now() + timedelta(seconds=int(response.headers["Retry-After"]))
    assert redeem(robin, issued.passcode.reveal(), at=after)


class BrokenDirectory(Hooks):
    def find_user(self, upn: str) -> Any | None:
        raise ConnectionError("the directory does not answer")


def fail() -> None:
    raise ConnectionError("the hasher does not answer")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("where", ["finding the user", "hashing"])
def test_redeem__an_attempt_stays_counted_whatever_fails_after_it(
    where: str, robin: Any, issue: Issue, hasher: type[CountingHasher], settings: Any
) -> None:
    """Counted before it is judged, in a commit of its own, that no rollback takes back."""
    issue(robin, now=NOW)
    AttemptCounter.objects.all().delete()  # of the mail that told of it
    if where == "finding the user":
        settings.TAP_PROVIDER_HOOKS = "tests.test_redeem.BrokenDirectory"
    for number in range(10):
        hasher.meanwhile = fail
        with pytest.raises(ConnectionError):
            redeem(robin, WRONG)
        assert set(AttemptCounter.objects.values_list("count", flat=True)) == {number + 1}
    assert type(refusal(robin, WRONG)) is TooManyAttempts


# A stranger neither keeps the holder out nor kills the pass (decision 0026)


def strangers(count: int) -> list[Client]:
    return [Client(address=f"198.18.{number // 250}.{number % 250}") for number in range(count)]


def test_redeem__one_steady_stranger_keeps_the_holder_out_for_no_minute(robin: Any, issue: Issue, hasher: Any) -> None:
    """Two hours of as many guesses as the throttle lets one network make; the holder tries once a minute."""
    issued = issue(robin, now=NOW, lifetime=3 * HOUR, is_usable_once=False)
    [stranger] = strangers(1)
    for minute in range(0, 120, 2):
        at = NOW + minute * MINUTE
        answers = {type(refusal(robin, WRONG, at=at, client=stranger)) for _ in range(4)}
        assert answers <= {PasscodeNotAccepted, TooManyAttempts}
        assert redeem(robin, issued.passcode, at=at + MINUTE)
    assert type(refusal(robin, issued.passcode, at=at, client=stranger)) is TooManyAttempts
    assert held_by(robin).failed_attempts == 0


def test_redeem__a_thousand_strangers_keep_the_holder_out_for_no_minute(robin: Any, issue: Issue, hasher: Any) -> None:
    """A guess every twenty minutes from each of a thousand networks, ten times what used to kill a pass.

    The holder tries a minute after.
    """
    issued = issue(robin, now=NOW, lifetime=2 * HOUR, is_usable_once=False)
    for minute in range(0, 80, 20):
        at = NOW + minute * MINUTE
        for stranger in strangers(1000):
            assert type(refusal(robin, WRONG, at=at, client=stranger)) is PasscodeNotAccepted
        assert redeem(robin, issued.passcode, at=at + MINUTE)
        assert held_by(robin).failed_attempts == 0


def test_redeem__with_the_handle_a_holder_gets_in_beside_a_stranger_in_the_same_network(
    robin: Any, issue: Issue, hasher: type[CountingHasher]
) -> None:
    """A stranger in the same office, or a site that takes its proxy for every client."""
    issued = issue(robin, now=NOW, is_usable_once=True)
    for number in range(100):
        refusal(robin if number < 20 else f"user-{number}@example.test", WRONG)
    assert type(refusal(robin, issued.passcode)) is TooManyAttempts
    assert redeem(robin, issued.passcode, handle=handle_of(issued.temporary_access_pass.pk))


def test_redeem__attempts_with_the_handle_are_limited_by_themselves(
    robin: Any, issue: Issue, hasher: type[CountingHasher]
) -> None:
    issued = issue(robin, now=NOW)
    handle = handle_of(issued.temporary_access_pass.pk)
    for stranger in strangers(10):
        assert type(refusal(robin, WRONG, handle=handle, client=stranger)) is PasscodeNotAccepted
    hasher.computed.clear()
    [*_, another] = strangers(11)
    assert type(refusal(robin, issued.passcode, handle=handle, client=another)) is TooManyAttempts
    assert hasher.computed == []
    assert redeem(robin, issued.passcode, client=another)  # by the address without the handle


def test_redeem__a_wrong_guess_with_the_handle_counts_against_the_pass(robin: Any, issue: Issue, hasher: Any) -> None:
    """NIST SP 800-63B-4 §3.2.2: whoever has the address names the pass by it."""
    handle = handle_of(issue(robin, now=NOW).temporary_access_pass.pk)
    refusal(robin, WRONG, handle=handle)
    assert held_by(robin).failed_attempts == 1


def test_redeem__the_handle_of_another_pass_lifts_no_limit(
    robin: Any, make_user: MakeUser, issue: Issue, hasher: Any
) -> None:
    """A holder's own handle is no key to anybody else's attempts."""
    issue(robin, now=NOW)
    own = handle_of(issue(make_user("kay"), now=NOW).temporary_access_pass.pk)
    answers = [type(refusal(robin, WRONG, handle=own if number % 2 else "")) for number in range(11)]
    assert answers == [PasscodeNotAccepted] * 10 + [TooManyAttempts]
    assert held_by(robin).failed_attempts == 0


def test_redeem__the_handle_of_a_replaced_pass_does_not_hinder(robin: Any, issue: Issue, hasher: Any) -> None:
    """The holder opens the old address, and types the new passcode."""
    stale = handle_of(issue(robin, now=NOW).temporary_access_pass.pk)
    assert redeem(robin, issue(robin, now=NOW).passcode, handle=stale)


def test_redeem__after_ten_mistakes_the_handle_of_a_new_pass_helps_at_once(
    robin: Any, issue: Issue, hasher: Any
) -> None:
    issue(robin, now=NOW)
    for _ in range(11):
        refusal(robin, WRONG)
    again = issue(robin, now=NOW)
    assert redeem(robin, again.passcode, handle=handle_of(again.temporary_access_pass.pk))


def test_redeem__a_handle_tells_nothing_of_unknown_users(robin: Any, make_user: MakeUser, issue: Issue) -> None:
    """Whatever user is named beside it: one answer, one sequence of statements."""
    handle = handle_of(issue(make_user("kay"), now=NOW).temporary_access_pass.pk)
    issue(robin, now=NOW)
    seen = []
    for upn in (robin.upn, "nobody@example.test"):
        with statements() as executed:
            refused = refusal(upn, WRONG, handle=handle)
        seen.append((told_of(refused), whatever_the_upn_field(executed)))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("handle", ["", "x", "=" * 40, "\ud800", "A" * 43, "A" * 100_000, "\x00" * 43, "é" * 43])
def test_redeem__a_handle_that_is_none_counts_as_none(handle: str, robin: Any, issue: Issue, hasher: Any) -> None:
    issued = issue(robin, now=NOW)
    for _ in range(10):
        refusal(robin, WRONG, handle=handle)
    assert type(refusal(robin, issued.passcode, handle=handle)) is TooManyAttempts


# The time tells a stranger nothing


@pytest.mark.parametrize("state", ["unknown", "no pass", "wrong passcode", "inactive"])
def test_redeem__a_refused_passcode_is_answered_at_the_pace_of_its_hash(
    state: str, robin: Any, make_user: MakeUser, issue: Issue, monkeypatch: pytest.MonkeyPatch, hasher: Any
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("tap_provider.pace.sleep", waited.append)
    passcode = issue(robin, now=NOW).passcode if state in {"wrong passcode", "inactive"} else WRONG
    if state == "inactive":
        type(robin).objects.update(is_active=False)
    upn = "nobody@example.test" if state == "unknown" else robin.upn
    refusal(upn, WRONG if state == "wrong passcode" else passcode)
    assert len(waited) == 1


# A pass is redeemed now and then, not in a loop


def test_redeem__a_multi_use_pass_opens_thirty_sessions_in_ten_minutes(robin: Any, issue: Issue, hasher: Any) -> None:
    issued = issue(robin, now=NOW, lifetime=HOUR, is_usable_once=False)
    for number in range(MOST_REDEMPTIONS):
        assert redeem(robin, issued.passcode, at=NOW + number * SECOND, client=strangers(40)[number])
    at = NOW + 5 * MINUTE
    refused = [refusal(robin, issued.passcode, at=at) for _ in range(12)]
    assert {str(one.message) for one in refused} == {str(refused[0].message)}
    assert SignIn.objects.count() == MOST_REDEMPTIONS
    assert held_by(robin).redemption_count == MOST_REDEMPTIONS
    assert {one.retry_after for one in refused if isinstance(one, TooManyAttempts)} == {5 * MINUTE}  # none was a guess
    assert redeem(robin, issued.passcode, at=at + 5 * MINUTE)


# NIST SP 800-63B-4: at most 100 consecutive failures


def test_redeem__a_hundred_consecutive_failures_kill_the_pass_until_reissued(
    robin: Any, issue: Issue, hasher: type[CountingHasher]
) -> None:
    """NIST SP 800-63B-4 §3.2.2: a patient guesser, below the throttle's limit all the time."""
    issued = issue(robin, now=NOW, lifetime=8 * HOUR)
    guess = near_miss(robin)
    for number in range(100):
        at = NOW + (number // 10) * 12 * MINUTE
        assert type(refusal(robin, guess, at=at, client=Client())) is PasscodeNotAccepted
    later = NOW + 3 * HOUR
    refused = refusal(robin, issued.passcode.reveal(), at=later)
    assert isinstance(refused, PassNotUsable)
    assert refused.reason is UsabilityReason.DISABLED_BY_POLICY
    reissued = issue(robin, now=later)
    assert redeem(robin, reissued.passcode.reveal(), at=later)


def test_redeem__only_consecutive_failures_count(robin: Any, issue: Issue, hasher: Any) -> None:
    issued = issue(robin, now=NOW)
    TemporaryAccessPass.objects.update(failed_attempts=98)
    refusal(robin, near_miss(robin))
    assert held_by(robin).failed_attempts == 99
    redeem(robin, issued.passcode.reveal())
    assert held_by(robin).failed_attempts == 0


def test_redeem__a_failure_counts_against_the_pass_of_that_user_only(
    robin: Any, make_user: MakeUser, issue: Issue, hasher: Any
) -> None:
    kay = make_user("kay")
    issue(robin, now=NOW)
    issue(kay, now=NOW)
    refusal(robin, near_miss(robin))
    refusal(kay, near_miss(robin))
    refusal("nobody@example.test", near_miss(robin))
    assert (held_by(robin).failed_attempts, held_by(kay).failed_attempts) == (1, 0)


# What happens while the passcode is being hashed


def test_redeem__revoked_while_hashing_is_refused(robin: Any, admin: Any, issue: Issue, hasher: Any) -> None:
    """Peer failure 3: the very hash that was verified is part of the decision."""
    issued = issue(robin, now=NOW)
    held = issued.temporary_access_pass
    hasher.meanwhile = lambda: revoke_pass(actor=admin, temporary_access_pass=held, now=NOW)
    assert type(refusal(robin, issued.passcode.reveal())) is PasscodeNotAccepted
    assert not SignIn.objects.exists()


def test_redeem__replaced_while_hashing_is_refused(robin: Any, issue: Issue, hasher: Any) -> None:
    issued = issue(robin, now=NOW)
    hasher.meanwhile = lambda: issue(robin, now=NOW)
    assert type(refusal(robin, issued.passcode.reveal())) is PasscodeNotAccepted
    assert not SignIn.objects.exists()
    assert held_by(robin).redemption_count == 0


def test_redeem__changed_while_hashing_is_refused(robin: Any, issue: Issue, hasher: Any) -> None:
    """The very hash that was verified is part of the decision, not merely the pass that it was read from."""
    issued = issue(robin, now=NOW)
    another = hash_passcode(Secret(KNOWN), hasher=hasher())
    hasher.meanwhile = lambda: TemporaryAccessPass.objects.update(passcode_hash=another)
    assert type(refusal(robin, issued.passcode.reveal())) is PasscodeNotAccepted
    assert held_by(robin).redemption_count == 0


def test_redeem__used_while_hashing_is_refused(robin: Any, issue: Issue, hasher: Any) -> None:
    """Peer failure 1, one after the other: `test_redeem_concurrency` has them at once."""
    issued = issue(robin, now=NOW, is_usable_once=True)
    hasher.meanwhile = lambda: redeem(robin, issued.passcode.reveal())
    refused = refusal(robin, issued.passcode.reveal())
    assert isinstance(refused, PassNotUsable)
    assert refused.reason is UsabilityReason.ONE_TIME_USED
    assert SignIn.objects.count() == 1


def set_fields(user: Any, **fields: Any) -> None:
    type(user).objects.filter(pk=user.pk).update(**fields)


def exclude_group(robin: Any, admin: Any) -> None:
    group = Group.objects.create(name="excluded")
    change_policy(actor=admin, now=NOW, excluded_groups=[group])
    robin.groups.add(group)


FORBIDDEN: dict[str, tuple[Callable[[Any, Any], Any], bool]] = {
    # what happens, and whether the holder is told that the policy blocks the pass
    "policy off": (lambda robin, admin: change_policy(actor=admin, now=NOW, enabled=False), True),
    "policy deleted": (lambda robin, admin: TemporaryAccessPassPolicy.objects.all().delete(), True),
    "user excluded": (lambda robin, admin: change_policy(actor=admin, now=NOW, excluded_users=[robin]), True),
    "group excluded": (exclude_group, True),
    "user promoted": (lambda robin, admin: set_fields(robin, is_superuser=True), True),
    "user deactivated": (lambda robin, admin: set_fields(robin, is_active=False), False),
    "user deleted": (lambda robin, admin: type(robin).objects.filter(pk=robin.pk).delete(), False),
}


@pytest.mark.parametrize("how", FORBIDDEN)
def test_redeem__forbidden_while_hashing_opens_nothing(
    how: str, robin: Any, admin: Any, helpdesk: Any, issue: Issue, hasher: Any
) -> None:
    issued = issue(robin, now=NOW, is_usable_once=True, actor=helpdesk)
    act, is_told = FORBIDDEN[how]
    hasher.meanwhile = partial(act, robin, admin)
    refused = refusal(robin, issued.passcode)
    assert type(refused) is (PassNotUsable if is_told else PasscodeNotAccepted)
    assert getattr(refused, "reason", None) == (UsabilityReason.DISABLED_BY_POLICY if is_told else None)
    assert not SignIn.objects.exists()  # none that would live once it is allowed again
    assert set(TemporaryAccessPass.objects.values_list("redemption_count", flat=True)) <= {0}


def test_redeem__allowed_while_hashing_is_accepted(robin: Any, admin: Any, issue: Issue, hasher: Any) -> None:
    """The policy is asked when the pass is spent, and not before."""
    issued = issue(robin, now=NOW)
    change_policy(actor=admin, now=NOW, enabled=False)
    hasher.meanwhile = lambda: change_policy(actor=admin, now=NOW, enabled=True)
    assert redeem(robin, issued.passcode).pass_id == issued.temporary_access_pass.pk


# Figures


@pytest.mark.default_database
def test_sign_in_with_pass__costs_so_many_statements(
    robin: Any, issue: Issue, sign_in_with_pass: Callable[..., Any], hasher: type[CountingHasher]
) -> None:
    """The figures of docs/reference/performance.md, besides BEGIN and COMMIT; and exactly one hash."""
    issued = issue(robin, is_usable_once=True)
    hasher.computed.clear()
    with statements() as executed:
        assert sign_in_with_pass(robin.upn, issued.passcode.reveal(), Browser()).status_code == 302
    holding_the_policy = [] if connection.vendor == "sqlite" else ["SELECT tap_provider_temporaryaccesspasspolicy"]
    assert sorted(what(sql) for sql in executed) == [
        "INSERT django_session",
        "INSERT tap_provider_attemptcounter",  # counted, and judged by the sum
        "INSERT tap_provider_attemptcounter",  # taken back
        "INSERT tap_provider_auditevent",
        "INSERT tap_provider_signin",
        "SELECT accounts_user",
        "SELECT accounts_user",  # as they are by now, and held
        "SELECT django_session",  # is the new session's key free?
        "SELECT tap_provider_attemptcounter",
        "SELECT tap_provider_temporaryaccesspass",
        *holding_the_policy,
        "SELECT tap_provider_temporaryaccesspasspolicy",
        "UPDATE django_session",  # at the end of the request, as Django does
        "UPDATE tap_provider_signin",  # notes under which key the session is stored
        "UPDATE tap_provider_temporaryaccesspass",
    ]
    assert len(executed) == 14 + len(holding_the_policy)
    assert len(hasher.computed) == 1


def what(sql: str) -> str:
    """The statement in two words: its verb and its own table."""
    table = re.search(r"(?:^INSERT INTO|^UPDATE|^DELETE FROM|.*\sFROM) [\"`](\w+)[\"`]", sql)
    assert table is not None, sql
    return f"{sql.partition(' ')[0]} {table.group(1)}"


def test_sign_in_with_pass__get_and_head_spend_nothing(robin: Any, issue: Issue, client: Browser) -> None:
    """Issue 2, row "GET on anything that spends". Peer failure 2: mail scanners follow links."""
    issued = issue(robin, is_usable_once=True)
    for method in (client.get, client.head):
        assert method(PAGE, {"upn": robin.upn, "passcode": issued.passcode.reveal()}).status_code == 200
    assert held_by(robin).redemption_count == 0
    assert not SignIn.objects.exists()


# What is told to others


def test_redeem__a_refusal_is_told_to_django_without_the_passcode(
    robin: Any, issue: Issue, sign_in_with_pass: Any
) -> None:
    """Peer failure 19: `user_login_failed` reaches every receiver of the site."""
    issued = issue(robin, is_usable_once=True)
    sign_in_with_pass(robin.upn, issued.passcode.reveal())
    told: list[dict[str, Any]] = []

    def note(sender: Any, credentials: dict[str, Any], request: Any, **kwargs: Any) -> None:
        told.append(credentials)

    user_login_failed.connect(note)
    try:
        sign_in_with_pass(robin.upn, WRONG)
        sign_in_with_pass(robin.upn, issued.passcode.reveal())
    finally:
        user_login_failed.disconnect(note)
    assert told == [{"upn": robin.upn, "tap_secret": "*" * 20}] * 2


def frames_shown(error: BaseException, request: HttpRequest | None = None) -> str:
    """The error report as Django sends it to a site's ADMINS, without the frame of the test itself."""
    traceback = error.__traceback__
    assert traceback is not None
    return ExceptionReporter(request, type(error), error, traceback.tb_next, is_email=True).get_traceback_html()


ENTRANCES = ["the verb", "the backend", "the page"]


@pytest.mark.parametrize("where", ["finding the user", "hashing"])
@pytest.mark.parametrize("entrance", ENTRANCES)
def test_redeem__error_reports_do_not_show_the_passcode(
    entrance: str,
    where: str,
    robin: Any,
    issue: Issue,
    hasher: type[CountingHasher],
    settings: Any,
    client: Browser,
) -> None:
    """Peer failure 19: "error reports with local variables"; a usable passcode, while a directory is out of order."""
    issued = issue(robin)
    if where == "finding the user":
        settings.TAP_PROVIDER_HOOKS = "tests.test_redeem.BrokenDirectory"
    hasher.meanwhile = fail
    shown = {"the verb": report_of_verb, "the backend": report_of_backend, "the page": report_of_page}[entrance](
        robin.upn, issued.passcode.reveal(), client
    )
    assert "ConnectionError" in shown
    assert issued.passcode.reveal() not in shown


def report_of_verb(upn: str, passcode: str, client: Browser) -> str:
    with pytest.raises(ConnectionError) as raised:
        redeem_pass(upn=upn, passcode=passcode, client=ORIGIN, now=timezone.now())
    return frames_shown(raised.value)


def report_of_backend(upn: str, passcode: str, client: Browser) -> str:
    request = RequestFactory().get("/")
    request.session = client.session
    with pytest.raises(ConnectionError) as raised:
        TemporaryAccessPassBackend().authenticate(request, upn=upn, tap_secret=passcode)
    return frames_shown(raised.value, request)


def report_of_page(upn: str, passcode: str, client: Browser) -> str:
    reports: list[str] = []

    def note(sender: Any, request: HttpRequest, **kwargs: Any) -> None:
        reports.append(ExceptionReporter(request, *sys.exc_info(), is_email=True).get_traceback_html())

    client.raise_request_exception = False
    got_request_exception.connect(note)
    try:
        response = client.post(PAGE, {"upn": upn, "passcode": passcode})
    finally:
        got_request_exception.disconnect(note)
    assert response.status_code == 500
    assert passcode.encode() not in response.content
    return "".join(reports)
