"""Who outranks whom: at issue, and again whenever a pass or what it opened is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tap_provider.exceptions import IssueNotAllowed, PasscodeNotAccepted, PassNotUsable
from tap_provider.hooks import Hooks
from tap_provider.issue import IssuedPass, issue_pass
from tap_provider.models import SignIn, Standing
from tap_provider.policy import change_policy, resolve_policy
from tap_provider.redeem import redeem_pass
from tap_provider.registration_session import why_over
from tap_provider.sign_in import Client, find_sign_in
from tap_provider.standing import outranks, reach_of, standing_of
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


# A site that knows more of standing than Django's flags


class Titles(Hooks):
    """Standing by a title that the site keeps elsewhere, here the last name; it costs a query."""

    asked: list[Any] = []

    def standing_of(self, user: Any) -> Standing:
        self.asked.append(user)
        title = type(user)._default_manager.values_list("last_name", flat=True).get(pk=user.pk)
        return {"owner": Standing.SUPERUSER, "clerk": Standing.STAFF}.get(title, Standing.MEMBER)


class Nonsense(Hooks):
    def standing_of(self, user: Any) -> Any:
        return 7


@pytest.fixture
def titles(settings: Any) -> type[Titles]:
    settings.TAP_PROVIDER_HOOKS = "tests.test_standing.Titles"
    Titles.asked.clear()
    return Titles


def test_standing_of__is_what_the_hook_says_if_that_is_more(
    titles: type[Titles], make_user: MakeUser, admin: Any
) -> None:
    assert standing_of(make_user("a", last_name="owner")) is Standing.SUPERUSER
    assert standing_of(make_user("b", last_name="clerk")) is Standing.STAFF
    assert standing_of(make_user("c", last_name="clerk", is_superuser=True)) is Standing.SUPERUSER
    assert standing_of(admin) is Standing.SUPERUSER  # of whom the hook says that they are a member
    assert standing_of(make_user("d", is_staff=True)) is Standing.STAFF
    assert standing_of(None) is Standing.MEMBER


def test_standing_of__an_answer_that_is_none_is_an_error(robin: Any, settings: Any) -> None:
    settings.TAP_PROVIDER_HOOKS = "tests.test_standing.Nonsense"
    with pytest.raises(ValueError, match="7 is not a valid Standing"):
        standing_of(robin)


def test_issue__never_for_a_user_whom_the_hook_has_raised(
    titles: type[Titles], helpdesk: Any, make_user: MakeUser, clerk: Any, admin: Any, grant: Grant
) -> None:
    owner, colleague = make_user("owner", last_name="owner"), make_user("colleague", last_name="clerk")
    for actor, user in ((helpdesk, owner), (clerk, owner), (clerk, colleague)):
        with pytest.raises(IssueNotAllowed) as refused:
            issue_pass(actor=actor, user=user, now=NOW)
        assert refused.value.code == "outranked"
    assert issue_pass(actor=helpdesk, user=colleague, now=NOW)  # staff, as far as the hook has raised them
    assert issue_pass(actor=admin, user=owner, now=NOW)
    assert issue_pass(actor=grant(clerk, "issue_privileged_pass"), user=owner, now=NOW)


def test_issue__a_hook_does_not_widen_how_far_an_administrator_reaches(
    titles: type[Titles], make_user: MakeUser, grant: Grant, admin: Any, policy_on: Any
) -> None:
    owner = grant(make_user("owner", last_name="owner"), "add_temporaryaccesspass")
    assert standing_of(owner) is Standing.SUPERUSER
    assert reach_of(owner) is Standing.MEMBER
    raised = [admin, make_user("staff", is_staff=True), grant(make_user("editor"), "change_user")]
    for user in (*raised, make_user("peer", last_name="owner")):
        with pytest.raises(IssueNotAllowed) as refused:
            issue_pass(actor=owner, user=user, now=NOW)
        assert refused.value.code == "outranked"


def test_redeem__a_pass_does_not_open_what_the_hook_has_raised_since(
    titles: type[Titles], by_clerk: IssuedPass, robin: Any
) -> None:
    opened = redeem(robin, by_clerk.passcode)
    robin.last_name = "clerk"
    robin.save()
    with pytest.raises(PassNotUsable) as refused:
        redeem(robin, by_clerk.passcode)
    assert refused.value.reason is UsabilityReason.DISABLED_BY_POLICY
    read = find_sign_in(opened.pk)
    assert read is not None
    assert why_over(read, now=NOW + MINUTE) is SignIn.EndedReason.POLICY


def test_redeem__the_hook_is_asked_of_nobody_whose_passcode_did_not_match(
    titles: type[Titles], by_clerk: IssuedPass, robin: Any
) -> None:
    """What it costs would tell strangers who exists."""
    titles.asked.clear()
    for upn in (robin.upn, "nobody@example.test"):
        with pytest.raises(PasscodeNotAccepted):
            redeem_pass(upn=upn, passcode="00000000", client=Client(), now=NOW + MINUTE)
    assert titles.asked == []


def test_resolve_policy__the_default_standing_costs_no_query(
    robin: Any, policy_on: Any, django_assert_num_queries: Any
) -> None:
    policy = resolve_policy(robin)
    with django_assert_num_queries(0):
        assert policy.allows_pass(is_usable_once=False, highest_standing=Standing.MEMBER)
        assert policy.standing is Standing.MEMBER
