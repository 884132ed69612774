"""Template tags of our pages, and of a site's pages that extend them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import template

from ..moments import as_aware

if TYPE_CHECKING:
    from datetime import datetime

register = template.Library()


@register.filter(expects_localtime=True)
def iso(moment: datetime) -> str:
    """Return a moment as scripts read it (ISO 8601), with its distance from UTC."""
    return as_aware(moment).isoformat()


@register.simple_tag(takes_context=True)
def optional(context: template.Context, path: str) -> Any:
    """Return a variable, or an attribute of one, that need not be there: `{% optional "form.errors" as errors %}`.

    Django logs the whole context at DEBUG level wherever a template names a variable that is missing.
    """
    first, *rest = path.split(".")
    value = context.get(first)
    for name in rest:
        value = getattr(value, name, None)
        value = value() if callable(value) else value
    return "" if value is None else value
