"""Where a session meets an authorization request: whom is answered, with what, and where to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.conf import settings as django_settings
from django.http import QueryDict
from django.test import Client
from oauth2_provider.models import (
    get_access_token_model,
    get_grant_model,
    get_id_token_model,
)

from tap_provider.issue import IssuedPass
from tap_provider.oidc.models import RelyingParty
from tap_provider.oidc.views import AuthorizationView
from tap_provider.registration_session import reaches, takes_part

from .conftest import (
    AUTHORIZE,
    ENDS_OF_REGISTRATION,
    ISSUER,
    REDIRECT_URI,
    REGISTRATION_SCOPE,
    Party,
    answer_of,
    consent,
    consent_page,
    counted,
    is_sign_in_page,
    sign_in_with_passkey,
    toolkit_settings,
)

EVIL = "https://evil.test/callback/"


@pytest.fixture
def careful(make_party: Callable[..., Party]) -> Party:
    """A client that may host registration, and for which people are asked whether they consent."""
    return make_party("careful", may_host_registration=True, skip_authorization=False)


def nothing_was_issued() -> bool:
    return not (
        get_grant_model().objects.exists()
        or get_access_token_model().objects.exists()
        or get_id_token_model().objects.exists()
    )


def is_refused(response: Any) -> bool:
    """Tell whether a browser leaves the authorization endpoint with nothing that a client could use."""
    if is_sign_in_page(response) or response.status_code in {400, 403}:
        return nothing_was_issued()
    answer = answer_of(response)
    return "error" in answer and not {"code", "id_token", "access_token"} & set(answer) and nothing_was_issued()


# Which requests a registration-only session reaches the endpoint with at all


def may_answer(query: str) -> bool:
    return takes_part(AuthorizationView.as_view(), "oauth2_provider:authorize", QueryDict(query))


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("response_type=code&client_id=portal", True),
        ("client_id=portal&response_type=code&prompt=none&response_mode=fragment", True),
        ("response_type=code&client_id=intranet", False),
        ("response_type=code&client_id=unknown", False),
        ("response_type=code", False),
        ("client_id=portal", False),
        ("", False),
        ("response_type=token&client_id=portal", False),
        ("response_type=id_token&client_id=portal", False),
        ("response_type=id_token+token&client_id=portal", False),
        ("response_type=code+id_token&client_id=portal", False),
        ("response_type=code+token&client_id=portal", False),
        ("response_type=none&client_id=portal", False),
        ("response_type=CODE&client_id=portal", False),
    ],
)
def test_takes_part__code_requests_of_clients_that_may_host_registration(
    portal: Party, intranet: Party, query: str, answer: bool
) -> None:
    assert may_answer(query) is answer


def test_takes_part__costs_nothing_for_other_response_types(portal: Party) -> None:
    with counted() as queries:
        may_answer("response_type=token&client_id=portal")

    assert queries() == 0


def test_takes_part__a_nul_byte_is_no_client(holder: Client, portal: Party) -> None:
    """PostgreSQL refuses to look it up; a page must not fail because of it."""
    assert not reaches(f"{AUTHORIZE}?response_type=code&client_id=portal%00")
    response = holder.get(f"{AUTHORIZE}?response_type=code&client_id=portal%00")
    assert (response.status_code, response.headers.get("Location")) == (400, None)


def test_sign_in_with_pass__survives_a_nul_byte_on_the_way_to_a_client(
    robin: Any, issue: Callable[..., IssuedPass], portal: Party
) -> None:
    """The pass is spent by then: a failure would lose it."""
    wanted = f"{AUTHORIZE}?response_type=code&client_id=portal%00"

    response = Client().post(
        "/account/sign-in/pass/", {"upn": robin.upn, "passcode": issue(robin).passcode.reveal(), "next": wanted}
    )

    assert response.status_code == 302
    assert response.headers["Location"].startswith("/account/security-info/")


def test_sign_in_with_pass__leads_back_to_a_client_that_may_host_registration_only(
    robin: Any, issue: Callable[..., IssuedPass], portal: Party, intranet: Party
) -> None:
    passcode = issue(robin).passcode.reveal()
    for party, leads_back in ((portal, True), (intranet, False)):
        wanted = party.request().url
        response = Client().post("/account/sign-in/pass/", {"upn": robin.upn, "passcode": passcode, "next": wanted})
        assert (response.headers["Location"] == wanted) is leads_back


# Registration-only sessions and ordinary clients


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.6")
def test_authorize__ordinary_client_gets_login_required_silently(holder: Client, intranet: Party) -> None:
    asked = intranet.request(prompt="none")

    answer = answer_of(holder.get(asked.url))

    assert answer.pop("error_description")
    assert answer == {"error": "login_required", "state": asked.query["state"], "iss": ISSUER}
    assert nothing_was_issued()


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.3")
def test_authorize__ordinary_client_gets_the_sign_in_page_interactively(holder: Client, intranet: Party) -> None:
    asked = intranet.request()

    response = holder.get(asked.url)

    assert is_sign_in_page(response)
    query = parse_qs(urlsplit(response.headers["Location"]).query)
    assert query["next"] == [asked.url]
    assert nothing_was_issued()


def test_authorize__client_that_we_do_not_know_is_an_ordinary_one(
    holder: Client, make_party: Callable[..., Party]
) -> None:
    asked = make_party("without-a-row").request()

    assert is_sign_in_page(holder.get(asked.url))


def test_authorize__client_that_may_no_longer_host_registration_is_an_ordinary_one(
    holder: Client, portal: Party
) -> None:
    portal.code(holder)
    RelyingParty.objects.update(may_host_registration=False)

    assert is_sign_in_page(holder.get(portal.request().url))
    assert answer_of(holder.get(portal.request(prompt="none").url))["error"] == "login_required"


def test_authorize__ordinary_client_is_answered_after_a_sign_in_with_a_passkey(
    robin: Any, holder: Client, intranet: Party
) -> None:
    assert is_sign_in_page(holder.get(intranet.request().url))

    browser = sign_in_with_passkey(robin)

    assert intranet.tokens(browser).claims["acr"] == "phr"


def test_authorize__consent_posted_by_a_registration_only_session_for_an_ordinary_client(
    holder: Client, careful: Party, make_party: Callable[..., Party]
) -> None:
    ordinary = make_party("ordinary", may_host_registration=False, skip_authorization=False)
    form = consent_page(holder, careful.request())
    asked = ordinary.request()

    response = holder.post(asked.url, {**form, "client_id": "ordinary", "state": "s"})

    assert is_sign_in_page(response)
    assert nothing_was_issued()


def test_authorize__client_in_the_consent_form_is_not_the_one_in_the_address(
    holder: Client, careful: Party, intranet: Party
) -> None:
    """The form's hidden fields are the user's to change: what they name is judged, not what the address names."""
    response = consent(holder, careful.request(), client_id="intranet")

    assert is_refused(response)


@pytest.mark.parametrize("client_id", ["intranet", "unknown"])
def test_authorize__client_in_the_consent_form_cannot_bring_an_address_of_its_own(
    holder: Client, careful: Party, intranet: Party, client_id: str
) -> None:
    """RFC 6749 §4.1.2.1: nobody is sent to an address that the client has not registered, not even with an error."""
    holder.raise_request_exception = False
    response = consent(holder, careful.request(), client_id=client_id, redirect_uri=EVIL)

    assert not response.headers.get("Location", "").startswith(EVIL)
    assert nothing_was_issued()


def test_authorize__scope_in_the_consent_form_cannot_bring_an_address_of_its_own(
    holder: Client, careful: Party
) -> None:
    response = consent(holder, careful.request(), scope="offline_access", redirect_uri=EVIL)

    assert not response.headers.get("Location", "").startswith(EVIL)


def test_authorize__consent_posted_after_the_session_ended(
    holder: Client, careful: Party, end_by: Callable[[str, Client], None]
) -> None:
    asked = careful.request()
    form = consent_page(holder, asked)

    end_by("pass_revoked", holder)

    assert is_sign_in_page(holder.post(asked.url, form))
    assert nothing_was_issued()


@pytest.mark.parametrize("way", ENDS_OF_REGISTRATION)
def test_authorize__ended_registration_only_session_is_not_answered(
    way: str, holder: Client, portal: Party, end_by: Callable[[str, Client], None], admin: Any
) -> None:
    end_by(way, holder)

    response = holder.get(portal.request().url)

    if way == "signed_in_anew":
        code = get_grant_model().objects.get()
        assert (code.user, answer_of(response)["code"]) == (admin, code.code)
    else:
        assert is_sign_in_page(response)
        assert nothing_was_issued()


# Scopes of a registration-only session


def test_authorize__consent_page_asks_for_what_is_granted_only(holder: Client, careful: Party) -> None:
    asked = careful.request(scope=f"{REGISTRATION_SCOPE} offline_access")

    page = holder.get(asked.url)

    texts = django_settings.OAUTH2_PROVIDER["SCOPES"]
    content = page.content.decode()
    assert texts["method_registration"] in content
    assert texts["offline_access"] not in content
    assert page.context["form"].initial["scope"] == REGISTRATION_SCOPE


def test_authorize__consent_page_of_a_full_session_asks_for_all(full: Client, careful: Party) -> None:
    asked = careful.request(scope=f"{REGISTRATION_SCOPE} offline_access")

    assert django_settings.OAUTH2_PROVIDER["SCOPES"]["offline_access"] in full.get(asked.url).content.decode()


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.4")
def test_authorize__consent_is_answered_with_a_code(holder: Client, careful: Party) -> None:
    asked = careful.request(scope=REGISTRATION_SCOPE)

    answer = answer_of(consent(holder, asked))

    assert (answer["state"], answer["iss"]) == (asked.query["state"], ISSUER)
    tokens = careful.read(careful.exchange(answer["code"], asked), nonce=asked.query["nonce"])
    assert tokens.claims["amr"] == ["mfa", "tap"]


@pytest.mark.parametrize(("approval", "asks"), [("force", True), ("auto", False)])
def test_authorize__consent_is_asked_for_again_where_the_site_says_so(
    full: Client, careful: Party, approval: str, asks: bool
) -> None:
    asked = careful.request()
    careful.exchange(answer_of(consent(full, asked))["code"], asked)

    with toolkit_settings(REQUEST_APPROVAL_PROMPT=approval):
        response = full.get(careful.request().url)

    assert response.status_code == (200 if asks else 302)


def test_authorize__consent_form_with_more_scopes_is_cut_as_well(holder: Client, careful: Party) -> None:
    asked = careful.request(scope="openid")

    answer = answer_of(consent(holder, asked, scope="openid offline_access email"))

    tokens = careful.read(careful.exchange(answer["code"], asked), nonce=asked.query["nonce"])
    assert tokens.response["scope"] == "openid"


@pytest.mark.compliance("RFC 6749 §10.12")
def test_authorize__consent_cannot_be_posted_by_another_site(holder: Client, full: Client, careful: Party) -> None:
    asked = careful.request()
    for browser in (holder, full):
        form = consent_page(browser, asked)
        del form["csrfmiddlewaretoken"]
        strict = Client(enforce_csrf_checks=True)
        strict.cookies = browser.cookies
        assert strict.post(asked.url, form).status_code == 403
    assert nothing_was_issued()


@pytest.mark.compliance("RFC 6749 §4.1.2.1")
def test_authorize__consent_denied_is_access_denied(holder: Client, careful: Party) -> None:
    asked = careful.request()

    answer = answer_of(consent(holder, asked, allow=""))

    assert answer["error"] == "access_denied"
    assert (answer["state"], answer["iss"]) == (asked.query["state"], ISSUER)


@pytest.mark.parametrize("extra", [{}, {"prompt": "none"}, {"prompt": "login"}])
@pytest.mark.parametrize("party", ["portal", "careful"])
@pytest.mark.compliance("RFC 6749 §4.1.2.1")
def test_authorize__scopes_of_which_nothing_remains_are_invalid(
    holder: Client, request: pytest.FixtureRequest, party: str, extra: dict[str, str]
) -> None:
    asked = request.getfixturevalue(party).request(scope="offline_access", **extra)

    answer = answer_of(holder.get(asked.url))

    assert answer["error"] == "invalid_scope"
    assert (answer["state"], answer["iss"]) == (asked.query["state"], ISSUER)
    assert nothing_was_issued()


def test_authorize__consent_form_of_which_no_scope_remains_is_invalid(holder: Client, careful: Party) -> None:
    asked = careful.request()

    answer = answer_of(consent(holder, asked, scope="offline_access"))

    assert answer["error"] == "invalid_scope"
    assert (answer["state"], answer["iss"]) == (asked.query["state"], ISSUER)
    assert nothing_was_issued()


@pytest.mark.compliance("OpenID Connect Core 1.0 §3.1.2.1")
def test_authorize__scopes_without_openid_bring_no_id_token(holder: Client, portal: Party) -> None:
    tokens = portal.tokens(holder, scope="method_registration offline_access")

    assert tokens.response["scope"] == "method_registration"
    assert "id_token" not in tokens.response
    assert "refresh_token" not in tokens.response
    assert portal.introspect(tokens.access_token)["amr"] == ["mfa", "tap"]


@pytest.mark.compliance("RFC 6749 §3.3")
@pytest.mark.parametrize("scope", [None, "", " "])
@pytest.mark.parametrize("defaults", [["__all__"], []])
@pytest.mark.parametrize("skips", [True, False])
def test_authorize__asked_for_no_scope_is_invalid(
    full: Client, make_party: Callable[..., Party], skips: bool, defaults: list[str], scope: str | None
) -> None:
    """The toolkit would grant everything; a token without any scope would be of no use to an honest client."""
    party = make_party("asks-for-nothing", skip_authorization=skips)
    with toolkit_settings(DEFAULT_SCOPES=defaults):
        answer = answer_of(full.get(party.request(scope=scope).url))

    assert answer["error"] == "invalid_scope"
    assert nothing_was_issued()


@pytest.mark.parametrize("defaults", [["__all__"], []])
def test_authorize__registration_only_session_asked_for_no_scope_is_invalid(
    holder: Client, portal: Party, defaults: list[str]
) -> None:
    with toolkit_settings(DEFAULT_SCOPES=defaults):
        answer = answer_of(holder.get(portal.request(scope=None).url))

    assert answer["error"] == "invalid_scope"
    assert nothing_was_issued()


# Other response types, also where a site still allows them

OTHER_RESPONSE_TYPES = {
    "token": "implicit",
    "id_token": "implicit",
    "id_token token": "implicit",
    "code id_token": "openid-hybrid",
    "code token": "openid-hybrid",
    "code id_token token": "openid-hybrid",
}


@pytest.fixture
def lenient(make_party: Callable[..., Party]) -> Callable[..., Party]:
    def make(response_type: str, **fields: Any) -> Party:
        grant_type = OTHER_RESPONSE_TYPES[response_type]
        return make_party("lenient", authorization_grant_type=grant_type, may_host_registration=True, **fields)

    return make


@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
@pytest.mark.parametrize("response_type", OTHER_RESPONSE_TYPES)
def test_authorize__other_response_types_would_be_answered_to_a_full_session(
    full: Client, lenient: Callable[..., Party], response_type: str
) -> None:
    """What the next tests refuse is open but for us."""
    with toolkit_settings(COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT=False):
        answer = answer_of(full.get(lenient(response_type).request(response_type=response_type).url))

    assert {"code", "id_token", "access_token"} & set(answer)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
@pytest.mark.parametrize("response_type", OTHER_RESPONSE_TYPES)
def test_authorize__other_response_types_are_not_answered_to_a_registration_only_session(
    holder: Client, lenient: Callable[..., Party], response_type: str
) -> None:
    party = lenient(response_type)
    with toolkit_settings(COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT=False):
        interactive = holder.get(party.request(response_type=response_type).url)
        silent = holder.get(party.request(response_type=response_type, prompt="none").url)

    assert is_sign_in_page(interactive)
    assert answer_of(silent)["error"] == "login_required"
    assert nothing_was_issued()


@pytest.mark.filterwarnings("ignore::DeprecationWarning:oauth2_provider")
@pytest.mark.parametrize("response_type", OTHER_RESPONSE_TYPES)
def test_authorize__other_response_types_in_the_form_only_are_not_answered_either(
    holder: Client, lenient: Callable[..., Party], response_type: str
) -> None:
    """The address says `code`, which opens the endpoint; the form, which is the user's to change, something else."""
    party = lenient(response_type, skip_authorization=False)
    asked = party.request()
    names = ("client_id", "redirect_uri", "state", "nonce", "code_challenge", "code_challenge_method")
    form = {name: asked.query[name] for name in names}
    with toolkit_settings(COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT=False):
        response = holder.post(
            asked.url, {**form, "scope": "openid profile", "response_type": response_type, "allow": "Authorize"}
        )

    assert is_refused(response), response.headers


