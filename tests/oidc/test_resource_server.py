"""The resource server's side: RFC 6750 §3 for tokens and scopes, RFC 9470 §3 for how and when somebody signed in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.conf import settings as django_settings
from django.http import HttpResponse, JsonResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import include, path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.functional import SimpleLazyObject
from django.views import View
from oauth2_provider.decorators import (
    protected_resource,
    protected_resource_metadata,
    rw_protected_resource,
    rw_protected_resource_metadata,
)
from oauth2_provider.models import get_access_token_model, get_application_model
from oauth2_provider.oauth2_validators import OAuth2Validator

from tap_provider.authentication_context import context_of
from tap_provider.models import Level, SignIn
from tap_provider.oidc.models import RelyingParty
from tap_provider.oidc.resource_server import (
    AccessRefused,
    Demand,
    PresentedToken,
    access_token_required,
    guard_toolkit_decorators,
)

from .conftest import (
    ENDS_OF_FULL_SESSION,
    ENDS_OF_REGISTRATION,
    MULTI_FACTOR_ACR,
    PHISHING_RESISTANT_ACR,
    REGISTRATION_SCOPE,
    TOKEN,
    Party,
    counted,
    session_from_before,
    sign_in_of,
    sign_in_with_passkey,
    sign_in_with_totp,
    toolkit_settings,
)

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


def tell(request: Any, **kwargs: str) -> HttpResponse:
    """What a view is handed, as it finds it."""
    context = request.auth_context
    return JsonResponse(
        {
            "user": request.access_token.user and request.access_token.user.get_username(),
            "client": request.access_token.application.client_id,
            "claims": context and context.claims,
            "request_user": request.user.get_username(),
            **kwargs,
        }
    )


async def tell_later(request: Any, **kwargs: str) -> HttpResponse:
    return tell(request, **kwargs)


def tell_owner(request: Any) -> HttpResponse:
    return HttpResponse(str(request.resource_owner))


@method_decorator(access_token_required(level="multi_factor"), name="dispatch")
class ClassBased(View):
    def get(self, request: Any) -> HttpResponse:
        return tell(request)

    post = get


@method_decorator(access_token_required(level="multi_factor"), name="dispatch")
class AsynchronousClassBased(View):
    async def get(self, request: Any) -> HttpResponse:
        return tell(request)


ACR_WITH_QUOTES = 'urn:"quoted"\\'

guarded = {
    "any": access_token_required()(tell),
    "machine-profile": access_token_required(needs_user=False, scopes=["profile"])(tell),
    "machine": access_token_required(needs_user=False)(tell),
    "profile": access_token_required(scopes=["profile"])(tell),
    "multi-factor": access_token_required(level=Level.MULTI_FACTOR)(tell),
    "single-factor": access_token_required(level="single_factor")(tell),
    "phishing-resistant": access_token_required(level="phishing_resistant", max_age=300)(tell),
    "one-acr": access_token_required(acr_values=MULTI_FACTOR_ACR)(tell),
    "two-acrs": access_token_required(acr_values=["phr", MULTI_FACTOR_ACR])(tell),
    "quoted": access_token_required(acr_values=[ACR_WITH_QUOTES])(tell),
    "fresh": access_token_required(max_age=300)(tell),
    "email": access_token_required(scopes=["email", "profile"])(tell),
    "register": access_token_required(level="multi_factor", scopes=["method_registration"])(tell),
    "later": access_token_required(level="multi_factor")(tell_later),
    "class": ClassBased.as_view(),
    "later-class": AsynchronousClassBased.as_view(),
}
by_toolkit = {
    "toolkit-bare": protected_resource()(tell_owner),
    "toolkit-scopes": protected_resource(scopes=["profile"])(tell_owner),
    "toolkit-metadata": protected_resource_metadata(scopes=["profile"])(tell_owner),
    "toolkit-rw": rw_protected_resource()(tell_owner),
    "toolkit-rw-metadata": rw_protected_resource_metadata()(tell_owner),
}
urlpatterns = [
    path("", include("example_project.urls")),
    path("api/with/<slug:word>/", access_token_required()(tell)),
    *(path(f"api/{name}/", view) for name, view in {**guarded, **by_toolkit}.items()),
]


def ask(name: str, token: str | None = None, **extra: Any) -> Any:
    """Ask the resource server as a client does, by a header and without a cookie."""
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    return Client(enforce_csrf_checks=True).generic(
        extra.pop("method", "GET"), f"/api/{name}/", headers=headers, **extra
    )


def challenge_of(response: Any) -> dict[str, str]:
    """Parse the challenge as RFC 9110 §11.6.1 has it: one scheme, quoted parameters, nothing else."""
    scheme, _, rest = response.headers["WWW-Authenticate"].partition(" ")
    assert scheme == "Bearer"
    parameter = r'([a-z_]+)="((?:[^"\\]|\\.)*)"'
    assert re.fullmatch(rf"{parameter}(?:, {parameter})*", rest), rest
    return {name: re.sub(r"\\(.)", r"\1", value) for name, value in re.findall(parameter, rest)}


def refused_for_authentication(response: Any) -> dict[str, str]:
    """Return the parameters of RFC 9470 §3's challenge."""
    challenge = challenge_of(response)
    assert response.status_code == 401
    assert challenge.pop("realm") == "api"
    assert challenge.pop("error") == "insufficient_user_authentication"
    assert challenge.pop("error_description")
    return challenge


