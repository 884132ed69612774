"""Clients that identify themselves by the URL of a metadata document (`CIMD_ENABLED`, off by default).

draft-ietf-oauth-client-id-metadata-document.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from oauth2_provider.models import get_application_model

from tap_provider.oidc.client_display import shown_name
from tap_provider.oidc.models import CodeContext, TokenContext

from .conftest import REDIRECT_URI, Party, answer_of, toolkit_settings

pytestmark = pytest.mark.django_db

DOCUMENT_URL = "https://tools.example/" + "clients/" * 24 + "client.json"  # 225 characters; the toolkit takes 255


class Documents:
    """Fetches the document of each client id from this class: the toolkit's own fetcher refuses loopback addresses."""

    client_name = "Tools"

    def fetch(self, client_id: str) -> tuple[dict[str, Any], int]:
        return {"client_id": client_id, "client_name": self.client_name, "redirect_uris": [REDIRECT_URI]}, 300


@pytest.fixture
def _is_on() -> Iterator[None]:
    with toolkit_settings(CIMD_ENABLED=True, CIMD_METADATA_FETCHER=f"{__name__}.Documents"):
        yield


@pytest.fixture
def tools() -> Party:
    return Party(get_application_model()(client_id=DOCUMENT_URL))


def text_of(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def test_metadata_document__is_not_fetched_by_default(full: Client, tools: Party) -> None:
    assert full.get(tools.request(scope="profile").url).status_code == 400
    assert not get_application_model().objects.exists()


@pytest.mark.usefixtures("_is_on")
def test_metadata_document__a_client_with_a_long_url_walks_the_whole_flow(full: Client, tools: Party) -> None:
    asked = tools.request(scope="profile offline_access")
    page = full.get(asked.url)
    assert page.status_code == 200, page.headers["Location"]
    assert "Allow Tools?" in text_of(page)
    form = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.content.decode()))
    code = answer_of(full.post("/o/authorize/", {**asked.query, **form, "allow": "Authorize"}))["code"]
    body = {"client_id": DOCUMENT_URL, "code_verifier": asked.verifier}
    answer = tools.server.post(
        "/o/token/", {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI, **body}
    )
    assert answer.status_code == 200, answer.content
    assert CodeContext.objects.get().client_id == TokenContext.objects.first().client_id == DOCUMENT_URL  # type: ignore[union-attr]


@pytest.mark.usefixtures("_is_on")
def test_metadata_document__a_client_named_like_another_is_shown_by_its_url(
    full: Client, tools: Party, make_party: Callable[..., Party], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_party("first", name="Company Intranet")
    monkeypatch.setattr(Documents, "client_name", "company\u00a0intranet")

    page = text_of(full.get(tools.request(scope="profile").url))

    assert f"Allow {DOCUMENT_URL}?" in page
    assert "intranet" not in page.lower()


@pytest.mark.parametrize("source", ["cimd", "dcr"])
def test_shown_name__of_a_client_that_registered_itself_gives_way_to_another_of_that_name(
    source: str, make_party: Callable[..., Party]
) -> None:
    """Whichever came first."""
    itself = make_party("itself", name="Intranet", registration_source=source).application
    assert shown_name(itself) == "Intranet"
    by_administrator = make_party("second", name="INTRANET").application
    assert (shown_name(itself), shown_name(by_administrator)) == ("itself", "INTRANET")
