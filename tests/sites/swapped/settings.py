"""A site that has swapped the models of passkeys and of the OpenID provider for its own."""

from tests.sites.base import *  # noqa: F403
from tests.sites.base import AUTHENTICATION_BACKENDS, INSTALLED_APPS, PASSWORD_HASHERS
from tests.sites.provider import OAUTH2_PROVIDER

INSTALLED_APPS = [
    *INSTALLED_APPS,
    "django_otp_webauthn",
    "tap_provider.oidc",
    "oauth2_provider",
    "tests.sites.swapped.apps.SwappedConfig",
]
AUTHENTICATION_BACKENDS = [
    AUTHENTICATION_BACKENDS[0],
    "tap_provider.methods.passkey.PasskeyBackend",
    *AUTHENTICATION_BACKENDS[1:],
]
PASSWORD_HASHERS = [*PASSWORD_HASHERS, "tap_provider.oidc.hashers.ClientSecretHasher"]
ROOT_URLCONF = "tests.sites.swapped.urls"
LOGIN_URL = "tap_provider:sign_in"

OTP_WEBAUTHN_CREDENTIAL_MODEL = "swapped.Credential"
OTP_WEBAUTHN_ATTESTATION_MODEL = "swapped.Attestation"
OTP_WEBAUTHN_RP_ID = "localhost"
OTP_WEBAUTHN_RP_NAME = "A site"
OTP_WEBAUTHN_ALLOWED_ORIGINS = ["http://localhost:8000"]

OAUTH2_PROVIDER_APPLICATION_MODEL = "swapped.Application"
OAUTH2_PROVIDER_GRANT_MODEL = "swapped.Grant"
OAUTH2_PROVIDER_ACCESS_TOKEN_MODEL = "swapped.AccessToken"
OAUTH2_PROVIDER_REFRESH_TOKEN_MODEL = "swapped.RefreshToken"
OAUTH2_PROVIDER_ID_TOKEN_MODEL = "swapped.IDToken"
OAUTH2_PROVIDER_DEVICE_GRANT_MODEL = "swapped.DeviceGrant"
OAUTH2_PROVIDER = {**OAUTH2_PROVIDER, "COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS": True}