# RFC 6750 §3: the token


@pytest.mark.compliance("RFC 6750 §3.1")
def test_rfc6750_3_1__without_a_token_no_error_is_told(intranet: Party) -> None:
    response = ask("multi-factor")

    assert response.status_code == 401
    assert challenge_of(response) == {"realm": "api"}
    assert response.content == b""


@pytest.mark.compliance("RFC 6750 §2.1", "RFC 6750 §3")
@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Bearer   ", "Basic a2ltOnNlY3JldA==", "Token x", "Bearerx"]
)
def test_rfc6750_2_1__another_header_is_no_token(authorization: str, intranet: Party) -> None:
    response = Client().get("/api/any/", headers={"authorization": authorization})

    assert (response.status_code, challenge_of(response)) == (401, {"realm": "api"})


@pytest.mark.compliance("RFC 6750 §3.1")
@pytest.mark.parametrize("token", ["unknown", "a b", '"', "\x7f", "é", pytest.param("x" * 10_000, id="endless")])
def test_rfc6750_3_1__what_is_no_access_token_is_invalid(token: str, intranet: Party) -> None:
    response = ask("any", token)

    assert response.status_code == 401
    assert challenge_of(response)["error"] == "invalid_token"


@pytest.mark.compliance("RFC 6750 §2.1")
def test_rfc6750_2_1__the_scheme_is_written_in_any_case(full: Client, intranet: Party) -> None:
    token = intranet.tokens(full).access_token

    assert Client().get("/api/any/", headers={"authorization": f"bEARER {token}"}).status_code == 200


@pytest.mark.compliance("RFC 6750 §2")
def test_rfc6750_2__only_the_header_counts(full: Client, intranet: Party) -> None:
    """A form or a link of another site's may name a token; with the user's cookies it would be believed otherwise."""
    token = intranet.tokens(full).access_token

    assert full.get("/api/any/", {"access_token": token}).status_code == 401
    assert full.post("/api/any/", {"access_token": token}).status_code == 401


def test_rfc6750__a_session_is_no_token(full: Client) -> None:
    assert full.get("/api/any/").status_code == 401


@pytest.mark.compliance("RFC 6750 §3.1")
def test_rfc6750__an_id_token_is_no_access_token(full: Client, intranet: Party) -> None:
    """The toolkit takes one for the other; RFC 9470 and RFC 6750 speak of access tokens."""
    response = ask("any", intranet.tokens(full).response["id_token"])

    assert challenge_of(response)["error"] == "invalid_token"


