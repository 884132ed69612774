"""What of Sentry's events is masked. A site hands it to `sentry_sdk.init`; nothing here imports the SDK.

    sentry_sdk.init(
        ..., before_send=before_send, before_send_transaction=before_send, before_send_log=before_send_log
    )

Sentry knows nothing of `sensitive_variables`. With its defaults an event holds the variables of every function on the
way and the posted fields, and a trace the context of every template.
"""

from __future__ import annotations

from typing import Any

from .scrubbing import SECRET_FIELDS, is_secret_module, scrub
from .secret import MASK

DENYLIST = sorted(SECRET_FIELDS)
"""The names for an `EventScrubber` of the site's own: `denylist=[*DEFAULT_DENYLIST, *DENYLIST], recursive=True`."""

_PARAMETERS = "sentry.message.parameter"
_TEMPLATE = "sentry.message.template"
_PLAIN = (str, bool, int, float, type(None))

_SOURCE = frozenset({"pre_context", "context_line", "post_context", "_meta"})  # code, and Sentry's notes on the event


def before_send(event: dict[str, Any], hint: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the event, or the transaction, with secrets masked."""
    for stacktrace in _stacktraces(event):
        for frame in stacktrace.get("frames") or ():
            if is_secret_module(frame.get("module")):
                frame.pop("vars", None)
    scrubbed: dict[str, Any] = scrub(event, leave=_SOURCE)
    return scrubbed


def before_send_log(log: dict[str, Any], hint: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the log record with secrets masked, for sites with `enable_logs`.

    Its attributes hold what the record was called with: the parameters of its message, and objects as they are, whose
    text Sentry computes afterwards.
    """
    attributes = {
        name: MASK if name.startswith(_PARAMETERS) else value if isinstance(value, _PLAIN) else _text_of(value)
        for name, value in (log.get("attributes") or {}).items()
    }
    template = attributes.get(_TEMPLATE)
    body = log.get("body") if template is None else template  # the body holds the parameters, put in
    scrubbed: dict[str, Any] = scrub({**log, "body": body, "attributes": attributes})
    return scrubbed


def _text_of(value: Any) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 an object that cannot be shown fails no request
        return MASK


def _stacktraces(event: dict[str, Any]) -> list[dict[str, Any]]:
    holders = [event]
    for name in ("exception", "threads"):
        values = event.get(name)
        holders += (values.get("values") or []) if isinstance(values, dict) else []
    return [holder["stacktrace"] for holder in holders if isinstance(holder.get("stacktrace"), dict)]
