"""What people do with their methods: a name, removal, "I lost this". Whose method, what stays, what ends."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client as Browser
from django_otp.plugins.otp_totp.models import TOTPDevice
from django_otp_webauthn.models import WebAuthnCredential

from tap_provider import signals
from tap_provider.databases import where
from tap_provider.exceptions import ChangeRefused, MethodNotFound, RegistrationNotAllowed
from tap_provider.methods.changes import (
    LONGEST_NAME,
    clean_name,
    lose_method,
    remove_method,
    rename_method,
    why_not_remove,
)
from tap_provider.methods.own import OwnMethod, own_method, own_methods
from tap_provider.methods.provenance import registered_with, sign_ins_made_with
from tap_provider.models import AuditEvent, Level, RegisteredMethod, SignIn, SignInMethod
from tap_provider.policy import change_policy, resolve_policy
from tap_provider.redeem import redeem_pass
from tap_provider.sign_in import Client, begin_sign_in, find_sign_in

from ..conftest import HOUR, MINUTE, NOW, all_at_once

ELSEWHERE = ("passkey", "another")
HERE = Client(address="192.0.2.7")

pytestmark = [pytest.mark.usefixtures("hasher"), pytest.mark.django_db]


@pytest.fixture
def app(robin: Any) -> TOTPDevice:
    return TOTPDevice.objects.create(user=robin, name="Phone", confirmed=True)


@pytest.fixture
def key(robin: Any) -> WebAuthnCredential:
    return make_key(robin)


def make_key(user: Any, name: str = "Key") -> WebAuthnCredential:
    number = WebAuthnCredential.objects.count()
    return WebAuthnCredential.objects.create(
        user=user, name=name, confirmed=True, credential_id=bytes([number]) * 16, public_key=b"x", sign_count=0
    )


def made_with(user: Any, *used: tuple[str, str], level: Level = Level.MULTI_FACTOR, at: Any = NOW) -> SignIn:
    kinds = [kind for kind, _id in used]
    return begin_sign_in(
        user=user, methods=kinds, amr=[], level=level, client=HERE, now=at, authenticated_at=at, used=used
    )


@pytest.fixture
def current(robin: Any) -> SignIn:
    """A full session of Robin's that may change methods, made with none of those that they have."""
    return made_with(robin, ELSEWHERE)


def registered_here(user: Any, kind: str, device: Any) -> None:
    RegisteredMethod.objects.create(user=user, kind=kind, method_id=str(device.pk), registered_at=NOW)


