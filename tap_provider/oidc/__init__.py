"""django-oauth-toolkit made to tell and enforce the authentication context: an app of its own.

models      contexts of codes and tokens (keyed by digest, no foreign key to a swappable model), relying parties
contexts    which sign-in stands behind a code or a token, does it still live, who took part in it
tokens      what a code brings at the token endpoint: once, until when, and whether with a refresh token
validator   `OAUTH2_VALIDATOR_CLASS`: the gates at code, token and every use; honest claims
hints       what an ID token that comes back says
backchannel_logout, logout_token, transport, tasks: telling relying parties that a sign-in has ended
views, urls over the toolkit's: `path("o/", include("tap_provider.oidc.urls"))`
"""
