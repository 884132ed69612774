"""django-admin: the policy, the passes, and the records.

policy      the one policy, changed by the verb
passes      a user's authentication methods; issue, show once, revoke
records     sign-ins and audit events, to read only
"""

from .passes import TemporaryAccessPassAdmin, UserAuthenticationMethodsMixin
from .policy import PolicyAdmin
from .records import AuditEventAdmin, SignInAdmin

__all__ = [
    "AuditEventAdmin",
    "PolicyAdmin",
    "SignInAdmin",
    "TemporaryAccessPassAdmin",
    "UserAuthenticationMethodsMixin",
]
