"""What can be refused: stable codes, and one text where nobody may be told why."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from tap_provider import exceptions
from tap_provider.exceptions import PasscodeNotAccepted, RedemptionRefused, TapError, TooManyAttempts


def every_refusal(kind: type[TapError] = TapError) -> Iterator[type[TapError]]:
    yield kind
    for subclass in kind.__subclasses__():
        yield from every_refusal(subclass)


def test_exceptions__each_has_a_code_of_its_own() -> None:
    kinds = list(every_refusal())
    assert len({kind.code for kind in kinds}) == len(kinds)
    defined = [each for each in vars(exceptions).values() if isinstance(each, type) and issubclass(each, TapError)]
    assert set(kinds) >= set(defined)


def test_exceptions__carry_code_and_field() -> None:
    refusal: Any = TapError("No.", code="because", field="lifetime")
    assert (str(refusal), refusal.code, refusal.field) == ("No.", "because", "lifetime")
    assert TapError("No.").code == "refused"


def test_passcode_not_accepted__takes_no_arguments_so_that_it_can_say_nothing_else() -> None:
    """Peer failure 16: one text for unknown user, no pass and wrong passcode."""
    assert str(PasscodeNotAccepted()) == str(PasscodeNotAccepted())
    assert not hasattr(PasscodeNotAccepted(), "reason")


def test_redemption_refused__covers_whatever_redeeming_raises() -> None:
    assert issubclass(PasscodeNotAccepted, RedemptionRefused)
    assert issubclass(exceptions.PassNotUsable, RedemptionRefused)
    assert TooManyAttempts(retry_after=timedelta(seconds=5)).retry_after == timedelta(seconds=5)
    assert issubclass(TooManyAttempts, RedemptionRefused)