@pytest.mark.compliance("RFC 6750 §3.1")
@pytest.mark.parametrize("kind", ["refresh_token", "code"])
def test_rfc6750__no_other_secret_is_an_access_token(kind: str, full: Client, intranet: Party) -> None:
    """Peer failure 6."""
    code, asked = intranet.code(full, scope="openid offline_access")
    secret = code if kind == "code" else intranet.exchange(code, asked).json()["refresh_token"]

    assert challenge_of(ask("any", secret))["error"] == "invalid_token"


@pytest.mark.compliance("RFC 6750 §3.1")
def test_rfc6750_3_1__an_expired_token_is_invalid(full: Client, intranet: Party) -> None:
    token = intranet.tokens(full).access_token

    get_access_token_model().objects.update(expires=timezone.now())

    assert challenge_of(ask("any", token))["error"] == "invalid_token"


@pytest.mark.compliance("RFC 6750 §3.1")
@pytest.mark.parametrize("way", ENDS_OF_FULL_SESSION)
def test_invalid_token__once_the_full_session_is_over(
    way: str, full: Client, intranet: Party, end_by: Callable[[str, Client], None]
) -> None:
    token = intranet.tokens(full).access_token
    assert ask("any", token).status_code == 200

    end_by(way, full)

    response = ask("any", token)
    assert (response.status_code, challenge_of(response)["error"]) == (401, "invalid_token")


@pytest.mark.compliance("RFC 6750 §3.1")
@pytest.mark.parametrize("way", ENDS_OF_REGISTRATION)
def test_invalid_token__once_the_registration_only_session_is_over(
    way: str, holder: Client, portal: Party, end_by: Callable[[str, Client], None]
) -> None:
    token = portal.tokens(holder, scope=REGISTRATION_SCOPE).access_token
    assert ask("register", token).status_code == 200

    end_by(way, holder)

    response = ask("register", token)
    assert (response.status_code, challenge_of(response)["error"]) == (401, "invalid_token")


@pytest.mark.compliance("RFC 8707 §3")
def test_rfc8707_3__a_token_for_another_resource_is_invalid(full: Client, intranet: Party) -> None:
    elsewhere = intranet.tokens(full, resource="https://api.test/").access_token
    here = intranet.tokens(full, resource="http://testserver/api/").access_token

    assert challenge_of(ask("any", elsewhere))["error"] == "invalid_token"
    assert ask("any", here).status_code == 200


def test_query__that_no_parser_reads_is_no_server_error(full: Client, intranet: Party) -> None:
    token = intranet.tokens(full).access_token

    response = Client().get("/api/any/?x=%zz&access_token=y", headers={"authorization": f"Bearer {token}"})

    assert response.status_code == 200


# RFC 6750 §3.1: scopes


@pytest.mark.compliance("RFC 6750 §3.1")
def test_rfc6750_3_1__a_missing_scope_is_forbidden_and_named(full: Client, intranet: Party) -> None:
    response = ask("email", intranet.tokens(full, scope="openid email").access_token)

    assert response.status_code == 403
    challenge = challenge_of(response)
    assert (challenge["error"], challenge["scope"]) == ("insufficient_scope", "email profile")


def test_rfc6750_3_1__with_every_scope_the_view_answers(full: Client, intranet: Party) -> None:
    assert ask("email", intranet.tokens(full, scope="openid email profile").access_token).status_code == 200


# RFC 9470 §3: how somebody signed in


@pytest.mark.compliance("RFC 9470 §3")
def test_rfc9470_3__too_weak_is_told_which_acr_would_do(full: Client, intranet: Party) -> None:
    response = ask("multi-factor", intranet.tokens(full).access_token)

    assert refused_for_authentication(response) == {"acr_values": f"{MULTI_FACTOR_ACR} {PHISHING_RESISTANT_ACR}"}


