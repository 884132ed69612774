"""Where a code or a password is typed."""

from __future__ import annotations

from typing import Any

from django.forms import CharField, PasswordInput

from ..secret import Secret


class SecretInput(PasswordInput):
    """A password input whose value is a `Secret` from the moment that it is read. It is never sent back."""

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Secret:
        return Secret.of(data.get(name) or "")


class CodeInput(SecretInput):
    """The same, legible while it is typed."""

    input_type = "text"


class SecretField(CharField):
    """A text field whose cleaned data is a `Secret`. What was typed is never sent back, whatever the widget."""

    widget = SecretInput

    def clean(self, value: Any) -> Any:
        return Secret(super().clean(self.as_meant(Secret.of(value or "")).reveal()))

    def as_meant(self, typed: Secret) -> Secret:
        """Return what the user meant by what they typed; it is validated afterwards."""
        return typed

    def prepare_value(self, value: Any) -> Any:
        return None
