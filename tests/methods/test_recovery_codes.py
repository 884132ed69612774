"""Recovery codes: shown once, stored as hashes, each good once and after the right password only."""

from __future__ import annotations

import logging
import re
import sys
from collections import Counter
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from django.contrib.sessions.models import Session
from django.core.signals import got_request_exception
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone
from django.views.debug import ExceptionReporter
from django_otp.plugins.otp_totp.models import TOTPDevice

from tap_provider.databases import where
from tap_provider.exceptions import RegistrationNotAllowed, TooManyAttempts
from tap_provider.issue import revoke_pass
from tap_provider.methods import recovery_codes
from tap_provider.methods.kinds import Method
from tap_provider.methods.recovery_codes import (
    COUNT,
    FEW,
    ID,
    SYMBOLS,
    NewCodes,
    RecoveryCodeForm,
    RecoveryCodesKind,
    make_codes,
    spend_code,
)
from tap_provider.methods.step_up import second_factors
from tap_provider.methods.two_steps import second_factor_kinds
from tap_provider.models import AuditEvent, Level, RecoveryCode, RegisteredMethod, SignIn, TemporaryAccessPass
from tap_provider.passcode import ALPHABET, hash_alike
from tap_provider.policy import change_policy
from tap_provider.secret import Secret
from tap_provider.sign_in import SESSION_KEY, begin_sign_in, end_sign_in
from tap_provider.sign_in import Client as WhereFrom
from tap_provider.signals import method_registered

from ..conftest import HOUR, MINUTE, NOW, CountingHasher, all_at_once

MAKE = "/account/methods/recovery_codes/"
SECURITY_INFO = "/account/security-info/"
SIGN_IN = "/account/sign-in/"
VERIFY = "/account/sign-in/verify/"
PASSWORD = "robins-password"
MANY = 16

pytestmark = pytest.mark.usefixtures("hasher")  # a cheap one


class CostlierHasher(CountingHasher):
    """The same algorithm at other costs."""

    time_cost, memory_cost = 2, 16


class AnotherHasher(CountingHasher):
    """As of a site that has changed to another algorithm."""

    algorithm = "argon3"


def strong_sign_in(user: Any) -> SignIn:
    """Return a sign-in of a full session that may register."""
    return begin_sign_in(
        user=user,
        methods=["password", "totp"],
        amr=["mfa"],
        level=Level.MULTI_FACTOR,
        client=WhereFrom(),
        now=NOW,
        authenticated_at=NOW,
    )


def make(user: Any, *, now: Any = NOW) -> NewCodes:
    return make_codes(sign_in=strong_sign_in(user), now=now, address="192.0.2.7")


def spend(user: Any, typed: str) -> bool:
    return spend_code(user=user, typed=typed, now=NOW)


def set_of(user: Any) -> list[Method]:
    return RecoveryCodesKind().methods(user)


def left(user: Any) -> str:
    return str(set_of(user)[0].detail)


def clear(new: NewCodes) -> tuple[str, ...]:
    return tuple(code.reveal() for code in new.codes)


def shown(response: HttpResponse) -> list[str]:
    return re.findall(r"<li><code[^>]*>([^<]+)</code></li>", response.content.decode())


@pytest.fixture
def known(robin: Any, policy_on: Any) -> Any:
    """Robin, who has a password."""
    robin.set_password(PASSWORD)
    robin.save()
    return robin


@pytest.fixture
def codes(known: Any) -> tuple[str, ...]:
    """Robin's ten codes."""
    return clear(make(known))


@pytest.fixture
def holder(known: Any, holder_client: Client) -> Client:
    """A browser in Robin's registration-only session; Robin has a password."""
    return holder_client


@pytest.fixture
def awaiting(client: Client, known: Any, codes: tuple[str, ...]) -> Client:
    """A browser in which Robin's password was right."""
    assert client.post(SIGN_IN, {"upn": known.upn, "password": PASSWORD})["Location"] == VERIFY
    return client


# What a code is.


def test_make_codes__are_ten_of_eighty_bits_in_the_alphabet_of_passcodes(codes: tuple[str, ...]) -> None:
    assert COUNT == len(set(codes)) == 10
    assert 2**64 <= len(ALPHABET) ** SYMBOLS == 2**80
    assert all(len(code) == SYMBOLS and set(code) <= set(ALPHABET) for code in codes)


