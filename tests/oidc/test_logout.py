"""RP-initiated logout: it ends one sign-in, and asks where it cannot know who is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client
from joserfc import jwt
from joserfc.jwk import RSAKey
from oauth2_provider.models import get_id_token_model

from example_project.kept_secrets import new_signing_key
from tap_provider.models import SignIn
from tap_provider.oidc.models import LogoutDelivery, RelyingParty
from tap_provider.oidc.views.logout import _find_id_token
from tap_provider.sign_in import SESSION_KEY, end_sign_in

from ..conftest import NOW
from .conftest import Party, sign_in_of, sign_in_with_password, toolkit_settings

LOGOUT = "/o/logout/"
NOBODYS = "7d3f6a52-0f54-4d3c-9d4b-1d2f8f6a0c11"
BYE = "https://relying-party.test/bye/"
ACTIVE = django_settings.OAUTH2_PROVIDER["OIDC_RSA_PRIVATE_KEY"]


@pytest.fixture(autouse=True)
def _asks_only_where_it_must() -> Iterator[None]:
    with toolkit_settings(OIDC_RP_INITIATED_LOGOUT_ALWAYS_PROMPT=False):
        yield


@pytest.fixture
def intranet(make_party: Callable[..., Party]) -> Party:
    return make_party("intranet", may_host_registration=False, post_logout_redirect_uris=BYE)


@pytest.fixture
def elsewhere(kim: Any) -> Client:
    """Kim's session in another browser."""
    return sign_in_with_password(kim)


def hint_of(party: Party, browser: Client) -> str:
    return str(party.tokens(browser).response["id_token"])


def forged(hint: str, **changes: Any) -> str:
    """Return an ID token as this one, signed by the provider's own key, with other claims; None leaves one out."""
    key = RSAKey.import_key(ACTIVE)
    claims = {**jwt.decode(hint, key, algorithms=["RS256"]).claims, **changes}
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode({"alg": "RS256", "kid": key.thumbprint()}, kept, key)


def is_question(response: Any) -> bool:
    return response.status_code == 200 and 'name="allow"' in response.content.decode()


def confirm(browser: Client, hint: str, **fields: str) -> Any:
    return browser.post(LOGOUT, {"id_token_hint": hint, "allow": "True", **fields})


def is_live(sign_in: SignIn) -> bool:
    return SignIn.objects.get(pk=sign_in.pk).ended_at is None


# This session's sign-in, and no other


@pytest.mark.compliance("OpenID Connect RP-Initiated Logout 1.0 §2")
def test_logout__ends_this_sign_in_and_what_came_of_it(full: Client, intranet: Party, portal: Party) -> None:
    """RP-Initiated Logout 1.0 §2."""
    mine, others = intranet.tokens(full), portal.tokens(full)
    sign_in = sign_in_of(full)

    full.get(LOGOUT, {"id_token_hint": mine.response["id_token"]})

    assert SignIn.objects.get(pk=sign_in.pk).ended_reason == SignIn.EndedReason.SIGNED_OUT
    assert SESSION_KEY not in full.session
    assert intranet.userinfo(mine.access_token).status_code == 401
    assert intranet.refresh(mine.refresh_token).status_code == 400
    assert portal.userinfo(others.access_token).status_code == 401


def test_logout__leaves_the_users_other_sessions_and_their_tokens_alone(
    full: Client, elsewhere: Client, intranet: Party
) -> None:
    """The toolkit deletes every token of the user."""
    theirs, mine = intranet.tokens(elsewhere), intranet.tokens(full)

    full.get(LOGOUT, {"id_token_hint": mine.response["id_token"]})

    assert intranet.userinfo(theirs.access_token).status_code == 200
    assert intranet.refresh(theirs.refresh_token).status_code == 200
    assert elsewhere.get("/members/").status_code == 200


@pytest.mark.compliance("OpenID Connect RP-Initiated Logout 1.0 §2", "OpenID Connect Back-Channel Logout 1.0 §2.3")
def test_logout__tells_the_relying_parties(full: Client, intranet: Party, portal: Party) -> None:
    """RP-Initiated Logout 1.0 §2: the others that took part are told too (Back-Channel Logout 1.0)."""
    RelyingParty.objects.update(backchannel_logout_uri="https://relying-party.test/logout")
    hint = hint_of(intranet, full)
    portal.tokens(full)

    full.get(LOGOUT, {"id_token_hint": hint})

    assert set(LogoutDelivery.objects.values_list("client_id", flat=True)) == {"intranet", "portal"}


