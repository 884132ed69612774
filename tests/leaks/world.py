"""People, clients, and the secrets that a flow uses or makes."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from django.test import Client
from django.utils import timezone
from django_otp.oath import totp
from django_otp.plugins.otp_totp.models import TOTPDevice

from tap_provider.hooks import get_hooks
from tap_provider.issue import IssuedPass
from tap_provider.methods.recovery_codes import make_codes
from tap_provider.models import Level
from tap_provider.oidc.device_codes import DEVICE_CODE_GRANT
from tap_provider.sign_in import Client as WhereFrom
from tap_provider.sign_in import begin_sign_in

PASSWORD, NEW_PASSWORD = "sentinel-password-kqz", "sentinel-new-password-kqz"
CLIENT_SECRET = "sentinel-client-secret-kqz"
VERIFIER = "sentinel-verifier-" + "kqz" * 12
REDIRECT_URI = "https://relying-party.test/callback/"
WRONG_CODE = "735281"


@dataclass
class Known:
    """The secrets that a flow has used or made, by kind."""

    # Without a repr: functions of the tests stand in tracebacks too.
    texts: dict[str, set[str]] = field(default_factory=dict, repr=False)

    def add(self, kind: str, *texts: str) -> None:
        self.texts.setdefault(kind, set()).update(texts)

    def forget(self) -> None:
        """Keep only what is the same each time."""
        self.texts = {}
        self.add("password", PASSWORD, NEW_PASSWORD)
        self.add("client secret", CLIENT_SECRET)
        self.add("code verifier", VERIFIER)
        self.add("totp code", WRONG_CODE)

    def patterns(self) -> dict[str, re.Pattern[str]]:
        return {
            # A code of six digits is also part of numbers that are none.
            kind: re.compile("|".join(rf"(?<![\w.]){re.escape(text)}(?!\w)" for text in sorted(texts)), re.IGNORECASE)
            for kind, texts in self.texts.items()
            if texts
        }


def upn_of(user: Any) -> str:
    return get_hooks().get_upn(user)


@dataclass
class World:
    """People and clients as each flow finds them, and what is known to be secret."""

    known: Known
    admin: Any
    robin: Any
    issue: Callable[..., IssuedPass]
    application: Any

    def passcode(self) -> str:
        return self.issue(self.robin).passcode.reveal()

    def browser(self) -> Client:
        return Client(raise_request_exception=False)

    def holder(self) -> Client:
        browser = self.browser()
        browser.post("/account/sign-in/pass/", {"upn": upn_of(self.robin), "passcode": self.passcode()})
        return browser

    def signed_in(self) -> Client:
        browser = self.browser()
        browser.post("/account/sign-in/", {"upn": upn_of(self.robin), "password": PASSWORD})
        return browser

    def app(self) -> TOTPDevice:
        return TOTPDevice.objects.create(user=self.robin, name="App", confirmed=True)

    def code_of(self, device: TOTPDevice) -> str:
        code = f"{totp(device.bin_key):06d}"
        self.known.add("totp code", code)
        return code

    def recovery_code(self) -> str:
        sign_in = begin_sign_in(
            user=self.robin,
            methods=["password", "totp"],
            amr=["mfa"],
            level=Level.MULTI_FACTOR,
            client=WhereFrom(),
            now=timezone.now(),
            authenticated_at=timezone.now(),
        )
        return make_codes(sign_in=sign_in, now=timezone.now(), address=None).codes[0].reveal()

    def authorization(self, **changes: str) -> str:
        challenge = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
        query = {
            "response_type": "code",
            "client_id": self.application.client_id,
            "redirect_uri": REDIRECT_URI,
            "scope": "openid offline_access",
            "nonce": "nonce",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **changes,
        }
        return f"/o/authorize/?{urlencode(query)}"

    def use_grant(self, grant_type: str) -> None:
        """Let the client have this grant in place of authorization codes."""
        fields = {"client_type": "public"} if grant_type == DEVICE_CODE_GRANT else {}
        type(self.application).objects.update(authorization_grant_type=grant_type, **fields)

    def ask_for_device(self) -> Any:
        """Ask for the codes of a device, and note the secret one. The other stands in addresses (RFC 8628 §3.3.1)."""
        body = {"client_id": self.application.client_id, "scope": "openid"}
        form = "application/x-www-form-urlencoded"
        response = self.browser().post("/o/device-authorization/", urlencode(body), content_type=form)
        if response.status_code == 200:
            self.known.add("device code", response.json()["device_code"])
        return response

    def device(self) -> dict[str, Any]:
        response = self.ask_for_device()
        assert response.status_code == 200, response.content
        codes: dict[str, Any] = response.json()
        return codes

    def code(self) -> str:
        answer = self.signed_in().get(self.authorization())
        return parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]

    def exchange(self, code: str, **extra: Any) -> Any:
        body = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI}
        body |= {"client_id": self.application.client_id, "client_secret": CLIENT_SECRET, "code_verifier": VERIFIER}
        return self.browser().post("/o/token/", body, **extra)

    def tokens(self) -> dict[str, str]:
        tokens: dict[str, str] = self.exchange(self.code()).json()
        self.known.add("id token", tokens["id_token"])
        self.known.texts["access token"].discard(tokens["refresh_token"])
        self.known.add("refresh token", tokens["refresh_token"])
        return tokens
