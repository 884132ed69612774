"""The authenticator app: it counts once a code of it was entered; its secret is shown once and never travels back."""

from __future__ import annotations

import re
import time
from base64 import b32encode
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import pytest
from django.apps import apps
from django.contrib.sessions.models import Session
from django.http import QueryDict
from django.test import Client
from django.utils import timezone
from django.utils.html import escape
from django_otp.oath import TOTP
from django_otp.plugins.otp_totp.models import TOTPDevice

from tap_provider.backends import mark_proved
from tap_provider.hooks import Hooks
from tap_provider.issue import revoke_pass
from tap_provider.methods.totp import PENDING_KEY, PENDING_NAME, TotpForm, TotpKind
from tap_provider.models import AuditEvent, SignIn, TemporaryAccessPass
from tap_provider.policy import change_policy
from tap_provider.secret import Secret
from tap_provider.sign_in import SESSION_KEY

from ..conftest import MINUTE

ADD = "/account/security-info/add/totp/"
SIGN_IN = "/account/sign-in/"
VERIFY = "/account/sign-in/verify/"
PASSWORD = "robins-password"

pytestmark = pytest.mark.usefixtures("hasher")  # a cheap one


def code_of(device: TOTPDevice, *, steps: int = 0) -> str:
    """Return the code that the app shows, some steps of half a minute away from now."""
    device.refresh_from_db()
    totp = TOTP(device.bin_key, device.step, device.t0, device.digits, device.drift)
    totp.time = time.time() + steps * device.step
    return f"{totp.token():06d}"


def wrong_code_of(device: TOTPDevice) -> str:
    near = {code_of(device, steps=steps) for steps in range(-3, 4)}
    return next(code for code in ("000000", "111111", "222222", "333333") if code not in near)


def forgive(device: TOTPDevice) -> None:
    """Let django-otp's own delay after a wrong code be over."""
    device.refresh_from_db()
    device.throttle_reset()


@pytest.fixture
def pending(holder_client: Client, robin: Any) -> TOTPDevice:
    """Begin to register an app in Robin's registration-only session."""
    response = holder_client.post(ADD, {"begin": "1"})
    assert response["Location"] == ADD
    return TOTPDevice.objects.get(user=robin)


@pytest.fixture
def app(robin: Any) -> TOTPDevice:
    """Robin has a password and a registered app."""
    robin.set_password(PASSWORD)
    robin.save()
    return TOTPDevice.objects.create(user=robin, name="app", confirmed=True)


@pytest.fixture
def awaiting_client(client: Client, robin: Any, app: TOTPDevice) -> Client:
    """A browser in which Robin's password was right."""
    response = client.post(SIGN_IN, {"upn": robin.upn, "password": PASSWORD})
    assert response["Location"] == VERIFY
    return client


# Registering.


def test_register__a_new_device_does_not_count_before_its_code_was_entered(pending: TOTPDevice, robin: Any) -> None:
    assert not pending.confirmed
    assert TotpKind().methods(robin) == []


def test_register__the_right_code_makes_it_count(holder_client: Client, pending: TOTPDevice, robin: Any) -> None:
    response = holder_client.post(ADD, {"code": code_of(pending)})
    assert response["Location"] == "/account/security-info/?registered=totp"
    assert [method.id for method in TotpKind().methods(robin)] == [str(pending.pk)]
    event = AuditEvent.objects.get(kind=AuditEvent.Kind.METHOD_REGISTERED)
    assert event.detail == {"method_kind": "totp", "method_id": str(pending.pk)}
    assert event.pass_id == TemporaryAccessPass.objects.get(user=robin).pk
    assert "Authenticator app" in holder_client.get(response["Location"]).content.decode()


@pytest.mark.parametrize("spaced", ["{0} {1}", " {0}{1} ", "{0}\u00a0{1}", "{0}\t{1}\n"])
def test_register__a_code_may_be_typed_with_spaces(holder_client: Client, pending: TOTPDevice, spaced: str) -> None:
    code = code_of(pending)
    holder_client.post(ADD, {"code": spaced.format(code[:3], code[3:])})
    pending.refresh_from_db()
    assert pending.confirmed


def test_register__its_name_is_given_when_it_counts(holder_client: Client, pending: TOTPDevice, robin: Any) -> None:
    assert pending.name == PENDING_NAME
    TOTPDevice.objects.create(user=robin, name="Authenticator app", confirmed=True)
    holder_client.post(ADD, {"code": code_of(pending)})
    pending.refresh_from_db()
    assert pending.name == "Authenticator app 2"