@pytest.mark.compliance("OpenID Connect RP-Initiated Logout 1.0 §3")
def test_logout__goes_where_the_client_may_send_people_and_keeps_the_state(full: Client, intranet: Party) -> None:
    """RP-Initiated Logout 1.0 §3."""
    query = {"id_token_hint": hint_of(intranet, full), "post_logout_redirect_uri": BYE, "state": "the state"}

    response = full.get(LOGOUT, query)

    assert response.headers["Location"] == f"{BYE}?state=the+state"


# When it asks


@pytest.mark.compliance("OpenID Connect RP-Initiated Logout 1.0 §2")
def test_logout__asks_everybody_by_the_toolkits_default(full: Client, intranet: Party) -> None:
    """RP-Initiated Logout 1.0 §2: SHOULD ask."""
    with toolkit_settings(OIDC_RP_INITIATED_LOGOUT_ALWAYS_PROMPT=None):
        assert is_question(full.get(LOGOUT, {"id_token_hint": hint_of(intranet, full)}))


@pytest.mark.compliance("OpenID Connect RP-Initiated Logout 1.0 §2")
def test_logout__asks_where_there_is_no_hint(full: Client, intranet: Party) -> None:
    """RP-Initiated Logout 1.0 §2: MUST ask if an id_token_hint was not provided."""
    assert is_question(full.get(LOGOUT, {"client_id": "intranet"}))
    assert full.get("/members/").status_code == 200


@pytest.mark.compliance("OpenID Connect RP-Initiated Logout 1.0 §2")
def test_logout__asks_where_the_hint_is_of_another_user(full: Client, intranet: Party, admin: Any) -> None:
    """RP-Initiated Logout 1.0 §2: MUST ask if the ID token does not belong to the currently logged in End-User."""
    theirs = Client()
    theirs.post("/account/sign-in/", {"upn": admin.username, "password": "admin-password"})
    hint = hint_of(intranet, theirs)

    assert is_question(full.get(LOGOUT, {"id_token_hint": hint}))
    confirm(full, hint)

    assert SESSION_KEY not in full.session  # who confirmed was here
    assert is_live(sign_in_of(theirs))


@pytest.mark.compliance("OpenID Connect RP-Initiated Logout 1.0 §2")
def test_logout__asks_where_the_hint_is_of_another_session_of_the_user(
    full: Client, elsewhere: Client, intranet: Party
) -> None:
    """RP-Initiated Logout 1.0 §2: MUST ask if the ID token does not belong to the current OP session."""
    hint = hint_of(intranet, elsewhere)

    assert is_question(full.get(LOGOUT, {"id_token_hint": hint}))
    confirm(full, hint)

    assert SESSION_KEY not in full.session
    assert is_live(sign_in_of(elsewhere))


def test_logout__asks_nobody_who_has_just_signed_in_again(kim: Any, full: Client, intranet: Party) -> None:
    """The sign-in was renewed, and so is the one that the hint names."""
    hint = hint_of(intranet, full)
    full.force_login(kim, backend="tap_provider.backends.ModelBackend")

    assert full.get(LOGOUT, {"id_token_hint": hint}).status_code == 302
    assert SESSION_KEY not in full.session


def test_logout__a_hint_from_before_the_installation_is_the_toolkits(full: Client, intranet: Party) -> None:
    hint = forged(hint_of(intranet, full), sid=None)

    assert full.get(LOGOUT, {"id_token_hint": hint}).status_code == 302
    assert SESSION_KEY not in full.session


# An anonymous visitor with only a hint: no proof of being the user


@pytest.mark.compliance("OpenID Connect RP-Initiated Logout 1.0 §2")
def test_anonymous__is_asked_before_anything_ends(full: Client, intranet: Party) -> None:
    """The toolkit deletes all tokens of the user at once, be it by a link in a mail."""
    tokens = intranet.tokens(full)

    response = Client().get(LOGOUT, {"id_token_hint": tokens.response["id_token"]})

    assert is_question(response)
    assert is_live(sign_in_of(full))
    assert intranet.userinfo(tokens.access_token).status_code == 200


@pytest.mark.compliance("OpenID Connect RP-Initiated Logout 1.0 §2")
def test_anonymous__is_asked_on_a_page_that_nobody_keeps(full: Client, intranet: Party) -> None:
    page = Client().get(LOGOUT, {"id_token_hint": hint_of(intranet, full)})

    assert "no-store" in page.headers["Cache-Control"]


@pytest.mark.compliance("OpenID Connect RP-Initiated Logout 1.0 §2")
def test_anonymous__who_does_not_confirm_ends_nothing(full: Client, intranet: Party) -> None:
    response = Client().post(LOGOUT, {"id_token_hint": hint_of(intranet, full)})

    assert response.status_code == 400
    assert is_live(sign_in_of(full))


