"""A failed sign-in as a page that names the error's code. Its status is

* 200 when a silent check (`prompt=none`) got its answer, `login_required` and the like,
* 400 when the answer did not pass this site's checks, 403 when the provider refused,
* 502 when the provider could not be reached, 503 when the client has no credentials here.
"""

from __future__ import annotations

import logging
from functools import wraps
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from authlib.integrations.base_client import MismatchingStateError
from authlib.integrations.django_client import OAuthError
from django.urls import reverse
from joserfc.errors import JoseError

from .client import ProviderRefused
from .configuration import ORDINARY
from .explain import ANSWER_REFUSED, PROBLEMS, PROVIDER_REFUSED
from .page import page
from .validation import AnswerRefused, NotConfigured, ProviderUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

logger = logging.getLogger(__name__)

SILENT_ANSWERS = {"account_selection_required", "consent_required", "interaction_required", "login_required"}


def explain_failures(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Show a failed sign-in as a page that names the error's code."""

    @wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except (AnswerRefused, JoseError, OAuthError) as failure:
            return problem(request, failure, client_name=kwargs.get("client_name", ORDINARY))

    return wrapper


def problem(request: HttpRequest, failure: Exception, *, client_name: str) -> HttpResponse:
    """Render a failure: AnswerRefused has a `code`, the two libraries' exceptions an `error` and a `description`."""
    code = str(getattr(failure, "code", None) or getattr(failure, "error", ""))
    description = str(failure if isinstance(failure, AnswerRefused) else getattr(failure, "description", ""))
    status = status_of(failure, code)
    # repr: part of it came with the browser's request, and a line break must not forge a log line.
    logger.warning("Sign-in failed with %r (%d): %r", code, status, description)
    flow = failure.flow if isinstance(failure, ProviderRefused) else {}
    return page(
        request,
        "problem",
        status=status,
        code=code,
        said_by_provider=is_provider_refusal(failure),
        is_silent_answer=status == HTTPStatus.OK,
        meaning=PROBLEMS.get(code, PROVIDER_REFUSED if is_provider_refusal(failure) else ANSWER_REFUSED),
        description="" if isinstance(failure, MismatchingStateError) else description,
        retry_url=reverse("vault") if flow.get("destination") == "vault" else reverse("sign_in", args=[client_name]),
    )


def is_provider_refusal(failure: Exception) -> bool:
    """Tell an error that the provider sent, by the browser or from its token endpoint, from one that we found."""
    return isinstance(failure, ProviderRefused) or type(failure) is OAuthError


def status_of(failure: Exception, code: str) -> HTTPStatus:
    """Choose the HTTP status of a failure, as this module's docstring says."""
    if isinstance(failure, ProviderRefused) and failure.flow["is_silent"] and code in SILENT_ANSWERS:
        return HTTPStatus.OK
    if is_provider_refusal(failure):
        return HTTPStatus.FORBIDDEN
    if isinstance(failure, ProviderUnreachable):
        return HTTPStatus.BAD_GATEWAY
    if isinstance(failure, NotConfigured):
        return HTTPStatus.SERVICE_UNAVAILABLE
    return HTTPStatus.BAD_REQUEST
