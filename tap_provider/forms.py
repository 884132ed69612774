"""Forms check shape only; every rule is the verb's."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from .exceptions import InvalidPolicy
from .methods.changes import LONGEST_NAME
from .methods.inputs import CodeInput, SecretField, SecretInput
from .models import TemporaryAccessPassPolicy
from .policy import TARGETS, check_policy


class UpnField(forms.CharField):
    def __init__(self, **kwargs: Any) -> None:
        attrs = {"autocapitalize": "none", "autocomplete": "username", "autofocus": True, "spellcheck": "false"}
        super().__init__(label=_("User name"), widget=forms.TextInput(attrs=attrs), **kwargs)


class SignInForm(forms.Form):
    """User name and a secret: after a refusal the secret is what is typed anew."""

    def add_error(self, field: str | None, error: Any) -> None:
        super().add_error(field, error)
        if field is None:
            upn, secret = (self.fields[name].widget.attrs for name in self.fields)
            secret["autofocus"] = upn.pop("autofocus", True)


class PassSignInForm(SignInForm):
    upn = UpnField(help_text=_("Usually your e-mail address at work or school."))
    passcode = SecretField(
        label=_("Passcode"),
        help_text=_("Capital or small letters, with or without dashes."),
        strip=False,
        widget=CodeInput(
            attrs={"autocapitalize": "characters", "autocomplete": "one-time-code", "spellcheck": "false"}
        ),
    )


class PasswordSignInForm(SignInForm):
    upn = UpnField()
    password = SecretField(
        label=_("Password"),
        strip=False,
        widget=SecretInput(attrs={"autocomplete": "current-password"}),
    )


class MethodNameForm(forms.Form):
    name = forms.CharField(
        label=_("Name"),
        max_length=LONGEST_NAME,
        error_messages={"required": _("Enter a name.")},
        help_text=_("So that you recognise it: where you keep it, say."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


class SignOutEverywhereForm(forms.Form):
    here = forms.ChoiceField(
        label=_("And this browser?"),
        choices=[("stay", _("Stay signed in here")), ("leave", _("Sign out here too"))],
        initial="stay",
        widget=forms.RadioSelect,
    )

    @property
    def keeps_current(self) -> bool:
        """Does this browser stay signed in? Of a valid form."""
        return bool(self.cleaned_data["here"] == "stay")


class IssuePassForm(forms.Form):
    starts_at = forms.SplitDateTimeField(label=_("Start time"), required=False, help_text=_("Empty: at once."))
    lifetime_minutes = forms.IntegerField(label=_("Activation period (minutes)"), required=False)
    is_usable_once = forms.BooleanField(label=_("One-time use"), required=False)
    reason = forms.CharField(
        label=_("Reason"),
        required=False,
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("Why, and how the person was identified. Kept in the audit trail."),
    )


class FindUserForm(forms.Form):
    upn = UpnField()


class PolicyForm(forms.ModelForm):
    """Asks the verb's own check, so that its refusal stands beside the field."""

    class Meta:
        model = TemporaryAccessPassPolicy
        fields = [
            "enabled",
            "include_all_users",
            "included_groups",
            "included_users",
            "excluded_groups",
            "excluded_users",
            "minimum_lifetime_minutes",
            "maximum_lifetime_minutes",
            "default_lifetime_minutes",
            "one_time_only",
            "passcode_length",
            "registration_window_minutes",
            "require_registration",
            "require_strong_authentication_to_register",
        ]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        bounds = {name: value for name, value in cleaned.items() if name not in TARGETS}
        if not self.errors:
            try:
                check_policy(TemporaryAccessPassPolicy(**bounds))
            except InvalidPolicy as refusal:
                self.add_error(refusal.field, str(refusal.message))
        return cleaned