@pytest.mark.compliance("RFC 9470 §3")
def test_rfc9470_3__acr_and_age_are_told_together(full: Client, intranet: Party) -> None:
    response = ask("phishing-resistant", intranet.tokens(full).access_token)

    assert refused_for_authentication(response) == {"acr_values": PHISHING_RESISTANT_ACR, "max_age": "300"}


@pytest.mark.compliance("RFC 9470 §3")
@pytest.mark.parametrize("name", ["multi-factor", "one-acr", "two-acrs", "single-factor", "later", "class"])
def test_rfc9470__strong_enough_is_let_in(name: str, kim: Any, full: Client, intranet: Party) -> None:
    response = ask(name, intranet.tokens(sign_in_with_totp(kim)).access_token)

    assert response.status_code == 200
    assert response.json()["claims"]["acr"] == MULTI_FACTOR_ACR


def test_rfc9470__a_level_is_met_by_a_stronger_one(kim: Any, full: Client, intranet: Party) -> None:
    token = intranet.tokens(sign_in_with_passkey(kim)).access_token

    assert ask("multi-factor", token).json()["claims"]["acr"] == PHISHING_RESISTANT_ACR
    assert ask("two-acrs", token).status_code == 200


@pytest.mark.compliance("RFC 9470 §3")
def test_rfc9470__an_acr_is_met_by_that_one_only(kim: Any, full: Client, intranet: Party) -> None:
    response = ask("one-acr", intranet.tokens(sign_in_with_passkey(kim)).access_token)

    assert refused_for_authentication(response) == {"acr_values": MULTI_FACTOR_ACR}


@pytest.mark.compliance("RFC 9470 §3")
def test_rfc9470_3__several_acrs_are_told_in_the_order_of_the_demand(full: Client, intranet: Party) -> None:
    response = ask("two-acrs", intranet.tokens(full).access_token)

    assert refused_for_authentication(response) == {"acr_values": f"phr {MULTI_FACTOR_ACR}"}


@pytest.mark.compliance("RFC 9110 §5.6.4")
def test_rfc9110_5_6_4__values_are_quoted(full: Client, intranet: Party) -> None:
    response = ask("quoted", intranet.tokens(full).access_token)

    assert refused_for_authentication(response) == {"acr_values": ACR_WITH_QUOTES}
    assert 'acr_values="urn:\\"quoted\\"\\\\"' in response.headers["WWW-Authenticate"]


@pytest.mark.compliance("RFC 9470 §3")
def test_rfc9470_3__acr_values_of_a_level_are_the_sites(full: Client, intranet: Party, settings: Any) -> None:
    token = intranet.tokens(full).access_token
    settings.TAP_PROVIDER_ACR_VALUES = {"multi_factor": "urn:strong", "phishing_resistant": "urn:strong"}

    assert refused_for_authentication(ask("multi-factor", token)) == {"acr_values": "urn:strong"}


@pytest.mark.compliance("RFC 9470 §3")
@pytest.mark.parametrize("name", ["single-factor", "fresh"])
def test_rfc9470__an_adopted_session_meets_no_demand(name: str, kim: Any, intranet: Party) -> None:
    """Nothing is known of its strength or its age."""
    token = intranet.tokens(session_from_before(kim)).access_token

    assert ask("any", token).status_code == 200
    refused_for_authentication(ask(name, token))


@pytest.mark.compliance("RFC 9470 §3")
@pytest.mark.parametrize("name", ["single-factor", "fresh", "any", "profile"])
def test_rfc9470__a_token_without_a_sign_in_meets_no_demand(name: str, make_party: Callable[..., Party]) -> None:
    party = make_party("machine", authorization_grant_type=get_application_model().GRANT_CLIENT_CREDENTIALS)
    body = {"grant_type": "client_credentials", "scope": "profile", **party.credentials}
    token = party.server.post(TOKEN, body).json()["access_token"]

    assert ask("machine", token).json() == {"user": None, "client": "machine", "claims": None, "request_user": ""}
    refused_for_authentication(ask(name, token))