# Where errors lead, and that they say whose they are (RFC 9207 §2)


def issuers(response: Any) -> list[str]:
    location = urlsplit(response.headers["Location"])
    return parse_qs(location.query).get("iss", []) + parse_qs(location.fragment).get("iss", [])


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"scope": "unknown"}, "invalid_scope"),
        ({"response_type": "token"}, "unauthorized_client"),
        ({"response_type": "nonsense"}, "unsupported_response_type"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"resource": "not-absolute"}, "invalid_target"),
    ],
)
@pytest.mark.compliance("RFC 9207 §2")
def test_redirect__errors_name_the_issuer_once(
    full: Client, intranet: Party, changes: dict[str, Any], error: str
) -> None:
    asked = intranet.request(**changes)

    response = full.get(asked.url)

    answer = answer_of(response)
    assert answer["error"] == error
    assert answer["state"] == asked.query["state"]
    assert issuers(response) == [ISSUER]


@pytest.mark.compliance("RFC 9207 §2")
def test_redirect__errors_to_a_consent_form_name_the_issuer_once(full: Client, careful: Party) -> None:
    """There the toolkit has named it already."""
    response = consent(full, careful.request(), scope="openid unknown")

    assert parse_qs(urlsplit(response.headers["Location"]).query)["error"] == ["invalid_scope"]
    assert issuers(response) == [ISSUER]


