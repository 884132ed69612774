"""In django-admin what we grant a client stands beside the toolkit's application."""

from __future__ import annotations

from typing import Any

import pytest
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


def test_of_client__is_for_administrators(full: Client, intranet: Party) -> None:
    assert full.get(OF).headers["Location"].startswith("/admin/login/")
