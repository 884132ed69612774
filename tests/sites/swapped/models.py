"""Models of the site's own in place of those that libraries let a site swap."""

from django.db import models
from django_otp_webauthn.models import AbstractWebAuthnAttestation, AbstractWebAuthnCredential
from oauth2_provider.models import (
    AbstractAccessToken,
    AbstractApplication,
    AbstractDeviceGrant,
    AbstractGrant,
    AbstractIDToken,
    AbstractRefreshToken,
)


class Credential(AbstractWebAuthnCredential):
    pass


class Attestation(AbstractWebAuthnAttestation):
    credential = models.OneToOneField(Credential, on_delete=models.CASCADE, related_name="attestation", editable=False)


class Application(AbstractApplication):
    pass


class Grant(AbstractGrant):
    pass


class AccessToken(AbstractAccessToken):
    pass


class RefreshToken(AbstractRefreshToken):
    pass


class IDToken(AbstractIDToken):
    pass


class DeviceGrant(AbstractDeviceGrant):
    pass
