"""Back-channel logout: who is told of the end of a sign-in, in which words, how often it is tried, and never twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import transaction
from django.test import Client
from django.utils import timezone
from joserfc import jws, jwt
from joserfc.jwk import KeySet, OctKey
from oauth2_provider.models import get_application_model

from tap_provider.models import SignIn
from tap_provider.oidc.backchannel_logout import (
    AT_ONCE,
    BACK_OFF,
    FAILURES_AT_ONCE,
    KEEP,
    LEASE,
    deliver,
    deliver_due,
    queue_deliveries,
    sweep,
)
from tap_provider.oidc.contexts import remember_code, remember_tokens
from tap_provider.oidc.models import CodeContext, LogoutDelivery, RelyingParty, TokenContext
from tap_provider.oidc.validator import TapOAuth2Validator
from tap_provider.sign_in import end_sign_in, end_sign_ins, sign_in_ending

from ..conftest import DAY, MINUTE, NOW, all_at_once
from .conftest import (
    ENDS_OF_FULL_SESSION,
    ENDS_OF_REGISTRATION,
    ISSUER,
    JWKS,
    Party,
    counted,
    deactivate,
    sign_in_of,
    sign_in_with_passkey,
    sign_in_with_password,
    toolkit_settings,
)
from .logout_receiver import Receiver, receiving

EVENT = "http://schemas.openid.net/event/backchannel-logout"
SECRET = "a secret of at least thirty-two characters"  # HS256 takes no shorter one
SIGNED_OUT = SignIn.EndedReason.SIGNED_OUT

Status = LogoutDelivery.Status


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    settings.TAP_PROVIDER_BACKCHANNEL_NETWORKS = ("127.0.0.0/8",)
    with receiving() as receiver:
        yield receiver


def listen(party: Party, uri: str = "https://relying-party.test/logout", **fields: Any) -> None:
    """Let this relying party be told of the end of sign-ins."""
    defaults = {"backchannel_logout_uri": uri, **fields}
    RelyingParty.objects.update_or_create(client_id=party.client_id, defaults=defaults)


def end(sign_in: SignIn, *, now: datetime = NOW) -> None:
    end_sign_in(sign_in, reason=SIGNED_OUT, now=now)


@pytest.fixture
def told(full: Client, intranet: Party, receiver: Receiver) -> LogoutDelivery:
    """A delivery that waits: Kim has signed out, and took the intranet along."""
    listen(intranet, receiver.uri)
    intranet.tokens(full)
    end(sign_in_of(full))
    return LogoutDelivery.objects.get()


def at(moment: datetime) -> Callable[[], datetime]:
    return lambda: moment


def read(token: str, party: Party) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims of a logout token, its signature verified by the keys that the provider serves."""
    keys = KeySet.import_key_set(party.server.get(JWKS).json())
    decoded = jwt.decode(token, keys, registry=jws.JWSRegistry(algorithms=["RS256"], strict_check_header=False))
    return dict(decoded.header), dict(decoded.claims)


# Whenever a sign-in ends, for any reason: Back-Channel Logout 1.0 §2.3


FOUND_ON_USE = {
    "pass_deleted_behind_the_verb",
    "policy_off_behind_the_verb",
    "password_changed_past_us",
    "deadline_passed",
}


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.3")
@pytest.mark.parametrize("way", ENDS_OF_REGISTRATION)
def test_queue__the_end_of_a_registration_only_session(
    way: str, holder: Client, portal: Party, end_by: Callable[..., None]
) -> None:
    listen(portal)
    portal.tokens(holder)
    sign_in = sign_in_of(holder)

    end_by(way, holder)
    if way in FOUND_ON_USE:
        assert not LogoutDelivery.objects.exists()
        holder.get("/account/security-info/")

    delivery = LogoutDelivery.objects.get()
    assert (delivery.sign_in_id, delivery.client_id) == (sign_in.pk, "portal")


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.3")
@pytest.mark.parametrize("way", ENDS_OF_FULL_SESSION)
def test_queue__the_end_of_a_full_session(way: str, full: Client, intranet: Party, end_by: Callable[..., None]) -> None:
    listen(intranet)
    intranet.tokens(full)
    sign_in = sign_in_of(full)

    end_by(way, full)
    if way in FOUND_ON_USE:
        assert not LogoutDelivery.objects.exists()
        full.get("/members/")

    delivery = LogoutDelivery.objects.get()
    assert (delivery.sign_in_id, delivery.subject) == (sign_in.pk, str(sign_in.user_id))


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.3")
@pytest.mark.parametrize("use", ["userinfo", "introspect", "refresh"])
def test_queue__an_end_that_is_found_when_a_token_is_used(full: Client, intranet: Party, use: str) -> None:
    listen(intranet)
    tokens = intranet.tokens(full)
    SignIn.objects.update(deadline=timezone.now())

    getattr(intranet, use)(tokens.refresh_token if use == "refresh" else tokens.access_token)

    assert LogoutDelivery.objects.count() == 1
    assert SignIn.objects.get(pk=sign_in_of(full).pk).ended_reason == SignIn.EndedReason.DEADLINE


