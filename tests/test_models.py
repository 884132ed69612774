"""The facts at rest: what the database itself refuses, whatever the code above it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.forms import modelform_factory

from tap_provider.models import AuditEvent, Level, SignIn, TemporaryAccessPass, TemporaryAccessPassPolicy
from tap_provider.usability import UsabilityReason

from .conftest import DAY, HOUR, MINUTE, NOW

MakeUser = Callable[..., Any]


def make_pass(user: Any, **fields: Any) -> TemporaryAccessPass:
    defaults: dict[str, Any] = {
        "passcode_hash": "argon2$…",
        "created_at": NOW,
        "starts_at": NOW,
        "expires_at": NOW + HOUR,
        "lifetime_minutes": 60,
    }
    return TemporaryAccessPass.objects.create(user=user, **{**defaults, **fields})


def make_sign_in(user: Any, **fields: Any) -> SignIn:
    defaults: dict[str, Any] = {"level": Level.MULTI_FACTOR, "created_at": NOW, "authenticated_at": NOW}
    return SignIn.objects.create(user=user, **{**defaults, **fields})


def refuses(write: Callable[[], Any]) -> bool:
    try:
        with transaction.atomic():
            write()
    except IntegrityError:
        return True
    return False


@pytest.mark.parametrize(
    ("fields", "is_refused"),
    [
        ({"lifetime_minutes": 9}, True),
        ({"lifetime_minutes": 10}, False),
        ({"lifetime_minutes": 43_200}, False),
        ({"lifetime_minutes": 43_201}, True),
        ({"expires_at": NOW}, True),
        ({"expires_at": NOW - MINUTE}, True),
        ({"is_usable_once": True, "redemption_count": 1}, False),
        ({"is_usable_once": True, "redemption_count": 2}, True),
        ({"is_usable_once": False, "redemption_count": 2}, False),
        ({"passcode_hash": None}, True),
    ],
    ids=str,
)
def test_pass__bounds_hold_in_the_database(fields: dict[str, Any], is_refused: bool, robin: Any) -> None:
    """Peer failures 1 and 12: whatever the code does, no pass lives forever and none is spent twice."""
    assert refuses(lambda: make_pass(robin, **fields)) is is_refused


def test_pass__one_per_user_is_a_fact_of_the_database(robin: Any) -> None:
    make_pass(robin)
    assert refuses(lambda: make_pass(robin))


@pytest.mark.parametrize(
    ("fields", "is_refused"),
    [
        ({}, False),
        ({"id": 2}, True),
        ({"minimum_lifetime_minutes": 9}, True),
        ({"minimum_lifetime_minutes": 10}, False),
        ({"maximum_lifetime_minutes": 43_200}, False),
        ({"maximum_lifetime_minutes": 43_201}, True),
        ({"minimum_lifetime_minutes": 61}, True),
        ({"default_lifetime_minutes": 481}, True),
        ({"default_lifetime_minutes": 59}, True),
        ({"minimum_lifetime_minutes": 500}, True),
        ({"passcode_length": 7}, True),
        ({"passcode_length": 48}, False),
        ({"passcode_length": 49}, True),
        ({"registration_window_minutes": 0}, True),
        ({"registration_window_minutes": 60}, False),
        ({"registration_window_minutes": 61}, True),
    ],
    ids=str,
)
def test_policy__bounds_hold_in_the_database(fields: dict[str, Any], is_refused: bool, db: None) -> None:
    assert refuses(lambda: TemporaryAccessPassPolicy.objects.create(**fields)) is is_refused


def test_policy__there_is_one_row(db: None) -> None:
    TemporaryAccessPassPolicy.objects.create()
    assert refuses(lambda: TemporaryAccessPassPolicy.objects.create())
    assert refuses(lambda: TemporaryAccessPassPolicy.objects.bulk_create([TemporaryAccessPassPolicy(id=2)]))


def test_policy__current_before_anybody_saved_it_is_off(db: None) -> None:
    """Peer failure 12: nothing is unlimited by default, and nothing is on."""
    policy = TemporaryAccessPassPolicy.objects.current()
    assert policy.enabled is False
    numbers = (policy.minimum_lifetime_minutes, policy.maximum_lifetime_minutes, policy.default_lifetime_minutes)
    assert numbers == (60, 480, 60)
    assert (policy.passcode_length, policy.one_time_only, policy.registration_window_minutes) == (8, False, 10)
    assert policy.require_registration is False
    assert policy.require_strong_authentication_to_register is True
    assert not TemporaryAccessPassPolicy.objects.exists()


@pytest.mark.parametrize(
    ("fields", "is_refused"),
    [
        ({"deadline": NOW + HOUR, "level": Level.MULTI_FACTOR}, False),
        ({"deadline": None, "level": Level.MULTI_FACTOR}, True),
        ({"deadline": NOW + HOUR, "level": Level.PHISHING_RESISTANT}, True),
        ({"deadline": NOW + HOUR, "level": Level.SINGLE_FACTOR}, True),
    ],
    ids=str,
)
def test_sign_in__by_a_pass_has_a_deadline_and_is_never_phishing_resistant(
    fields: dict[str, Any], is_refused: bool, robin: Any
) -> None:
    """Peer failures 7, 9 and 12."""
    held = make_pass(robin)
    assert refuses(lambda: make_sign_in(robin, pass_id=held.pk, **fields)) is is_refused


def test_sign_in__by_other_methods_needs_neither(robin: Any) -> None:
    assert not refuses(lambda: make_sign_in(robin, level=Level.PHISHING_RESISTANT))


@pytest.mark.parametrize(
    ("fields", "is_refused"),
    [
        ({"ended_at": NOW, "ended_reason": SignIn.EndedReason.SIGNED_OUT}, False),
        ({"ended_at": NOW, "ended_reason": ""}, True),
        ({"ended_at": None, "ended_reason": SignIn.EndedReason.SIGNED_OUT}, True),
    ],
    ids=str,
)
def test_sign_in__ends_for_a_reason(fields: dict[str, Any], is_refused: bool, robin: Any) -> None:
    assert refuses(lambda: make_sign_in(robin, **fields)) is is_refused


def test_sign_in__is_over_when_ended_or_at_its_deadline(robin: Any) -> None:
    open_ended = make_sign_in(robin)
    assert not open_ended.is_over(now=NOW + 1000 * DAY)
    bounded = make_sign_in(robin, deadline=NOW + HOUR)
    assert not bounded.is_over(now=NOW + HOUR - MINUTE)
    assert bounded.is_over(now=NOW + HOUR)
    ended = make_sign_in(robin, ended_at=NOW, ended_reason=SignIn.EndedReason.SIGNED_OUT)
    assert ended.is_over(now=NOW)


def test_sign_in__what_a_pass_opened_is_registration_only(robin: Any) -> None:
    held = make_pass(robin)
    by_pass = make_sign_in(robin, pass_id=held.pk, deadline=held.expires_at)
    full = make_sign_in(robin)
    assert by_pass.is_registration_only
    assert not full.is_registration_only
    assert list(SignIn.objects.opened_by_a_pass()) == [by_pass]
    SignIn.objects.filter(pk=by_pass.pk).update(ended_at=NOW, ended_reason=SignIn.EndedReason.FINISHED)
    assert list(SignIn.objects.not_ended()) == [full]


def test_pass__tells_its_usability_and_lifetime(robin: Any) -> None:
    held = make_pass(robin)
    assert held.lifetime == HOUR
    assert held.usability(allowed_by_policy=True, now=NOW) is UsabilityReason.ENABLED_BY_POLICY
    assert held.usability(allowed_by_policy=False, now=NOW) is UsabilityReason.DISABLED_BY_POLICY
    assert held.usability(allowed_by_policy=True, now=NOW + HOUR) is UsabilityReason.EXPIRED
    assert held.usability(allowed_by_policy=True, now=NOW - MINUTE) is UsabilityReason.NOT_YET_VALID
    held.failed_attempts = 100
    assert held.usability(allowed_by_policy=True, now=NOW) is UsabilityReason.DISABLED_BY_POLICY
    held.is_usable_once, held.redemption_count = True, 1
    assert held.usability(allowed_by_policy=True, now=NOW) is UsabilityReason.ONE_TIME_USED


def test_pass__no_form_offers_the_hash() -> None:
    assert "passcode_hash" not in modelform_factory(TemporaryAccessPass, fields="__all__").base_fields


def test_pass__goes_with_its_user_and_stays_without_its_issuer(make_user: MakeUser, robin: Any) -> None:
    issuer = make_user("leaver")
    make_pass(robin, created_by=issuer)
    issuer.delete()
    assert TemporaryAccessPass.objects.get().created_by is None
    robin.delete()
    assert not TemporaryAccessPass.objects.exists()


def test_sign_in__outlives_its_pass(robin: Any) -> None:
    """The record of what a pass opened stays when the pass is gone."""
    held = make_pass(robin)
    sign_in = make_sign_in(robin, pass_id=held.pk, deadline=held.expires_at)
    pass_id = held.pk
    held.delete()
    sign_in.refresh_from_db()
    assert sign_in.pass_id == pass_id


def test_level__ranks_from_the_weakest() -> None:
    ranked = sorted(Level, key=lambda level: level.rank)
    assert ranked == [Level.SINGLE_FACTOR, Level.MULTI_FACTOR, Level.PHISHING_RESISTANT]


def test_str__names_whom_and_never_a_hash(robin: Any) -> None:
    held = make_pass(robin, passcode_hash="argon2$secret")
    texts = [str(held), repr(held), str(make_sign_in(robin, methods=["password"])), str(TemporaryAccessPassPolicy())]
    event = AuditEvent.objects.create(kind=AuditEvent.Kind.PASS_ISSUED, at=NOW)
    texts.append(str(event))
    assert "robin@example.test" in texts[0]
    assert "2026-03-02 09:00:00" in texts[-1]
    assert not any("argon2" in text for text in texts)
