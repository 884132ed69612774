"""`manage.py demo`: what it seeds, what it says, and that it serves both processes and leaves none behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import httpx
import pytest
from django.conf import settings as django_settings
from django.contrib.auth import authenticate, get_user_model
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from oauth2_provider.models import get_application_model

from tap_provider.models import SignIn, TemporaryAccessPass, TemporaryAccessPassPolicy
from tap_provider.oidc.models import RelyingParty

SHAPE = {
    "base_url": "http://localhost:8000",
    "issuer": "http://localhost:8000/o",
    "sign_in_with_pass_url": "http://localhost:8000/account/sign-in/pass/",
    "security_info_url": "http://localhost:8000/account/security-info/",
    "admin": {"username": str, "password": str},
    "user": {"upn": str, "password": str},
    "pass": {"id": str, "passcode": str, "starts_at": str, "expires_at": str},
    "clients": {
        "registration": {
            "client_id": str,
            "client_secret": str,
            "redirect_uri": "http://127.0.0.1:8001/callback/registration/",
        },
        "ordinary": {
            "client_id": str,
            "client_secret": str,
            "redirect_uri": "http://127.0.0.1:8001/callback/ordinary/",
        },
    },
    "relying_party_url": "http://127.0.0.1:8001",
}


def fits(value: Any, shape: Any) -> bool:
    if isinstance(shape, dict):
        return list(value) == list(shape) and all(fits(value[name], shape[name]) for name in shape)
    return isinstance(value, shape) if isinstance(shape, type) else value == shape


def seed(*arguments: str) -> Any:
    out = StringIO()
    call_command("demo", "--seed-only", "--json", *arguments, stdout=out)
    return json.loads(out.getvalue())


def secrets_in(seeded: Any) -> set[str]:
    return {
        seeded["admin"]["password"],
        seeded["user"]["password"],
        seeded["pass"]["passcode"],
        *(client["client_secret"] for client in seeded["clients"].values()),
    }


# Seeding.


@pytest.mark.django_db
def test_seed__prints_one_json_object_of_exactly_this_shape() -> None:
    assert fits(seed(), SHAPE)


@pytest.mark.django_db
def test_seed__the_pass_and_the_passwords_work(client: Client) -> None:
    seeded = seed()
    holder = seeded["user"]
    response = client.post("/account/sign-in/pass/", {"upn": holder["upn"], "passcode": seeded["pass"]["passcode"]})
    assert response["Location"] == "/account/security-info/"
    browser = Client()
    browser.post("/account/sign-in/", {"upn": holder["upn"], "password": holder["password"]})
    assert browser.get("/members/").status_code == 200
    administrator = authenticate(**seeded["admin"])
    assert administrator is not None
    assert (administrator.is_staff, administrator.is_superuser) == (True, True)
    assert str(TemporaryAccessPass.objects.get().pk) == seeded["pass"]["id"]


@pytest.mark.django_db
def test_seed__turns_the_policy_on_and_tells_the_clients_apart() -> None:
    seeded = seed()
    assert TemporaryAccessPassPolicy.objects.current().enabled
    for name, client in seeded["clients"].items():
        application = get_application_model().objects.get(client_id=client["client_id"])
        assert application.redirect_uris == client["redirect_uri"]
        assert client["client_secret"] not in application.client_secret  # kept hashed
        assert RelyingParty.objects.get(client_id=client["client_id"]).may_host_registration is (name == "registration")


@pytest.mark.django_db
def test_seed__twice_is_fine_and_every_secret_is_new() -> None:
    first, second = seed(), seed()
    assert secrets_in(first).isdisjoint(secrets_in(second))
    assert all(len(secret) >= 9 for secret in secrets_in(second))
    assert get_user_model()._default_manager.count() == 2
    assert get_application_model().objects.count() == RelyingParty.objects.count() == 2
    assert TemporaryAccessPass.objects.count() == TemporaryAccessPassPolicy.objects.count() == 1
    assert first["user"]["upn"] == second["user"]["upn"]
    client = Client()
    client.post("/account/sign-in/pass/", {"upn": first["user"]["upn"], "passcode": first["pass"]["passcode"]})
    assert not SignIn.objects.exists()  # the first pass was replaced


@pytest.mark.django_db
def test_seed__says_until_when_the_passcode_works_in_words_of_people() -> None:
    out = StringIO()
    call_command("demo", "--seed-only", stdout=out)
    assert re.search(r"passcode +\S+ +\(until \d{4}-\d\d-\d\d \d\d:\d\d UTC\)\n", out.getvalue())


@pytest.mark.django_db
def test_seed__twice_repairs_what_was_changed_meanwhile() -> None:
    upn = seed()["user"]["upn"]
    get_user_model()._default_manager.filter(upn=upn).update(is_active=False)
    TemporaryAccessPassPolicy.objects.update(enabled=False, one_time_only=True, include_all_users=False)
    assert fits(seed(), SHAPE)
    assert get_user_model()._default_manager.get(upn=upn).is_active


def lifetime_of(seeded: Any) -> timedelta:
    starts, expires = (datetime.fromisoformat(seeded["pass"][name]) for name in ("starts_at", "expires_at"))
    assert abs(starts - timezone.now()) < timedelta(minutes=1)
    return expires - starts


@pytest.mark.django_db
@pytest.mark.parametrize("minutes", [10, 60, 480, 43_200])
def test_seed__lifetime_does_what_it_says(minutes: int) -> None:
    assert lifetime_of(seed("--lifetime", str(minutes))) == timedelta(minutes=minutes)
    assert lifetime_of(seed()) == timedelta(hours=1)


@pytest.mark.django_db
@pytest.mark.parametrize("minutes", [9, 0, -60, 43_201, 10**18])
def test_seed__a_lifetime_that_no_pass_may_have_names_the_bound(minutes: int) -> None:
    with pytest.raises(CommandError, match="between 10 and 43200 minutes") as refused:
        seed("--lifetime", str(minutes))
    assert refused.value.returncode == 2
    assert not TemporaryAccessPass.objects.exists()


@pytest.mark.django_db
def test_seed__one_time_does_what_it_says() -> None:
    seed()
    assert not TemporaryAccessPass.objects.get().is_usable_once
    seed("--one-time")
    assert TemporaryAccessPass.objects.get().is_usable_once
    seed()
    assert not TemporaryAccessPass.objects.get().is_usable_once


@pytest.mark.django_db
def test_seed__port_moves_both_processes() -> None:
    seeded = seed("--port", "9100")
    assert seeded["base_url"] == "http://localhost:9100"
    assert seeded["issuer"] == "http://localhost:9100/o"
    assert seeded["sign_in_with_pass_url"].startswith("http://localhost:9100/")
    assert seeded["relying_party_url"] == "http://127.0.0.1:9101"
    assert seeded["clients"]["ordinary"]["redirect_uri"] == "http://127.0.0.1:9101/callback/ordinary/"


@pytest.mark.django_db
@pytest.mark.parametrize("port", ["0", "-1", "65535", "70000"])
def test_seed__a_port_that_leaves_none_for_the_relying_party_is_refused(port: str) -> None:
    with pytest.raises(CommandError) as refused:
        seed("--port", port)
    assert refused.value.returncode == 2


@pytest.mark.django_db
def test_demo__says_in_plain_words_what_to_open_and_type() -> None:
    out = StringIO()
    call_command("demo", "--seed-only", stdout=out)
    said = out.getvalue()
    for part in (SHAPE["sign_in_with_pass_url"], SHAPE["relying_party_url"], "/admin/", "robin@example.test", "Ctrl-C"):
        assert part in said
    assert re.search(r"[0-9A-Z]{4}-[0-9A-Z]{4}", said)


# Serving.


def free_ports() -> int:
    """Return a port that is free, as is the next one."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return int(port)


