"""Under which user names a password is tried: what was typed first, where a backend of the site's own may know it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.hashers import MD5PasswordHasher
from django.test import Client

from tap_provider.backends import ProvingBackend
from tap_provider.methods.typed_names import names_to_try
from tap_provider.models import AuditEvent

pytestmark = pytest.mark.django_db

SIGN_IN = "/account/sign-in/"
PASSWORD = "a-long-enough-phrase"
TAP_BACKEND = "tap_provider.backends.TemporaryAccessPassBackend"


class EmailBackend(ProvingBackend, ModelBackend):
    """The commonest backend of sites: what is typed as the user name is an e-mail address."""


class _ByEmail(ModelBackend):
    def authenticate(self, request: Any, username: Any = None, password: Any = None, **kwargs: Any) -> Any:  # type: ignore[override]
        users = get_user_model()._default_manager
        user = users.filter(email__iexact=username).first()
        if user is None:
            get_user_model()().set_password(password)
            return None
        return user if user.check_password(password) and self.user_can_authenticate(user) else None


class ProvingByEmail(ProvingBackend, _ByEmail):
    """As a site writes it that wants its sign-ins to say what they proved."""


class Hashed(MD5PasswordHasher):
    count = 0

    def encode(self, password: str, salt: str, *args: Any) -> str:
        type(self).count += 1
        return super().encode(password, salt, *args)


@pytest.fixture
def by_email(settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.ProvingByEmail", TAP_BACKEND]
    settings.TAP_PROVIDER_UPN_FIELD = "email"


@pytest.fixture
def kim(make_user: Callable[..., Any]) -> Any:
    return make_user("kim", email="kim@mail.test", password=PASSWORD)


@pytest.mark.usefixtures("by_email")
@pytest.mark.parametrize("typed", ["kim@mail.test", "KIM@mail.test", " kim@mail.test"])
def test_sign_in__by_a_backend_that_takes_the_email_address(typed: str, kim: Any, client: Client) -> None:
    assert client.post(SIGN_IN, {"upn": typed, "password": PASSWORD}).status_code == 302
    assert client.session["_auth_user_id"] == str(kim.pk)


@pytest.mark.usefixtures("by_email")
def test_sign_in__by_such_a_backend_refuses_a_wrong_password(kim: Any, client: Client) -> None:
    assert client.post(SIGN_IN, {"upn": "kim@mail.test", "password": "another"}).status_code == 200
    assert "_auth_user_id" not in client.session


def test_sign_in__by_the_user_name_where_another_backend_comes_first(kim: Any, client: Client, settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.ProvingByEmail", "tap_provider.backends.ModelBackend", TAP_BACKEND]
    assert client.post(SIGN_IN, {"upn": kim.upn.upper(), "password": PASSWORD}).status_code == 302


@pytest.mark.usefixtures("by_email")
def test_sign_in__hashes_as_often_for_the_unknown_as_for_the_known(kim: Any, client: Client, settings: Any) -> None:
    settings.PASSWORD_HASHERS = [f"{__name__}.Hashed"]
    kim.set_password(PASSWORD)
    kim.save()
    counts = {}
    for name in ("kim@mail.test", "unknown@mail.test"):
        Hashed.count = 0
        client.post(SIGN_IN, {"upn": name, "password": "wrong"})
        counts[name] = Hashed.count
    assert counts["kim@mail.test"] == counts["unknown@mail.test"] == 2


@pytest.mark.usefixtures("by_email")
def test_sign_in__at_an_account_that_only_the_backend_knows_by_a_name_is_one_count(
    kim: Any, client: Client, settings: Any
) -> None:
    """The UPN is another field here, so that an e-mail address names nobody before the backend is asked."""
    settings.TAP_PROVIDER_UPN_FIELD = "upn"
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.ProvingByEmail", "tap_provider.backends.ModelBackend", TAP_BACKEND]
    assert client.post(SIGN_IN, {"upn": kim.email, "password": PASSWORD}).status_code == 302
    for number in range(10):
        client.post(SIGN_IN, {"upn": kim.upn, "password": f"wrong{number}"})
    refused = Client().post(SIGN_IN, {"upn": kim.email, "password": PASSWORD})
    assert refused.status_code == 200
    event = AuditEvent.objects.filter(kind=AuditEvent.Kind.SIGN_IN_REFUSED).latest("pk")
    assert event.user_key == str(kim.pk)


@pytest.mark.usefixtures("by_email")
def test_sign_in__by_such_a_name_uses_up_no_attempts(kim: Any, settings: Any) -> None:
    settings.TAP_PROVIDER_UPN_FIELD = "upn"
    for _ in range(12):
        assert Client().post(SIGN_IN, {"upn": kim.email, "password": PASSWORD}).status_code == 302


@pytest.mark.parametrize(
    ("backends", "expected"),
    [
        (["tap_provider.backends.ModelBackend", TAP_BACKEND], ("kim",)),
        (["django.contrib.auth.backends.ModelBackend", TAP_BACKEND], ("kim",)),
        ([f"{__name__}.EmailBackend", TAP_BACKEND], ("kim",)),  # whose class says nothing of how
        ([f"{__name__}.ProvingByEmail", TAP_BACKEND], ("kim@mail.test", "kim")),
    ],
)
def test_names_to_try(backends: list[str], expected: tuple[str, ...], kim: Any, settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = backends
    assert names_to_try("kim@mail.test", kim) == expected
    assert len(names_to_try("unknown", None)) == len(expected)
