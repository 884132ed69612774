"""The password: Django's own, a weak method, told as what it is, and set only where the site lets people set one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher, make_password
from django.db import connection
from django.test import Client
from django.utils import timezone
from django_otp.plugins.otp_totp.models import TOTPDevice

from tap_provider.exceptions import ChangeRefused
from tap_provider.methods import registry
from tap_provider.methods.changes import lose_method, remove_method, rename_method
from tap_provider.methods.kinds import Method
from tap_provider.methods.own import own_method
from tap_provider.methods.password import PENDING_KEY, PasswordKind
from tap_provider.methods.step_up import reachable_by_signing_in
from tap_provider.models import AuditEvent, Level, SignIn
from tap_provider.policy import change_policy
from tap_provider.sign_in import SESSION_KEY, find_sign_in
from tap_provider.sign_in import Client as WhereFrom

from ..softauthn import SoftAuthenticator, sign_in_with_passkey

ADD = "/account/security-info/add/password/"

pytestmark = pytest.mark.usefixtures("hasher")  # a cheap one
GOOD = {"new_password1": "a-long-enough-phrase", "new_password2": "a-long-enough-phrase"}


@pytest.fixture(autouse=True)
def offered(settings: Any) -> None:
    settings.TAP_PROVIDER_REGISTRABLE_METHODS = ["passkey", "totp", "password"]


def begin(client: Client) -> Any:
    return client.post(ADD, {"begin": "1"})


def test_methods__a_usable_password_is_one(robin: Any) -> None:
    assert PasswordKind().methods(robin) == []
    robin.set_password("robins-password")
    assert [method.id for method in PasswordKind().methods(robin)] == ["password"]


@pytest.mark.parametrize("stored", ["", "plain text", "bcrypt$$2b$12$hash-of-a-hasher-that-is-not-listed", "!unusable"])
def test_methods__a_text_that_no_password_matches_is_none(
    stored: str, robin: Any, issue: Any, sign_in_with_pass: Any, client: Client
) -> None:
    """As `objects.create()` and bulk imports leave it (""), and as a hasher that was removed does."""
    type(robin).objects.filter(pk=robin.pk).update(password=stored)
    robin.refresh_from_db()
    assert PasswordKind().methods(robin) == []
    assert not PasswordKind().remove(robin, "password")
    assert not registry.has_password(robin)
    sign_in_with_pass(robin.upn, issue(robin).passcode)
    begin(client)
    assert client.post(ADD, GOOD)["Location"] == "/account/security-info/?registered=password"
    robin.refresh_from_db()
    assert [method.id for method in PasswordKind().methods(robin)] == ["password"]


def test_register__a_holder_sets_a_password(holder_client: Client, robin: Any) -> None:
    assert begin(holder_client)["Location"] == ADD
    assert holder_client.post(ADD, GOOD)["Location"] == "/account/security-info/?registered=password"
    robin.refresh_from_db()
    assert robin.check_password(GOOD["new_password1"])
    event = AuditEvent.objects.get(kind=AuditEvent.Kind.METHOD_REGISTERED)
    assert event.detail == {"method_kind": "password", "method_id": "password"}
    assert holder_client.get("/members/").status_code == 302


def test_register__a_holder_who_forgot_the_old_password_sets_a_new_one(
    robin: Any, issue: Any, sign_in_with_pass: Any
) -> None:
    robin.set_password("forgotten")
    robin.save()
    old_session = Client()
    old_session.force_login(robin)
    browser = Client()
    sign_in_with_pass(robin.upn, issue(robin).passcode.reveal(), browser)
    begin(browser)
    browser.post(ADD, GOOD)
    robin.refresh_from_db()
    assert robin.check_password(GOOD["new_password1"])
    ended = SignIn.objects.get(user=robin, pass_id=None)  # at once, and with it what relying parties hold
    assert ended.ended_reason == SignIn.EndedReason.PASSWORD_CHANGED
    assert old_session.get("/members/").status_code == 302  # whoever sat in it with the old one is out
    assert browser.get("/account/security-info/").status_code == 200


@pytest.mark.parametrize(
    "data",
    [
        {"new_password1": "short", "new_password2": "short"},
        {"new_password1": "password", "new_password2": "password"},
        {"new_password1": "robin@example.test", "new_password2": "robin@example.test"},
        {"new_password1": "a-long-enough-phrase", "new_password2": "another-long-phrase"},
        {"new_password1": "a-long-enough-phrase"},
        {},
    ],
)
def test_register__a_password_that_the_site_does_not_accept_is_refused(
    holder_client: Client, robin: Any, data: dict[str, str]
) -> None:
    begin(holder_client)
    response = holder_client.post(ADD, data)
    assert response.status_code == 200
    assert response.context["form"].errors
    robin.refresh_from_db()
    assert not robin.has_usable_password()


def test_register__only_after_beginning(holder_client: Client, robin: Any) -> None:
    assert holder_client.post(ADD, GOOD)["Location"] == "/account/security-info/?notice=registration_over"
    robin.refresh_from_db()
    assert not robin.has_usable_password()


def test_register__does_not_satisfy_a_policy_that_requires_registration(
    holder_client: Client, admin: Any, robin: Any
) -> None:
    change_policy(actor=admin, now=timezone.now(), require_registration=True)
    begin(holder_client)
    holder_client.post(ADD, GOOD)
    response = holder_client.post("/account/security-info/finish/")
    assert response.status_code == 409
    assert [left.code for left in response.context["left_to_do"]] == ["no_strong_method"]


def test_register__a_full_session_does_not_change_a_password_without_the_old_one(
    passkey: SoftAuthenticator, robin: Any
) -> None:
    robin.password = make_password("robins-password")
    robin.save()
    passkey_client = Client()
    assert sign_in_with_passkey(passkey_client, passkey).status_code == 200
    session = passkey_client.session
    session[PENDING_KEY] = True
    session.save()
    assert passkey_client.get("/account/security-info/").status_code == 200
    assert passkey_client.post(ADD, GOOD)["Location"] == "/account/security-info/"
    robin.refresh_from_db()
    assert robin.check_password("robins-password")


def test_register__a_full_session_without_a_password_sets_its_first_and_stays_signed_in(
    passkey_client: Client, robin: Any
) -> None:
    assert begin(passkey_client)["Location"] == ADD
    response = passkey_client.post(ADD, GOOD)
    assert response["Location"] == "/account/security-info/?registered=password"
    robin.refresh_from_db()
    assert robin.check_password(GOOD["new_password1"])
    assert passkey_client.get("/members/").status_code == 200


def test_register__never_sends_a_password_back(holder_client: Client) -> None:
    begin(holder_client)
    response = holder_client.post(ADD, {"new_password1": "a-long-enough-phrase", "new_password2": "another"})
    assert "a-long-enough-phrase" not in response.content.decode()


def test_sign_in__a_password_alone_is_a_single_factor(client: Client, robin: Any) -> None:
    robin.set_password("robins-password")
    robin.save()
    assert client.post("/account/sign-in/", {"upn": robin.upn, "password": "robins-password"})["Location"] == "/"
    sign_in = SignIn.objects.get(pk=client.session[SESSION_KEY])
    assert (sign_in.methods, sign_in.amr, sign_in.level) == (["password"], ["pwd"], "single_factor")


# What else happens to the user's row meanwhile.


class Slow(MD5PasswordHasher):
    """A hasher that lets something happen while it hashes."""

    meanwhile: Callable[[], Any] | None = None

    def encode(self, password: str, salt: str) -> str:
        meanwhile, Slow.meanwhile = Slow.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return super().encode(password, salt)


@pytest.fixture
def slow(settings: Any) -> Iterator[type[Slow]]:
    settings.PASSWORD_HASHERS = ["tests.methods.test_password.Slow"]
    yield Slow
    Slow.meanwhile = None


def test_register__writes_nothing_but_the_password(slow: type[Slow], holder_client: Client, robin: Any) -> None:
    """A holder who loops this would stay a superuser, and keep the old address for notices."""
    users = type(robin)._default_manager
    users.filter(pk=robin.pk).update(is_staff=True, email="old@example.test")
    begin(holder_client)
    slow.meanwhile = lambda: users.filter(pk=robin.pk).update(is_staff=False, email="new@example.test")
    assert holder_client.post(ADD, GOOD)["Location"] == "/account/security-info/?registered=password"
    robin.refresh_from_db()
    assert (robin.is_staff, robin.email) == (False, "new@example.test")
    assert robin.check_password(GOOD["new_password1"])


def test_register__hashes_before_the_transaction(slow: type[Slow], holder_client: Client, robin: Any) -> None:
    """On SQLite everybody waits for it."""
    within: list[bool] = []
    depth = len(connection.savepoint_ids)  # the test's own transaction
    begin(holder_client)
    slow.meanwhile = lambda: within.append(len(connection.savepoint_ids) > depth)
    holder_client.post(ADD, GOOD)
    assert within == [False]


def test_register__in_a_full_session_only_while_there_is_none(
    slow: type[Slow], passkey_client: Client, robin: Any
) -> None:
    """Two at once: who comes second would overwrite a password without knowing it."""
    begin(passkey_client)
    theirs = make_password("set-in-the-other-tab")
    slow.meanwhile = lambda: type(robin)._default_manager.filter(pk=robin.pk).update(password=theirs)
    assert passkey_client.post(ADD, GOOD)["Location"] == "/account/security-info/"
    robin.refresh_from_db()
    assert robin.check_password("set-in-the-other-tab")


# A password that only a directory knows, as docs/reference/methods.md has it.


class DirectoryPasswordKind(PasswordKind):
    def methods(self, user: Any) -> list[Method]:
        ours = super().methods(user)
        if ours or user.username != "robin":
            return ours
        return [Method(id="directory", name="Password of the directory", is_managed_elsewhere=True)]


@pytest.fixture
def directory() -> Iterator[None]:
    before = dict(registry._kinds)
    registry.register(DirectoryPasswordKind())
    registry.register_ours(PasswordKind())  # as our own app does, should it be ready after the site's
    yield
    registry._kinds.clear()
    registry._kinds.update(before)


@pytest.mark.usefixtures("directory")
def test_directory__an_app_satisfies_a_requirement_and_recovery_codes_may_be_made(
    holder_client: Client, robin: Any, admin: Any, settings: Any
) -> None:
    settings.TAP_PROVIDER_REGISTRABLE_METHODS = ["passkey", "totp", "recovery_codes"]
    change_policy(actor=admin, now=timezone.now(), require_registration=True)
    TOTPDevice.objects.create(user=robin, name="Phone", confirmed=True)
    assert holder_client.post("/account/methods/recovery_codes/").status_code == 200
    assert reachable_by_signing_in(robin) is Level.MULTI_FACTOR
    assert holder_client.post("/account/security-info/finish/").status_code == 302


@pytest.mark.usefixtures("directory")
def test_directory__its_password_is_listed_and_changed_by_nobody_here(holder_client: Client, robin: Any) -> None:
    page = "/account/security-info/methods/password/directory/"
    assert "Password of the directory" in holder_client.get("/account/security-info/").content.decode()
    shown = holder_client.get(page).content.decode()
    assert "managed elsewhere" in shown
    assert f"{page}lost/" not in shown
    assert holder_client.get(f"{page}lost/")["Location"] == page
    assert holder_client.post(f"{page}remove/").status_code == 409
    assert holder_client.post(page, {"name": "Mine"}).status_code == 200
    own = own_method(robin, "password", "directory")
    told: dict[str, Any] = {"own": own, "client": WhereFrom(), "now": timezone.now()}
    for verb in (remove_method, lose_method, partial(rename_method, name="Mine")):
        with pytest.raises(ChangeRefused) as refused:
            verb(sign_in=find_sign_in(holder_client.session[SESSION_KEY]), **told)
        assert "managed elsewhere" in str(refused.value.message)
