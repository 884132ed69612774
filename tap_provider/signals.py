"""Past-tense signals for observers: sent after the commit, never carrying a passcode.

Receivers' exceptions are logged and do not disturb the request (`send_robust`).

    pass_issued(sender, temporary_access_pass, actor)        a pass was issued; a previous one has ended
    pass_revoked(sender, pass_id, user, actor)               a pass was ended early
    pass_redeemed(sender, user, sign_in)                     a passcode was accepted
    pass_refused(sender, user, code)                         a passcode was not accepted; `user` is None if unknown
    policy_changed(sender, policy, actor)                    the policy was changed
    sign_in_begun(sender, sign_in)                           a sign-in of any kind was recorded
    sign_in_renewed(sender, sign_in)                         its user has authenticated again, in the same session
    sign_in_ended(sender, sign_in)                           a sign-in ended; `sign_in.ended_reason` says why
    signed_out_everywhere(sender, user, sign_in, ended)      asked for in `sign_in`, by which `ended` of them ended
    method_registered(sender, user, kind, method_id, sign_in)
    method_removed(sender, user, kind, method_id, name, sign_in)        a method was removed by its user
    method_lost(sender, user, kind, method_id, name, sign_in, ended)    removed as lost; so many sign-ins ended with it
"""

from __future__ import annotations

from functools import partial
from typing import Any

from django.dispatch import Signal

from .databases import on_commit

pass_issued = Signal()
pass_revoked = Signal()
pass_redeemed = Signal()
pass_refused = Signal()
policy_changed = Signal()
sign_in_begun = Signal()
sign_in_renewed = Signal()
sign_in_ended = Signal()
signed_out_everywhere = Signal()
method_registered = Signal()
method_removed = Signal()
method_lost = Signal()


def send_after_commit(signal: Signal, *, sender: type[Any], **payload: Any) -> None:
    """Send `signal` once the surrounding transaction has committed, at once if there is none."""
    on_commit(partial(signal.send_robust, sender=sender, **payload))