def test_queue__a_user_who_was_deactivated_behind_every_verb(kim: Any, full: Client, intranet: Party) -> None:
    listen(intranet)
    intranet.tokens(full)
    type(kim).objects.update(is_active=False)

    full.get("/members/")

    assert LogoutDelivery.objects.count() == 1


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.3")
def test_queue__deactivation_ends_the_sessions_in_every_browser(kim: Any, intranet: Party) -> None:
    listen(intranet)
    browsers = [sign_in_with_password(kim), sign_in_with_password(kim)]
    for browser in browsers:
        intranet.tokens(browser)

    deactivate(kim)

    assert LogoutDelivery.objects.count() == 2


def test_queue__outlives_a_user_who_is_deleted(kim: Any, full: Client, intranet: Party) -> None:
    listen(intranet)
    intranet.tokens(full)
    sign_in, key = sign_in_of(full), str(kim.pk)

    kim.delete()

    assert LogoutDelivery.objects.values_list("sign_in_id", "subject").get() == (sign_in.pk, key)


def test_queue__a_deadline_that_nobody_came_back_after(holder: Client, portal: Party) -> None:
    listen(portal)
    portal.tokens(holder)
    SignIn.objects.update(deadline=timezone.now() - MINUTE)

    call_command("tap", "deliver", stdout=StringIO(), stderr=StringIO())

    assert LogoutDelivery.objects.get().sign_in_id == sign_in_of(holder).pk


def test_queue__renewing_a_sign_in_is_no_end(kim: Any, full: Client, intranet: Party) -> None:
    listen(intranet)
    intranet.tokens(full)
    full.force_login(kim, backend="tap_provider.backends.ModelBackend")

    assert not LogoutDelivery.objects.exists()


# Who is told: every client that took part and has a URI


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.3")
def test_queue__every_client_that_took_part_and_no_other(
    full: Client, kim: Any, make_party: Callable[..., Party]
) -> None:
    parties = {name: make_party(name) for name in ("took-part", "by-code-only", "silent", "elsewhere", "no-part")}
    for name, party in parties.items():
        listen(party, "" if name == "silent" else f"https://{name}.test/")
    make_party("no-row").tokens(full)
    for name in ("took-part", "silent"):
        parties[name].tokens(full)
    parties["by-code-only"].code(full)
    parties["elsewhere"].tokens(sign_in_with_password(kim))

    end(sign_in_of(full))

    told = set(LogoutDelivery.objects.values_list("client_id", "uri"))
    assert told == {("took-part", "https://took-part.test/"), ("by-code-only", "https://by-code-only.test/")}


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.3")
def test_queue__of_several_that_end_together_each_is_told_of_its_own_user(
    kim: Any, robin: Any, intranet: Party
) -> None:
    listen(intranet)
    browsers = [sign_in_with_password(kim), sign_in_with_passkey(robin), sign_in_with_password(kim)]
    subjects = {sign_in_of(browser).pk: intranet.tokens(browser).claims["sub"] for browser in browsers}
    sign_ins = SignIn.objects.filter(pk__in=subjects).select_related("user")

    end_sign_ins(sign_ins, reason=SignIn.EndedReason.POLICY, now=NOW)

    assert dict(LogoutDelivery.objects.values_list("sign_in_id", "subject")) == subjects
    assert len(set(subjects.values())) == 2


