"""More than one admin site: each leads to its own pages, with or without our models."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import UserAdmin
from django.test import Client
from django.urls import include, path

from tap_provider.admin import PolicyAdmin, TemporaryAccessPassAdmin, UserAuthenticationMethodsMixin
from tap_provider.models import TemporaryAccessPass, TemporaryAccessPassPolicy
from tap_provider.oidc.admin import RelyingPartyAdmin
from tap_provider.oidc.models import RelyingParty


class PeopleAdmin(UserAuthenticationMethodsMixin, UserAdmin):
    pass


desk, bare = admin.AdminSite("desk"), admin.AdminSite("bare")
for model, model_admin in (
    (get_user_model(), PeopleAdmin),
    (TemporaryAccessPass, TemporaryAccessPassAdmin),
    (TemporaryAccessPassPolicy, PolicyAdmin),
    (RelyingParty, RelyingPartyAdmin),
):
    desk.register(model, model_admin)
bare.register(get_user_model(), PeopleAdmin)

urlpatterns = [path("desk/", desk.urls), path("bare/", bare.urls), path("", include("example_project.urls"))]

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

METHODS = "/desk/tap_provider/temporaryaccesspass/users"


@pytest.fixture
def browser(admin: Any) -> Client:
    browser = Client()
    browser.force_login(admin, backend="tap_provider.backends.ModelBackend")
    return browser


def leads_elsewhere(page: Any) -> list[str]:
    """Return the links of a page of the second site that lead to another admin site."""
    links = re.findall(r'(?:href|src|action)="(/[^"]*)"', page.content.decode())
    return [link for link in links if link.startswith(("/admin/", "/bare/"))]


def test_second_site__leads_to_its_own_pages(browser: Client, robin: Any, issue: Any) -> None:
    user = f"/desk/accounts/user/{robin.pk}/change/"
    assert f'href="{METHODS}/{robin.pk}/"' in browser.get(user).content.decode()
    issue(robin)
    for page in ("", "add/", "add/temporary-access-pass/", "revoke/"):
        shown = browser.get(f"{METHODS}/{robin.pk}/{page}")
        assert shown.status_code == 200
        assert leads_elsewhere(shown) == []


def test_second_site__redirects_into_itself(browser: Client, robin: Any, issue: Any) -> None:
    held = issue(robin).temporary_access_pass
    passes = "/desk/tap_provider/temporaryaccesspass"
    assert browser.get(f"{passes}/add/?upn={robin.upn}")["Location"].startswith("/desk/")
    assert browser.get(f"{passes}/{held.pk}/delete/")["Location"].startswith("/desk/")
    assert browser.get("/desk/tap_provider/temporaryaccesspasspolicy/")["Location"].startswith("/desk/")
    assert browser.get("/desk/tap_provider_oidc/relyingparty/of/portal/")["Location"].startswith("/desk/")
    assert browser.post(f"{METHODS}/{robin.pk}/revoke/")["Location"] == f"{METHODS}/{robin.pk}/"


def test_second_site__shows_a_passcode(browser: Client, robin: Any, policy_on: Any) -> None:
    shown = browser.post(f"{METHODS}/{robin.pk}/add/temporary-access-pass/", {"lifetime_minutes": "60"})
    assert "tap-ok" in shown.content.decode()
    assert leads_elsewhere(shown) == []


def test_site_without_our_models__shows_users(browser: Client, robin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its link leads to the site that has them."""
    shown = browser.get(f"/bare/accounts/user/{robin.pk}/change/")
    assert shown.status_code == 200
