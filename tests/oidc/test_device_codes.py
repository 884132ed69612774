"""The device grant from end to end: what a client is told, at which pace, how often, and by whom (RFC 8628)."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from django.test import Client, override_settings
from django.urls import clear_url_caches, include, path
from django.utils import timezone
from oauth2_provider.models import (
    get_access_token_model,
    get_application_model,
    get_device_grant_model,
    get_id_token_model,
    get_refresh_token_model,
)

from tap_provider.models import SignIn
from tap_provider.oidc import urls
from tap_provider.oidc.contexts import sign_in_of_code
from tap_provider.oidc.device_codes import DEVICE_CODE_GRANT, SPENT, approve
from tap_provider.oidc.models import CodeContext
from tap_provider.sign_in import end_sign_in

from ..conftest import all_at_once
from .conftest import (
    ISSUER,
    PASSWORD,
    PASSWORD_ACR,
    TOKEN,
    Party,
    seconds,
    sign_in_of,
    sign_in_with_password,
    toolkit_settings,
)

ASK, ENTER = "/o/device-authorization/", "/o/device/"
MANY = 8


@pytest.fixture
def make_device_party(make_party: Callable[..., Party]) -> Callable[..., Party]:
    """Register a client for devices; a public one, as most are."""
    model = get_application_model()

    def make(client_id: str, **fields: Any) -> Party:
        fields = {"client_type": model.CLIENT_PUBLIC, "authorization_grant_type": model.GRANT_DEVICE_CODE, **fields}
        return make_party(client_id, **fields)

    return make


@pytest.fixture
def television(make_device_party: Callable[..., Party]) -> Party:
    return make_device_party("television")


def ask(party: Party, **changes: Any) -> Any:
    """Ask for the codes of a device."""
    body = {"client_id": party.client_id, "scope": "openid profile", **changes}
    return party.server.post(ASK, urlencode(body), content_type="application/x-www-form-urlencoded")


def enter(browser: Client, user_code: str) -> Any:
    """Type a user code."""
    return browser.post(ENTER, {"user_code": user_code})


def decide(browser: Client, user_code: str, action: str = "accept") -> Any:
    """Type a user code, and approve or deny."""
    response = enter(browser, user_code)
    assert response.status_code == 302, response.content
    return browser.post(response.headers["Location"], {"action": action})


def poll(party: Party, told: dict[str, Any], **changes: Any) -> Any:
    body = {"grant_type": DEVICE_CODE_GRANT, "device_code": told["device_code"], "client_id": party.client_id}
    return party.server.post(TOKEN, {**body, **changes})


def error_of(response: Any) -> str:
    """Return the error of a refused poll, which must be one of OAuth's (RFC 6749 §5.2)."""
    assert response.status_code == 400
    assert response.headers["Content-Type"] == "application/json"
    assert "no-store" in response.headers["Cache-Control"]
    return str(response.json()["error"])


def wait(**duration: int) -> None:
    """Let time go by since the last poll."""
    for device in get_device_grant_model().objects.all():
        earlier = device.last_checked - timedelta(**duration)
        get_device_grant_model().objects.filter(pk=device.pk).update(last_checked=earlier)


def row() -> Any:
    return get_device_grant_model().objects.get()


# What a device is told (§3.1, §3.2)


@pytest.mark.compliance("RFC 8628 §3.2", "RFC 8628 §3.3.1")
def test_device_authorization__names_the_page_for_the_user_code(television: Party, full: Client) -> None:
    told = ask(television).json()

    assert told["verification_uri"] == f"{ISSUER}/device/"
    assert told["verification_uri_complete"] == f"{ISSUER}/device/?user_code={told['user_code']}"
    assert (told["expires_in"], told["interval"]) == (1800, 5)
    complete = urlsplit(told["verification_uri_complete"])
    page = full.get(f"{complete.path}?{complete.query}")
    assert told["user_code"] in page.content.decode()
    assert row().user is None  # the user has yet to confirm what the device shows (§3.3.1)


