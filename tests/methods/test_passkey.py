"""Passkeys: user verification always, one ceremony per challenge, and registering is no step-up."""

from __future__ import annotations

import json
import re
from http.cookies import SimpleCookie
from importlib.resources import files
from pathlib import Path
from typing import Any

import cbor2
import pytest
from asgiref.sync import async_to_sync
from django.db.models.signals import post_save
from django.test import Client
from django.utils import timezone, translation
from django_otp.plugins.otp_totp.models import TOTPDevice
from django_otp_webauthn.models import WebAuthnAttestation, WebAuthnCredential

from tap_provider.backends import mark_proved
from tap_provider.issue import revoke_pass
from tap_provider.methods.passkey import PasskeyBackend, PasskeyKind
from tap_provider.methods.passkey_texts import SAID, TOLD
from tap_provider.models import AuditEvent, SignIn, TemporaryAccessPass, TemporaryAccessPassPolicy
from tap_provider.policy import change_policy
from tap_provider.sign_in import SESSION_KEY

from ..conftest import MINUTE
from ..softauthn import (
    ATTESTED,
    BEGIN_AUTHENTICATION,
    BEGIN_REGISTRATION,
    COMPLETE_AUTHENTICATION,
    COMPLETE_REGISTRATION,
    SoftAuthenticator,
    b64,
    post_json,
    register_passkey,
    sign_in_with_passkey,
    unb64,
)

CONFIGURATION = re.compile(r'<script id="otp_webauthn_config" type="application/json">(.*?)</script>')
REGISTERED = AuditEvent.Kind.METHOD_REGISTERED

pytestmark = pytest.mark.usefixtures("hasher")  # a cheap one


def sign_in_of(client: Client) -> SignIn:
    return SignIn.objects.get(pk=client.session[SESSION_KEY])


def nothing_stored() -> bool:
    return not (
        WebAuthnCredential.objects.exists()
        or WebAuthnAttestation.objects.exists()
        or AuditEvent.objects.filter(kind=REGISTERED).exists()
    )


# Registering.


def test_register__a_holder_registers_a_passkey(holder_client: Client, robin: Any) -> None:
    authenticator = SoftAuthenticator()
    response = register_passkey(holder_client, authenticator)
    assert response.status_code == 200
    credential = WebAuthnCredential.objects.get(user=robin)
    assert bytes(credential.credential_id) == authenticator.credential_id
    event = AuditEvent.objects.get(kind=REGISTERED)
    assert event.detail == {"method_kind": "passkey", "method_id": str(credential.pk)}
    assert (event.pass_id, event.sign_in_id) == (
        TemporaryAccessPass.objects.get(user=robin).pk,
        sign_in_of(holder_client).pk,
    )
    assert [method.id for method in PasskeyKind().methods(robin)] == [str(credential.pk)]


def test_register__asks_for_user_verification_and_tells_whose_it_is(holder_client: Client, robin: Any) -> None:
    response = post_json(holder_client, BEGIN_REGISTRATION)
    options = response.json()
    assert options["authenticatorSelection"]["userVerification"] == "required"
    assert options["user"]["name"] == robin.upn
    assert options["rp"]["id"] == "localhost"
    assert "no-store" in response["Cache-Control"]


def test_register__without_user_verification_is_refused(holder_client: Client) -> None:
    response = register_passkey(holder_client, SoftAuthenticator(verifies_user=False))
    assert response.status_code == 422
    assert nothing_stored()


@pytest.mark.parametrize(
    "origin", ["http://localhost:8001", "https://evil.example", "http://localhost:8000.evil.example"]
)
def test_register__from_another_origin_is_refused(holder_client: Client, origin: str) -> None:
    assert register_passkey(holder_client, SoftAuthenticator(origin=origin)).status_code == 422
    assert nothing_stored()


def test_register__for_another_relying_party_is_refused(holder_client: Client) -> None:
    options = post_json(holder_client, BEGIN_REGISTRATION).json()
    answer = SoftAuthenticator().create({**options, "rp": {"id": "evil.example"}})
    assert post_json(holder_client, COMPLETE_REGISTRATION, answer).status_code == 422
    assert nothing_stored()


def test_register__the_same_passkey_twice_is_refused_as_such(holder_client: Client, robin: Any) -> None:
    authenticator = SoftAuthenticator()
    assert register_passkey(holder_client, authenticator).status_code == 200
    response = register_passkey(holder_client, authenticator)
    assert response.status_code == 422
    assert response.json()["code"] == "already_registered"
    assert WebAuthnCredential.objects.count() == WebAuthnAttestation.objects.count() == 1
    assert AuditEvent.objects.filter(kind=REGISTERED).count() == 1


def test_register__somebody_elses_passkey_is_refused(
    holder_client: Client, passkey: SoftAuthenticator, make_user: Any, issue: Any, sign_in_with_pass: Any
) -> None:
    quinn, browser = make_user("quinn"), Client()
    sign_in_with_pass(quinn.upn, issue(quinn).passcode.reveal(), browser)
    assert register_passkey(browser, passkey).status_code == 422
    assert not WebAuthnCredential.objects.filter(user=quinn).exists()


def test_register__does_not_upgrade_a_registration_session(holder_client: Client) -> None:
    before = sign_in_of(holder_client)
    register_passkey(holder_client, SoftAuthenticator())
    assert "otp_device_id" not in holder_client.session
    after = sign_in_of(holder_client)
    assert (after.pk, after.level, after.amr, after.methods) == (before.pk, before.level, before.amr, before.methods)
    assert holder_client.get("/members/").status_code == 302