def test_queue__a_client_that_got_tokens_without_a_code(full: Client, intranet: Party) -> None:
    listen(intranet)
    remember_tokens(["token"], sign_in_of(full), client_id="intranet", now=NOW)

    end(sign_in_of(full))

    assert LogoutDelivery.objects.count() == 1


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.3")
def test_queue__a_client_whose_tokens_were_swept_long_ago(full: Client, intranet: Party) -> None:
    listen(intranet)
    remember_code("code", sign_in_of(full), client_id="intranet", now=NOW - 90 * DAY)
    call_command("tap", "sweep", stdout=StringIO(), stderr=StringIO())

    end(sign_in_of(full))

    assert LogoutDelivery.objects.count() == 1


def test_queue__costs_one_query_where_nobody_is_to_be_told(full: Client, intranet: Party) -> None:
    intranet.tokens(full)
    sign_in = SignIn.objects.select_related("user").get(pk=sign_in_of(full).pk)
    sign_in_ending.disconnect(queue_deliveries, dispatch_uid="tap_provider_oidc.queue_deliveries")
    try:
        with counted() as without, transaction.atomic():
            end(sign_in)
            transaction.set_rollback(True)
    finally:
        sign_in_ending.connect(queue_deliveries, dispatch_uid="tap_provider_oidc.queue_deliveries")

    with counted() as with_it:
        end(sign_in)

    assert with_it() == without() + 1


# In the transaction that ends it, and not in the request


@pytest.mark.django_db(transaction=True)
def test_queue__is_written_with_the_ending_or_not_at_all(full: Client, intranet: Party) -> None:
    listen(intranet)
    intranet.tokens(full)
    with transaction.atomic():
        end(sign_in_of(full))
        assert LogoutDelivery.objects.count() == 1  # before the commit: no crash after it can lose it
        transaction.set_rollback(True)

    assert not LogoutDelivery.objects.exists()
    assert sign_in_of(full).ended_at is None


@pytest.mark.django_db(transaction=True)
def test_queue__nothing_is_sent_by_the_request(full: Client, intranet: Party, receiver: Receiver) -> None:
    listen(intranet, receiver.uri)
    intranet.tokens(full)

    full.post("/account/sign-out/")

    assert receiver.requests == []
    assert deliver_due() == {
        "logout tokens waiting": 0,
        "logout tokens delivered": 1,
        "logout tokens refused": 0,
        "logout tokens given up": 0,
    }
    assert len(receiver.requests) == 1


