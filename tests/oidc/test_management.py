"""The pages for applications: mounted by `management_urls` only, and for those who have the permission."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from oauth2_provider.models import get_application_model

from .conftest import CLIENT_SECRET, REDIRECT_URI, Party, is_sign_in_page

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.oidc.managed_urls")]

PAGES = {
    "applications/": "view",
    "applications/{pk}/": "view",
    "applications/register/": "add",
    "applications/{pk}/update/": "change",
    "applications/{pk}/delete/": "delete",
}
FORM = {
    "name": "Intranet",
    "client_id": "imitation",
    "client_secret": CLIENT_SECRET,
    "client_type": "confidential",
    "authorization_grant_type": "authorization-code",
    "redirect_uris": REDIRECT_URI,
    "algorithm": "RS256",
}


@pytest.fixture
def own(kim: Any, make_party: Callable[..., Party]) -> Any:
    return make_party("kims", user=kim).application


def permit(user: Any, *actions: str) -> None:
    content_type = ContentType.objects.get_for_model(get_application_model())
    codenames = [f"{action}_{content_type.model}" for action in actions]
    user.user_permissions.set(Permission.objects.filter(content_type=content_type, codename__in=codenames))


@pytest.mark.parametrize(("page", "action"), PAGES.items())
def test_management__needs_the_permission_of_the_act(page: str, action: str, full: Client, kim: Any, own: Any) -> None:
    url = f"/o/{page.format(pk=own.pk)}"
    assert is_sign_in_page(Client().get(url))
    assert full.get(url).status_code == 403
    permit(kim, *({"view", "add", "change", "delete"} - {action}))
    assert full.get(url).status_code == 403
    permit(kim, action)

    assert full.get(url).status_code == 200


def test_management__nothing_is_registered_without_the_permission(full: Client, kim: Any) -> None:
    names = get_application_model().objects.values_list("name", flat=True)
    assert full.post("/o/applications/register/", FORM).status_code == 403
    permit(kim, "view", "change", "delete")
    assert full.post("/o/applications/register/", FORM).status_code == 403
    assert list(names.all()) == []
    permit(kim, "add")
    full.post("/o/applications/register/", FORM)

    assert list(names.all()) == ["Intranet"]


@pytest.mark.parametrize("page", ["{pk}/", "{pk}/update/", "{pk}/delete/"])
def test_management__shows_ones_own_applications_only(page: str, full: Client, kim: Any, intranet: Party) -> None:
    permit(kim, "view", "add", "change", "delete")

    assert full.get(f"/o/applications/{page.format(pk=intranet.application.pk)}").status_code == 404
    assert b"intranet" not in full.get("/o/applications/").content


def test_management__cannot_be_posted_by_another_site(kim: Any, own: Any) -> None:
    permit(kim, "add", "delete")
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(kim, "django.contrib.auth.backends.ModelBackend")

    assert browser.post("/o/applications/register/", FORM).status_code == 403
    assert browser.post(f"/o/applications/{own.pk}/delete/").status_code == 403
    assert get_application_model().objects.count() == 1


# What stays mounted everywhere: the user's own tokens.


def test_authorized_tokens__are_the_users_own_and_are_revoked_by_their_own_page(
    full: Client, kim: Any, admin: Any, intranet: Party
) -> None:
    tokens = intranet.tokens(full, scope="openid offline_access")
    [token] = kim.oauth2_provider_accesstoken.all()
    url = f"/o/authorized_tokens/{token.pk}/delete/"
    other, elsewhere = Client(), Client(enforce_csrf_checks=True)
    other.force_login(admin)
    elsewhere.force_login(kim, "django.contrib.auth.backends.ModelBackend")

    assert b"intranet" not in other.get("/o/authorized_tokens/").content
    assert other.post(url).status_code == 404
    assert elsewhere.post(url).status_code == 403
    assert full.get(url).status_code == 200
    assert intranet.introspect(tokens.access_token)["active"]
    page = full.get("/o/authorized_tokens/").content.decode()
    assert "intranet" in page
    assert tokens.access_token not in page
    full.post(url)

    assert intranet.introspect(tokens.access_token) == {"active": False}
    assert intranet.refresh(tokens.refresh_token).json()["error"] == "invalid_grant"


@pytest.mark.parametrize("key", ["x", "1-2", "9" * 40, "none"])
def test_pages__of_a_key_that_no_row_can_have_are_not_found(full: Client, kim: Any, key: str) -> None:
    kim.user_permissions.set(Permission.objects.filter(content_type__app_label="oauth2_provider"))
    for page in ("authorized_tokens/{}/delete/", "applications/{}/", "applications/{}/update/"):
        assert full.get("/o/" + page.format(key)).status_code == 404
