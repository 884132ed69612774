"""A relying party that runs as a process of its own and shows what the provider tells it, and what it refuses.

`configuration.py` reads the environment, `client.py` speaks OpenID Connect, `validation.py` checks every answer,
`sessions.py` knows what the provider may end,
`explain.py` puts answers into plain words, `failures.py` shows what went wrong, `views.py` is the site. Nothing here
imports `tap_provider`: all this site knows, it was told over HTTP.
"""
