from __future__ import annotations

from django.contrib import admin

from .models import RelyingParty


@admin.register(RelyingParty)
class RelyingPartyAdmin(admin.ModelAdmin):
    list_display = ("client_id", "may_host_registration")
    list_filter = ("may_host_registration",)
    search_fields = ("client_id",)