@pytest.fixture
def two_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A site with django-two-factor-auth, as far as names go; `tests/sites/two_factor` has the real one."""
    really = apps.is_installed
    monkeypatch.setattr(apps, "is_installed", lambda name: name == "two_factor" or really(name))


def of(user: Any, kind: str, device: Any) -> OwnMethod:
    return own_method(user, kind, str(device.pk))


# Whose


def test_own_method__finds_the_users_own(robin: Any, app: TOTPDevice, key: WebAuthnCredential) -> None:
    assert of(robin, "totp", app).method.name == "Phone"
    assert of(robin, "passkey", key).method.name == "Key"
    assert [own.key for own in own_methods(robin)] == [("passkey", str(key.pk)), ("totp", str(app.pk))]


@pytest.mark.parametrize("method_id", ["", "0", "x", "\x00", "-1", "1 OR 1=1", "٣", "9" * 40, "x" * 10_000, "\ud800"])
@pytest.mark.parametrize("kind", ["totp", "passkey", "password", "unknown", "\x00", ""])
def test_own_method__of_anything_else_is_not_found(robin: Any, kind: str, method_id: str) -> None:
    with pytest.raises(MethodNotFound):
        own_method(robin, kind, method_id)


def test_own_method__of_somebody_else_is_not_found(
    admin: Any, robin: Any, app: TOTPDevice, key: WebAuthnCredential
) -> None:
    for kind, device in (("totp", app), ("passkey", key)):
        with pytest.raises(MethodNotFound):
            of(admin, kind, device)


@pytest.mark.parametrize("kind", ["totp", "passkey"])
def test_verbs__touch_nobody_elses_method(kind: str, admin: Any, robin: Any, current: SignIn) -> None:
    """Even where a caller names it: the kind asks whose it is."""
    theirs = TOTPDevice.objects.create(user=admin, name="Theirs") if kind == "totp" else make_key(admin, "Theirs")
    make_key(robin)
    named = of(admin, kind, theirs)
    for verb in (
        partial(rename_method, name="Mine"),
        remove_method,
        lose_method,
    ):
        with pytest.raises(MethodNotFound):
            verb(sign_in=current, own=named, client=HERE, now=NOW)
    theirs.refresh_from_db()
    assert theirs.name == "Theirs"
    assert not AuditEvent.objects.filter(kind__startswith="method").exists()


@pytest.mark.parametrize("kind", ["totp", "passkey"])
def test_kinds__do_not_find_what_was_never_confirmed(kind: str, robin: Any, app: TOTPDevice, key: Any) -> None:
    type(app).objects.update(confirmed=False)
    type(key).objects.update(confirmed=False)
    device = app if kind == "totp" else key
    found = {own.kind.slug: own.kind for own in own_methods(robin)}
    assert found == {}
    with pytest.raises(MethodNotFound):
        of(robin, kind, device)


# The gate: as for registering


@pytest.mark.parametrize("verb", [partial(rename_method, name="New"), remove_method, lose_method])
@pytest.mark.parametrize("why", ["weak", "old", "ended"])
def test_verbs__need_a_strong_and_fresh_sign_in(
    verb: Callable[..., Any], why: str, robin: Any, app: TOTPDevice, key: WebAuthnCredential
) -> None:
    sign_in = made_with(robin, level=Level.SINGLE_FACTOR if why == "weak" else Level.MULTI_FACTOR)
    if why == "ended":
        sign_in.ended_at = NOW
    with pytest.raises(RegistrationNotAllowed):
        verb(sign_in=sign_in, own=of(robin, "totp", app), client=HERE, now=NOW + (HOUR if why == "old" else 0 * HOUR))
    app.refresh_from_db()
    assert app.name == "Phone"


def test_verbs__are_open_to_the_holder_of_a_pass(robin: Any, issue: Any, app: TOTPDevice) -> None:
    by_pass = redeem_pass(upn=robin.upn, passcode=issue(robin, now=NOW).passcode.reveal(), client=HERE, now=NOW)
    sign_in = find_sign_in(by_pass.pk)
    assert sign_in is not None
    assert lose_method(sign_in=sign_in, own=of(robin, "totp", app), client=HERE, now=NOW + MINUTE) == 0
    event = AuditEvent.objects.get(kind="method_lost")
    assert (event.pass_id, event.sign_in_id, event.address) == (sign_in.pass_id, sign_in.pk, "192.0.2.7")


# Names


@pytest.mark.parametrize("kind", ["totp", "passkey"])
def test_rename_method__keeps_the_name_and_records_it(
    kind: str, robin: Any, app: TOTPDevice, key: WebAuthnCredential, current: SignIn
) -> None:
    device = app if kind == "totp" else key
    registered_here(robin, kind, device)
    rename_method(sign_in=current, own=of(robin, kind, device), name="  My\tnew <b>one</b> ", client=HERE, now=NOW)
    assert of(robin, kind, device).method.name == "My new <b>one</b>"
    event = AuditEvent.objects.get(kind="method_renamed")
    assert event.detail == {"method_kind": kind, "method_id": str(device.pk)}
    assert event.user_key == event.actor_key == str(robin.pk)


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("Phone", "Phone"),
        ("  a  b\n c ", "a b c"),
        ("a\x00b", "a b"),
        ("\ud800x", "x"),
        ("\u202eevil", "evil"),
        ("", ""),
        ("\x00 \t", ""),
        ("é" * 200, "é" * LONGEST_NAME),
        ("x" * 10_000_000, "x" * LONGEST_NAME),
        ("名前", "名前"),
        ("\N{MAN}\u200d\N{PERSONAL COMPUTER}", "\N{MAN}\u200d\N{PERSONAL COMPUTER}"),
        ("\u0915\u094d\u200c\u0937", "\u0915\u094d\u200c\u0937"),
        ("\u200d", ""),
    ],
)
def test_clean_name__is_one_printable_line(typed: str, kept: str) -> None:
    assert clean_name(typed) == kept


@pytest.mark.parametrize("name", ["", " ", "\x00", "\u200b\u202e"])
def test_rename_method__needs_a_name(name: str, robin: Any, app: TOTPDevice, current: SignIn) -> None:
    with pytest.raises(ChangeRefused):
        rename_method(sign_in=current, own=of(robin, "totp", app), name=name, client=HERE, now=NOW)


def test_rename_method__a_device_of_another_package_keeps_its_name(
    robin: Any, app: TOTPDevice, current: SignIn
) -> None:
    """It may look for it by that."""
    with pytest.raises(ChangeRefused) as refused:
        rename_method(sign_in=current, own=of(robin, "totp", app), name="Mine", client=HERE, now=NOW)
    assert refused.value.code == "keeps_name"
    assert of(robin, "totp", app).method.name == "Phone"
    assert not AuditEvent.objects.filter(kind="method_renamed").exists()


@pytest.mark.parametrize("name", ["default", " Default ", "DEFAULT"])
def test_rename_method__to_the_name_that_two_factor_looks_for_is_refused(
    name: str, robin: Any, key: WebAuthnCredential, current: SignIn, two_factor: None
) -> None:
    with pytest.raises(ChangeRefused) as refused:
        rename_method(sign_in=current, own=of(robin, "passkey", key), name=name, client=HERE, now=NOW)
    assert refused.value.code == "name_taken"


def test_rename_method__the_device_that_two_factor_looks_for_keeps_its_name(
    robin: Any, app: TOTPDevice, current: SignIn, two_factor: None
) -> None:
    TOTPDevice.objects.update(name="default")
    registered_here(robin, "totp", app)
    assert of(robin, "totp", app).method.name == "Authenticator app"
    with pytest.raises(ChangeRefused) as refused:
        rename_method(sign_in=current, own=of(robin, "totp", app), name="Mine", client=HERE, now=NOW)
    assert refused.value.code == "keeps_name"
    app.refresh_from_db()
    assert app.name == "default"


@pytest.mark.parametrize("verb", [remove_method, lose_method])
def test_verbs__where_the_device_goes_that_two_factor_looks_for_another_gets_its_name(
    verb: Callable[..., Any], robin: Any, app: TOTPDevice, current: SignIn, two_factor: None
) -> None:
    TOTPDevice.objects.update(name="default")
    TOTPDevice.objects.create(user=robin, name="of another package", confirmed=True)
    second, third = (TOTPDevice.objects.create(user=robin, name=name, confirmed=True) for name in ("Second", "Third"))
    for device in (second, third):
        RegisteredMethod.objects.create(
            user=robin, kind="totp", method_id=str(device.pk), registered_at=NOW, sign_in_id=current.pk
        )
    verb(sign_in=current, own=of(robin, "totp", third), client=HERE, now=NOW)
    assert TOTPDevice.objects.get(name="default") == app
    verb(sign_in=current, own=of(robin, "totp", app), client=HERE, now=NOW)
    assert TOTPDevice.objects.get(name="default") == second


def test_rename_method__of_a_kind_without_names_is_refused(robin: Any, current: SignIn) -> None:
    robin.set_password("x")
    robin.save()
    with pytest.raises(ChangeRefused):
        rename_method(sign_in=current, own=own_method(robin, "password", "password"), name="Mine", client=HERE, now=NOW)


# Removing


@pytest.fixture
def told(django_capture_on_commit_callbacks: Any) -> Any:
    """Run something, and return the signals that were sent after its commit."""

    def tell(act: Callable[[], Any]) -> list[dict[str, Any]]:
        received: list[dict[str, Any]] = []

        def receive(signal: Any, sender: Any, **payload: Any) -> None:
            received.append(payload)

        for signal in (signals.method_removed, signals.method_lost):
            signal.connect(receive, dispatch_uid="test")
        try:
            with django_capture_on_commit_callbacks(execute=True, using=where()):
                act()
        finally:
            for signal in (signals.method_removed, signals.method_lost):
                signal.disconnect(dispatch_uid="test")
        return received

    return tell


def test_remove_method__takes_it_away_and_its_sign_ins_go_on(
    robin: Any, app: TOTPDevice, key: WebAuthnCredential, current: SignIn, told: Any
) -> None:
    RegisteredMethod.objects.create(user=robin, kind="totp", method_id=str(app.pk), registered_at=NOW)
    by_it = made_with(robin, ("password", "password"), ("totp", str(app.pk)))
    own = of(robin, "totp", app)

    payloads = told(lambda: remove_method(sign_in=current, own=own, client=HERE, now=NOW))

    assert [own.key for own in own_methods(robin)] == [("passkey", str(key.pk))]
    assert RegisteredMethod.objects.get().removed_at == NOW  # the record of it stays: what came by it is to be found
    by_it.refresh_from_db()
    assert by_it.ended_at is None
    assert AuditEvent.objects.get(kind="method_removed").detail == {"method_kind": "totp", "method_id": str(app.pk)}
    assert payloads == [{"user": robin, "kind": "totp", "method_id": str(app.pk), "name": "Phone", "sign_in": current}]


def test_remove_method__a_second_time_is_not_found(
    robin: Any, app: TOTPDevice, key: WebAuthnCredential, current: SignIn
) -> None:
    own = of(robin, "totp", app)
    remove_method(sign_in=current, own=own, client=HERE, now=NOW)
    for verb in (remove_method, lose_method):
        with pytest.raises(MethodNotFound):
            verb(sign_in=current, own=own, client=HERE, now=NOW)


def test_remove_method__keeps_the_only_way_to_sign_in(
    robin: Any, app: TOTPDevice, key: WebAuthnCredential, current: SignIn
) -> None:
    own = of(robin, "passkey", key)
    with pytest.raises(ChangeRefused) as refused:
        remove_method(sign_in=current, own=own, client=HERE, now=NOW)
    assert refused.value.code == "stays"
    assert WebAuthnCredential.objects.exists()
    make_key(robin, "Another")
    remove_method(sign_in=current, own=own, client=HERE, now=NOW)
    assert [own.method.name for own in own_methods(robin)] == ["Another", "Phone"]


def test_remove_method__a_password_is_a_way_to_sign_in(robin: Any, key: WebAuthnCredential, current: SignIn) -> None:
    robin.set_password("x")
    robin.save()
    remove_method(sign_in=current, own=of(robin, "passkey", key), client=HERE, now=NOW)
    with pytest.raises(ChangeRefused):
        remove_method(sign_in=current, own=own_method(robin, "password", "password"), client=HERE, now=NOW)


def test_remove_method__keeps_what_the_policy_requires(
    admin: Any, robin: Any, app: TOTPDevice, policy_on: Any, current: SignIn
) -> None:
    robin.set_password("x")
    robin.save()
    own = of(robin, "totp", app)
    assert why_not_remove(own, robin, resolve_policy(robin)) is None
    change_policy(actor=admin, now=NOW, require_registration=True)
    with pytest.raises(ChangeRefused):
        remove_method(sign_in=current, own=own, client=HERE, now=NOW)
    make_key(robin)
    remove_method(sign_in=current, own=own, client=HERE, now=NOW)


def test_remove_method__of_a_password_leaves_none(robin: Any, key: WebAuthnCredential, current: SignIn) -> None:
    robin.set_password("x")
    robin.save()
    remove_method(sign_in=current, own=own_method(robin, "password", "password"), client=HERE, now=NOW)
    assert not get_user_model()._default_manager.get(pk=robin.pk).has_usable_password()


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="transactions come one after the other there")
def test_remove_method__of_the_last_two_at_once_leaves_one(robin: Any) -> None:
    keys = [make_key(robin, name) for name in ("One", "Two")]
    current = made_with(robin, ELSEWHERE)
    calls = [
        partial(remove_method, sign_in=current, own=of(robin, "passkey", key), client=HERE, now=NOW) for key in keys
    ]
    outcomes = all_at_once(*calls)
    assert WebAuthnCredential.objects.count() == 1
    assert sum(isinstance(outcome, ChangeRefused) for outcome in outcomes) == 1


# Losing


def test_lose_method__ends_every_sign_in_that_was_made_with_it_and_no_other(
    admin: Any, robin: Any, app: TOTPDevice, key: WebAuthnCredential, current: SignIn, told: Any
) -> None:
    with_it = [made_with(robin, ("password", "password"), ("totp", str(app.pk))) for _ in range(3)]
    with_other = made_with(robin, ("passkey", str(key.pk)))
    by_password = made_with(robin, ("password", "password"), level=Level.SINGLE_FACTOR)
    another_app = made_with(robin, ("password", "password"), ("totp", str(app.pk + 1)))
    same_number = made_with(robin, ("passkey", str(app.pk)))
    somebody_else = made_with(admin, ("password", "password"), ("totp", str(app.pk)))
    own = of(robin, "totp", app)

    payloads = told(lambda: lose_method(sign_in=current, own=own, client=HERE, now=NOW))

    ended = set(SignIn.objects.exclude(ended_at=None).values_list("pk", "ended_reason"))
    assert ended == {(sign_in.pk, "method_lost") for sign_in in with_it}
    assert {with_other.pk, by_password.pk, another_app.pk, same_number.pk, somebody_else.pk, current.pk} == set(
        SignIn.objects.filter(ended_at=None).values_list("pk", flat=True)
    )
    assert not TOTPDevice.objects.exists()
    assert AuditEvent.objects.get(kind="method_lost").detail == {
        "method_kind": "totp",
        "method_id": str(app.pk),
        "ended": 3,
    }
    assert payloads == [
        {"user": robin, "kind": "totp", "method_id": str(app.pk), "name": "Phone", "sign_in": current, "ended": 3}
    ]


def test_lose_method__may_end_the_sign_in_that_says_so(robin: Any, key: WebAuthnCredential) -> None:
    current = made_with(robin, ("passkey", str(key.pk)), level=Level.PHISHING_RESISTANT)
    assert lose_method(sign_in=current, own=of(robin, "passkey", key), client=HERE, now=NOW) == 1
    current.refresh_from_db()
    assert current.ended_reason == "method_lost"


def test_lose_method__ends_what_was_renewed_by_another_method_since(robin: Any, app: Any, current: SignIn) -> None:
    sign_in = made_with(robin, ("password", "password"), ("totp", str(app.pk)))
    SignInMethod.objects.create(sign_in=sign_in, kind="passkey", method_id="9")
    SignIn.objects.filter(pk=sign_in.pk).update(methods=["passkey"])
    assert lose_method(sign_in=current, own=of(robin, "totp", app), client=HERE, now=NOW) == 1


def test_lose_method__ends_sign_ins_from_before_methods_were_noted(robin: Any, app: Any, key: Any) -> None:
    """Which of several it was is not known; a sign-in too many is better than one too few."""
    current = made_with(robin, ELSEWHERE)
    before = made_with(robin, ("totp", "ignored"))
    before.used_methods.all().delete()
    assert sign_ins_made_with(of(robin, "totp", app), robin) == [before]
    assert sign_ins_made_with(of(robin, "passkey", key), robin) == []
    assert lose_method(sign_in=current, own=of(robin, "totp", app), client=HERE, now=NOW) == 1


def test_lose_method__ends_sign_ins_of_which_nothing_is_known(robin: Any, app: Any, current: SignIn) -> None:
    """A session from before the installation, on the phone that is gone perhaps."""
    adopted = made_with(robin)
    lose_method(sign_in=current, own=of(robin, "totp", app), client=HERE, now=NOW)
    adopted.refresh_from_db()
    assert adopted.ended_reason == "method_lost"


def test_lose_method__reaches_past_what_was_removed_in_between(robin: Any, app: Any, current: SignIn) -> None:
    """A thief adds a passkey with the stolen app, signs in with it, adds another, and removes the first."""
    first, second = make_key(robin, "First"), make_key(robin, "Second")
    by_app = made_with(robin, ("password", "password"), ("totp", str(app.pk)))
    registered_in(by_app, first)
    by_first = made_with(robin, ("passkey", str(first.pk)))
    registered_in(by_first, second)
    remove_method(sign_in=by_first, own=of(robin, "passkey", first), client=HERE, now=NOW)

    own = of(robin, "totp", app)
    assert [other.method.name for other in registered_with(own, robin)] == ["Second"]
    assert {sign_in.pk for sign_in in sign_ins_made_with(own, robin)} == {by_app.pk, by_first.pk}
    assert lose_method(sign_in=current, own=own, client=HERE, now=NOW) == 2


def test_lose_method__leaves_what_came_by_a_method_that_one_knows(robin: Any, app: Any, current: SignIn) -> None:
    """What is removed in between is followed; what is there, and is not ticked, is the user's own."""
    mine, tidied = make_key(robin, "Mine"), make_key(robin, "Tidied")
    registered_in(made_with(robin, ("password", "password"), ("totp", str(app.pk))), mine)
    by_mine = made_with(robin, ("passkey", str(mine.pk)))
    registered_in(by_mine, tidied)
    by_tidied = made_with(robin, ("passkey", str(tidied.pk)))
    remove_method(sign_in=by_mine, own=of(robin, "passkey", tidied), client=HERE, now=NOW)
    lose_method(sign_in=current, own=of(robin, "totp", app), client=HERE, now=NOW)
    assert set(SignIn.objects.filter(ended_at=None)) == {current, by_mine, by_tidied}


