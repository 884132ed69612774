"""The facts at rest, one module each.

A fact about one row is a property here, a set of rows is a QuerySet method; whatever has consequences is a verb
elsewhere. The bounds that must never be crossed are database constraints.
"""

from .method import RecoveryCode, RegisteredMethod
from .policy import LONGEST_LIFETIME, SHORTEST_LIFETIME, TemporaryAccessPassPolicy
from .records import AttemptCounter, AuditEvent
from .sign_in import SEEN_EVERY, Level, SignIn, SignInMethod, SignInQuerySet
from .temporary_access_pass import Standing, TemporaryAccessPass

__all__ = [
    "LONGEST_LIFETIME",
    "SEEN_EVERY",
    "SHORTEST_LIFETIME",
    "AttemptCounter",
    "AuditEvent",
    "Level",
    "RecoveryCode",
    "RegisteredMethod",
    "SignIn",
    "SignInMethod",
    "SignInQuerySet",
    "Standing",
    "TemporaryAccessPass",
    "TemporaryAccessPassPolicy",
]
