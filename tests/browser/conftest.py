"""A real Chromium against the real demo: provider and relying party, two processes on two origins."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.conftest import in_ci
from tests.serving import ROOT, environment_of, free_port_pair, wait_until_served

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
HOW_TO_GET_ONE = (
    "No Chromium found. Install one (Debian: apt-get install chromium) or name it in the variable CHROMIUM; "
    "the browser tests drive it."
)

# A virtual authenticator takes the sign-in page's autofill offer at once, which a person does not: where a test clicks
# the button, the browser is one without autofill.
WITHOUT_AUTOFILL = "PublicKeyCredential.isConditionalMediationAvailable = async () => false"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--gallery", action="store_true", help="take the pictures of the documentation, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the pictures alone where nobody asks for them: they differ each time, by dates at least."""
    if not config.getoption("--gallery", default=False):
        items[:] = [item for item in items if item.path.name != "test_gallery.py"]


def find_chromium() -> str | None:
    named = os.environ.get("CHROMIUM")
    return named or next((path for name in CHROMIUM_NAMES if (path := shutil.which(name))), None)


@pytest.fixture(scope="package")  # while Playwright runs, so does its event loop, in which Django asks no database
def chromium() -> Iterator[Browser]:
    path = find_chromium()
    if path is None:
        if in_ci():
            pytest.fail(HOW_TO_GET_ONE)
        pytest.skip(HOW_TO_GET_ONE)
    arguments = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--no-sandbox")  # Chromium's sandbox does not start as root
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """`manage.py demo`, running on ports of its own with a database of its own."""
    environment = environment_of(VAR_DIR=str(tmp_path / "var"), DJANGO_SETTINGS_MODULE="example_project.settings")
    log = (tmp_path / "demo.log").open("wb")
    command = [sys.executable, "manage.py", "demo", "--json", "--port", str(free_port_pair())]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log)
    try:
        seeded = _read_json(process)
        for url in (seeded["base_url"], seeded["relying_party_url"]):
            wait_until_served(url)
        yield {**seeded, "database": str(tmp_path / "var" / "example.sqlite3")}
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        log.close()


@pytest.fixture
def new_person(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Open a browser of somebody's own; what its console says against the content security policy is a failure."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_browser(**options: Any) -> Page:
        context = chromium.new_context(**options)
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
        page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
        return page

    yield open_browser
    for context in contexts:
        context.close()
    assert complaints == []


def add_authenticator(page: Page, *, verifies_user: bool = True) -> tuple[Any, str]:
    """Give this browser a virtual authenticator (a platform one with resident keys); return its session and id."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": verifies_user,
        "isUserVerified": verifies_user,
        "automaticPresenceSimulation": True,
    }
    return session, session.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]


def _read_json(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert process.stdout is not None
    text = b""
    for line in process.stdout:
        text += line
        if line == b"}\n":
            return json.loads(text)
    raise RuntimeError(f"the demo said nothing: {text!r}")