def test_anonymous__cannot_be_made_to_confirm_by_another_site(full: Client, intranet: Party) -> None:
    response = confirm(Client(enforce_csrf_checks=True), hint_of(intranet, full))

    assert response.status_code == 403
    assert is_live(sign_in_of(full))


@pytest.mark.compliance("OpenID Connect RP-Initiated Logout 1.0 §2", "OpenID Connect RP-Initiated Logout 1.0 §3")
def test_anonymous__who_confirms_ends_the_sign_in_that_the_hint_names_and_no_other(
    full: Client, elsewhere: Client, intranet: Party
) -> None:
    tokens = intranet.tokens(full)

    response = confirm(Client(), tokens.response["id_token"], post_logout_redirect_uri=BYE)

    assert response.headers["Location"] == BYE
    assert SignIn.objects.get(pk=sign_in_of(full).pk).ended_reason == SignIn.EndedReason.SIGNED_OUT
    assert intranet.userinfo(tokens.access_token).status_code == 401
    assert is_live(sign_in_of(elsewhere))


@pytest.mark.compliance("OpenID Connect RP-Initiated Logout 1.0 §2")
def test_anonymous__ends_no_sign_in_of_anybody_but_the_hints_user(full: Client, intranet: Party, admin: Any) -> None:
    theirs = Client()
    theirs.post("/account/sign-in/", {"upn": admin.username, "password": "admin-password"})
    hint = forged(hint_of(intranet, full), sid=str(sign_in_of(theirs).pk))

    assert confirm(Client(), hint).status_code == 302

    assert is_live(sign_in_of(theirs))
    assert is_live(sign_in_of(full))


@pytest.mark.parametrize("sid", [None, "no-uuid", NOBODYS, 7, ["x"]])
def test_anonymous__with_a_hint_that_names_no_sign_in_has_nothing_to_end(
    full: Client, intranet: Party, sid: Any
) -> None:
    hint = forged(hint_of(intranet, full), sid=sid)

    assert Client().get(LOGOUT, {"id_token_hint": hint}).status_code == 302
    assert is_live(sign_in_of(full))


def test_anonymous__is_not_asked_about_a_sign_in_that_has_ended(full: Client, intranet: Party) -> None:
    hint = hint_of(intranet, full)
    end_sign_in(sign_in_of(full), reason=SignIn.EndedReason.SIGNED_OUT, now=NOW)

    assert Client().get(LOGOUT, {"id_token_hint": hint}).status_code == 302


# Registration-only sessions


@pytest.mark.compliance("OpenID Connect RP-Initiated Logout 1.0 §2")
def test_registration_only__is_asked_even_with_its_own_hint(holder: Client, portal: Party) -> None:
    """The pass may be a one-time one: no link ends its session."""
    hint = hint_of(portal, holder)

    assert is_question(holder.get(LOGOUT, {"id_token_hint": hint}))
    assert is_live(sign_in_of(holder))
    confirm(holder, hint)

    assert SESSION_KEY not in holder.session


def test_registration_only__confirming_ends_this_session_whatever_the_hint_names(
    holder: Client, full: Client, portal: Party
) -> None:
    confirm(holder, hint_of(portal, full))

    assert SESSION_KEY not in holder.session
    assert is_live(sign_in_of(full))


# Hints


@pytest.mark.compliance("OpenID Connect RP-Initiated Logout 1.0 §2")
def test_hint__by_a_retired_key_is_accepted(full: Client, intranet: Party) -> None:
    """RP-Initiated Logout 1.0 §2: the OP should accept ID tokens of a recent session, whatever was rotated since."""
    hint = hint_of(intranet, full)

    with toolkit_settings(OIDC_RSA_PRIVATE_KEY=new_signing_key(), OIDC_RSA_PRIVATE_KEYS_INACTIVE=[ACTIVE]):
        response = full.get(LOGOUT, {"id_token_hint": hint})

    assert response.status_code == 302
    assert SESSION_KEY not in full.session


@pytest.mark.compliance("OpenID Connect RP-Initiated Logout 1.0 §2")
@pytest.mark.parametrize(("accepted", "status"), [(True, 302), (False, 400)])
def test_hint__that_has_expired_is_the_sites_choice(full: Client, intranet: Party, accepted: bool, status: int) -> None:
    hint = forged(hint_of(intranet, full), exp=1)

    with toolkit_settings(OIDC_RP_INITIATED_LOGOUT_ACCEPT_EXPIRED_TOKENS=accepted):
        assert full.get(LOGOUT, {"id_token_hint": hint}).status_code == status


