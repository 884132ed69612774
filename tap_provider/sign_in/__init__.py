"""Sign-ins: one record per authentication event, of any kind. The Django session carries only its id.

Ending a sign-in ends its session on the next request, on every session engine, and its OAuth codes and tokens with it,
because each of them asks the record when it is used. The Django session is deleted besides.

begin           what is written down when somebody has authenticated
session         what a Django session carries of it, and finding it by that
session_key     what the record knows of the Django session: its key, sealed
seen            when it was last seen, and when its session runs out
end             ending one or many
hold            keeping a user or a sign-in as they are until the transaction ends
password        ending with a change of the user's password
stamp           by which a change is seen
django_login    which logins are Django's, of a session
django_session  deleting the Django session of what has ended
session_store   the same, engine by engine
"""

from .begin import (
    adopt_session,
    begin_sign_in,
    renew_sign_in,
    replace_sign_in,
)
from .client import Client
from .django_login import has_just_logged_in, request_of, session_hash, session_of
from .django_session import (
    delete_left_sessions,
    is_unsettled,
    save_unless_ended,
    serving,
    settle_session,
    sign_in_being_served,
    sign_in_that_was,
)
from .end import (
    compare_activity,
    end_before_deletion,
    end_overdue_sign_ins,
    end_sign_in,
    end_sign_ins,
    end_with_activity,
    end_with_user,
    sign_in_ending,
    unrecorded_ending,
    user_deactivated,
)
from .hold import hold_sign_in, hold_user
from .password import end_with_password, has_same_password, keep_with_rehash
from .seen import expiry_of, note_seen
from .session import (
    SESSION_KEY,
    find_sign_in,
    note_pass,
    of_pass,
    put_in_session,
    rotate_session,
    sign_in_of_session,
    sign_in_of_user,
    with_user,
)
from .session_key import can_rotate, note_session_key
from .session_store import new_session
from .stamp import is_stamp_current, password_stamp, renew_stamp

__all__ = [
    "SESSION_KEY",
    "Client",
    "adopt_session",
    "begin_sign_in",
    "can_rotate",
    "compare_activity",
    "delete_left_sessions",
    "end_before_deletion",
    "end_overdue_sign_ins",
    "end_sign_in",
    "end_sign_ins",
    "end_with_activity",
    "end_with_password",
    "end_with_user",
    "expiry_of",
    "find_sign_in",
    "has_just_logged_in",
    "has_same_password",
    "hold_sign_in",
    "hold_user",
    "is_stamp_current",
    "is_unsettled",
    "keep_with_rehash",
    "new_session",
    "note_pass",
    "note_seen",
    "note_session_key",
    "of_pass",
    "password_stamp",
    "put_in_session",
    "renew_sign_in",
    "renew_stamp",
    "replace_sign_in",
    "request_of",
    "rotate_session",
    "save_unless_ended",
    "serving",
    "session_hash",
    "session_of",
    "settle_session",
    "sign_in_being_served",
    "sign_in_ending",
    "sign_in_of_session",
    "sign_in_of_user",
    "sign_in_that_was",
    "unrecorded_ending",
    "user_deactivated",
    "with_user",
]
