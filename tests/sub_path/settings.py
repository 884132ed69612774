"""The example below a prefix, as a web server mounts it beside other applications."""

from tests.settings import *  # noqa: F403

FORCE_SCRIPT_NAME = "/idp"
TAP_PROVIDER_BASE_URL = "http://testserver/idp"
OAUTH2_PROVIDER = {**OAUTH2_PROVIDER, "OIDC_ISS_ENDPOINT": "http://testserver/idp/o"}  # noqa: F405
