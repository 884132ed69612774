"""django-oauth-toolkit made to tell and enforce the authentication context: an app of its own.

models      contexts of codes and tokens (keyed by digest, no foreign key to a swappable model), relying parties
authorization_request, authorization_checks, authorization_return
            what a request asks, which checks it meets in which order, what the user has done on the way
contexts    which sign-in stands behind a code or a token, does it still live, who took part in it
tokens      what a code brings at the token endpoint: once, until when, and whether with a refresh token
id_tokens, hints
            reading ID tokens that somebody sends us
token_validator, validator
            `OAUTH2_VALIDATOR_CLASS`: the gates at code, token and every use; honest claims
backchannel_logout, logout_token, transport, tasks
            telling relying parties that a sign-in has ended
resource_server, rest_framework
            what a view of the same site demands of an access token
hashers     a fast hash for client secrets, which are too long to be guessed
views, urls over the toolkit's: `path("o/", include("tap_provider.oidc.urls"))`
"""