def test_device_authorization__names_the_page_by_the_address_of_the_site_where_no_issuer_is_set(
    television: Party, settings: Any
) -> None:
    """Not by the Host header, which is the device's own word."""
    settings.TAP_PROVIDER_BASE_URL = "https://login.example.com"
    with toolkit_settings(OIDC_ISS_ENDPOINT=None):
        assert ask(television).json()["verification_uri"] == "https://login.example.com/o/device/"


@pytest.mark.compliance("RFC 8628 §3.2")
def test_device_authorization__is_off_and_not_advertised_where_times_are_naive(
    television: Party, settings: Any
) -> None:
    """The toolkit compares the end of a code with a moment that knows its zone."""
    settings.USE_TZ = False
    refused = ask(television)
    assert (refused.status_code, refused.json()["error"]) == (400, "unsupported_grant_type")
    assert "device_authorization_endpoint" not in Client().get("/o/.well-known/openid-configuration").json()


def test_device_authorization__names_the_page_of_the_sites_own(television: Party) -> None:
    with toolkit_settings(OAUTH_DEVICE_VERIFICATION_URI="https://example.test/tv"):
        told = ask(television).json()
    assert told["verification_uri"] == "https://example.test/tv"
    assert "verification_uri_complete" not in told  # who knows what that page reads

    complete = "https://example.test/tv#{user_code}"
    with toolkit_settings(
        OAUTH_DEVICE_VERIFICATION_URI="https://example.test/tv", OAUTH_DEVICE_VERIFICATION_URI_COMPLETE=complete
    ):
        told = ask(television).json()
    assert told["verification_uri_complete"] == f"https://example.test/tv#{told['user_code']}"


def test_device_authorization__is_off_where_no_page_takes_a_user_code(television: Party) -> None:
    without = [pattern for pattern in urls.urlpatterns if pattern.name != "device"]
    with override_settings(ROOT_URLCONF=(path("o/", include((without, "oauth2_provider"))),)):
        clear_url_caches()
        refused = ask(television)
        discovery = Client().get("/o/.well-known/openid-configuration").json()
    clear_url_caches()

    assert error_of(refused) == "unsupported_grant_type"
    assert not get_device_grant_model().objects.exists()
    assert DEVICE_CODE_GRANT not in discovery["grant_types_supported"]
    assert "device_authorization_endpoint" not in discovery


@pytest.mark.compliance("RFC 8628 §3.1", "RFC 6749 §5.2")
def test_device_authorization__is_refused_to_a_client_without_the_grant(make_party: Callable[..., Party]) -> None:
    party = make_party("phone", client_type=get_application_model().CLIENT_PUBLIC)

    assert error_of(ask(party)) == "unauthorized_client"
    assert not get_device_grant_model().objects.exists()


@pytest.mark.compliance("RFC 8628 §3.1", "RFC 6749 §5.2")
def test_device_authorization__is_refused_to_a_client_whose_id_is_too_long_for_the_grant(
    make_device_party: Callable[..., Party],
) -> None:
    """The toolkit's applications have up to 255 characters, its devices 100."""
    assert ask(make_device_party("t" * 100)).status_code == 200
    response = ask(make_device_party("t" * 101))
    assert (response.status_code, error_of(response)) == (400, "unauthorized_client")
    assert get_device_grant_model().objects.count() == 1


def test_device_authorization__refuses_scopes_that_are_not_there(television: Party) -> None:
    assert error_of(ask(television, scope="openid unknown")) == "invalid_scope"
    assert not get_device_grant_model().objects.exists()


# Polling (§3.4, §3.5)


@pytest.mark.compliance("RFC 8628 §3.5")
def test_poll__goes_on_until_the_user_decides(television: Party, full: Client) -> None:
    told = ask(television).json()
    assert error_of(poll(television, told)) == "authorization_pending"
    wait(seconds=5)
    assert error_of(poll(television, told)) == "authorization_pending"

    decide(full, told["user_code"])

    assert poll(television, told).status_code == 200  # at once: there is nothing left to wait for