def test_register__does_not_upgrade_a_full_session(client: Client, admin: Any, robin: Any, policy_on: Any) -> None:
    # A policy that lets a password alone register the first strong method.
    change_policy(actor=admin, now=timezone.now(), require_strong_authentication_to_register=False)
    client.force_login(mark_proved(robin, "password"))
    before = sign_in_of(client)
    assert register_passkey(client, SoftAuthenticator()).status_code == 200
    assert "otp_device_id" not in client.session
    after = sign_in_of(client)
    assert (after.pk, after.level, after.amr) == (before.pk, "single_factor", ["pwd"])
    assert register_passkey(client, SoftAuthenticator()).status_code == 403  # it has a strong method now, so: not again


def test_register__keeps_the_mark_of_the_device_that_signed_in(passkey_client: Client, robin: Any) -> None:
    first = WebAuthnCredential.objects.get(user=robin)
    assert register_passkey(passkey_client, SoftAuthenticator()).status_code == 200
    assert passkey_client.session["otp_device_id"] == first.persistent_id


def test_register__works_for_somebody_who_has_lost_an_old_device(holder_client: Client, robin: Any) -> None:
    # The library asks for the device they already have: exactly the one they lost.
    TOTPDevice.objects.create(user=robin, name="lost phone", confirmed=True)
    assert register_passkey(holder_client, SoftAuthenticator()).status_code == 200
    assert register_passkey(holder_client, SoftAuthenticator()).status_code == 200


@pytest.mark.parametrize("what", ["policy", "revoked", "deactivated"])
def test_register__what_happens_during_the_last_step_counts(holder_client: Client, robin: Any, what: str) -> None:
    # Somebody is quicker than the request that stores the passkey; `post_save` stands in for them.
    def meanwhile(**kwargs: Any) -> None:
        if what == "policy":
            TemporaryAccessPassPolicy.objects.update(enabled=False)
        elif what == "revoked":
            TemporaryAccessPass.objects.all().delete()
        else:
            type(robin)._default_manager.filter(pk=robin.pk).update(is_active=False)

    browser = Client(raise_request_exception=False)
    browser.cookies = holder_client.cookies
    post_save.connect(meanwhile, sender=WebAuthnCredential, dispatch_uid="meanwhile")
    try:
        assert register_passkey(browser, SoftAuthenticator()).status_code == 403
    finally:
        post_save.disconnect(sender=WebAuthnCredential, dispatch_uid="meanwhile")
    assert nothing_stored()


@pytest.mark.parametrize("url", [BEGIN_REGISTRATION, COMPLETE_REGISTRATION])
def test_register__a_stranger_is_refused(client: Client, policy_on: Any, url: str) -> None:
    response = post_json(client, url)
    assert (response.status_code, response.json()["code"]) == (403, "not_authenticated")


@pytest.mark.parametrize("url", [BEGIN_REGISTRATION, COMPLETE_REGISTRATION])
def test_register__a_session_by_password_alone_is_refused(client: Client, robin: Any, policy_on: Any, url: str) -> None:
    client.force_login(robin)
    response = post_json(client, url)
    assert (response.status_code, response.json()["code"]) == (403, "not_strong_enough")


@pytest.mark.parametrize("url", [BEGIN_REGISTRATION, COMPLETE_REGISTRATION])
def test_register__a_strong_session_is_refused_after_ten_minutes(passkey_client: Client, robin: Any, url: str) -> None:
    SignIn.objects.filter(user=robin).update(authenticated_at=timezone.now() - 11 * MINUTE)
    response = post_json(passkey_client, url)
    assert (response.status_code, response.json()["code"]) == (403, "not_fresh")


def test_register__a_fresh_strong_session_may(passkey_client: Client, robin: Any) -> None:
    assert register_passkey(passkey_client, SoftAuthenticator()).status_code == 200
    assert WebAuthnCredential.objects.filter(user=robin).count() == 2
    event = AuditEvent.objects.filter(kind=REGISTERED).latest("pk")
    assert (event.pass_id, event.sign_in_id) == (None, sign_in_of(passkey_client).pk)


# A ceremony is answered once, in the session and at the time in which it began.


def test_register__a_replayed_answer_is_refused(holder_client: Client) -> None:
    answer = SoftAuthenticator().create(post_json(holder_client, BEGIN_REGISTRATION).json())
    assert post_json(holder_client, COMPLETE_REGISTRATION, answer).status_code == 200
    WebAuthnCredential.objects.all().delete()
    assert post_json(holder_client, COMPLETE_REGISTRATION, answer).status_code == 400
    post_json(holder_client, BEGIN_REGISTRATION)
    assert post_json(holder_client, COMPLETE_REGISTRATION, answer).status_code == 422  # another challenge
    assert not WebAuthnCredential.objects.exists()


def test_register__a_refused_answer_spends_the_challenge(holder_client: Client) -> None:
    options = post_json(holder_client, BEGIN_REGISTRATION).json()
    careless = SoftAuthenticator(verifies_user=False).create(options)
    assert post_json(holder_client, COMPLETE_REGISTRATION, careless).status_code == 422
    assert post_json(holder_client, COMPLETE_REGISTRATION, SoftAuthenticator().create(options)).status_code == 400
    assert nothing_stored()