@pytest.mark.compliance("RFC 9470 §6")
def test_rfc9470__the_tokens_own_context_counts_and_not_what_was_reached_later(full: Client, intranet: Party) -> None:
    """Peer failure 14: elevation does not stick to what was issued before it."""
    token = intranet.tokens(full).access_token
    SignIn.objects.update(level=Level.PHISHING_RESISTANT, methods=["passkey"], amr=["hwk"])

    refused_for_authentication(ask("multi-factor", token))


def test_machine__reaches_nothing_that_is_for_users(make_party: Callable[..., Party]) -> None:
    """Whatever scopes its token came to have."""
    party = make_party("machine", authorization_grant_type="client-credentials", may_host_registration=True)
    body = {"grant_type": "client_credentials", "scope": "profile", **party.credentials}
    token = party.server.post(TOKEN, body).json()["access_token"]
    get_access_token_model().objects.update(scope="openid profile email method_registration")

    for name in set(guarded) - {"machine", "machine-profile"}:
        refused_for_authentication(ask(name, token))


def test_machine__is_let_in_with_the_scope_that_is_demanded(make_party: Callable[..., Party]) -> None:
    party = make_party("machine", authorization_grant_type="client-credentials")
    body = {"grant_type": "client_credentials", "scope": "email", **party.credentials}
    token = party.server.post(TOKEN, body).json()["access_token"]

    assert ask("machine-profile", token).status_code == 403
    get_access_token_model().objects.update(scope="profile")
    assert ask("machine-profile", token).status_code == 200


@pytest.mark.parametrize(
    "demands",
    [
        {"level": "single_factor"},
        {"acr_values": "phr"},
        {"max_age": 300},
        {"scopes": ["openid"]},
        {"scopes": ["method_registration"]},
    ],
)
def test_demand__of_a_user_cannot_do_without_one(demands: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="demanded of a user"):
        Demand.of(needs_user=False, **demands)


def test_registration_scope__is_worth_nothing_once_its_client_may_not_host_registration(
    holder: Client, portal: Party
) -> None:
    token = portal.tokens(holder, scope=REGISTRATION_SCOPE).access_token
    assert ask("register", token).status_code == 200
    RelyingParty.objects.update(may_host_registration=False)

    response = ask("register", token)

    assert response.status_code == 403
    assert challenge_of(response)["error"] == "insufficient_scope"


# RFC 9470 §3: when


@pytest.mark.compliance("RFC 9470 §3")
def test_rfc9470_3__too_old_is_told_the_age(full: Client, intranet: Party) -> None:
    SignIn.objects.update(authenticated_at=timezone.now() - timedelta(seconds=301))

    response = ask("fresh", intranet.tokens(full).access_token)

    assert refused_for_authentication(response) == {"max_age": "300"}


def test_rfc9470__fresh_enough_is_let_in(full: Client, intranet: Party) -> None:
    SignIn.objects.update(authenticated_at=timezone.now() - timedelta(seconds=200))

    assert ask("fresh", intranet.tokens(full).access_token).status_code == 200


@pytest.mark.parametrize(("age", "is_fresh"), [(0, True), (300, True), (300.001, False), (10**6, False)])
def test_check__age_counts_to_the_moment(age: float, is_fresh: bool, full: Client) -> None:
    sign_in = sign_in_of(full)
    presented = PresentedToken(get_access_token_model()(user=sign_in.user), context_of(sign_in))
    assert sign_in.authenticated_at is not None
    now = sign_in.authenticated_at + timedelta(seconds=age)

    with nullcontext() if is_fresh else pytest.raises(AccessRefused):
        Demand.of(max_age=300).check(presented, now=now)


# A pass


