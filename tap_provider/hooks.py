"""What a site may answer differently: one class, named by `TAP_PROVIDER_HOOKS`.

Subclass `Hooks`, override what differs, and name the subclass in the setting. Hooks can narrow what the verbs allow,
never widen it: the guards of `issue` and `redeem` hold whatever a hook answers.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.utils.module_loading import import_string

from .conf import settings
from .exceptions import AmbiguousUpn
from .models import Standing
from .proxies import client_address
from .upn import NOBODY, clean_upn, fold_upn, with_upn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.http import HttpRequest

MOST_CANDIDATES = 10
"""A database's collation may equate accents: so many users at most are compared."""


class Hooks:
    """The default answers."""

    def find_user(self, upn: str) -> Any | None:
        """Return the user with this UPN, compared as `upn.fold_upn` says, or None; inactive users included.

        Must cost the same number of queries whether or not the user exists, or the time tells strangers who does.
        Raises AmbiguousUpn if several users have it in different spellings.
        """
        name, folded = settings.upn_field, fold_upn(upn)
        candidates = with_upn(get_user_model()._default_manager.all(), name, upn)[:MOST_CANDIDATES]
        users = [user for user in candidates if fold_upn(str(getattr(user, name))) == folded]
        if len(users) > 1:
            raise AmbiguousUpn
        return users[0] if users else None

    def get_upn(self, user: Any) -> str:
        """Return the UPN of a user, as it is shown and typed; empty if the user has none."""
        upn = getattr(user, settings.upn_field)
        return "" if upn is None else str(upn)

    def may_issue_for(self, actor: Any, user: Any) -> bool:
        """Tell whether this administrator may issue and revoke passes of that user (say, of their own department).

        Asked after the guards of `issue`, which it cannot widen.
        """
        return True

    def standing_of(self, user: Any) -> Standing:
        """Return the standing of a user: raise it where rights come from elsewhere than Django's flags and permissions.

        An answer below what the flags say counts as what they say, and it never widens for whom an administrator may
        issue. Asked at issue, and at every request of a registration-only session: keep it cheap.
        """
        return Standing.by_flags(user)

    def has_other_second_factor(self, user: Any) -> bool:
        """Tell whether this user has a second factor that this project does not know: of a model of the site's own.

        Our login page refuses such a user, because it could not ask for it. Devices of django-otp's and records of
        allauth.mfa are found without this.
        """
        return False

    def email_is_verified(self, user: Any) -> bool:
        """Tell whether this user was seen to receive mail at their address: `email_verified` (OpenID Connect §5.1)."""
        return False

    def addresses_to_notify(self, user: Any) -> Sequence[str]:
        """Return the mail addresses that are told what happens to this user's account; none sends nothing.

        Asked when it has happened, also where the mail is sent later. Each address gets a mail of its own.
        """
        address = getattr(user, user.get_email_field_name(), None)
        return [address] if address else []

    def language_of(self, user: Any) -> str | None:
        """Return the code of the language to write to this user in, or None if the site does not know it.

        Then it is the language in force if they did it themselves, and `LANGUAGE_CODE` if an administrator did.
        """
        return None

    def client_address(self, request: HttpRequest) -> str | None:
        """Return the address of the client, seen past as many proxies as `TAP_PROVIDER_TRUSTED_PROXIES` says."""
        return client_address(request)


@lru_cache(maxsize=8)
def _hooks(path: str) -> Hooks:
    hooks: Hooks = import_string(path)()
    return hooks


def get_hooks() -> Hooks:
    """Return the site's hooks."""
    return _hooks(settings.hooks)


def find_user(typed_upn: str) -> Any | None:
    """Return the user whom this text names, or None. One query, unless the text cannot be a UPN at all."""
    # A text that cannot be a UPN is looked up as one that nobody has, so that it costs the same.
    return get_hooks().find_user(clean_upn(typed_upn) or NOBODY)
