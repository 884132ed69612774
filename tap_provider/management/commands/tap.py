"""`manage.py tap`: passes and policy from the command line, by the same verbs and guards as everywhere; and upkeep.

The passcode goes to standard output and nothing else does (without `--json`), so that it can be piped; all that is
said goes to standard error. Exit codes: 0 done, 1 refused by a rule, 2 wrong usage, 3 no such user or pass.
"""

from __future__ import annotations

import json
import signal
from contextlib import suppress
from time import sleep
from typing import TYPE_CHECKING, Any, NoReturn

from django.apps import apps
from django.contrib.auth.models import Group
from django.core.management.base import BaseCommand, CommandError
from django.db import close_old_connections
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from ...addresses import pass_sign_in_url
from ...exceptions import AmbiguousUpn, TapError
from ...hooks import find_user, get_hooks
from ...issue import issue_pass, lifetime_of, revoke_pass
from ...models import TemporaryAccessPass, TemporaryAccessPassPolicy
from ...moments import as_aware, as_stored
from ...policy import change_policy, resolve_policy, usability_of
from ...secret import Secret
from ...sign_in import end_overdue_sign_ins

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from datetime import datetime

REFUSED, USAGE, NOT_FOUND = 1, 2, 3

WATCH_SECONDS = 2

POLICY_NUMBERS = {
    "minimum_lifetime_minutes": "least lifetime, in minutes",
    "maximum_lifetime_minutes": "greatest lifetime, in minutes",
    "default_lifetime_minutes": "lifetime where none is given, in minutes",
    "passcode_length": "symbols of a passcode",
    "registration_window_minutes": "minutes to register in after a one-time pass",
}
POLICY_SWITCHES = {
    "enabled": "passes can be issued and redeemed",
    "include_all_users": "everybody may hold a pass",
    "one_time_only": "every pass is one-time",
    "require_registration": "nobody finishes without a strong method",
    "require_strong_authentication_to_register": "a password alone does not suffice to register",
}
POLICY_TARGETS = {
    "included_groups": ("--include-group", "NAME"),
    "included_users": ("--include-user", "UPN"),
    "excluded_groups": ("--exclude-group", "NAME"),
    "excluded_users": ("--exclude-user", "UPN"),
}


