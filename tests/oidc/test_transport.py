"""How a logout token reaches a relying party: where it may go, how long that may take, what counts as an answer."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.core.exceptions import ValidationError

from tap_provider.oidc import transport
from tap_provider.oidc.transport import NotDelivered, may_reach, post_form, validate_uri

from .logout_receiver import Receiver, receiving

LOOPBACK = ("127.0.0.0/8", "::1/128")


@pytest.fixture(autouse=True)
def _nowhere(settings: Any) -> None:
    """As a site has it that lists nothing; the example lists loopback."""
    settings.TAP_PROVIDER_BACKCHANNEL_NETWORKS = ()


@pytest.fixture
def loopback(settings: Any, _nowhere: None) -> None:
    settings.TAP_PROVIDER_BACKCHANNEL_NETWORKS = LOOPBACK


@pytest.fixture
def receiver(loopback: None) -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that nobody has reason to trust, with its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(tz=UTC)
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    encoded = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(built.public_bytes(Encoding.PEM) + encoded)
    return path


@pytest.fixture
def tls_receiver(loopback: None, certificate: Path) -> Iterator[Receiver]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with receiving(context) as receiver:
        yield receiver


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch, certificate: Path) -> None:
    """As if the machine's administrator trusted it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "TIMEOUT_SECONDS", 0.3)


# validate_uri


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.2")
@pytest.mark.parametrize(
    "uri",
    [
        "https://relying-party.test/logout",
        "https://relying-party.test:8443/logout?tenant=1&x",
        "https://intranet/logout",
        "https://8.8.8.8/logout",
        "https://[2606:4700:4700::1111]/logout",
    ],
)
def test_validate_uri__accepts(uri: str) -> None:
    """Back-Channel Logout 1.0 §2.2: absolute; port, path and query as they are."""
    validate_uri(uri)


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.2")
@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("", "not_absolute"),
        ("/logout", "not_absolute"),
        ("relying-party.test/logout", "not_absolute"),
        ("https:///logout", "not_absolute"),
        ("ftp://relying-party.test/logout", "not_absolute"),
        ("file:///etc/passwd", "not_absolute"),
        ("https://relying-party.test:port/", "not_absolute"),
        ("https://[::1/", "not_absolute"),
        ("https://relying-party.test/a b", "not_absolute"),
        ("https://relying-party.test/\r\nHost: elsewhere", "not_absolute"),
        ("https://r\N{LATIN SMALL LETTER E WITH ACUTE}lying-party.test/", "not_absolute"),
        ("https://relying-party.test/#fragment", "not_plain"),
        ("https://relying-party.test/#", "not_plain"),
        ("https://user:secret@relying-party.test/", "not_plain"),
        ("http://relying-party.test/logout", "not_https"),
        ("http://10.0.0.1/logout", "not_https"),
        ("http://127.0.0.1:8001/logout", "address_not_allowed"),
        ("https://127.0.0.1/logout", "address_not_allowed"),
        ("https://10.0.0.1/logout", "address_not_allowed"),
        ("https://169.254.169.254/latest/meta-data", "address_not_allowed"),
        ("https://[::ffff:10.0.0.1]/logout", "address_not_allowed"),
    ],
)
def test_validate_uri__refuses(uri: str, code: str) -> None:
    """Back-Channel Logout 1.0 §2.2: absolute, and no fragment; the rest is so that no secret or token goes astray."""
    with pytest.raises(ValidationError) as caught:
        validate_uri(uri)

    assert caught.value.code == code


@pytest.mark.parametrize("uri", ["http://127.0.0.1:8001/logout", "http://localhost:8001/", "http://[::1]:8001/"])
def test_validate_uri__accepts_plain_http_to_loopback_where_the_site_lists_it(loopback: None, uri: str) -> None:
    validate_uri(uri)


# may_reach


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"],
)
def test_may_reach__public_addresses(address: str) -> None:
    assert may_reach(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.1.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "fc00::1",
        "fe80::1",
        "ff02::1",
        "ff0e::1",
        "fec0::1",
        "::127.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::10.0.0.1",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "2001:0:a00:1::1",
    ],
)
def test_may_reach__no_other(address: str) -> None:
    assert not may_reach(ip_address(address))


