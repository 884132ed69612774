"""What can be refused: every exception says what was refused and carries a stable `code`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from datetime import timedelta

    from django.utils.functional import _StrOrPromise

    from .usability import UsabilityReason


class TapError(Exception):
    """Something was refused. `message` may be shown to whoever asked; `code` may be branched on."""

    code = "refused"

    def __init__(self, message: _StrOrPromise, *, code: str | None = None, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.field = field  # the argument that is at fault, for a form to put the message beside it


class InvalidPolicy(TapError):
    """The bounds contradict each other or leave the permitted range."""

    code = "invalid_policy"


class NotAllowed(TapError):
    """This person may not do this, or not to that person."""

    code = "not_allowed"


class IssueNotAllowed(NotAllowed):
    """No pass may be issued: to this user, by this person, or at all."""

    code = "issue_not_allowed"


class RevokeNotAllowed(NotAllowed):
    """This person may not revoke that pass."""

    code = "revoke_not_allowed"


class InvalidPass(TapError):
    """The pass asked for lies outside the policy's bounds; the message names the bound."""

    code = "invalid_pass"


class RedemptionRefused(TapError):
    """A passcode was presented and not accepted."""

    code = "redemption_refused"


class PasscodeNotAccepted(RedemptionRefused):
    """Unknown user, no pass, or wrong passcode: nobody is told which."""

    code = "passcode_not_accepted"

    def __init__(self) -> None:
        super().__init__(_("That user name and passcode do not match a Temporary Access Pass."))


class PassNotUsable(RedemptionRefused):
    """The passcode was right, but the pass may not be redeemed now. Only then is the reason told."""

    code = "pass_not_usable"

    def __init__(self, message: _StrOrPromise, *, reason: UsabilityReason) -> None:
        super().__init__(message)
        self.reason = reason


class TooManyAttempts(RedemptionRefused):
    """The throttle refused before anything was hashed. `retry_after` is how long to wait."""

    code = "too_many_attempts"

    def __init__(self, *, retry_after: timedelta) -> None:
        super().__init__(_("There were too many attempts. Wait a while, then try again."))
        self.retry_after = retry_after


class SignInRefused(TapError):
    """A password or a second factor was not accepted."""

    code = "sign_in_refused"


class SignInNotFound(TapError):
    """No open sign-in of this user's has this id; whose else it may be, nobody is told."""

    code = "sign_in_not_found"


class AmbiguousUpn(TapError):
    """Several users differ by the case of their UPN only: refused, not guessed."""

    code = "ambiguous_upn"

    def __init__(self) -> None:
        super().__init__(_("Several users have this user principal name, differing by case only."))


class RegistrationNotAllowed(TapError):
    """This session may not register a method now."""

    code = "registration_not_allowed"


class RegistrationNotFinished(TapError):
    """Something is left to do before the holder of a pass may finish; leaving without is possible at any time."""

    code = "registration_not_finished"


class MethodNotVerified(TapError):
    """What was entered does not prove that the new method works."""

    code = "method_not_verified"


class MethodNotFound(TapError):
    """The user has no such method; whether anybody else has is told to nobody."""

    code = "method_not_found"

    def __init__(self) -> None:
        super().__init__(_("There is no such sign-in method."))


class ChangeRefused(TapError):
    """A method was not changed: the message says why."""

    code = "change_refused"
