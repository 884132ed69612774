"""The site's own user admin, with the link to the authentication methods of each user."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin

from tap_provider.admin import UserAuthenticationMethodsMixin

from .models import User


@admin.register(User)
class UserAdmin(UserAuthenticationMethodsMixin, DjangoUserAdmin):
    list_display = ("upn", "first_name", "last_name", "is_staff", "is_active")
    search_fields = ("upn", "username", "first_name", "last_name")
    ordering = ("upn",)
    fieldsets = ((None, {"fields": ("upn",)}), *(DjangoUserAdmin.fieldsets or ()))
    add_fieldsets = (
        (None, {"classes": ("wide",), "fields": ("upn", "username", "usable_password", "password1", "password2")}),
    )