# The logout token: Back-Channel Logout 1.0 §2.4


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.4")
def test_logout_token__says_who_when_and_of_which_sign_in(
    told: LogoutDelivery, intranet: Party, receiver: Receiver
) -> None:
    """Back-Channel Logout 1.0 §2.4."""
    deliver_due(clock=at(NOW))

    header, claims = read(receiver.tokens[0], intranet)
    keys = intranet.server.get(JWKS).json()["keys"]
    assert header == {"typ": "logout+jwt", "alg": "RS256", "kid": keys[0]["kid"]}
    assert claims.pop("jti")
    assert claims == {
        "iss": ISSUER,
        "aud": "intranet",
        "iat": int(NOW.timestamp()),
        "exp": int(NOW.timestamp()) + 120,
        "sub": told.subject,
        "sid": str(told.sign_in_id),
        "events": {EVENT: {}},
    }


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.1", "OpenID Connect Back-Channel Logout 1.0 §2.4")
def test_logout_token__names_sub_and_sid_as_the_id_token_did(full: Client, intranet: Party, receiver: Receiver) -> None:
    """Back-Channel Logout 1.0 §2.1."""
    listen(intranet, receiver.uri)
    tokens = intranet.tokens(full)
    end(sign_in_of(full))
    deliver_due()

    _, claims = read(receiver.tokens[0], intranet)
    assert {name: claims[name] for name in ("iss", "aud", "sub", "sid")} == {
        name: tokens.claims[name] for name in ("iss", "aud", "sub", "sid")
    }


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.4")
def test_logout_token__never_has_a_nonce(told: LogoutDelivery, intranet: Party, receiver: Receiver) -> None:
    """Back-Channel Logout 1.0 §2.4: the ID token of that sign-in had one."""
    deliver_due(clock=at(NOW))

    assert "nonce" not in read(receiver.tokens[0], intranet)[1]


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.2", "OpenID Connect Back-Channel Logout 1.0 §2.4")
def test_logout_token__names_the_user_only_where_the_client_wants_no_sid(
    full: Client, intranet: Party, receiver: Receiver
) -> None:
    """Back-Channel Logout 1.0 §2.2, backchannel_logout_session_required; §2.4: sub, or sid, or both."""
    listen(intranet, receiver.uri, backchannel_logout_session_required=False)
    intranet.tokens(full)
    end(sign_in_of(full))
    deliver_due()

    _, claims = read(receiver.tokens[0], intranet)
    assert "sid" not in claims
    assert claims["sub"] == str(sign_in_of(full).user_id)


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.4")
def test_logout_token__each_attempt_has_one_of_its_own(
    told: LogoutDelivery, intranet: Party, receiver: Receiver
) -> None:
    """Back-Channel Logout 1.0 §2.6: a relying party may refuse a jti that it has seen, or a token that has expired."""
    receiver.status = 503
    deliver_due(clock=at(NOW))
    deliver_due(clock=at(NOW + BACK_OFF[0]))

    first, second = (read(token, intranet)[1] for token in receiver.tokens)
    assert first["jti"] != second["jti"]
    assert second["iat"] == first["iat"] + 30


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.4")
def test_logout_token__is_signed_with_the_secret_where_id_tokens_are(
    full: Client, intranet: Party, receiver: Receiver
) -> None:
    """Back-Channel Logout 1.0 §2.4: signed as ID tokens are."""
    listen(intranet, receiver.uri)
    intranet.tokens(full)
    get_application_model().objects.update(algorithm="HS256", client_secret=SECRET)
    end(sign_in_of(full))
    deliver_due()

    decoded = jwt.decode(receiver.tokens[0], OctKey.import_key(SECRET), algorithms=["HS256"])
    assert decoded.header == {"typ": "logout+jwt", "alg": "HS256"}
    assert decoded.claims["aud"] == "intranet"


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.5")
def test_logout_token__is_posted_as_a_form(told: LogoutDelivery, receiver: Receiver) -> None:
    """Back-Channel Logout 1.0 §2.5."""
    deliver_due(clock=at(NOW))

    ((method, path, content_type, body),) = receiver.requests
    assert (method, path) == ("POST", "/logout?from=provider")
    assert content_type == "application/x-www-form-urlencoded"
    assert set(body) == {"logout_token"}


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ({"OIDC_ISS_ENDPOINT": ""}, "OIDC_ISS_ENDPOINT is not set"),
        ({"OIDC_RSA_PRIVATE_KEY": ""}, "OIDC_RSA_PRIVATE_KEY"),
    ],
)
def test_logout_token__that_cannot_be_signed_is_tried_again(
    told: LogoutDelivery, receiver: Receiver, broken: dict[str, Any], why: str
) -> None:
    with toolkit_settings(**broken):
        delivery = deliver(told.pk, clock=at(NOW))

    assert delivery is not None
    assert (delivery.status, receiver.requests) == (Status.WAITING, [])
    assert why in delivery.last_outcome


# The answer: Back-Channel Logout 1.0 §2.8


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.8")
@pytest.mark.parametrize("status", [200, 204])
def test_answer__of_success_is_the_end(told: LogoutDelivery, receiver: Receiver, status: int) -> None:
    """Back-Channel Logout 1.0 §2.8: frameworks may turn 200 into 204."""
    receiver.status = status

    deliver_due(clock=at(NOW))

    told.refresh_from_db()
    assert (told.status, told.last_outcome, told.attempts) == (Status.DELIVERED, str(status), 1)
    assert (told.delivered_at, told.next_attempt_at) == (NOW, None)


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.8")
def test_answer__of_400_is_final(told: LogoutDelivery, receiver: Receiver) -> None:
    """Back-Channel Logout 1.0 §2.8: the request was invalid, or the logout failed."""
    receiver.status = 400

    deliver_due(clock=at(NOW))

    told.refresh_from_db()
    assert (told.status, told.last_outcome) == (Status.REFUSED, "400")
    assert (told.delivered_at, told.next_attempt_at) == (None, None)


