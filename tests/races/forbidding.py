"""Deactivation, exclusion and the policy's switch against whatever opens a session: none lives again afterwards."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib.auth.models import Group
from django.db import transaction
from django.utils import timezone

from tap_provider.exceptions import IssueNotAllowed
from tap_provider.issue import IssuedPass
from tap_provider.models import AuditEvent, SignIn, TemporaryAccessPass, TemporaryAccessPassPolicy
from tap_provider.policy import change_policy
from tap_provider.registration_session import why_over
from tap_provider.sign_in import find_sign_in

from ..conftest import all_at_once
from ..oidc.conftest import PASSWORD
from .scene import PASS_PAGE, SIGN_IN, Scene, browser, told

MANY = 4


def set_activity(user: Any, *, is_active: bool) -> None:
    fresh = type(user)._default_manager.get(pk=user.pk)
    fresh.is_active = is_active
    fresh.save()


def deactivate(scene: Scene) -> None:
    set_activity(scene.kim, is_active=False)


def reactivate(scene: Scene) -> None:
    set_activity(scene.kim, is_active=True)


def switch_off(scene: Scene) -> None:
    change_policy(actor=scene.administrator, now=timezone.now(), enabled=False)


def switch_on(scene: Scene) -> None:
    change_policy(actor=scene.administrator, now=timezone.now(), enabled=True)


def exclude(scene: Scene) -> None:
    change_policy(actor=scene.administrator, now=timezone.now(), excluded_users=[scene.kim])


def include(scene: Scene) -> None:
    change_policy(actor=scene.administrator, now=timezone.now(), excluded_users=[])


def exclude_by_group(scene: Scene) -> None:
    with transaction.atomic():
        scene.kim.groups.add(scene.excluded_group)


def leave_group(scene: Scene) -> None:
    scene.kim.groups.clear()


def exclude_by_members(scene: Scene) -> None:
    scene.excluded_group.user_set.add(scene.kim)


def empty_group(scene: Scene) -> None:
    scene.excluded_group.user_set.clear()


WAYS: dict[str, tuple[Callable[[Scene], None], Callable[[Scene], None]]] = {
    "deactivation": (deactivate, reactivate),
    "the_switch": (switch_off, switch_on),
    "exclusion": (exclude, include),
    "excluded_group": (exclude_by_group, leave_group),
    "members_of_an_excluded_group": (exclude_by_members, empty_group),
}


def expect_nothing_alive(scene: Scene) -> None:
    """Expect that no sign-in lives by now, when everything is allowed again."""
    for sign_in in SignIn.objects.filter(user=scene.kim):
        found = find_sign_in(sign_in.pk)
        is_over = found is not None and why_over(found, now=timezone.now()) is not None
        scene.expect(is_over, f"a sign-in lives again that ended because of {sign_in.ended_reason or 'nothing'}")


def post_at_once(scene: Scene, page: str, data: dict[str, str], act: Callable[[], Any]) -> list[Any]:
    browsers = [browser() for _ in range(MANY)]
    outcomes = all_at_once(*[partial(each.post, page, data) for each in browsers], act)
    for outcome in outcomes[:-1]:
        is_answer = not isinstance(outcome, Exception) and outcome.status_code < 500
        scene.expect(is_answer, f"a post was answered {outcome!r}" if isinstance(outcome, Exception) else told(outcome))
    scene.expect(outcomes[-1] is None, f"forbidding came to {outcomes[-1]!r}")
    return outcomes[:-1]


def redemption(scene: Scene, *, by: str) -> None:
    """A one-time pass is redeemed by several while its user is forbidden to: spent only if a session was opened."""
    forbid, allow = WAYS[by]
    scene.policy()
    TemporaryAccessPassPolicy.objects.get().excluded_groups.set([scene.excluded_group])
    issued = scene.issue(scene.kim, is_usable_once=True)
    data = {"upn": scene.kim.upn, "passcode": issued.passcode.reveal()}
    post_at_once(scene, PASS_PAGE, data, partial(forbid, scene))
    allow(scene)
    expect_nothing_alive(scene)
    opened = AuditEvent.objects.filter(kind=AuditEvent.Kind.PASS_REDEEMED, user_key=str(scene.kim.pk)).count()
    held = TemporaryAccessPass.objects.filter(user=scene.kim).first()
    if forbid is deactivate:
        scene.expect(held is None and opened <= 1, f"{held!r} is left, {opened} sessions opened")
    else:
        spent = 0 if held is None else held.redemption_count
        scene.expect(spent == opened <= 1, f"spent {spent} times, {opened} sessions opened")


def redemption_against_a_deleted_group(scene: Scene) -> None:
    """The only group that the policy includes is deleted while a pass of its member is redeemed."""
    group = Group.objects.create(name=f"included-{scene.name}")
    scene.kim.groups.add(group)
    scene.policy(include_all_users=False)
    TemporaryAccessPassPolicy.objects.get().included_groups.set([group])
    issued = scene.issue(scene.kim, is_usable_once=True)
    data = {"upn": scene.kim.upn, "passcode": issued.passcode.reveal()}
    post_at_once(scene, PASS_PAGE, data, partial(delete, group))
    change_policy(actor=scene.administrator, now=timezone.now(), include_all_users=True)
    expect_nothing_alive(scene)
    opened = AuditEvent.objects.filter(kind=AuditEvent.Kind.PASS_REDEEMED, user_key=str(scene.kim.pk)).count()
    spent = TemporaryAccessPass.objects.get(user=scene.kim).redemption_count
    scene.expect(spent == opened <= 1, f"spent {spent} times, {opened} sessions opened")


def delete(group: Group) -> None:
    group.delete()


def issue_against_deactivation(scene: Scene) -> None:
    """Passes are issued for a user who is deactivated meanwhile: none is left, and none comes back."""
    scene.policy()
    issuing = [partial(scene.issue, scene.kim) for _ in range(MANY)]
    *issued, deactivated = all_at_once(*issuing, partial(deactivate, scene))
    scene.expect(deactivated is None, f"deactivating came to {deactivated!r}")
    for outcome in issued:
        scene.expect(isinstance(outcome, IssuedPass | IssueNotAllowed), f"issuing came to {outcome!r}")
    reactivate(scene)
    left = TemporaryAccessPass.objects.filter(user=scene.kim).count()
    scene.expect(left == 0, "a pass from before the deactivation is left")


def password(scene: Scene) -> None:
    post_at_once(scene, SIGN_IN, {"upn": scene.kim.username, "password": PASSWORD}, partial(deactivate, scene))
    reactivate(scene)
    expect_nothing_alive(scene)


def login_of_another_page(scene: Scene) -> None:
    """The admin's own login page, which calls Django's `login()` and knows nothing of us."""
    scene.kim.is_staff = scene.kim.is_superuser = True
    scene.kim.save()
    data = {"username": scene.kim.username, "password": PASSWORD}
    post_at_once(scene, "/admin/login/", data, partial(deactivate, scene))
    reactivate(scene)
    expect_nothing_alive(scene)


RACES: dict[str, Callable[[Scene], None]] = {
    **{f"redemption_against_{way}": partial(redemption, by=way) for way in WAYS},
    "redemption_against_a_deleted_group": redemption_against_a_deleted_group,
    "issue_against_deactivation": issue_against_deactivation,
    "password_against_deactivation": password,
    "login_of_another_page_against_deactivation": login_of_another_page,
}
