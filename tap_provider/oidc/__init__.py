"""django-oauth-toolkit made to tell and enforce the authentication context: an app of its own.

models      contexts of codes and tokens (keyed by digest, no foreign key to a swappable model), relying parties
contexts    which sign-in stands behind a code or a token, and does it still live
validator   `OAUTH2_VALIDATOR_CLASS`: the gates at code, token and every use; honest claims
hashers     a fast hash for client secrets, which are too long to be guessed
resource_server, rest_framework  what a view of the same site demands of an access token
views, urls over the toolkit's: `path("o/", include("tap_provider.oidc.urls"))`
"""