@pytest.mark.compliance("RFC 8628 §3.5")
def test_poll__that_comes_too_soon_has_to_slow_down_for_good(television: Party) -> None:
    told = ask(television).json()
    assert error_of(poll(television, told)) == "authorization_pending"

    assert error_of(poll(television, told)) == "slow_down"  # five seconds more, from now on
    wait(seconds=6)
    assert error_of(poll(television, told)) == "slow_down"  # and five more
    wait(seconds=13)
    assert error_of(poll(television, told)) == "slow_down"
    wait(seconds=20)
    assert error_of(poll(television, told)) == "authorization_pending"
    wait(seconds=20)
    assert error_of(poll(television, told)) == "authorization_pending"


@pytest.mark.compliance("RFC 8628 §3.2", "RFC 8628 §3.5")
def test_poll__keeps_to_the_interval_that_the_site_tells(television: Party) -> None:
    with toolkit_settings(DEVICE_FLOW_INTERVAL=30):
        told = ask(television).json()
        assert told["interval"] == 30
        assert error_of(poll(television, told)) == "authorization_pending"
        wait(seconds=20)
        assert error_of(poll(television, told)) == "slow_down"
        wait(seconds=35)
        assert error_of(poll(television, told)) == "authorization_pending"


@pytest.mark.compliance("RFC 8628 §3.5")
def test_poll__after_the_user_has_denied_is_access_denied(television: Party, full: Client) -> None:
    told = ask(television).json()
    decide(full, told["user_code"], "deny")

    assert error_of(poll(television, told)) == "access_denied"


@pytest.mark.compliance("RFC 8628 §3.5")
@pytest.mark.parametrize("approved", [True, False])
def test_poll__after_its_time_is_expired_token(television: Party, full: Client, approved: bool) -> None:
    told = ask(television).json()
    if approved:
        decide(full, told["user_code"])
    get_device_grant_model().objects.update(expires=timezone.now())

    assert error_of(poll(television, told)) == "expired_token"
    assert not get_access_token_model().objects.exists()


@pytest.mark.compliance("RFC 8628 §3.4", "RFC 6749 §5.2")
@pytest.mark.parametrize("device_code", ["unknown", "UNKNOWN ", "x" * 5000])
def test_poll__with_a_code_that_nobody_has_is_invalid_grant(television: Party, device_code: str) -> None:
    ask(television)

    assert error_of(poll(television, {"device_code": device_code})) == "invalid_grant"


@pytest.mark.compliance("RFC 8628 §3.4")
@pytest.mark.parametrize("change", [str.swapcase, lambda code: f"{code} ", lambda code: f"{code}\u0301"])
def test_poll__with_something_like_the_code_is_invalid_grant(
    television: Party, full: Client, change: Callable[[str], str]
) -> None:
    """Databases may compare text without regard to case, to spaces at its end, or to accents."""
    told = ask(television).json()
    decide(full, told["user_code"])

    assert error_of(poll(television, {"device_code": change(told["device_code"])})) == "invalid_grant"


@pytest.mark.compliance("RFC 8628 §3.4")
@pytest.mark.parametrize("status", ["pending", "denied", "expired", "approved"])
def test_poll__by_another_client_learns_nothing_and_disturbs_nothing(
    television: Party, make_device_party: Callable[..., Party], full: Client, status: str
) -> None:
    told = ask(television).json()
    if status in {"approved", "denied"}:
        decide(full, told["user_code"], {"approved": "accept", "denied": "deny"}[status])
    if status == "expired":
        get_device_grant_model().objects.update(expires=timezone.now())
    before = get_device_grant_model().objects.values().get()
    radio = make_device_party("radio")

    answers = [poll(radio, told) for _ in range(3)]

    assert [error_of(response) for response in answers] == ["invalid_grant"] * 3
    assert answers[0].content == poll(radio, {"device_code": "unknown"}).content
    assert get_device_grant_model().objects.values().get() == before
    expected = {"pending": "authorization_pending", "denied": "access_denied", "expired": "expired_token"}
    if status == "approved":
        assert poll(television, told).status_code == 200
    else:
        assert error_of(poll(television, told)) == expected[status]


