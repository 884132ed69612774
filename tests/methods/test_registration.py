"""May this session register a method now, what is left to do, and the record of what was done."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.forms import SetPasswordForm
from django.db import IntegrityError, OperationalError, connection, transaction
from django.test import Client, RequestFactory
from django.utils import timezone
from django_otp.plugins.otp_totp.models import TOTPDevice

from tap_provider.databases import where
from tap_provider.exceptions import MethodNotVerified, RegistrationNotAllowed
from tap_provider.issue import revoke_pass
from tap_provider.methods.kinds import Method, RegistrationPage
from tap_provider.methods.registration import (
    FRESHNESS,
    complete_registration,
    has_strong_method,
    left_to_do,
    may_register,
    record_registration,
)
from tap_provider.methods.registry import find_kind
from tap_provider.methods.totp import TotpForm, TotpKind
from tap_provider.models import AuditEvent, Level, RecoveryCode, SignIn, TemporaryAccessPass
from tap_provider.policy import ResolvedPolicy, change_policy, resolve_policy
from tap_provider.redeem import redeem_pass
from tap_provider.sign_in import Client as WhereFrom
from tap_provider.sign_in import begin_sign_in, end_sign_in, find_sign_in
from tap_provider.signals import method_registered

from ..conftest import DAY, HOUR, MINUTE, NOW, all_at_once

SECOND = timedelta(seconds=1)

pytestmark = pytest.mark.usefixtures("hasher")  # a cheap one


@pytest.fixture
def policy(policy_on: Any, robin: Any) -> ResolvedPolicy:
    return resolve_policy(robin)


@pytest.fixture
def full(robin: Any) -> Any:
    """Make a full session's sign-in of Robin's."""

    def make(level: Level = Level.MULTI_FACTOR, authenticated_at: Any = NOW) -> SignIn:
        return begin_sign_in(
            user=robin,
            methods=["password"],
            amr=["pwd"],
            level=level,
            client=WhereFrom(),
            now=NOW,
            authenticated_at=authenticated_at,
        )

    return make


@pytest.fixture
def by_pass(robin: Any, issue: Any) -> SignIn:
    """The sign-in of a registration-only session of Robin's."""
    issued = issue(robin, now=NOW)
    sign_in = redeem_pass(upn=robin.upn, passcode=issued.passcode.reveal(), client=WhereFrom(), now=NOW)
    found = find_sign_in(sign_in.pk)
    assert found is not None
    return found


def code(sign_in: SignIn | None, policy: ResolvedPolicy, now: Any = NOW) -> str | None:
    refusal = may_register(sign_in=sign_in, policy=policy, now=now)
    return None if refusal is None else refusal.code


def add_totp(user: Any, *, confirmed: bool = True) -> TOTPDevice:
    return TOTPDevice.objects.create(user=user, name="app", confirmed=confirmed)


# Full sessions.


def test_guard_registration__nobody_is_signed_in(policy: ResolvedPolicy) -> None:
    assert code(None, policy) == "not_signed_in"


@pytest.mark.parametrize("level", [Level.MULTI_FACTOR, Level.PHISHING_RESISTANT])
def test_guard_registration__a_fresh_strong_session_may(full: Any, policy: ResolvedPolicy, level: Level) -> None:
    assert code(full(level), policy) is None


def test_guard_registration__a_session_by_password_alone_may_not(full: Any, policy: ResolvedPolicy) -> None:
    assert code(full(Level.SINGLE_FACTOR), policy) == "not_strong_enough"


def test_guard_registration__a_strong_session_may_for_ten_minutes(full: Any, policy: ResolvedPolicy) -> None:
    assert timedelta(minutes=10) == FRESHNESS
    sign_in = full()
    assert code(sign_in, policy, NOW + 10 * MINUTE) is None
    assert code(sign_in, policy, NOW + 10 * MINUTE + SECOND) == "not_fresh"
    assert code(sign_in, policy, NOW + DAY) == "not_fresh"


def test_guard_registration__a_session_of_unknown_age_may_not(full: Any, policy: ResolvedPolicy) -> None:
    assert code(full(authenticated_at=None), policy) == "not_fresh"


def test_guard_registration__an_ended_session_may_not(full: Any, policy: ResolvedPolicy) -> None:
    sign_in = full()
    end_sign_in(sign_in, reason=SignIn.EndedReason.SIGNED_OUT, now=NOW)
    assert code(sign_in, policy) == "not_signed_in"