def test_may_reach__networks_that_the_site_lists(settings: Any) -> None:
    settings.TAP_PROVIDER_BACKCHANNEL_NETWORKS = ["10.1.0.0/16", "fc00::/7"]

    assert may_reach(ip_address("10.1.2.3"))
    assert may_reach(ip_address("::ffff:10.1.2.3"))
    assert may_reach(ip_address("64:ff9b::10.1.2.3"))
    assert may_reach(ip_address("fc00::1"))
    assert not may_reach(ip_address("10.2.0.1"))
    assert not may_reach(ip_address("127.0.0.1"))


# post_form


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.5")
def test_post_form__posts_and_returns_the_status(receiver: Receiver) -> None:
    """Back-Channel Logout 1.0 §2.5."""
    assert post_form(receiver.uri, {"logout_token": "a b+&="}) == 200

    form = "application/x-www-form-urlencoded"
    assert receiver.requests == [("POST", "/logout?from=provider", form, {"logout_token": ["a b+&="]})]


@pytest.mark.parametrize("status", [204, 400, 500])
def test_post_form__returns_whatever_status(receiver: Receiver, status: int) -> None:
    receiver.status = status

    assert post_form(receiver.uri, {}) == status


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_post_form__follows_no_redirect(receiver: Receiver, status: int) -> None:
    receiver.status, receiver.headers = status, {"Location": receiver.uri}

    assert post_form(receiver.uri, {}) == status
    assert len(receiver.requests) == 1


def test_post_form__uses_no_proxy_of_the_environment(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    assert post_form(receiver.uri, {}) == 200


@pytest.mark.parametrize("behaviour", ["hang", "drip"])
def test_post_form__waits_no_longer_than_it_may(receiver: Receiver, impatient: None, behaviour: str) -> None:
    receiver.behaviour, began = behaviour, time.monotonic()

    with pytest.raises(NotDelivered, match="no answer within"):
        post_form(receiver.uri, {})

    assert len(receiver.requests) == 1
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("behaviour", ["hang", "drip"])
def test_post_form__over_tls_waits_no_longer_than_it_may(
    tls_receiver: Receiver, trusted: None, impatient: None, behaviour: str
) -> None:
    tls_receiver.behaviour = behaviour

    with pytest.raises(NotDelivered, match="no answer within"):
        post_form(tls_receiver.uri, {})

    assert len(tls_receiver.requests) == 1


def test_post_form__over_tls(tls_receiver: Receiver, trusted: None) -> None:
    assert post_form(tls_receiver.uri, {"logout_token": "x"}) == 200


def test_post_form__sends_nothing_to_a_certificate_that_is_not_trusted(tls_receiver: Receiver) -> None:
    with pytest.raises(NotDelivered, match="certificate verify failed"):
        post_form(tls_receiver.uri, {"logout_token": "x"})

    assert tls_receiver.requests == []


def test_post_form__says_that_nobody_listens(receiver: Receiver) -> None:
    with receiving() as gone:
        uri = gone.uri

    with pytest.raises(NotDelivered, match="refused"):
        post_form(uri, {})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_post_form__connects_to_no_address_that_is_not_public(receiver: Receiver, settings: Any, host: str) -> None:
    """A name that stands for such an address is no way in either: it is judged where the connection is made."""
    settings.TAP_PROVIDER_BACKCHANNEL_NETWORKS = ()

    with pytest.raises(NotDelivered, match="not public"):
        post_form(receiver.uri.replace("127.0.0.1", host), {})

    assert receiver.requests == []


def test_post_form__speaks_plain_http_to_nobody_else(settings: Any) -> None:
    settings.TAP_PROVIDER_BACKCHANNEL_NETWORKS = ("0.0.0.0/0",)

    with pytest.raises(NotDelivered, match="Plain http"):
        post_form("http://192.0.2.1/logout", {})


def test_post_form__says_that_there_is_no_such_host(loopback: None) -> None:
    with pytest.raises(NotDelivered):
        post_form("https://nowhere.invalid/logout", {})
