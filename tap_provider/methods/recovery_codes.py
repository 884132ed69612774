"""Recovery codes: ten look-up secrets (NIST SP 800-63B-4 §3.1.2) to keep for the day when the other methods are lost.

They are a second factor after the password, not a pass: none of them signs anybody in alone. The clear codes exist only
in the one response to the POST that makes them; what is stored is one hash each, and all codes of a set share a salt,
so that checking costs exactly one hash however many are left.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from django import forms
from django.contrib.auth.decorators import login_not_required
from django.http import HttpResponseRedirect
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import path, reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods

from ..addresses import site_name
from ..conf import settings
from ..databases import atomic
from ..decorators import page, registration_session_allowed
from ..exceptions import RegistrationNotAllowed, TooManyAttempts
from ..hooks import get_hooks
from ..models import RecoveryCode, SignIn
from ..passcode import fold_passcode, generate_passcode, group_passcode, hash_alike
from ..policy import resolve_policy
from ..secret import Secret
from ..sign_in import Client, hold_user, sign_in_of_user, sign_in_that_was
from ..throttle import account_of, count_attempt
from .inputs import CodeInput, SecretField
from .kinds import Factor, Method, MethodKind, UsedMethod
from .password import USED_PASSWORD
from .registration import guard_kind, guard_offered, guard_registration, record_registration
from .registry import find_kind, has_password

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern
    from django.utils.functional import _StrOrPromise

COUNT = 10
SYMBOLS = 16
"""80 random bits a code: under 112, so salted and hashed like a password (NIST SP 800-63B-4 §3.1.2.2)."""

FEW = 2  # of so many left, the page says to make new ones

ID = "recovery_codes"  # a user has one set


@dataclass(frozen=True)
class NewCodes:
    """The codes just made: the only moment at which the clear text exists. `reveal()` of each shows it."""

    made_at: datetime
    codes: tuple[Secret, ...] = field(repr=False)

    @property
    def for_reading(self) -> list[Secret]:
        """The codes in groups of four."""
        return [group_passcode(code) for code in self.codes]


@dataclass(frozen=True)
class CodesLeft(Method):
    """A user's set, with how many of it are left."""

    left: int = 0

    @property
    def are_few(self) -> bool:
        return self.left <= FEW


class RecoveryCodeForm(forms.Form):
    """Checks the shape; `spend_code` alone spends."""

    code = SecretField(
        label=_("Recovery code"),
        help_text=_("One that you have not used yet. Capital or small letters, with or without dashes."),
        strip=False,
        widget=CodeInput(
            attrs={
                "autocapitalize": "characters",
                "autocomplete": "one-time-code",
                "autofocus": True,
                "spellcheck": "false",
            }
        ),
    )

    def clean_code(self) -> Secret:
        code = _fold(self.cleaned_data["code"])
        if not code:
            raise forms.ValidationError(_("Enter the sixteen letters and digits of one of your codes."), code="invalid")
        return code


class RecoveryCodesKind(MethodKind):
    slug = "recovery_codes"
    label = _("Recovery codes")
    description = _(
        "Ten codes to keep on paper. After your password, each stands in once for a method that is out of reach."
    )
    is_strong = False
    is_last_resort = True
    wrong_answer = _("That code is not right, or was used before. Try another one.")
    card_template = "tap_provider/methods/recovery_codes.html"

    def is_taken_elsewhere(self) -> bool:
        return False

    def methods(self, user: Any) -> list[Method]:
        codes = list(_codes_of(user).values_list("created_at", "used_at"))
        used = [used_at for _created_at, used_at in codes if used_at is not None]
        left = len(codes) - len(used)
        if not left:
            return []
        told = ngettext("%(left)d of %(total)d left", "%(left)d of %(total)d left", left)
        return [
            CodesLeft(
                id=ID,
                name=str(self.label),
                created_at=codes[0][0],
                last_used_at=max(used, default=None),
                detail=told % {"left": left, "total": len(codes)},
                left=left,
            )
        ]

    def has(self, user: Any, method_id: str) -> bool:
        return method_id == ID and RecoveryCode.objects.filter(user=user).exists()  # the last one may just be used up

    def remove(self, user: Any, method_id: str) -> bool:
        return method_id == ID and bool(RecoveryCode.objects.filter(user=user).delete()[0])

    def why_not_register(self, user: Any, sign_in: SignIn) -> _StrOrPromise | None:
        # A password that only another backend knows, a directory's say, counts if this sign-in was made with it.
        if not has_password(user) and USED_PASSWORD.kind not in sign_in.methods:
            return _("Recovery codes are asked for after a password, and you have no password.")
        return None

    def second_factor_form(self, user: Any, data: Any | None = None) -> forms.Form | None:
        return RecoveryCodeForm(data) if self.methods(user) else None

    @sensitive_variables()
    def verify_second_factor(self, user: Any, form: forms.Form) -> UsedMethod | None:
        if not spend_code(user=user, typed=form.cleaned_data["code"], now=timezone.now()):
            return None
        # RFC 8176 §2: `otp` is a one-time password in RFC 4949's sense, one that is used only once.
        # NIST SP 800-63B-4 §3.1.2: a look-up secret is something one has.
        return UsedMethod(kind=self.slug, amr=("otp",), factors=frozenset({Factor.POSSESSION}), method_id=ID)

    def urls(self) -> Sequence[URLPattern]:
        return [path("", show_new_codes, name="recovery_codes")]


