"""Which sign-in stands behind a code or a token, does it still live, and what may be swept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db.models.signals import pre_delete
from django.test import Client
from django.utils import timezone
from oauth2_provider.models import (
    get_access_token_model,
    get_device_grant_model,
    get_grant_model,
    get_id_token_model,
    get_refresh_token_model,
)

from tap_provider.issue import IssuedPass, issue_pass, revoke_pass
from tap_provider.models import Level, SignIn, TemporaryAccessPass, TemporaryAccessPassPolicy
from tap_provider.oidc.contexts import (
    KEEP,
    digest_of,
    is_live,
    remember_answer_without_code,
    remember_code,
    remember_tokens,
    sign_in_of_code,
    sign_in_of_token,
    sweep,
)
from tap_provider.oidc.models import CodeContext, TokenContext
from tap_provider.policy import change_policy
from tap_provider.sign_in import end_sign_in
from tap_provider.sign_in.stamp import password_stamp
from tap_provider.sign_out import open_sign_ins

from ..conftest import DAY, HOUR, MINUTE, NOW
from .conftest import Party, counted, deactivate, sign_in_of, sign_in_with_password


@pytest.fixture
def make_sign_in(db: None) -> Callable[..., SignIn]:
    def make(user: Any, **fields: Any) -> SignIn:
        fields = {
            "methods": ["password"],
            "amr": ["pwd"],
            "level": Level.SINGLE_FACTOR,
            "authenticated_at": NOW,
            "created_at": NOW,
            "password_stamp": password_stamp(user),
            **fields,
        }
        return SignIn.objects.create(user=user, **fields)

    return make


@pytest.fixture
def by_password(kim: Any, make_sign_in: Callable[..., SignIn]) -> SignIn:
    return make_sign_in(kim)


@pytest.fixture
def issued(robin: Any, issue: Callable[..., IssuedPass]) -> TemporaryAccessPass:
    return issue(robin, now=NOW).temporary_access_pass


@pytest.fixture
def by_pass(robin: Any, issued: TemporaryAccessPass, make_sign_in: Callable[..., SignIn]) -> SignIn:
    return make_sign_in(
        robin,
        methods=["temporary_access_pass"],
        amr=["mfa", "tap"],
        level=Level.MULTI_FACTOR,
        deadline=issued.expires_at,
        pass_id=issued.pk,
    )


def as_kept(sign_in: SignIn) -> SignIn:
    """Return the sign-in as it is found behind a token."""
    token = uuid4().hex
    remember_tokens([token], sign_in, client_id="a-client", now=NOW)
    found = sign_in_of_token(token, user=get_user_model()._default_manager.get(pk=sign_in.user_id))
    assert found is not None
    return found


# digest_of


def test_digest_of__is_the_toolkits_own_checksum_of_a_token() -> None:
    assert digest_of("a-token") == sha256(b"a-token").hexdigest()


def test_digest_of__takes_any_text_that_a_client_may_send() -> None:
    assert len(digest_of("\ud800\x00é")) == 64


# remember and find


def test_sign_in_of_code__finds_what_was_remembered_in_one_query(by_password: SignIn) -> None:
    remember_code("the-code", by_password, client_id="a-client", now=NOW)

    with counted() as queries:
        found = sign_in_of_code("the-code", user=by_password.user)
        assert found is not None
        assert found.user is by_password.user

    assert queries() == 1
    assert found == by_password


def test_sign_in_of_token__finds_every_token_remembered(by_password: SignIn) -> None:
    with counted() as queries:
        remember_tokens(["access", "refresh"], by_password, client_id="a-client", now=NOW)
    assert queries() == 1

    for token in ("access", "refresh"):
        with counted() as queries:
            found = sign_in_of_token(token, user=by_password.user)
            assert found is not None
            assert found.user is by_password.user
        assert queries() == 1
        assert found == by_password


def test_sign_in_of_token__belongs_to_whom_it_belongs(by_password: SignIn, admin: Any) -> None:
    remember_tokens(["access"], by_password, client_id="a-client", now=NOW)

    for named in (None, admin):
        found = sign_in_of_token("access", user=named)
        assert found is not None
        assert found.user == by_password.user


def test_sign_in_of_token__reads_every_column_of_the_sign_in_as_the_orm_does(
    by_password: SignIn, by_pass: SignIn
) -> None:
    """It is read by a statement of our own: values are converted all the same, on every database."""
    for sign_in in (by_password, by_pass):
        found, stored = as_kept(sign_in), SignIn.objects.get(pk=sign_in.pk)
        for field in SignIn._meta.concrete_fields:
            told, expected = getattr(found, field.attname), getattr(stored, field.attname)
            assert (type(told), told) == (type(expected), expected), field.attname


def test_sign_in_of_token__knows_nothing_of_others(by_password: SignIn) -> None:
    remember_tokens(["access"], by_password, client_id="a-client", now=NOW)

    assert sign_in_of_token("another") is None
    assert sign_in_of_token("") is None
    assert sign_in_of_code("access") is None


def test_use_up__of_a_return_is_once(by_password: SignIn) -> None:
    told = [
        remember_answer_without_code(by_password, returned="the return", client_id="intranet", now=NOW)
        for _ in range(2)
    ]
    assert told == [True, False]
    assert CodeContext.objects.count() == 1


def test_remember_tokens__keeps_the_first_sign_in_of_a_token(
    by_password: SignIn, by_pass: SignIn, make_sign_in: Callable[..., SignIn]
) -> None:
    """A refresh without rotation hands out the same refresh token again."""
    remember_tokens(["refresh"], by_password, client_id="a-client", now=NOW)

    remember_tokens(["access", "refresh"], make_sign_in(by_pass.user), client_id="a-client", now=NOW)

    assert sign_in_of_token("refresh") == by_password


# is_live


def test_is_live__full_session(by_password: SignIn) -> None:
    assert is_live(as_kept(by_password), now=NOW)
    assert is_live(as_kept(by_password), now=NOW + 365 * DAY)


def test_is_live__full_session_costs_no_query(by_password: SignIn) -> None:
    kept = as_kept(by_password)

    with counted() as queries:
        is_live(kept, now=NOW)

    assert queries() == 0


@pytest.mark.parametrize("change", ["ended", "deadline", "deactivated"])
def test_is_live__full_session_is_over(by_password: SignIn, change: str) -> None:
    if change == "ended":
        by_password.ended_at, by_password.ended_reason = NOW, SignIn.EndedReason.SIGNED_OUT
    elif change == "deadline":
        by_password.deadline = NOW
    else:
        deactivate(by_password.user)
    by_password.save()

    assert not is_live(as_kept(by_password), now=NOW)


def test_is_live__full_session_does_not_ask_the_policy(by_password: SignIn) -> None:
    TemporaryAccessPassPolicy.objects.all().delete()

    assert is_live(as_kept(by_password), now=NOW)


def test_is_live__registration_only_session_until_its_deadline(by_pass: SignIn) -> None:
    deadline = NOW + HOUR

    assert is_live(as_kept(by_pass), now=NOW)
    assert is_live(as_kept(by_pass), now=deadline - MINUTE)
    assert not is_live(as_kept(by_pass), now=deadline)


def test_is_live__registration_only_session_costs_the_policys_query(by_pass: SignIn) -> None:
    kept = as_kept(by_pass)

    with counted() as queries:
        is_live(kept, now=NOW)

    assert queries() == 1


def _exclude_group(admin: Any, by_pass: SignIn, issued: TemporaryAccessPass) -> None:
    group = Group.objects.create(name="visitors")
    by_pass.user.groups.add(group)
    change_policy(actor=admin, now=NOW, excluded_groups=[group])


def _end(admin: Any, by_pass: SignIn, issued: TemporaryAccessPass) -> None:
    SignIn.objects.update(ended_at=NOW, ended_reason=SignIn.EndedReason.FINISHED)


OVER: dict[str, Callable[[Any, SignIn, TemporaryAccessPass], Any]] = {
    "ended": _end,
    "user_deactivated": lambda admin, by_pass, issued: deactivate(by_pass.user),
    "pass_revoked": lambda admin, by_pass, issued: revoke_pass(actor=admin, temporary_access_pass=issued, now=NOW),
    "pass_replaced": lambda admin, by_pass, issued: issue_pass(actor=admin, user=by_pass.user, now=NOW),
    "pass_deleted": lambda admin, by_pass, issued: TemporaryAccessPass.objects.all().delete(),
    "policy_off": lambda admin, by_pass, issued: change_policy(actor=admin, now=NOW, enabled=False),
    "policy_row_changed": lambda admin, by_pass, issued: TemporaryAccessPassPolicy.objects.update(enabled=False),
    "policy_gone": lambda admin, by_pass, issued: TemporaryAccessPassPolicy.objects.all().delete(),
    "user_excluded": lambda admin, by_pass, issued: change_policy(actor=admin, now=NOW, excluded_users=[by_pass.user]),
    "group_excluded": _exclude_group,
    "not_included": lambda admin, by_pass, issued: change_policy(actor=admin, now=NOW, include_all_users=False),
    "one_time_only": lambda admin, by_pass, issued: TemporaryAccessPassPolicy.objects.update(one_time_only=True),
}


@pytest.mark.parametrize("why", OVER)
def test_is_live__registration_only_session_is_over(
    why: str, admin: Any, by_pass: SignIn, issued: TemporaryAccessPass
) -> None:
    token = uuid4().hex
    remember_tokens([token], by_pass, client_id="a-client", now=NOW)

    OVER[why](admin, by_pass, issued)

    found = sign_in_of_token(token)
    assert found is not None
    assert not is_live(found, now=NOW)


def test_is_live__one_time_pass_under_a_one_time_policy(
    admin: Any, robin: Any, make_sign_in: Callable[..., SignIn], issue: Callable[..., IssuedPass]
) -> None:
    change_policy(actor=admin, now=NOW, one_time_only=True)
    issued = issue(robin, now=NOW).temporary_access_pass
    fields = {"level": Level.MULTI_FACTOR, "deadline": NOW + 10 * MINUTE, "pass_id": issued.pk}

    assert is_live(as_kept(make_sign_in(robin, **fields)), now=NOW)


# sweep


def make_old(age: Any = 2 * DAY) -> None:
    for model in (CodeContext, TokenContext):
        model.objects.update(created_at=timezone.now() - age)


def test_sweep__keeps_the_context_of_every_token_that_exists(full: Client, intranet: Party) -> None:
    intranet.tokens(full)
    make_old()

    sweep(now=timezone.now())

    assert TokenContext.objects.count() == 2


def test_sweep__keeps_the_context_of_a_refresh_token_whose_access_token_is_gone(full: Client, intranet: Party) -> None:
    tokens = intranet.tokens(full)
    refreshed = intranet.read(intranet.refresh(tokens.refresh_token), nonce=None)
    make_old()

    sweep(now=timezone.now())

    # Rotation has deleted the first access token; its refresh token stays, so that a replay of it is recognised.
    assert {sign_in_of_token(token) for token in (tokens.refresh_token, refreshed.refresh_token)} == {sign_in_of(full)}
    assert sign_in_of_token(tokens.access_token) is None


def test_sweep__deletes_contexts_of_tokens_that_exist_no_more(full: Client, intranet: Party) -> None:
    intranet.tokens(full)
    make_old()
    get_refresh_token_model().objects.all().delete()
    get_access_token_model().objects.all().delete()

    assert sweep(now=timezone.now()) == 2
    assert not TokenContext.objects.exists()

    end_sign_in(sign_in_of(full), reason=SignIn.EndedReason.SIGNED_OUT, now=timezone.now())

    assert sweep(now=timezone.now()) == 1
    assert not CodeContext.objects.exists()


def test_sweep__keeps_of_a_sign_in_that_may_still_end_one_context_of_each_client(
    full: Client, intranet: Party, portal: Party
) -> None:
    """A relying party's own session outlives its tokens: it is to be told (Back-Channel Logout 1.0 §2)."""
    for party in (intranet, intranet, portal):
        party.tokens(full)
    make_old()
    get_refresh_token_model().objects.all().delete()
    get_access_token_model().objects.all().delete()

    sweep(now=timezone.now())

    assert sorted(CodeContext.objects.values_list("client_id", flat=True)) == ["intranet", "portal"]
    assert not TokenContext.objects.exists()
    assert sweep(now=timezone.now()) == 0


