"""WSGI entry point of the relying party; serve it with one process and several threads (see `settings.py`)."""

import os

from django.core.wsgi import get_wsgi_application

# Set, not defaulted: the provider's settings may be in the environment that starts both.
os.environ["DJANGO_SETTINGS_MODULE"] = "example_project.relying_party.settings"

application = get_wsgi_application()
