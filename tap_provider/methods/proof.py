"""What a login proved: said by the code that checked it, on the very user object that it returned.

Django's `login()` takes any user, and `user.backend` may be set by hand: packages that let support staff act as a user
do both. So a name proves nothing. An authentication backend that has checked something marks the user that it returns
(`ProvingBackend`); a page that checks something without a backend says so (`mark_proved`).
"""

from __future__ import annotations

from functools import partial, wraps
from typing import TYPE_CHECKING, Any
from weakref import ref

from ..secret import MASK

if TYPE_CHECKING:
    from collections.abc import Callable

    from .kinds import UsedMethod

    Proved = str | UsedMethod

MARK = "_tap_proved"
_IS_WRAPPED = "_tap_marks_what_it_proves"


class Proof:
    """What was proved, and of which object: a copy, or what is unpickled from a cache or a session, proves nothing."""

    def __init__(self, user: Any = None, proved: tuple[Proved, ...] = ()) -> None:
        self._user = None if user is None else ref(user)
        self._proved = proved

    def of(self, user: Any) -> tuple[Proved, ...] | None:
        return self._proved if self._user is not None and self._user() is user else None

    def __reduce__(self) -> tuple[type[Proof], tuple[()]]:
        return Proof, ()


def mark_proved(user: Any, *methods: Proved) -> Any:
    """Note on this user that the caller has just authenticated them, and by what; return the user.

    Call it between the check and Django's `login()`, with the user object that `login()` gets; it counts for that login
    alone. `methods` are slugs of kinds ("password"), or a `UsedMethod` for something that is no kind of this site.
    None: the user has authenticated, and nothing is known of how. Code that acts for a user without authenticating them
    does not call this.
    """
    setattr(user, MARK, Proof(user, methods))
    return user


def proof_of(user: Any) -> tuple[Proved, ...] | None:
    """Return what was proved of this user object, or None if nobody says that its user has authenticated."""
    proof: Proof | None = getattr(user, MARK, None)
    return None if proof is None else proof.of(user)


def forget_proof(user: Any) -> None:
    """Forget what was proved of this user object: it counts for one login, however long code keeps the object."""
    if getattr(user, MARK, None) is not None:
        setattr(user, MARK, Proof())  # not deleted: `request.user` may be a lazy object around the user


class ProvingBackend:
    """A mixin for authentication backends: each user that `authenticate()` returns is marked with `proves`.

    It works for a subclass that writes `authenticate()` itself as well as for one that inherits it.
    """

    proves: tuple[Proved, ...] = ("password",)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, marking in (("authenticate", _marking), ("aauthenticate", _marking_async)):
            method = getattr(cls, name, None)
            if method is not None and not getattr(method, _IS_WRAPPED, False):
                setattr(cls, name, marking(method))


class _Masked(partial):  # type: ignore[type-arg]
    """A call that is yet to be made, and does not show its arguments: a password is among them."""

    def __repr__(self) -> str:
        return MASK


def _marking(authenticate: Callable[..., Any]) -> Callable[..., Any]:
    # `wraps` keeps the signature, by which Django decides whether a backend takes the credentials at all.
    @wraps(authenticate)
    def marked(self: ProvingBackend, *args: Any, **kwargs: Any) -> Any:
        call = _Masked(authenticate, self, *args, **kwargs)
        del args, kwargs  # a report of an error shows the variables of this function
        user = call()
        return None if user is None else mark_proved(user, *self.proves)

    setattr(marked, _IS_WRAPPED, True)
    return marked


def _marking_async(authenticate: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(authenticate)
    async def marked(self: ProvingBackend, *args: Any, **kwargs: Any) -> Any:
        call = _Masked(authenticate, self, *args, **kwargs)
        del args, kwargs
        user = await call()
        return None if user is None else mark_proved(user, *self.proves)

    setattr(marked, _IS_WRAPPED, True)
    return marked