@pytest.mark.parametrize("why", ["deadline", "revoked", "policy", "deactivated"])
def test_register__after_the_session_has_ended_nothing_is_stored(
    holder_client: Client, admin: Any, robin: Any, why: str
) -> None:
    answer, now = SoftAuthenticator().create(post_json(holder_client, BEGIN_REGISTRATION).json()), timezone.now()
    if why == "deadline":
        SignIn.objects.filter(user=robin).update(deadline=now - MINUTE)
    elif why == "revoked":
        revoke_pass(actor=admin, temporary_access_pass=TemporaryAccessPass.objects.get(user=robin), now=now)
    elif why == "policy":
        change_policy(actor=admin, now=now, enabled=False)
    else:
        type(robin)._default_manager.filter(pk=robin.pk).update(is_active=False)
    assert post_json(holder_client, COMPLETE_REGISTRATION, answer).status_code == 403
    assert nothing_stored()


def test_register__the_answer_goes_to_nobody_elses_session(
    holder_client: Client, make_user: Any, issue: Any, sign_in_with_pass: Any
) -> None:
    # A shared computer: Quinn signs in while Robin's ceremony is still open in another tab.
    answer = SoftAuthenticator().create(post_json(holder_client, BEGIN_REGISTRATION).json())
    quinn = make_user("quinn")
    sign_in_with_pass(quinn.upn, issue(quinn).passcode.reveal(), holder_client)
    assert post_json(holder_client, COMPLETE_REGISTRATION, answer).status_code == 400
    assert nothing_stored()


@pytest.mark.parametrize(
    "url", [BEGIN_REGISTRATION, COMPLETE_REGISTRATION, BEGIN_AUTHENTICATION, COMPLETE_AUTHENTICATION]
)
def test_ceremony__a_get_changes_nothing(holder_client: Client, url: str) -> None:
    before = dict(holder_client.session)
    assert holder_client.get(url).status_code == 405
    assert holder_client.head(url).status_code == 405
    assert dict(holder_client.session) == before


@pytest.mark.parametrize(
    "url", [BEGIN_REGISTRATION, COMPLETE_REGISTRATION, BEGIN_AUTHENTICATION, COMPLETE_AUTHENTICATION]
)
def test_ceremony__needs_the_csrf_token(holder_client: Client, url: str) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = holder_client.cookies.copy()
    assert post_json(strict, url).status_code == 403
    assert "otp_webauthn_register_state" not in holder_client.session


# Signing in.


@pytest.mark.parametrize(("synchronised", "held"), [(False, "hwk"), (True, "swk")])
def test_sign_in__is_recorded_as_phishing_resistant(
    holder_client: Client, robin: Any, synchronised: bool, held: str
) -> None:
    authenticator, browser = SoftAuthenticator(synchronised=synchronised), Client()
    register_passkey(holder_client, authenticator)
    assert sign_in_with_passkey(browser, authenticator).status_code == 200
    sign_in = sign_in_of(browser)
    assert (sign_in.user, sign_in.methods, sign_in.amr, sign_in.level) == (
        robin,
        ["passkey"],
        sorted([held, "mfa", "pop", "user"]),
        "phishing_resistant",
    )
    assert (sign_in.deadline, sign_in.pass_id) == (None, None)
    assert browser.get("/members/").status_code == 200
    assert browser.session["otp_device_id"] == WebAuthnCredential.objects.get().persistent_id


def test_sign_in__asks_for_user_verification_and_names_no_passkey(client: Client, passkey: SoftAuthenticator) -> None:
    options = post_json(client, BEGIN_AUTHENTICATION).json()
    assert options["userVerification"] == "required"
    assert options.get("allowCredentials", []) == []  # else it would tell strangers who has one


def test_sign_in__without_user_verification_is_refused(client: Client, passkey: SoftAuthenticator) -> None:
    passkey.verifies_user = False
    assert sign_in_with_passkey(client, passkey).status_code == 422
    assert client.get("/members/").status_code == 302
    assert SESSION_KEY not in client.session


@pytest.mark.parametrize("begun_by", ["stranger", "signed in"])
def test_sign_in__user_verification_is_required_whoever_begins(
    client: Client, admin: Any, passkey: SoftAuthenticator, begun_by: str
) -> None:
    # The library merely discourages it where somebody is signed in already.
    if begun_by == "signed in":
        client.force_login(admin)
    passkey.verifies_user = False
    assert sign_in_with_passkey(client, passkey).status_code == 422


def test_sign_in__a_replayed_answer_is_refused(client: Client, passkey: SoftAuthenticator) -> None:
    answer = passkey.get(post_json(client, BEGIN_AUTHENTICATION).json())
    assert post_json(client, COMPLETE_AUTHENTICATION, answer).status_code == 200
    assert post_json(client, COMPLETE_AUTHENTICATION, answer).status_code == 400
    other = Client()
    assert post_json(other, COMPLETE_AUTHENTICATION, answer).status_code == 400
    post_json(other, BEGIN_AUTHENTICATION)
    assert post_json(other, COMPLETE_AUTHENTICATION, answer).status_code == 422
    assert other.get("/members/").status_code == 302


