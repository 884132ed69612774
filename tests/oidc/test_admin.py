"""In django-admin what we grant a client stands beside the toolkit's application."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError
from django.db.models.signals import pre_save
from django.test import Client

from tap_provider.oidc.models import RelyingParty

from .conftest import Party

OF = "/admin/tap_provider_oidc/relyingparty/of/intranet/"


@pytest.fixture
def administrator(admin: Any) -> Client:
    browser = Client()
    browser.force_login(admin)
    return browser


def test_application__leads_to_its_relying_party(administrator: Client, intranet: Party) -> None:
    page = administrator.get(f"/admin/oauth2_provider/application/{intranet.application.pk}/change/")
    assert f'href="{OF}"' in page.content.decode()


def test_of_client__leads_to_the_row(administrator: Client, intranet: Party) -> None:
    row = RelyingParty.objects.get(client_id="intranet")
    location = administrator.get(OF).headers["Location"]
    assert location == f"/admin/tap_provider_oidc/relyingparty/{row.pk}/change/"
    assert administrator.get(location).status_code == 200


def test_of_client__leads_to_a_new_row_where_there_is_none(administrator: Client, intranet: Party) -> None:
    RelyingParty.objects.all().delete()
    page = administrator.get(OF, follow=True)
    assert page.status_code == 200
    assert 'value="intranet"' in page.content.decode()


def test_add__of_what_another_administrator_has_just_added_leads_to_the_row(administrator: Client) -> None:
    """Both forms were checked before either was stored."""

    def meanwhile(sender: Any, **kwargs: Any) -> None:
        pre_save.disconnect(meanwhile, sender=RelyingParty)
        raise IntegrityError  # as the database answers the second INSERT

    pre_save.connect(meanwhile, sender=RelyingParty)
    response = administrator.post("/admin/tap_provider_oidc/relyingparty/add/", {"client_id": "intranet"})
    assert response.headers["Location"] == OF
    page = administrator.get(OF, follow=True).content.decode()
    assert "Another administrator has just stored" in page


def test_of_client__is_for_administrators(full: Client, intranet: Party) -> None:
    assert full.get(OF).headers["Location"].startswith("/admin/login/")