@pytest.mark.compliance("RFC 9207 §2", "RFC 6749 §3.1.2")
def test_redirect__answers_to_an_address_with_a_query_of_its_own_name_the_issuer_once(
    full: Client, make_party: Callable[..., Party]
) -> None:
    registered = f"{REDIRECT_URI}?error=page&iss=https%3A%2F%2Fanother.test"
    party = make_party("with-a-query", redirect_uris=registered)

    for changes in ({}, {"scope": "unknown"}):
        response = full.get(party.request(redirect_uri=registered, **changes).url)
        assert response.status_code == 302
        assert issuers(response) == [ISSUER]


def test_redirect__errors_do_not_name_the_issuer_where_the_site_does_not_want_it(
    holder: Client, full: Client, intranet: Party
) -> None:
    with toolkit_settings(COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS=False):
        silent = answer_of(holder.get(intranet.request(prompt="none").url))
        invalid = answer_of(full.get(intranet.request(scope="unknown").url))
        code = answer_of(full.get(intranet.request().url))

    assert silent["error"] == "login_required"
    assert invalid["error"] == "invalid_scope"
    assert "code" in code
    for answer in (silent, invalid, code):
        assert "iss" not in answer


@pytest.mark.parametrize("changes", [{"redirect_uri": EVIL}, {"client_id": "unknown"}, {"client_id": None}])
@pytest.mark.parametrize("prompt", [None, "none"])
@pytest.mark.parametrize("who", ["full", "holder", "nobody"])
@pytest.mark.compliance("RFC 6749 §3.1.2.4")
def test_authorize__unregistered_address_is_an_error_page(
    request: pytest.FixtureRequest, portal: Party, who: str, prompt: str | None, changes: dict[str, Any]
) -> None:
    browser = Client() if who == "nobody" else request.getfixturevalue(who)

    response = browser.get(portal.request(prompt=prompt, **changes).url)

    assert response.status_code == 400 or is_sign_in_page(response)
    assert who != "full" or response.status_code == 400