def test_sign_in__a_cloned_authenticator_is_refused(client: Client, passkey: SoftAuthenticator) -> None:
    assert sign_in_with_passkey(client, passkey).status_code == 200
    passkey.signatures = 0  # the clone does not know how often the other one has signed
    refused = sign_in_with_passkey(Client(), passkey)
    assert refused.status_code == 422
    assert refused.json()["code"] == "counter_went_back"
    event = AuditEvent.objects.get(kind=AuditEvent.Kind.SIGN_IN_REFUSED)
    assert (event.user_name, event.detail) == ("robin@example.test", {"reason": "passkey_counter"})
    passkey.signatures = 1  # and the one whose counter goes on signs in
    assert sign_in_with_passkey(Client(), passkey).status_code == 200


def test_sign_in__a_cloned_authenticator_is_told_so_in_the_readers_language(passkey: SoftAuthenticator) -> None:
    sign_in_with_passkey(Client(), passkey)
    passkey.signatures = 0
    refused = sign_in_with_passkey(Client(headers={"accept-language": "de"}), passkey)
    assert "eine Kopie" in refused.json()["detail"]


def test_sign_in__a_synchronised_passkey_has_a_counter_on_each_device(holder_client: Client, robin: Any) -> None:
    """One that goes back is no sign of a copy: copies are what synchronisation makes (WebAuthn §6.1.1)."""
    authenticator = SoftAuthenticator(synchronised=True)
    assert register_passkey(holder_client, authenticator).status_code == 200
    for signatures in (41, 6, 6, 7, 0):
        authenticator.signatures = signatures
        assert sign_in_with_passkey(Client(), authenticator).status_code == 200
    assert not AuditEvent.objects.filter(kind=AuditEvent.Kind.SIGN_IN_REFUSED).exists()


def test_sign_in__a_counter_that_goes_back_hides_no_wrong_signature(
    holder_client: Client, passkey: SoftAuthenticator, client: Client
) -> None:
    sign_in_with_passkey(Client(), passkey)
    stranger = SoftAuthenticator()
    stranger.credential_id, stranger.user_handle, stranger.signatures = passkey.credential_id, passkey.user_handle, 0
    refused = sign_in_with_passkey(client, stranger)
    assert refused.status_code == 422
    assert refused.json()["code"] != "counter_went_back"
    assert not AuditEvent.objects.filter(kind=AuditEvent.Kind.SIGN_IN_REFUSED).exists()
    assert sign_in_with_passkey(Client(), passkey).status_code == 200


def test_sign_in__with_an_unknown_passkey_is_refused(client: Client, passkey: SoftAuthenticator) -> None:
    stranger = SoftAuthenticator()
    assert sign_in_with_passkey(client, stranger).status_code == 404
    stranger.credential_id = passkey.credential_id  # a known name, another key
    assert sign_in_with_passkey(client, stranger).status_code == 422
    assert client.get("/members/").status_code == 302


def test_sign_in__with_a_removed_passkey_names_it_to_the_browser(passkey: SoftAuthenticator) -> None:
    """So that `signalUnknownCredential` takes it out of what is offered (WebAuthn Level 3 §5.1.10.2)."""
    browser = Client()
    assert "Unknown-Credential" not in sign_in_with_passkey(browser, passkey).headers
    WebAuthnCredential.objects.all().delete()

    response = sign_in_with_passkey(Client(), passkey)

    assert response.status_code == 404
    assert response.headers["Unknown-Credential"] == f"localhost {b64(passkey.credential_id)}"


def test_sign_in__that_is_refused_for_another_reason_names_no_passkey(passkey: SoftAuthenticator, robin: Any) -> None:
    robin.is_active = False
    robin.save()
    response = sign_in_with_passkey(Client(), passkey)
    assert response.status_code >= 400
    assert "Unknown-Credential" not in response.headers


@pytest.mark.parametrize("named", ["a b", "a\r\nSet-Cookie: x=y", "<b>", "", "x" * 5000])
def test_sign_in__puts_nothing_into_a_header_that_is_no_credential_id(named: str, passkey: SoftAuthenticator) -> None:
    browser = Client()
    begun = post_json(browser, BEGIN_AUTHENTICATION)
    answer = {**passkey.get(begun.json()), "id": named}
    WebAuthnCredential.objects.all().delete()
    response = post_json(browser, COMPLETE_AUTHENTICATION, answer)
    assert response.status_code >= 400
    assert "Unknown-Credential" not in response.headers


@pytest.mark.parametrize("origin", ["http://localhost:8001", "https://evil.example"])
def test_sign_in__from_another_origin_is_refused(client: Client, passkey: SoftAuthenticator, origin: str) -> None:
    passkey.origin = origin
    assert sign_in_with_passkey(client, passkey).status_code == 422


def test_sign_in__of_a_deactivated_user_is_refused(client: Client, robin: Any, passkey: SoftAuthenticator) -> None:
    type(robin)._default_manager.filter(pk=robin.pk).update(is_active=False)
    assert sign_in_with_passkey(client, passkey).status_code == 403
    assert SESSION_KEY not in client.session


def test_sign_in__with_an_unconfirmed_passkey_is_refused(client: Client, passkey: SoftAuthenticator) -> None:
    WebAuthnCredential.objects.update(confirmed=False)
    assert sign_in_with_passkey(client, passkey).status_code == 403
    assert SESSION_KEY not in client.session


def test_sign_in__an_unconfirmed_passkey_is_no_method(robin: Any, passkey: SoftAuthenticator) -> None:
    WebAuthnCredential.objects.update(confirmed=False)
    assert PasskeyKind().methods(robin) == []


