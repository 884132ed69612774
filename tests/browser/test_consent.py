"""The provider's questions in a real browser: an answer leads to the client, on an origin of its own.

Chromium holds a page's `form-action` against every redirect after a form post; `new_person` fails a test in which it
complains.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from .acts import give_password
from .demo_database import change

pytestmark = pytest.mark.browser

ASK = "UPDATE oauth2_provider_application SET skip_authorization = 0"


def test_consent__leads_to_the_client_and_logout_back_to_it(
    demo: dict[str, Any], new_person: Callable[..., Page]
) -> None:
    change(demo, ASK)
    robin, client = new_person(), demo["relying_party_url"]
    give_password(robin, demo)
    robin.wait_for_url(demo["base_url"] + "/")

    robin.goto(client + "/sign-in/ordinary/")
    expect(robin.get_by_role("heading", name="Allow Intranet?")).to_be_visible()
    expect(robin.locator("main")).to_contain_text(client.removeprefix("http://"))
    robin.get_by_role("button", name="Allow").click()
    robin.wait_for_url(client + "/claims/")

    robin.goto(f"{demo['base_url']}/o/logout/?client_id=demo-ordinary&post_logout_redirect_uri={client}/")
    robin.get_by_role("button", name="Sign out").click()
    robin.wait_for_url(client + "/")


def test_consent__declined_leads_to_the_client(demo: dict[str, Any], new_person: Callable[..., Page]) -> None:
    change(demo, ASK)
    robin = new_person()
    give_password(robin, demo)
    robin.wait_for_url(demo["base_url"] + "/")

    robin.goto(demo["relying_party_url"] + "/sign-in/ordinary/")
    robin.get_by_role("button", name="Cancel").click()
    robin.wait_for_url(demo["relying_party_url"] + "/**")
    expect(robin.locator("body")).to_contain_text("access_denied")
