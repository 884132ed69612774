"""Sign-ins end when their user's password changes, by whatever code; the session in which it is changed goes on."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import authenticate, get_user_model, update_session_auth_hash
from django.contrib.auth import views as auth_views
from django.contrib.auth.hashers import make_password
from django.contrib.auth.tokens import default_token_generator
from django.core.management import call_command
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import include, path
from django.utils import timezone
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from tap_provider.models import AuditEvent, SignIn
from tap_provider.registration_session import is_live
from tap_provider.sign_in import SESSION_KEY, find_sign_in, unrecorded_ending
from tap_provider.sign_in.stamp import password_stamp

from .test_middleware import MODEL_BACKEND

OLD, NEW = "the-old-password", "a-long-enough-phrase"
ADD = "/account/security-info/add/password/"
SECURITY_INFO = "/account/security-info/"
Reason = SignIn.EndedReason

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.urls("tests.test_password_change"),
    pytest.mark.usefixtures("hasher"),
]


def change_by_hash(request: HttpRequest) -> HttpResponse:
    """Change the password as code does that has the hash alone, and keep the session as Django documents."""
    user: Any = request.user
    user.password = make_password(NEW)
    user.save()
    update_session_auth_hash(request, user)
    return HttpResponse("ok")


def forget_the_session(request: HttpRequest) -> HttpResponse:
    """Change the password without `update_session_auth_hash()`: Django ends the session at its next request."""
    user: Any = request.user
    user.set_password(NEW)
    user.save()
    return HttpResponse("ok")


urlpatterns = [
    path("test/reset/<uidb64>/<token>/", auth_views.PasswordResetConfirmView.as_view(success_url="/done/")),
    path("test/change-by-hash/", change_by_hash),
    path("test/forget-the-session/", forget_the_session),
    path("test/change/", auth_views.PasswordChangeView.as_view(success_url="/done/")),
    path("", include("example_project.urls")),
]


@pytest.fixture(autouse=True)
def offered(settings: Any) -> None:
    settings.TAP_PROVIDER_REGISTRABLE_METHODS = ["passkey", "totp", "password"]


@pytest.fixture
def robin(robin: Any) -> Any:
    robin.set_password(OLD)
    robin.save()
    return robin


@pytest.fixture
def holder(robin: Any, issue: Any, sign_in_with_pass: Any) -> Client:
    """A browser in Robin's registration-only session."""
    browser = Client()
    sign_in_with_pass(robin.upn, issue(robin, is_usable_once=False).passcode, browser)
    return browser


@pytest.fixture
def full(robin: Any) -> Client:
    """Another, in a full one."""
    browser = Client()
    browser.force_login(robin, backend=MODEL_BACKEND)
    return browser


def sign_in_of(browser: Client) -> SignIn:
    return SignIn.objects.get(pk=browser.session[SESSION_KEY])


def lives(sign_in: SignIn) -> bool:
    found = find_sign_in(sign_in.pk)
    return found is not None and is_live(found, now=timezone.now())


def reset(user: Any, browser: Client) -> None:
    """Follow the link of Django's mail."""
    uid, token = urlsafe_base64_encode(force_bytes(user.pk)), default_token_generator.make_token(user)
    form = browser.get(f"/test/reset/{uid}/{token}/")["Location"]
    assert browser.post(form, {"new_password1": NEW, "new_password2": NEW})["Location"] == "/done/"


# Wherever the password is changed


def by_djangos_reset(user: Any, admin: Any, monkeypatch: Any) -> None:
    reset(user, Client())


def by_djangos_change(user: Any, admin: Any, monkeypatch: Any) -> None:
    browser = Client()
    browser.force_login(user, backend=MODEL_BACKEND)
    told = {"old_password": OLD, "new_password1": NEW, "new_password2": NEW}
    assert browser.post("/test/change/", told)["Location"] == "/done/"
    assert browser.get("/members/").status_code == 200
    assert sign_in_of(browser).ended_at is None