def test_make_codes__every_place_of_a_code_is_random(known: Any) -> None:
    made = [code for _again in range(10) for code in clear(make(known))]
    assert len(set(made)) == 100
    assert all(len({code[place] for code in made}) > 20 for place in range(SYMBOLS))


def test_new_codes__do_not_show_themselves(known: Any) -> None:
    new = make(known)
    reading = [code.reveal() for code in new.for_reading]
    assert all(code not in f"{new!r} {new.codes} {new.for_reading}" for code in [*clear(new), *reading])
    assert all(re.fullmatch(r"(\w{4}-){3}\w{4}", code) for code in reading)
    assert [code.replace("-", "") for code in reading] == list(clear(new))


def test_make_codes__share_one_salt_that_the_next_set_does_not(known: Any) -> None:
    def salts() -> set[str]:
        return {CountingHasher().decode(row.code_hash)["salt"] for row in RecoveryCode.objects.filter(user=known)}

    make(known)
    first = salts()
    make(known)
    assert (len(first), len(salts())) == (1, 1)
    assert first != salts()


# Making them: the gate, the record.


def test_make_codes__is_recorded_by_which_sign_in(known: Any, django_capture_on_commit_callbacks: Any) -> None:
    told: list[dict[str, Any]] = []

    def listen(**kwargs: Any) -> None:
        told.append(kwargs)

    method_registered.connect(listen)
    sign_in = strong_sign_in(known)
    with django_capture_on_commit_callbacks(execute=True, using=where()):
        make_codes(sign_in=sign_in, now=NOW, address="192.0.2.7")
    method_registered.disconnect(listen)
    event = AuditEvent.objects.get(kind=AuditEvent.Kind.METHOD_REGISTERED)
    assert event.detail == {"method_kind": "recovery_codes", "method_id": ID}
    assert (event.sign_in_id, event.address, event.at) == (sign_in.pk, "192.0.2.7", NOW)
    noted = RegisteredMethod.objects.get(user=known)
    assert (noted.kind, noted.method_id, noted.sign_in_id) == ("recovery_codes", ID, sign_in.pk)
    assert [(payload["kind"], payload["method_id"]) for payload in told] == [("recovery_codes", ID)]


def test_make_codes__replaces_the_old_set_and_its_record(known: Any, codes: tuple[str, ...]) -> None:
    new = make(known, now=NOW + MINUTE)
    assert RecoveryCode.objects.filter(user=known).count() == COUNT
    assert not any(spend(known, code) for code in codes)
    assert all(spend(known, code) for code in clear(new))
    assert RegisteredMethod.objects.get(user=known).registered_at == NOW + MINUTE


def test_make_codes__leaves_other_peoples_alone(codes: tuple[str, ...], known: Any, make_user: Any) -> None:
    make(make_user("quinn", password="quinns-password"))
    assert spend(known, codes[0])


def refusal(sign_in: SignIn, *, now: Any = NOW) -> str:
    with pytest.raises(RegistrationNotAllowed) as refused:
        make_codes(sign_in=sign_in, now=now, address=None)
    return refused.value.code


def test_make_codes__wants_a_strong_and_fresh_sign_in(known: Any, codes: tuple[str, ...]) -> None:
    sign_in = strong_sign_in(known)
    assert refusal(sign_in, now=NOW + HOUR) == "not_fresh"
    sign_in.level = Level.SINGLE_FACTOR
    assert refusal(sign_in) == "not_strong_enough"
    end_sign_in(sign_in, reason=SignIn.EndedReason.SIGNED_OUT, now=NOW)
    assert refusal(sign_in) == "not_signed_in"
    assert spend(known, codes[0])  # the old ones stayed


def test_make_codes__a_sign_in_that_ends_meanwhile_leaves_the_old_set(
    known: Any, codes: tuple[str, ...], hasher: type[CountingHasher]
) -> None:
    sign_in = strong_sign_in(known)
    other = SignIn.objects.get(pk=sign_in.pk)
    hasher.meanwhile = partial(end_sign_in, other, reason=SignIn.EndedReason.SIGNED_OUT, now=NOW)
    assert refusal(sign_in) == "not_signed_in"
    assert spend(known, codes[0])


def test_make_codes__only_where_the_site_offers_them(known: Any, settings: Any) -> None:
    settings.TAP_PROVIDER_REGISTRABLE_METHODS = ["passkey", "totp"]
    assert refusal(strong_sign_in(known)) == "not_offered"


