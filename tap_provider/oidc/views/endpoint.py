"""What OAuth endpoints have in common: whatever is sent, the answer is the specification's, and nobody stores it.

The toolkit hands parameters to parsers and to the database as they come. What those would choke on is refused here,
before it reaches them.
"""

from __future__ import annotations

import re
from base64 import b64decode
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import BadRequest, SuspiciousOperation
from django.http import JsonResponse
from django.http.multipartparser import MultiPartParserError
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_exempt
from oauthlib.oauth2.rfc6749.errors import CustomOAuth2Error, InvalidClientError, InvalidRequestError, OAuth2Error

from ..authorization_request import is_address

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.http import HttpRequest, HttpResponse

REPEATABLE = "resource"  # RFC 8707 §2
FORMS = {"application/x-www-form-urlencoded", "multipart/form-data"}  # the latter is no standard, but the toolkit's

_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # NUL and lone surrogates, which no database can be asked for
CHALLENGE = 'Basic realm="OAuth", charset="UTF-8"'


class OAuthEndpointMixin:
    """Refuses what cannot be understood with an OAuth error (RFC 6749 §3.2, §5.2), before the toolkit's view sees it.

    Answers are not to be stored (RFC 6749 §5.1).
    """

    authenticates_clients = True
    reads_a_form = True

    # The toolkit decorates its views' own `dispatch`, which this one stands before.
    @method_decorator([csrf_exempt, login_not_required])
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            self.refuse_malformed(request)
            response: HttpResponse = super().dispatch(request, *args, **kwargs)  # type: ignore[misc]
        except OAuth2Error as error:
            response = error_response(error)
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault("Pragma", "no-cache")
        if response.status_code == 401 and self.authenticates_clients and _basic_credentials(request) is not None:
            response.headers["WWW-Authenticate"] = CHALLENGE  # the scheme that the client used (RFC 6749 §5.2)
        return response

    def refuse_malformed(self, request: HttpRequest) -> None:
        """Raise the OAuth error that a malformed request deserves."""
        body = self._body(request)
        refuse_malformed_parameters(request, body=body)
        if self.reads_a_form and request.method == "POST" and not body and request.content_type not in FORMS:
            raise InvalidRequestError("The body must be application/x-www-form-urlencoded.")
        if self.authenticates_clients and not _is_well_formed_basic(_basic_credentials(request)):
            raise InvalidClientError

    def _body(self, request: HttpRequest) -> list[tuple[Any, Any]]:
        # Of the toolkit's back end, which may be one that reads JSON. Before `request.POST`, which consumes the body.
        try:
            return list(self.get_oauthlib_core().extract_body(request))  # type: ignore[attr-defined]
        except (BadRequest, SuspiciousOperation, MultiPartParserError) as error:
            raise InvalidRequestError("The body cannot be parsed.") from error


def error_response(error: OAuth2Error) -> JsonResponse:
    """Answer with an OAuth error (RFC 6749 §5.2)."""
    return JsonResponse(dict(error.twotuples), status=error.status_code, headers=error.headers)


def refuse_malformed_parameters(request: HttpRequest, *, body: Iterable[tuple[Any, Any]] = ()) -> None:
    """Raise an OAuth error for parameters that are repeated, cannot be decoded, or that no database could be asked for.

    RFC 6749 §3.1, §3.2: none may be included more than once. `body` is what is read of one that is no form.
    """
    if _BROKEN_ESCAPE.search(request.META.get("QUERY_STRING", "")):
        raise InvalidRequestError("The query cannot be decoded.")
    try:
        forms = (request.GET, request.POST)
        sent = [(name, value) for form in forms for name, values in form.lists() for value in values]
    except (BadRequest, SuspiciousOperation, MultiPartParserError) as error:
        raise InvalidRequestError("The parameters cannot be parsed.") from error
    if not all(is_storable(str(text)) for pair in (*sent, *body) for text in pair):
        raise InvalidRequestError("A parameter contains characters that no parameter can have.")
    for form in forms:
        for name, values in form.lists():
            if len(values) > 1 and name != REPEATABLE:
                raise InvalidRequestError("A parameter is repeated.")
    if not all(is_address(value) for name, value in sent if name == REPEATABLE):
        raise CustomOAuth2Error("invalid_target", "A resource is no address.", status_code=400)


def is_storable(text: str) -> bool:
    """Tell whether a database can be asked for this text."""
    return not _UNSTORABLE.search(text)


def _basic_credentials(request: HttpRequest) -> str | None:
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    return credentials if scheme.lower() == "basic" else None


def _is_well_formed_basic(credentials: str | None) -> bool:
    if credentials is None:
        return True
    try:
        decoded = b64decode(credentials, validate=True).decode()
    except ValueError:  # binascii.Error and UnicodeDecodeError are of this kind
        return False
    return ":" in decoded and is_storable(unquote_plus(decoded))