def environment(tmp_path: Path) -> dict[str, str]:
    """What a newcomer's shell holds: nothing of ours; what is written goes below `tmp_path`."""
    return {"PATH": os.environ.get("PATH", ""), "VAR_DIR": str(tmp_path)}


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Any]:
    """Start `manage.py demo` in a process group of its own; whatever is left of it is killed at the end."""
    started = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        with (tmp_path / "stderr").open("w") as stderr:  # a file, not a pipe: the servers may outlive who reads it
            process = subprocess.Popen(
                [sys.executable, "manage.py", "demo", *arguments],
                cwd=django_settings.BASE_DIR,
                env=environment(tmp_path),
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        if group_lives(process):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)
        assert process.stdout is not None
        process.stdout.close()


def group_lives(process: subprocess.Popen[str]) -> bool:
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=10) as response:
            return bool(response.status == 200)
    except (URLError, ConnectionError, TimeoutError):
        return False


def wait_until(condition: Any, *, seconds: int = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_demo__serves_both_processes_and_leaves_none_behind(demo: Any, tmp_path: Path, stop: signal.Signals) -> None:
    port = free_ports()
    process = demo("--json", "--port", str(port))
    provider, relying_party = f"http://localhost:{port}", f"http://127.0.0.1:{port + 1}"
    wait_until(lambda: process.poll() is not None or (answers(f"{provider}/") and answers(f"{relying_party}/")))
    assert process.poll() is None, (tmp_path / "stderr").read_text()
    assert answers(f"{provider}/account/sign-in/pass/")
    assert answers(f"{provider}/static/tap_provider/tap_provider.css")
    assert answers(f"{provider}/o/.well-known/openid-configuration")
    process.send_signal(stop)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert json.loads(out)["base_url"] == provider  # one JSON object, and nothing else
    assert not group_lives(process)
    assert not answers(f"{provider}/")
    assert not answers(f"{relying_party}/")


def csrf_of(page: httpx.Response) -> dict[str, str]:
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert token is not None
    return {"csrfmiddlewaretoken": token[1]}


def test_demo__signing_out_at_the_provider_signs_out_at_the_relying_party(demo: Any, tmp_path: Path) -> None:
    """Back-Channel Logout 1.0, between the processes that people try out."""
    port = free_ports()
    process = demo("--json", "--port", str(port))
    provider, relying_party = f"http://localhost:{port}", f"http://127.0.0.1:{port + 1}"
    wait_until(lambda: process.poll() is not None or (answers(f"{provider}/") and answers(f"{relying_party}/")))
    assert process.poll() is None, (tmp_path / "stderr").read_text()
    user = json.loads(process.stdout.readline() + "".join(iter(process.stdout.readline, "}\n")) + "}")["user"]
    with httpx.Client(follow_redirects=True, timeout=30) as browser:
        page = browser.get(f"{provider}/account/sign-in/")
        browser.post(page.url, data={"upn": user["upn"], "password": user["password"], **csrf_of(page)})
        assert browser.get(f"{relying_party}/sign-in/ordinary/").url == f"{relying_party}/claims/"

        browser.post(f"{provider}/account/sign-out/", data={"csrfmiddlewaretoken": browser.cookies["csrftoken"]})

        # Its home page asks the provider nothing: it knows what it was told.
        wait_until(lambda: "The provider has told this site" in browser.get(f"{relying_party}/").text, seconds=60)
        assert "Nobody is signed in here" in browser.get(f"{relying_party}/").text


@pytest.mark.parametrize("taken", [0, 1])
def test_demo__a_port_in_use_stops_it_with_a_hint(demo: Any, tmp_path: Path, taken: int) -> None:
    port = free_ports()
    with socket.socket() as other:
        other.bind(("127.0.0.1", port + taken))
        other.listen()
        process = demo("--json", "--port", str(port))
        process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Try --port" in (tmp_path / "stderr").read_text()
    wait_until(lambda: not group_lives(process), seconds=10)


def test_demo__what_it_keeps_only_its_owner_reads(demo: Any, tmp_path: Path) -> None:
    process = demo("--seed-only", "--json")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    for name in ("secret_key", "oidc.pem"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    seeded = json.loads(out)
    for secret in {*secrets_in(seeded), seeded["pass"]["passcode"].replace("-", "")}:
        assert secret.encode() not in kept