def test_make_codes__not_for_somebody_without_a_password(robin: Any, policy_on: Any) -> None:
    sign_in = strong_sign_in(robin)
    sign_in.methods = ["passkey"]
    assert refusal(sign_in) == "not_by_this_kind"
    assert not RecoveryCode.objects.exists()


def test_make_codes__a_password_that_only_a_directory_knows_is_one(robin: Any, policy_on: Any) -> None:
    assert not robin.has_usable_password()
    assert make(robin).codes  # signed in with a password, by whichever backend


def test_make_codes__of_a_button_pressed_twice_the_later_stay(known: Any, hasher: type[CountingHasher]) -> None:
    """The browser shows what it asked for last, whichever the server finishes last."""
    later: list[NewCodes] = []
    sign_in = strong_sign_in(known)
    hasher.meanwhile = lambda: later.append(make(known, now=NOW + timedelta(milliseconds=200)))
    assert refusal(sign_in) == "newer_codes"
    assert all(spend(known, code) for code in clear(later[0]))


@pytest.mark.django_db(transaction=True)
def test_make_codes__made_at_once_one_set_stays(known: Any) -> None:
    sign_in = strong_sign_in(known)
    outcomes = all_at_once(*[partial(make_codes, sign_in=sign_in, now=NOW, address=None)] * 4)
    assert {type(outcome).__name__ for outcome in outcomes} == {"NewCodes"}, outcomes
    assert RecoveryCode.objects.filter(user=known).count() == COUNT
    whole = [new for new in outcomes if all(spend(known, code) for code in clear(new))]
    assert len(whole) == 1


def test_make_codes__so_often_is_refused_before_anything_is_hashed(known: Any, hasher: Any) -> None:
    """Ten hashes each: whoever holds the button down would keep the machine from everybody else."""
    sign_in = strong_sign_in(known)
    for second in range(10):
        made = make_codes(sign_in=sign_in, now=NOW + timedelta(seconds=second), address=None)
    hasher.computed.clear()
    with pytest.raises(TooManyAttempts):
        make_codes(sign_in=sign_in, now=NOW + timedelta(seconds=11), address=None)
    assert hasher.computed == []
    assert spend(known, clear(made)[0])


def test_page__of_too_many_sets_says_so(known: Any, holder_client: Client) -> None:
    for _time in range(10):
        assert holder_client.post(MAKE).status_code == 200
    response = holder_client.post(MAKE, follow=True)
    assert response.redirect_chain == [("/account/security-info/?notice=too_many", 302)]
    assert "too many attempts" in response.content.decode()


# Spending one.


def test_spend_code__once(known: Any, codes: tuple[str, ...]) -> None:
    assert [spend(known, codes[3]) for _again in range(2)] == [True, False]
    assert spend(known, codes[4])


@pytest.mark.parametrize(
    "typing",
    [
        str.lower,
        lambda code: "-".join(re.findall("....", code)),
        lambda code: f" {code[:8]} \t{code[8:]}\r\n",
        lambda code: code.replace("0", "o").replace("1", "l"),
        lambda code: code.replace("0", "O").replace("1", "I"),
        lambda code: "\u200b" + code[:4] + "\u2013" + code[4:],
        lambda code: "".join(chr(ord(symbol) + 0xFEE0) for symbol in code),  # full width, as an input method types
    ],
)
def test_spend_code__is_folded_as_passcodes_are(known: Any, codes: tuple[str, ...], typing: Any) -> None:
    with_lookalikes = next((code for code in codes if {"0", "1"} & set(code)), codes[0])
    assert spend(known, typing(with_lookalikes))


BAD = {
    "empty": "",
    "short": "ABCD-EFGH",
    "a symbol short": "0" * (SYMBOLS - 1),
    "a symbol long": "0" * (SYMBOLS + 1),
    "wrong": "0" * SYMBOLS,
    "no symbol": "U" * SYMBOLS,
    "10 kB": "A" * 10_000,
    "10 kB of dashes": "-" * 10_000,
    "NUL": "0000\x000000-0000-000",
    "lone surrogate": "\ud800" * SYMBOLS,
    "Cyrillic": "\N{CYRILLIC CAPITAL LETTER A}" * SYMBOLS,
    "Arabic digits": "\N{ARABIC-INDIC DIGIT ZERO}" * SYMBOLS,
    "SQL": "' OR used_at IS NULL",
    "a pattern": "%" * SYMBOLS,
}


