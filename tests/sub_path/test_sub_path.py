"""A site below a prefix (`FORCE_SCRIPT_NAME`): its commands run, and no page leads out of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.test.utils import override_script_prefix

from ..toolkit import forget_cores

PREFIX = "/idp"
INFO, PASS = "/account/security-info/", "/account/sign-in/pass/"


@pytest.fixture
def below(settings: Any) -> Iterator[None]:
    """Let the site be mounted below the prefix."""
    settings.FORCE_SCRIPT_NAME = PREFIX
    settings.TAP_PROVIDER_BASE_URL = f"http://testserver{PREFIX}"
    settings.OAUTH2_PROVIDER = {**settings.OAUTH2_PROVIDER, "OIDC_ISS_ENDPOINT": f"http://testserver{PREFIX}/o"}
    forget_cores()
    with override_script_prefix(f"{PREFIX}/"):
        yield
    forget_cores()


def inner(location: str) -> str:
    """Return where a redirect leads, as the web server passes it on; it must not lead out of the prefix."""
    parts = urlsplit(location)
    assert parts.netloc in {"", "testserver"}
    assert parts.path.startswith(f"{PREFIX}/"), location
    return parts.path.removeprefix(PREFIX) + (f"?{parts.query}" if parts.query else "")


@pytest.mark.parametrize(
    "command", [["check"], ["migrate", "--verbosity", "0"], ["tap", "policy", "show"]], ids=lambda command: command[0]
)
def test_commands__run_below_a_prefix(command: list[str], tmp_path: Path) -> None:
    environment = {"PATH": os.environ.get("PATH", ""), "VAR_DIR": str(tmp_path)}
    environment["DJANGO_SETTINGS_MODULE"] = "tests.sub_path.settings"
    for arguments in ([["migrate", "--verbosity", "0"]] if command[0] == "tap" else []) + [command]:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=django_settings.BASE_DIR,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.django_db
@pytest.mark.usefixtures("below", "hasher")
def test_pages__lead_to_pages_below_the_prefix(robin: Any, issue: Any) -> None:
    browser = Client()
    asked = browser.get(INFO)
    assert parse_qs(urlsplit(asked["Location"]).query)["next"] == [f"{PREFIX}{INFO}"]
    assert browser.get(inner(asked["Location"])).status_code == 200

    issued = issue(robin, is_usable_once=False)
    typed = {"upn": robin.upn, "passcode": issued.passcode.reveal()}
    answer = browser.post(f"{PASS}?next={PREFIX}/account/security-info/add/totp/", typed)
    page = browser.get(inner(answer["Location"]))
    assert page.status_code == 302  # no registration has begun: back to the list
    page = browser.get(inner(page["Location"]))
    assert page.status_code == 200
    for link in ("security-info/add/totp/", "sign-out/"):
        assert f'"{PREFIX}/account/{link}' in page.content.decode()
    assert '"/account/' not in page.content.decode()
    assert inner(browser.post("/account/sign-out/")["Location"])


@pytest.mark.django_db
@pytest.mark.usefixtures("below")
def test_provider__names_addresses_below_the_prefix() -> None:
    told = Client().get("/o/.well-known/openid-configuration").json()
    addresses = {name: value for name, value in told.items() if isinstance(value, str) and value.startswith("http")}
    assert len(addresses) > 5
    assert all(value.startswith(f"http://testserver{PREFIX}/o") for value in addresses.values()), addresses
