"""What is behind tokens is held while they are stored: what ended after it was validated brings none, and no error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError, OperationalError
from django.test import Client
from django.utils import timezone
from oauth2_provider.models import (
    get_access_token_model,
    get_grant_model,
    get_id_token_model,
    get_refresh_token_model,
)

from tap_provider.models import SignIn
from tap_provider.oidc.contexts import digest_of, revoke_tokens_of_code
from tap_provider.oidc.models import TokenContext
from tap_provider.oidc.validator import TapOAuth2Validator
from tap_provider.sign_in import end_sign_in

from ..test_conflicts import CONFLICTS, OTHERS
from .conftest import Party, Tokens, answer_of, sign_in_of, toolkit_settings

ACCESS, REFRESH, ID = get_access_token_model, get_refresh_token_model, get_id_token_model


class Meanwhile(TapOAuth2Validator):
    """Lets something happen between validating a request and storing its tokens, where another request may come."""

    act: ClassVar[Callable[[], Any]]

    def save_bearer_token(self, token: dict[str, Any], request: Any, *args: Any, **kwargs: Any) -> Any:
        type(self).act()
        return super().save_bearer_token(token, request, *args, **kwargs)


class WhileStoring(TapOAuth2Validator):
    """Fails within the transaction that stores tokens."""

    error: ClassVar[Exception]

    def _create_access_token(self, *args: Any, **kwargs: Any) -> Any:
        raise self.error


def meanwhile(act: Callable[[], Any]) -> Any:
    Meanwhile.act = staticmethod(act)
    return toolkit_settings(OAUTH2_VALIDATOR_CLASS="tests.oidc.test_token_origin.Meanwhile")


def is_refused(response: Any) -> bool:
    return response.status_code == 400 and response.json() == {"error": "invalid_grant"}


def counts() -> tuple[int, int, int]:
    """Return how many access tokens, live refresh tokens and ID tokens there are."""
    live = REFRESH().objects.filter(revoked=None)
    return ACCESS().objects.count(), live.count(), ID().objects.count()


def end(browser: Client) -> None:
    end_sign_in(sign_in_of(browser), reason=SignIn.EndedReason.SIGNED_OUT, now=timezone.now())


def deactivate(user: Any) -> None:
    get_user_model()._default_manager.filter(pk=user.pk).update(is_active=False)


@pytest.fixture
def tokens(full: Client, intranet: Party) -> Tokens:
    return intranet.tokens(full)


@pytest.fixture
def unrecorded(tokens: Tokens) -> Tokens:
    """Tokens that no sign-in stands behind."""
    TokenContext.objects.all().delete()
    return tokens


# Refreshing


def test_refresh__whose_sign_in_ends_meanwhile_is_refused_and_stores_nothing(
    full: Client, intranet: Party, tokens: Tokens
) -> None:
    before = counts()
    with meanwhile(lambda: end(full)):
        assert is_refused(intranet.refresh(tokens.refresh_token))
    assert counts() == before


def test_refresh__whose_sign_in_is_deleted_meanwhile_is_refused_and_stores_nothing(
    full: Client, intranet: Party, tokens: Tokens
) -> None:
    with meanwhile(lambda: sign_in_of(full).delete()):
        assert is_refused(intranet.refresh(tokens.refresh_token))
    assert counts()[:2] == (0, 0)


def test_refresh__whose_user_is_deleted_meanwhile_is_refused(kim: Any, intranet: Party, tokens: Tokens) -> None:
    with meanwhile(lambda: type(kim).objects.get(pk=kim.pk).delete()):
        assert is_refused(intranet.refresh(tokens.refresh_token))
    assert counts() == (0, 0, 0)


def test_refresh__of_a_token_that_is_revoked_meanwhile_is_refused(intranet: Party, tokens: Tokens) -> None:
    """RFC 7009 §2.1: the toolkit, which has looked before, would store a new pair."""
    with meanwhile(lambda: Party(intranet.application).revoke(tokens.refresh_token)):
        assert is_refused(intranet.refresh(tokens.refresh_token))
    assert counts()[:2] == (0, 0)


def test_refresh__of_a_token_whose_code_is_used_again_meanwhile_is_refused(full: Client, intranet: Party) -> None:
    """RFC 6749 §4.1.2."""
    code, asked = intranet.code(full)
    tokens = intranet.read(intranet.exchange(code, asked), nonce=asked.query["nonce"])
    with meanwhile(lambda: revoke_tokens_of_code(digest_of(code), client_id=intranet.client_id)):
        assert is_refused(intranet.refresh(tokens.refresh_token))
    assert counts()[:2] == (0, 0)


def test_refresh__of_a_token_that_is_deleted_meanwhile_is_refused(intranet: Party, tokens: Tokens) -> None:
    with meanwhile(lambda: REFRESH().objects.all().delete()):
        assert is_refused(intranet.refresh(tokens.refresh_token))
    assert not REFRESH().objects.exists()


def test_refresh__without_rotation_whose_access_token_is_deleted_meanwhile_is_refused(
    intranet: Party, tokens: Tokens
) -> None:
    with meanwhile(lambda: ACCESS().objects.all().delete()), toolkit_settings(ROTATE_REFRESH_TOKEN=False):
        assert is_refused(intranet.refresh(tokens.refresh_token))
    assert not ACCESS().objects.exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
def test_refresh__of_a_token_that_has_a_successor_meanwhile_brings_the_same_pair(full: Client, intranet: Party) -> None:
    """Two requests with one token at once: where the toolkit keeps tokens in clear, it answers both alike."""
    answers: list[Any] = []

    def refresh() -> None:
        if not answers:
            answers.append("begun")
            answers.append(Party(intranet.application).refresh(tokens.refresh_token).json())

    with toolkit_settings(COMPLIANT_BCP_RFC9700_TOKEN_STORAGE=False):
        tokens = intranet.tokens(full)
        with meanwhile(refresh):
            second = intranet.refresh(tokens.refresh_token).json()
    first = answers[1]
    assert (second["access_token"], second["refresh_token"]) == (first["access_token"], first["refresh_token"])


def test_refresh__of_unrecorded_tokens_whose_user_is_deactivated_meanwhile_is_refused(
    kim: Any, intranet: Party, unrecorded: Tokens
) -> None:
    before = counts()
    with meanwhile(lambda: deactivate(kim)):
        assert is_refused(intranet.refresh(unrecorded.refresh_token))
    assert counts() == before


# Exchanging


def test_exchange__whose_sign_in_ends_meanwhile_is_refused_and_stores_nothing(full: Client, intranet: Party) -> None:
    code, asked = intranet.code(full)
    with meanwhile(lambda: end(full)):
        assert is_refused(intranet.exchange(code, asked))
    assert counts() == (0, 0, 0)


class AtTheCode(TapOAuth2Validator):
    """Lets something happen before a code is stored, or within the transaction that stores it."""

    before: ClassVar[Callable[[], Any] | None] = None
    error: ClassVar[Exception | None] = None

    def save_authorization_code(self, *args: Any, **kwargs: Any) -> None:
        if self.before is not None:
            type(self).before()  # type: ignore[misc]
        super().save_authorization_code(*args, **kwargs)

    def _create_authorization_code(self, *args: Any, **kwargs: Any) -> Any:
        if self.error is not None:
            raise self.error
        return super()._create_authorization_code(*args, **kwargs)


@pytest.fixture
def at_the_code() -> Iterator[type[AtTheCode]]:
    with toolkit_settings(OAUTH2_VALIDATOR_CLASS="tests.oidc.test_token_origin.AtTheCode"):
        yield AtTheCode
    AtTheCode.before = AtTheCode.error = None


def test_authorization__whose_sign_in_ends_meanwhile_brings_no_code(
    full: Client, intranet: Party, at_the_code: type[AtTheCode]
) -> None:
    at_the_code.before = staticmethod(lambda: end(full))
    assert answer_of(full.get(intranet.request().url))["error"] == "login_required"
    assert not get_grant_model().objects.exists()


def test_authorization__in_conflict_with_another_transaction_brings_no_code(
    full: Client, intranet: Party, at_the_code: type[AtTheCode]
) -> None:
    at_the_code.error = CONFLICTS["PostgreSQL: deadlock_detected"]
    assert answer_of(full.get(intranet.request().url))["error"] == "login_required"
    at_the_code.error = OTHERS["MariaDB: the server is gone"]
    with pytest.raises(OperationalError):
        full.get(intranet.request().url)


# Another transaction in the way


@pytest.mark.parametrize("name", CONFLICTS)
def test_exchange__in_conflict_with_another_transaction_is_refused(name: str, full: Client, intranet: Party) -> None:
    code, asked = intranet.code(full)
    WhileStoring.error = CONFLICTS[name]
    with toolkit_settings(OAUTH2_VALIDATOR_CLASS="tests.oidc.test_token_origin.WhileStoring"):
        assert is_refused(intranet.exchange(code, asked))
    assert counts() == (0, 0, 0)
    assert intranet.exchange(code, asked).status_code == 200  # nothing was spent


def test_exchange__whose_rows_refer_to_what_is_gone_is_refused(full: Client, intranet: Party, caplog: Any) -> None:
    code, asked = intranet.code(full)
    WhileStoring.error = IntegrityError("Key (token)=(secret) is not present")
    with toolkit_settings(OAUTH2_VALIDATOR_CLASS="tests.oidc.test_token_origin.WhileStoring"):
        assert is_refused(intranet.exchange(code, asked))
    assert "IntegrityError" in caplog.text
    assert "secret" not in caplog.text


def test_exchange__of_a_database_out_of_order_is_an_error_still(full: Client, intranet: Party) -> None:
    code, asked = intranet.code(full)
    WhileStoring.error = OTHERS["MariaDB: the server is gone"]
    with (
        toolkit_settings(OAUTH2_VALIDATOR_CLASS="tests.oidc.test_token_origin.WhileStoring"),
        pytest.raises(OperationalError),
    ):
        intranet.exchange(code, asked)
