"""The consent page (OpenID Connect Core §3.1.2.4): who asks, where the answer is sent, and exactly what is granted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from oauth2_provider.views import AuthorizationView as ToolkitAuthorizationView

from ..client_display import shown_host, shown_name

if TYPE_CHECKING:
    from ..authorization_request import AuthorizationRequest


class ConsentForm(ToolkitAuthorizationView.form_class):
    """The toolkit's, which also remembers the query: a template of the site's own may post to a bare address."""

    tap_query = forms.CharField(required=False, widget=forms.HiddenInput)


class ConsentMixin:
    form_class = ConsentForm
    template_name = "tap_provider/oidc/authorize.html"
    asked_for: AuthorizationRequest
    validated: tuple[list[str], dict[str, Any]]

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Tell the page who asks, and each scope that is granted; one without a description by its name."""
        context: dict[str, Any] = super().get_context_data(**kwargs)  # type: ignore[misc]
        scopes, credentials = self.validated
        # Of a form that is shown again the toolkit describes nothing.
        described = dict(zip(context.get("scopes", ()), context.get("scopes_descriptions", ()), strict=True))
        return {
            **context,
            "client_name": shown_name(credentials["request"].client),
            "client_host": shown_host(credentials["redirect_uri"]),
            "granted_scopes": [described.get(scope) or scope for scope in scopes],
        }

    def shown_scopes(self) -> set[str]:
        """Return the valid scopes that were asked for before the page posted: what it posts cannot add to them."""
        valid, sent = set(self.validated[0]), self.asked_for.sent
        if sent is None:
            return valid
        named = set(" ".join(map(str, sent.getlist("scope"))).split())
        if named:
            return valid & named
        asked = self.validated[1]["request"]
        validator = self.get_oauthlib_core().server.request_validator  # type: ignore[attr-defined]
        return valid & set(validator.get_default_scopes(asked.client_id, asked))
