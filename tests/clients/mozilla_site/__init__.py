"""A small Django site that signs its users in with mozilla-django-oidc: a relying party in a process of its own."""