def test_sign_in__gives_the_session_a_new_key(client: Client, passkey: SoftAuthenticator) -> None:
    client.get("/account/sign-in/")
    post_json(client, BEGIN_AUTHENTICATION)
    before = client.session.session_key
    sign_in_with_passkey(client, passkey)
    assert client.session.session_key != before


def test_sign_in__in_somebody_elses_full_session_ends_that_one(
    client: Client, admin: Any, robin: Any, passkey: SoftAuthenticator
) -> None:
    client.force_login(admin)
    before = sign_in_of(client)
    assert sign_in_with_passkey(client, passkey).status_code == 200
    assert sign_in_of(client).user == robin
    before.refresh_from_db()
    assert before.ended_reason == SignIn.EndedReason.SIGNED_IN_ANEW


def test_sign_in__inside_a_registration_session_ends_it(holder_client: Client, robin: Any) -> None:
    authenticator, before = SoftAuthenticator(), sign_in_of(holder_client)
    register_passkey(holder_client, authenticator)
    assert sign_in_with_passkey(holder_client, authenticator).status_code == 200
    before.refresh_from_db()
    assert before.ended_reason == SignIn.EndedReason.SIGNED_IN_ANEW
    assert set(holder_client.session.keys()) == {
        "_auth_user_id",
        "_auth_user_backend",
        "_auth_user_hash",
        "otp_device_id",
        SESSION_KEY,
    }
    assert holder_client.get("/members/").status_code == 200


