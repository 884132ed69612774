"""The records in django-admin, to read only: sign-ins and audit events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin

from ..models import AuditEvent, SignIn

if TYPE_CHECKING:
    from django.http import HttpRequest


class ReadOnly:
    """Records are looked at, never edited."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(SignIn)
class SignInAdmin(ReadOnly, admin.ModelAdmin):
    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Forbid it on the pages here. The user's own deletion asks as well, and takes the sign-ins along."""
        match = request.resolver_match
        here = match is not None and (match.url_name or "").startswith("tap_provider_signin_")
        return not here and admin.ModelAdmin.has_delete_permission(self, request, obj)

    list_display = ("user", "methods", "level", "authenticated_at", "deadline", "ended_at", "ended_reason", "address")
    list_filter = ("level", "ended_reason")
    list_select_related = ("user",)
    date_hierarchy = "created_at"
    ordering = ("-created_at",)


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("at", "kind", "actor_name", "user_name", "address", "detail")
    list_filter = ("kind",)
    search_fields = ("actor_name", "user_name")
    date_hierarchy = "at"
    ordering = ("-at", "-pk")
