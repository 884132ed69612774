"""Settings of the OpenID provider that the sites share."""

from jwcrypto.jwk import JWK

OAUTH2_PROVIDER = {
    "OAUTH2_VALIDATOR_CLASS": "tap_provider.oidc.validator.TapOAuth2Validator",
    "CLIENT_SECRET_HASHER": "tap_client_secret",
    "OIDC_ENABLED": True,
    "OIDC_ISS_ENDPOINT": "http://testserver/o",
    "OIDC_RSA_PRIVATE_KEY": JWK.generate(kty="RSA", size=2048).export_to_pem(private_key=True, password=None).decode(),
    "OIDC_RP_INITIATED_LOGOUT_ENABLED": True,
    "SCOPES": {
        "openid": "Know who you are",
        "profile": "Know your name",
        "offline_access": "Stay signed in for you",
        "method_registration": "Register sign-in methods with you",
    },
    "PKCE_REQUIRED": True,
}
