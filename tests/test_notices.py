"""What people are told by mail: by the acts themselves, after the commit, in their words, and never with a passcode."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from html import unescape
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core import mail
from django.db import transaction
from django.test import Client
from django.utils import timezone, translation
from django_otp.oath import totp
from django_otp.plugins.otp_totp.models import TOTPDevice

from tap_provider import notices, signals
from tap_provider.databases import where
from tap_provider.hooks import Hooks
from tap_provider.issue import issue_pass
from tap_provider.methods.totp import TotpKind
from tap_provider.models import AuditEvent, Level, SignIn
from tap_provider.notices import Notice, device_of, harmless, moment, one_line
from tap_provider.redeem import redeem_pass
from tap_provider.sign_in import Client as WhereFrom
from tap_provider.sign_in import begin_sign_in

from .conftest import HOUR, NOW
from .test_signals import everything_in

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
SECURITY_INFO = "https://login.example.test/account/security-info/"

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("hasher")]


@pytest.fixture(autouse=True)
def where_we_are(settings: Any) -> None:
    settings.TAP_PROVIDER_BASE_URL = "https://login.example.test"


@pytest.fixture
def committed(django_capture_on_commit_callbacks: Any) -> Any:
    """Do what follows the commit."""
    return lambda: django_capture_on_commit_callbacks(execute=True, using=where())


@pytest.fixture
def sign_in(robin: Any) -> SignIn:
    """A full session's sign-in of Robin's."""
    return begin_sign_in(
        user=robin,
        methods=["passkey"],
        amr=["hwk", "mfa", "pop", "user"],
        level=Level.PHISHING_RESISTANT,
        client=WhereFrom(address="203.0.113.7", user_agent=FIREFOX),
        now=NOW,
        authenticated_at=NOW,
    )


def text_of(message: Any) -> str:
    return str(message.body)


def html_of(message: Any) -> str:
    ((content, mimetype),) = message.alternatives
    assert mimetype == "text/html"
    return str(content)


def words_of(message: Any) -> str:
    """Return what a reader of the HTML sees, on one line."""
    seen = re.sub(r"<(style|title|!--).*?</\1>", "", html_of(message), flags=re.S)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", seen)).split())


def source_of(message: Any) -> str:
    """Return the whole message as it is sent, with every part decoded beside it."""
    sent = message.message()
    parts = [part.get_payload(decode=True) or b"" for part in sent.walk()]
    return sent.as_string() + b"\n".join(parts).decode()


def only() -> Any:
    (message,) = mail.outbox
    return message


def send(signal: Any, **payload: Any) -> None:
    signals.send_after_commit(signal, sender=TotpKind, **payload)


# Each notice, by what it tells of.


@pytest.mark.aware_times
def test_pass_issued__tells_its_user_from_and_until_when(
    robin: Any, admin: Any, policy_on: Any, committed: Any
) -> None:
    with committed():
        issue_pass(actor=admin, user=robin, now=NOW, lifetime=2 * HOUR, is_usable_once=True, reason="lost phone")
        assert mail.outbox == []  # not before the commit
    message = only()
    assert message.to == ["robin@example.test"]
    assert message.subject == "A Temporary Access Pass was issued for you"
    for told in (" ".join(text_of(message).split()), words_of(message)):
        assert "When: March 2, 2026, 9 a.m. (UTC)" in told
        assert "Usable from: March 2, 2026, 9 a.m. (UTC)" in told
        assert "Usable until: March 2, 2026, 11 a.m. (UTC)" in told
        assert "How often: once" in told
        assert "If you did not ask for it" in told
        assert "tell your administrator at once" in told
        assert "lost phone" not in told  # how somebody was identified is the administrators' to know
        assert admin.upn not in told


@pytest.mark.aware_times
def test_pass_redeemed__tells_when_from_where_and_with_what(robin: Any, issue: Any, committed: Any) -> None:
    issued = issue(robin, now=NOW)
    with committed():
        client = WhereFrom(address="203.0.113.7", user_agent=FIREFOX)
        redeem_pass(upn=robin.upn, passcode=issued.passcode.reveal(), client=client, now=NOW)
    message = only()
    assert message.subject == "Your Temporary Access Pass was used"
    for told in (" ".join(text_of(message).split()), words_of(message)):
        assert "Account: robin@example.test" in told
        assert "When: March 2, 2026, 9 a.m. (UTC)" in told
        assert "From the address: 203.0.113.7" in told
        assert "With: Firefox on Linux" in told
        assert "Signed in with: a Temporary Access Pass" in told
        assert "Done by" not in told
        assert "If that was not you" in told
        assert "they can end the pass" in told


def test_pass_redeemed__is_not_told_of_a_refusal(
    robin: Any, issue: Any, sign_in_with_pass: Callable[..., Any], committed: Any
) -> None:
    issue(robin)
    with committed():
        assert sign_in_with_pass(robin.upn, "00000000").status_code == 200
    assert mail.outbox == []


def test_method_registered__by_the_page_itself(holder_client: Client, robin: Any, committed: Any) -> None:
    add = "/account/security-info/add/totp/"
    holder_client.post(add, {"begin": "1"})
    device = TOTPDevice.objects.get(user=robin)
    with committed():
        assert holder_client.post(add, {"code": f"{totp(device.bin_key):06d}"}).status_code == 302
    message = only()
    assert message.to == ["robin@example.test"]
    assert message.subject == "A sign-in method was added to your account"
    for told in (" ".join(text_of(message).split()), words_of(message)):
        assert "Method: Authenticator app Name: Authenticator app" in told
        assert "Signed in with: a Temporary Access Pass" in told
        assert "From the address: 127.0.0.1" in told
        assert "remove every method that you do not know, and sign out everywhere" in told
    assert SECURITY_INFO in text_of(message)
    assert f'href="{SECURITY_INFO}"' in html_of(message)


def test_recovery_codes_made__is_a_notice_of_its_own(robin: Any, sign_in: SignIn, committed: Any) -> None:
    with committed():
        send(
            signals.method_registered,
            user=robin,
            kind="recovery_codes",
            method_id="recovery_codes",
            sign_in=sign_in,
        )
    assert only().subject == "New recovery codes were made for your account"
    assert "Recovery codes from before no longer work" in " ".join(text_of(only()).split())


def test_method_removed__names_it(robin: Any, sign_in: SignIn, committed: Any) -> None:
    with committed():
        send(signals.method_removed, user=robin, kind="totp", method_id="7", name="Old phone", sign_in=sign_in)
    assert only().subject == "A sign-in method was removed from your account"
    for told in (" ".join(text_of(only()).split()), words_of(only())):
        assert "Method: Authenticator app Name: Old phone" in told
        assert "With: Firefox on Linux" in told
        assert "Signed in with" not in told


@pytest.mark.parametrize(("ended", "words"), [(1, "1 sign-in that was made"), (3, "3 sign-ins that were made")])
def test_method_lost__tells_how_many_sign_ins_ended(
    robin: Any, sign_in: SignIn, committed: Any, ended: int, words: str
) -> None:
    with committed():
        send(signals.method_lost, user=robin, kind="pigeon", method_id="7", name="", sign_in=sign_in, ended=ended)
    assert only().subject == "A sign-in method was reported lost"
    for told in (" ".join(text_of(only()).split()), words_of(only())):
        assert words in told
        assert "Method: pigeon" in told  # of a kind that the site no longer has
        assert "Name:" not in told


def test_signed_out_everywhere__tells_how_many(robin: Any, sign_in: SignIn, committed: Any) -> None:
    with committed():
        send(signals.signed_out_everywhere, user=robin, sign_in=sign_in, ended=4)
    assert only().subject == "You were signed out everywhere"
    assert "4 sign-ins of your account were ended" in text_of(only())


EVERY_NOTICE: dict[Notice, tuple[Any, dict[str, Any]]] = {
    Notice.METHOD_REGISTERED: (signals.method_registered, {"kind": "totp", "method_id": "7"}),
    Notice.RECOVERY_CODES_MADE: (signals.method_registered, {"kind": "recovery_codes", "method_id": "x"}),
    Notice.METHOD_REMOVED: (signals.method_removed, {"kind": "totp", "method_id": "7", "name": "Phone"}),
    Notice.METHOD_LOST: (signals.method_lost, {"kind": "totp", "method_id": "7", "name": "Phone", "ended": 2}),
    Notice.SIGNED_OUT_EVERYWHERE: (signals.signed_out_everywhere, {"ended": 2}),
    Notice.PASS_REDEEMED: (signals.pass_redeemed, {}),
}


@pytest.mark.aware_times
@pytest.mark.parametrize("notice", EVERY_NOTICE)
def test_every_notice__says_what_when_where_and_what_to_do(
    robin: Any, sign_in: SignIn, committed: Any, notice: Notice
) -> None:
    signal, payload = EVERY_NOTICE[notice]
    with committed():
        send(signal, user=robin, sign_in=sign_in, **payload)
    message = only()
    text = text_of(message)
    assert message.subject
    assert "\n" not in message.subject
    assert text.startswith(message.subject)
    assert "&" not in text  # nothing of HTML
    assert "<" not in text
    assert "\n\n\n" not in text
    assert max(map(len, text.splitlines())) <= 78
    for told in (" ".join(text.split()), words_of(message)):
        assert message.subject in told
        assert "Account: robin@example.test" in told
        assert re.search(r"When: \w+\.? \d+, \d{4}, .* \(UTC\)", told)
        assert "From the address: 203.0.113.7" in told
        assert "With: Firefox on Linux" in told
        assert "If that was not you" in told
        assert "administrator or the help desk" in told
        assert "ever contains a passcode" in told
    assert SECURITY_INFO in text
    assert words_of(message).startswith(f"login.example.test {message.subject} ")
    assert message.extra_headers["Auto-Submitted"] == "auto-generated"


@pytest.mark.parametrize("notice", EVERY_NOTICE)
def test_every_notice__loads_nothing_and_runs_nothing(
    robin: Any, sign_in: SignIn, committed: Any, notice: Notice
) -> None:
    signal, payload = EVERY_NOTICE[notice]
    with committed():
        send(signal, user=robin, sign_in=sign_in, **payload)
    html = html_of(only())
    assert re.findall(r"<(?:img|script|iframe|link|form|object|table)\b|url\(|@import| src=| on\w+=", html) == []
    assert re.findall(r'href="([^"]*)"', html) == [SECURITY_INFO]
    assert '<html lang="en" dir="ltr">' in html


def test_every_notice__is_driven_here() -> None:
    assert {*EVERY_NOTICE, Notice.PASS_ISSUED} == set(Notice)


# Never a passcode.


def test_notices__never_hold_a_passcode(robin: Any, issue: Any, sign_in_with_pass: Any, committed: Any) -> None:
    """Issue 4, line 8: in no part of any mail, decoded or not, nor in what the mailer was given."""
    given: list[Any] = []

    def note(letter: Any) -> bool:
        given.append(letter)
        return False

    notices.mail.couriers.insert(0, note)
    try:
        with committed():
            issued = issue(robin)
        with committed():
            assert sign_in_with_pass(robin.upn, issued.passcode.reveal()).status_code == 302
        with committed():
            again = issue(robin)
    finally:
        notices.mail.couriers.remove(note)
    assert [message.subject for message in mail.outbox] == [
        "A Temporary Access Pass was issued for you",
        "Your Temporary Access Pass was used",
        "A Temporary Access Pass was issued for you",
    ]
    said = "".join(map(source_of, mail.outbox)) + everything_in(given)
    assert SECURITY_INFO in said
    for secret in (issued, again):
        assert secret.passcode.reveal() not in said
        assert secret.passcode_for_reading.reveal() not in said
        assert secret.passcode.reveal().lower() not in said
        assert secret.temporary_access_pass.passcode_hash not in said


# To whom.


class TwoAddresses(Hooks):
    def addresses_to_notify(self, user: Any) -> Sequence[str]:
        return (user.email, "robin@home.test", user.email, "")


class NoAddress(Hooks):
    def addresses_to_notify(self, user: Any) -> Sequence[str]:
        return ()


class OneString(Hooks):
    def addresses_to_notify(self, user: Any) -> Sequence[str]:
        return str(user.email)


class Broken(Hooks):
    def addresses_to_notify(self, user: Any) -> Sequence[str]:
        raise ZeroDivisionError("a hook of the site's, of robin@example.test")


def use_hooks(settings: Any, hooks: type[Hooks]) -> None:
    settings.TAP_PROVIDER_HOOKS = f"{__name__}.{hooks.__name__}"


def sign_out_everywhere(user: Any, sign_in: SignIn | None, committed: Any) -> None:
    with committed():
        send(signals.signed_out_everywhere, user=user, sign_in=sign_in, ended=1)


def failures() -> list[dict[str, Any]]:
    return list(AuditEvent.objects.filter(kind=AuditEvent.Kind.MAIL_FAILED).values_list("detail", flat=True))


def test_addresses__each_gets_a_mail_of_its_own(robin: Any, sign_in: SignIn, settings: Any, committed: Any) -> None:
    use_hooks(settings, TwoAddresses)
    sign_out_everywhere(robin, sign_in, committed)
    assert [message.recipients() for message in mail.outbox] == [["robin@example.test"], ["robin@home.test"]]
    assert "robin@home.test" not in source_of(mail.outbox[0])
    assert failures() == []


def test_addresses__none_sends_nothing_and_is_no_failure(
    robin: Any, sign_in: SignIn, settings: Any, committed: Any
) -> None:
    use_hooks(settings, NoAddress)
    sign_out_everywhere(robin, sign_in, committed)
    assert mail.outbox == []
    assert failures() == []


def test_addresses__by_default_the_users_own_if_there_is_one(make_user: Any, sign_in: SignIn, committed: Any) -> None:
    sign_out_everywhere(make_user("nomail", email=""), sign_in, committed)
    assert mail.outbox == []
    assert failures() == []


def test_addresses__one_text_is_no_list_of_letters(robin: Any, sign_in: SignIn, settings: Any, committed: Any) -> None:
    use_hooks(settings, OneString)
    sign_out_everywhere(robin, sign_in, committed)
    assert mail.outbox == []
    assert failures() == [{"notice": "signed_out_everywhere", "error": "TypeError"}]


def test_addresses__a_hook_that_fails_is_recorded_and_disturbs_nobody(
    robin: Any, sign_in: SignIn, settings: Any, committed: Any
) -> None:
    use_hooks(settings, Broken)
    sign_out_everywhere(robin, sign_in, committed)
    assert failures() == [{"notice": "signed_out_everywhere", "error": "ZeroDivisionError"}]


def test_notices__of_one_kind_are_ten_in_ten_minutes(robin: Any, sign_in: SignIn, committed: Any) -> None:
    """Whoever sits at an open session could bury the one that matters; of another kind it is still told."""
    for _time in range(11):
        sign_out_everywhere(robin, sign_in, committed)
    assert len(mail.outbox) == 10
    assert failures() == [{"notice": "signed_out_everywhere", "error": "TooManyAttempts"}]
    with committed():
        told = {"kind": "totp", "method_id": "7", "name": "Phone", "sign_in": sign_in}
        send(signals.method_removed, user=robin, **told)
    assert "removed" in mail.outbox[-1].subject
    assert len(mail.outbox) == 11


# Only what was committed.


@pytest.mark.default_database
def test_notices__of_what_was_rolled_back_are_never_sent(
    robin: Any, issue: Any, sign_in: SignIn, committed: Any
) -> None:
    with committed(), transaction.atomic():
        issue(robin)
        send(signals.signed_out_everywhere, user=robin, sign_in=sign_in, ended=1)
        transaction.set_rollback(True)
    assert mail.outbox == []


# What others put in.

HOSTILE = "<img src=x onerror=alert(1)>\"'&\r\nBcc: victim@example.test"


def test_hostile_names__are_escaped_in_html_and_bare_in_text(
    make_user: Any, sign_in: SignIn, committed: Any, settings: Any
) -> None:
    eve = make_user("eve", upn="<b>eve</b>\r\n&@example.test", email="eve@example.test")
    sign_in.user, sign_in.user_agent = eve, HOSTILE
    sign_in.save()
    with committed():
        send(signals.method_removed, user=eve, kind="<i>kind</i>", method_id="7", name=HOSTILE, sign_in=sign_in)
    message = only()
    html = html_of(message)
    assert "<img" not in html
    assert "<b>eve" not in html
    assert "<i>kind" not in html
    assert "&lt;b&gt;eve&lt;/b&gt; &amp;@example.test" in html
    assert "&lt;i&gt;kind&lt;/i&gt;" in html
    assert "Account: <b>eve</b> &@example.test\n" in text_of(message)
    assert re.search(r"^Bcc", text_of(message), re.M) is None
    assert "Bcc" not in message.message()
    assert message.recipients() == ["eve@example.test"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("YubiKey 5.7", "YubiKey 5.7"),
        ("Robin's phone", "Robin's phone"),
        ("Not you? https://evil.example/a", "Not you? https evil. example a"),
        ("write to help@evil.example", "write to help evil. example"),
        ("www.evil.example", "www. evil. example"),
        ("4.evil.example", "4. evil. example"),
        ("evil\N{FULLWIDTH FULL STOP}example\N{FULLWIDTH COMMERCIAL AT}x", "evil. example x"),
        ("evil\N{IDEOGRAPHIC FULL STOP}example", "evil. example"),
        ("evil\N{HALFWIDTH IDEOGRAPHIC FULL STOP}example", "evil. example"),
        ("a\u202egnp\u2066\x00\x1b[31m", "a gnp [31m"),
        ("one\r\ntwo\u2028three", "one two three"),
        ("x" * 10_000, "x" * 59 + "…"),
        ("", ""),
    ],
    ids=ascii,
)
def test_harmless__is_one_short_line_that_links_nowhere(name: str, told: str) -> None:
    assert harmless(name) == told


def test_one_line__keeps_words_apart() -> None:
    assert one_line(" a\r\n\tb\u2029c\u200f ") == "a b c"


@pytest.mark.parametrize(
    ("user_agent", "device"),
    [
        (FIREFOX, "Firefox on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Windows"),
        ("Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36", "Chrome on Android"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1", "Safari on iPhone"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/18.0 Safari/605.1.15", "Safari on macOS"),
        ("curl/8.14.1", ""),
        ("Firefox/1 call 555-0100 at evil.example", "Firefox"),
        ("", ""),
    ],
)
def test_device_of__is_in_our_words_alone(user_agent: str, device: str) -> None:
    assert device_of(user_agent) == device


# When, in whose language, with which links.


@pytest.mark.aware_times
@pytest.mark.parametrize(
    ("zone", "told"),
    [
        ("UTC", "March 2, 2026, 9 a.m. (UTC)"),
        ("Europe/Berlin", "March 2, 2026, 10 a.m. (Europe/Berlin, UTC+01:00)"),
        ("America/St_Johns", "March 2, 2026, 5:30 a.m. (America/St_Johns, UTC-03:30)"),
    ],
)
def test_moments__are_in_the_sites_time_zone_which_is_named(
    robin: Any, sign_in: SignIn, settings: Any, committed: Any, zone: str, told: str
) -> None:
    settings.TIME_ZONE = zone
    with committed():
        send(signals.pass_redeemed, user=robin, sign_in=sign_in)
    assert f"When: {told}\n" in text_of(only())


@pytest.mark.aware_times
def test_moments__are_not_in_the_zone_of_whoever_acted(robin: Any, sign_in: SignIn, committed: Any) -> None:
    with timezone.override(ZoneInfo("Asia/Tokyo")), committed():
        send(signals.pass_redeemed, user=robin, sign_in=sign_in)
        assert "(Asia/Tokyo, UTC+09:00)" in moment(datetime(2026, 3, 2, tzinfo=UTC))
    assert "When: March 2, 2026, 9 a.m. (UTC)\n" in text_of(only())


class Fluent(Hooks):
    def language_of(self, user: Any) -> str | None:
        return "ar"


def lang_of(message: Any) -> str:
    return re.findall(r'<html lang="([^"]+)"', html_of(message))[0]


def test_language__of_ones_own_act_is_the_one_in_force(robin: Any, sign_in: SignIn, committed: Any) -> None:
    with translation.override("fr"):
        sign_out_everywhere(robin, sign_in, committed)
        assert translation.get_language() == "fr"
    assert lang_of(only()) == "fr"


def test_language__of_an_administrators_act_is_the_sites(
    robin: Any, make_user: Any, sign_in: SignIn, issue: Any, committed: Any
) -> None:
    with translation.override("fr"):
        with committed():
            issue(robin)
        sign_out_everywhere(make_user("other"), sign_in, committed)  # by a sign-in of somebody else's
        sign_out_everywhere(robin, None, committed)
    assert [lang_of(message) for message in mail.outbox] == ["en", "en", "en"]


def test_language__is_the_users_where_the_site_knows_it(
    robin: Any, sign_in: SignIn, issue: Any, settings: Any, committed: Any
) -> None:
    use_hooks(settings, Fluent)
    with committed():
        issue(robin)
    sign_out_everywhere(robin, sign_in, committed)
    assert [lang_of(message) for message in mail.outbox] == ["ar", "ar"]
    assert '<html lang="ar" dir="rtl">' in html_of(mail.outbox[0])


def test_where__an_administrator_sits_is_not_told(make_user: Any, sign_in: SignIn, committed: Any) -> None:
    sign_out_everywhere(make_user("other"), sign_in, committed)
    for told in (text_of(only()), words_of(only())):
        assert "203.0.113.7" not in told
        assert "Firefox" not in told
        assert "Done by: an administrator" in told


def test_links__come_from_the_setting_and_from_no_request(
    robin: Any, issue: Any, sign_in_with_pass: Any, settings: Any, committed: Any
) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    settings.TAP_PROVIDER_BASE_URL = "https://login.example.test/portal/"
    issued = issue(robin)
    with committed():
        answer = sign_in_with_pass(
            robin.upn,
            issued.passcode.reveal(),
            HTTP_HOST="evil.test",
            HTTP_X_FORWARDED_HOST="evil.test",
            SCRIPT_NAME="/evil",
        )
    assert answer.status_code == 302
    assert "https://login.example.test/portal/account/security-info/\n" in text_of(only())
    assert "evil" not in source_of(only())


def test_links__are_left_out_where_the_site_does_not_say_where_it_is(
    robin: Any, sign_in: SignIn, settings: Any, committed: Any
) -> None:
    settings.TAP_PROVIDER_BASE_URL = ""
    sign_out_everywhere(robin, sign_in, committed)
    assert "://" not in text_of(only())
    assert "href" not in html_of(only())
    for told in (text_of(only()), words_of(only())):
        assert "You find Security info where you sign in." in told


# Templates of the site's own.


def use_templates(settings: Any, shown: dict[str, str]) -> None:
    ours = settings.TEMPLATES[0]
    loaders = [
        ("django.template.loaders.locmem.Loader", shown),
        "django.template.loaders.app_directories.Loader",
    ]
    options = {**ours["OPTIONS"], "loaders": loaders}
    settings.TEMPLATES = [{**ours, "APP_DIRS": False, "OPTIONS": options}]


def test_templates__a_site_fills_the_blocks(robin: Any, sign_in: SignIn, settings: Any, committed: Any) -> None:
    page = '{% extends "tap_provider/mail/base.EXT" %}{% block help %}Call 4711 & ask for Kim.{% endblock %}'
    name = "tap_provider/mail/signed_out_everywhere"
    use_templates(settings, {f"{name}.{ext}": page.replace("EXT", ext) for ext in ("txt", "html")})
    sign_out_everywhere(robin, sign_in, committed)
    assert "Call 4711 & ask for Kim." in text_of(only())
    assert "Call 4711 & ask for Kim." in html_of(only())


def test_templates__a_subject_of_several_lines_becomes_one(
    robin: Any, sign_in: SignIn, settings: Any, committed: Any
) -> None:
    use_templates(
        settings, {"tap_provider/mail/signed_out_everywhere_subject.txt": "Signed out\r\nBcc: eve@example.test\n"}
    )
    sign_out_everywhere(robin, sign_in, committed)
    assert only().subject == "Signed out Bcc: eve@example.test"
    assert only().recipients() == ["robin@example.test"]


def test_templates__an_error_in_one_is_recorded_and_disturbs_nobody(
    robin: Any, sign_in: SignIn, settings: Any, committed: Any
) -> None:
    use_templates(settings, {"tap_provider/mail/signed_out_everywhere.html": "{% nonsense %}"})
    sign_out_everywhere(robin, sign_in, committed)
    assert mail.outbox == []
    assert failures() == [{"notice": "signed_out_everywhere", "error": "TemplateSyntaxError"}]
