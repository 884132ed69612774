"""Who outranks whom: at issue, and again whenever a pass or what it opened is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tap_provider.exceptions import PasscodeNotAccepted, PassNotUsable
from tap_provider.issue import IssuedPass, issue_pass
from tap_provider.models import SignIn
from tap_provider.policy import change_policy
from tap_provider.redeem import redeem_pass
from tap_provider.registration_session import why_over
from tap_provider.sign_in import Client, find_sign_in
from tap_provider.standing import Standing, outranks, reach_of, standing_of
from tap_provider.usability import UsabilityReason

from .conftest import MINUTE, NOW

MakeUser = Callable[..., Any]
Grant = Callable[..., Any]

pytestmark = pytest.mark.django_db


@pytest.fixture
def helpdesk(make_user: MakeUser, grant: Grant) -> Any:
    return grant(make_user("helpdesk", is_staff=True), "add_temporaryaccesspass", "delete_temporaryaccesspass")


def redeem(user: Any, passcode: str) -> SignIn:
    return redeem_pass(upn=user.upn, passcode=passcode, client=Client(), now=NOW + MINUTE)


def raise_to(user: Any, **flags: bool) -> None:
    type(user)._default_manager.filter(pk=user.pk).update(**flags)


def test_standing_of__is_the_highest_flag(make_user: MakeUser) -> None:
    assert standing_of(make_user("a")) is Standing.MEMBER
    assert standing_of(make_user("b", is_staff=True)) is Standing.STAFF
    assert standing_of(make_user("c", is_superuser=True)) is Standing.SUPERUSER
    assert standing_of(object()) is standing_of(None) is Standing.MEMBER


def test_reach_of__is_ones_own_standing_unless_one_may_issue_for_anybody(
    make_user: MakeUser, grant: Grant, admin: Any
) -> None:
    staff = make_user("staff", is_staff=True)
    assert reach_of(admin) is Standing.SUPERUSER
    assert reach_of(staff) is Standing.STAFF
    assert reach_of(make_user("member")) is Standing.MEMBER
    assert reach_of(grant(staff, "issue_privileged_pass")) is Standing.SUPERUSER


def test_outranks__is_about_standing_and_permissions(
    admin: Any, robin: Any, helpdesk: Any, make_user: MakeUser, grant: Grant
) -> None:
    assert outranks(admin, helpdesk)
    assert outranks(helpdesk, robin)
    assert not outranks(robin, helpdesk)
    assert not outranks(helpdesk, admin)
    assert not outranks(make_user("root", is_superuser=True), admin)
    assert not outranks(robin, make_user("kay"))
    assert outranks(grant(robin, "change_temporaryaccesspasspolicy"), helpdesk)
    assert not outranks(admin, grant(make_user("deputy"), "issue_privileged_pass"))


RAISES = pytest.mark.parametrize("flags", [{"is_staff": True}, {"is_superuser": True}], ids=str)


@pytest.fixture
def clerk(make_user: MakeUser, grant: Grant, policy_on: Any) -> Any:
    """Somebody who may issue but is not even staff."""
    return grant(make_user("clerk"), "add_temporaryaccesspass")


@pytest.fixture
def by_clerk(clerk: Any, robin: Any) -> IssuedPass:
    return issue_pass(actor=clerk, user=robin, now=NOW)


@RAISES
def test_redeem__a_pass_does_not_open_what_was_raised_above_its_administrator(
    flags: dict[str, bool], by_clerk: IssuedPass, robin: Any
) -> None:
    """Whoever issued it knows the passcode."""
    raise_to(robin, **flags)
    with pytest.raises(PassNotUsable) as refused:
        redeem(robin, by_clerk.passcode.reveal())
    assert refused.value.reason is UsabilityReason.DISABLED_BY_POLICY
    with pytest.raises(PasscodeNotAccepted):  # and strangers learn nothing of it
        redeem(robin, "00000000")
    raise_to(robin, **dict.fromkeys(flags, False))
    assert redeem(robin, by_clerk.passcode.reveal()).user == robin


@RAISES
def test_redeem__staff_reach_staff_and_no_superuser(
    flags: dict[str, bool], robin: Any, helpdesk: Any, issue: Any
) -> None:
    issued = issue(robin, actor=helpdesk, now=NOW)
    raise_to(robin, **flags)
    if "is_superuser" in flags:
        with pytest.raises(PassNotUsable):
            redeem(robin, issued.passcode.reveal())
    else:
        assert redeem(robin, issued.passcode.reveal()).user == robin


@pytest.mark.parametrize("who", ["superuser", "privileged"])
@RAISES
def test_redeem__whoever_may_issue_for_anybody_is_not_hindered(
    flags: dict[str, bool], who: str, robin: Any, admin: Any, clerk: Any, grant: Grant
) -> None:
    actor = admin if who == "superuser" else grant(clerk, "issue_privileged_pass")
    issued = issue_pass(actor=actor, user=robin, now=NOW)
    raise_to(robin, **flags)
    read = find_sign_in(redeem(robin, issued.passcode.reveal()).pk)
    assert read is not None
    assert why_over(read, now=NOW + MINUTE) is None


@RAISES
def test_why_over__nor_does_what_it_opened_outlive_the_raise(
    flags: dict[str, bool], by_clerk: IssuedPass, robin: Any
) -> None:
    opened = redeem(robin, by_clerk.passcode.reveal())
    raise_to(robin, **flags)
    read = find_sign_in(opened.pk)
    assert read is not None
    assert why_over(read, now=NOW + MINUTE) is SignIn.EndedReason.POLICY


def test_change_policy__ends_what_a_raise_has_closed_and_nothing_else(
    by_clerk: IssuedPass, robin: Any, admin: Any, make_user: MakeUser, issue: Any
) -> None:
    quinn = make_user("quinn")
    raised, other = redeem(robin, by_clerk.passcode.reveal()), redeem(quinn, issue(quinn, now=NOW).passcode.reveal())
    raise_to(robin, is_staff=True)
    change_policy(actor=admin, now=NOW + MINUTE, passcode_length=9)
    ended = {sign_in.pk: sign_in.ended_reason for sign_in in SignIn.objects.all()}
    assert ended == {raised.pk: SignIn.EndedReason.POLICY, other.pk: ""}