@pytest.mark.compliance("RFC 9470 §3")
@pytest.mark.parametrize("name", ["any", "multi-factor", "fresh", "email", "later", "class"])
def test_pass__opens_no_view_but_those_of_registration(name: str, holder: Client, portal: Party) -> None:
    """It counts as strong for registering sign-in methods, and for nothing else."""
    token = portal.tokens(holder, scope=REGISTRATION_SCOPE).access_token

    refused_for_authentication(ask(name, token))


def test_pass__opens_a_view_that_demands_the_scope_of_registration(holder: Client, robin: Any, portal: Party) -> None:
    response = ask("register", portal.tokens(holder, scope=REGISTRATION_SCOPE).access_token)

    assert response.status_code == 200
    assert response.json()["user"] == robin.get_username()
    assert response.json()["claims"]["amr"] == ["mfa", "tap"]


# What a view finds


@pytest.mark.parametrize("name", ["any", "later", "class", "later-class"])
def test_view__finds_the_token_and_its_context(name: str, kim: Any, full: Client, intranet: Party) -> None:
    browser = sign_in_with_totp(kim)
    tokens = intranet.tokens(browser)

    claims = {key: tokens.claims[key] for key in ("acr", "amr", "auth_time", "sid")}

    assert ask(name, tokens.access_token).json() == {
        "user": "kim",
        "client": "intranet",
        "claims": claims,
        "request_user": "",
    }


def test_view__keeps_the_sessions_user_apart(full: Client, admin: Any, intranet: Party) -> None:
    """Peer failure 5: whose session it is and whose token it is are two questions."""
    token = intranet.tokens(full).access_token
    browser = Client()
    browser.force_login(admin, backend="tap_provider.backends.ModelBackend")

    told = browser.get("/api/any/", headers={"authorization": f"Bearer {token}"}).json()

    assert (told["user"], told["request_user"]) == ("kim", "admin")


def test_view__gets_its_arguments(full: Client, intranet: Party) -> None:
    assert ask("with/word", intranet.tokens(full).access_token).json()["word"] == "word"


@pytest.mark.parametrize("name", ["any", "class"])
def test_view__needs_no_csrf_token(name: str, kim: Any, full: Client, intranet: Party) -> None:
    """A browser sends no Authorization header of its own accord."""
    token = intranet.tokens(sign_in_with_totp(kim)).access_token

    assert ask(name, token, method="POST").status_code == 200


def test_view__is_reached_where_every_other_needs_a_login(full: Client, intranet: Party, settings: Any) -> None:
    token = intranet.tokens(full).access_token
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]

    assert ask("any", token).status_code == 200
    assert ask("any").status_code == 401


@pytest.mark.parametrize("name", ["any", "later"])
def test_response__varies_by_the_token(name: str, full: Client, intranet: Party) -> None:
    """Django's own caches go by `Vary`: else they would hand one token's answer to whoever asks next."""
    assert "Authorization" in ask(name, intranet.tokens(full).access_token).headers["Vary"]
    assert "Authorization" in ask(name).headers["Vary"]


def test_decorator__keeps_the_views_name() -> None:
    assert access_token_required()(tell).__name__ == "tell"


# Asynchronous


@pytest.mark.parametrize("name", ["later", "later-class"])
def test_asynchronous_view__is_guarded_in_an_event_loop(name: str, kim: Any, full: Client, intranet: Party) -> None:
    weak = intranet.tokens(full).access_token
    strong = intranet.tokens(sign_in_with_totp(kim)).access_token

    def ask_async(token: str) -> Any:
        return async_to_sync(AsyncClient().get)(f"/api/{name}/", headers={"authorization": f"Bearer {token}"})

    refused_for_authentication(ask_async(weak))
    assert ask_async(strong).json()["user"] == "kim"


def test_asynchronous_view__stays_one() -> None:
    assert iscoroutinefunction(guarded["later"])
    assert not iscoroutinefunction(guarded["any"])


