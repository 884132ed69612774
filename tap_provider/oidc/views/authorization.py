"""The authorization endpoint: where a session meets an authorization request (OpenID Connect Core §3.1.2).

What is asked is parsed in `authorization_request`, judged in `authorization_checks`; here the answer is given. What the
tables grant goes to the toolkit, which asks for consent and issues the code.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import BadRequest, SuspiciousOperation
from django.http import HttpResponseRedirect, QueryDict
from django.http.multipartparser import MultiPartParserError
from django.shortcuts import resolve_url
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.generic import View
from oauth2_provider.exceptions import FatalClientError, OAuthToolkitError
from oauth2_provider.views import AuthorizationView as ToolkitAuthorizationView
from oauthlib.oauth2.rfc6749.errors import CustomOAuth2Error, InvalidRequestFatalError, InvalidScopeError

from ...hooks import get_hooks
from ...registration_session import allow
from ...sign_in import sign_in_of_user
from ..authorization_checks import (
    REQUEST_CHECKS,
    Asked,
    ChooseAccount,
    Refuse,
    SignInAnew,
    StepUp,
    answer_session,
    first_answer,
)
from ..authorization_request import REMEMBERED, RETURNED, AuthorizationRequest, remember_query
from ..authorization_return import Returned, read_returned
from ..client_display import shown_host, shown_name
from ..contexts import remember_answer_without_code
from ..hints import claims_of_hint
from ..models import may_host_registration, relying_party
from ..request_context import ATTRIBUTE, AuthorizationMoment, current_moment
from ..scopes import REGISTRATION_SCOPES
from .consent import ConsentMixin
from .response_mode import ResponseModeMixin, oidc_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

    from ...models import SignIn
    from ..authorization_checks import Answer

UNPARSABLE = (BadRequest, SuspiciousOperation, MultiPartParserError, LookupError, UnicodeError)
"""What Django raises where a body or a query cannot be read at all."""

OURS_TO_JUDGE = ("prompt", "id_token_hint", "request", "request_uri", "registration", RETURNED)
"""Parameters that oauthlib is not shown when it validates: the tables judge them, in their order."""


class _ConsentWanted(Exception):
    """The client asks for the consent page where the toolkit would skip it."""


def _may_answer(query: QueryDict) -> bool:
    """Tell whether a registration-only session reaches this authorization request at all.

    For every other client, and every response type but `code`, the holder of a pass is simply not signed in. What is
    posted may differ from the query: the validator asks again, last.
    """
    return query.get("response_type") == "code" and may_host_registration(query.get("client_id", ""))


def _allow_some_clients(view: Callable[..., Any]) -> Callable[..., Any]:
    return allow(view, when=_may_answer)


@method_decorator([csrf_exempt, _allow_some_clients, login_not_required], name="dispatch")
class AuthorizationView(ConsentMixin, ResponseModeMixin, ToolkitAuthorizationView):
    """Judges the request by the tables, and carries the session's sign-in into the code."""

    sign_in: SignIn | None = None
    asked_for: AuthorizationRequest
    validated: tuple[list[str], dict[str, Any]]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        self.oauth2_data: dict[str, Any] = {}
        try:
            is_posted_request = request.method == "POST" and not _is_from_consent_page(request)
            self.asked_for = AuthorizationRequest.of(request)
        except UNPARSABLE:
            return self._unreadable(request)
        if is_posted_request:
            # A relying party may post its request (§3.1.2.1); it has no more effect than a link, and is made one.
            return HttpResponseRedirect(f"{request.path}?{AuthorizationRequest.posted(request).query.urlencode()}")
        request.META["QUERY_STRING"] = self.asked_for.canonical()  # as any parser below can read it
        self.sign_in = sign_in_of_user(request)
        moment = current_moment.set(AuthorizationMoment(request=request, sign_in=self.sign_in))
        try:
            # Past the toolkit's `LoginRequiredMixin`: whether somebody is signed in is a check of ours.
            response: Any = View.dispatch(self, request, *args, **kwargs)
        finally:
            current_moment.reset(moment)
        answer: HttpResponse = response
        return answer

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        judged = self._judge(request)
        if judged is not None:
            return judged
        request.GET = self._left_to_the_toolkit()  # type: ignore[assignment]
        try:
            response: HttpResponse = super().get(request, *args, **kwargs)
        except _ConsentWanted:
            response = self.render_to_response(self.get_context_data(**self.oauth2_data))
        return response

    @method_decorator(csrf_protect)
    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        judged = self._judge(request)
        if judged is not None:
            return judged
        response: HttpResponse = super().post(request, *args, **kwargs)
        return response

    def _unreadable(self, request: HttpRequest) -> HttpResponse:
        request.GET = request.POST = QueryDict()
        error = InvalidRequestFatalError(description="The request cannot be parsed.")
        response: HttpResponse = self.error_response(FatalClientError(error=error), application=None)
        return response

    def get_initial(self) -> dict[str, Any]:
        return {**super().get_initial(), REMEMBERED: remember_query(self.asked_for)}

    # Judging.

    def _judge(self, request: HttpRequest) -> HttpResponse | None:
        """Return the answer that the tables give, or None: the request is granted."""
        refusal = first_answer(REQUEST_CHECKS, self.asked_for)
        try:
            self.validated = self._validate(request, is_readable=refusal is None)
        except FatalClientError as error:
            return self.error_response(error, application=None)
        except OAuthToolkitError as error:
            if isinstance(refusal, Refuse):
                return self._refuse(refusal, redirect_uri=error.oauthlib_error.redirect_uri, application=None)
            return self.error_response(error, application=None)
        _scopes, credentials = self.validated
        application = credentials["request"].client
        if isinstance(refusal, Refuse):
            return self._refuse(refusal, redirect_uri=credentials["redirect_uri"], application=application)
        if request.method == "POST" and not request.POST.get("allow"):
            return None  # whoever declines needs nothing more; the toolkit tells the client
        return self._answer(self._asked(request, application), credentials["redirect_uri"])

    def _validate(self, request: HttpRequest, *, is_readable: bool) -> tuple[list[str], dict[str, Any]]:
        """Let oauthlib check client, redirect URI, response type, PKCE and scope."""
        if not self.asked_for.names_one_client:
            raise FatalClientError(error=InvalidRequestFatalError(description="It does not name one client."))
        plain = copy(request)
        left_out = OURS_TO_JUDGE if is_readable else (*OURS_TO_JUDGE, "claims")
        plain.META = {**request.META, "QUERY_STRING": self.asked_for.canonical(leaving_out=left_out)}
        plain.method, plain.POST = "GET", QueryDict()
        scopes, credentials = super().validate_authorization_request(plain)
        kept = self._cut(scopes)
        if self._is_registration_only and not kept:
            error = InvalidScopeError(state=credentials.get("state"))
            raise OAuthToolkitError(error=error, redirect_uri=credentials["redirect_uri"])
        return kept, credentials

    def validate_authorization_request(self, request: HttpRequest) -> tuple[list[str], dict[str, Any]]:
        """Give the toolkit what was validated already."""
        return self.validated

    def _asked(self, request: HttpRequest, application: Any) -> Asked:
        hint = self.asked_for.text("id_token_hint")
        return Asked(
            request=self.asked_for,
            party=relying_party(application.client_id),
            application=application,
            scopes=tuple(self.validated[0]),
            hint=claims_of_hint(hint, request=request) if hint else None,
            user=request.user if request.user.is_authenticated else None,
            sign_in=self.sign_in,
            returned=read_returned(self.asked_for),
            now=timezone.now(),
        )

    # Answering.

    def _answer(self, asked: Asked, redirect_uri: str) -> HttpResponse | None:
        answer: Answer | None = answer_session(asked)
        match answer:
            case Refuse():
                return self._refuse(answer, redirect_uri=redirect_uri, application=asked.application)
            case SignInAnew():
                return self._send_to_sign_in(asked)
            case StepUp():
                return self._send_to_step_up(asked, answer)
            case ChooseAccount():
                return self._ask_for_account(asked, answer)
        self._grant(asked)
        return None

    def _grant(self, asked: Asked) -> None:
        assert asked.sign_in is not None  # noqa: S101 the tables have asked
        asked.sign_in.told_acr = asked.acr
        moment = current_moment.get()
        assert moment is not None  # noqa: S101 set by `dispatch`
        moment.is_granted, moment.returned, moment.client = True, asked.returned.id, asked.application

    def _refuse(self, refusal: Refuse, *, redirect_uri: str, application: Any) -> HttpResponse:
        state = None if "state" in self.asked_for.repeated else self.asked_for.text("state") or None
        error = CustomOAuth2Error(error=refusal.error, description=refusal.description, state=state)
        response: HttpResponse = self.error_response(
            OAuthToolkitError(error=error, redirect_uri=redirect_uri), application
        )
        return response

    def _send_to_sign_in(self, asked: Asked) -> HttpResponse:
        if asked.user is None and "create" in self.asked_for.prompt:
            response: HttpResponse = self.handle_prompt_create()
            return response
        return HttpResponseRedirect(self._sign_in_url(asked))

    def _send_to_step_up(self, asked: Asked, answer: StepUp) -> HttpResponse:
        query = {
            "level": answer.level.value,
            "next": self._back_here(asked.returned),
            "otherwise": self._back_here(asked.returned.having_declined()),
        }
        return HttpResponseRedirect(f"{reverse('tap_provider:step_up')}?{urlencode(query)}")

    def _ask_for_account(self, asked: Asked, answer: ChooseAccount) -> HttpResponse:
        assert asked.sign_in is not None  # noqa: S101 the tables have asked
        context = {
            "application": asked.application,
            "client_name": shown_name(asked.application),
            "client_host": shown_host(self.validated[1]["redirect_uri"]),
            "upn": get_hooks().get_upn(asked.user),
            "meant": answer.meant,
            "continue_url": self._back_here(asked.returned.having_chosen(asked.sign_in)) if answer.may_continue else "",
            "sign_in_url": self._sign_in_url(asked),
            "cancel_url": self._back_here(asked.returned.having_declined()),
        }
        return oidc_page(self.request, "tap_provider/oidc/choose_account.html", context)

    def _sign_in_url(self, asked: Asked) -> str:
        returned = asked.returned.sent_away(now=asked.now) if asked.wants_a_new_sign_in else asked.returned
        back, login_url = self._back_here(returned), resolve_url(self.get_login_url())
        scheme, host = urlsplit(login_url)[:2]
        if (scheme or self.request.scheme, host or self.request.get_host()) != (
            self.request.scheme,
            self.request.get_host(),
        ):
            back = self.request.build_absolute_uri(back)  # as Django sends people to a login page on another host
        url: str = redirect_to_login(back, login_url, self.get_redirect_field_name()).url
        hint = self.asked_for.text("login_hint")
        return f"{url}&{urlencode({'login_hint': hint})}" if hint else url

    def _back_here(self, returned: Returned) -> str:
        query = self.asked_for.again
        signed = urlencode({RETURNED: returned.sign(self.asked_for)}) if returned.id else ""
        return f"{self.request.path}?{'&'.join(part for part in (query, signed) if part)}"

    # What the toolkit does with it.

    def _left_to_the_toolkit(self) -> QueryDict:
        """Return the query without the prompts that the tables have dealt with."""
        query = QueryDict(self.request.META["QUERY_STRING"], mutable=True)
        prompt = self.asked_for.prompt
        if "prompt" in query:
            query["prompt"] = "none" if "none" in prompt else ""
        if "none" in prompt:
            query["approval_prompt"] = "auto"  # consent was found; the toolkit must not ask for want of a hint
        return query

    def create_authorization_response(
        self, request: HttpRequest, scopes: str, credentials: dict[str, Any], allow: bool
    ) -> Any:
        # `credentials` may be what was posted, and only the toolkit checks its redirect URI: what is refused here goes
        # to the one that was validated.
        if request.method != "POST" and "consent" in self.asked_for.prompt:
            raise _ConsentWanted
        shown = self.shown_scopes()
        kept = [scope for scope in scopes.split() if scope in shown]
        if allow and not kept:
            refused = InvalidScopeError(state=self.validated[1].get("state"))
            raise OAuthToolkitError(error=refused, redirect_uri=self.validated[1]["redirect_uri"])
        self._note_answer_without_code()
        resources = self.asked_for.query.getlist("resource")  # as a list, whatever of it was posted
        carried = {**credentials, ATTRIBUTE: self.sign_in, "resource": credentials.get("resource") or resources}
        return super().create_authorization_response(request, " ".join(kept), carried, allow)

    def _note_answer_without_code(self) -> None:
        """Note that the client takes part in the sign-in, and use up the return, where no code does either.

        A code notes both (`validator.save_authorization_code`).
        """
        moment = current_moment.get()
        if moment is None or not moment.is_granted or "code" in self.asked_for.text("response_type").split():
            return
        assert moment.sign_in is not None and moment.client is not None  # noqa: S101, PT018 it was granted
        told = {"client_id": moment.client.client_id, "now": timezone.now()}
        if not remember_answer_without_code(moment.sign_in, returned=moment.returned, **told):
            credentials = self.validated[1]
            error = CustomOAuth2Error(error="login_required", state=credentials.get("state"))
            raise OAuthToolkitError(error=error, redirect_uri=credentials["redirect_uri"])

    @property
    def _is_registration_only(self) -> bool:
        return self.sign_in is not None and self.sign_in.is_registration_only

    def _cut(self, scopes: list[str]) -> list[str]:
        return [scope for scope in scopes if scope in REGISTRATION_SCOPES] if self._is_registration_only else scopes


def _is_from_consent_page(request: HttpRequest) -> bool:
    # It is posted to its own address, query and all, with Django's token; a relying party's request is neither.
    return "client_id" in request.GET or bool({"csrfmiddlewaretoken", "allow", REMEMBERED} & set(request.POST))
