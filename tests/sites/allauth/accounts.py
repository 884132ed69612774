"""What the site says of allauth's logins, as the reference on methods tells."""

import time

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.auth_backends import AuthenticationBackend
from allauth.account.authentication import get_authentication_records

from tap_provider.backends import ProvingBackend, mark_proved
from tap_provider.methods.kinds import Factor, UsedMethod

CODE = UsedMethod(kind="allauth_totp", amr=("otp",), factors=frozenset({Factor.POSSESSION}))


class AllauthBackend(ProvingBackend, AuthenticationBackend):
    pass


class AccountAdapter(DefaultAccountAdapter):
    def login(self, request, user):
        lately = [one for one in get_authentication_records(request, user) if time.time() - one["at"] < 600]
        used = ["password"] if any(one["method"] == "password" for one in lately) else []
        used += [CODE] if any(one.get("type") == "totp" for one in lately) else []
        if used:
            mark_proved(user, *used)
        super().login(request, user)
