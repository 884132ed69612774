"""Where a code or a password is typed."""

from __future__ import annotations

from typing import Any

from django.forms import CharField, PasswordInput

from ..secret import Secret


class CodeInput(PasswordInput):
    """Legible while it is typed, and never sent back."""

    input_type = "text"


class SecretField(CharField):
    """A text field whose cleaned data is a `Secret`. What was typed is never sent back, whatever the widget."""

    def clean(self, value: Any) -> Any:
        return Secret(super().clean(value))

    def prepare_value(self, value: Any) -> Any:
        return None  # or it would be a variable of each function that draws the field
