"""django-oauth-toolkit made to tell and enforce the authentication context: an app of its own.

models      contexts of codes and tokens (keyed by digest, no foreign key to a swappable model), relying parties
contexts    which sign-in stands behind a code or a token, and does it still live
tokens      what a code brings at the token endpoint: once, until when, and whether with a refresh token
id_tokens   reading ID tokens that somebody sends us
token_validator, validator
            `OAUTH2_VALIDATOR_CLASS`: the gates at code, token and every use; honest claims
views, urls over the toolkit's: `path("o/", include("tap_provider.oidc.urls"))`
"""
