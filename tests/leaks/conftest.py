"""Listening where secrets are made, and the site of these tests."""

from __future__ import annotations

import re
import sys
from base64 import b32encode
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.db.models.signals import pre_save
from django_otp.plugins.otp_totp.models import TOTPDevice
from oauth2_provider.models import get_application_model
from oauthlib import common

from tap_provider import issue
from tap_provider.methods import recovery_codes
from tap_provider.secret import Secret

from ..conftest import ADMINS
from ..toolkit import forget_cores
from .world import CLIENT_SECRET, PASSWORD, REDIRECT_URI, Known, World


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Iterator[Known]:
    """Listen where secrets are made: to our generator and to oauthlib's, and to what is saved."""
    known = Known()
    generate = common.generate_token

    def listen_to(kind: str, module: Any) -> None:
        generate_ours = module.generate_passcode

        def generate_passcode(*args: Any, **kwargs: Any) -> Secret:
            made: Secret = generate_ours(*args, **kwargs)
            known.add(kind, made.reveal(), "-".join(re.findall("....", made.reveal())))
            return made

        monkeypatch.setattr(module, "generate_passcode", generate_passcode)

    listen_to("passcode", issue)
    listen_to("recovery code", recovery_codes)

    def generate_token(*args: Any, **kwargs: Any) -> str:
        token = generate(*args, **kwargs)
        caller = sys._getframe(1).f_code.co_name
        if caller != "generate_client_id":  # which also makes client secrets: a flow notes those that it receives
            known.add("authorization code" if caller == "create_authorization_code" else "access token", token)
        return token

    def note_saved(sender: type[Any], instance: Any, **kwargs: Any) -> None:
        if isinstance(instance, TOTPDevice):
            known.add("totp key", instance.key, b32encode(instance.bin_key).decode().rstrip("="))
        elif isinstance(instance, Session):
            known.add("session key", instance.session_key)

    monkeypatch.setattr(common, "generate_token", generate_token)
    monkeypatch.setattr("oauthlib.oauth2.rfc6749.tokens.common.generate_token", generate_token)
    pre_save.connect(note_saved)
    yield known
    pre_save.disconnect(note_saved)


@pytest.fixture
def world(known: Known, admin: Any, robin: Any, issue: Any, settings: Any) -> Iterator[World]:
    """A site with every kind of method, set up as the documentation says, with its administrators' address."""
    settings.TAP_PROVIDER_REGISTRABLE_METHODS = ["passkey", "totp", "recovery_codes", "password"]
    settings.ADMINS = ADMINS
    settings.OAUTH2_PROVIDER = {
        **settings.OAUTH2_PROVIDER,
        "COMPLIANT_BCP_RFC9700_PASSWORD_GRANT": False,
        "DCR_ENABLED": True,
    }
    robin.set_password(PASSWORD)
    robin.save()
    application_model = get_application_model()
    application = application_model.objects.create(
        name="Intranet",
        client_id="intranet",
        client_secret=CLIENT_SECRET,
        client_type=application_model.CLIENT_CONFIDENTIAL,
        authorization_grant_type=application_model.GRANT_AUTHORIZATION_CODE,
        algorithm=application_model.RS256_ALGORITHM,
        redirect_uris=REDIRECT_URI,
        skip_authorization=True,
    )
    forget_cores()
    yield World(known=known, admin=admin, robin=robin, issue=issue, application=application)
    forget_cores()