def test_lose_method__that_was_never_ones_own_reaches_past_what_was_removed(robin: Any, current: SignIn) -> None:
    first, second = make_key(robin, "First"), make_key(robin, "Second")
    found_open = made_with(robin, ELSEWHERE)
    registered_in(found_open, first, second)
    by_first = made_with(robin, ("passkey", str(first.pk)))
    remove_method(sign_in=found_open, own=of(robin, "passkey", first), client=HERE, now=NOW)
    own = of(robin, "passkey", second)
    lose_method(sign_in=current, own=own, is_disowned=True, client=HERE, now=NOW)
    assert set(SignIn.objects.filter(ended_at=None)) == {current}
    by_first.refresh_from_db()
    assert by_first.ended_reason == "method_lost"


def test_registered_with__goes_on_from_what_came_by_it(robin: Any, app: Any, key: Any) -> None:
    """A thief adds a passkey, signs in with that, and adds another: nothing but the chain leads there."""
    second, third, mine = (make_key(robin, name) for name in ("Second", "Third", "Mine"))
    by_app = made_with(robin, ("password", "password"), ("totp", str(app.pk)))
    by_second = made_with(robin, ("passkey", str(second.pk)))
    by_key = made_with(robin, ("passkey", str(key.pk)))
    for device, sign_in in ((second, by_app), (third, by_second), (mine, by_key)):
        RegisteredMethod.objects.create(
            user=robin, kind="passkey", method_id=str(device.pk), registered_at=NOW, sign_in_id=sign_in.pk
        )
    found = registered_with(of(robin, "totp", app), robin)
    assert [own.method.name for own in found] == ["Second", "Third"]
    assert [own.method.name for own in registered_with(of(robin, "passkey", second), robin)] == ["Third"]
    assert registered_with(of(robin, "passkey", third), robin) == []