@sensitive_variables()
def make_codes(*, sign_in: SignIn, now: datetime, address: str | None) -> NewCodes:
    """Replace the codes of this sign-in's user by ten new ones, and record that.

    Raises RegistrationNotAllowed or TooManyAttempts; then the old ones stay.
    """
    user, kind = sign_in.user, find_kind(RecoveryCodesKind.slug)
    guard_registration(sign_in=sign_in, policy=resolve_policy(user), now=now)
    guard_offered(kind)
    assert kind is not None  # noqa: S101 that is what was guarded
    guard_kind(kind, sign_in)
    count_attempt(purpose="recovery codes", upn=account_of(user), address=address, now=now)  # ten hashes each
    # Hashed outside the transaction, which on SQLite everybody else waits for.
    new = NewCodes(made_at=now, codes=tuple(generate_passcode(SYMBOLS) for _number in range(COUNT)))
    hasher = settings.passcode_hasher
    salt = hasher.salt()
    hashes = [hasher.encode(code.reveal(), salt) for code in new.codes]
    with atomic():
        hold_user(user)  # two sets made at once are made one after the other, or both would stay
        old = RecoveryCode.objects.filter(user=user)
        if old.filter(created_at__gt=now).exists():  # a button pressed twice: what was asked for last is what is shown
            raise RegistrationNotAllowed(_("Newer codes were made meanwhile."), code="newer_codes")
        old.delete()
        RecoveryCode.objects.bulk_create(
            RecoveryCode(user=user, code_hash=code_hash, created_at=now) for code_hash in hashes
        )
        method = Method(id=ID, name=str(kind.label), created_at=now)
        record_registration(sign_in=sign_in, kind=kind, method=method, now=now, address=address)
    return new


@sensitive_variables()
def spend_code(*, user: Any, typed: str | Secret, now: datetime) -> bool:
    """Use up this code if it is an unused one of the user's, and tell whether it was, at the price of exactly one hash.

    One conditional UPDATE spends, and its row count decides: of simultaneous uses at most one wins.
    """
    typed = Secret.of(typed)
    any_of_the_set = _codes_of(user).values_list("code_hash", flat=True).first()
    code_hash = hash_alike(_fold(typed), any_of_the_set, hasher=settings.passcode_hasher)
    return RecoveryCode.objects.filter(user=user, code_hash=code_hash, used_at=None).update(used_at=now) == 1


def _codes_of(user: Any) -> QuerySet[RecoveryCode]:
    # Those of another algorithm are dead: the site has changed its hasher, as it may to end outstanding passes.
    return RecoveryCode.objects.filter(user=user, code_hash__startswith=f"{settings.passcode_hasher.algorithm}$")


def _fold(typed: Secret) -> Secret:
    code = fold_passcode(typed)
    return code if len(code.reveal()) == SYMBOLS else Secret("")


@page
@registration_session_allowed
@login_not_required
@csrf_protect
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_variables()
def show_new_codes(request: HttpRequest) -> HttpResponse:
    """Make new codes and show them, this once; a GET makes nothing and shows nothing."""
    current = sign_in_of_user(request)
    if current is None:
        is_known = sign_in_that_was(request) is not None or request.method == "POST"
        notice = {"notice": "ended"} if is_known else {}
        return _to("sign_in", next=reverse("tap_provider:security_info"), **notice)
    wanted = request.POST.get("next", request.GET.get("next", ""))  # Security info judges it
    travelling = {"next": wanted} if wanted else {}
    if request.method != "POST":
        return _to("security_info", **travelling)
    try:
        new = make_codes(sign_in=current, now=timezone.now(), address=Client.of(request).address)
    except RegistrationNotAllowed:
        return _to("security_info", **travelling)  # which says why
    except TooManyAttempts:
        return _to("security_info", notice="too_many", **travelling)
    upn = get_hooks().get_upn(current.user)
    context = {"codes": new.for_reading, "made_at": new.made_at, "upn": upn, "site": site_name(request)}
    context |= {"file": _as_file(context), "next": wanted}
    return render(request, "tap_provider/methods/recovery_codes_made.html", context)


def _as_file(context: dict[str, Any]) -> Secret:
    text = Secret(render_to_string("tap_provider/methods/recovery_codes.txt", context))
    return Secret(f"data:text/plain;charset=utf-8,{quote(text.reveal())}")


def _to(name: str, **query: str) -> HttpResponse:
    url = reverse(f"tap_provider:{name}")
    return HttpResponseRedirect(f"{url}?{urlencode(query)}" if query else url)