def test_sweep__keeps_a_token_context_where_no_code_tells_who_took_part(by_password: SignIn) -> None:
    """Implicit responses need no code."""
    for client_id in ("one", "one", "two", ""):
        remember_tokens([uuid4().hex], by_password, client_id=client_id, now=NOW - 2 * DAY)

    assert sweep(now=NOW) == 2

    assert sorted(TokenContext.objects.values_list("client_id", flat=True)) == ["one", "two"]


@pytest.mark.parametrize(("age", "kept"), [(KEEP - MINUTE, True), (KEEP + MINUTE, False)])
def test_sweep__waits_a_day(by_password: SignIn, age: Any, kept: bool) -> None:
    """A token is remembered in a transaction of its own, a moment after the token itself."""
    end_sign_in(by_password, reason=SignIn.EndedReason.SIGNED_OUT, now=NOW)
    remember_code("code", by_password, client_id="a-client", now=NOW - age)
    remember_tokens(["token"], by_password, client_id="a-client", now=NOW - age)

    assert sweep(now=NOW) == (0 if kept else 2)
    assert CodeContext.objects.exists() is kept
    assert TokenContext.objects.exists() is kept


def test_sweep__keeps_the_context_of_a_code_that_can_still_be_exchanged(holder: Client, portal: Party) -> None:
    """Without its context a code of a registration-only session would be exchanged as if of unknown origin.

    AUTHORIZATION_CODE_EXPIRE_SECONDS is the site's, and nothing keeps it below a day.
    """
    code, _ = portal.code(holder)
    later = timezone.now() + 2 * DAY
    get_grant_model().objects.update(expires=later + MINUTE)

    sweep(now=later)

    assert sign_in_of_code(code) == sign_in_of(holder)


