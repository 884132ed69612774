"""The policy in django-admin: one row, changed by `policy.change_policy`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.http import HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..exceptions import NotAllowed
from ..forms import PolicyForm
from ..models import TemporaryAccessPassPolicy
from ..policy import change_policy

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

CHANGE_URL = "admin:tap_provider_temporaryaccesspasspolicy_change"


@admin.register(TemporaryAccessPassPolicy)
class PolicyAdmin(admin.ModelAdmin):
    form = PolicyForm
    filter_horizontal = ("included_groups", "excluded_groups")
    raw_id_fields = ("included_users", "excluded_users")
    fieldsets = [
        (None, {"fields": ["enabled"]}),
        (
            _("Whom it applies to"),
            {
                "fields": [
                    "include_all_users",
                    "included_groups",
                    "included_users",
                    "excluded_groups",
                    "excluded_users",
                ]
            },
        ),
        (
            _("Passes"),
            {
                "fields": [
                    "minimum_lifetime_minutes",
                    "maximum_lifetime_minutes",
                    "default_lifetime_minutes",
                    "one_time_only",
                    "passcode_length",
                ]
            },
        ),
        (
            _("Registration"),
            {
                "fields": [
                    "registration_window_minutes",
                    "require_registration",
                    "require_strong_authentication_to_register",
                ]
            },
        ),
    ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_autocomplete_fields(self, request: HttpRequest) -> tuple[str, ...]:
        """Search for users where the site's own user admin can be searched; else their keys are typed."""
        user_admin = self.admin_site._registry.get(get_user_model())
        return self.raw_id_fields if user_admin is not None and user_admin.search_fields else ()

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """There is one policy: go to it."""
        return HttpResponseRedirect(
            reverse(CHANGE_URL, args=[TemporaryAccessPassPolicy.ONLY_ID], current_app=self.admin_site.name)
        )

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        """Show the defaults where nobody has saved the policy yet."""
        if object_id != str(TemporaryAccessPassPolicy.ONLY_ID):
            return None
        return TemporaryAccessPassPolicy.objects.current()

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Let the verb store it, or refuse: the administrator may have been demoted since the request began."""
        try:
            change_policy(actor=request.user, now=timezone.now(), **form.cleaned_data)
        except NotAllowed as refusal:
            raise PermissionDenied(str(refusal.message)) from refusal

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """The verb has stored the targets as well."""
