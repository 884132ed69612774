"""What a login proved: a mark on the very user object that was checked, and on no other."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import aauthenticate, authenticate, get_user_model
from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.backends import ModelBackend as DjangosModelBackend

from tap_provider.backends import ModelBackend, ProvingBackend, mark_proved
from tap_provider.methods.proof import proof_of

PASSWORD = "correct-horse"
HERE = "tests.methods.test_proof"

pytestmark = pytest.mark.django_db


class ByEmail(ProvingBackend, DjangosModelBackend):
    """A site's own that writes `authenticate` itself, with a signature of its own."""

    def authenticate(self, request: Any, email: str, password: str) -> Any | None:
        user = get_user_model()._default_manager.filter(email=email).first()
        return user if user is not None and user.check_password(password) else None


class Theirs(BaseBackend):
    """Another package's."""

    def authenticate(self, request: Any, token: str = "") -> Any | None:
        return get_user_model()._default_manager.filter(username=token).first()


class TheirsThatProves(ProvingBackend, Theirs):
    """What a site makes of it."""

    proves = ("directory",)


class StricterPassword(ModelBackend):
    """A subclass of ours."""

    def authenticate(
        self, request: Any, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> Any:
        return None if username == "robin" else super().authenticate(request, username, password, **kwargs)


@pytest.fixture
def known(robin: Any) -> Any:
    robin.set_password(PASSWORD)
    robin.save()
    return robin


def test_mark_proved__is_of_this_object_alone(robin: Any) -> None:
    marked = mark_proved(robin, "password")
    assert marked is robin
    assert proof_of(robin) == ("password",)
    same_row = get_user_model()._default_manager.get(pk=robin.pk)
    for other in (same_row, copy.copy(robin), copy.deepcopy(robin), pickle.loads(pickle.dumps(robin))):
        assert other == robin
        assert proof_of(other) is None


def test_mark_proved__the_mark_of_another_object_does_not_count(robin: Any, admin: Any) -> None:
    mark_proved(admin, "password")
    robin.__dict__.update({name: value for name, value in admin.__dict__.items() if name.startswith("_tap")})
    assert proof_of(robin) is None


def test_model_backend__marks_whom_it_has_checked(known: Any) -> None:
    assert proof_of(authenticate(username=known.username, password=PASSWORD)) == ("password",)
    assert proof_of(async_to_sync(aauthenticate)(username=known.username, password=PASSWORD)) == ("password",)
    assert authenticate(username=known.username, password="wrong") is None


def test_model_backend__of_the_same_name_in_django_marks_nobody(known: Any, settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
    assert proof_of(authenticate(username=known.username, password=PASSWORD)) is None


def test_model_backend__is_djangos_in_everything_else(known: Any) -> None:
    backend = ModelBackend()
    assert backend.get_user(known.pk) == known
    assert proof_of(backend.get_user(known.pk)) is None
    assert isinstance(backend, DjangosModelBackend)


def test_proving_backend__marks_what_a_backend_of_the_sites_own_returns(known: Any, settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = [f"{HERE}.ByEmail", "tap_provider.backends.ModelBackend"]
    user = authenticate(email=known.email, password=PASSWORD)
    assert (user.backend, proof_of(user)) == (f"{HERE}.ByEmail", ("password",))
    user = authenticate(username=known.username, password=PASSWORD)  # which the first does not take
    assert (user.backend, proof_of(user)) == ("tap_provider.backends.ModelBackend", ("password",))


def test_proving_backend__marks_what_it_says_and_leaves_the_packages_own_alone(robin: Any, settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = [f"{HERE}.TheirsThatProves"]
    assert proof_of(authenticate(token=robin.username)) == ("directory",)
    assert proof_of(async_to_sync(aauthenticate)(token=robin.username)) == ("directory",)
    assert authenticate(token="nobody") is None
    settings.AUTHENTICATION_BACKENDS = [f"{HERE}.Theirs"]
    assert proof_of(authenticate(token=robin.username)) is None


def test_proving_backend__of_a_subclass_that_refuses_marks_nobody(known: Any, admin: Any, settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = [f"{HERE}.StricterPassword"]
    assert authenticate(username=known.username, password=PASSWORD) is None
    assert proof_of(authenticate(username=admin.username, password="admin-password")) == ("password",)


def test_proving_backend__keeps_the_signature_by_which_django_chooses() -> None:
    assert list(inspect.signature(ByEmail().authenticate).parameters) == ["request", "email", "password"]
