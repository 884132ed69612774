"""Where a code is typed."""

from __future__ import annotations

from django.forms import PasswordInput


class CodeInput(PasswordInput):
    """Legible while it is typed, and never sent back."""

    input_type = "text"