def test_sweep__deletes_registrations_that_were_never_completed(
    holder_client: Client, pending: TOTPDevice, robin: Any
) -> None:
    """Neither what another package has begun to register, nor what counts, nor what is under way."""
    others = TOTPDevice.objects.create(user=robin, name="theirs", confirmed=False)
    registered = TOTPDevice.objects.create(user=robin, name=PENDING_NAME, confirmed=True)
    created_at = pending.created_at

    def sweep(age: timedelta) -> int:
        return int(apps.get_app_config("tap_provider").sweepers["unfinished registrations"](now=created_at + age))

    assert sweep(timedelta(days=1)) == 0
    assert sweep(timedelta(days=1, seconds=1)) == 1
    assert set(TOTPDevice.objects.all()) == {others, registered}
    assert holder_client.get(ADD).status_code == 302  # it begins anew


def test_register__a_wrong_code_does_not_make_it_count(holder_client: Client, pending: TOTPDevice) -> None:
    response = holder_client.post(ADD, {"code": wrong_code_of(pending)})
    assert response.status_code == 200
    assert "not right" in response.content.decode()
    pending.refresh_from_db()
    assert not pending.confirmed
    assert pending.throttling_failure_count == 1  # counted although it was refused
    forgive(pending)
    holder_client.post(ADD, {"code": code_of(pending)})
    pending.refresh_from_db()
    assert pending.confirmed


@pytest.mark.parametrize(
    "code", ["", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "12345\x00", "-12345", "1" * 10_000, "0x1234"]
)
def test_register__what_is_no_code_is_refused(holder_client: Client, pending: TOTPDevice, code: str) -> None:
    response = holder_client.post(ADD, {"code": code})
    assert response.status_code == 200
    assert response.context["form"].errors
    pending.refresh_from_db()
    assert (pending.confirmed, pending.throttling_failure_count) == (False, 0)


def test_register__an_empty_post_is_refused(holder_client: Client, pending: TOTPDevice) -> None:
    # The CSRF token may well travel in a header, and leave the body empty.
    assert holder_client.post(ADD, {}).status_code == 200
    pending.refresh_from_db()
    assert not pending.confirmed


def test_register__another_users_pending_device_is_not_confirmable(
    holder_client: Client, pending: TOTPDevice, make_user: Any
) -> None:
    quinns = TOTPDevice.objects.create(user=make_user("quinn"), confirmed=False)
    session = holder_client.session
    session[PENDING_KEY] = quinns.pk
    session.save()
    assert holder_client.get(ADD)["Location"] == "/account/security-info/"
    refused = holder_client.post(ADD, {"code": code_of(quinns)})
    assert refused["Location"] == "/account/security-info/?notice=registration_over"
    quinns.refresh_from_db()
    assert not quinns.confirmed


def shown_device(page: Any) -> str:
    found = re.search(r'<input type="hidden" name="device" value="(\d+)">', page.content.decode())
    assert found is not None
    return found[1]


def test_register__a_code_of_a_key_that_another_window_has_replaced_is_explained(
    holder_client: Client, pending: TOTPDevice, robin: Any
) -> None:
    first = {"code": code_of(pending), "device": shown_device(holder_client.get(ADD))}
    holder_client.post(ADD, {"begin": "1"})  # in the second window

    refused = holder_client.post(ADD, first)

    assert "You have begun again in another window" in refused.content.decode()
    second = TOTPDevice.objects.get(user=robin)
    assert shown_device(refused) == str(second.pk) != first["device"]
    added = holder_client.post(ADD, {"code": code_of(second), "device": shown_device(refused)})
    assert added["Location"] == "/account/security-info/?registered=totp"
    late = holder_client.post(ADD, first)
    assert "That registration is over" in holder_client.get(late["Location"]).content.decode()


def test_register__another_browser_has_a_key_of_its_own(
    holder_client: Client, pending: TOTPDevice, robin: Any, issue: Any, sign_in_with_pass: Any
) -> None:
    """And what an administrator has prepared is left alone."""
    prepared = TOTPDevice.objects.create(user=robin, name="prepared", confirmed=False)
    other = Client()
    sign_in_with_pass(robin.upn, issue(robin, is_usable_once=False).passcode.reveal(), other)
    other.post(ADD, {"begin": "1"})
    device = TOTPDevice.objects.exclude(pk__in=[pending.pk, prepared.pk]).get(user=robin)
    added = other.post(ADD, {"code": code_of(device), "device": str(device.pk)})
    assert added["Location"] == "/account/security-info/?registered=totp"
    assert set(TOTPDevice.objects.filter(user=robin, confirmed=False)) == {pending, prepared}