@pytest.mark.parametrize("typed", BAD.values(), ids=BAD)
def test_spend_code__refuses_what_is_none_at_the_price_of_one_hash(
    known: Any, codes: tuple[str, ...], typed: str, hasher: type[CountingHasher]
) -> None:
    hasher.computed.clear()
    assert not spend(known, typed)
    assert hasher.computed == ["encode"]
    assert left(known) == "10 of 10 left"


def test_spend_code__costs_exactly_one_hash_whatever_is_left(
    known: Any, codes: tuple[str, ...], make_user: Any, hasher: type[CountingHasher]
) -> None:
    stranger = make_user("stranger")
    for user, code in [(known, code) for code in codes] + [(known, codes[0]), (stranger, codes[0])]:
        hasher.computed.clear()
        spend(user, code)
        assert hasher.computed == ["encode"]


def test_spend_code__another_users_is_refused_and_stays_good(
    known: Any, codes: tuple[str, ...], make_user: Any
) -> None:
    quinn = make_user("quinn", password="quinns-password")
    make(quinn)
    assert not spend(quinn, codes[0])
    assert spend(known, codes[0])


def test_spend_code__another_users_is_refused_even_under_the_same_salt(
    known: Any, codes: tuple[str, ...], make_user: Any
) -> None:
    """As no two sets have one; but nothing shall hang on that."""
    quinn, quinns_code = make_user("quinn"), "Q" * SYMBOLS
    robins_hash = RecoveryCode.objects.filter(user=known)[0].code_hash
    code_hash = hash_alike(Secret(quinns_code), robins_hash, hasher=CountingHasher())
    RecoveryCode.objects.create(user=quinn, code_hash=code_hash, created_at=NOW)
    assert not spend(known, quinns_code)
    assert spend(quinn, quinns_code)


def test_spend_code__its_hash_is_no_code(known: Any, codes: tuple[str, ...]) -> None:
    """Peer failure 6: what is stored is not what is accepted."""
    for row in RecoveryCode.objects.filter(user=known):
        assert not spend(known, row.code_hash)
        assert not spend(known, row.code_hash.rpartition("$")[2])


def test_spend_code__made_at_other_costs_goes_on(known: Any, codes: tuple[str, ...], settings: Any) -> None:
    settings.TAP_PROVIDER_PASSCODE_HASHER = "tests.methods.test_recovery_codes.CostlierHasher"
    assert left(known) == "10 of 10 left"
    assert spend(known, codes[0])


def test_spend_code__hashed_by_another_algorithm_is_dead(
    known: Any, codes: tuple[str, ...], settings: Any, hasher: type[CountingHasher]
) -> None:
    settings.TAP_PROVIDER_PASSCODE_HASHER = "tests.methods.test_recovery_codes.AnotherHasher"
    hasher.computed.clear()
    assert not spend(known, codes[0])
    assert hasher.computed == ["encode"]  # paid for nothing
    assert set_of(known) == []
    assert RecoveryCodesKind().second_factor_form(known) is None


@pytest.mark.django_db(transaction=True)
def test_spend_code__of_many_uses_at_once_exactly_one_wins(known: Any, codes: tuple[str, ...]) -> None:
    """Peer failure 1."""
    outcomes = all_at_once(*[partial(spend, known, codes[0])] * MANY)
    assert Counter(outcomes) == {True: 1, False: MANY - 1}, outcomes
    assert left(known) == "9 of 10 left"


@pytest.mark.django_db(transaction=True)
def test_second_step__of_many_posts_at_once_exactly_one_wins(known: Any, codes: tuple[str, ...]) -> None:
    browsers = [Client() for _number in range(8)]
    for browser in browsers:
        assert browser.post(SIGN_IN, {"upn": known.upn, "password": PASSWORD})["Location"] == VERIFY

    def post(browser: Client) -> int:
        return browser.post(VERIFY, {"code": codes[0]}).status_code

    outcomes = Counter(all_at_once(*[partial(post, browser) for browser in browsers]))
    assert outcomes[302] == 1, outcomes
    assert set(outcomes) <= {302, 200, 429}, outcomes


# The kind.


