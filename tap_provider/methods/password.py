"""The password: Django's own. A weak method, told as what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model, update_session_auth_hash
from django.contrib.auth.forms import SetPasswordForm
from django.contrib.auth.hashers import identify_hasher
from django.contrib.auth.password_validation import password_changed, validate_password
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from ..exceptions import MethodNotVerified, RegistrationNotAllowed
from ..sign_in import sign_in_of_user
from .inputs import SecretField, SecretInput
from .kinds import Factor, Method, MethodKind, RegistrationPage, UsedMethod

if TYPE_CHECKING:
    from datetime import datetime

    from django.http import HttpRequest
    from django.utils.functional import _StrOrPromise

    from ..models import SignIn
    from ..secret import Secret

PENDING_KEY = "tap_provider_password"

ID = "password"  # there is one

USED_PASSWORD = UsedMethod(kind="password", amr=("pwd",), factors=frozenset({Factor.KNOWLEDGE}), method_id=ID)


class NewPasswordForm(SetPasswordForm):  # type: ignore[type-arg]  # generic in the stubs only
    """Django's own, with fields that wrap. It hashes as it checks: before the transaction that stores the hash."""

    new_password1 = SecretField(
        label=SetPasswordForm.base_fields["new_password1"].label,
        strip=False,
        widget=SecretInput(attrs={"autocomplete": "new-password"}),
        help_text=SetPasswordForm.base_fields["new_password1"].help_text,
    )
    new_password2 = SecretField(
        label=SetPasswordForm.base_fields["new_password2"].label,
        strip=False,
        widget=SecretInput(attrs={"autocomplete": "new-password"}),
        help_text=SetPasswordForm.base_fields["new_password2"].help_text,
    )

    def validate_password_for_user(self, user: Any, password_field_name: str = "new_password2") -> None:  # noqa: S107 a name
        password: Secret | None = self.cleaned_data.get(password_field_name)
        if password:
            try:
                validate_password(password.reveal(), user)
            except ValidationError as error:
                self.add_error(password_field_name, error)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors:
            self.user.set_password(cleaned["new_password2"].reveal())
        return cleaned


class PasswordKind(MethodKind):
    slug = "password"
    label = _("Password")
    description = _("Something you remember. Weaker than the other methods: add one of those as well.")
    is_strong = False
    is_held = False
    ends_sessions = True  # Django ties each session to the password that there was when it began
    card_template = "tap_provider/methods/password.html"
    backends = ("tap_provider.backends.ModelBackend", "tap_provider.backends.AllowAllUsersModelBackend")

    def methods(self, user: Any) -> list[Method]:
        return [Method(id=ID, name=str(self.label))] if _can_match(user) else []

    def remove(self, user: Any, method_id: str) -> bool:
        if method_id != ID or not _can_match(user):
            return False
        user.set_unusable_password()
        user.save(update_fields=["password"])
        return True

    def why_not_register(self, user: Any, sign_in: SignIn) -> _StrOrPromise | None:
        if _can_match(user) and not sign_in.is_registration_only:
            return _("You have a password. Change it where this site asks for the current one.")
        return None

    def used_by_backend(self, user: Any) -> UsedMethod:
        return USED_PASSWORD

    def begin_registration(self, request: HttpRequest, user: Any) -> None:
        request.session[PENDING_KEY] = True

    def registration_page(self, request: HttpRequest, user: Any, data: Any | None = None) -> RegistrationPage | None:
        sign_in = sign_in_of_user(request)
        if not request.session.get(PENDING_KEY) or sign_in is None:
            return None
        return RegistrationPage("tap_provider/methods/password_register.html", NewPasswordForm(user, data))

    def complete_registration(
        self, request: HttpRequest, user: Any, page: RegistrationPage, *, now: datetime
    ) -> Method:
        if not page.form.is_valid():
            raise MethodNotVerified(_("Choose another password."))
        sign_in = sign_in_of_user(request)
        # As they are by now: somebody may have set one, or have changed anything else of the user's row meanwhile.
        current = get_user_model()._default_manager.get(pk=user.pk)
        reason = None if sign_in is None else self.why_not_register(current, sign_in)
        if reason is not None:
            raise RegistrationNotAllowed(reason, code="not_by_this_kind")
        current.password = page.form.user.password  # type: ignore[attr-defined]
        current.save(update_fields=["password"])
        password_changed(page.form.cleaned_data["new_password2"].reveal(), current)  # as Django tells its validators
        del request.session[PENDING_KEY]
        if sign_in is not None and not sign_in.is_registration_only:
            update_session_auth_hash(request, current)
        return self.methods(current)[0]


def _can_match(user: Any) -> bool:
    """Return True if some password can match the stored hash.

    `has_usable_password()` also takes an empty text for a password, which `objects.create()` and bulk imports leave
    behind, and a hash by a hasher that the site no longer has. Neither matches anything.
    """
    try:
        identify_hasher(user.password)
    except ValueError:
        return False
    return bool(user.has_usable_password())