def test_register__only_the_session_that_began_may_complete(
    pending: TOTPDevice, robin: Any, issue: Any, sign_in_with_pass: Any
) -> None:
    other = Client()
    sign_in_with_pass(robin.upn, issue(robin).passcode.reveal(), other)
    assert other.post(ADD, {"code": code_of(pending)})["Location"] == "/account/security-info/?notice=registration_over"
    pending.refresh_from_db()
    assert not pending.confirmed


def test_register__a_confirmed_device_cannot_be_shown_or_confirmed_again(
    holder_client: Client, pending: TOTPDevice
) -> None:
    holder_client.post(ADD, {"code": code_of(pending)})
    session = holder_client.session
    session[PENDING_KEY] = pending.pk
    session.save()
    assert holder_client.get(ADD).status_code == 302


def test_register__beginning_anew_replaces_the_pending_device(
    holder_client: Client, pending: TOTPDevice, robin: Any
) -> None:
    holder_client.post(ADD, {"begin": "1"})
    new = TOTPDevice.objects.get(user=robin)
    assert (new.pk == pending.pk, new.key == pending.key) == (False, False)


def test_register__beginning_leaves_a_confirmed_device_alone(holder_client: Client, app: TOTPDevice) -> None:
    holder_client.post(ADD, {"begin": "1"})
    app.refresh_from_db()
    assert app.confirmed


@pytest.mark.parametrize("why", ["deadline", "revoked"])
def test_register__not_after_the_session_has_ended(
    holder_client: Client, pending: TOTPDevice, robin: Any, admin: Any, why: str
) -> None:
    code = code_of(pending)
    if why == "revoked":
        revoke_pass(actor=admin, temporary_access_pass=TemporaryAccessPass.objects.get(user=robin), now=timezone.now())
    else:
        SignIn.objects.filter(user=robin).update(deadline=timezone.now() - MINUTE)
    assert holder_client.post(ADD, {"code": code})["Location"].startswith("/account/sign-in/")
    pending.refresh_from_db()
    assert not pending.confirmed
    assert not AuditEvent.objects.filter(kind=AuditEvent.Kind.METHOD_REGISTERED).exists()


def test_register__a_full_session_that_has_grown_stale_meanwhile_is_refused(passkey_client: Client, robin: Any) -> None:
    passkey_client.post(ADD, {"begin": "1"})
    device = TOTPDevice.objects.get(user=robin)
    SignIn.objects.filter(user=robin).update(authenticated_at=timezone.now() - 11 * MINUTE)
    confirm = "/account/sign-in/step-up/?level=phishing_resistant&next=%2Faccount%2Fsecurity-info%2F"
    assert passkey_client.post(ADD, {"code": code_of(device)})["Location"] == confirm
    device.refresh_from_db()
    assert not device.confirmed


def test_register__a_lenient_policy_lets_a_password_alone_register_the_first_app(
    client: Client, robin: Any, admin: Any, policy_on: Any
) -> None:
    change_policy(actor=admin, now=timezone.now(), require_strong_authentication_to_register=False)
    client.force_login(mark_proved(robin, "password"))
    client.post(ADD, {"begin": "1"})
    device = TOTPDevice.objects.get(user=robin)
    assert client.post(ADD, {"code": code_of(device)})["Location"] == "/account/security-info/?registered=totp"
    device.refresh_from_db()
    assert device.confirmed
    client.post(ADD, {"begin": "1"})  # the second one wants a strong session
    assert TOTPDevice.objects.filter(user=robin).count() == 1


def test_register__does_not_upgrade_the_session(holder_client: Client, pending: TOTPDevice, robin: Any) -> None:
    holder_client.post(ADD, {"code": code_of(pending)})
    assert "otp_device_id" not in holder_client.session
    assert holder_client.get("/members/").status_code == 302
    sign_in = SignIn.objects.get(pk=holder_client.session[SESSION_KEY])
    assert (sign_in.level, sign_in.methods) == ("multi_factor", ["temporary_access_pass"])


# The secret.


def secrets_of(device: TOTPDevice) -> list[str]:
    text = b32encode(device.bin_key).decode()
    return [device.key, text, text.rstrip("="), " ".join(text[i : i + 4] for i in range(0, len(text), 4))]