@pytest.mark.compliance("RFC 8628 §3.4", "RFC 6749 §3.2.1")
def test_poll__of_a_confidential_client_needs_its_secret(make_device_party: Callable[..., Party], full: Client) -> None:
    """Without it nothing is told of the code, not even that there is one."""
    party = make_device_party("kiosk", client_type=get_application_model().CLIENT_CONFIDENTIAL)
    told = ask(party, **party.credentials).json()
    decide(full, told["user_code"])

    for device_code in (told["device_code"], "unknown"):
        for secret in ("wrong", ""):
            refused = poll(party, {"device_code": device_code}, client_secret=secret)
            assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
        assert poll(party, {"device_code": device_code}, client_id="unknown").json()["error"] == "invalid_client"
    basic = b64encode(f"{party.client_id}:{party.secret}".encode()).decode()
    body = {"grant_type": DEVICE_CODE_GRANT, "device_code": told["device_code"]}
    assert party.server.post(TOKEN, body, headers={"authorization": f"Basic {basic}"}).status_code == 200


@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
@pytest.mark.parametrize("device_code", ["unknown", "", None])
def test_poll__by_json_is_answered_with_an_error(television: Party, device_code: str | None) -> None:
    body = {"grant_type": DEVICE_CODE_GRANT, "device_code": device_code, "client_id": television.client_id}
    body = {name: value for name, value in body.items() if value is not None}
    with toolkit_settings(OAUTH2_BACKEND_CLASS="oauth2_provider.oauth2_backends.JSONOAuthLibCore"):
        refused = television.server.post(TOKEN, body, content_type="application/json")

    assert error_of(refused) == ("invalid_grant" if device_code else "invalid_request")


# A code is good once


@pytest.mark.compliance("RFC 8628 §3.5", "RFC 6749 §10.5")
def test_poll__a_second_use_is_refused_and_kills_the_tokens_of_the_first(television: Party, full: Client) -> None:
    told = ask(television).json()
    decide(full, told["user_code"])
    first = poll(television, told).json()
    refreshed = television.refresh(first["refresh_token"], client_secret="").json()
    assert television.userinfo(refreshed["access_token"]).status_code == 200

    assert error_of(poll(television, told)) == "invalid_grant"

    assert television.userinfo(refreshed["access_token"]).status_code == 401
    assert television.refresh(refreshed["refresh_token"], client_secret="").json()["error"] == "invalid_grant"
    assert not get_access_token_model().objects.exists()
    assert error_of(poll(television, told)) == "invalid_grant"


def test_poll__a_second_use_by_another_client_kills_nothing(
    television: Party, make_device_party: Callable[..., Party], full: Client
) -> None:
    told = ask(television).json()
    decide(full, told["user_code"])
    first = poll(television, told).json()

    assert error_of(poll(make_device_party("radio"), told)) == "invalid_grant"

    assert television.userinfo(first["access_token"]).status_code == 200


def test_poll__a_code_approved_before_the_installation_is_good_once(television: Party, kim: Any) -> None:
    told = ask(television).json()
    get_device_grant_model().objects.update(user=kim, status="authorized")

    assert poll(television, told).status_code == 200
    assert error_of(poll(television, told)) == "invalid_grant"


def test_poll__a_code_that_was_approved_for_nobody_brings_nothing(television: Party) -> None:
    """Say, by an administrator in the toolkit's table."""
    told = ask(television).json()
    get_device_grant_model().objects.update(status="authorized")

    assert error_of(poll(television, told)) == "invalid_grant"
    assert not get_access_token_model().objects.exists()