def test_synchronous_view__is_guarded_under_asgi(full: Client, intranet: Party) -> None:
    token = intranet.tokens(full).access_token
    response = async_to_sync(AsyncClient().get)("/api/any/", headers={"authorization": f"Bearer {token}"})

    assert response.status_code == 200


# Demands


@pytest.mark.parametrize(
    "wishes",
    [
        {"level": "strong"},
        {"level": "multi_factor", "acr_values": "phr"},
        {"acr_values": ["two words"]},
        {"acr_values": [""]},
        {"max_age": 0},
        {"max_age": -1},
    ],
    ids=str,
)
def test_demand__that_makes_no_sense_is_refused_as_the_site_starts(wishes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        access_token_required(**wishes)


def test_demand__of_one_text_as_scopes_is_refused() -> None:
    """It would be read letter by letter."""
    with pytest.raises(TypeError):
        access_token_required(scopes="payments")


@pytest.mark.default_database
def test_cost__two_statements(full: Client, intranet: Party) -> None:
    token = intranet.tokens(full).access_token
    ask("any", token)
    with counted() as statements:
        assert ask("any", token).status_code == 200

    assert statements() == 2


# The toolkit's decorators


@pytest.fixture
def _with_read_and_write() -> Iterator[None]:
    scopes = {**django_settings.OAUTH2_PROVIDER["SCOPES"], "read": "Read", "write": "Write"}
    with toolkit_settings(SCOPES=scopes):
        yield


SCOPES = "openid profile read write"


@pytest.mark.usefixtures("_with_read_and_write")
@pytest.mark.parametrize("name", by_toolkit)
@pytest.mark.parametrize("way", ENDS_OF_FULL_SESSION)
def test_toolkit_decorators__refuse_the_token_of_a_sign_in_that_has_ended(
    name: str, way: str, full: Client, portal: Party, end_by: Callable[[str, Client], None]
) -> None:
    token = portal.tokens(full, scope=SCOPES).access_token
    assert ask(name, token).status_code == 200
    end_by(way, full)
    assert ask(name, token).status_code in {401, 403}


@pytest.mark.usefixtures("_with_read_and_write")
@pytest.mark.parametrize("name", by_toolkit)
def test_toolkit_decorators__refuse_what_a_pass_opens(name: str, holder: Client, portal: Party) -> None:
    token = portal.tokens(holder, scope=f"{SCOPES} method_registration").access_token
    assert portal.userinfo(token).status_code == 200
    assert ask(name, token).status_code in {401, 403}


def test_toolkit_decorators__that_were_applied_before_the_site_started_are_found() -> None:
    """Another app imports its views in `AppConfig.ready`, before ours has run."""
    defaults = protected_resource.__defaults__
    protected_resource.__defaults__ = (None, OAuth2Validator, *defaults[2:])  # as the toolkit has it
    try:
        decorate = protected_resource(scopes=["profile"])
        view = decorate(tell_owner)
    finally:
        protected_resource.__defaults__ = defaults
    guard_toolkit_decorators()
    validators = {
        cell.cell_contents
        for function in (decorate, view)
        for cell in function.__closure__ or ()
        if isinstance(cell.cell_contents, type) or callable(cell.cell_contents)
    }
    assert OAuth2Validator not in validators


def test_toolkit_decorators__are_looked_for_without_waking_lazy_objects() -> None:
    """Such as the user of a request: its class is asked for, and the database with it."""
    woken: list[str] = []
    lazy = SimpleLazyObject(lambda: woken.append("woken"))
    guard_toolkit_decorators()
    assert woken == []
    assert lazy is not None


def test_toolkit_decorators__keep_a_validator_that_a_view_names() -> None:
    class Validator(OAuth2Validator):
        def validate_bearer_token(self, token: str, scopes: Any, request: Any) -> bool:
            request.user = "by the view's own"
            return token == "good"

    view = protected_resource(validator_cls=Validator)(tell_owner)
    request = RequestFactory().get("/", headers={"authorization": "Bearer good"})
    assert view(request).content == b"by the view's own"