def test_secret__is_shown_as_qr_code_and_text_while_registering(holder_client: Client, pending: TOTPDevice) -> None:
    response = holder_client.get(ADD)
    html = response.content.decode()
    shown = re.search(r'id="totp-key"[^>]*>([A-Z2-7 ]+)<', html)
    assert shown is not None
    assert shown[1].replace(" ", "") == b32encode(pending.bin_key).decode().rstrip("=")
    assert "<svg" in html
    assert "no-store" in response["Cache-Control"]


def test_secret__never_travels_back_through_the_form(holder_client: Client, pending: TOTPDevice) -> None:
    assert list(TotpForm().fields) == ["code"]
    html = holder_client.get(ADD).content.decode()
    assert not any(
        secret in tag
        for tag in re.findall(r"<(?:input|form|button|textarea)[^>]*>", html)
        for secret in secrets_of(pending)
    )
    forged = "A" * 32
    holder_client.post(ADD, {"code": wrong_code_of(pending), "key": forged, "secret": forged, "totp-key": forged})
    before = pending.key
    pending.refresh_from_db()
    assert pending.key == before


def test_secret__is_not_in_the_session(holder_client: Client, pending: TOTPDevice) -> None:
    holder_client.get(ADD)
    held = [str(session.get_decoded()) for session in Session.objects.all()]
    assert held
    assert not any(secret in data for data in held for secret in secrets_of(pending))
    assert holder_client.session[PENDING_KEY] == pending.pk


def test_secret__is_not_shown_once_the_device_counts(holder_client: Client, pending: TOTPDevice) -> None:
    holder_client.post(ADD, {"code": code_of(pending)})
    assert holder_client.get(ADD).status_code == 302
    html = holder_client.get("/account/security-info/").content.decode()
    assert not any(secret in html for secret in secrets_of(pending))
    assert PENDING_KEY not in holder_client.session


