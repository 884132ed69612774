"""A software authenticator (WebAuthn Level 2), so that passkey ceremonies are tested without a browser.

It answers what `navigator.credentials.create()` and `.get()` would, as JSON; attestation "none". Nothing is checked on
this side, so that tests can make it lie: about user verification, origin, or anything else in what it returns.
"""

from __future__ import annotations

import json
import secrets
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from django.test import Client

ORIGIN = "http://localhost:8000"
"""The example's `BASE_URL`, which its passkeys are bound to."""

BEGIN_REGISTRATION = "/account/methods/passkey/registration/begin/"
COMPLETE_REGISTRATION = "/account/methods/passkey/registration/complete/"
BEGIN_AUTHENTICATION = "/account/methods/passkey/authentication/begin/"
COMPLETE_AUTHENTICATION = "/account/methods/passkey/authentication/complete/"

USER_PRESENT, USER_VERIFIED, BACKUP_ELIGIBLE, BACKED_UP, ATTESTED = 0x01, 0x04, 0x08, 0x10, 0x40


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return urlsafe_b64decode(text + "===")


class SoftAuthenticator:
    """Holds one passkey: `verifies_user` if it asks for a finger or PIN, `synchronised` if it is backed up."""

    def __init__(self, *, verifies_user: bool = True, synchronised: bool = False, origin: str = ORIGIN) -> None:
        self.verifies_user = verifies_user
        self.synchronised = synchronised
        self.origin = origin
        self.credential_id = secrets.token_bytes(32)
        self.user_handle = ""
        self.signatures = 0
        self._key = ec.generate_private_key(ec.SECP256R1())

    def create(self, options: dict[str, Any]) -> dict[str, Any]:
        """Answer `navigator.credentials.create()`."""
        self.user_handle = options["user"]["id"]
        attested = b"\0" * 16 + struct.pack(">H", len(self.credential_id)) + self.credential_id + self.public_key()
        attestation = {
            "fmt": "none",
            "attStmt": {},
            "authData": self._authenticator_data(options["rp"]["id"], ATTESTED) + attested,
        }
        return self._credential(
            {
                "clientDataJSON": b64(self._client_data("webauthn.create", options["challenge"])),
                "attestationObject": b64(cbor2.dumps(attestation)),
                "transports": ["internal"],
            },
            clientExtensionResults={"credProps": {"rk": True}},
        )

    def get(self, options: dict[str, Any]) -> dict[str, Any]:
        """Answer `navigator.credentials.get()`."""
        self.signatures += 1
        authenticator_data = self._authenticator_data(options["rpId"])
        client_data = self._client_data("webauthn.get", options["challenge"])
        signature = self._key.sign(authenticator_data + sha256(client_data).digest(), ec.ECDSA(hashes.SHA256()))
        return self._credential(
            {
                "clientDataJSON": b64(client_data),
                "authenticatorData": b64(authenticator_data),
                "signature": b64(signature),
                "userHandle": self.user_handle,
            },
            clientExtensionResults={},
        )

    def public_key(self) -> bytes:
        """Return the public key as a COSE key (RFC 9053 §7.1: EC2, ES256, P-256)."""
        numbers = self._key.public_key().public_numbers()
        return cbor2.dumps({1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")})

    def _credential(self, response: dict[str, Any], **more: Any) -> dict[str, Any]:
        name = b64(self.credential_id)
        return {"id": name, "rawId": name, "type": "public-key", "response": response, **more}

    def _client_data(self, kind: str, challenge: str) -> bytes:
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": False}).encode()

    def _authenticator_data(self, rp_id: str, flags: int = 0) -> bytes:
        flags |= USER_PRESENT | (USER_VERIFIED if self.verifies_user else 0)
        flags |= BACKUP_ELIGIBLE | BACKED_UP if self.synchronised else 0
        return sha256(rp_id.encode()).digest() + bytes([flags]) + struct.pack(">I", self.signatures)


def post_json(client: Client, url: str, body: Any = None, **extra: Any) -> Any:
    """Post JSON as the library's script does; `bytes` are sent as they are."""
    data = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
    return client.post(url, data, content_type="application/json", **extra)


def register_passkey(client: Client, authenticator: SoftAuthenticator) -> Any:
    """Run the registration ceremony in this browser; return the response to its last step."""
    begun = post_json(client, BEGIN_REGISTRATION)
    return (
        post_json(client, COMPLETE_REGISTRATION, authenticator.create(begun.json()))
        if begun.status_code == 200
        else begun
    )


def sign_in_with_passkey(client: Client, authenticator: SoftAuthenticator, next_url: str = "") -> Any:
    """Run the authentication ceremony in this browser; return the response to its last step."""
    begun = post_json(client, BEGIN_AUTHENTICATION)
    query = {"query_params": {"next": next_url}} if next_url else {}
    return post_json(client, COMPLETE_AUTHENTICATION, authenticator.get(begun.json()), **query)
