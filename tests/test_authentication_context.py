"""Step 6: acr, amr, auth_time and sid, read from the sign-in of this session and from nowhere else."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.http import HttpRequest
from django.test import RequestFactory

from tap_provider.authentication_context import AuthenticationContext, Level, context_of, current_context
from tap_provider.models import SignIn
from tap_provider.redeem import redeem_pass
from tap_provider.sign_in import Client, adopt_session, end_sign_in, put_in_session

from .conftest import DAY, HOUR, MINUTE, NOW

pytestmark = pytest.mark.django_db


@pytest.fixture
def request_(rf: RequestFactory, robin: Any) -> HttpRequest:
    request = rf.get("/")
    request.session = SessionStore()
    request.user = robin
    return request


def sign_in_of(user: Any, *, level: Level = Level.SINGLE_FACTOR, **fields: Any) -> SignIn:
    facts: dict[str, Any] = {"authenticated_at": NOW, "created_at": NOW, "amr": ["pwd"], "methods": ["password"]}
    return SignIn.objects.create(user=user, level=level, **{**facts, **fields})


@pytest.mark.parametrize(
    ("level", "acr"),
    [
        (Level.SINGLE_FACTOR, "urn:oasis:names:tc:SAML:2.0:ac:classes:Password"),
        (Level.MULTI_FACTOR, "http://schemas.openid.net/pape/policies/2007/06/multi-factor"),
        (Level.PHISHING_RESISTANT, "phr"),
    ],
)
def test_context_of__tells_the_acr_of_the_level(level: Level, acr: str, robin: Any) -> None:
    assert context_of(sign_in_of(robin, level=level)).acr == acr


def test_context_of__tells_what_the_sign_in_says(robin: Any) -> None:
    sign_in = sign_in_of(robin, level=Level.MULTI_FACTOR, amr=["mfa", "otp", "pwd"], authenticated_at=NOW - HOUR)
    assert context_of(sign_in) == AuthenticationContext(
        acr="http://schemas.openid.net/pape/policies/2007/06/multi-factor",
        amr=("mfa", "otp", "pwd"),
        auth_time=NOW - HOUR,
        sid=str(sign_in.pk),
        level=Level.MULTI_FACTOR,
        deadline=None,
        is_registration_only=False,
    )


def test_context_of__a_pass_is_multi_factor_for_registration_only(robin: Any, issue: Any) -> None:
    """Peer failure 7: it can be told apart, and is never phishing-resistant."""
    issued = issue(robin, now=NOW)
    sign_in = redeem_pass(upn=robin.upn, passcode=issued.passcode.reveal(), client=Client(), now=NOW + MINUTE)
    context = context_of(sign_in)
    assert (context.amr, context.auth_time, context.level) == (("mfa", "tap"), NOW + MINUTE, Level.MULTI_FACTOR)
    assert (context.is_registration_only, context.deadline) == (True, NOW + HOUR)
    assert context.satisfies(Level.MULTI_FACTOR)
    assert not context.satisfies(Level.PHISHING_RESISTANT)


def test_context_of__settings_name_acr_and_amr(robin: Any, issue: Any, settings: Any) -> None:
    settings.TAP_PROVIDER_ACR_VALUES = {"multi_factor": "urn:example:strong"}
    settings.TAP_PROVIDER_PASS_AMR = ["tap"]
    issued = issue(robin, now=NOW)
    context = context_of(redeem_pass(upn=robin.upn, passcode=issued.passcode.reveal(), client=Client(), now=NOW))
    assert (context.acr, context.amr) == ("urn:example:strong", ("tap",))


def test_context_of__auth_time_is_this_sessions_own(robin: Any) -> None:
    """Peer failure 9: `last_login` is the user's, whichever session they used last."""
    sign_in = sign_in_of(robin, authenticated_at=NOW - DAY)
    robin.last_login = NOW
    robin.save()
    sign_in_of(robin, authenticated_at=NOW)
    assert context_of(sign_in).auth_time == NOW - DAY


@pytest.mark.parametrize("level", Level)
def test_satisfies__is_at_least_that_strong(level: Level, robin: Any) -> None:
    context = context_of(sign_in_of(robin, level=level))
    assert [asked for asked in Level if context.satisfies(asked)] == list(Level)[: level.rank + 1]


def test_context__cannot_be_altered(robin: Any) -> None:
    """Peer failure 9: a level is never written anywhere but by the sign-in."""
    context = context_of(sign_in_of(robin))
    with pytest.raises(FrozenInstanceError):
        context.level = Level.PHISHING_RESISTANT  # type: ignore[misc]


def test_current_context__is_that_of_the_sign_in_of_this_session(robin: Any, request_: HttpRequest) -> None:
    sign_in_of(robin, level=Level.PHISHING_RESISTANT)  # in another browser
    sign_in = sign_in_of(robin)
    put_in_session(request_, sign_in)
    assert current_context(request_, now=NOW) == context_of(sign_in)


def test_current_context__is_none_where_nobody_is_signed_in(request_: HttpRequest, rf: RequestFactory) -> None:
    assert current_context(request_, now=NOW) is None
    assert current_context(rf.get("/"), now=NOW) is None


def test_current_context__is_none_where_the_holder_of_a_pass_is_anonymous(
    robin: Any, issue: Any, request_: HttpRequest
) -> None:
    opened = redeem_pass(upn=robin.upn, passcode=issue(robin, now=NOW).passcode.reveal(), client=Client(), now=NOW)
    put_in_session(request_, opened)
    assert current_context(request_, now=NOW) == context_of(opened)
    request_.user = AnonymousUser()
    assert current_context(request_, now=NOW) is None


def test_current_context__is_none_once_the_sign_in_has_ended(robin: Any, request_: HttpRequest) -> None:
    sign_in = sign_in_of(robin)
    put_in_session(request_, sign_in)
    end_sign_in(sign_in, reason=SignIn.EndedReason.SIGNED_OUT, now=NOW)
    assert current_context(request_, now=NOW) is None


def test_current_context__is_none_from_the_deadline(robin: Any, request_: HttpRequest) -> None:
    put_in_session(request_, sign_in_of(robin, deadline=NOW + HOUR))
    assert current_context(request_, now=NOW + HOUR - MINUTE) is not None
    assert current_context(request_, now=NOW + HOUR) is None


def test_current_context__of_an_adopted_session_knows_no_time(robin: Any, request_: HttpRequest) -> None:
    adopt_session(request_, robin, now=NOW)
    context = current_context(request_, now=NOW)
    assert context is not None
    assert (context.auth_time, context.level, context.amr) == (None, Level.SINGLE_FACTOR, ())