def test_methods__is_one_set_with_how_many_are_left(
    known: Any, codes: tuple[str, ...], django_assert_num_queries: Any
) -> None:
    spend_code(user=known, typed=codes[0], now=NOW + MINUTE)
    spend_code(user=known, typed=codes[1], now=NOW + HOUR)
    spend_code(user=known, typed=codes[2], now=NOW + 2 * MINUTE)
    with django_assert_num_queries(1):
        (found,) = set_of(known)
    assert (found.id, found.name, found.detail) == (ID, "Recovery codes", "7 of 10 left")
    assert (found.created_at, found.last_used_at) == (NOW, NOW + HOUR)


def test_methods__is_none_before_they_are_made_and_after_the_last(known: Any) -> None:
    assert set_of(known) == []
    for code in clear(make(known)):
        assert set_of(known)
        assert spend(known, code)
    assert set_of(known) == []
    assert RecoveryCodesKind().second_factor_form(known) is None


def test_remove__deletes_the_whole_set_of_this_user_alone(known: Any, codes: tuple[str, ...], make_user: Any) -> None:
    quinn = make_user("quinn", password="quinns-password")
    kind = RecoveryCodesKind()
    assert not kind.remove(quinn, ID)
    assert not kind.remove(known, "1")
    assert not kind.remove(known, str(RecoveryCode.objects.filter(user=known)[0].pk))
    assert spend(known, codes[0])
    assert kind.remove(known, ID)
    assert not kind.remove(known, ID)
    assert not spend(known, codes[1])
    assert not RecoveryCode.objects.exists()


def test_kind__does_not_satisfy_a_policy_that_requires_registration(holder: Client, admin: Any) -> None:
    """Peer failure 7: a recovery code satisfied any required method."""
    change_policy(actor=admin, now=timezone.now(), require_registration=True)
    assert holder.post(MAKE).status_code == 200
    assert holder.post(f"{SECURITY_INFO}finish/").status_code == 409


def test_second_factor__an_app_is_asked_first(known: Any, codes: tuple[str, ...]) -> None:
    assert [kind.slug for kind in second_factor_kinds(known)] == ["recovery_codes"]
    TOTPDevice.objects.create(user=known, confirmed=True)
    assert [kind.slug for kind in second_factor_kinds(known)] == ["totp", "recovery_codes"]
    sign_in = strong_sign_in(known)
    assert [kind.slug for kind in second_factors(sign_in)] == ["totp", "recovery_codes"]


# Signing in with one.


def test_sign_in__password_and_code_are_two_factors(awaiting: Client, known: Any, codes: tuple[str, ...]) -> None:
    page = awaiting.get(VERIFY).content.decode()
    assert "Recovery code" in page
    assert awaiting.post(VERIFY, {"code": codes[0].lower()})["Location"] == "/"
    sign_in = SignIn.objects.get(pk=awaiting.session[SESSION_KEY])
    assert sign_in.methods == ["password", "recovery_codes"]
    assert (sign_in.amr, sign_in.level) == (["mfa", "otp", "pwd"], "multi_factor")
    assert ("recovery_codes", ID) in sign_in.used_methods.values_list("kind", "method_id")
    assert awaiting.get("/members/").status_code == 200
    assert left(known) == "9 of 10 left"


def test_sign_in__a_code_alone_opens_nothing(client: Client, known: Any, codes: tuple[str, ...]) -> None:
    """Peer failure 7: it is a second factor, not a pass; and peer failure 6: nor a password."""
    assert client.post(VERIFY, {"code": codes[0]})["Location"] == SIGN_IN
    assert client.post("/account/sign-in/pass/", {"upn": known.upn, "passcode": codes[0]}).status_code == 200
    assert client.post(SIGN_IN, {"upn": known.upn, "password": codes[0]}).status_code == 200
    assert SignIn.objects.filter(user=known).count() == 1  # the one that made the codes
    assert client.get("/members/").status_code == 302
    assert left(known) == "10 of 10 left"


def test_sign_in__a_passcode_is_no_recovery_code(awaiting: Client, known: Any, issue: Any) -> None:
    """Peer failure 6."""
    issued = issue(known)
    assert awaiting.post(VERIFY, {"code": issued.passcode.reveal()}).status_code == 200
    assert awaiting.post(VERIFY, {"code": issued.passcode.reveal() * 2}).status_code == 200
    assert awaiting.get("/members/").status_code == 302


