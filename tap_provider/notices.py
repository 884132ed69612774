"""What people are told by mail about their account, when it has happened (NIST SP 800-63B-4 §4.6).

Receivers of our own signals: after the commit, with what a signal carries, which never is a passcode. What a notice
says is written at once, in the language and to the addresses of that moment, even where it is sent later: who changes
the address afterwards does not get it. Nothing raised here reaches whoever acted.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.template.loader import render_to_string
from django.utils import timezone, translation
from django.utils.formats import date_format
from django.utils.translation import gettext_lazy as _

from . import mail, signals
from .addresses import security_info_url
from .conf import settings
from .hooks import get_hooks
from .methods.registry import find_kind
from .moments import as_aware
from .throttle import account_of, count_attempt

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

    from .models import SignIn, TemporaryAccessPass

RECOVERY_CODES = "recovery_codes"  # the slug of that kind
LONGEST_NAME = 60

BROWSERS = {"Edg": "Edge", "OPR/": "Opera", "Firefox/": "Firefox", "FxiOS/": "Firefox", "Chrome/": "Chrome"}
BROWSERS |= {"CriOS/": "Chrome", "Safari/": "Safari"}
SYSTEMS = {"iPhone": "iPhone", "iPad": "iPad", "Android": "Android", "Windows": "Windows", "CrOS": "ChromeOS"}
SYSTEMS |= {"Mac OS X": "macOS", "Linux": "Linux"}


class Notice(StrEnum):
    """What a mail is about; its templates have this name."""

    PASS_ISSUED = "pass_issued"  # noqa: S105 a name
    PASS_REDEEMED = "pass_redeemed"  # noqa: S105 a name
    METHOD_REGISTERED = "method_registered"
    RECOVERY_CODES_MADE = "recovery_codes_made"
    METHOD_REMOVED = "method_removed"
    METHOD_LOST = "method_lost"
    SIGNED_OUT_EVERYWHERE = "signed_out_everywhere"


def connect() -> None:
    """Connect every receiver below; called once by `AppConfig.ready`."""
    for signal, receiver in (
        (signals.pass_issued, tell_pass_issued),
        (signals.pass_redeemed, tell_pass_redeemed),
        (signals.method_registered, tell_method_registered),
        (signals.method_removed, tell_method_removed),
        (signals.method_lost, tell_method_lost),
        (signals.signed_out_everywhere, tell_signed_out_everywhere),
    ):
        signal.connect(receiver, dispatch_uid=f"tap_provider.{receiver.__name__}")


def tell_pass_issued(sender: type[Any], temporary_access_pass: TemporaryAccessPass, **kwargs: Any) -> None:
    """Receive `pass_issued`: who did not ask for a pass should know that somebody else may have."""
    new = temporary_access_pass
    facts = {"starts_at": new.starts_at, "expires_at": new.expires_at, "is_usable_once": new.is_usable_once}
    _tell(Notice.PASS_ISSUED, user=new.user, sign_in=None, at=new.created_at, **facts)


def tell_pass_redeemed(sender: type[Any], user: Any, sign_in: SignIn, **kwargs: Any) -> None:
    """Receive `pass_redeemed`."""
    _tell(Notice.PASS_REDEEMED, user=user, sign_in=sign_in, at=sign_in.authenticated_at)


def tell_method_registered(
    sender: type[Any], user: Any, kind: str, method_id: str, sign_in: SignIn | None, **kwargs: Any
) -> None:
    """Receive `method_registered`: of recovery codes too."""
    notice = Notice.RECOVERY_CODES_MADE if kind == RECOVERY_CODES else Notice.METHOD_REGISTERED
    _tell(notice, user=user, sign_in=sign_in, kind=kind, method_id=method_id)


def tell_method_removed(
    sender: type[Any], user: Any, kind: str, name: str, sign_in: SignIn | None, **kwargs: Any
) -> None:
    """Receive `method_removed`."""
    _tell(Notice.METHOD_REMOVED, user=user, sign_in=sign_in, kind=kind, name=name)


def tell_method_lost(
    sender: type[Any], user: Any, kind: str, name: str, sign_in: SignIn | None, ended: int, **kwargs: Any
) -> None:
    """Receive `method_lost`."""
    _tell(Notice.METHOD_LOST, user=user, sign_in=sign_in, kind=kind, name=name, ended=ended)


def tell_signed_out_everywhere(sender: type[Any], user: Any, sign_in: SignIn | None, ended: int, **kwargs: Any) -> None:
    """Receive `signed_out_everywhere`."""
    _tell(Notice.SIGNED_OUT_EVERYWHERE, user=user, sign_in=sign_in, ended=ended)


def _tell(notice: Notice, *, user: Any, sign_in: SignIn | None, at: datetime | None = None, **facts: Any) -> None:
    now = timezone.now()
    try:
        addresses = _addresses_of(user)
        if addresses:
            # Of one kind ten in ten minutes: whoever sits at an open session could bury the one that matters.
            count_attempt(purpose=f"notice {notice}", upn=account_of(user), address=None, now=now)
            mail.deliver(_write(notice, user=user, sign_in=sign_in, addresses=addresses, at=at or now, **facts))
    except Exception as error:  # noqa: BLE001 a template, a hook, a queue: nobody's request fails for a mail
        mail.record_failure(error, notice=notice, user=user, sign_in_id=sign_in.pk if sign_in else None, now=now)


def _addresses_of(user: Any) -> list[str]:
    told = get_hooks().addresses_to_notify(user)
    if isinstance(told, str):
        raise TypeError("addresses_to_notify returns a sequence of addresses.")  # or each letter would be one
    return list(dict.fromkeys(filter(None, told)))


def _write(
    notice: Notice, *, user: Any, sign_in: SignIn | None, addresses: list[str], at: datetime, **facts: Any
) -> mail.Letter:
    # A sign-in of somebody else's is an administrator's: where they sit is not the user's to know.
    own = sign_in if sign_in is not None and sign_in.user_id == user.pk else None
    in_force = translation.get_language() if own else None
    language = get_hooks().language_of(user) or in_force or django_settings.LANGUAGE_CODE
    with translation.override(language), timezone.override(timezone.get_default_timezone()):
        context = _context(notice, user=user, own=own, at=at, **facts)
        # One line, whatever a template makes of it.
        subject = one_line(render_to_string(f"tap_provider/mail/{notice}_subject.txt", context))
        context["subject"] = subject
        return mail.Letter(
            notice=notice.value,
            user_key=str(user.pk),
            sign_in_id=str(sign_in.pk) if sign_in else None,
            addresses=addresses,
            subject=subject,
            text=_tidy(render_to_string(f"tap_provider/mail/{notice}.txt", context)),
            html=render_to_string(f"tap_provider/mail/{notice}.html", context),
        )


def _context(notice: Notice, *, user: Any, own: SignIn | None, at: datetime, **facts: Any) -> dict[str, Any]:
    slug = facts.pop("kind", None)
    if slug is not None:
        kind = find_kind(slug)
        facts["kind"] = str(kind.label) if kind else slug
        registered = facts.pop("method_id", None)
        if registered is not None and kind is not None:
            facts["name"] = next((method.name for method in kind.methods(user) if method.id == registered), "")
        facts["name"] = harmless(facts.get("name", ""))
    return {
        "notice": notice.value,
        "user": user,
        "upn": one_line(get_hooks().get_upn(user)),
        "at": moment(at),
        "is_own_act": own is not None,
        "is_by_pass": own is not None and own.is_registration_only,
        "address": own.address or "" if own else "",
        "device": device_of(own.user_agent) if own else "",
        "site": urlsplit(settings.base_url).hostname or "",
        "security_info_url": security_info_url(),
        **{name: moment(told) if isinstance(told, datetime) else told for name, told in facts.items()},
    }


def moment(at: datetime) -> str:
    """Return an instant as people read it, in the time zone in force, which is named with its distance from UTC."""
    here = timezone.localtime(as_aware(at))
    zone, distance = timezone.get_current_timezone_name(), date_format(here, "O")
    named = zone if distance == "+0000" else f"{zone}, UTC{distance[:3]}:{distance[3:]}"
    return f"{date_format(here, 'DATETIME_FORMAT')} ({named})"


def device_of(user_agent: str) -> _StrOrPromise:
    """Return browser and system in words of our own, never the client's: it could write anything into our mail."""
    browser = next((name for mark, name in BROWSERS.items() if mark in user_agent), "")
    system = next((name for mark, name in SYSTEMS.items() if mark in user_agent), "")
    if browser and system:
        return _("%(browser)s on %(system)s") % {"browser": browser, "system": system}
    return browser or system


def one_line(text: str) -> str:
    """Return a text without line breaks, control characters and marks that turn the direction of what follows."""
    return " ".join("".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text).split())


def harmless(name: str) -> str:
    """Return the name of a method on one line, short, and so that no mail program makes a link of it.

    Whoever registered the method chose it, and it may be them whom the mail warns of.
    """
    line = re.sub(r"[:/\\@<>]+", " ", one_line(unicodedata.normalize("NFKC", name)))
    line = line.replace("\N{IDEOGRAPHIC FULL STOP}", ".")  # which browsers take for a dot in an address
    line = re.sub(r"\.(?=\w*[^\W\d_])", ". ", line)  # "evil.example", but not "5.7"
    line = " ".join(line.split())
    return line if len(line) <= LONGEST_NAME else f"{line[: LONGEST_NAME - 1]}…"


def _tidy(text: str) -> str:
    # Templates leave blank lines where nothing is to be said.
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", text)).strip() + "\n"
