"""How an authorization response reaches the client: in the query, in the fragment, or posted by a page.

OAuth 2.0 Multiple Response Type Encoding Practices §2.1, Form Post Response Mode, RFC 9207.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from django.shortcuts import render
from oauth2_provider.settings import oauth2_settings

from ...decorators import content_security_policy, page
from ...secret import Secret

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from ..authorization_request import AuthorizationRequest


class ResponseModeMixin:
    """Sends every answer of the authorization endpoint, errors too, in the response mode that was asked for."""

    request: HttpRequest
    asked_for: AuthorizationRequest

    def redirect(self, redirect_to: str, application: Any) -> HttpResponse:
        """Answer the client: naming the issuer in errors too (RFC 9207 §2), in the response mode that it asked for."""
        parts = urlsplit(redirect_to)
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        brought = parse_qsl(urlsplit(self.asked_for.text("redirect_uri")).query, keep_blank_values=True)
        brought = brought if pairs[: len(brought)] == brought else []  # what the redirect URI itself has stands first
        answer = [*pairs[len(brought) :], *parse_qsl(parts.fragment, keep_blank_values=True)]
        if oauth2_settings.COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS:
            # The toolkit does so in successes only. One that the redirect URI brought along would make it ambiguous.
            issuer = oauth2_settings.oauth2_authorization_server_issuer(self.request)
            brought, answer = ([pair for pair in told if pair[0] != "iss"] for told in (brought, answer))
            answer.append(("iss", issuer))
        mode = self.asked_for.mode
        if mode == "form_post" and parts.scheme in {"http", "https"}:
            action = urlunsplit(parts._replace(query=urlencode(brought), fragment=""))
            return self._post_form(action, answer)
        if mode == "fragment":
            parts = parts._replace(query=urlencode(brought), fragment=urlencode(answer))
        else:
            parts = parts._replace(query=urlencode([*brought, *answer]), fragment="")
        response: HttpResponse = super().redirect(urlunsplit(parts), application)  # type: ignore[misc]
        return response

    def _post_form(self, action: str, fields: list[tuple[str, str]]) -> HttpResponse:
        """Answer with a page that posts the parameters (OAuth 2.0 Form Post Response Mode §2)."""
        context = {"action": action, "fields": [(name, Secret(value)) for name, value in fields]}
        posting = oidc_page(self.request, "tap_provider/oidc/form_post.html", context)
        posting.headers["Content-Security-Policy"] = content_security_policy(self.request, posts_elsewhere=True)
        return posting


@page
def oidc_page(request: HttpRequest, template_name: str, context: dict[str, Any]) -> HttpResponse:
    """Return a page of the authorization endpoint, protected as all of ours are."""
    return render(request, template_name, context)