def test_guard_registration__a_policy_may_let_a_password_register_the_first_strong_method(
    full: Any, admin: Any, robin: Any, policy: ResolvedPolicy
) -> None:
    change_policy(actor=admin, now=NOW, require_strong_authentication_to_register=False)
    lenient, sign_in = resolve_policy(robin), full(Level.SINGLE_FACTOR)
    assert code(sign_in, lenient) is None
    assert code(sign_in, lenient, NOW + 11 * MINUTE) == "not_fresh"
    device = add_totp(robin, confirmed=False)
    assert code(sign_in, lenient) is None  # pending, it counts for nothing
    device.confirmed = True
    device.save()
    assert code(sign_in, lenient) == "not_strong_enough"  # else a stolen password would add the second one


# Registration-only sessions.


def test_guard_registration__a_registration_session_may_while_it_lives(by_pass: SignIn, policy: ResolvedPolicy) -> None:
    assert code(by_pass, policy) is None
    assert code(by_pass, policy, NOW + HOUR - SECOND) is None  # its freshness is its deadline
    assert code(by_pass, policy, NOW + HOUR) == "not_signed_in"


def test_guard_registration__having_lost_a_strong_method_does_not_stop_a_registration_session(
    by_pass: SignIn, robin: Any, policy: ResolvedPolicy
) -> None:
    add_totp(robin)
    assert code(by_pass, policy) is None


def test_guard_registration__not_after_the_pass_was_revoked(
    by_pass: SignIn, admin: Any, robin: Any, policy: ResolvedPolicy
) -> None:
    revoke_pass(actor=admin, temporary_access_pass=TemporaryAccessPass.objects.get(user=robin), now=NOW)
    assert code(find_sign_in(by_pass.pk), policy) == "not_signed_in"


def test_guard_registration__not_after_the_policy_excluded_the_user(by_pass: SignIn, admin: Any, robin: Any) -> None:
    change_policy(actor=admin, now=NOW, excluded_users=[robin])
    assert code(find_sign_in(by_pass.pk), resolve_policy(robin)) == "not_signed_in"


def test_guard_registration__not_after_the_user_was_deactivated(
    by_pass: SignIn, robin: Any, policy: ResolvedPolicy
) -> None:
    get_user_model()._default_manager.filter(pk=robin.pk).update(is_active=False)
    assert code(find_sign_in(by_pass.pk), policy) == "not_signed_in"


# May one finish?


def test_left_to_do__nothing_by_default(robin: Any, policy: ResolvedPolicy) -> None:
    assert left_to_do(robin, policy) == []


def test_left_to_do__a_strong_method_where_the_policy_requires_it(admin: Any, robin: Any, policy_on: Any) -> None:
    change_policy(actor=admin, now=NOW, require_registration=True)
    strict = resolve_policy(robin)
    assert [left.code for left in left_to_do(robin, strict)] == ["no_strong_method"]
    robin.set_password("a-password-is-weak")
    device = add_totp(robin, confirmed=False)
    assert [left.code for left in left_to_do(robin, strict)] == ["no_strong_method"]
    device.confirmed = True
    device.save()
    assert left_to_do(robin, strict) == []


@pytest.mark.parametrize("slugs", [[], ["password"]])
def test_left_to_do__a_requirement_that_nobody_can_meet_locks_nobody_in(
    admin: Any, robin: Any, policy_on: Any, settings: Any, slugs: list[str]
) -> None:
    settings.TAP_PROVIDER_REGISTRABLE_METHODS = slugs
    change_policy(actor=admin, now=NOW, require_registration=True)
    assert left_to_do(robin, resolve_policy(robin)) == []


def test_has_strong_method__counts_confirmed_methods_of_this_user_only(robin: Any, admin: Any) -> None:
    add_totp(admin)
    add_totp(robin, confirmed=False)
    assert not has_strong_method(robin)
    add_totp(robin)
    assert has_strong_method(robin)


# The record.


def test_record_registration__tells_by_which_sign_in_and_pass_it_came(
    by_pass: SignIn, robin: Any, django_capture_on_commit_callbacks: Any
) -> None:
    kind, heard = TotpKind(), []
    method_registered.connect(lambda **payload: heard.append(payload), weak=False, dispatch_uid="heard")
    try:
        with django_capture_on_commit_callbacks(execute=True, using=where()):
            method = Method(id="7", name="app")
            record_registration(sign_in=by_pass, kind=kind, method=method, now=NOW, address="192.0.2.7")
            assert heard == []  # not before the commit
    finally:
        method_registered.disconnect(dispatch_uid="heard")
    event = AuditEvent.objects.get(kind=AuditEvent.Kind.METHOD_REGISTERED)
    assert (event.user_name, event.pass_id, event.sign_in_id) == (robin.upn, by_pass.pass_id, by_pass.pk)
    assert (event.at, event.address) == (NOW, "192.0.2.7")
    assert event.detail == {"method_kind": "totp", "method_id": "7"}
    (payload,) = heard
    assert (payload["user"], payload["kind"], payload["method_id"], payload["sign_in"]) == (
        robin,
        "totp",
        "7",
        by_pass,
    )


