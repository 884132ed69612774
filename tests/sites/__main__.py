"""Test this project inside small sites that use other people's packages, each with settings of its own.

    python -m tests.sites                  every site, in an environment that is made for them
    python -m tests.sites allauth axes     these sites
    python -m tests.sites --here allauth   in the environment of this interpreter, which has the packages

A site is a folder beside this file with `settings.py`, `urls.py` and `test_*.py`. The packages that sites use are
listed in `requirements.txt`. The environment is `.venv-sites` at the root of the checkout.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
ENVIRONMENT = ROOT / ".venv-sites"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = sorted(settings.parent.name for settings in HERE.glob("*/settings.py"))
    parser.add_argument("sites", nargs="*", help=", ".join(known))
    parser.add_argument("--here", action="store_true", help="use the environment of this interpreter")
    options = parser.parse_args()
    unknown = sorted(set(options.sites) - set(known))
    if unknown:
        parser.error(f"there is no site {', '.join(unknown)}")
    python = sys.executable if options.here else _environment()
    failed = [site for site in options.sites or known if not _test(site, python=python)]
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


def _environment() -> str:
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
    requirements = ["-e", ".[demo,test]", "-r", str(HERE / "requirements.txt")]
    subprocess.run([python, "-m", "pip", "install", "-q", *requirements], cwd=ROOT, check=True)
    return str(python)


def _test(site: str, *, python: str) -> bool:
    print(f"--- {site}", flush=True)
    settings = f"--ds=tests.sites.{site}.settings"
    command = [python, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", settings, f"tests/sites/{site}"]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


if __name__ == "__main__":
    main()
