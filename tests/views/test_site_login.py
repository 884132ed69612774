"""Registration-only mode: a site with a login page of its own mounts everything but ours; there is no second login."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import authenticate, login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.test import Client
from django.urls import NoReverseMatch, include, path, resolve, reverse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django_otp.oath import totp
from django_otp.plugins.otp_totp.models import TOTPDevice
from django_otp_webauthn.models import WebAuthnCredential

from tap_provider import registration_urls, urls
from tap_provider.exceptions import SignInRefused
from tap_provider.methods import registry
from tap_provider.methods.full_session import sign_in
from tap_provider.methods.passkey import PasskeyKind
from tap_provider.methods.password import USED_PASSWORD
from tap_provider.methods.two_steps import sign_in_with_password
from tap_provider.models import SignIn
from tap_provider.sign_in import SESSION_KEY
from tap_provider.views.signing_in import NOTICES

from ..softauthn import SoftAuthenticator, register_passkey
from ..softauthn import sign_in_with_passkey as ceremony

PASSWORD = "correct-horse"
LOGIN, SIGN_IN, SIGN_OUT = "/login/", "/account/sign-in/", "/account/sign-out/"
SECURITY_INFO, FINISH = "/account/security-info/", "/account/security-info/finish/"
AUTHENTICATION = "/account/methods/passkey/authentication/"


@csrf_exempt
def login_page(request: HttpRequest) -> HttpResponse:
    """The site's own: it asks for a password, and sends back at once whoever is signed in."""
    if request.user.is_authenticated:
        return HttpResponseRedirect(request.GET.get("next", "/"))
    user = authenticate(request, username=request.POST.get("username"), password=request.POST.get("password"))
    if user is None:
        return HttpResponse("the site's own login page")
    login(request, user)
    return HttpResponseRedirect(request.GET.get("next", "/"))


urlpatterns = [
    path("", lambda request: HttpResponse("home"), name="home"),
    path("login/", login_page, name="login"),
    path("account/", include("tap_provider.registration_urls")),
]

pytestmark = pytest.mark.usefixtures("hasher", "registration_only")


