"""Django's own reports of errors, the mails to administrators, and what of them is masked. A site names these.

    DEFAULT_EXCEPTION_REPORTER = "tap_provider.debug.ExceptionReporter"
    DEFAULT_EXCEPTION_REPORTER_FILTER = "tap_provider.debug.ExceptionReporterFilter"

Django masks what a view has marked, so nothing before the view, in a library, or in the address. Here it is masked by
its name wherever it stands, with `DEBUG` on as well as off.
"""

from __future__ import annotations

import logging
import sys
from copy import copy
from typing import TYPE_CHECKING, Any

from django.http import QueryDict
from django.utils.log import AdminEmailHandler as DjangoAdminEmailHandler
from django.views.debug import ExceptionReporter as DjangoExceptionReporter
from django.views.debug import SafeExceptionReporterFilter

from .scrubbing import is_secret_module, is_secret_name, scrub, scrub_text
from .secret import MASK, Secret

if TYPE_CHECKING:
    from types import FrameType

    from django.http import HttpRequest

STATEMENT = "sql"  # shown of a database's function: it has placeholders


class _Shown:
    """A value of which the report shows this text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


class ExceptionReporterFilter(SafeExceptionReporterFilter):
    """Django's filter, which also knows the names of our fields, whatever view they were sent to, or none."""

    def cleanse_setting(self, key: Any, value: Any) -> Any:
        """Mask a setting, a header or an entry of the WSGI environment by its name, and addresses within it."""
        if is_secret_name(key) and not isinstance(value, bool):
            return self.cleansed_substitute
        cleansed = super().cleanse_setting(key, value)
        return scrub_text(cleansed) if isinstance(cleansed, str) else cleansed

    def get_safe_cookies(self, request: HttpRequest) -> dict[str, Any]:
        """Mask every cookie: a site's own may be a session as well."""
        return dict.fromkeys(getattr(request, "COOKIES", {}), self.cleansed_substitute)

    def get_post_parameters(self, request: HttpRequest | None) -> Any:
        """Mask posted fields by their name, beside those that the view has marked."""
        return self._masked(super().get_post_parameters(request))

    def get_query_parameters(self, request: HttpRequest | None) -> Any:
        """Mask the parameters of the address by their name."""
        return self._masked({} if request is None else request.GET)

    def _masked(self, fields: Any) -> Any:
        masked = QueryDict(mutable=True)
        for name, values in getattr(fields, "lists", fields.items)():
            masked.setlist(name, scrub(list(values), name=name) if not is_secret_name(name) else ["*" * 20])
        return masked

    def get_traceback_frame_variables(self, request: HttpRequest | None, tb_frame: FrameType) -> Any:
        """Mask a function's variables by their name, and all of them in libraries that handle secrets."""
        marked = dict(super().get_traceback_frame_variables(request, tb_frame))
        hides_all = is_secret_module(tb_frame.f_globals.get("__name__"))
        return [
            (name, self.cleansed_substitute if hides_all and name != STATEMENT else _shown(name, value))
            for name, value in marked.items()
        ]


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, Secret):
        return value
    if isinstance(value, UnicodeError):
        return _Shown(type(value).__name__)  # its repr holds the whole text
    try:
        cleansed = scrub(value, name=name)
        # Of an object its repr is what the report shows: a request's has the address with its query.
        return cleansed if isinstance(cleansed, str) else _Shown(scrub_text(repr(cleansed)))
    except Exception as error:  # noqa: BLE001 whatever a repr raises: the report says so and goes on
        return _Shown(f"Error in formatting: {type(error).__name__}")


def _as_shown(request: HttpRequest) -> HttpRequest:
    # The template shows its path, and is itself logged with its request's repr wherever it misses a variable.
    shown = copy(request)
    shown.path, shown.path_info = scrub_text(request.path), scrub_text(request.path_info)  # a user code is part of one
    query = scrub_text("?" + request.META.get("QUERY_STRING", ""))[1:]
    shown.META = {**request.META, "QUERY_STRING": query}
    return shown


class ExceptionReporter(DjangoExceptionReporter):
    """Django's reporter, with the query, the address and the exception's own words masked as well."""

    filter: Any  # the stubs know Django's own alone

    def __init__(self, request: Any, exc_type: Any, exc_value: Any, tb: Any, is_email: bool = False) -> None:
        super().__init__(request, exc_type, exc_value, tb, is_email=is_email)
        if not isinstance(self.filter, ExceptionReporterFilter):
            self.filter = ExceptionReporterFilter()

    def get_traceback_data(self) -> dict[str, Any]:
        data = super().get_traceback_data()
        if self.request is not None:
            data["request"] = _as_shown(self.request)
            data["request_GET_items"] = self.filter.get_query_parameters(self.request).items()
            data["request_insecure_uri"] = scrub_text(str(data.get("request_insecure_uri", "")))
        for name in ("exception_value", "exception_notes"):
            if data.get(name):
                data[name] = scrub_text(str(data[name]))
        if data.get("unicode_hint"):
            data["unicode_hint"] = MASK  # part of the text that could not be encoded or decoded
        for frame in data.get("frames", []):
            if frame.get("exc_cause") is not None:
                frame["exc_cause"] = scrub_text(str(frame["exc_cause"])) or type(frame["exc_cause"]).__name__
        return data


class AdminEmailHandler(DjangoAdminEmailHandler):
    """Django's handler of error mails. If a mail cannot be sent, the request is answered as if it had been.

    Django's hides what its SMTP back end cannot do; any other error would replace the answer and be reported by the
    server with whatever it says.
    """

    def __init__(
        self, include_html: bool = False, email_backend: str | None = None, reporter_class: str | None = None
    ) -> None:
        reporter_class = reporter_class or f"{__name__}.{ExceptionReporter.__name__}"
        super().__init__(include_html=include_html, email_backend=email_backend, reporter_class=reporter_class)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            scrubbed = copy(record)  # other handlers get what was logged
            scrub_record(scrubbed)
            super().emit(scrubbed)
        except Exception:  # noqa: BLE001 whatever a back end raises
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 logging's name
        """Say that there was no mail, and the kind of error alone: mail servers quote what they refuse."""
        kind = sys.exc_info()[0]
        if logging.raiseExceptions and sys.stderr is not None:
            sys.stderr.write(f"An error mail was not sent: {kind.__name__ if kind else 'unknown'}\n")


class ScrubbingFilter(logging.Filter):
    """A filter for loggers and handlers: it lets every record pass, with what looks like a secret masked."""

    def filter(self, record: logging.LogRecord) -> bool:
        scrub_record(record)
        return True


def scrub_record(record: logging.LogRecord) -> None:
    """Mask what looks like a secret in the record's message, and in the text of its exception."""
    args: Any = record.args
    if isinstance(args, tuple) and "token" in str(record.msg).lower():
        args = tuple(MASK if isinstance(arg, str) else arg for arg in args)  # oauthlib logs tokens so
    record.args = scrub(args)
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001 arguments that do not fit: logging itself would print them, and go on
        message = str(record.msg)
    record.msg, record.args = scrub_text(message), None
    if record.exc_info and not record.exc_text:
        record.exc_text = scrub_text(logging.Formatter().formatException(record.exc_info))
