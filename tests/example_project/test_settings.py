"""The example's settings: from the environment, safe without one, strict where the site is reached over https."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings

NAMES = [
    "DEBUG",
    "SECRET_KEY",
    "ALLOWED_HOSTS",
    "DATABASES",
    "CACHES",
    "SESSION_COOKIE_SECURE",
    "CSRF_COOKIE_SECURE",
    "SECURE_SSL_REDIRECT",
    "SECURE_HSTS_SECONDS",
    "SECURE_PROXY_SSL_HEADER",
    "CSRF_TRUSTED_ORIGINS",
    "OTP_WEBAUTHN_RP_ID",
    "OTP_WEBAUTHN_ALLOWED_ORIGINS",
    "OAUTH2_PROVIDER",
    "TAP_PROVIDER_TRUSTED_PROXIES",
]
TELL = f"""
import json
from example_project import settings
print(json.dumps({{name: getattr(settings, name) for name in {NAMES!r}}}, default=str))
"""


def run(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python with these variables and nothing of this process's environment but its path."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=django_settings.BASE_DIR,
        env={"PATH": os.environ.get("PATH", ""), "VAR_DIR": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def told(tmp_path: Path, **environment: str) -> Any:
    done = run(tmp_path, "-c", TELL, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_settings__without_an_environment_are_a_local_site_on_sqlite(tmp_path: Path) -> None:
    settings = told(tmp_path)
    assert settings["DEBUG"] is False
    assert settings["ALLOWED_HOSTS"] == ["localhost", "127.0.0.1"]
    database = settings["DATABASES"]["default"]
    assert database["ENGINE"] == "django.db.backends.sqlite3"
    assert Path(database["NAME"]).parent == tmp_path
    assert database["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert settings["OTP_WEBAUTHN_RP_ID"] == "localhost"
    assert settings["SESSION_COOKIE_SECURE"] is False  # there is no https on localhost


def test_settings__a_variable_that_is_set_but_empty_does_not_put_secrets_into_the_checkout(tmp_path: Path) -> None:
    settings = told(tmp_path, VAR_DIR="", SECRET_KEY="given", OIDC_RSA_PRIVATE_KEY="given")
    assert Path(settings["DATABASES"]["default"]["NAME"]).parent == Path(django_settings.BASE_DIR) / "var"


def test_settings__the_secret_key_is_random_kept_and_its_owners_alone(tmp_path: Path) -> None:
    first, second = told(tmp_path)["SECRET_KEY"], told(tmp_path)["SECRET_KEY"]
    assert first == second
    assert len(first) >= 50
    assert (tmp_path / "secret_key").stat().st_mode & 0o077 == 0
    other = tmp_path / "other"
    assert told(other)["SECRET_KEY"] != first
    assert other.stat().st_mode & 0o077 == 0


def test_settings__are_read_from_the_environment(tmp_path: Path) -> None:
    settings = told(
        tmp_path,
        DATABASE_URL="postgres://someone@db.example.test:5433/site",
        CACHE_URL="rediscache://cache.example.test:6379/1",
        SECRET_KEY="k" * 60,
        DEBUG="1",
        ALLOWED_HOSTS="a.example.test,b.example.test",
        BASE_URL="https://login.example.test/",
        OIDC_RSA_PRIVATE_KEY="a key\nof several lines",
        TRUSTED_PROXIES="2",
        BEHIND_PROXY="1",
    )
    database = settings["DATABASES"]["default"]
    assert database["ENGINE"] == "django.db.backends.postgresql"
    assert (database["HOST"], database["PORT"], database["NAME"]) == ("db.example.test", 5433, "site")
    assert "transaction_mode" not in database.get("OPTIONS", {})
    assert "redis" in settings["CACHES"]["default"]["BACKEND"].lower()
    assert (settings["SECRET_KEY"], settings["DEBUG"]) == ("k" * 60, True)
    assert settings["ALLOWED_HOSTS"] == ["a.example.test", "b.example.test"]
    assert settings["OAUTH2_PROVIDER"]["OIDC_ISS_ENDPOINT"] == "https://login.example.test/o"
    assert settings["OAUTH2_PROVIDER"]["OIDC_RSA_PRIVATE_KEY"].startswith("a key")
    assert settings["TAP_PROVIDER_TRUSTED_PROXIES"] == 2
    assert settings["SECURE_PROXY_SSL_HEADER"] == ["HTTP_X_FORWARDED_PROTO", "https"]
    assert not (tmp_path / "secret_key").exists()


MAIL = """
import django
from django.conf import settings
django.setup()
from tap_provider.mail import make_connection
made = make_connection()
print(type(made).__module__, getattr(made, "file_path", ""), getattr(made, "host", ""), getattr(made, "port", ""),
      getattr(made, "username", ""), getattr(made, "use_tls", ""), getattr(made, "timeout", ""),
      settings.DEFAULT_FROM_EMAIL)
"""


def mailer(tmp_path: Path, **environment: str) -> list[str]:
    done = run(tmp_path, "-W", "error", "-c", MAIL, DJANGO_SETTINGS_MODULE="example_project.settings", **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_settings__mails_are_files_without_an_environment(tmp_path: Path) -> None:
    assert mailer(tmp_path)[:2] == ["django.core.mail.backends.filebased", str(tmp_path / "mail")]


def test_settings__mails_go_to_the_server_that_is_named_which_is_not_waited_for_without_end(tmp_path: Path) -> None:
    url = "smtp+tls://me:word@mail.example.test:587"
    told = mailer(tmp_path, EMAIL_URL=url, DEFAULT_FROM_EMAIL="login@example.test")
    smtp = "django.core.mail.backends.smtp"
    assert told == [smtp, "mail.example.test", "587", "me", "True", "10", "login@example.test"]


def test_settings__mails_are_not_lost_in_files_in_production(tmp_path: Path) -> None:
    told = mailer(tmp_path, BASE_URL="https://login.example.test")
    assert told[:4] == ["django.core.mail.backends.smtp", "localhost", "25", "False"]


def test_settings__over_https_everything_is_strict(tmp_path: Path) -> None:
    settings = told(tmp_path, BASE_URL="https://login.example.test")
    assert settings["SESSION_COOKIE_SECURE"] is settings["CSRF_COOKIE_SECURE"] is True
    assert settings["SECURE_SSL_REDIRECT"] is True
    assert settings["SECURE_HSTS_SECONDS"] >= 31_536_000
    assert settings["CSRF_TRUSTED_ORIGINS"] == ["https://login.example.test"]
    assert settings["OTP_WEBAUTHN_RP_ID"] == "login.example.test"
    assert settings["OTP_WEBAUTHN_ALLOWED_ORIGINS"] == ["https://login.example.test"]
    assert settings["SECURE_PROXY_SSL_HEADER"] is None  # a header that nobody vouches for is not believed


@pytest.mark.parametrize("application", ["example_project.wsgi:application", "example_project.asgi:application"])
def test_settings__the_applications_load(tmp_path: Path, application: str) -> None:
    module, name = application.split(":")
    done = run(tmp_path, "-W", "error", "-c", f"from {module} import {name}; assert callable({name})")
    assert done.returncode == 0, done.stderr


def test_settings__nothing_secret_is_committed() -> None:
    source = (Path(django_settings.BASE_DIR) / "example_project" / "settings.py").read_text()
    assert "BEGIN" not in source
    assert "django-insecure" not in source