def test_record_registration__guards_once_more(by_pass: SignIn) -> None:
    with pytest.raises(RegistrationNotAllowed):
        record_registration(
            sign_in=by_pass, kind=TotpKind(), method=Method(id="7", name=""), now=NOW + HOUR, address=None
        )
    assert not AuditEvent.objects.filter(kind=AuditEvent.Kind.METHOD_REGISTERED).exists()


class Forgetful(TotpKind):
    """Confirms the device whatever was entered, so that what happens around it can be seen."""

    def complete_registration(self, request: Any, user: Any, page: RegistrationPage, *, now: Any) -> Method:
        TOTPDevice.objects.filter(user=user).update(confirmed=True)
        return Method(id="7", name="app")


def test_complete_registration__stores_nothing_if_it_may_not_be_recorded(
    by_pass: SignIn, robin: Any, rf: RequestFactory
) -> None:
    add_totp(robin, confirmed=False)
    page = RegistrationPage("", TotpForm())
    with pytest.raises(RegistrationNotAllowed):
        complete_registration(rf.post("/"), sign_in=by_pass, kind=Forgetful(), page=page, now=NOW + HOUR)
    assert not TOTPDevice.objects.filter(confirmed=True).exists()


def test_complete_registration__keeps_what_the_kind_counted_of_a_wrong_code(
    by_pass: SignIn, robin: Any, rf: RequestFactory
) -> None:
    class Counting(TotpKind):
        def complete_registration(self, request: Any, user: Any, page: RegistrationPage, *, now: Any) -> Method:
            TOTPDevice.objects.filter(user=user).update(throttling_failure_count=3)
            raise MethodNotVerified("wrong")

    add_totp(robin, confirmed=False)
    page = RegistrationPage("", TotpForm())
    with pytest.raises(MethodNotVerified):
        complete_registration(rf.post("/"), sign_in=by_pass, kind=Counting(), page=page, now=NOW)
    assert TOTPDevice.objects.get(user=robin).throttling_failure_count == 3


def test_complete_registration__stores_nothing_if_the_kind_fails(
    by_pass: SignIn, robin: Any, rf: RequestFactory
) -> None:
    class Failing(Forgetful):
        def complete_registration(self, request: Any, user: Any, page: RegistrationPage, *, now: Any) -> Method:
            super().complete_registration(request, user, page, now=now)
            raise IntegrityError

    add_totp(robin, confirmed=False)
    with pytest.raises(IntegrityError):
        complete_registration(
            rf.post("/"), sign_in=by_pass, kind=Failing(), page=RegistrationPage("", TotpForm()), now=NOW
        )
    assert not TOTPDevice.objects.filter(confirmed=True).exists()


# Through the pages.


def test_security_info__says_why_one_may_not_register(client: Client, robin: Any, policy_on: Any) -> None:
    client.force_login(robin)
    response = client.get("/account/security-info/")
    assert response.context["refusal"].code == "not_strong_enough"
    html = response.content.decode()
    assert "passkey-register-button" not in html
    assert 'name="begin"' not in html
    assert "/account/sign-in/pass/?next=%2Faccount%2Fsecurity-info%2F" in html  # nothing that Robin has would do


def test_security_info__offers_to_register_after_a_fresh_strong_sign_in(passkey_client: Client) -> None:
    response = passkey_client.get("/account/security-info/")
    assert response.context["refusal"] is None
    assert "passkey-register-button" in response.content.decode()


def test_security_info__offers_nothing_ten_minutes_later(passkey_client: Client, robin: Any) -> None:
    SignIn.objects.filter(user=robin).update(authenticated_at=timezone.now() - 10 * MINUTE - SECOND)
    response = passkey_client.get("/account/security-info/")
    assert response.context["refusal"].code == "not_fresh"
    passkey_client.post("/account/security-info/add/totp/", {"begin": "1"})
    assert not robin.totpdevice_set.exists()


@pytest.mark.parametrize("slug", ["password", "carrier_pigeon"])
def test_register_method__of_a_kind_that_is_not_offered_is_not_found(holder_client: Client, slug: str) -> None:
    assert holder_client.get(f"/account/security-info/add/{slug}/").status_code == 404
    assert holder_client.post(f"/account/security-info/add/{slug}/", {"begin": "1"}).status_code == 404