def test_secret__is_in_no_log_and_no_audit_event(
    holder_client: Client, robin: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    holder_client.post(ADD, {"begin": "1"})
    device = TOTPDevice.objects.get(user=robin)
    holder_client.get(ADD)
    holder_client.post(ADD, {"code": wrong_code_of(device)})
    forgive(device)
    holder_client.post(ADD, {"code": code_of(device)})
    logged = [record.getMessage() for record in caplog.records if record.name != "django.db.backends"]
    told = "\n".join([*logged, *(str(event.detail) for event in AuditEvent.objects.all())])
    assert not any(secret in told for secret in secrets_of(device))


# Signing in.


def test_sign_in__with_password_and_the_right_code(awaiting_client: Client, app: TOTPDevice, robin: Any) -> None:
    assert awaiting_client.get("/members/").status_code == 302  # the password alone opens nothing
    response = awaiting_client.post(VERIFY, {"code": code_of(app)})
    assert response["Location"] == "/"
    assert awaiting_client.get("/members/").status_code == 200
    sign_in = SignIn.objects.get(pk=awaiting_client.session[SESSION_KEY])
    assert (sign_in.methods, sign_in.amr, sign_in.level) == (
        ["password", "totp"],
        ["mfa", "otp", "pwd"],
        "multi_factor",
    )
    assert awaiting_client.session["otp_device_id"] == app.persistent_id


def test_sign_in__a_wrong_code_is_refused_and_recorded(awaiting_client: Client, app: TOTPDevice, robin: Any) -> None:
    response = awaiting_client.post(VERIFY, {"code": wrong_code_of(app)})
    assert response.status_code == 200
    assert "not right" in response.content.decode()
    assert awaiting_client.get("/members/").status_code == 302
    event = AuditEvent.objects.get(kind=AuditEvent.Kind.SIGN_IN_REFUSED)
    assert (event.user_name, event.detail) == (robin.upn, {"reason": "totp"})
    forgive(app)
    assert awaiting_client.post(VERIFY, {"code": code_of(app)})["Location"] == "/"


def test_sign_in__a_code_works_once(client: Client, robin: Any, app: TOTPDevice) -> None:
    code = code_of(app)
    for browser, accepted in ((client, True), (Client(), False)):
        browser.post(SIGN_IN, {"upn": robin.upn, "password": PASSWORD})
        browser.post(VERIFY, {"code": code})
        assert (browser.get("/members/").status_code == 200) is accepted


def test_sign_in__the_code_that_registered_the_app_does_not_sign_in(
    holder_client: Client, pending: TOTPDevice, robin: Any
) -> None:
    code = code_of(pending)
    holder_client.post(ADD, {"code": code})
    robin.set_password(PASSWORD)
    robin.save()
    browser = Client()
    browser.post(SIGN_IN, {"upn": robin.upn, "password": PASSWORD})
    assert browser.post(VERIFY, {"code": code}).status_code == 200
    forgive(pending)
    assert browser.post(VERIFY, {"code": code_of(pending, steps=1)}).status_code == 302


def test_sign_in__a_code_of_long_ago_is_refused(awaiting_client: Client, app: TOTPDevice) -> None:
    assert awaiting_client.post(VERIFY, {"code": code_of(app, steps=-10)}).status_code == 200
    assert awaiting_client.get("/members/").status_code == 302


def test_register__begun_again_replaces_what_was_begun_and_leaves_other_devices_alone(
    holder_client: Client, robin: Any
) -> None:
    """Another package has begun to register one, and will confirm it."""
    elsewhere = TOTPDevice.objects.create(user=robin, name="vpn", confirmed=False)
    for _ in range(2):
        holder_client.post("/account/security-info/add/totp/", {"begin": "1"})
    pending = TOTPDevice.objects.filter(user=robin, confirmed=False).exclude(pk=elsewhere.pk)
    assert TOTPDevice.objects.filter(pk=elsewhere.pk).exists()
    assert [device.pk for device in pending] == [holder_client.session["tap_provider_totp"]]


def test_sign_in__an_unconfirmed_device_is_not_asked_for(client: Client, robin: Any, app: TOTPDevice) -> None:
    app.confirmed = False
    app.save()
    assert client.post(SIGN_IN, {"upn": robin.upn, "password": PASSWORD})["Location"] == "/"
    sign_in = SignIn.objects.get(pk=client.session[SESSION_KEY])
    assert (sign_in.methods, sign_in.level) == (["password"], "single_factor")
    assert "otp_device_id" not in client.session


def test_sign_in__an_unconfirmed_device_does_not_sign_in(awaiting_client: Client, robin: Any) -> None:
    pending = TOTPDevice.objects.create(user=robin, confirmed=False)
    assert awaiting_client.post(VERIFY, {"code": code_of(pending)}).status_code == 200
    assert awaiting_client.get("/members/").status_code == 302


def test_sign_in__another_users_device_does_not_sign_in(awaiting_client: Client, make_user: Any) -> None:
    quinns = TOTPDevice.objects.create(user=make_user("quinn"), confirmed=True)
    assert awaiting_client.post(VERIFY, {"code": code_of(quinns)}).status_code == 200
    assert awaiting_client.get("/members/").status_code == 302


def test_sign_in__any_of_several_apps_will_do(awaiting_client: Client, robin: Any, app: TOTPDevice) -> None:
    second = TOTPDevice.objects.create(user=robin, name="tablet", confirmed=True)
    assert awaiting_client.post(VERIFY, {"code": code_of(second)})["Location"] == "/"
    assert awaiting_client.session["otp_device_id"] == second.persistent_id


def test_sign_in__after_ten_wrong_codes_one_has_to_wait(awaiting_client: Client, robin: Any, app: TOTPDevice) -> None:
    wrong = wrong_code_of(app)
    for _ in range(10):
        forgive(app)
        assert awaiting_client.post(VERIFY, {"code": wrong}).status_code == 200
    forgive(app)
    response = awaiting_client.post(VERIFY, {"code": code_of(app)})
    assert response.status_code == 429
    assert 0 < int(response["Retry-After"]) <= 660
    assert awaiting_client.get("/members/").status_code == 302


def test_sign_in__inside_a_registration_session_keeps_django_otps_mark_of_this_login_only(
    holder_client: Client, robin: Any, app: TOTPDevice
) -> None:
    holder_client.post(SIGN_IN, {"upn": robin.upn, "password": PASSWORD})
    holder_client.post(VERIFY, {"code": code_of(app)})
    assert holder_client.session["otp_device_id"] == app.persistent_id
    assert set(holder_client.session.keys()) == {
        "_auth_user_id",
        "_auth_user_backend",
        "_auth_user_hash",
        "otp_device_id",
        SESSION_KEY,
    }


def test_second_step__an_app_that_is_locked_for_long_says_so(awaiting_client: Client, app: TOTPDevice) -> None:
    """Somebody with the password has guessed for days: that a right code is not right would be a lie."""
    failed = {"throttling_failure_count": 18, "throttling_failure_timestamp": timezone.now()}
    TOTPDevice.objects.update(**failed)
    told = awaiting_client.post(VERIFY, {"code": code_of(app)}).content.decode()
    assert "not even a right one" in told
    assert AuditEvent.objects.filter(kind=AuditEvent.Kind.SIGN_IN_REFUSED).count() == 1
    assert TOTPDevice.objects.get().throttling_failure_count == 18
    TOTPDevice.objects.create(user=app.user, name="Spare", confirmed=True)
    assert "not even a right one" not in awaiting_client.post(VERIFY, {"code": "000000"}).content.decode()


def test_second_step__a_lock_of_seconds_is_told_in_seconds(awaiting_client: Client, app: TOTPDevice) -> None:
    TOTPDevice.objects.update(throttling_failure_count=5, throttling_failure_timestamp=timezone.now())
    told = awaiting_client.post(VERIFY, {"code": code_of(app)}).content.decode()
    assert re.search(r"try a new code in 1[67] seconds", told)


def test_register__a_lock_of_seconds_is_told_in_seconds(holder_client: Client) -> None:
    holder_client.post("/account/security-info/add/totp/", {"begin": "1"})
    TOTPDevice.objects.update(throttling_failure_count=5, throttling_failure_timestamp=timezone.now())
    code = code_of(TOTPDevice.objects.get())
    told = holder_client.post("/account/security-info/add/totp/", {"code": code}).content.decode()
    assert re.search(r"try a new code in 1[67] seconds", told)


@pytest.mark.parametrize("name", ["名" * 254, "x" * 3000, "a:b"])
def test_register__a_long_name_still_fits_a_qr_code(name: str, settings: Any, make_user: Any, issue: Any) -> None:
    kay, browser = make_user("kay"), Client()
    browser.post("/account/sign-in/pass/", {"upn": kay.upn, "passcode": issue(kay).passcode.reveal()})
    settings.TAP_PROVIDER_HOOKS = f"{__name__}.LongNames"
    LongNames.name = name
    browser.post("/account/security-info/add/totp/", {"begin": "1"})
    page = browser.get("/account/security-info/add/totp/")
    assert page.status_code == 200
    url = urlsplit(page.context["app_url"].reveal())
    assert unquote(url.path).count(":") == 1
    assert unquote(url.path).endswith(f":{name.replace(':', ' ')[:60]}")
    assert parse_qs(url.query)["issuer"] == ["tap_provider example"]


class LongNames(Hooks):
    name = ""

    def get_upn(self, user: Any) -> str:
        return self.name


@pytest.mark.parametrize("typed", ["\uff11\uff12\uff13\uff14\uff15\uff16", " 123 456 ", "\uff11\uff12\uff13\u3000456"])
def test_form__takes_digits_as_keyboards_write_them(typed: str) -> None:
    form = TotpForm(QueryDict(urlencode({"code": typed})))
    assert form.is_valid()
    assert form.cleaned_data["code"] == Secret("123456")


def test_second_step__people_without_a_upn_are_counted_each_by_themselves(settings: Any, make_user: Any) -> None:
    settings.TAP_PROVIDER_UPN_FIELD = "email"
    browsers = {}
    for name in ("kay", "quinn"):
        user = make_user(name, email="", password=PASSWORD)
        device = TOTPDevice.objects.create(user=user, name="Phone", confirmed=True)
        browser = Client()
        assert browser.post(SIGN_IN, {"upn": name, "password": PASSWORD})["Location"] == VERIFY
        browsers[name] = (browser, device)
    for _guess in range(11):
        answer = browsers["kay"][0].post(VERIFY, {"code": "000000"})
    assert answer.status_code == 429
    browser, device = browsers["quinn"]
    assert browser.post(VERIFY, {"code": code_of(device)}).status_code == 302


def test_register__focus_does_not_scroll_the_code_to_scan_away(holder_client: Client) -> None:
    holder_client.post("/account/security-info/add/totp/", {"begin": "1"})
    shown = holder_client.get("/account/security-info/add/totp/")
    page = shown.content.decode()
    assert "autofocus" not in page
    assert f'href="{escape(shown.context["app_url"].reveal())}"' in page  # for the app on the same phone
    refused = holder_client.post("/account/security-info/add/totp/", {"code": "000000"}).content.decode()
    assert "autofocus" in refused
    assert "000000" not in refused
    assert refused.index('role="alert"') > refused.index("<svg")  # right above the field
