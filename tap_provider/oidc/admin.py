from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.db import IntegrityError
from django.http import HttpResponseRedirect
from django.urls import path, reverse
from django.utils.translation import gettext_lazy as _

from ..admin.records import ReadOnly
from .models import LogoutDelivery, RelyingParty

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern


@admin.register(RelyingParty)
class RelyingPartyAdmin(admin.ModelAdmin):
    list_display = ("client_id", "may_host_registration", "minimum_level", "backchannel_logout_uri")
    list_filter = ("may_host_registration", "minimum_level")
    search_fields = ("client_id",)
    fieldsets = (
        (None, {"fields": ("client_id", "may_host_registration")}),
        (_("Authentication"), {"fields": ("default_acr_values", "default_max_age", "minimum_level")}),
        (_("Logout"), {"fields": ("backchannel_logout_uri", "backchannel_logout_session_required")}),
    )

    def get_urls(self) -> list[URLPattern]:
        of_client = path(
            "of/<path:client_id>/", self.admin_site.admin_view(self.of_client_view), name="tap_provider_oidc_of_client"
        )
        return [of_client, *super().get_urls()]

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Say so where another administrator has stored a row of the same client while this one was checked."""
        try:
            response: HttpResponse = super().changeform_view(request, object_id, form_url, extra_context)
        except IntegrityError:
            message = _("Another administrator has just stored what this client may. This is how it is now.")
            self.message_user(request, message, messages.WARNING)
            return HttpResponseRedirect(self._url("of_client", request.POST.get("client_id", "")))
        return response

    def of_client_view(self, request: HttpRequest, client_id: str) -> HttpResponse:
        """Lead from an application to its row, or to a new one."""
        row = RelyingParty.objects.filter(client_id=client_id).first()
        if row is not None:
            return HttpResponseRedirect(self._url("relyingparty_change", row.pk))
        return HttpResponseRedirect(f"{self._url('relyingparty_add')}?{urlencode({'client_id': client_id})}")

    def _url(self, name: str, *args: Any) -> str:
        return reverse(f"admin:tap_provider_oidc_{name}", args=args, current_app=self.admin_site.name)


@admin.register(LogoutDelivery)
class LogoutDeliveryAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("created_at", "client_id", "status", "attempts", "last_outcome", "next_attempt_at", "delivered_at")
    list_filter = ("status", "client_id")
    search_fields = ("=sign_in_id", "=subject", "client_id")
    date_hierarchy = "created_at"
    ordering = ("-created_at",)