def test_sign_in__a_used_code_is_refused_in_another_browser(
    awaiting: Client, known: Any, codes: tuple[str, ...]
) -> None:
    """Peer failure 3: replay."""
    awaiting.post(VERIFY, {"code": codes[0]})
    other = Client()
    other.post(SIGN_IN, {"upn": known.upn, "password": PASSWORD})
    assert other.post(VERIFY, {"code": codes[0]}).status_code == 200
    assert other.get("/members/").status_code == 302


def test_sign_in__looking_and_checking_the_form_spend_nothing(
    awaiting: Client, known: Any, codes: tuple[str, ...]
) -> None:
    """Peer failure 2, and a form validator that spent a code."""
    awaiting.get(VERIFY, {"code": codes[0]})
    awaiting.head(VERIFY, {"code": codes[0]})
    form = RecoveryCodeForm({"code": codes[0]})
    assert form.is_valid()
    assert left(known) == "10 of 10 left"


def test_sign_in__the_throttle_counts_wrong_codes_and_spares_right_ones(
    awaiting: Client, known: Any, codes: tuple[str, ...], hasher: type[CountingHasher]
) -> None:
    """Peer failure 17."""
    for _guess in range(10):
        assert awaiting.post(VERIFY, {"code": "0" * SYMBOLS}).status_code == 200
    hasher.computed.clear()
    refused = awaiting.post(VERIFY, {"code": codes[0]})
    assert (refused.status_code, hasher.computed) == (429, [])
    assert left(known) == "10 of 10 left"


@pytest.mark.parametrize("typed", [text for name, text in BAD.items() if name != "lone surrogate"])
def test_sign_in__bad_input_is_refused_and_never_sent_back(awaiting: Client, known: Any, typed: str) -> None:
    response = awaiting.post(VERIFY, {"code": typed})
    assert response.status_code == 200
    field = re.search(r'<input[^>]*name="code"[^>]*>', response.content.decode())
    assert field is not None
    assert "value" not in field[0]
    assert awaiting.get("/members/").status_code == 302
    assert left(known) == "10 of 10 left"


def test_sign_in__a_new_password_and_a_deactivation_close_the_second_step(
    awaiting: Client, known: Any, codes: tuple[str, ...]
) -> None:
    """Peer failures 15 and 20."""
    known.is_active = False
    known.save()
    assert awaiting.post(VERIFY, {"code": codes[0]})["Location"] == SIGN_IN
    known.is_active = True
    known.set_password("another-password")
    known.save()
    assert awaiting.post(VERIFY, {"code": codes[0]})["Location"] == SIGN_IN
    assert left(known) == "10 of 10 left"


def test_step_up__by_a_code(client: Client, known: Any) -> None:
    client.post(SIGN_IN, {"upn": known.upn, "password": PASSWORD})
    codes = clear(make(known))
    assert client.post("/account/sign-in/step-up/", {"code": codes[0]}).status_code == 302
    assert SignIn.objects.get(pk=client.session[SESSION_KEY]).level == Level.MULTI_FACTOR


# The page.


def test_page__shows_ten_codes_that_work_and_no_cache_keeps_them(holder: Client, known: Any) -> None:
    response = holder.post(MAKE)
    assert response.status_code == 200
    codes = shown(response)
    assert len(codes) == COUNT
    assert "no-store" in response["Cache-Control"]
    assert "default-src 'none'" in response["Content-Security-Policy"]
    assert response["Referrer-Policy"] == "same-origin"
    assert all(spend(known, code) for code in codes)


@pytest.mark.aware_times
def test_page__tells_what_to_keep_and_what_a_reload_does(holder: Client, known: Any) -> None:
    text = holder.post(MAKE).content.decode()
    assert known.upn in text
    assert "localhost" in text
    made_at = RecoveryCode.objects.filter(user=known)[0].created_at
    assert f'<time datetime="{made_at.isoformat()}" data-local>' in text
    assert "shown only now" in text
    assert "Loading this page again makes new codes" in text
    assert "Have you kept them?" in text
    assert f'href="{SECURITY_INFO}"' in text


def test_page__a_reload_makes_others(holder: Client, known: Any) -> None:
    first, second = shown(holder.post(MAKE)), shown(holder.post(MAKE))
    assert not set(first) & set(second)
    assert not any(spend(known, code) for code in first)
    assert all(spend(known, code) for code in second)