def test_remove_method__asks_for_what_is_left_as_it_is_now(robin: Any, key: Any, current: SignIn) -> None:
    """Two tabs: in one the password went after the other had read the user."""
    robin.set_password("x")
    robin.save()
    own = of(robin, "passkey", key)
    get_user_model()._default_manager.filter(pk=robin.pk).update(password="!gone")
    assert current.user.has_usable_password()
    with pytest.raises(ChangeRefused):
        remove_method(sign_in=current, own=own, client=HERE, now=NOW)


def test_lose_method__takes_the_last_one_as_well(admin: Any, robin: Any, policy_on: Any, current: SignIn) -> None:
    change_policy(actor=admin, now=NOW, require_registration=True)
    lose_method(sign_in=current, own=of(robin, "passkey", make_key(robin)), client=HERE, now=NOW)
    assert own_methods(robin) == []


def test_lose_method__takes_with_it_what_came_by_it(robin: Any, app: Any, key: Any, current: SignIn) -> None:
    """Whoever has the lost one may have added a method of theirs."""
    by_key = made_with(robin, ("passkey", str(key.pk)))
    elsewhere = made_with(robin, ELSEWHERE)
    for device, kind, sign_in in ((app, "totp", by_key), (key, "passkey", elsewhere)):
        RegisteredMethod.objects.create(
            user=robin, kind=kind, method_id=str(device.pk), registered_at=NOW, sign_in_id=sign_in.pk
        )
    by_app = made_with(robin, ("password", "password"), ("totp", str(app.pk)))

    lost = of(robin, "passkey", key)
    came_by_it = registered_with(lost, robin)
    assert [own.key for own in came_by_it] == [("totp", str(app.pk))]
    assert registered_with(of(robin, "totp", app), robin) == []

    assert lose_method(sign_in=current, own=lost, also=came_by_it, client=HERE, now=NOW) == 2
    assert own_methods(robin) == []
    assert set(SignIn.objects.exclude(ended_at=None).values_list("pk", flat=True)) == {by_key.pk, by_app.pk}
    assert AuditEvent.objects.filter(kind="method_lost").count() == 2


