"""May a pass be redeemed now, and if not, why: one reason, in the order of precedence."""

from __future__ import annotations

from typing import Any

import pytest

from tap_provider.usability import MOST_FAILED_ATTEMPTS, UsabilityReason, usability_reason

from .conftest import DAY, HOUR, MINUTE, NOW

USABLE: dict[str, Any] = {
    "starts_at": NOW - HOUR,
    "expires_at": NOW + HOUR,
    "is_usable_once": False,
    "redemption_count": 0,
    "failed_attempts": 0,
    "allowed_by_policy": True,
}

USED = {"is_usable_once": True, "redemption_count": 1}
EXPIRED = {"expires_at": NOW - MINUTE}
BLOCKED = {"allowed_by_policy": False}
DEAD = {"failed_attempts": MOST_FAILED_ATTEMPTS}
EARLY = {"starts_at": NOW + MINUTE}


def reason_for(*facts: dict[str, Any], **more: Any) -> UsabilityReason:
    merged = dict(USABLE)
    for fact in facts:
        merged.update(fact)
    return usability_reason(**{**merged, "now": NOW, **more})


def test_usability_reason__a_pass_within_its_time_is_usable() -> None:
    assert reason_for() is UsabilityReason.ENABLED_BY_POLICY
    assert reason_for().is_usable


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (USED, UsabilityReason.ONE_TIME_USED),
        (EXPIRED, UsabilityReason.EXPIRED),
        (BLOCKED, UsabilityReason.DISABLED_BY_POLICY),
        (DEAD, UsabilityReason.DISABLED_BY_POLICY),
        (EARLY, UsabilityReason.NOT_YET_VALID),
    ],
    ids=["used", "expired", "blocked", "too many failures", "not yet"],
)
def test_usability_reason__one_fact_alone_decides(facts: dict[str, Any], reason: UsabilityReason) -> None:
    assert reason_for(facts) is reason
    assert not reason.is_usable


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        # A pass whose expiry lies before its start cannot be stored; the function is asked all the same.
        ((USED, EXPIRED, BLOCKED, DEAD, EARLY), UsabilityReason.ONE_TIME_USED),
        ((EXPIRED, BLOCKED, DEAD, EARLY), UsabilityReason.EXPIRED),
        ((BLOCKED, EARLY), UsabilityReason.DISABLED_BY_POLICY),
        ((DEAD, EARLY), UsabilityReason.DISABLED_BY_POLICY),
        ((EARLY,), UsabilityReason.NOT_YET_VALID),
    ],
    ids=["used first", "then expired", "then blocked", "then dead", "then not yet"],
)
def test_usability_reason__precedence(facts: tuple[dict[str, Any], ...], reason: UsabilityReason) -> None:
    assert reason_for(*facts) is reason


def test_usability_reason__expiry_belongs_to_the_past_and_start_to_the_life() -> None:
    """Peer failure 13: stated life is real life, to the instant."""
    assert reason_for(now=USABLE["expires_at"]) is UsabilityReason.EXPIRED
    assert reason_for(now=USABLE["expires_at"] - MINUTE / 60_000_000).is_usable
    assert reason_for(now=USABLE["starts_at"]).is_usable
    assert reason_for(now=USABLE["starts_at"] - MINUTE / 60_000_000) is UsabilityReason.NOT_YET_VALID


def test_usability_reason__a_multi_use_pass_is_not_used_up() -> None:
    assert reason_for({"is_usable_once": False, "redemption_count": 7}).is_usable


def test_usability_reason__the_hundredth_consecutive_failure_kills() -> None:
    """NIST SP 800-63B-4 §3.2.2: at most 100 consecutive failures."""
    assert MOST_FAILED_ATTEMPTS == 100
    assert reason_for({"failed_attempts": 99}).is_usable
    assert reason_for({"failed_attempts": 100}) is UsabilityReason.DISABLED_BY_POLICY


def test_usability_reason__depends_on_the_time_it_is_told_alone() -> None:
    assert reason_for(now=NOW + DAY) is UsabilityReason.EXPIRED
    assert reason_for(now=NOW - DAY) is UsabilityReason.NOT_YET_VALID


def test_usability_reason__names_are_those_of_microsoft_graph() -> None:
    assert [reason.value for reason in UsabilityReason] == [
        "OneTimeUsed",
        "Expired",
        "DisabledByPolicy",
        "NotYetValid",
        "EnabledByPolicy",
    ]