def test_complete_registration__of_a_kind_that_is_not_offered_stores_nothing(
    by_pass: SignIn, rf: RequestFactory, robin: Any
) -> None:
    """The page answers 404 before; the verb does not rely on it."""
    kind = find_kind("password")
    assert kind is not None
    data = {"new_password1": "a-longer-one-4711", "new_password2": "a-longer-one-4711"}
    page = RegistrationPage("", SetPasswordForm(robin, data))
    with pytest.raises(RegistrationNotAllowed) as refused:
        complete_registration(rf.post("/"), sign_in=by_pass, kind=kind, page=page, now=NOW)
    assert refused.value.code == "not_offered"
    robin.refresh_from_db()
    assert not robin.has_usable_password()


def test_register_method__a_kind_without_a_form_has_no_page(holder_client: Client) -> None:
    assert find_kind("passkey") is not None
    response = holder_client.get("/account/security-info/add/passkey/")
    assert response.status_code == 302
    assert response["Location"] == "/account/security-info/"


@pytest.mark.parametrize("method", ["get", "post"])
def test_register_method__a_stranger_is_asked_to_sign_in(client: Client, policy_on: Any, method: str) -> None:
    response = getattr(client, method)("/account/security-info/add/totp/", {"begin": "1"})
    assert response.status_code == 302
    assert response["Location"].startswith("/account/sign-in/")
    assert not TOTPDevice.objects.exists()


@pytest.mark.parametrize("besides", ["recovery codes", "an app"])
def test_guard_registration__a_lenient_policy_is_for_who_has_nothing_but_the_password(
    robin: Any, admin: Any, policy_on: Any, full: Any, hasher: Any, besides: str
) -> None:
    """django-admin takes a password alone: whoever learnt it would register a passkey past the second factor."""
    change_policy(actor=admin, now=NOW, require_strong_authentication_to_register=False)
    sign_in = full(Level.SINGLE_FACTOR)
    assert may_register(sign_in=sign_in, policy=resolve_policy(robin), now=NOW) is None
    if besides == "an app":
        TOTPDevice.objects.create(user=robin, name="Phone", confirmed=True)
    else:
        RecoveryCode.objects.create(user=robin, code_hash=f"{hasher.algorithm}$x", created_at=NOW)
    refusal = may_register(sign_in=sign_in, policy=resolve_policy(robin), now=NOW)
    assert refusal is not None
    assert refusal.code == "not_strong_enough"


def test_guard_registration__a_lenient_policy_takes_no_login_that_proved_nothing(
    robin: Any, admin: Any, policy_on: Any
) -> None:
    """A backend that was merely named to `login()`: a link in a mail, say."""
    change_policy(actor=admin, now=NOW, require_strong_authentication_to_register=False)
    unproved = begin_sign_in(
        user=robin, methods=[], amr=[], level=Level.SINGLE_FACTOR, client=WhereFrom(), now=NOW, authenticated_at=NOW
    )
    refusal = may_register(sign_in=unproved, policy=resolve_policy(robin), now=NOW)
    assert refusal is not None
    assert refusal.code == "not_fresh"  # signing in with the password is all that is lacking


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="transactions come one after the other there")
def test_record_registration__lets_no_end_of_the_sign_in_pass_by(by_pass: SignIn, robin: Any) -> None:
    """Who looked after pressing the button would not see the passkey that was just being stored."""

    def end() -> None:
        with transaction.atomic():
            SignIn.objects.select_for_update(nowait=True).get(pk=by_pass.pk)  # as every ending does

    method = Method(id="1", name="Phone")
    kind = TotpKind()
    with transaction.atomic():
        record_registration(sign_in=by_pass, kind=kind, method=method, now=NOW, address=None)
        (outcome,) = all_at_once(end)
    assert type(outcome) is OperationalError
    assert all_at_once(end) == [None]


class NotNow(TotpKind):
    def why_not_register(self, user: Any, sign_in: SignIn) -> str:
        return "Not now."


def test_complete_registration__asks_the_kind_itself(by_pass: SignIn, rf: RequestFactory) -> None:
    """Whatever the page asked before: the verb holds the rule."""
    page = RegistrationPage("unused.html", TotpForm())
    with pytest.raises(RegistrationNotAllowed) as refused:
        complete_registration(rf.post("/"), sign_in=by_pass, kind=NotNow(), page=page, now=NOW)
    assert refused.value.code == "not_by_this_kind"
