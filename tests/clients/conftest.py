"""The provider as a process of its own, and the clients that meet it. One of each for every worker of the suite."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients.person import Browser, Person
from tests.clients.relying_parties import Authlib, Connect, NodeClient, Registration
from tests.conftest import in_ci
from tests.serving import ROOT, environment_of, free_port_pair, served

NODE_SCRIPTS = Path(__file__).parent / "node"
OLDEST_NODE = 18
HOW_TO_GET_NODE = (
    f"No Node.js {OLDEST_NODE} with npm found. Install it (Debian: apt-get install nodejs npm): two of the clients "
    "that the provider is tried with are JavaScript libraries."
)
HOW_TO_INSTALL = "npm could not install what tests/clients/node/package.json names: {}"


@dataclass(frozen=True)
class Provider:
    """The example project, served on loopback, and who is known there."""

    url: str
    issuer: str
    relying_party_url: str
    clients: dict[str, Registration]
    people: Iterator[dict[str, Any]]

    def client(self, name: str) -> Registration:
        return self.clients[name]

    def person(self) -> Person:
        """Return somebody whom no other test knows."""
        return Person(**next(self.people))


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    place = tmp_path_factory.mktemp("provider")
    port = free_port_pair()
    url = f"http://localhost:{port}"
    environment = environment_of(
        VAR_DIR=str(place), BASE_URL=url, DJANGO_SETTINGS_MODULE="example_project.settings", PYTHONPATH=str(ROOT)
    )
    seed = "import django; django.setup(); from tests.clients.seed import main; main()"
    command = [sys.executable, "-c", seed, str(port)]
    seeded = json.loads(subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE).stdout)
    with served("example_project.wsgi", url, environment=environment, log=place / "provider.log"):
        yield Provider(
            url=url,
            issuer=seeded["issuer"],
            relying_party_url=seeded["relying_party_url"],
            clients={name: Registration(**client) for name, client in seeded["clients"].items()},
            people=iter(seeded["people"]),
        )


@pytest.fixture
def person(provider: Provider) -> Person:
    return provider.person()


@pytest.fixture
def open_browser(provider: Provider) -> Iterator[Callable[..., Browser]]:
    """Open a browser of somebody's own; `means` is how they sign in."""
    browsers: list[Browser] = []

    def open_for(person: Person, **options: Any) -> Browser:
        browsers.append(Browser(provider.url, person, **options))
        return browsers[-1]

    yield open_for
    for browser in browsers:
        browser.close()


@pytest.fixture(scope="session")
def node_scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scripts, and the packages that they import."""
    if not _has_node():
        _missing(HOW_TO_GET_NODE)
    place = tmp_path_factory.mktemp("node")
    shutil.copytree(NODE_SCRIPTS, place, dirs_exist_ok=True)
    install = ["npm", "install", "--prefix", str(place), "--no-package-lock", "--no-audit", "--no-fund", "--silent"]
    installed = subprocess.run(install, capture_output=True, text=True, check=False)
    if installed.returncode:
        _missing(HOW_TO_INSTALL.format(installed.stderr))
    return place


def _has_node() -> bool:
    if shutil.which("node") is None or shutil.which("npm") is None:
        return False
    told = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout
    return told.startswith("v") and int(told[1:].partition(".")[0]) >= OLDEST_NODE


def _missing(what: str) -> None:
    if in_ci():
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(params=["authlib", "openid_client", "oauth4webapi"])
def connect(request: pytest.FixtureRequest, provider: Provider) -> Iterator[Connect]:
    """Set up one of the libraries as a client of the provider's; every test that asks for this runs with each."""
    opened = []

    def connect_as(name: str, **changes: Any) -> Any:
        registered = Registration(**{**vars(provider.client(name)), **changes})
        if request.param == "authlib":
            opened.append(Authlib(provider.issuer, registered))
        else:
            scripts: Path = request.getfixturevalue("node_scripts")
            opened.append(NodeClient(scripts / f"{request.param}.mjs", provider.issuer, registered))
        return opened[-1]

    yield connect_as
    for party in opened:
        party.close()