def by_an_administrator(user: Any, admin: Any, monkeypatch: Any) -> None:
    browser = Client()
    browser.force_login(admin, backend=MODEL_BACKEND)
    told = {"password1": NEW, "password2": NEW, "usable_password": "true"}
    assert browser.post(f"/admin/accounts/user/{user.pk}/password/", told).status_code == 302
    assert browser.get("/admin/").status_code == 200


def by_the_command(user: Any, admin: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("getpass.getpass", lambda prompt="": NEW)
    call_command("changepassword", user.get_username(), stdout=StringIO())


def by_code(user: Any, admin: Any, monkeypatch: Any) -> None:
    user.set_password(NEW)
    user.save()


def by_code_that_saves_that_alone(user: Any, admin: Any, monkeypatch: Any) -> None:
    user.set_password(NEW)
    user.save(update_fields=["password"])


AT_ONCE = [
    by_djangos_reset,
    by_djangos_change,
    by_an_administrator,
    by_the_command,
    by_code,
    by_code_that_saves_that_alone,
]


@pytest.mark.parametrize("change", AT_ONCE)
def test_change__ends_other_sign_ins_at_once(
    holder: Client, full: Client, robin: Any, admin: Any, monkeypatch: Any, change: Callable[..., None]
) -> None:
    before = [sign_in_of(holder), sign_in_of(full)]
    change(robin, admin, monkeypatch)
    ended = SignIn.objects.filter(pk__in=[sign_in.pk for sign_in in before])
    assert list(ended.values_list("ended_reason", flat=True)) == [Reason.PASSWORD_CHANGED] * 2
    assert AuditEvent.objects.filter(kind=AuditEvent.Kind.SIGN_IN_ENDED).count() == 2
    assert holder.get(SECURITY_INFO)["Location"].endswith("notice=ended")
    assert full.get("/members/").status_code == 302


def by_assignment(user: Any, admin: Any, monkeypatch: Any) -> None:
    user.password = make_password(NEW)
    user.save()


def by_assignment_that_saves_that_alone(user: Any, admin: Any, monkeypatch: Any) -> None:
    user.password = make_password(NEW)
    user.save(update_fields=["password"])


def by_taking_it_away(user: Any, admin: Any, monkeypatch: Any) -> None:
    user.set_unusable_password()
    user.save()


def by_taking_it_away_alone(user: Any, admin: Any, monkeypatch: Any) -> None:
    user.set_unusable_password()
    user.save(update_fields=["password"])


def by_an_administrator_who_takes_it_away(user: Any, admin: Any, monkeypatch: Any) -> None:
    browser = Client()
    browser.force_login(admin, backend=MODEL_BACKEND)
    told = {"usable_password": "false", "unset-password": "1"}
    assert browser.post(f"/admin/accounts/user/{user.pk}/password/", told).status_code == 302


def by_a_statement(user: Any, admin: Any, monkeypatch: Any) -> None:
    get_user_model()._default_manager.filter(pk=user.pk).update(password=make_password(NEW))


@pytest.mark.parametrize(
    "change",
    [
        by_assignment,
        by_assignment_that_saves_that_alone,
        by_taking_it_away,
        by_taking_it_away_alone,
        by_an_administrator_who_takes_it_away,
        by_a_statement,
    ],
)
def test_change__that_is_not_seen_ends_them_when_they_are_used_next(
    holder: Client, full: Client, robin: Any, admin: Any, monkeypatch: Any, change: Callable[..., None]
) -> None:
    before = [sign_in_of(holder), sign_in_of(full)]
    change(robin, admin, monkeypatch)
    for sign_in in before:
        assert not lives(sign_in)  # asked by any endpoint: what relying parties hold is dead with it
        sign_in.refresh_from_db()
        assert sign_in.ended_reason == Reason.PASSWORD_CHANGED
    assert holder.get(SECURITY_INFO)["Location"].endswith("notice=ended")
    assert full.get("/members/").status_code == 302


def test_change__tells_of_what_no_sign_in_stands_behind(robin: Any) -> None:
    told: list[Any] = []

    def receive(sender: Any, user: Any, **kwargs: Any) -> None:
        told.append(user)

    unrecorded_ending.connect(receive)
    try:
        by_code(robin, None, None)
    finally:
        unrecorded_ending.disconnect(receive)
    assert told == [robin]


# The session in which it is changed


def test_register__of_a_password_ends_the_holders_other_sessions_and_this_one_goes_on(
    holder: Client, full: Client, robin: Any, issue: Any, sign_in_with_pass: Any
) -> None:
    """The pass is in other hands as well, say: the holder who sets a password is rid of them."""
    elsewhere = Client()
    sign_in_with_pass(robin.upn, issue(robin, is_usable_once=False).passcode, elsewhere)
    ended = sign_in_of(full)
    SignIn.objects.filter(pk=sign_in_of(holder).pk).update(ended_at=None, ended_reason="")
    elsewhere.post(ADD, {"begin": "1"})
    response = elsewhere.post(ADD, {"new_password1": NEW, "new_password2": NEW})
    assert response["Location"] == f"{SECURITY_INFO}?registered=password"
    assert elsewhere.get(SECURITY_INFO).status_code == 200
    assert sign_in_of(elsewhere).ended_at is None
    for sign_in in (ended, SignIn.objects.exclude(pass_id=None).order_by("created_at")[0]):
        sign_in.refresh_from_db()
        assert sign_in.ended_reason == Reason.PASSWORD_CHANGED


def test_register__of_a_password_in_one_of_two_sessions_of_a_pass_ends_the_other(
    robin: Any, issue: Any, sign_in_with_pass: Any
) -> None:
    passcode = issue(robin, is_usable_once=False).passcode
    here, elsewhere = Client(), Client()
    sign_in_with_pass(robin.upn, passcode, here)
    sign_in_with_pass(robin.upn, passcode, elsewhere)
    here.post(ADD, {"begin": "1"})
    here.post(ADD, {"new_password1": NEW, "new_password2": NEW})
    assert here.get(SECURITY_INFO).status_code == 200
    assert elsewhere.get(SECURITY_INFO)["Location"].endswith("notice=ended")


@pytest.mark.parametrize("verb", ["remove", "lost"])
def test_removal__of_a_password_ends_the_holders_other_sessions_and_this_one_goes_on(
    passkey: Any, robin: Any, issue: Any, sign_in_with_pass: Any, verb: str
) -> None:
    robin.set_password(OLD)
    robin.save()
    passcode = issue(robin, is_usable_once=False).passcode
    here, elsewhere = Client(), Client()
    sign_in_with_pass(robin.upn, passcode, here)
    sign_in_with_pass(robin.upn, passcode, elsewhere)
    assert here.post(f"/account/security-info/methods/password/password/{verb}/").status_code == 302
    robin.refresh_from_db()
    assert not robin.has_usable_password()
    assert here.get(SECURITY_INFO).status_code == 200
    assert elsewhere.get(SECURITY_INFO)["Location"].endswith("notice=ended")


def test_reset__by_the_holder_of_a_pass_in_the_same_browser_leaves_them_there(holder: Client, robin: Any) -> None:
    reset(robin, holder)
    assert holder.get(SECURITY_INFO).status_code == 200


@pytest.mark.parametrize("engine", ["db", "cache", "signed_cookies"])
@pytest.mark.parametrize("url", ["/test/change/", "/test/change-by-hash/"])
def test_change__in_a_full_session_that_django_keeps(robin: Any, settings: Any, engine: str, url: str) -> None:
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    browser = Client()
    browser.force_login(robin, backend=MODEL_BACKEND)
    sign_in = sign_in_of(browser)
    response = browser.post(url, {"old_password": OLD, "new_password1": NEW, "new_password2": NEW})
    assert response.status_code in {200, 302}
    assert lives(sign_in)  # before the browser comes back: the tokens of a relying party go on
    assert browser.get("/members/").status_code == 200
    assert lives(sign_in)


@pytest.mark.parametrize("engine", ["db", "cache", "signed_cookies"])
def test_change__in_a_full_session_that_django_does_not_keep(robin: Any, settings: Any, engine: str) -> None:
    """The session is dead, and so are its tokens, though its browser does not come back."""
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    browser = Client()
    browser.force_login(robin, backend=MODEL_BACKEND)
    sign_in = sign_in_of(browser)
    browser.post("/test/forget-the-session/")
    assert not lives(sign_in)
    assert browser.get("/members/").status_code == 302


def test_change__of_another_users_password_ends_nothing_of_ones_own(holder: Client, make_user: Any) -> None:
    reset(make_user("quinn", password=OLD), holder)
    assert holder.get(SECURITY_INFO).status_code == 200


# What is no change


def rehash(user: Any, settings: Any) -> None:
    """Have Django store the same password in another hash, as when a site strengthens its hasher."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.ScryptPasswordHasher", *settings.PASSWORD_HASHERS]
    assert authenticate(None, username=user.get_username(), password=OLD) is not None
    assert get_user_model()._default_manager.get(pk=user.pk).password.startswith("scrypt$")


def test_rehash__ends_no_registration_only_session(holder: Client, robin: Any, settings: Any) -> None:
    rehash(robin, settings)
    assert holder.get(SECURITY_INFO).status_code == 200


def test_rehash__does_not_bring_back_what_a_change_has_ended(holder: Client, robin: Any, settings: Any) -> None:
    """The password was changed past us, to the very same: a stamp of another hash stays what it is."""
    get_user_model()._default_manager.filter(pk=robin.pk).update(password=make_password(OLD))
    rehash(robin, settings)
    assert holder.get(SECURITY_INFO).status_code == 302


@pytest.mark.parametrize("fields", [None, ["last_login"], ["first_name"]])
def test_save__of_anything_else_ends_nothing_and_costs_nothing(holder: Client, robin: Any, fields: Any) -> None:
    robin = get_user_model()._default_manager.get(pk=robin.pk)
    robin.last_login = timezone.now()
    with CaptureQueriesContext(connection) as queries:
        robin.save(update_fields=fields)
    assert [query["sql"] for query in queries if "tap_provider" in query["sql"]] == []
    assert holder.get(SECURITY_INFO).status_code == 200


def test_secret_key__that_is_changed_with_a_fallback_ends_no_full_sign_in(full: Client, settings: Any) -> None:
    """Nor once the fallback is thrown away, if the sign-in was used until then: by its browser, or by tokens alone."""
    sign_in, old, new = sign_in_of(full), settings.SECRET_KEY, "another-" + "y" * 40
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [old], new
    assert lives(sign_in)
    settings.SECRET_KEY_FALLBACKS = []
    assert lives(sign_in)


def test_secret_key__that_is_changed_with_a_fallback_ends_nothing(holder: Client, settings: Any) -> None:
    old, new = settings.SECRET_KEY, "another-" + "y" * 40
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [old], new
    assert holder.get(SECURITY_INFO).status_code == 200
    sign_in = SignIn.objects.select_related("user").get(ended_at=None)
    assert sign_in.password_stamp == password_stamp(sign_in.user)  # so that the old key may be thrown away


def test_stamp__costs_a_full_session_no_statement(full: Client) -> None:
    full.get("/members/")
    with CaptureQueriesContext(connection) as queries:
        full.get("/members/")
    assert [query["sql"] for query in queries if query["sql"].startswith("UPDATE")] == []


def test_stamp__of_before_the_upgrade_is_made_at_the_next_request(holder: Client, robin: Any) -> None:
    SignIn.objects.update(password_stamp="")
    assert holder.get(SECURITY_INFO).status_code == 200
    by_a_statement(robin, None, None)
    assert holder.get(SECURITY_INFO).status_code == 302


def test_stamp__a_user_model_without_a_session_hash_has_none() -> None:
    assert password_stamp(object()) == ""