@pytest.fixture
def registration_only(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    settings.LOGIN_URL = "login"


@pytest.fixture
def known(robin: Any) -> Any:
    robin.set_password(PASSWORD)
    robin.save()
    return robin


@pytest.fixture
def full(client: Client, known: Any) -> Client:
    """A browser that has signed in at the site's own page."""
    assert client.post(LOGIN, {"username": known.username, "password": PASSWORD}).status_code == 302
    return client


class Taken(PasskeyKind):
    """Of a site whose own login page takes passkeys."""

    def is_taken_elsewhere(self) -> bool:
        return True


# What is mounted.


def test_registration_urls__are_ours_without_a_login_page() -> None:
    def names(patterns: Any) -> set[str]:
        return {pattern.name for pattern in patterns if hasattr(pattern, "name")}

    assert registration_urls.app_name == urls.app_name
    assert names(urls.urlpatterns) - names(registration_urls.urlpatterns) == {"sign_in_second_step"}
    for name in names(registration_urls.urlpatterns) - {"register_method", "method", "remove_method", "lost_method"}:
        assert resolve(reverse(f"tap_provider:{name}")).view_name == f"tap_provider:{name}"
    with pytest.raises(NoReverseMatch):
        reverse("tap_provider:sign_in_second_step")


# The page in the place of our login page.


def test_sign_in__leads_to_the_sites_login_page(client: Client, db: None) -> None:
    assert client.get(SIGN_IN)["Location"] == LOGIN
    assert client.get(f"{SIGN_IN}?next={SECURITY_INFO}")["Location"] == f"{LOGIN}?next={SECURITY_INFO}"
    assert client.get(f"{SIGN_IN}?next=https://evil.example/")["Location"] == LOGIN
    assert client.get(f"{SIGN_IN}?notice=nonsense")["Location"] == LOGIN


def test_sign_in__on_another_host_is_told_the_whole_way_back(client: Client, db: None, settings: Any) -> None:
    settings.LOGIN_URL = "https://login.example/start?brand=a"
    location = client.get(f"{SIGN_IN}?next={SECURITY_INFO}")["Location"]
    assert location == f"https://login.example/start?brand=a&next=http%3A//testserver{SECURITY_INFO}"


@pytest.mark.parametrize("notice", sorted(NOTICES))
def test_sign_in__says_what_has_happened_and_then_leads_on(client: Client, db: None, notice: str) -> None:
    response = client.get(f"{SIGN_IN}?notice={notice}&next={SECURITY_INFO}")
    page = response.content.decode()
    assert response.status_code == 200
    assert page.count('role="status"') == 1
    assert f'href="{LOGIN}?next={SECURITY_INFO}"' in page
    assert f'href="/account/sign-in/pass/?next={SECURITY_INFO.replace("/", "%2F")}"' in page
    assert "password" not in page.lower().replace("you gave your password", "")


def test_sign_in__takes_no_password(client: Client, known: Any) -> None:
    for url in (SIGN_IN, f"{SIGN_IN}?notice=ended"):
        assert client.post(url, {"upn": known.upn, "password": PASSWORD}).status_code == 405
    assert client.post("/account/sign-in/verify/", {"code": "123456"}).status_code == 404
    assert not SignIn.objects.exists()


def test_sign_in__of_somebody_signed_in_leads_past_signing_out(full: Client, known: Any) -> None:
    """The site's login page sends back at once whoever is signed in: that would be a circle."""
    page = full.get(f"{SIGN_IN}?next={SECURITY_INFO}")
    assert (page.status_code, page.context["upn"]) == (200, known.upn)
    signed_out = full.post(SIGN_OUT, {"next": page.context["login_url"]})
    assert signed_out["Location"] == f"{LOGIN}?next={SECURITY_INFO}"
    response = full.post(signed_out["Location"], {"username": known.username, "password": PASSWORD})
    assert response["Location"] == SECURITY_INFO


@pytest.mark.parametrize("query", ["", "?notice=ended", f"?next={SECURITY_INFO}"])
def test_sign_in__does_not_lead_to_itself(client: Client, db: None, settings: Any, query: str) -> None:
    settings.LOGIN_URL = "tap_provider:sign_in"
    response = client.get(f"{SIGN_IN}{query}")
    assert response.status_code == 200
    assert "/account/sign-in/pass/" in response.content.decode()


# The story.


def test_registration_only__a_holder_registers_and_signs_in_at_the_sites_page(
    client: Client, robin: Any, issue: Any, settings: Any, sign_in_with_pass: Any
) -> None:
    settings.TAP_PROVIDER_REGISTRABLE_METHODS = ["password"]
    sign_in_with_pass(robin.upn, issue(robin).passcode.reveal())
    client.post(f"{SECURITY_INFO}add/password/", {"begin": "1"})
    new = {"new_password1": "a-long-enough-phrase", "new_password2": "a-long-enough-phrase"}
    added = client.post(f"{SECURITY_INFO}add/password/", new)["Location"]
    assert "From now on you can sign in with it." in client.get(added).content.decode()
    finished = client.post(FINISH)["Location"]
    assert finished == f"{SIGN_IN}?notice=finished"
    page = client.get(finished)
    assert "What you have added is saved." in page.content.decode()
    response = client.post(page.context["login_url"], {"username": robin.username, "password": new["new_password1"]})
    assert response["Location"] == "/"
    assert SignIn.objects.get(pk=client.session[SESSION_KEY]).methods == ["password"]


def test_registration_only__promises_no_sign_in_that_the_sites_page_does_not_take(
    holder_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert register_passkey(holder_client, SoftAuthenticator()).status_code == 200
    page = holder_client.get(f"{SECURITY_INFO}?registered=passkey").content.decode()
    assert "Passkey added." in page
    assert "you can sign in with it" not in page
    assert "It is asked for after your password" not in page
    monkeypatch.setitem(registry._kinds, "passkey", Taken())
    assert "you can sign in with it" in holder_client.get(f"{SECURITY_INFO}?registered=passkey").content.decode()


def test_registration_only__says_that_a_password_is_lacking_where_only_that_signs_in(
    holder_client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TAP_PROVIDER_REGISTRABLE_METHODS = ["passkey", "password"]
    register_passkey(holder_client, SoftAuthenticator())
    assert "Add one of these too: Password." in holder_client.get(SECURITY_INFO).content.decode()
    monkeypatch.setitem(registry._kinds, "passkey", Taken())
    assert "Add one of these too" not in holder_client.get(SECURITY_INFO).content.decode()


def test_kinds__are_taken_at_the_sites_page_where_they_say_so(settings: Any) -> None:
    assert [kind.slug for kind in registry.all_kinds() if kind.is_taken_at_login] == ["password"]
    assert not PasskeyKind().signs_in_alone
    assert Taken().signs_in_alone
    settings.ROOT_URLCONF = "example_project.urls"
    assert all(kind.is_taken_at_login for kind in registry.all_kinds())


# No second login.


def passkey_of(user: Any, issue: Any) -> SoftAuthenticator:
    browser, authenticator = Client(), SoftAuthenticator()
    browser.post("/account/sign-in/pass/", {"upn": user.upn, "passcode": issue(user).passcode.reveal()})
    assert register_passkey(browser, authenticator).status_code == 200
    return authenticator


def test_passkey__is_asked_of_no_visitor(client: Client, db: None) -> None:
    for step in ("begin/", "begin/?same", "complete/"):
        response = client.post(f"{AUTHENTICATION}{step}", "{}", content_type="application/json")
        assert (response.status_code, response.json()["code"]) == (403, "login_elsewhere")


def test_passkey__opens_no_session_for_a_visitor(client: Client, robin: Any, issue: Any, settings: Any) -> None:
    """Not even with an answer to a question from elsewhere: from before the site changed to this mode, say."""
    key = passkey_of(robin, issue)
    settings.ROOT_URLCONF = "example_project.urls"
    answer = key.get(client.post(f"{AUTHENTICATION}begin/", "{}", content_type="application/json").json())
    settings.ROOT_URLCONF = __name__
    response = client.post(f"{AUTHENTICATION}complete/", answer, content_type="application/json")
    assert (response.status_code, response.json()["code"]) == (403, "login_elsewhere")
    assert "Unknown-Credential" not in response.headers
    assert SESSION_KEY not in client.session
    settings.ROOT_URLCONF = "example_project.urls"
    assert ceremony(client, key).status_code == 200  # it is a good one


def test_passkey__turns_no_registration_only_session_into_a_full_one(holder_client: Client) -> None:
    assert register_passkey(holder_client, SoftAuthenticator()).status_code == 200
    response = holder_client.post(f"{AUTHENTICATION}begin/", "{}", content_type="application/json")
    assert response.status_code == 403
    assert SignIn.objects.get(pk=holder_client.session[SESSION_KEY]).is_registration_only


def test_passkey__of_another_user_opens_no_session(full: Client, known: Any, admin: Any, issue: Any) -> None:
    other = passkey_of(admin_made(admin), issue)
    response = ceremony(full, other)
    assert response.status_code >= 400
    assert SignIn.objects.get(pk=full.session[SESSION_KEY]).user == known
    assert SignIn.objects.get(pk=full.session[SESSION_KEY]).methods == ["password"]


def admin_made(admin: Any) -> Any:
    return type(admin)._default_manager.create_user(username="quinn", upn="quinn@example.test")


def test_passkey__steps_up_its_own_users_session(full: Client, known: Any, issue: Any) -> None:
    key = passkey_of(known, issue)
    before = SignIn.objects.get(pk=full.session[SESSION_KEY])
    assert ceremony(full, key).status_code == 200
    after = SignIn.objects.get(pk=full.session[SESSION_KEY])
    assert (after.pk, after.methods, after.level) == (before.pk, ["passkey"], "phishing_resistant")
    assert WebAuthnCredential.objects.filter(user=known).count() == 1


def test_step_up__by_the_app_works_after_the_sites_password(full: Client, known: Any) -> None:
    app = TOTPDevice.objects.create(user=known, name="app", confirmed=True)
    response = full.post("/account/sign-in/step-up/", {"code": f"{totp(app.bin_key):06d}", "next": SECURITY_INFO})
    assert response["Location"] == SECURITY_INFO
    assert SignIn.objects.get(pk=full.session[SESSION_KEY]).level == "multi_factor"


def test_sign_in__the_verbs_open_no_session_either(rf: Any, known: Any, client: Client) -> None:
    request = rf.post("/")
    request.session = client.session
    with pytest.raises(SignInRefused) as refused:
        sign_in(request, known, used=[USED_PASSWORD], backend="tap_provider.backends.ModelBackend")
    assert refused.value.code == "login_elsewhere"
    with pytest.raises(SignInRefused):
        sign_in_with_password(request, upn=known.upn, password=PASSWORD, now=timezone.now())
    assert not SignIn.objects.exists()
