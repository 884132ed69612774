"""The pages of a method: its name, removal, "I lost this"; the gate before them, and what Security info tells after."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from django_otp.oath import totp
from django_otp.plugins.otp_totp.models import TOTPDevice
from django_otp_webauthn.models import WebAuthnCredential

from tap_provider.models import AuditEvent, RegisteredMethod, SignIn
from tap_provider.policy import change_policy

from ..conftest import HOUR
from ..softauthn import SoftAuthenticator, register_passkey
from ..softauthn import sign_in_with_passkey as ceremony

SECURITY_INFO = "/account/security-info/"
STEP_UP = "/account/sign-in/step-up/?level=phishing_resistant&next="
PASSWORD = "correct-horse-battery-staple"


@pytest.fixture
def key(passkey: SoftAuthenticator, robin: Any) -> WebAuthnCredential:
    return WebAuthnCredential.objects.get(user=robin)


@pytest.fixture
def app(robin: Any) -> TOTPDevice:
    return TOTPDevice.objects.create(user=robin, name="Phone", confirmed=True)


def page_of(kind: str, device: Any, page: str = "") -> str:
    return f"{SECURITY_INFO}methods/{kind}/{device.pk}/{page}"


def text_of(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


# Whose, and when


PAGES = ["", "remove/", "lost/"]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("method", ["get", "post"])
def test_pages__of_a_method_that_is_not_ones_own_show_and_change_nothing(
    page: str, method: str, passkey_client: Client, admin: Any
) -> None:
    theirs = TOTPDevice.objects.create(user=admin, name="Theirs", confirmed=True)
    for path in (
        page_of("totp", theirs, page),
        f"{SECURITY_INFO}methods/totp/999999/{page}",
        f"{SECURITY_INFO}methods/unknown/1/{page}",
        f"{SECURITY_INFO}methods/passkey/%00/{page}",
        f"{SECURITY_INFO}methods/passkey/{'9' * 5000}/{page}",
        f"{SECURITY_INFO}methods/passkey/%F0%9F%94%91/{page}",
    ):
        response = getattr(passkey_client, method)(path, {"name": "Mine"})
        if method == "get":
            assert response.status_code == 404, path
        else:  # one's own that is gone already looks the same
            assert response.headers["Location"] == f"{SECURITY_INFO}?notice=method_gone", path
    theirs.refresh_from_db()
    assert theirs.name == "Theirs"


@pytest.mark.parametrize("page", PAGES)
def test_pages__send_anonymous_visitors_to_sign_in(page: str, app: TOTPDevice) -> None:
    for response in (Client().get(page_of("totp", app, page)), Client().post(page_of("totp", app, page))):
        assert response.headers["Location"].startswith("/account/sign-in/?next=")
    assert TOTPDevice.objects.filter(name="Phone").exists()


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("method", ["get", "post"])
def test_pages__ask_for_a_step_up_first_and_come_back(
    page: str, method: str, passkey_client: Client, robin: Any, app: TOTPDevice
) -> None:
    SignIn.objects.update(authenticated_at=timezone.now() - HOUR)
    address = page_of("totp", app, page)

    response = passkey_client.get(address) if method == "get" else passkey_client.post(address, {"name": "Mine"})

    assert response.headers["Location"] == f"{STEP_UP}{address.replace('/', '%2F')}"
    assert TOTPDevice.objects.get().name == "Phone"


def test_pages__where_only_a_pass_would_help_security_info_says_so(client: Client, robin: Any, policy_on: Any) -> None:
    robin.set_password(PASSWORD)
    robin.save()
    client.post("/account/sign-in/", {"upn": robin.upn, "password": PASSWORD})

    response = client.get(f"{SECURITY_INFO}methods/password/password/", follow=True)

    assert response.redirect_chain[-1][0] == SECURITY_INFO
    assert 'href="/account/sign-in/pass/?next=%2Faccount%2Fsecurity-info%2F"' in response.content.decode()


def test_gate__by_signing_in_again_where_there_is_nothing_to_step_up_with(
    client: Client, robin: Any, admin: Any, policy_on: Any
) -> None:
    """A lenient policy, and a password that was given an hour ago."""
    change_policy(actor=admin, now=timezone.now(), require_strong_authentication_to_register=False)
    robin.set_password(PASSWORD)
    robin.save()
    client.post("/account/sign-in/", {"upn": robin.upn, "password": PASSWORD})
    SignIn.objects.update(authenticated_at=timezone.now() - HOUR)

    response = client.get(SECURITY_INFO)
    assert 'href="/account/sign-in/?next=%2Faccount%2Fsecurity-info%2F"' in response.content.decode()
    response = client.post("/account/security-info/add/totp/", {"begin": "1"})
    assert response.headers["Location"] == "/account/sign-in/?next=%2Faccount%2Fsecurity-info%2F"

    client.post("/account/sign-in/?next=/account/security-info/", {"upn": robin.upn, "password": PASSWORD})
    assert client.get(SECURITY_INFO).context["refusal"] is None


def test_gate__a_code_of_the_app_does_not_freshen_an_old_session(robin: Any, app: TOTPDevice) -> None:
    """A phone that somebody finds unlocked has both: the session of last week, and the app."""
    browser = half_way_in(robin)
    browser.post("/account/sign-in/verify/", {"code": f"{totp(app.bin_key):06d}"})
    assert browser.get(SECURITY_INFO).context["refusal"] is None
    week = timezone.now() - 7 * 24 * HOUR
    SignIn.objects.update(authenticated_at=week, signed_in_at=week)
    TOTPDevice.objects.update(last_t=-1)

    response = browser.get(page_of("totp", app))
    assert response.headers["Location"].startswith("/account/sign-in/?next=")
    browser.post("/account/sign-in/step-up/", {"code": f"{totp(app.bin_key):06d}"})
    assert SignIn.objects.get().authenticated_at > week  # it is told to relying parties

    assert browser.get(SECURITY_INFO).context["refusal"].code == "not_fresh"


@pytest.mark.parametrize("page", ["remove/", "lost/"])
def test_pages__a_get_changes_nothing(page: str, passkey_client: Client, app: TOTPDevice) -> None:
    assert passkey_client.get(page_of("totp", app, page)).status_code == 200
    assert TOTPDevice.objects.filter(pk=app.pk).exists()


@pytest.mark.parametrize("page", PAGES)
def test_pages__need_the_csrf_token(page: str, passkey_client: Client, app: TOTPDevice) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = passkey_client.cookies
    assert strict.post(page_of("totp", app, page), {"name": "Mine"}).status_code == 403
    assert TOTPDevice.objects.filter(pk=app.pk, name="Phone").exists()


# Names


def test_method__tells_what_is_known_of_it(passkey_client: Client, robin: Any, key: WebAuthnCredential) -> None:
    text = text_of(passkey_client.get(page_of("passkey", key)))
    assert "Passkey" in text
    assert "Added" in text
    assert "Added with a Temporary Access Pass" in text
    assert "127.0.0.1" in text
    assert "It is your only way to sign in. Add another one first." in text


def test_method__tells_no_more_than_is_known(passkey_client: Client, key: WebAuthnCredential) -> None:
    RegisteredMethod.objects.all().delete()
    text = text_of(passkey_client.get(page_of("passkey", key)))
    assert "Added" in text  # the library knows that much
    assert "Temporary Access Pass" not in text


def test_method__is_renamed(passkey_client: Client, key: WebAuthnCredential) -> None:
    response = passkey_client.post(page_of("passkey", key), {"name": "Office <b>key</b>"}, follow=True)
    assert response.redirect_chain == [(f"{SECURITY_INFO}?notice=renamed", 302)]
    html = response.content.decode()
    assert "The name is saved." in html
    assert "Office &lt;b&gt;key&lt;/b&gt;" in html
    assert "<b>key</b>" not in html


@pytest.mark.parametrize("name", ["", " \t", "\x00", "x" * 61, "x" * 10_000, "\u202e"])
def test_method__of_no_name_is_the_form_again(name: str, passkey_client: Client, key: WebAuthnCredential) -> None:
    before = key.name
    response = passkey_client.post(page_of("passkey", key), {"name": name})
    assert response.status_code == 200
    assert 'aria-invalid="true"' in response.content.decode()
    key.refresh_from_db()
    assert key.name == before


def test_method__of_another_package_is_offered_no_other_name(passkey_client: Client, app: TOTPDevice) -> None:
    page = passkey_client.get(page_of("totp", app))
    assert (page.status_code, page.context["form"]) == (200, None)
    passkey_client.post(page_of("totp", app), {"name": "Mine"})
    app.refresh_from_db()
    assert app.name == "Phone"


# Removing


def test_remove__asks_and_removes(passkey_client: Client, app: TOTPDevice) -> None:
    assert "Remove “Phone”?" in text_of(passkey_client.get(page_of("totp", app, "remove/")))
    response = passkey_client.post(page_of("totp", app, "remove/"), follow=True)
    assert "Removed." in text_of(response)
    assert "Phone" not in text_of(response)


@pytest.mark.parametrize("page", ["remove/", "lost/"])
def test_pages__a_button_pressed_twice_says_that_it_is_done(page: str, passkey_client: Client, app: TOTPDevice) -> None:
    passkey_client.post(page_of("totp", app, page))
    response = passkey_client.post(page_of("totp", app, page), follow=True)
    assert "That method is not here any more." in text_of(response)


def test_remove__of_the_last_strong_method_warns_that_a_password_is_left(
    passkey_client: Client, robin: Any, key: WebAuthnCredential, app: TOTPDevice
) -> None:
    robin.set_password(PASSWORD)
    robin.save()
    browser = Client()
    browser.post("/account/sign-in/", {"upn": robin.upn, "password": PASSWORD})
    browser.post("/account/sign-in/verify/", {"code": f"{totp(app.bin_key):06d}"})
    warning = "Then only your password protects your account"
    assert warning not in text_of(browser.get(page_of("totp", app, "remove/")))
    key.delete()
    assert warning in text_of(browser.get(page_of("totp", app, "remove/")))
    assert "Removed." in text_of(browser.post(page_of("totp", app, "remove/"), follow=True))


def test_remove__of_the_only_way_to_sign_in_is_refused_with_the_reason(
    passkey_client: Client, key: WebAuthnCredential
) -> None:
    assert "<button" not in passkey_client.get(page_of("passkey", key, "remove/")).content.decode().split("<main")[1]
    response = passkey_client.post(page_of("passkey", key, "remove/"))
    assert response.status_code == 409
    assert "It is your only way to sign in." in text_of(response)
    assert WebAuthnCredential.objects.exists()


def test_remove__of_a_password_keeps_this_session_and_no_other(
    passkey_client: Client, passkey: SoftAuthenticator, robin: Any
) -> None:
    """Django ends every session of a user whose password has changed."""
    robin.set_password(PASSWORD)
    robin.save()
    here, there = Client(), Client()
    for browser in (here, there):
        assert ceremony(browser, passkey).status_code == 200
    asked = here.get(f"{SECURITY_INFO}methods/password/password/remove/")
    assert "are signed out everywhere else" in text_of(asked)
    response = here.post(f"{SECURITY_INFO}methods/password/password/remove/", follow=True)
    assert "Removed." in text_of(response)
    assert here.get("/members/").status_code == 200
    assert SignIn.objects.filter(ended_reason="password_changed").exists()  # at once, and their tokens with them
    assert SignIn.objects.filter(ended_at=None, pass_id=None).count() == 1
    assert there.get("/members/").status_code == 302


# Losing


def test_lost__signs_the_other_browser_out_at_its_next_request(
    passkey_client: Client, passkey: SoftAuthenticator, robin: Any, issue: Callable[..., Any], key: Any
) -> None:
    """The story: a laptop is gone, still signed in; a pass from the help desk, and one act."""
    laptop = Client()
    assert ceremony(laptop, passkey).status_code == 200
    phone = Client()
    phone.post("/account/sign-in/pass/", {"upn": robin.upn, "passcode": issue(robin).passcode.reveal()})

    asked = phone.get(page_of("passkey", key, "lost/"))
    assert "2 sign-ins that were made with it end" in text_of(asked)
    assert "you will be signed out" not in text_of(asked)
    assert laptop.get("/members/").status_code == 200

    response = phone.post(page_of("passkey", key, "lost/"), follow=True)

    assert "every sign-in that was made with it has ended" in text_of(response)
    assert laptop.get("/members/").status_code == 302
    assert ceremony(Client(), passkey).status_code != 200
    assert phone.get(SECURITY_INFO).status_code == 200


def test_lost__of_what_one_is_signed_in_with_signs_out_here_too(passkey_client: Client, key: Any) -> None:
    assert "you will be signed out" in text_of(passkey_client.get(page_of("passkey", key, "lost/")))
    response = passkey_client.post(page_of("passkey", key, "lost/"))
    assert response.headers["Location"] == "/account/sign-in/?notice=lost"
    assert "Sign in with something else." in text_of(passkey_client.get(response.headers["Location"]))
    assert not passkey_client.session.keys()
    assert AuditEvent.objects.get(kind="sign_in_ended", detail__reason="method_lost").user_key


def test_lost__shows_what_came_by_it_and_takes_only_what_is_ticked(
    passkey_client: Client, passkey: SoftAuthenticator, robin: Any, key: Any, issue: Callable[..., Any]
) -> None:
    """Whoever holds a found phone adds a passkey of theirs, to come back."""
    second, third = SoftAuthenticator(), SoftAuthenticator()
    assert register_passkey(passkey_client, second).status_code == 200
    assert register_passkey(passkey_client, third).status_code == 200
    mine, theirs = WebAuthnCredential.objects.exclude(pk=key.pk).order_by("pk")
    app = TOTPDevice.objects.create(user=robin, name="Phone", confirmed=True)
    phone = Client()
    phone.post("/account/sign-in/pass/", {"upn": robin.upn, "passcode": issue(robin).passcode.reveal()})

    asked = phone.get(page_of("passkey", key, "lost/"))
    assert [other["own"].method.id for other in asked.context["came_by_it"]] == [str(mine.pk), str(theirs.pk)]
    ticked = [f"passkey:{theirs.pk}", f"totp:{app.pk}", "passkey:999", "nonsense", ""]
    phone.post(page_of("passkey", key, "lost/"), {"also": ticked})

    assert set(WebAuthnCredential.objects.values_list("pk", flat=True)) == {mine.pk}
    assert TOTPDevice.objects.filter(pk=app.pk).exists()  # it did not come by it: ticking it does nothing


def test_lost__of_what_one_did_not_add_offers_to_sign_out_whoever_did(
    passkey: SoftAuthenticator, robin: Any, key: Any, issue: Callable[..., Any]
) -> None:
    """Somebody found a laptop open, and added two passkeys of theirs: they hold a session that nothing else ends."""
    laptop = Client(HTTP_USER_AGENT="Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
    assert ceremony(laptop, passkey).status_code == 200
    for _ in range(2):
        assert register_passkey(laptop, SoftAuthenticator()).status_code == 200
    theirs = WebAuthnCredential.objects.exclude(pk=key.pk).order_by("pk")
    phone = Client()
    phone.post("/account/sign-in/pass/", {"upn": robin.upn, "passcode": issue(robin).passcode.reveal()})

    asked = text_of(phone.get(page_of("passkey", theirs[0], "lost/")))
    assert "It was added on Firefox on Linux, from the address 127.0.0.1." in asked
    assert f"What else they added is removed as well: {theirs[1].name}." in asked
    phone.post(page_of("passkey", theirs[0], "lost/"), {"disown": "1"})

    assert laptop.get("/members/").status_code == 302
    assert list(WebAuthnCredential.objects.all()) == [key]
    assert phone.get(SECURITY_INFO).status_code == 200


def test_lost__of_what_one_has_just_added_here_does_not_ask_who_did(holder_client: Client, robin: Any) -> None:
    assert register_passkey(holder_client, SoftAuthenticator()).status_code == 200
    added = WebAuthnCredential.objects.get(user=robin)
    assert "Did you add it yourself?" not in text_of(holder_client.get(page_of("passkey", added, "lost/")))
    holder_client.post(page_of("passkey", added, "lost/"), {"disown": "1"})
    assert holder_client.get(SECURITY_INFO).status_code == 200  # nobody signs themselves out so


def test_lost__of_a_password_counts_every_other_session(
    passkey_client: Client, passkey: SoftAuthenticator, robin: Any
) -> None:
    robin.set_password(PASSWORD)
    robin.save()
    here, there = Client(), Client()
    for browser in (here, there):
        assert ceremony(browser, passkey).status_code == 200
    SignIn.objects.exclude(ended_at=None).delete()
    count = SignIn.objects.filter(ended_at=None, pass_id=None).count() - 1
    asked = here.get(f"{SECURITY_INFO}methods/password/password/lost/")
    assert asked.context["elsewhere"] == count
    here.post(f"{SECURITY_INFO}methods/password/password/lost/")
    assert AuditEvent.objects.get(kind="method_lost").detail["ended"] == count
    assert SignIn.objects.filter(ended_at=None, pass_id=None).count() == 1


# Do you still have these?


def test_security_info__asks_about_what_was_there_before_once_something_new_is_registered(
    passkey: SoftAuthenticator, robin: Any, key: Any, issue: Callable[..., Any]
) -> None:
    browser = Client()
    browser.post("/account/sign-in/pass/", {"upn": robin.upn, "passcode": issue(robin).passcode.reveal()})
    assert browser.get(SECURITY_INFO).context["to_ask_about"] == []
    assert register_passkey(browser, SoftAuthenticator()).status_code == 200

    response = browser.get(SECURITY_INFO)

    assert [own.method.id for own in response.context["to_ask_about"]] == [str(key.pk)]
    assert "Do you still have these?" in text_of(response)
    assert f'href="{page_of("passkey", key, "lost/")}"' in response.content.decode()
    browser.post(page_of("passkey", key, "lost/"))
    assert "Do you still have these?" not in text_of(browser.get(SECURITY_INFO))


def test_security_info__does_not_ask_about_what_one_knows(
    passkey: SoftAuthenticator, robin: Any, key: Any, issue: Callable[..., Any]
) -> None:
    robin.set_password(PASSWORD)
    robin.save()
    browser = Client()
    browser.post("/account/sign-in/pass/", {"upn": robin.upn, "passcode": issue(robin).passcode.reveal()})
    register_passkey(browser, SoftAuthenticator())
    assert [own.key for own in browser.get(SECURITY_INFO).context["to_ask_about"]] == [("passkey", str(key.pk))]
    page = text_of(browser.get(f"{SECURITY_INFO}methods/password/password/"))
    assert "Somebody else knows it" in page
    assert "I lost this" not in page


def test_security_info__does_not_ask_in_a_full_session(passkey_client: Client, app: TOTPDevice) -> None:
    assert register_passkey(passkey_client, SoftAuthenticator()).status_code == 200
    assert passkey_client.get(SECURITY_INFO).context["to_ask_about"] == []


def test_security_info__names_several_of_a_kind_apart(passkey_client: Client) -> None:
    for _ in range(2):
        assert register_passkey(passkey_client, SoftAuthenticator()).status_code == 200
    names = list(WebAuthnCredential.objects.order_by("pk").values_list("name", flat=True))
    assert names == ["Passkey", "Passkey 2", "Passkey 3"]


def test_security_info__shows_methods_of_kinds_that_are_not_offered_any_more(
    passkey_client: Client, app: TOTPDevice, settings: Any
) -> None:
    """Their user may still have to remove them."""
    settings.TAP_PROVIDER_REGISTRABLE_METHODS = ("passkey",)
    html = passkey_client.get(SECURITY_INFO).content.decode()
    assert page_of("totp", app) in html
    assert "add/totp/" not in html


# The second step, where one may choose


def half_way_in(robin: Any) -> Client:
    robin.set_password(PASSWORD)
    robin.save()
    browser = Client()
    response = browser.post("/account/sign-in/?next=/members/", {"upn": robin.upn, "password": PASSWORD})
    assert response.headers["Location"] == "/account/sign-in/verify/?next=%2Fmembers%2F"
    return browser


def test_second_step__offers_a_passkey_to_who_has_one(robin: Any, key: Any, app: TOTPDevice) -> None:
    response = half_way_in(robin).get("/account/sign-in/verify/?next=/members/")
    assert "passkey-verification-button" in response.content.decode()
    key.delete()
    response = half_way_in(robin).get("/account/sign-in/verify/?next=/members/")
    assert "passkey-verification-button" not in response.content.decode()


def test_second_step__a_passkey_there_signs_in_fully(robin: Any, key: Any, app: TOTPDevice, passkey: Any) -> None:
    browser = half_way_in(robin)
    assert ceremony(browser, passkey).status_code == 200
    assert browser.get("/members/").status_code == 200
    assert SignIn.objects.get(ended_at=None, pass_id=None).level == "phishing_resistant"


@pytest.mark.parametrize("kind", ["", "unknown", "passkey", "password", "\x00", "totp"])
def test_second_step__asks_for_the_first_where_nothing_of_the_users_is_named(
    kind: str, robin: Any, app: TOTPDevice
) -> None:
    response = half_way_in(robin).get("/account/sign-in/verify/", {"kind": kind})
    assert response.context["kind"].slug == "totp"
    assert response.context["other_kinds"] == []


def test_sign_in__by_password_and_app_notes_both_methods(robin: Any, app: TOTPDevice) -> None:
    browser = half_way_in(robin)
    browser.post("/account/sign-in/verify/", {"code": f"{totp(app.bin_key):06d}"})
    used = SignIn.objects.get().used_methods.values_list("kind", "method_id")
    assert set(used) == {("password", "password"), ("totp", str(app.pk))}


def test_finish__an_app_alone_opens_nothing_without_a_password(
    robin: Any, admin: Any, issue: Callable[..., Any], app: TOTPDevice
) -> None:
    """Whoever finished so would be locked out, their pass spent."""
    change_policy(actor=admin, now=timezone.now(), require_registration=True)
    browser = Client()
    browser.post("/account/sign-in/pass/", {"upn": robin.upn, "passcode": issue(robin).passcode.reveal()})
    response = browser.post("/account/security-info/finish/")
    assert response.status_code == 409
    assert "What you have is asked for after a password" in text_of(response)
    robin.set_password(PASSWORD)
    robin.save()
    assert browser.post("/account/security-info/finish/").status_code == 302


def test_finish__loaded_again_after_a_refusal_is_security_info(holder_client: Client) -> None:
    response = holder_client.get("/account/security-info/finish/")
    assert response.headers["Location"] == SECURITY_INFO


def test_second_step__a_right_code_of_one_app_is_no_wrong_code_of_the_others(robin: Any, app: TOTPDevice) -> None:
    """django-otp locks a device for longer with each wrong code: the spare phone, on the day it is needed."""
    spare = TOTPDevice.objects.create(user=robin, name="Spare", confirmed=True)
    for device, tries in ((spare, 3), (app, 1)):
        for _ in range(tries):
            TOTPDevice.objects.update(last_t=-1)
            browser = half_way_in(robin)
            answer = browser.post("/account/sign-in/verify/", {"code": f"{totp(device.bin_key):06d}"})
            assert answer.status_code == 302
    assert set(TOTPDevice.objects.values_list("throttling_failure_count", flat=True)) == {0}
    half_way_in(robin).post("/account/sign-in/verify/", {"code": "000000"})
    assert set(TOTPDevice.objects.values_list("throttling_failure_count", flat=True)) == {1}


def test_finish__refuses_until_what_one_has_is_enough_and_leaving_costs_nothing(
    robin: Any, admin: Any, issue: Callable[..., Any]
) -> None:
    change_policy(actor=admin, now=timezone.now(), require_registration=True)
    passcode = issue(robin, is_usable_once=False).passcode.reveal()
    browser = Client()
    browser.post("/account/sign-in/pass/", {"upn": robin.upn, "passcode": passcode})
    response = browser.post("/account/security-info/finish/")
    assert response.status_code == 409
    assert "Add at least one of these: Passkey or Authenticator app." in text_of(response)
    browser.post("/account/sign-out/")
    again = browser.post("/account/sign-in/pass/", {"upn": robin.upn, "passcode": passcode})
    assert again.status_code == 302
    register_passkey(browser, SoftAuthenticator())
    response = browser.post("/account/security-info/finish/")
    assert response.headers["Location"] == "/account/sign-in/?notice=finished"


@pytest.mark.parametrize("page", ["/account/sign-in/verify/", "/account/sign-in/step-up/"])
def test_confirming__who_lost_what_is_asked_for_is_told_of_the_pass(page: str, robin: Any, app: TOTPDevice) -> None:
    """Recovery must not demand the factor that was lost, nor hide the way around it."""
    browser = half_way_in(robin)
    if page.endswith("step-up/"):
        browser.post("/account/sign-in/verify/", {"code": f"{totp(app.bin_key):06d}"})
    html = browser.get(f"{page}?next=/members/").content.decode()
    assert "/account/sign-in/pass/?next=%2Fmembers%2F" in html


def test_security_info__warns_who_could_not_sign_in_with_what_they_have(
    robin: Any, issue: Callable[..., Any], app: TOTPDevice
) -> None:
    """Whatever the policy requires: an app is asked for after a password, and a pass is spent on the way."""
    browser = Client()
    browser.post("/account/sign-in/pass/", {"upn": robin.upn, "passcode": issue(robin).passcode.reveal()})
    said = "Add one of these too: Passkey."
    assert said in text_of(browser.get(SECURITY_INFO))
    robin.set_password(PASSWORD)
    robin.save()
    assert said not in text_of(browser.get(SECURITY_INFO))


def test_finish__names_what_this_site_offers(
    robin: Any, admin: Any, issue: Callable[..., Any], app: TOTPDevice, settings: Any
) -> None:
    settings.TAP_PROVIDER_REGISTRABLE_METHODS = ("totp", "password")
    change_policy(actor=admin, now=timezone.now(), require_registration=True)
    browser = Client()
    browser.post("/account/sign-in/pass/", {"upn": robin.upn, "passcode": issue(robin).passcode.reveal()})
    assert "Add one of these too: Password." in text_of(browser.post("/account/security-info/finish/"))
    app.delete()
    assert "Add at least one of these: Authenticator app." in text_of(browser.post("/account/security-info/finish/"))


def test_lost__of_a_password_keeps_this_session(passkey: SoftAuthenticator, robin: Any) -> None:
    robin.set_password(PASSWORD)
    robin.save()
    here = Client()
    assert ceremony(here, passkey).status_code == 200
    here.post(f"{SECURITY_INFO}methods/password/password/lost/")
    assert here.get("/members/").status_code == 200


def test_second_step__signing_in_with_a_passkey_meanwhile_forgets_it(robin: Any, app: TOTPDevice, passkey: Any) -> None:
    browser = half_way_in(robin)
    assert ceremony(browser, passkey).status_code == 200
    assert browser.get("/account/sign-in/verify/")["Location"].startswith("/account/sign-in/")