@pytest.mark.compliance("OpenID Connect RP-Initiated Logout 1.0 §2")
def test_hint__of_another_client_than_the_one_named_is_refused(full: Client, intranet: Party, portal: Party) -> None:
    """RP-Initiated Logout 1.0 §2: the OP MUST verify that client_id matches the audience."""
    response = full.get(LOGOUT, {"id_token_hint": hint_of(intranet, full), "client_id": "portal"})

    assert response.status_code == 400
    assert full.get("/members/").status_code == 200


@pytest.mark.compliance("OpenID Connect RP-Initiated Logout 1.0 §2")
@pytest.mark.parametrize("jti", [None, "no-uuid", NOBODYS, 7])
def test_hint__that_nobody_issued_is_refused(full: Client, intranet: Party, jti: Any) -> None:
    hint = forged(hint_of(intranet, full), jti=jti)

    assert full.get(LOGOUT, {"id_token_hint": hint}).status_code == 400


def test_hint__whose_record_is_gone_is_refused(full: Client, intranet: Party) -> None:
    """As with the toolkit, whose clean-up deletes it."""
    hint = hint_of(intranet, full)
    get_id_token_model().objects.all().delete()

    assert full.get(LOGOUT, {"id_token_hint": hint}).status_code == 400


@pytest.mark.compliance("OpenID Connect RP-Initiated Logout 1.0 §4")
@pytest.mark.parametrize("client_id", ["unknown", "\x00", "\ud800".encode("utf-8", "surrogatepass")])
def test_client_id__that_does_not_exist_is_an_error_page(full: Client, intranet: Party, client_id: Any) -> None:
    """For the toolkit it is a server error."""
    assert full.get(LOGOUT, {"client_id": client_id}).status_code == 400
    assert full.post(LOGOUT, {"client_id": client_id, "allow": "True"}).status_code in {200, 400}  # 200: the form
    assert full.get("/members/").status_code == 200


def test_hint__names_no_other_clients_id_token(full: Client, intranet: Party) -> None:
    """A client that signs by its own secret could write another's `jti` into a hint."""
    intranet.tokens(full)
    jti = str(get_id_token_model().objects.get().jti)

    assert _find_id_token({"jti": jti, "aud": "intranet"}) is not None
    assert _find_id_token({"jti": jti, "aud": ["intranet"]}) is not None
    for audience in ("another", ["another"], [], None):
        assert _find_id_token({"jti": jti, "aud": audience}) is None


# Posted by a relying party's page (§2: GET and POST). Nothing of ours comes along from there.


def posted_from_elsewhere(browser: Client, fields: dict[str, str]) -> Any:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = browser.cookies
    return strict, strict.post(LOGOUT, fields, headers={"origin": "https://relying-party.test"})


@pytest.mark.compliance("OpenID Connect RP-Initiated Logout 1.0 §2")
def test_posted__request_is_what_a_link_is(full: Client, intranet: Party) -> None:
    sent = {"id_token_hint": hint_of(intranet, full), "post_logout_redirect_uri": BYE, "state": "s"}

    browser, response = posted_from_elsewhere(full, sent)

    assert response.status_code == 302
    assert full.get("/members/").status_code == 200  # nothing yet
    answer = browser.get(response.headers["Location"])
    assert answer.headers["Location"] == f"{BYE}?state=s"
    assert full.get("/members/").status_code == 302


@pytest.mark.compliance("OpenID Connect RP-Initiated Logout 1.0 §2")
@pytest.mark.parametrize("forged", [{"allow": "True"}, {"csrfmiddlewaretoken": "x" * 32}])
def test_posted__answer_to_our_question_needs_our_page(forged: dict[str, str], full: Client, intranet: Party) -> None:
    _browser, response = posted_from_elsewhere(full, {"id_token_hint": hint_of(intranet, full), **forged})

    assert response.status_code == 403
    assert full.get("/members/").status_code == 200


def test_posted__answer_from_our_page_is_taken(full: Client, intranet: Party) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = full.cookies
    with toolkit_settings(OIDC_RP_INITIATED_LOGOUT_ALWAYS_PROMPT=True):
        page = strict.get(LOGOUT, {"client_id": intranet.client_id})
        token = strict.cookies["csrftoken"].value
        assert is_question(page)
        response = strict.post(LOGOUT, {"client_id": "intranet", "allow": "True", "csrfmiddlewaretoken": token})

    assert response.status_code == 302
    assert full.get("/members/").status_code == 302


@pytest.mark.parametrize("broken", [{"state": "\x00"}, {"id_token_hint": "x"}])
def test_posted__what_is_malformed_is_the_error_page(broken: dict[str, str], full: Client, intranet: Party) -> None:
    browser, response = posted_from_elsewhere(full, {"client_id": intranet.client_id, **broken})

    assert browser.get(response.headers["Location"]).status_code == 400