def registered_in(sign_in: SignIn, *keys: WebAuthnCredential) -> None:
    for key in keys:
        RegisteredMethod.objects.create(
            user=sign_in.user, kind="passkey", method_id=str(key.pk), registered_at=NOW, sign_in_id=sign_in.pk
        )


def test_lose_method__that_was_never_ones_own_ends_how_it_came_with_all_that_came_so(
    robin: Any, app: Any, current: SignIn
) -> None:
    """An open session that somebody found: they added two, and by one of these a third."""
    first, second, third, mine = (make_key(robin, name) for name in ("First", "Second", "Third", "Mine"))
    found_open = made_with(robin, ("password", "password"), ("totp", str(app.pk)))
    registered_in(found_open, first, second)
    by_second = made_with(robin, ("passkey", str(second.pk)))
    registered_in(by_second, third)
    registered_in(current, mine)

    own = of(robin, "passkey", first)
    assert lose_method(sign_in=current, own=own, is_disowned=True, client=HERE, now=NOW) == 2

    assert [own.method.name for own in own_methods(robin)] == ["Mine", "Phone"]
    assert set(SignIn.objects.exclude(ended_at=None).values_list("pk", flat=True)) == {found_open.pk, by_second.pk}


def test_lose_method__leaves_how_it_came_alone_unless_that_was_somebody_else(robin: Any, current: SignIn) -> None:
    lost, kept = make_key(robin, "Lost"), make_key(robin, "Kept")
    origin = made_with(robin, ELSEWHERE)
    registered_in(origin, lost, kept)
    assert lose_method(sign_in=current, own=of(robin, "passkey", lost), client=HERE, now=NOW) == 0
    assert [own.method.name for own in own_methods(robin)] == ["Kept"]
    origin.refresh_from_db()
    assert origin.ended_at is None