def test_page__offers_a_text_file_without_a_script(holder: Client, known: Any) -> None:
    known.upn = "zoë&o'neil+<b>@example.test"
    known.save()
    response = holder.post(MAKE)
    link = re.search(
        r'<a [^>]*download="recovery-codes.txt" href="data:text/plain;charset=utf-8,([^"]+)"', response.content.decode()
    )
    assert link is not None
    assert re.fullmatch(r"[\w.~%/-]+", link[1])  # nothing that ends an attribute or begins a fragment
    text = unquote(link[1])
    assert re.findall(r"^\w{4}-\w{4}-\w{4}-\w{4}$", text, re.M) == shown(response)
    assert f"User name: {known.upn}" in text
    assert "Site: localhost" in text


@pytest.mark.parametrize("method", ["get", "head"])
def test_page__a_get_makes_and_shows_nothing(holder: Client, known: Any, method: str) -> None:
    holder.post(MAKE)
    before = list(RecoveryCode.objects.order_by("pk").values_list("pk", flat=True))
    response = getattr(holder, method)(f"{MAKE}?next=/members/")
    assert response["Location"] == f"{SECURITY_INFO}?next=%2Fmembers%2F"
    assert list(RecoveryCode.objects.order_by("pk").values_list("pk", flat=True)) == before


@pytest.mark.parametrize("method", ["put", "patch", "delete", "options"])
def test_page__answers_to_nothing_else(holder: Client, method: str) -> None:
    assert getattr(holder, method)(MAKE).status_code == 405


def test_page__wants_the_csrf_token_even_where_the_site_has_no_middleware_for_it(holder: Client, settings: Any) -> None:
    without = [name for name in settings.MIDDLEWARE if not name.endswith("CsrfViewMiddleware")]
    for middleware in (settings.MIDDLEWARE, without):
        settings.MIDDLEWARE = middleware
        strict = Client(enforce_csrf_checks=True)
        strict.cookies = holder.cookies
        assert strict.post(MAKE).status_code == 403
    assert not RecoveryCode.objects.exists()


def test_page__next_travels_along_and_leads_nowhere_foreign(holder: Client) -> None:
    assert f'href="{SECURITY_INFO}?next=%2Fmembers%2F"' in holder.post(MAKE, {"next": "/members/"}).content.decode()
    page = holder.post(MAKE, {"next": "https://evil.test/"}).content.decode()
    link = re.search(rf'href="({SECURITY_INFO}\?next=[^"]+)"', page)
    assert link is not None
    assert holder.get(link[1]).context["next"] == ""


def test_page__a_stranger_is_sent_to_sign_in(client: Client, db: None) -> None:
    there = f"{SIGN_IN}?next=%2Faccount%2Fsecurity-info%2F"
    assert client.get(MAKE)["Location"] == there
    assert client.post(MAKE)["Location"] == f"{there}&notice=ended"  # whose cookie, too, is gone


def test_page__after_the_session_has_ended_says_so(holder: Client, known: Any, admin: Any) -> None:
    revoke_pass(actor=admin, temporary_access_pass=TemporaryAccessPass.objects.get(user=known), now=timezone.now())
    assert "notice=ended" in holder.post(MAKE)["Location"]
    assert not RecoveryCode.objects.exists()


def test_page__a_session_by_password_alone_makes_none(client: Client, known: Any) -> None:
    client.post(SIGN_IN, {"upn": known.upn, "password": PASSWORD})
    assert client.post(MAKE)["Location"] == SECURITY_INFO
    assert not RecoveryCode.objects.exists()


def test_page__does_not_upgrade_the_session(holder: Client) -> None:
    """Peer failure 8."""
    assert holder.post(MAKE).status_code == 200
    assert holder.get("/members/").status_code == 302
    sign_in = SignIn.objects.get(pk=holder.session[SESSION_KEY])
    assert (sign_in.methods, sign_in.is_registration_only) == (["temporary_access_pass"], True)


def test_page__a_hostile_name_is_escaped(holder: Client, known: Any) -> None:
    """Peer failure 18."""
    known.upn = "<script>alert(1)</script>@example.test"
    known.save()
    assert "<script>alert" not in holder.post(MAKE).content.decode()