@pytest.mark.parametrize(
    ("wanted", "goes_to"),
    [
        ("/members/", "/members/"),
        ("//evil.example/", "/"),
        ("https://evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("/\\evil.example", "/"),
        ("", "/"),
    ],
)
def test_sign_in__goes_where_it_was_asked_to_if_that_is_ours(
    client: Client, passkey: SoftAuthenticator, wanted: str, goes_to: str
) -> None:
    assert sign_in_with_passkey(client, passkey, wanted).json()["redirect_url"] == goes_to


# Whatever is sent.

VALID_ID = b64(b"x" * 32)
ANSWER = {"id": VALID_ID, "rawId": VALID_ID, "type": "public-key"}

MALFORMED = {
    "nothing": b"",
    "a list": b"[]",
    "a list of lists": b"[[],[{}]]",
    "a string": b'"text"',
    "a string of json": json.dumps(json.dumps({"id": 1})).encode(),
    "a number": b"7",
    "a number of 5000 digits": b"7" * 5_000,
    "null": b"null",
    "true": b"true",
    "an empty object": b"{}",
    "cut off": b'{"id": "',
    "no json": b"id=1&rawId=2",
    "not utf-8": b'{"id": "\xff\xfe"}',
    "a lone surrogate": b'{"id": "\\ud800", "rawId": "\\ud800", "response": {}}',
    "a nul": b'{"id": "\\u0000", "rawId": "\\u0000", "type": "\\u0000"}',
    "nulls": b'{"id": null, "rawId": null, "type": null, "response": null}',
    "nested nulls": json.dumps(
        {**ANSWER, "response": dict.fromkeys(("clientDataJSON", "attestationObject", "authenticatorData", "signature"))}
    ).encode(),
    "lists for strings": json.dumps({"id": [], "rawId": [], "type": [], "response": []}).encode(),
    "no base64": json.dumps(
        {
            **ANSWER,
            "response": {"clientDataJSON": "a", "attestationObject": "a", "authenticatorData": "a", "signature": "a"},
        }
    ).encode(),
    "a user handle that is no base64": json.dumps(
        {**ANSWER, "response": {"clientDataJSON": "", "authenticatorData": "", "signature": "", "userHandle": "a"}}
    ).encode(),
    "a megabyte of text": json.dumps({"id": "x" * 1_000_000}).encode(),
    "a megabyte of list": b"[" * 1_000_000,
    "a megabyte of answer": json.dumps(
        {**ANSWER, "response": {"clientDataJSON": "A" * 500_000, "attestationObject": "A" * 500_000}}
    ).encode(),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("step", ["begin", "complete"])
def test_register__a_malformed_body_is_refused_cleanly(holder_client: Client, step: str, body: bytes) -> None:
    browser = Client(raise_request_exception=False)
    browser.cookies = holder_client.cookies
    if step == "complete":
        post_json(browser, BEGIN_REGISTRATION)
    response = post_json(browser, BEGIN_REGISTRATION if step == "begin" else COMPLETE_REGISTRATION, body)
    assert response.status_code in ({200, 400, 422} if step == "begin" else {400, 422})
    assert nothing_stored()


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("step", ["begin", "complete"])
def test_sign_in__a_malformed_body_is_refused_cleanly(db: None, step: str, body: bytes) -> None:
    browser = Client(raise_request_exception=False)
    if step == "complete":
        post_json(browser, BEGIN_AUTHENTICATION)
    response = post_json(browser, BEGIN_AUTHENTICATION if step == "begin" else COMPLETE_AUTHENTICATION, body)
    assert response.status_code in ({200, 400, 422} if step == "begin" else {400, 404, 422})
    assert SESSION_KEY not in browser.session


def test_ceremony__a_form_in_place_of_json_is_refused_cleanly(holder_client: Client) -> None:
    browser = Client(raise_request_exception=False)
    browser.cookies = holder_client.cookies
    for begin, complete in (
        (BEGIN_REGISTRATION, COMPLETE_REGISTRATION),
        (BEGIN_AUTHENTICATION, COMPLETE_AUTHENTICATION),
    ):
        post_json(browser, begin)
        assert browser.post(complete, {"id": "1", "rawId": "1", "response": "1"}).status_code in {400, 422}


@pytest.mark.parametrize("results", [None, [], "credProps", {"credProps": None}, {"credProps": []}, {"credProps": 7}])
def test_register__odd_extension_results_do_not_fail_a_valid_answer(holder_client: Client, results: Any) -> None:
    # Not signed by the authenticator: whatever the browser says here must not matter.
    browser = Client(raise_request_exception=False)
    browser.cookies = holder_client.cookies
    answer = SoftAuthenticator().create(post_json(browser, BEGIN_REGISTRATION).json())
    response = post_json(browser, COMPLETE_REGISTRATION, {**answer, "clientExtensionResults": results})
    assert response.status_code in {200, 422}


def with_public_key(answer: dict[str, Any], key: bytes) -> dict[str, Any]:
    """Return the answer with another public key in it."""
    attestation = cbor2.loads(unb64(answer["response"]["attestationObject"]))
    data = attestation["authData"]
    assert data[32] & ATTESTED
    length = int.from_bytes(data[53:55], "big")
    attestation["authData"] = data[: 55 + length] + key
    response = {**answer["response"], "attestationObject": b64(cbor2.dumps(attestation))}
    return {**answer, "response": response}


@pytest.mark.parametrize(
    "key",
    [
        cbor2.dumps({}),
        cbor2.dumps({1: 2}),
        cbor2.dumps({1: 99, 3: -7}),
        cbor2.dumps({1: 2, 3: -7, -1: 1}),
        cbor2.dumps({1: 2, 3: -65_535, -1: 1, -2: b"x", -3: b"y"}),
        cbor2.dumps([]),
        cbor2.dumps("key"),
        cbor2.dumps(None),
    ],
    ids=["empty", "no algorithm", "unknown type", "no coordinates", "unknown algorithm", "a list", "a text", "null"],
)
def test_register__a_public_key_that_is_none_is_refused_cleanly(holder_client: Client, key: bytes) -> None:
    browser = Client(raise_request_exception=False)
    browser.cookies = holder_client.cookies
    answer = SoftAuthenticator().create(post_json(browser, BEGIN_REGISTRATION).json())
    assert post_json(browser, COMPLETE_REGISTRATION, with_public_key(answer, key)).status_code == 422
    assert nothing_stored()


# The backend and the script's texts.


def test_backend__has_the_asynchronous_methods_that_the_librarys_lacks(robin: Any, passkey: SoftAuthenticator) -> None:
    backend = PasskeyBackend()
    credential = WebAuthnCredential.objects.select_related("user").get()
    assert async_to_sync(backend.aget_user)(robin.pk) == robin
    assert async_to_sync(backend.aauthenticate)(None, webauthn_credential=credential) == robin


def test_backend__is_not_tried_by_a_password_form(robin: Any, client: Client) -> None:
    with pytest.raises(TypeError):
        PasskeyBackend().authenticate(None, username="robin", password="x")  # type: ignore[call-arg]


def test_texts__are_served_to_everybody(client: Client, db: None) -> None:
    response = client.get("/account/methods/passkey/texts.js")
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/javascript")


class LosingBackend(PasskeyBackend):
    """Loses the passkey between its answer and the session: what another browser may do at that moment."""

    def authenticate(self, request: Any, webauthn_credential: Any = None) -> Any:  # type: ignore[override]
        user = super().authenticate(request, webauthn_credential=webauthn_credential)
        WebAuthnCredential.objects.all().delete()
        return user


def test_sign_in__with_a_passkey_that_is_lost_at_that_moment_is_refused(
    passkey: SoftAuthenticator, settings: Any
) -> None:
    settings.AUTHENTICATION_BACKENDS = ["tests.methods.test_passkey.LosingBackend"]
    browser = Client()
    response = sign_in_with_passkey(browser, passkey)
    assert response.status_code == 404
    assert response.headers["Unknown-Credential"].startswith("localhost ")
    assert SESSION_KEY not in browser.session


class DeactivatingBackend(PasskeyBackend):
    """The user is deactivated while their passkey signs them in."""

    def authenticate(self, request: Any, webauthn_credential: Any = None) -> Any:  # type: ignore[override]
        user = super().authenticate(request, webauthn_credential=webauthn_credential)
        type(user)._default_manager.filter(pk=user.pk).update(is_active=False)
        return user


def test_sign_in__of_a_user_who_is_deactivated_at_that_moment_is_refused(
    passkey: SoftAuthenticator, settings: Any
) -> None:
    """The browser is not told to forget the passkey, which is registered still."""
    settings.AUTHENTICATION_BACKENDS = ["tests.methods.test_passkey.DeactivatingBackend"]
    browser = Client()
    response = sign_in_with_passkey(browser, passkey)
    assert (response.status_code, response.json()["code"]) == (403, "user_disabled")
    assert "Unknown-Credential" not in response.headers
    assert SESSION_KEY not in browser.session


def test_register__a_key_that_does_not_remember_whose_it_is_is_refused(holder_client: Client) -> None:
    """Nobody is named before a passkey is asked for, so that nobody could sign in with it."""
    begun = post_json(holder_client, BEGIN_REGISTRATION).json()
    answer = SoftAuthenticator().create(begun)
    answer["clientExtensionResults"] = {"credProps": {"rk": False}}
    response = post_json(holder_client, COMPLETE_REGISTRATION, answer)
    assert (response.status_code, response.json()["code"]) == (422, "not_discoverable")
    assert not WebAuthnCredential.objects.exists()
    assert not AuditEvent.objects.filter(kind=REGISTERED).exists()


@pytest.mark.parametrize(
    "url", [BEGIN_REGISTRATION, COMPLETE_REGISTRATION, BEGIN_AUTHENTICATION, COMPLETE_AUTHENTICATION]
)
def test_ceremony__an_answer_of_any_size_is_refused(holder_client: Client, url: str) -> None:
    response = post_json(holder_client, url, {"id": "x" * 100_001})
    assert (response.status_code, response.json()["code"]) == (422, "malformed")


def test_register__twenty_of_a_kind_are_enough(holder_client: Client, robin: Any) -> None:
    for number in range(19):
        key = bytes([number]) * 16
        WebAuthnCredential.objects.create(user=robin, name=str(number), credential_id=key, sign_count=0)
    begun = post_json(holder_client, BEGIN_REGISTRATION).json()
    assert "passkey-register-button" in holder_client.get("/account/security-info/").content.decode()
    WebAuthnCredential.objects.create(user=robin, name="20", credential_id=b"20" * 8, sign_count=0)
    assert post_json(holder_client, BEGIN_REGISTRATION).status_code == 403
    assert post_json(holder_client, COMPLETE_REGISTRATION, SoftAuthenticator().create(begun)).status_code == 403
    assert WebAuthnCredential.objects.count() == 20
    page = holder_client.get("/account/security-info/").content.decode()
    assert "Remove one first." in page
    assert "otp_webauthn_register.js" not in page


# Once, in time, and by whom.


@pytest.mark.parametrize("engine", ["signed_cookies", "db"])
def test_sign_in__an_answer_is_good_once_wherever_the_session_is_kept(
    passkey: SoftAuthenticator, settings: Any, engine: str
) -> None:
    """A session in a cookie has its question whenever the cookie is sent, and a synchronised passkey counts nothing."""
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    browser, thief = Client(), Client()
    answer = passkey.get(post_json(browser, BEGIN_AUTHENTICATION).json())
    thief.cookies = SimpleCookie(browser.cookies.output(header="", attrs=[]))
    assert post_json(browser, COMPLETE_AUTHENTICATION, answer).status_code == 200
    WebAuthnCredential.objects.update(sign_count=0)
    refused = post_json(thief, COMPLETE_AUTHENTICATION, answer)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_state")
    assert SESSION_KEY not in thief.session


def test_sign_in__a_refused_answer_sets_no_session_cookie(passkey: SoftAuthenticator) -> None:
    """Posted twice, the second response may come after the first: its cookie would sign the browser out again."""
    browser, again = Client(), Client()
    answer = passkey.get(post_json(browser, BEGIN_AUTHENTICATION).json())
    again.cookies = SimpleCookie(browser.cookies.output(header="", attrs=[]))
    accepted = post_json(browser, COMPLETE_AUTHENTICATION, answer)
    assert "sessionid" in accepted.cookies
    assert "sessionid" not in post_json(again, COMPLETE_AUTHENTICATION, answer).cookies
    begun = passkey.get(post_json(again, BEGIN_AUTHENTICATION).json())
    wrong = post_json(again, COMPLETE_AUTHENTICATION, {**begun, "response": {}})
    assert wrong.status_code == 422
    assert "sessionid" not in wrong.cookies
    assert post_json(again, COMPLETE_AUTHENTICATION, begun).json()["code"] == "invalid_state"  # it was spent


def test_sign_in__an_answer_comes_within_the_hour(passkey: SoftAuthenticator) -> None:
    """Not sooner: the browser's offer on the sign-in page waits as long as the page is open."""
    for age, status in ((59 * MINUTE, 200), (60 * MINUTE, 400)):
        browser = Client()
        answer = passkey.get(post_json(browser, BEGIN_AUTHENTICATION).json())
        session = browser.session
        state = session["otp_webauthn_authentication_state"]
        session["otp_webauthn_authentication_state"] = {**state, "at": (timezone.now() - age).isoformat()}
        session.save()
        assert post_json(browser, COMPLETE_AUTHENTICATION, answer).status_code == status


@pytest.fixture
def sams(make_user: Any, issue: Any) -> SoftAuthenticator:
    """The passkey of somebody else, in the same device."""
    sam, browser, authenticator = make_user("sam"), Client(), SoftAuthenticator()
    browser.post("/account/sign-in/pass/", {"upn": sam.upn, "passcode": issue(sam).passcode.reveal()})
    assert register_passkey(browser, authenticator).status_code == 200
    return authenticator


def half_way_in(robin: Any) -> Client:
    robin.set_password("correct-horse-battery-staple")
    robin.save()
    TOTPDevice.objects.create(user=robin, name="Phone", confirmed=True)
    browser = Client()
    browser.post("/account/sign-in/", {"upn": robin.upn, "password": "correct-horse-battery-staple"})
    return browser


@pytest.mark.parametrize("page", ["/account/sign-in/verify/", "/account/sign-in/step-up/"])
def test_confirming__takes_nobody_elses_passkey(
    page: str, robin: Any, passkey: SoftAuthenticator, sams: SoftAuthenticator
) -> None:
    """Robin's password, Sam's key: whoever goes on would be Sam, and not know it."""
    if page.endswith("verify/"):
        browser = half_way_in(robin)
    else:
        browser = Client()
        assert sign_in_with_passkey(browser, passkey).status_code == 200
    begin = json.loads(CONFIGURATION.search(browser.get(page).content.decode())[1])["beginAuthenticationUrl"]  # type: ignore[index]
    before = browser.session.get(SESSION_KEY)

    options = post_json(browser, begin).json()
    theirs = WebAuthnCredential.objects.get(user=robin)
    assert [one["id"] for one in options["allowCredentials"]] == [b64(theirs.credential_id)]
    refused = post_json(browser, COMPLETE_AUTHENTICATION, sams.get(options))
    assert (refused.status_code, refused.json()["detail"]) == (
        403,
        "That passkey is somebody else's. Use one of yours.",
    )
    assert browser.session.get(SESSION_KEY) == before
    own = post_json(browser, COMPLETE_AUTHENTICATION, passkey.get(post_json(browser, begin).json()))
    assert own.status_code == 200
    assert sign_in_of(browser).user == robin


def test_sign_in__asks_for_anybodys_where_nobody_is_named(passkey: SoftAuthenticator) -> None:
    """A list would tell strangers who has a passkey."""
    for begin in (BEGIN_AUTHENTICATION, f"{BEGIN_AUTHENTICATION}?same"):
        assert post_json(Client(), begin).json().get("allowCredentials", []) == []


# What is said during a ceremony.


def test_texts__every_text_of_the_librarys_script_is_ours() -> None:
    """An update of the library brings new ones: they are English, and speak of servers."""
    folder = Path(str(files("django_otp_webauthn"))) / "static" / "django_otp_webauthn"
    scripts = [(folder / f"otp_webauthn_{name}.js").read_text(encoding="utf-8") for name in ("auth", "register")]
    theirs = {text for script in scripts for text in re.findall(r'gettext\("([^"]+)"\)', script)}
    assert len(theirs) > 20
    assert theirs == set(SAID)


@pytest.mark.parametrize("code", ["en", "de", "es", "fr", "ja", "zh-hans"])
def test_texts__are_in_the_language_of_their_reader(code: str, client: Client) -> None:
    script = client.get("/account/methods/passkey/texts.js", headers={"accept-language": code}).content.decode()
    with translation.override(code):
        for theirs, ours in SAID.items():
            assert json.dumps(str(ours)) in script or str(ours) in script, theirs


def test_refusal__is_told_in_our_words_and_the_readers_language(passkey: SoftAuthenticator) -> None:
    WebAuthnCredential.objects.all().delete()
    browser = Client(headers={"accept-language": "fr"})
    told = sign_in_with_passkey(browser, passkey).json()["detail"]
    with translation.override("fr"):
        assert told == str(TOLD["credential_not_found"])
    with translation.override("en"):
        assert told != str(TOLD["credential_not_found"])


def test_register__where_passkeys_are_not_offered_is_refused(holder_client: Client, settings: Any) -> None:
    begun = post_json(holder_client, BEGIN_REGISTRATION).json()
    settings.TAP_PROVIDER_REGISTRABLE_METHODS = ["totp"]
    assert post_json(holder_client, BEGIN_REGISTRATION).status_code == 403
    assert post_json(holder_client, COMPLETE_REGISTRATION, SoftAuthenticator().create(begun)).status_code == 403
    assert not WebAuthnCredential.objects.exists()


def test_sign_in__does_not_hang_on_a_setting_of_the_librarys(passkey: SoftAuthenticator, settings: Any) -> None:
    """It is legal, and turned each of our passkeys into an error, and new ones into such as sign nobody in."""
    settings.OTP_WEBAUTHN_ALLOW_PASSWORDLESS_LOGIN = False
    browser = Client()
    assert sign_in_with_passkey(browser, passkey).status_code == 200
    options = post_json(browser, BEGIN_REGISTRATION).json()
    assert options["authenticatorSelection"]["residentKey"] == "required"


def test_register__a_long_name_is_cut(settings: Any, make_user: Any, issue: Any) -> None:
    kay, browser = make_user("kay", first_name="K" * 150, last_name="Y" * 150), Client()
    browser.post("/account/sign-in/pass/", {"upn": kay.upn, "passcode": issue(kay).passcode.reveal()})
    told = post_json(browser, BEGIN_REGISTRATION).json()["user"]
    assert told["name"] == kay.upn
    assert told["displayName"] == "K" * 64


def test_register__a_name_in_other_letters_is_cut_at_64_bytes_in_whole_characters(
    settings: Any, make_user: Any, issue: Any
) -> None:
    """WebAuthn §6.4.1: authenticators keep 64 bytes; Cyrillic letters take two each, an emoji four."""
    upn = "константин.константинопольский@example.test"
    user, browser = make_user("kostya", upn=upn, first_name="Ж" * 31 + "🔑🔑"), Client()
    browser.post("/account/sign-in/pass/", {"upn": upn, "passcode": issue(user).passcode.reveal()})
    options = post_json(browser, BEGIN_REGISTRATION).json()["user"]
    assert options["name"] == "константин.константинопольский@exam"
    assert options["displayName"] == "Ж" * 31
    assert max(len(options[name].encode()) for name in ("name", "displayName")) <= 64
