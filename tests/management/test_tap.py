"""`manage.py tap`: the same verbs and guards; the passcode once on standard output, and nothing else there."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.utils import timezone

from tap_provider.issue import revoke_pass
from tap_provider.models import AttemptCounter, AuditEvent, SignIn, TemporaryAccessPass, TemporaryAccessPassPolicy
from tap_provider.policy import change_policy
from tap_provider.redeem import redeem_pass
from tap_provider.sign_in import Client as WhereFrom

from ..conftest import HOUR, MINUTE

PASSCODE = r"[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}"
FACTS = [
    "id",
    "upn",
    "starts_at",
    "expires_at",
    "lifetime_minutes",
    "is_usable_once",
    "is_usable",
    "usability_reason",
    "redemption_count",
    "created_by",
    "reason",
    "sign_in_url",
]
POLICY = [
    "enabled",
    "include_all_users",
    "one_time_only",
    "require_registration",
    "require_strong_authentication_to_register",
    "minimum_lifetime_minutes",
    "maximum_lifetime_minutes",
    "default_lifetime_minutes",
    "passcode_length",
    "registration_window_minutes",
]
TARGETS = ["included_groups", "included_users", "excluded_groups", "excluded_users"]
DONE, REFUSED, USAGE, NOT_FOUND = 0, 1, 2, 3


def tap(*arguments: str) -> tuple[str, str]:
    """Run the command; return what it wrote to standard output and to standard error."""
    out, err = StringIO(), StringIO()
    call_command("tap", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def refused(*arguments: str) -> tuple[int, str]:
    """Run the command, which is to fail; return its exit code and what it says."""
    out = StringIO()
    with pytest.raises(CommandError) as error:
        call_command("tap", *arguments, stdout=out, stderr=StringIO())
    assert out.getvalue() == ""
    return error.value.returncode, str(error.value)


@pytest.fixture
def as_admin(admin: Any, policy_on: Any) -> list[str]:
    return ["--actor", admin.upn]


# Issue.


def test_issue__standard_output_carries_only_the_passcode(robin: Any, as_admin: list[str]) -> None:
    out, err = tap("issue", robin.upn, *as_admin)
    assert re.fullmatch(f"{PASSCODE}\n", out)
    assert out.strip() not in err
    assert robin.upn in err
    assert "expires at" in err
    assert "/account/sign-in/pass/" in err
    redeem_pass(upn=robin.upn, passcode=out, client=WhereFrom(), now=timezone.now())


def test_issue__as_json_is_one_object(robin: Any, admin: Any, as_admin: list[str]) -> None:
    out, err = tap("issue", robin.upn, *as_admin, "--json", "--reason", "first day", "--lifetime", "90", "--one-time")
    facts = json.loads(out)
    assert list(facts) == [*FACTS, "passcode"]
    assert re.fullmatch(PASSCODE, facts["passcode"])
    assert err == ""
    held = TemporaryAccessPass.objects.get(user=robin)
    assert facts["id"] == str(held.pk)
    assert (facts["upn"], facts["created_by"], facts["reason"]) == (robin.upn, admin.upn, "first day")
    assert (facts["lifetime_minutes"], facts["is_usable_once"]) == (90, True)
    assert (facts["is_usable"], facts["usability_reason"], facts["redemption_count"]) == (True, "EnabledByPolicy", 0)
    assert datetime.fromisoformat(facts["expires_at"]) - datetime.fromisoformat(facts["starts_at"]) == 90 * MINUTE
    assert facts["sign_in_url"].startswith("http://localhost:8000/account/sign-in/pass/?handle=")


def test_issue__without_wishes_the_policys_defaults_hold(robin: Any, admin: Any, as_admin: list[str]) -> None:
    change_policy(actor=admin, now=timezone.now(), default_lifetime_minutes=120, one_time_only=True)
    tap("issue", robin.upn, *as_admin)
    held = TemporaryAccessPass.objects.get(user=robin)
    assert (held.lifetime_minutes, held.is_usable_once) == (120, True)


@pytest.mark.parametrize(("flag", "is_usable_once"), [("--one-time", True), ("--multi-use", False)])
def test_issue__once_or_often(robin: Any, as_admin: list[str], flag: str, is_usable_once: bool) -> None:
    tap("issue", robin.upn, *as_admin, flag)
    assert TemporaryAccessPass.objects.get(user=robin).is_usable_once is is_usable_once


@pytest.mark.aware_times
@pytest.mark.parametrize("suffix", ["+00:00", "Z", ""])
def test_issue__starts_when_it_is_told_to(robin: Any, as_admin: list[str], suffix: str) -> None:
    start = (timezone.now() + HOUR).replace(second=0, microsecond=0)
    tap("issue", robin.upn, *as_admin, "--starts-at", f"{start:%Y-%m-%dT%H:%M}{suffix}")
    assert TemporaryAccessPass.objects.get(user=robin).starts_at == start


@pytest.mark.aware_times
def test_issue__a_time_without_a_zone_is_the_sites(robin: Any, as_admin: list[str], settings: Any) -> None:
    settings.TIME_ZONE = "Asia/Kathmandu"
    start = (timezone.now() + HOUR).replace(second=0, microsecond=0)
    local = start + timedelta(hours=5, minutes=45)
    tap("issue", robin.upn, *as_admin, "--starts-at", f"{local:%Y-%m-%dT%H:%M}")
    assert TemporaryAccessPass.objects.get(user=robin).starts_at == start


def test_issue__replaces_the_pass_and_ends_what_it_opened(holder_client: Any, robin: Any, as_admin: list[str]) -> None:
    tap("issue", robin.upn, *as_admin)
    assert SignIn.objects.get(user=robin).ended_reason == SignIn.EndedReason.PASS_REPLACED


@pytest.mark.parametrize("upn", ["ROBIN@EXAMPLE.TEST", " robin@example.test "])
def test_issue__the_upn_is_matched_without_regard_to_case(robin: Any, as_admin: list[str], upn: str) -> None:
    tap("issue", upn, *as_admin)
    assert TemporaryAccessPass.objects.get().user == robin


@pytest.mark.aware_times
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--lifetime", "59"], ["60", "480"]),
        (["--lifetime", "481"], ["60", "480"]),
        (["--lifetime", "-60"], ["60", "480"]),
        (["--lifetime", str(10**18)], ["60", "480"]),
        (["--starts-at", "1999-01-01T00:00Z"], ["5 minutes"]),
        (["--starts-at", "9999-12-31T23:59Z"], ["30 days"]),
    ],
)
def test_issue__outside_the_bounds_is_refused_and_names_them(
    robin: Any, as_admin: list[str], arguments: list[str], said: list[str]
) -> None:
    code, message = refused("issue", robin.upn, *as_admin, *arguments)
    assert code == REFUSED
    assert all(bound in message for bound in said)
    assert not TemporaryAccessPass.objects.exists()


@pytest.mark.parametrize("time", ["tomorrow", "2026-13-01T00:00", "2026-02-30T00:00", "09:00", "", "2026-03-02T25:00"])
def test_issue__a_bad_time_is_wrong_usage(robin: Any, as_admin: list[str], time: str) -> None:
    code, message = refused("issue", robin.upn, *as_admin, "--starts-at", time)
    assert code == USAGE
    assert "2026-12-24T09:00+01:00" in message
    assert not TemporaryAccessPass.objects.exists()


def test_issue__the_actors_permissions_decide(
    robin: Any, admin: Any, make_user: Any, helpdesk: Any, policy_on: Any
) -> None:
    nobody = make_user("plain")
    gone = make_user("gone", is_active=False, is_superuser=True)
    for actor, user, said in (
        (nobody, robin, "missing_permission"),
        (gone, robin, "missing_permission"),
        (admin, admin, "oneself"),
        (helpdesk, admin, "outranked"),
        (admin, gone, "inactive_user"),
    ):
        code, message = refused("issue", user.upn, "--actor", actor.upn)
        assert (code, said in message) == (REFUSED, True)
    assert not TemporaryAccessPass.objects.exists()
    tap("issue", robin.upn, "--actor", helpdesk.upn)
    assert TemporaryAccessPass.objects.get().created_by == helpdesk


def test_issue__the_actors_permissions_after_hashing_decide(
    robin: Any, helpdesk: Any, policy_on: Any, hasher: Any
) -> None:
    hasher.meanwhile = helpdesk.user_permissions.clear
    code, message = refused("issue", robin.upn, "--actor", helpdesk.upn)
    assert (code, "missing_permission" in message) == (REFUSED, True)
    assert not TemporaryAccessPass.objects.exists()


def test_issue__outside_the_policy_is_refused(robin: Any, admin: Any) -> None:
    code, message = refused("issue", robin.upn, "--actor", admin.upn)  # it is off
    assert (code, "policy" in message) == (REFUSED, True)
    assert AuditEvent.objects.get(kind=AuditEvent.Kind.ISSUE_REFUSED).actor_name == admin.upn


@pytest.mark.parametrize("upn", ["nobody@example.test", "", "a\x00b", "\udcff", "x" * 10_000])
def test_issue__a_user_who_does_not_exist_is_not_found(admin: Any, robin: Any, policy_on: Any, upn: str) -> None:
    assert refused("issue", upn, "--actor", admin.upn)[0] == NOT_FOUND
    assert refused("issue", robin.upn, "--actor", upn)[0] == NOT_FOUND


def test_issue__a_upn_of_two_users_is_refused_not_guessed(
    admin: Any, make_user: Any, policy_on: Any, settings: Any
) -> None:
    settings.TAP_PROVIDER_UPN_FIELD = "email"
    make_user("quinn", email="Q@example.test")
    make_user("quincy", email="q@example.test")
    for verb in (["issue", "q@example.test", "--actor", admin.email], ["show", "q@example.test"]):
        code, message = refused(*verb)
        assert (code, "differing by case" in message) == (NOT_FOUND, True)
    assert not TemporaryAccessPass.objects.exists()


@pytest.mark.parametrize("verb", [["issue", "robin@example.test"], ["revoke", "robin@example.test"], ["policy", "set"]])
def test_actor__is_required_by_every_verb_that_changes_something(robin: Any, policy_on: Any, verb: list[str]) -> None:
    assert "--actor" in refused(*verb, *([] if verb[0] != "policy" else ["--enabled"]))[1]


# Show.


def test_show__never_shows_the_passcode(robin: Any, issue: Any) -> None:
    issued = issue(robin)
    out, err = tap("show", robin.upn)
    assert out == ""
    assert str(issued.temporary_access_pass.pk) in err
    as_json, _ = tap("show", robin.upn, "--json")
    assert list(json.loads(as_json)) == FACTS
    for text in (err, as_json):
        assert issued.passcode.reveal() not in text
        assert issued.passcode_for_reading.reveal() not in text
        assert issued.temporary_access_pass.passcode_hash not in text


def test_show__tells_why_a_pass_is_not_usable(robin: Any, admin: Any, issue: Any) -> None:
    issue(robin)
    change_policy(actor=admin, now=timezone.now(), enabled=False)
    facts = json.loads(tap("show", robin.upn, "--json")[0])
    assert (facts["is_usable"], facts["usability_reason"]) == (False, "DisabledByPolicy")


@pytest.mark.parametrize("upn", ["robin@example.test", "nobody@example.test"])
def test_show__without_a_pass_there_is_none_to_show(robin: Any, upn: str) -> None:
    assert refused("show", upn)[0] == NOT_FOUND


# Revoke.


def test_revoke__ends_the_pass_and_what_it_opened(
    holder_client: Any, robin: Any, admin: Any, as_admin: list[str]
) -> None:
    out, err = tap("revoke", robin.upn, *as_admin, "--reason", "left the company")
    assert out == ""
    assert "Revoked" in err
    assert not TemporaryAccessPass.objects.exists()
    assert SignIn.objects.get(user=robin).ended_reason == SignIn.EndedReason.PASS_REVOKED
    event = AuditEvent.objects.get(kind=AuditEvent.Kind.PASS_REVOKED)
    assert (event.actor_name, event.detail) == (admin.upn, {"reason": "left the company"})


def test_revoke__as_json_is_one_object(robin: Any, issue: Any, as_admin: list[str]) -> None:
    held = issue(robin).temporary_access_pass
    out, err = tap("revoke", robin.upn, *as_admin, "--json")
    assert json.loads(out) == {"id": str(held.pk), "revoked": True}
    assert err == ""


def test_revoke__the_actors_permissions_decide(robin: Any, make_user: Any, helpdesk: Any, issue: Any) -> None:
    issue(robin)
    issue(boss := make_user("boss", is_superuser=True))
    assert refused("revoke", robin.upn, "--actor", make_user("plain").upn)[0] == REFUSED
    assert refused("revoke", boss.upn, "--actor", helpdesk.upn)[0] == REFUSED
    assert TemporaryAccessPass.objects.count() == 2
    tap("revoke", robin.upn, "--actor", helpdesk.upn)
    assert TemporaryAccessPass.objects.count() == 1


def test_revoke__without_a_pass_there_is_none_to_revoke(robin: Any, admin: Any, issue: Any) -> None:
    assert refused("revoke", robin.upn, "--actor", admin.upn)[0] == NOT_FOUND
    held = issue(robin).temporary_access_pass
    revoke_pass(actor=admin, temporary_access_pass=held, now=timezone.now())
    assert refused("revoke", robin.upn, "--actor", admin.upn)[0] == NOT_FOUND


# Policy.


def test_policy_show__before_anybody_has_set_it(db: None) -> None:
    facts = json.loads(tap("policy", "show", "--json")[0])
    assert list(facts) == [*POLICY, *TARGETS]
    assert (facts["enabled"], facts["minimum_lifetime_minutes"], facts["passcode_length"]) == (False, 60, 8)
    out, err = tap("policy", "show")
    assert out == ""
    assert "enabled: False" in err
    assert not TemporaryAccessPassPolicy.objects.exists()


def test_policy_set__changes_what_is_named_and_nothing_else(admin: Any) -> None:
    out, _ = tap("policy", "set", "--actor", admin.upn, "--json", "--enabled", "--passcode-length", "12")
    facts = json.loads(out)
    assert list(facts) == [*POLICY, *TARGETS]
    assert (facts["enabled"], facts["passcode_length"]) == (True, 12)
    tap("policy", "set", "--actor", admin.upn, "--no-enabled", "--one-time-only")
    policy = TemporaryAccessPassPolicy.objects.current()
    assert (policy.enabled, policy.one_time_only, policy.passcode_length) == (False, True, 12)
    assert policy.changed_by == admin


@pytest.mark.parametrize("name", POLICY)
def test_policy_set__reaches_every_number_and_switch(admin: Any, name: str) -> None:
    flag, before = f"--{name.replace('_', '-')}", getattr(TemporaryAccessPassPolicy(), name)
    wanted = not before if isinstance(before, bool) else before + 1
    if name == "minimum_lifetime_minutes":
        wanted = before - 1
    arguments = [flag if wanted else f"--no-{flag[2:]}"] if isinstance(before, bool) else [flag, str(wanted)]
    tap("policy", "set", "--actor", admin.upn, *arguments)
    assert getattr(TemporaryAccessPassPolicy.objects.get(), name) == wanted


@pytest.mark.parametrize("flag", ["include", "exclude"])
def test_policy_set__names_groups_and_users(admin: Any, robin: Any, make_user: Any, flag: str) -> None:
    make_user("quinn")
    Group.objects.create(name="contractors")
    acting = ["policy", "set", "--actor", admin.upn, "--json"]
    named = [f"--{flag}-user", "ROBIN@example.test", f"--{flag}-user", "quinn@example.test", f"--{flag}-group"]
    facts = json.loads(tap(*acting, *named, "contractors")[0])
    assert sorted(facts[f"{flag}d_users"]) == ["quinn@example.test", robin.upn]
    assert facts[f"{flag}d_groups"] == ["contractors"]
    assert "robin@example.test" in tap("policy", "show")[1]
    facts = json.loads(tap(*acting, f"--{flag}-user", "quinn@example.test", f"--{flag}-group", "")[0])
    assert (facts[f"{flag}d_users"], facts[f"{flag}d_groups"]) == (["quinn@example.test"], [])


def test_policy_set__excluding_somebody_ends_what_their_pass_opened(
    holder_client: Any, robin: Any, as_admin: list[str]
) -> None:
    tap("policy", "set", *as_admin, "--exclude-user", robin.upn)
    assert SignIn.objects.get(user=robin).ended_reason == SignIn.EndedReason.POLICY


@pytest.mark.parametrize("target", [["--exclude-user", "nobody@example.test"], ["--include-group", "no-such-group"]])
def test_policy_set__of_somebody_who_does_not_exist_changes_nothing(admin: Any, target: list[str]) -> None:
    assert refused("policy", "set", "--actor", admin.upn, "--enabled", *target)[0] == NOT_FOUND
    assert not TemporaryAccessPassPolicy.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "bounds"),
    [
        (["--passcode-length", "7"], ["8"]),
        (["--passcode-length", "49"], ["48"]),
        (["--minimum-lifetime-minutes", "9"], ["10"]),
        (["--maximum-lifetime-minutes", "43201"], ["43200"]),
        (["--maximum-lifetime-minutes", str(10**18)], ["43200"]),
        (["--minimum-lifetime-minutes", "481"], ["481", "480"]),
        (["--default-lifetime-minutes", "481"], ["60", "480"]),
        (["--registration-window-minutes", "0"], ["1"]),
    ],
)
def test_policy_set__outside_the_bounds_is_refused_and_names_them(
    admin: Any, arguments: list[str], bounds: list[str]
) -> None:
    code, message = refused("policy", "set", "--actor", admin.upn, *arguments)
    assert code == REFUSED
    assert all(bound in message for bound in bounds)
    assert not TemporaryAccessPassPolicy.objects.exists()


def test_policy_set__of_nothing_is_wrong_usage(admin: Any) -> None:
    assert refused("policy", "set", "--actor", admin.upn)[0] == USAGE


def test_policy_set__the_actors_permissions_decide(make_user: Any, grant: Any) -> None:
    staff = make_user("staff", is_staff=True)
    assert refused("policy", "set", "--actor", staff.upn, "--enabled")[0] == REFUSED
    assert not TemporaryAccessPassPolicy.objects.exists()
    grant(staff, "change_temporaryaccesspasspolicy")
    tap("policy", "set", "--actor", staff.upn, "--enabled")
    assert TemporaryAccessPassPolicy.objects.get().changed_by == staff


def test_sweep__deletes_what_has_served_its_time(db: None) -> None:
    now = int(timezone.now().timestamp()) // 60
    AttemptCounter.objects.create(digest="old", minute=now - 60, count=1)
    AttemptCounter.objects.create(digest="new", minute=now, count=1)
    swept = json.loads(tap("sweep", "--json")[0])
    assert swept["attempt counters"] == 1
    assert list(AttemptCounter.objects.values_list("digest", flat=True)) == ["new"]
    out, err = tap("sweep")
    assert (out, "attempt counters: 0" in err) == ("", True)


# As a process of its own.


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A seeded example on SQLite, as the demo leaves it."""
    folder = tmp_path_factory.mktemp("site")
    assert manage(folder, "demo", "--seed-only", "--json").returncode == 0
    return folder