def test_sweep__keeps_the_context_of_a_code_that_a_device_still_waits_with(by_password: SignIn) -> None:
    remember_code("device-code", by_password, client_id="television", now=NOW - 2 * DAY)
    device = {"device_code": "device-code", "user_code": "WDJBMJHT", "client_id": "television"}
    get_device_grant_model().objects.create(**device, expires=NOW + MINUTE)
    end_sign_in(by_password, reason=SignIn.EndedReason.SIGNED_OUT, now=NOW)

    assert sweep(now=NOW) == 0
    assert sweep(now=NOW + MINUTE) == 1


def test_sweep__deletes_the_context_of_a_code_that_nobody_exchanged_in_time(holder: Client, portal: Party) -> None:
    """The toolkit keeps expired codes until its own clean-up."""
    portal.code(holder)
    end_sign_in(sign_in_of(holder), reason=SignIn.EndedReason.SIGNED_OUT, now=timezone.now())

    assert sweep(now=timezone.now() + 2 * DAY) == 1

    assert get_grant_model().objects.exists()
    assert not CodeContext.objects.exists()


def test_sweep__leaves_every_live_token_as_it_was(holder: Client, full: Client, portal: Party, intranet: Party) -> None:
    by_pass, by_password = portal.tokens(holder), intranet.tokens(full)
    make_old()

    sweep(now=timezone.now())

    assert portal.introspect(by_pass.access_token)["amr"] == ["mfa", "tap"]
    assert intranet.introspect(by_password.access_token)["amr"] == ["pwd"]
    assert intranet.read(intranet.refresh(by_password.refresh_token), nonce=None).claims["amr"] == ["pwd"]


