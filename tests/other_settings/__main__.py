"""Run a part of the suite under settings that other sites have, on the database that `DATABASE_URL` names.

    python -m tests.other_settings                 all of them
    python -m tests.other_settings routed          one of them

A test that holds under the suite's own settings only is marked: `aware_times`, `default_database`.
"""

from __future__ import annotations

import subprocess
import sys

SETTINGS = {"naive_times": "aware_times", "replicated": "default_database", "routed": "default_database"}
"""Which marked tests each of the settings leaves out."""

PART = (
    *("tests/admin", "tests/management", "tests/methods/test_full_session.py", "tests/methods/test_totp.py"),
    *("tests/oidc/test_resource_server.py", "tests/oidc/test_revocation.py", "tests/oidc/test_token_validator.py"),
    *("tests/test_deactivation.py", "tests/test_issue.py", "tests/test_mail.py", "tests/test_notices.py"),
    *("tests/test_policy.py", "tests/test_redeem.py", "tests/test_sign_in.py", "tests/test_throttle.py"),
    *("tests/views/test_pages.py", "tests/views/test_where_signed_in.py"),
)
"""Where passes, sign-ins, tokens, pages and mails meet times and databases."""


def main() -> int:
    failed = 0
    for name in sys.argv[1:] or SETTINGS:
        command = [sys.executable, "-m", "pytest", "-q", f"--ds=tests.other_settings.{name}"]
        failed |= subprocess.run([*command, "-m", f"not {SETTINGS[name]}", *PART], check=False).returncode
    return failed


if __name__ == "__main__":
    sys.exit(main())
