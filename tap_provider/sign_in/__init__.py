"""Sign-ins: one record per authentication event, of any kind. The Django session carries only its id.

Ending a sign-in ends its session on the next request, on every session engine, and its OAuth codes and tokens with it,
because each of them asks the record when it is used.

django_login   which logins are Django's, of a session
begin      what is written down when somebody has authenticated
session    what a Django session carries of it, and finding it by that
seen       when it was last seen, and when its session runs out
end        ending one or many
hold       keeping a user or a sign-in as they are until the transaction ends
"""

from .begin import (
    adopt_session,
    begin_sign_in,
    renew_sign_in,
    replace_sign_in,
)
from .client import Client
from .django_login import has_just_logged_in, request_of, session_hash, session_of
from .end import (
    end_before_deletion,
    end_overdue_sign_ins,
    end_sign_in,
    end_sign_ins,
    end_with_activity,
    end_with_user,
    sign_in_ending,
    unrecorded_ending,
)
from .hold import hold_sign_in, hold_user
from .seen import expiry_of, note_seen
from .session import (
    SESSION_KEY,
    can_rotate,
    find_sign_in,
    note_pass,
    of_pass,
    put_in_session,
    sign_in_of_session,
    sign_in_of_user,
    with_user,
)

__all__ = [
    "SESSION_KEY",
    "Client",
    "adopt_session",
    "begin_sign_in",
    "can_rotate",
    "end_before_deletion",
    "end_overdue_sign_ins",
    "end_sign_in",
    "end_sign_ins",
    "end_with_activity",
    "end_with_user",
    "expiry_of",
    "find_sign_in",
    "has_just_logged_in",
    "hold_sign_in",
    "hold_user",
    "note_pass",
    "note_seen",
    "of_pass",
    "put_in_session",
    "renew_sign_in",
    "replace_sign_in",
    "request_of",
    "session_hash",
    "session_of",
    "sign_in_ending",
    "sign_in_of_session",
    "sign_in_of_user",
    "unrecorded_ending",
    "with_user",
]