def test_sweep__is_run_by_the_command_line(by_password: SignIn) -> None:
    assert apps.get_app_config("tap_provider_oidc").sweepers["code and token contexts"] is sweep
    end_sign_in(by_password, reason=SignIn.EndedReason.SIGNED_OUT, now=NOW)
    remember_code("code", by_password, client_id="a-client", now=datetime(2020, 1, 1, tzinfo=NOW.tzinfo))

    call_command("tap", "sweep", stdout=StringIO(), stderr=StringIO())

    assert not CodeContext.objects.exists()


# A sign-in that is deleted, which a site does to forget


def test_forget_sign_in__what_came_of_it_does_not_pass_for_from_before(full: Client, intranet: Party, kim: Any) -> None:
    elsewhere = intranet.tokens(sign_in_with_password(kim))
    tokens, (code, asked) = intranet.tokens(full), intranet.code(full)

    sign_in_of(full).delete()

    assert intranet.userinfo(tokens.access_token).status_code == 401
    assert intranet.introspect(tokens.access_token) == {"active": False}
    assert intranet.refresh(tokens.refresh_token).json() == {"error": "invalid_grant"}
    assert intranet.exchange(code, asked).json()["error"] == "invalid_grant"
    assert intranet.userinfo(elsewhere.access_token).status_code == 200