def manage(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=django_settings.BASE_DIR,
        env={"PATH": os.environ.get("PATH", ""), "VAR_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_process__the_passcode_can_be_piped(site: Path) -> None:
    done = manage(site, "tap", "issue", "robin@example.test", "--actor", "admin@example.test")
    assert done.returncode == DONE
    assert re.fullmatch(f"{PASSCODE}\n", done.stdout)
    assert done.stdout.strip() not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["show", "robin@example.test", "--json"], DONE),
        (["issue", "admin@example.test", "--actor", "admin@example.test"], REFUSED),
        (["issue", "robin@example.test", "--actor", "admin@example.test", "--starts-at", "tomorrow"], USAGE),
        (["issue", "robin@example.test"], USAGE),
        (["policy", "set", "--actor", "admin@example.test"], USAGE),
        (["revoke", "nobody@example.test", "--actor", "admin@example.test"], NOT_FOUND),
    ],
)
def test_process__exits_with_a_code_and_without_a_traceback(site: Path, arguments: list[str], code: int) -> None:
    done = manage(site, "tap", *arguments)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert (done.stdout == "") is (code != DONE)


# deliver


def overdue(user: Any) -> SignIn:
    return SignIn.objects.create(user=user, level="single_factor", created_at=timezone.now(), deadline=timezone.now())


def test_deliver__ends_what_is_past_its_deadline(robin: Any) -> None:
    sign_in = overdue(robin)
    assert json.loads(tap("deliver", "--json")[0])["sign-ins ended"] == 1
    sign_in.refresh_from_db()
    assert sign_in.ended_reason == SignIn.EndedReason.DEADLINE
    out, err = tap("deliver")
    assert out == ""
    assert "sign-ins ended: 0" in err


def test_deliver__goes_on_watching_until_it_is_stopped(robin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) < 3:
            overdue(robin)
        else:
            os.kill(os.getpid(), signal.SIGTERM)  # as a supervisor stops it

    monkeypatch.setattr("tap_provider.management.commands.tap.sleep", nap)
    monkeypatch.setattr("tap_provider.management.commands.tap.close_old_connections", lambda: None)  # the test's own
    before = signal.getsignal(signal.SIGTERM)
    try:
        out, _ = tap("deliver", "--watch", "--json")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert naps == [2, 2, 2]
    assert out.count('"sign-ins ended": 1') == 2  # nothing is said where nothing was done
    assert not SignIn.objects.not_ended().exists()