def test_poll__that_could_not_store_its_tokens_spends_nothing(
    television: Party, full: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = ask(television).json()
    decide(full, told["user_code"])
    television.server.raise_request_exception = False
    with monkeypatch.context() as patch:
        patch.setattr(get_access_token_model(), "save", lambda *args, **kwargs: 1 / 0)
        assert poll(television, told).status_code == 500
    assert not get_id_token_model().objects.exists()

    assert poll(television, told).status_code == 200


@pytest.mark.compliance("RFC 8628 §3.5")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("again", range(3))
def test_poll__of_many_at_once_at_most_one_brings_tokens(again: int, television: Party, full: Client) -> None:
    """And those are dead as well, because the code was used more than once."""
    told = ask(television).json()
    decide(full, told["user_code"])

    def once() -> Any:
        return poll(Party(television.application, server=Client(raise_request_exception=False)), told)

    answers = Counter((one.status_code, one.json().get("error")) for one in all_at_once(*[once] * MANY))

    assert set(answers) <= {(200, None), (400, "invalid_grant")}, answers
    assert answers[200, None] <= 1
    assert not get_access_token_model().objects.exists()
    assert not get_id_token_model().objects.exists()
    assert not get_refresh_token_model().objects.filter(revoked=None).exists()


def test_status_page__says_approved_of_a_device_that_has_its_tokens(television: Party, full: Client) -> None:
    told = ask(television).json()
    page = decide(full, told["user_code"]).headers["Location"]
    before = full.get(page).content
    poll(television, told)

    assert row().status == SPENT
    assert full.get(page).content == before
    assert b"Authorized" in before


# What its tokens tell


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.3.3", "OpenID Connect Core 1.0 §2")
def test_id_token__tells_the_sign_in_that_approved(television: Party, full: Client, kim: Any) -> None:
    told = ask(television).json()
    decide(full, told["user_code"])
    sign_in = sign_in_of(full)

    claims = television.read(poll(television, told, nonce="injected", response_type="code"), nonce=None).claims

    assert claims["sub"] == str(kim.pk)
    assert (claims["acr"], claims["amr"], claims["sid"]) == (PASSWORD_ACR, ["pwd"], str(sign_in.pk))
    assert claims["auth_time"] == seconds(sign_in.authenticated_at)
    assert claims["name"] == "Kim Colleague"
    assert "nonce" not in claims
    assert get_access_token_model().objects.get().id_token is not None


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_id_token__comes_with_openid_alone(television: Party, full: Client) -> None:
    told = ask(television, scope="profile").json()
    decide(full, told["user_code"])

    answer = poll(television, told).json()

    assert "id_token" not in answer
    assert answer["scope"] == "profile"


def test_id_token__of_a_client_without_an_algorithm_is_left_out(
    make_device_party: Callable[..., Party], full: Client
) -> None:
    """It could get none by a code either; its tokens are what it had before."""
    party = make_device_party("old", algorithm="")
    told = ask(party).json()
    decide(full, told["user_code"])

    answer = poll(party, told)

    assert answer.status_code == 200
    assert "id_token" not in answer.json()


def test_id_token__is_left_out_where_openid_connect_is_off(television: Party, full: Client) -> None:
    with toolkit_settings(OIDC_ENABLED=False):
        told = ask(television).json()
        decide(full, told["user_code"])
        assert "id_token" not in poll(television, told).json()


# Approving (§3.3)


@pytest.mark.parametrize("action", ["accept", "deny"])
def test_confirm__of_a_code_that_somebody_else_typed_is_not_found(
    television: Party, full: Client, admin: Any, action: str
) -> None:
    told = ask(television).json()
    address = enter(full, told["user_code"]).headers["Location"]
    other = Client()
    other.post("/account/sign-in/", {"upn": admin.username, "password": "admin-password"})

    assert other.post(address, {"action": action}).status_code == 404
    assert row().status == "authorization-pending"


def test_confirm__by_staff_who_act_as_the_user_is_forbidden(
    television: Party, full: Client, admin: Any, settings: Any
) -> None:
    """The session is the staff's own: no sign-in of the user's would stand behind what the device gets."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.test_acting_for_others.ActAs"]
    staff, told = Client(), ask(television).json()
    staff.post("/account/sign-in/", {"upn": admin.username, "password": "admin-password"})
    session = staff.session
    session["acted_for"] = sign_in_of(full).user_id
    session.save()
    address = enter(staff, told["user_code"]).headers["Location"]

    assert staff.post(address, {"action": "accept"}).status_code == 403
    assert row().status == "authorization-pending"
    assert not CodeContext.objects.exists()


@pytest.mark.parametrize("over", ["signed_out", "registration_only", "of_somebody_else", "deadline"])
def test_approve__by_a_sign_in_that_may_not_is_refused(
    television: Party, full: Client, holder: Client, admin: Any, kim: Any, over: str
) -> None:
    ask(television)
    now, sign_in = timezone.now(), sign_in_of(full)
    get_device_grant_model().objects.update(user=kim)
    if over == "signed_out":
        end_sign_in(sign_in, reason=SignIn.EndedReason.SIGNED_OUT, now=now)
    if over == "registration_only":
        sign_in = sign_in_of(holder)
        get_device_grant_model().objects.update(user=sign_in.user)
    if over == "of_somebody_else":
        get_device_grant_model().objects.update(user=admin)
    if over == "deadline":
        SignIn.objects.filter(pk=sign_in.pk).update(deadline=now)

    assert not approve(row(), sign_in, now=now)
    assert row().status == "authorization-pending"
    assert not CodeContext.objects.exists()


def test_approve__is_of_one_of_two_decisions(television: Party, full: Client) -> None:
    told = ask(television).json()
    address = enter(full, told["user_code"]).headers["Location"]
    first, second, now = row(), row(), timezone.now()

    assert approve(first, sign_in_of(full), now=now)
    assert not approve(second, sign_in_of(full), now=now)

    assert full.post(address, {"action": "accept"}).status_code == 404
    assert sign_in_of_code(told["device_code"]) == sign_in_of(full)


# Guesses at user codes (§5.1)


@pytest.mark.compliance("RFC 8628 §5.1")
def test_user_code__the_eleventh_wrong_guess_waits(television: Party, full: Client, kim: Any) -> None:
    told = ask(television).json()
    for number in range(10):
        assert enter(full, f"WRONG{number:03d}").status_code == 200
    elsewhere = sign_in_with_password(kim)  # another session of the same account

    for browser in (full, elsewhere):
        refused = enter(browser, told["user_code"])
        assert refused.status_code == 429
        assert 0 < int(refused.headers["Retry-After"]) <= 11 * 60
        assert b"too many attempts" in refused.content
    assert row().user is None


@pytest.mark.compliance("RFC 8628 §5.1")
def test_user_code__guesses_from_one_address_are_one_count(television: Party, make_user: Callable[..., Any]) -> None:
    told = ask(television).json()
    browsers = [sign_in_with_password(make_user(f"user{number}", password=PASSWORD)) for number in range(11)]
    for browser in browsers[:10]:
        for number in range(10):
            assert enter(browser, f"WRONG{number:03d}").status_code == 200

    assert enter(browsers[10], told["user_code"]).status_code == 429


def test_user_code__a_right_one_is_no_guess(television: Party, full: Client) -> None:
    for _ in range(12):
        assert enter(full, ask(television).json()["user_code"]).status_code == 302


def test_user_code__that_has_been_used_is_a_guess(television: Party, full: Client) -> None:
    """It says as much as a wrong one."""
    told = ask(television).json()
    decide(full, told["user_code"])
    for _ in range(10):
        assert enter(full, told["user_code"]).status_code == 200

    assert enter(full, told["user_code"]).status_code == 429


@pytest.mark.parametrize("user_code", ["", "a\x00b", "x" * 10_000, "☃"])
def test_user_code__odd_text_is_refused_cleanly(television: Party, full: Client, user_code: str) -> None:
    ask(television)
    assert enter(full, user_code).status_code == 200
    assert row().user is None
