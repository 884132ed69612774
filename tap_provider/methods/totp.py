"""The authenticator app: TOTP (RFC 6238) by django-otp.

A new device is stored unconfirmed and counts only once a code of it was entered. The session holds its key in the
database, never the secret; the secret is shown once, as a QR code and as text, and never travels back.
"""

from __future__ import annotations

import unicodedata
from base64 import b32encode
from datetime import timedelta
from textwrap import wrap
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import segno
from django import forms
from django.apps import apps
from django.conf import settings as django_settings
from django.core.validators import RegexValidator
from django.utils import timezone
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy as _
from django_otp.plugins.otp_totp.models import TOTPDevice

from ..addresses import site_name
from ..databases import atomic
from ..exceptions import MethodNotVerified, SignInRefused
from ..hooks import get_hooks
from ..models import RegisteredMethod
from ..secret import Secret
from .inputs import CodeInput, SecretField
from .kinds import Factor, Method, MethodKind, RegistrationPage, UsedMethod, free_name
from .other_factors import DEFAULT_DEVICE, TWO_FACTOR, is_name_taken, lacks_default_device

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import QuerySet
    from django.http import HttpRequest
    from django.utils.functional import _StrOrPromise

PENDING_KEY = "tap_provider_totp"
PENDING_NAME = "tap_provider: registration not completed"
"""The name of a device until its first code was entered. Unconfirmed ones of other names are not ours."""

PENDING_FOR = timedelta(days=1)
LOCKED = _(
    "There were too many wrong codes, so no code of the app is taken for a while, not even a right one. Use another "
    "method, or ask your administrator for a Temporary Access Pass."
)
LOCKED_SHORTLY = _("After a wrong code the app has to wait: try a new code in %(seconds)d seconds.")
BEGUN_ANEW = _(
    "You have begun again in another window, so that code belongs to another key. Scan the code that is shown here now."
)
LONG = 60  # seconds
LONGEST_LABEL = 60

FAILURES = ("throttling_failure_count", "throttling_failure_timestamp")


class TotpField(SecretField):
    """Six digits, in whatever script they are typed: Japanese and Chinese keyboards have digits of their own."""

    def as_meant(self, typed: Secret) -> Secret:
        return Secret("".join(unicodedata.normalize("NFKC", typed.reveal()[:64]).split()))


class TotpForm(forms.Form):
    code = TotpField(
        label=_("Code from the app"),
        strip=False,
        max_length=16,
        validators=[RegexValidator(r"^[0-9]{6}\Z")],
        error_messages={"invalid": _("Enter the six digits that the app shows.")},
        widget=CodeInput(attrs={"inputmode": "numeric", "autocomplete": "one-time-code", "autofocus": True}),
    )


class FirstCodeForm(TotpForm):
    """Stands below what is to be scanned, which focus would scroll away; a wrong code is why one is here again."""

    def __init__(self, data: Any | None = None) -> None:
        super().__init__(data)
        if data is None:
            del self.fields["code"].widget.attrs["autofocus"]


