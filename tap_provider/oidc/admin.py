from __future__ import annotations

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from ..admin.records import ReadOnly
from .models import LogoutDelivery, RelyingParty


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


@admin.register(LogoutDelivery)
class LogoutDeliveryAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("created_at", "client_id", "status", "attempts", "last_outcome", "next_attempt_at", "delivered_at")
    list_filter = ("status", "client_id")
    search_fields = ("=sign_in_id", "=subject", "client_id")
    date_hierarchy = "created_at"
    ordering = ("-created_at",)