class Command(BaseCommand):
    help = "Issue, show and revoke Temporary Access Passes, and show or set their policy."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        issue = verbs.add_parser("issue", help="issue a pass; the passcode is printed once, on standard output")
        issue.add_argument("upn", metavar="UPN")
        issue.add_argument("--starts-at", metavar="TIME", help="ISO 8601; default: now")
        issue.add_argument("--lifetime", metavar="MINUTES", type=int, help="default: the policy's")
        issue.add_argument("--one-time", action="store_const", const=True, help="the pass works once")
        issue.add_argument(
            "--multi-use", dest="one_time", action="store_const", const=False, help="it works until it expires"
        )
        issue.add_argument("--reason", default="", help="why, and how the person was identified")
        show = verbs.add_parser("show", help="show a user's pass, never its passcode")
        show.add_argument("upn", metavar="UPN")
        revoke = verbs.add_parser("revoke", help="end a user's pass and what it opened")
        revoke.add_argument("upn", metavar="UPN")
        revoke.add_argument("--reason", default="")
        policy = verbs.add_parser("policy", help="show or set the policy")
        policy_verbs = policy.add_subparsers(dest="policy_verb", required=True, metavar="VERB")
        policy_show = policy_verbs.add_parser("show", help="show the policy")
        policy_set = policy_verbs.add_parser("set", help="change the policy; what is not named stays")
        _add_policy_arguments(policy_set)
        sweep = verbs.add_parser("sweep", help="delete what has served its time; run it once a day")
        deliver = verbs.add_parser("deliver", help="end what is past its deadline, and deliver what waits to be told")
        deliver.add_argument("--watch", action="store_true", help="go on until stopped")
        for subparser in (issue, revoke, policy_set):
            subparser.add_argument("--actor", required=True, metavar="UPN", help="who acts: their permissions decide")
        for subparser in (issue, show, revoke, policy_show, policy_set, sweep, deliver):
            subparser.add_argument("--json", action="store_true", help="print one JSON object on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        verb = f"{options['verb']}_{options['policy_verb']}" if options["verb"] == "policy" else options["verb"]
        try:
            getattr(self, verb)(options, now=timezone.now())
        except AmbiguousUpn as error:
            _fail(str(error.message), NOT_FOUND)
        except TapError as refusal:
            _fail(f"{refusal.message} ({refusal.code})", REFUSED)

    def issue(self, options: dict[str, Any], *, now: datetime) -> None:
        minutes = options["lifetime"]
        issued = issue_pass(
            actor=_user(options["actor"]),
            user=_user(options["upn"]),
            now=now,
            starts_at=None if options["starts_at"] is None else _time(options["starts_at"]),
            lifetime=None if minutes is None else lifetime_of(minutes),
            is_usable_once=options["one_time"],
            reason=options["reason"],
        )
        facts = _facts(issued.temporary_access_pass, now=now)
        if options["json"]:
            self._print_json({**facts, "passcode": issued.passcode_for_reading})
            return
        self.stdout.write(issued.passcode_for_reading.reveal())
        self._say_facts(facts)
        self.stderr.write("The passcode is shown only now. Hand it over by a channel that proves who receives it.")

    def show(self, options: dict[str, Any], *, now: datetime) -> None:
        facts = _facts(_held(_user(options["upn"])), now=now)
        self._print_json(facts) if options["json"] else self._say_facts(facts)

    def revoke(self, options: dict[str, Any], *, now: datetime) -> None:
        held = _held(_user(options["upn"]))
        revoke_pass(actor=_user(options["actor"]), temporary_access_pass=held, now=now, reason=options["reason"])
        if options["json"]:
            self._print_json({"id": str(held.pk), "revoked": True})
        else:
            self.stderr.write("Revoked. What it had opened has ended.")

    def policy_show(self, options: dict[str, Any], *, now: datetime) -> None:
        facts = _policy_facts(TemporaryAccessPassPolicy.objects.current())
        self._print_json(facts) if options["json"] else self._say_facts(facts)

    def policy_set(self, options: dict[str, Any], *, now: datetime) -> None:
        names = [*POLICY_NUMBERS, *POLICY_SWITCHES]
        changes: dict[str, Any] = {name: options[name] for name in names if options[name] is not None}
        changes |= {name: _members(name, options[name]) for name in POLICY_TARGETS if options[name] is not None}
        if not changes:
            _fail("Nothing to set. See manage.py tap policy set --help.", USAGE)
        policy = change_policy(actor=_user(options["actor"]), now=now, **changes)
        facts = _policy_facts(policy)
        self._print_json(facts) if options["json"] else self._say_facts(facts)

    def sweep(self, options: dict[str, Any], *, now: datetime) -> None:
        swept = {
            name: sweeper(now=now)
            for config in apps.get_app_configs()
            for name, sweeper in getattr(config, "sweepers", {}).items()
        }
        self._print_json(swept) if options["json"] else self._say_facts(swept)

    def deliver(self, options: dict[str, Any], *, now: datetime) -> None:
        if options["watch"]:
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            with suppress(KeyboardInterrupt):
                self._deliver_until_stopped(options)
            return
        self._tell_delivered(_deliver(now=now), options)

    def _deliver_until_stopped(self, options: dict[str, Any]) -> None:
        while True:
            close_old_connections()
            done = _deliver(now=timezone.now())
            if any(done.values()):
                self._tell_delivered(done, options)
            sleep(WATCH_SECONDS)

    def _tell_delivered(self, done: dict[str, int], options: dict[str, Any]) -> None:
        self._print_json(done) if options["json"] else self._say_facts(done)

    def _print_json(self, facts: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(facts, indent=2, default=Secret.reveal))

    def _say_facts(self, facts: dict[str, Any]) -> None:
        for name, value in facts.items():
            shown = ", ".join(value) if isinstance(value, list) else "" if value is None else value
            self.stderr.write(f"{name.replace('_', ' ')}: {shown}")


def _deliver(*, now: datetime) -> dict[str, int]:
    done = {"sign-ins ended": end_overdue_sign_ins(now=now)}
    for config in apps.get_app_configs():
        for deliverer in getattr(config, "deliverers", ()):
            done |= deliverer()
    return done


def _add_policy_arguments(parser: ArgumentParser) -> None:
    for name, explained in POLICY_NUMBERS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", dest=name, type=int, metavar="N", help=explained)
    for name, explained in POLICY_SWITCHES.items():
        flag = name.replace("_", "-")
        parser.add_argument(f"--{flag}", dest=name, action="store_const", const=True, help=explained)
        parser.add_argument(f"--no-{flag}", dest=name, action="store_const", const=False, help=f"not: {explained}")

    for name, (flag, metavar) in POLICY_TARGETS.items():
        explained = f"the {name.replace('_', ' ')}, each named anew; an empty name for none"
        parser.add_argument(flag, dest=name, action="append", metavar=metavar, help=explained)


def _members(name: str, named: list[str]) -> list[Any]:
    named = [text for text in named if text]
    if name.endswith("users"):
        return [_user(upn) for upn in named]
    groups = list(Group.objects.filter(name__in=named))
    missing = sorted(set(named) - {group.name for group in groups})
    return _fail(f"There is no group {missing[0]}.", NOT_FOUND) if missing else groups


def _time(text: str) -> datetime:
    try:
        parsed = parse_datetime(text)
    except ValueError:
        parsed = None
    if parsed is None:
        _fail(f"{text!r} is not a time such as 2026-12-24T09:00+01:00.", USAGE)
    return as_stored(parsed)


def _user(upn: str) -> Any:
    user = find_user(upn)
    return _fail(f"There is no user {upn}.", NOT_FOUND) if user is None else user


def _held(user: Any) -> TemporaryAccessPass:
    held = TemporaryAccessPass.objects.filter(user=user).select_related("created_by").first()
    return _fail("This user has no Temporary Access Pass.", NOT_FOUND) if held is None else held


def _facts(held: TemporaryAccessPass, *, now: datetime) -> dict[str, Any]:
    reason = usability_of(held, resolve_policy(held.user), now=now)
    return {
        "id": str(held.pk),
        "upn": get_hooks().get_upn(held.user),
        "starts_at": as_aware(held.starts_at).isoformat(),
        "expires_at": as_aware(held.expires_at).isoformat(),
        "lifetime_minutes": held.lifetime_minutes,
        "is_usable_once": held.is_usable_once,
        "is_usable": reason.is_usable,
        "usability_reason": reason.value,
        "redemption_count": held.redemption_count,
        "created_by": get_hooks().get_upn(held.created_by) if held.created_by else None,
        "reason": held.reason,
        "sign_in_url": pass_sign_in_url(held.pk),
    }


def _policy_facts(policy: TemporaryAccessPassPolicy) -> dict[str, Any]:
    facts: dict[str, Any] = {name: getattr(policy, name) for name in [*POLICY_SWITCHES, *POLICY_NUMBERS]}
    for name in POLICY_TARGETS:
        members = getattr(policy, name).all() if policy.pk and not policy._state.adding else []
        facts[name] = [get_hooks().get_upn(member) if name.endswith("users") else member.name for member in members]
    return facts


def _fail(message: str, code: int) -> NoReturn:
    raise CommandError(message, returncode=code)