def test_authorize__answers_silent_requests_itself_under_login_required_middleware(
    settings: Any, portal: Party, intranet: Party
) -> None:
    """As the toolkit's own view does: OpenID Connect Core §3.1.2.6 wants an error there, not the sign-in page."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]

    answer = answer_of(Client().get(intranet.request(prompt="none").url))

    assert answer["error"] == "login_required"


def test_whole_flow__works_under_login_required_middleware(
    settings: Any, robin: Any, kim: Any, open_registration: Callable[..., Client], portal: Party
) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    party, browser = Party(portal.application), open_registration(robin)

    tokens = party.tokens(browser)

    assert tokens.claims["amr"] == ["mfa", "tap"]
    assert party.userinfo(tokens.access_token).status_code == 200
    assert party.introspect(tokens.access_token)["active"]


def test_authorize__answer_is_the_sessions_own_not_that_of_a_bearer_token(
    full: Client, holder: Client, intranet: Party
) -> None:
    token = intranet.tokens(full).access_token

    response = holder.get(intranet.request().url, headers={"authorization": f"Bearer {token}"})

    assert is_sign_in_page(response)


@pytest.mark.compliance("RFC 6749 §4.1.2.1")
def test_authorize__query_of_another_shape_is_never_a_server_error(holder: Client, full: Client, portal: Party) -> None:
    asked = portal.request()
    for browser in (holder, full, Client()):
        for query in (
            "",
            "response_type=code",
            urlencode({**asked.query, "claims": "{"}),
            urlencode({**asked.query, "claims": "[1]"}),
            urlencode({**asked.query, "max_age": "abc", "acr_values": "\x00", "prompt": "none"}),
            urlencode({**asked.query, "state": "\x00\U0001f511"}),
            urlencode([*asked.query.items(), ("client_id", "intranet")]),
            urlencode([*asked.query.items(), ("response_type", "token")]),
            urlencode({**asked.query, "id_token_hint": "x", "prompt": "none"}),
        ):
            response = browser.get(f"{AUTHORIZE}?{query}")
            assert response.status_code in {200, 302, 400}, query