def test_clear_codes__are_in_that_one_response_and_nowhere_else(
    holder: Client, known: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Peer failure 19."""
    caplog.set_level(logging.DEBUG)
    codes = shown(holder.post(MAKE))
    assert len(codes) == COUNT
    kept = [str(dict(holder.session)), caplog.text, str(holder.cookies), *everything_stored()]
    kept += [session.session_data for session in Session.objects.all()]
    kept += [holder.get(url).content.decode() for url in (SECURITY_INFO, f"{SECURITY_INFO}?registered=recovery_codes")]
    for code in codes:
        for text in kept:
            assert code not in text
            assert code.replace("-", "") not in text


def everything_stored() -> list[str]:
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
        stored = []
        for table in tables:
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            stored += [str(row) for row in cursor.fetchall()]
    assert any("argon2$" in row for row in stored)
    return stored


@pytest.mark.parametrize("where", ["hashing", "rendering"])
def test_clear_codes__are_not_in_error_reports(
    where: str,
    holder: Client,
    hasher: type[CountingHasher],
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    tmp_path: Path,
) -> None:
    """Peer failure 19: "error reports with local variables"."""
    made: list[Secret] = []
    generate = recovery_codes.generate_passcode
    monkeypatch.setattr(recovery_codes, "generate_passcode", lambda length: made.append(generate(length)) or made[-1])
    if where == "hashing":
        hasher.meanwhile = fail
    else:
        broken = tmp_path / "tap_provider/methods/recovery_codes_made.html"
        broken.parent.mkdir(parents=True)
        broken.write_text("{% for code in codes %}{{ code.reveal }}{% url 'no_such_page' %}{% endfor %}")
        settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [str(tmp_path)]}]
    reports: list[str] = []

    def remember(request: Any, **kwargs: Any) -> None:
        reports.append(ExceptionReporter(request, *sys.exc_info()).get_traceback_html())

    holder.raise_request_exception = False
    got_request_exception.connect(remember, weak=False, dispatch_uid="remember")
    try:
        assert holder.post(MAKE).status_code == 500
    finally:
        got_request_exception.disconnect(dispatch_uid="remember")
    (report,) = reports
    assert ("ConnectionError" if where == "hashing" else "no_such_page") in report
    assert "show_new_codes" in report
    assert len(made) == COUNT
    for code in made:
        assert code.reveal() not in report
        assert "-".join(re.findall("....", code.reveal())) not in report


def fail() -> None:
    raise ConnectionError


# Security info.


def test_security_info__offers_them_and_says_how_many_are_left(holder: Client, known: Any) -> None:
    page = holder.get(SECURITY_INFO).content.decode()
    assert f'action="{MAKE}"' in page
    assert "Make recovery codes" in page
    codes = clear(make(known))
    page = holder.get(SECURITY_INFO).content.decode()
    assert "10 of 10 left" in page
    assert "Make new codes" in page
    assert "Few are left" not in page
    for number, code in enumerate(codes[:-1], start=1):
        spend(known, code)
        assert ("Few are left" in holder.get(SECURITY_INFO).content.decode()) == (COUNT - number <= FEW)


def test_security_info__says_why_somebody_without_a_password_gets_none(holder_client: Client) -> None:
    page = holder_client.get(SECURITY_INFO).content.decode()
    assert "asked for after a password" in page
    assert f'action="{MAKE}"' not in page
    assert holder_client.post(MAKE)["Location"] == SECURITY_INFO
    assert not RecoveryCode.objects.exists()


def test_admin__sees_how_many_are_left(known: Any, codes: tuple[str, ...], admin: Any) -> None:
    browser = Client()
    browser.force_login(admin)
    page = browser.get(f"/admin/tap_provider/temporaryaccesspass/users/{known.pk}/").content.decode()
    assert "Recovery codes (10 of 10 left)" in page


def test_second_step__people_may_choose_a_code_instead_of_the_app(
    known: Any, codes: tuple[str, ...], client: Client
) -> None:
    """And are told what is wrong with a code in words that fit it: there is no next one to wait for."""
    TOTPDevice.objects.create(user=known, name="Phone", confirmed=True)
    client.post(SIGN_IN, {"upn": known.upn, "password": PASSWORD})
    page = client.get(VERIFY)
    assert page.context["kind"].slug == "totp"
    assert 'href="?kind=recovery_codes"' in page.content.decode()
    there = f"{VERIFY}?kind=recovery_codes"
    assert client.get(there).context["kind"].slug == "recovery_codes"
    assert "was used before" in client.post(there, {"code": "0000-0000-0000-0000"}).content.decode()
    assert client.post(there, {"code": codes[0]}).status_code == 302
    assert SignIn.objects.get(ended_at=None, methods=["password", "recovery_codes"]).level == Level.MULTI_FACTOR