def test_forget_sign_in__of_a_registration_only_session(holder: Client, portal: Party) -> None:
    tokens = portal.tokens(holder)

    SignIn.objects.all().delete()

    assert portal.userinfo(tokens.access_token).status_code == 401


def test_forget_sign_in__takes_an_approved_device_along(
    full: Client, kim: Any, make_party: Callable[..., Party]
) -> None:
    device = get_device_grant_model().objects.create(
        user=kim,
        device_code="waiting",
        user_code="CODE",
        client_id="television",
        expires=timezone.now() + MINUTE,
        status="authorized",
    )
    remember_code("waiting", sign_in_of(full), client_id="television", now=timezone.now())

    sign_in_of(full).delete()

    assert not type(device).objects.exists()


def test_forget_user__takes_along_what_was_issued_while_the_user_is_deleted(
    full: Client, intranet: Party, kim: Any
) -> None:
    """Django gathers what goes with a user before it deletes: a token or a sign-in that comes then would stop it."""
    intranet.tokens(full)
    unrecorded = intranet.tokens(sign_in_with_password(kim))
    TokenContext.objects.filter(digest=digest_of(unrecorded.refresh_token)).delete()
    refresh_token, told = [unrecorded.refresh_token], []

    def meanwhile(sender: Any, **kwargs: Any) -> None:
        if refresh_token:  # once, before the first sign-in is held
            answer = Party(intranet.application).refresh(refresh_token.pop()).json()
            intranet.tokens(sign_in_with_password(kim))
            told.append(answer["access_token"])

    pre_delete.connect(meanwhile, sender=SignIn)
    pre_delete.receivers.insert(0, pre_delete.receivers.pop())
    pre_delete.sender_receivers_cache.clear()
    try:
        type(kim).objects.get(pk=kim.pk).delete()
    finally:
        pre_delete.disconnect(meanwhile, sender=SignIn)
    assert told
    assert not SignIn.objects.filter(user_id=kim.pk).exists()
    for model in (get_access_token_model(), get_refresh_token_model(), get_id_token_model(), get_grant_model()):
        assert not model.objects.exists()
    assert not TokenContext.objects.exists()


def test_open_sign_ins__whose_session_has_run_out_are_those_with_tokens_in_use(full: Client, intranet: Party) -> None:
    """The browser is gone, the relying party is not: whoever looks where they are signed in must find it, to end it."""
    tokens = intranet.tokens(full)
    sign_in = sign_in_of(full)
    SignIn.objects.update(session_expires_at=timezone.now() - DAY)
    assert open_sign_ins(sign_in.user, now=timezone.now()) == [sign_in]
    get_access_token_model().objects.update(expires=timezone.now())
    assert open_sign_ins(sign_in.user, now=timezone.now()) == [sign_in]  # by the refresh token
    assert intranet.refresh(tokens.refresh_token).status_code == 200
    get_access_token_model().objects.update(expires=timezone.now())
    get_refresh_token_model().objects.update(revoked=timezone.now())
    assert open_sign_ins(sign_in.user, now=timezone.now()) == []
