"""Step 1. Who may hold a pass, and within which bounds. The policy is off until an administrator turns it on.

It is asked at issue, at every redemption and at every request of a registration-only session, so that a change takes
effect on the next request.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Exists, OuterRef, QuerySet
from django.utils.translation import gettext_lazy as _

from . import audit, signals
from .composed_query import ComposedQuery, Parameter
from .conflicts import retry_conflicts
from .databases import atomic, users_connection
from .exceptions import InvalidPolicy, NotAllowed
from .models import AuditEvent, SignIn, Standing, TemporaryAccessPass, TemporaryAccessPassPolicy
from .people import groups_of_users, lock_people
from .permissions import has_permission
from .sign_in import end_sign_ins, of_pass
from .standing import standing_of

if TYPE_CHECKING:
    from .usability import UsabilityReason

CHANGE_PERMISSION = "tap_provider.change_temporaryaccesspasspolicy"

TARGETS = ("included_groups", "included_users", "excluded_groups", "excluded_users")

FIELDS = {field.name for field in TemporaryAccessPassPolicy._meta.concrete_fields if field.editable}


@dataclass(frozen=True)
class ResolvedPolicy:
    """The bounds in force for one user."""

    user: Any | None = field(repr=False, compare=False)
    allows_user: bool
    minimum_lifetime: timedelta
    maximum_lifetime: timedelta
    default_lifetime: timedelta
    one_time_only: bool
    passcode_length: int
    registration_window: timedelta
    require_registration: bool
    require_strong_authentication_to_register: bool

    @property
    def standing(self) -> Standing:
        """The standing of the user. A hook may ask the database for it: not before a passcode has matched."""
        return standing_of(self.user)

    def allows_pass(self, *, is_usable_once: bool, highest_standing: int) -> bool:
        """Tell whether this user may redeem such a pass: the switch, exclusion, one-time only, and not raised since."""
        return (
            self.allows_user and (is_usable_once or not self.one_time_only) and self.standing.value <= highest_standing
        )


def resolve_policy(user: Any | None) -> ResolvedPolicy:
    """Return the bounds in force for this user; None (nobody) is allowed nothing. Always exactly one query."""
    policy = _policy_for(None if user is None else user.pk) or TemporaryAccessPassPolicy()
    included = policy.include_all_users or _told(policy, "includes_user") or _told(policy, "includes_group")
    excluded = _told(policy, "excludes_user") or _told(policy, "excludes_group")
    return ResolvedPolicy(
        user=user,
        allows_user=user is not None and policy.enabled and included and not excluded,
        minimum_lifetime=timedelta(minutes=policy.minimum_lifetime_minutes),
        maximum_lifetime=timedelta(minutes=policy.maximum_lifetime_minutes),
        default_lifetime=timedelta(minutes=policy.default_lifetime_minutes),
        one_time_only=policy.one_time_only,
        passcode_length=policy.passcode_length,
        registration_window=timedelta(minutes=policy.registration_window_minutes),
        require_registration=policy.require_registration,
        require_strong_authentication_to_register=policy.require_strong_authentication_to_register,
    )


@retry_conflicts
def change_policy(*, actor: Any, now: datetime, **changes: Any) -> TemporaryAccessPassPolicy:
    """Change the policy, and end the registration-only sessions that it no longer allows.

    `changes` are fields of TemporaryAccessPassPolicy; the targets (included and excluded users and groups) take
    iterables. Raises NotAllowed, or InvalidPolicy whose message names the bound; then nothing is stored.
    """
    unknown = set(changes) - FIELDS - set(TARGETS)
    if unknown:
        raise TypeError(f"The policy has no {', '.join(sorted(unknown))}.")
    targets = {name: changes.pop(name) for name in TARGETS if name in changes}
    with atomic():
        policy = _held_for_change()
        [actor] = lock_people(actor.pk)
        guard_change(actor=actor)
        for name, value in changes.items():
            setattr(policy, name, value)
        check_policy(policy)
        policy.changed_at, policy.changed_by = now, actor
        policy.save()
        for name, members in targets.items():
            getattr(policy, name).set(members)
        detail = {
            **changes,
            **{name: sorted(str(member.pk) for member in members) for name, members in targets.items()},
        }
        audit.record(AuditEvent.Kind.POLICY_CHANGED, now=now, actor=actor, **detail)
        end_sessions_no_longer_allowed(now=now, actor=actor)
        signals.send_after_commit(signals.policy_changed, sender=TemporaryAccessPassPolicy, policy=policy, actor=actor)
    return policy


def guard_change(*, actor: Any | None) -> None:
    """Raise NotAllowed unless this person may change the policy. None: they have no account any more."""
    if actor is None or not actor.is_active or not has_permission(actor, CHANGE_PERMISSION):
        raise NotAllowed(_("You may not change the Temporary Access Pass policy."), code="missing_permission")


def _held_for_change() -> TemporaryAccessPassPolicy:
    policies = TemporaryAccessPassPolicy.objects
    held = policies.select_for_update().first()
    if held is not None:
        return held
    # Two who find no row to hold would both store one. Not `ignore_conflicts`, by which MariaDB lets several hold the
    # row that one has stored, each waiting for the others. What is updated here is stored anew below.
    has_target = users_connection().features.supports_update_conflicts_with_target
    policies.bulk_create(
        [TemporaryAccessPassPolicy()],
        update_conflicts=True,
        update_fields=["changed_at"],
        unique_fields=["id"] if has_target else None,
    )
    return policies.select_for_update().get()


def hold_policy() -> None:
    """Keep the policy as it is until the transaction ends, as others may at the same time. One statement at most.

    Before any user is held (decision 0022). SQLite needs none: there transactions that write come one after the other.
    """
    connection = users_connection()
    share = {"postgresql": "FOR SHARE", "mysql": "LOCK IN SHARE MODE"}.get(connection.vendor)
    if share is None:
        return
    quote = connection.ops.quote_name
    table, key, column = quote(TemporaryAccessPassPolicy._meta.db_table), quote("id"), quote("enabled")
    with connection.cursor() as cursor:
        # By its key, and a column that no index has: what MariaDB reads of another index alone, it locks there alone.
        cursor.execute(
            f"SELECT {column} FROM {table} WHERE {key} = %s {share}",  # noqa: S608 our own names
            [TemporaryAccessPassPolicy.ONLY_ID],
        )
        cursor.fetchall()


def check_policy(policy: TemporaryAccessPassPolicy) -> None:
    """Raise InvalidPolicy, naming the bound, unless the numbers are within bounds and in order."""
    low, high = policy.minimum_lifetime_minutes, policy.maximum_lifetime_minutes
    try:
        policy.clean_fields(exclude=["id", "changed_by"])
    except ValidationError as error:
        name, messages = next(iter(error.message_dict.items()))
        raise InvalidPolicy(messages[0], field=name) from error
    if low > high:
        message = _("The minimum lifetime (%(low)s minutes) must not exceed the maximum lifetime (%(high)s minutes).")
        raise InvalidPolicy(message % {"low": low, "high": high}, field="minimum_lifetime_minutes")
    if not low <= policy.default_lifetime_minutes <= high:
        message = _("The default lifetime must lie between the minimum (%(low)s) and the maximum (%(high)s) minutes.")
        raise InvalidPolicy(message % {"low": low, "high": high}, field="default_lifetime_minutes")


def end_sessions_no_longer_allowed(*, now: datetime, actor: Any | None = None) -> int:
    """End open registration-only sessions that the policy does not allow; return how many."""
    open_sign_ins = SignIn.objects.not_ended().opened_by_a_pass().filter(deadline__gt=now).select_related("user")
    return end_sign_ins(
        [sign_in for sign_in in open_sign_ins.annotate(**of_pass()) if not allows_sign_in(sign_in)],
        reason=SignIn.EndedReason.POLICY,
        now=now,
        actor=actor,
    )


def allows_sign_in(sign_in: SignIn) -> bool:
    """Tell whether the policy still allows what a pass opened (`sign_in` annotated by `sign_in.of_pass`)."""
    return resolve_policy(sign_in.user).allows_pass(
        is_usable_once=bool(sign_in.pass_is_usable_once),
        highest_standing=Standing.MEMBER if sign_in.pass_highest_standing is None else sign_in.pass_highest_standing,
    )


def usability_of(held: TemporaryAccessPass, policy: ResolvedPolicy, *, now: datetime) -> UsabilityReason:
    """Tell whether a pass may be redeemed at `now` by its user, whose policy this is, and if not, why."""
    allowed = policy.allows_pass(is_usable_once=held.is_usable_once, highest_standing=held.highest_standing)
    return held.usability(allowed_by_policy=allowed, now=now)


def _told(policy: TemporaryAccessPassPolicy, annotation: str) -> bool:
    return bool(getattr(policy, annotation, False))


def _policy_for(user_id: Any) -> TemporaryAccessPassPolicy | None:
    return _POLICY.first(user_id, field=get_user_model()._meta.pk)


def _with_targets(policies: QuerySet[TemporaryAccessPassPolicy]) -> QuerySet[TemporaryAccessPassPolicy]:
    return policies.annotate(
        includes_user=Exists(_targets("included_users")),
        includes_group=Exists(_group_targets("included_groups")),
        excludes_user=Exists(_targets("excluded_users")),
        excludes_group=Exists(_group_targets("excluded_groups")),
    )


def _targets(name: str) -> QuerySet[Any]:
    targets: Any = getattr(TemporaryAccessPassPolicy, name)
    rows: QuerySet[Any] = targets.through._default_manager.filter(temporaryaccesspasspolicy_id=OuterRef("pk"))
    return rows.filter(**{targets.field.m2m_reverse_field_name(): Parameter()})


def _group_targets(name: str) -> QuerySet[Any]:
    rows: QuerySet[Any] = getattr(TemporaryAccessPassPolicy, name).through._default_manager.all()
    groups_field = groups_of_users()
    if groups_field is None:  # then no group ever matches
        return rows.none()
    membership = groups_field.remote_field.through._default_manager
    groups = membership.filter(**{groups_field.m2m_field_name(): Parameter()})
    return rows.filter(
        temporaryaccesspasspolicy_id=OuterRef("pk"), group_id__in=groups.values(groups_field.m2m_reverse_field_name())
    )


_POLICY = ComposedQuery(TemporaryAccessPassPolicy, _with_targets)