@pytest.mark.parametrize("status", [201, 302, 401, 404, 500, 503])
def test_answer__of_anything_else_is_tried_again(told: LogoutDelivery, receiver: Receiver, status: int) -> None:
    receiver.status, receiver.headers = status, {"Location": receiver.uri}

    deliver_due(clock=at(NOW))

    told.refresh_from_db()
    assert (told.status, told.last_outcome) == (Status.WAITING, str(status))
    assert told.next_attempt_at == NOW + BACK_OFF[0]
    assert len(receiver.requests) == 1


def test_answer__that_does_not_come_is_tried_again(
    told: LogoutDelivery, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tap_provider.oidc.transport.TIMEOUT_SECONDS", 0.2)
    receiver.behaviour = "hang"

    deliver_due(clock=at(NOW))

    told.refresh_from_db()
    assert told.status == Status.WAITING
    assert "no answer within" in told.last_outcome


def test_deliver__backs_off_and_gives_up(told: LogoutDelivery, receiver: Receiver) -> None:
    receiver.status, now = 500, NOW
    waited = []
    for _ in range(20):
        delivery = deliver(told.pk, clock=at(now))
        if delivery is None or delivery.next_attempt_at is None:
            break
        waited.append(delivery.next_attempt_at - now)
        assert deliver(told.pk, clock=at(delivery.next_attempt_at - timedelta(seconds=1))) is None
        now = delivery.next_attempt_at

    told.refresh_from_db()
    assert waited == [
        timedelta(seconds=30),
        timedelta(minutes=2),
        timedelta(minutes=10),
        timedelta(hours=1),
        timedelta(hours=6),
    ]
    assert (told.status, told.attempts, told.last_outcome) == (Status.GIVEN_UP, 6, "500")
    assert len(receiver.requests) == 6


def test_deliver__goes_where_the_client_is_told_of_now(told: LogoutDelivery, receiver: Receiver) -> None:
    """An administrator mends an address while deliveries wait."""
    LogoutDelivery.objects.update(uri="http://127.0.0.1:1/")

    delivered = deliver(told.pk, clock=at(NOW))

    assert delivered is not None
    told.refresh_from_db()
    assert (told.status, told.uri) == (Status.DELIVERED, receiver.uri)


@pytest.mark.parametrize("how", ["emptied", "deleted"])
def test_deliver__is_given_up_where_the_client_is_not_to_be_told_any_more(
    how: str, told: LogoutDelivery, receiver: Receiver
) -> None:
    RelyingParty.objects.all().delete() if how == "deleted" else RelyingParty.objects.update(backchannel_logout_uri="")

    deliver(told.pk, clock=at(NOW))

    told.refresh_from_db()
    assert (told.status, told.uri) == (Status.GIVEN_UP, receiver.uri)
    assert receiver.requests == []


def test_deliver__is_given_up_where_every_attempt_died_in_the_middle(told: LogoutDelivery, receiver: Receiver) -> None:
    """As with a worker that is killed each time: nobody notes the outcome."""
    LogoutDelivery.objects.update(attempts=len(BACK_OFF) + 1)

    deliver(told.pk, clock=at(NOW))

    told.refresh_from_db()
    assert (told.status, told.last_outcome) == (Status.GIVEN_UP, "no attempt came to an end")
    assert receiver.requests == []


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.3")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
@pytest.mark.parametrize("response_type", ["id_token", "id_token token"])
def test_queue__tells_clients_that_took_part_without_a_code(
    response_type: str, full: Client, make_party: Callable[..., Party], receiver: Receiver
) -> None:
    with toolkit_settings(COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT=False):
        party = make_party("implicit", authorization_grant_type="implicit")
        listen(party, receiver.uri)
        asked = party.request(response_type=response_type, code_challenge=None, code_challenge_method=None)
        assert "id_token=" in full.get(asked.url).headers["Location"]

    full.post("/account/sign-out/")

    assert LogoutDelivery.objects.get().client_id == "implicit"


@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
def test_queue__tells_no_client_that_was_declined(
    full: Client, make_party: Callable[..., Party], receiver: Receiver
) -> None:
    with toolkit_settings(COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT=False):
        party = make_party("implicit", authorization_grant_type="implicit", skip_authorization=False)
        listen(party, receiver.uri)
        asked = party.request(response_type="id_token", code_challenge=None, code_challenge_method=None)
        location = full.post(asked.url, dict(asked.query)).headers["Location"]
        assert "error=access_denied" in location

    full.post("/account/sign-out/")

    assert not LogoutDelivery.objects.exists()


def test_deliver__does_not_let_one_dead_client_stop_the_next(
    told: LogoutDelivery, full: Client, portal: Party, receiver: Receiver
) -> None:
    RelyingParty.objects.update(backchannel_logout_uri="http://127.0.0.1:1/")
    listen(portal, receiver.uri)
    LogoutDelivery.objects.create(
        sign_in_id=uuid4(),
        subject="1",
        client_id=portal.client_id,
        uri=receiver.uri,
        names_sign_in=True,
        created_at=NOW,
        next_attempt_at=NOW,
    )

    counts = deliver_due(clock=at(NOW))

    assert (counts["logout tokens waiting"], counts["logout tokens delivered"]) == (1, 1)


def test_deliver_due__does_not_let_a_client_that_fails_use_up_everybodys_time(
    told: LogoutDelivery, portal: Party, receiver: Receiver
) -> None:
    """One that lets each attempt run into its time-out, and signs people in and out, would have the queue to itself."""
    RelyingParty.objects.update(backchannel_logout_uri="http://127.0.0.1:1/")
    listen(portal, receiver.uri)
    row = LogoutDelivery.objects.values("subject", "names_sign_in", "created_at", "next_attempt_at").get()
    slow = {**row, "client_id": told.client_id, "uri": "http://127.0.0.1:1/"}
    LogoutDelivery.objects.all().delete()
    LogoutDelivery.objects.bulk_create(LogoutDelivery(sign_in_id=uuid4(), **slow) for _ in range(AT_ONCE + 1))
    later = NOW + MINUTE
    row |= {"client_id": portal.client_id, "uri": receiver.uri, "next_attempt_at": later}
    LogoutDelivery.objects.create(sign_in_id=uuid4(), **row)

    counts = deliver_due(clock=at(later))

    assert counts["logout tokens waiting"] == FAILURES_AT_ONCE
    assert counts["logout tokens delivered"] == 1


def test_deliver_due__goes_on_whatever_is_wrong_with_one(
    told: LogoutDelivery, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    with toolkit_settings(OIDC_RSA_PRIVATE_KEY="no key at all"):
        counts = deliver_due(clock=at(NOW))

    told.refresh_from_db()
    assert (counts["logout tokens waiting"], told.last_outcome) == (1, "ValueError")
    assert told.next_attempt_at == NOW + BACK_OFF[0]
    assert "could not be delivered" in caplog.text


def test_deliver_due__notes_no_bytes_that_a_client_chose(told: LogoutDelivery, receiver: Receiver) -> None:
    """PostgreSQL does not store NUL: the error would come back at every attempt, and stop the queue."""
    receiver.preface = b"\x00\x1b[31m\xff is no status line\r\n\r\n"

    deliver_due(clock=at(NOW))

    told.refresh_from_db()
    assert "is no status line" in told.last_outcome
    assert told.last_outcome.isprintable()


class PairwiseValidator(TapOAuth2Validator):
    """A site's own: whom it tells of depends on whom it tells."""

    def get_additional_claims(self, request: Any) -> dict[str, Any]:
        assert "openid" in request.scopes
        return {**super().get_additional_claims(request), "sub": f"{request.user.pk} at {request.client.client_id}"}


class BrokenValidator(TapOAuth2Validator):
    """A site's own, whose claims cannot be told without a request of the client's."""

    def get_additional_claims(self, request: Any) -> dict[str, Any]:
        return {"device": request.headers["X-Device"]}


def test_queue__names_the_user_as_the_sites_claims_do_to_this_client(
    kim: Any, full: Client, intranet: Party, receiver: Receiver
) -> None:
    listen(intranet, receiver.uri)
    with toolkit_settings(OAUTH2_VALIDATOR_CLASS=f"{__name__}.PairwiseValidator"):
        tokens = intranet.tokens(full)
        introspected = intranet.introspect(tokens.access_token)["sub"]
        end(sign_in_of(full))
    deliver_due()

    _, claims = read(receiver.tokens[0], intranet)
    assert claims["sub"] == tokens.claims["sub"] == introspected == f"{kim.pk} at intranet"


@pytest.mark.parametrize("names_sign_in", [True, False])
def test_queue__an_error_in_the_sites_claims_keeps_nobody_signed_in(
    names_sign_in: bool, kim: Any, full: Client, intranet: Party, receiver: Receiver
) -> None:
    """Back-Channel Logout 1.0 §2.4: `sub`, `sid` or both."""
    listen(intranet, receiver.uri, backchannel_logout_session_required=names_sign_in)
    intranet.tokens(full)
    sign_in = sign_in_of(full)
    with toolkit_settings(OAUTH2_VALIDATOR_CLASS=f"{__name__}.BrokenValidator"):
        deactivate(kim)
    deliver_due()

    sign_in.refresh_from_db()
    assert sign_in.ended_at is not None
    _, claims = read(receiver.tokens[0], intranet)
    assert claims["sid"] == str(sign_in.pk)
    assert "sub" not in claims


# One worker at a time


@pytest.mark.django_db(transaction=True)
def test_deliver__of_many_workers_at_once_one_sends(told: LogoutDelivery, receiver: Receiver) -> None:
    outcomes = all_at_once(*[lambda: deliver(told.pk, clock=at(NOW))] * 8)

    assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == []
    assert sum(outcome is not None for outcome in outcomes) == 1
    assert len(receiver.requests) == 1
    told.refresh_from_db()
    assert (told.status, told.attempts) == (Status.DELIVERED, 1)


@pytest.mark.django_db(transaction=True)
def test_deliver_due__of_two_workers_each_delivery_is_sent_once(kim: Any, intranet: Party, receiver: Receiver) -> None:
    listen(intranet, receiver.uri)
    for _ in range(6):
        browser = sign_in_with_password(kim)
        intranet.code(browser)
        end(sign_in_of(browser))

    counts = all_at_once(*[lambda: deliver_due(clock=at(NOW))] * 3)

    assert sum(count["logout tokens delivered"] for count in counts) == 6
    assert len(receiver.requests) == 6


def test_deliver__what_a_dead_worker_has_claimed_is_due_again_after_a_while(
    told: LogoutDelivery, receiver: Receiver
) -> None:
    LogoutDelivery.objects.update(attempts=1, next_attempt_at=NOW + LEASE)  # claimed, and nothing after that

    assert deliver(told.pk, clock=at(NOW + LEASE - timedelta(seconds=1))) is None
    delivery = deliver(told.pk, clock=at(NOW + LEASE))

    assert delivery is not None
    assert (delivery.status, delivery.attempts) == (Status.DELIVERED, 2)


def test_deliver__who_has_lost_the_claim_has_nothing_to_say(told: LogoutDelivery, receiver: Receiver) -> None:
    """An attempt took longer than the lease, and somebody else has tried meanwhile."""
    receiver.status = 500
    others: list[LogoutDelivery | None] = []

    def clock() -> datetime:
        if len(receiver.requests) == 1 and not others:  # the answer is there, and not yet noted
            others.append(None)
            others.append(deliver(told.pk, clock=at(NOW + LEASE)))
        return NOW

    deliver(told.pk, clock=clock)

    assert others[1] is not None
    told.refresh_from_db()
    assert (told.attempts, told.next_attempt_at) == (2, NOW + LEASE + BACK_OFF[1])


# Applications that go


def test_application__deleted_takes_its_row_along_and_leaves_nothing_to_inherit(
    told: LogoutDelivery, kim: Any, intranet: Party, make_party: Callable[..., Party], receiver: Receiver
) -> None:
    other = sign_in_with_password(kim)
    intranet.tokens(other)
    intranet.application.delete()

    assert not RelyingParty.objects.filter(client_id="intranet").exists()
    anew = make_party("intranet")
    listen(anew, receiver.uri)
    end(sign_in_of(other))
    deliver_due(clock=at(NOW))

    told.refresh_from_db()
    assert (told.status, told.last_outcome) == (Status.GIVEN_UP, "the application was deleted")
    assert receiver.requests == []
    assert not CodeContext.objects.exists()
    assert not TokenContext.objects.exists()


def test_application__deleted_leaves_those_of_others_alone(full: Client, intranet: Party, portal: Party) -> None:
    portal.tokens(full)
    intranet.application.delete()

    assert RelyingParty.objects.filter(client_id="portal").exists()
    assert CodeContext.objects.get().client_id == "portal"


def test_deliver__gives_up_where_there_is_no_application(told: LogoutDelivery, receiver: Receiver) -> None:
    LogoutDelivery.objects.update(client_id="gone")

    delivery = deliver(told.pk, clock=at(NOW))

    assert delivery is not None
    assert (delivery.status, delivery.last_outcome) == (Status.GIVEN_UP, "there is no such application")


# Upkeep


def test_sweep__deletes_what_ended_a_month_ago(told: LogoutDelivery) -> None:
    later = NOW + KEEP + MINUTE
    assert sweep(now=later) == 0  # it still waits
    LogoutDelivery.objects.update(status=Status.REFUSED, next_attempt_at=None)

    assert sweep(now=later - 2 * MINUTE) == 0
    assert sweep(now=later) == 1


def test_command__delivers_and_says_how_many(told: LogoutDelivery, receiver: Receiver) -> None:
    out = StringIO()
    call_command("tap", "deliver", "--json", stdout=out)

    assert json.loads(out.getvalue()) == {
        "sign-ins ended": 0,
        "logout tokens waiting": 0,
        "logout tokens delivered": 1,
        "logout tokens refused": 0,
        "logout tokens given up": 0,
    }
    assert len(receiver.requests) == 1


# The administrator's pages


@pytest.fixture
def desk(admin: Any) -> Client:
    browser = Client()
    browser.force_login(admin, backend="tap_provider.backends.ModelBackend")
    return browser


def test_admin__shows_what_came_of_each_delivery(told: LogoutDelivery, receiver: Receiver, desk: Client) -> None:
    receiver.status = 503
    deliver_due(clock=at(NOW))

    page = desk.get("/admin/tap_provider_oidc/logoutdelivery/?status=waiting")

    assert "503" in page.content.decode()
    assert page.context["cl"].result_count == 1
    assert desk.get("/admin/tap_provider_oidc/logoutdelivery/?status=delivered").context["cl"].result_count == 0
    found = desk.get("/admin/tap_provider_oidc/logoutdelivery/", {"q": str(told.sign_in_id)})
    assert found.context["cl"].result_count == 1


def test_admin__deliveries_are_read_only(told: LogoutDelivery, desk: Client) -> None:
    page = f"/admin/tap_provider_oidc/logoutdelivery/{told.pk}"

    assert desk.get(f"{page}/change/").status_code == 200
    assert desk.post(f"{page}/change/", {"uri": "https://elsewhere.test/"}).status_code == 403
    assert desk.post(f"{page}/delete/", {"post": "yes"}).status_code == 403
    assert desk.get("/admin/tap_provider_oidc/logoutdelivery/add/").status_code == 403


@pytest.mark.compliance("OpenID Connect Back-Channel Logout 1.0 §2.2")
@pytest.mark.parametrize(
    ("uri", "is_accepted"),
    [("https://relying-party.test/logout", True), ("", True), ("http://relying-party.test/", False)],
)
def test_admin__checks_the_uri_of_a_relying_party(uri: str, is_accepted: bool, intranet: Party, desk: Client) -> None:
    row = RelyingParty.objects.get()
    fields = {"client_id": "intranet", "backchannel_logout_uri": uri, "backchannel_logout_session_required": "on"}

    response = desk.post(f"/admin/tap_provider_oidc/relyingparty/{row.pk}/change/", fields)

    assert response.status_code == (302 if is_accepted else 200)
    row.refresh_from_db()
    assert row.backchannel_logout_uri == (uri if is_accepted else "")


@pytest.mark.parametrize("field", ["default_acr_values", "default_max_age", "minimum_level", "backchannel_logout_uri"])
def test_admin__shows_what_a_relying_party_may_be_given(intranet: Party, desk: Client, field: str) -> None:
    row = RelyingParty.objects.get()

    page = desk.get(f"/admin/tap_provider_oidc/relyingparty/{row.pk}/change/").content.decode()

    assert f'name="{field}"' in page
    assert f'id="id_{field}_helptext"' in page