class TotpKind(MethodKind):
    slug = "totp"
    label = _("Authenticator app")
    description = _("An app on your phone that shows a new six-digit code every half minute.")
    is_strong = True
    wrong_answer = _("That code is not right. Wait for the next one, then try again.")
    has_names = True
    card_template = "tap_provider/methods/totp.html"

    def is_taken_elsewhere(self) -> bool:
        return apps.is_installed(TWO_FACTOR)

    def methods(self, user: Any) -> list[Method]:
        devices = TOTPDevice.objects.filter(user=user, confirmed=True).order_by("pk")
        return [_method(device) for device in devices]

    def rename(self, user: Any, method_id: str, name: str) -> bool:
        return bool(self._find(user, method_id).update(name=name))

    def keeps_name(self, user: Any, method_id: str) -> bool:
        device = self._find(user, method_id).first()
        if device is None or is_name_taken(device.name):
            return device is not None
        # Registered elsewhere: another package may look for it by name.
        ours = RegisteredMethod.objects.filter(user=user, kind=self.slug, method_id=method_id, removed_at=None)
        return not ours.exists()

    def remove(self, user: Any, method_id: str) -> bool:
        if not self._find(user, method_id).delete()[0]:
            return False
        if lacks_default_device(user):  # the one that went was asked for: another one of ours is, now
            others = TOTPDevice.objects.filter(user=user, confirmed=True).order_by("pk")
            other = next((one for one in others if not self.keeps_name(user, str(one.pk))), None)
            if other is not None:
                other.name = DEFAULT_DEVICE
                other.save(update_fields=["name"])
        return True

    def _find(self, user: Any, method_id: str) -> QuerySet[Any]:
        rows: QuerySet[Any] = TOTPDevice.objects.filter(user=user, confirmed=True)
        return rows.filter(pk=method_id) if method_id.isdecimal() else rows.none()

    def used_device(self, device: Any) -> UsedMethod | None:
        if not isinstance(device, TOTPDevice):
            return None
        return UsedMethod(
            kind=self.slug, amr=("otp",), factors=frozenset({Factor.POSSESSION}), method_id=str(device.pk)
        )

    def begin_registration(self, request: HttpRequest, user: Any) -> None:
        # Those of this session alone: another package may have begun to register one of its own.
        TOTPDevice.objects.filter(pk=request.session.get(PENDING_KEY), user=user, confirmed=False).delete()
        device = TOTPDevice.objects.create(user=user, name=PENDING_NAME, confirmed=False)
        request.session[PENDING_KEY] = device.pk

    def registration_page(self, request: HttpRequest, user: Any, data: Any | None = None) -> RegistrationPage | None:
        device = TOTPDevice.objects.filter(pk=request.session.get(PENDING_KEY), user=user, confirmed=False).first()
        if device is None:
            return None
        key = Secret(b32encode(device.bin_key).decode().rstrip("="))
        app_url = _app_url(device, key, request)
        shown = Secret(" ".join(wrap(key.reveal(), 4)))
        context = {"qr_code": _qr_code(app_url), "app_url": app_url, "key": shown, "device": str(device.pk)}
        return RegistrationPage("tap_provider/methods/totp_register.html", FirstCodeForm(data), context)

    def complete_registration(
        self, request: HttpRequest, user: Any, page: RegistrationPage, *, now: datetime
    ) -> Method:
        if page.form.data.get("device", page.context["device"]) != page.context["device"]:
            raise MethodNotVerified(BEGUN_ANEW)
        with atomic():
            devices = TOTPDevice.objects.select_for_update().filter(user=user, confirmed=False)
            device = devices.filter(pk=request.session.get(PENDING_KEY)).first()
            locked_for = timedelta() if device is None else _locked_for(device)
            verified = device is not None and page.form.is_valid() and _verifies(device, page.form)
            if device is not None and verified:
                name = free_name(str(self.label), self.methods(user))
                device.name = DEFAULT_DEVICE if lacks_default_device(user) else name
                device.confirmed = True
                device.save(update_fields=["confirmed", "name"])
        if locked_for:
            raise MethodNotVerified(_say(locked_for))
        if device is None or not verified:  # outside the transaction, which must keep the throttle's count
            raise MethodNotVerified(
                _("That code is not right. Wait for the next one, and check the clock of your phone.")
            )
        del request.session[PENDING_KEY]
        return _method(device)

    def sweep(self, *, now: datetime) -> int:
        abandoned = TOTPDevice.objects.filter(confirmed=False, name=PENDING_NAME, created_at__lt=now - PENDING_FOR)
        return int(abandoned.delete()[0])

    def second_factor_form(self, user: Any, data: Any | None = None) -> forms.Form | None:
        return TotpForm(data) if self.methods(user) else None

    def verify_second_factor(self, user: Any, form: forms.Form) -> UsedMethod | None:
        with atomic():
            tried: list[tuple[Any, dict[str, Any]]] = []
            devices = list(TOTPDevice.objects.select_for_update().filter(user=user, confirmed=True).order_by("pk"))
            locked_for = min((_locked_for(device) for device in devices), default=timedelta())
            if locked_for:
                raise SignInRefused(_say(locked_for), code="locked")
            for device in devices:
                before = {name: getattr(device, name) for name in FAILURES}
                if _verifies(device, form):
                    _forgive(tried)
                    user.otp_device = device  # django-otp's receiver of `user_logged_in` wants to know
                    return self.used_device(device)
                tried.append((device, before))
        return None


def _verifies(device: Any, form: forms.Form) -> bool:
    return bool(device.verify_token(form.cleaned_data["code"].reveal()))


def _app_url(device: Any, key: Secret, request: HttpRequest) -> Secret:
    """Return what the app is told: the site, and the UPN as people know it, short enough for a QR code."""
    # As django-otp has it: a text, or a function of the device.
    named = getattr(django_settings, "OTP_TOTP_ISSUER", None)
    issuer = str((named(device) if callable(named) else named) or site_name(request)).replace(":", " ")[:LONGEST_LABEL]
    upn = get_hooks().get_upn(device.user).replace(":", " ")[:LONGEST_LABEL]
    told = {"algorithm": "SHA1", "digits": device.digits, "period": device.step, "issuer": issuer}
    label = f"{quote(issuer)}:{quote(upn)}"
    return Secret(f"otpauth://totp/{label}?secret={key.reveal()}&{urlencode(told, quote_via=quote)}")


def _qr_code(app_url: Secret) -> Secret:
    drawn = segno.make(app_url.reveal(), error="m").svg_inline
    return Secret(mark_safe(drawn(scale=5, border=4, omitsize=True, title=str(_("QR code")))))  # noqa: S308 ours


def _locked_for(device: Any) -> timedelta:
    # After a wrong code django-otp waits for a second, after two for two, after eighteen for a day and a half.
    is_allowed, why = device.verify_is_allowed()
    return timedelta() if is_allowed else max(why["locked_until"] - timezone.now(), timedelta())


def _say(locked_for: timedelta) -> _StrOrPromise:
    seconds = -(-locked_for // timedelta(seconds=1))
    return LOCKED if seconds > LONG else LOCKED_SHORTLY % {"seconds": seconds + 1}


def _forgive(tried: list[tuple[Any, dict[str, Any]]]) -> None:
    # A right code of one app is no wrong code of the others, which django-otp would lock for longer and longer.
    for device, before in tried:
        for name, value in before.items():
            setattr(device, name, value)
        device.save(update_fields=list(before))


def _method(device: Any) -> Method:
    name = str(TotpKind.label) if is_name_taken(device.name) else device.name
    return Method(id=str(device.pk), name=name, created_at=device.created_at, last_used_at=device.last_used_at)
