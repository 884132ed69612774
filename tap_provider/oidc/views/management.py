"""The toolkit's pages for applications, for those who have the permission. Not mounted by `oidc.urls`.

An application is what users are asked to trust by its name: registering one is an administrator's act. A user sees and
changes their own applications only, as in the toolkit.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.mixins import PermissionRequiredMixin
from django.core.exceptions import ValidationError
from django.http import Http404
from oauth2_provider.models import get_application_model
from oauth2_provider.views import (
    ApplicationDelete as ToolkitApplicationDelete,
)
from oauth2_provider.views import (
    ApplicationDetail as ToolkitApplicationDetail,
)
from oauth2_provider.views import (
    ApplicationList as ToolkitApplicationList,
)
from oauth2_provider.views import (
    ApplicationRegistration as ToolkitApplicationRegistration,
)
from oauth2_provider.views import (
    ApplicationUpdate as ToolkitApplicationUpdate,
)
from oauth2_provider.views import (
    AuthorizedTokenDeleteView as ToolkitAuthorizedTokenDeleteView,
)
from oauth2_provider.views import (
    AuthorizedTokensListView as ToolkitAuthorizedTokensListView,
)

from ..client_display import as_shown
from ..scopes import permission_to


class KeyInAddressMixin:
    """Answers 404 for a key that no row can have; the toolkit's address takes any text, and the database does not."""

    def get_object(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().get_object(*args, **kwargs)  # type: ignore[misc]
        except (ValueError, ValidationError) as error:
            raise Http404 from error


class AuthorizedTokensList(ToolkitAuthorizedTokensListView):
    """Where a user sees what they have granted."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        for token in context["authorized_tokens"]:
            if token.application is not None:
                token.application = as_shown(token.application)
        return context


class AuthorizedTokenDelete(KeyInAddressMixin, ToolkitAuthorizedTokenDeleteView):
    """Where a user revokes a token that they have granted."""


class PermittedMixin(KeyInAddressMixin, PermissionRequiredMixin):
    """Demands the application model's permission; without it 403, and the sign-in page for an anonymous visitor."""

    action: ClassVar[str]

    def get_permission_required(self) -> tuple[str]:
        return (permission_to(self.action, get_application_model()),)


class ApplicationList(PermittedMixin, ToolkitApplicationList):
    action = "view"


class ApplicationDetail(PermittedMixin, ToolkitApplicationDetail):
    action = "view"


class ApplicationRegistration(PermittedMixin, ToolkitApplicationRegistration):
    action = "add"


class ApplicationUpdate(PermittedMixin, ToolkitApplicationUpdate):
    action = "change"


class ApplicationDelete(PermittedMixin, ToolkitApplicationDelete):
    action = "delete"