def test_lose_method__of_what_came_here_ends_nothing_here(robin: Any, current: SignIn) -> None:
    lost, kept = make_key(robin, "Lost"), make_key(robin, "Kept")
    registered_in(current, lost, kept)
    own = of(robin, "passkey", lost)
    assert lose_method(sign_in=current, own=own, is_disowned=True, client=HERE, now=NOW) == 0
    assert [own.method.name for own in own_methods(robin)] == ["Kept"]


def test_lose_method__is_one_act(robin: Any, app: Any, key: Any, current: SignIn) -> None:
    """Where one of them is gone already, nothing of it happens."""
    with_it = made_with(robin, ("passkey", str(key.pk)))
    gone = of(robin, "totp", app)
    app.delete()
    with pytest.raises(MethodNotFound):
        lose_method(sign_in=current, own=of(robin, "passkey", key), also=[gone], client=HERE, now=NOW)
    with_it.refresh_from_db()
    assert with_it.ended_at is None
    assert WebAuthnCredential.objects.exists()


# Which methods a sign-in was made with, and how a method came: noted by whatever signs in and registers


def used_of(sign_in: SignIn) -> set[tuple[str, str]]:
    return {(one.kind, one.method_id) for one in sign_in.used_methods.all()}


def test_sign_in__by_passkey_notes_which(passkey_client: Browser, robin: Any) -> None:
    credential = WebAuthnCredential.objects.get(user=robin)
    sign_in = SignIn.objects.get(methods=["passkey"])
    assert used_of(sign_in) == {("passkey", str(credential.pk))}
    registered = RegisteredMethod.objects.get(user=robin, kind="passkey", method_id=str(credential.pk))
    assert registered.sign_in_id == SignIn.objects.exclude(pass_id=None).get().pk


def test_sign_in__by_a_lost_passkey_is_signed_out_at_its_next_request(passkey_client: Browser, robin: Any) -> None:
    other = made_with(robin, ELSEWHERE)
    assert passkey_client.get("/account/security-info/").status_code == 200
    credential = WebAuthnCredential.objects.get(user=robin)

    lose_method(sign_in=other, own=of(robin, "passkey", credential), client=HERE, now=NOW)

    assert passkey_client.get("/account/security-info/").status_code == 302
    assert passkey_client.get("/members/").status_code == 302
