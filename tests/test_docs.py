"""The documentation is held to the code: what it lists is there, what is there is listed, what it shows works."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import subprocess
import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.dispatch import Signal
from django.test import Client, RequestFactory
from django.test.utils import setup_test_environment
from django.urls import URLPattern, URLResolver, include, path
from django.utils import timezone
from django.views.generic import RedirectView
from django_otp.oath import hotp

from example_project.seed import Addresses, seed
from tap_provider import checks, database_checks, report_checks, signals
from tap_provider import urls as our_urls
from tap_provider.conf import DEFAULTS
from tap_provider.decorators import content_security_policy
from tap_provider.hooks import Hooks
from tap_provider.management.commands.tap import Command
from tap_provider.methods import login_checks
from tap_provider.methods.kinds import MethodKind
from tap_provider.models import AuditEvent, Level, SignIn
from tap_provider.oidc import checks as oidc_checks
from tap_provider.oidc.validator import REGISTRATION_SCOPES

ROOT = Path(django_settings.BASE_DIR)
DOCS = ROOT / "docs"
PACKAGE = ROOT / "tap_provider"
PAGES = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md"]

TRY_IT = "python3 -m venv .venv && .venv/bin/python -m pip install -e '.[demo]' && .venv/bin/python manage.py demo"
TEST_IT = "python3 -m venv .venv && .venv/bin/python -m pip install -e '.[demo,test]' && .venv/bin/python -m pytest"

PEER_FAILURES = 20

urlpatterns = [  # as docs/reference/pages.md tells a site with a page of its own
    path("account/sign-in/", RedirectView.as_view(pattern_name="login", query_string=True)),
    path("account/", include("tap_provider.urls")),
    path("login/", RedirectView.as_view(url="/"), name="login"),
]


def read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def sections(text: str, *, level: int = 2) -> dict[str, str]:
    """Return what stands below each heading of this level that is code, by the code."""
    below = re.split(rf"^(#{{1,{level}}}) (.+)$", text, flags=re.M)[1:]
    headings = zip(below[::3], below[1::3], below[2::3], strict=True)
    return {
        heading.strip("`"): body for mark, heading, body in headings if mark == "#" * level and heading.startswith("`")
    }


def first_column(text: str) -> list[str]:
    """Return the code in the first column of the tables."""
    return re.findall(r"^\| `([^`]+)` \|", text, flags=re.M)


# What the reference lists.


def test_settings__each_is_documented_with_its_default_and_no_other_is() -> None:
    documented = {}
    for name, body in sections(read("reference/settings.md")).items():
        default = re.search(r"^Default: `([^\n]+)`$|^Default:\n\n```python\n(.+?)^```$", body, re.M | re.S)
        assert default is not None, name
        documented[name.removeprefix("TAP_PROVIDER_")] = ast.literal_eval(default[1] or default[2])
    assert documented == DEFAULTS


def test_checks__each_id_is_documented_and_no_other_is() -> None:
    constants = {
        **vars(checks),
        **vars(database_checks),
        **vars(login_checks),
        **vars(report_checks),
        **vars(oidc_checks),
    }
    ids = [constants[name] for name in constants if re.fullmatch(r"[EW]\d{3}", name)]
    documented = sections(read("reference/checks.md"))
    assert sorted(documented) == sorted(ids)
    for body in documented.values():
        assert re.findall(r"^\*\*(.+?):\*\*", body, re.M) == ["Wrong", "Why it matters", "Do"]


def test_checks__sqlite_gets_the_options_of_the_example() -> None:
    told = re.search(r'"OPTIONS": (\{.*?\})', sections(read("reference/checks.md"))["tap_provider.E005"], re.S)
    shown = re.search(r'\["OPTIONS"\] = (\{.*?\})', (ROOT / "example_project/settings.py").read_text(), re.S)
    assert told is not None
    assert shown is not None
    assert ast.literal_eval(told[1]) == ast.literal_eval(shown[1])


def sent_arguments() -> dict[str, set[str]]:
    """Return what each signal is really sent with, read from the calls."""
    sent: dict[str, set[str]] = {}
    for module in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "send_after_commit":
                signal = node.args[0]
                assert isinstance(signal, ast.Attribute)
                sent.setdefault(signal.attr, set()).update(keyword.arg or "" for keyword in node.keywords)
    return sent


def test_signals__each_is_documented_with_its_arguments_and_no_other_is() -> None:
    known = {name for name, value in vars(signals).items() if isinstance(value, Signal)}
    documented = {name: set(first_column(body)) for name, body in sections(read("reference/signals.md")).items()}
    assert set(documented) == known
    assert documented == sent_arguments()


def test_hooks__each_method_is_documented_and_no_other_is() -> None:
    methods = {
        f"{name}({', '.join(list(inspect.signature(method).parameters)[1:])})"
        for name, method in vars(Hooks).items()
        if callable(method) and not name.startswith("_")
    }
    assert set(sections(read("reference/hooks.md"))) == methods


def parsers(parser: Any, name: str = "tap") -> Iterator[tuple[str, Any]]:
    """Yield every verb that takes no further verb, with its parser."""
    verbs = [action for action in parser._actions if hasattr(action, "choices") and isinstance(action.choices, dict)]
    if not verbs:
        yield name, parser
    for verb, below in [pair for action in verbs for pair in action.choices.items()]:
        yield from parsers(below, f"{name} {verb}")


def test_command_line__each_verb_and_option_is_documented_and_no_other_is() -> None:
    options = {
        verb: {option for action in parser._actions for option in action.option_strings if option.startswith("--")}
        for verb, parser in parsers(Command().create_parser("manage.py", "tap"))
    }
    headings = sections(read("reference/command-line.md"))
    documented = {
        re.sub(r" [A-Z].*", "", verb): set(re.findall(r"--[a-z][a-z-]+", body)) for verb, body in headings.items()
    }
    assert documented == {verb: found - {"--help"} for verb, found in options.items()}


def test_command_line__a_time_that_is_none_is_wrong_usage_as_documented(robin: Any, admin: Any) -> None:
    command = Command()
    command._called_from_command_line = True
    parser = command.create_parser("manage.py", "tap")
    try:
        options = parser.parse_args(["issue", robin.upn, "--actor", admin.upn, "--starts-at", "tomorrow"])
    except SystemExit as exited:  # as argparse refuses
        code = exited.code
    else:
        with pytest.raises(CommandError) as refused:
            command.execute(**vars(options))
        code = refused.value.returncode
    assert code == 2


def url_names(patterns: list[Any]) -> Iterator[str]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from url_names(pattern.url_patterns)
        elif isinstance(pattern, URLPattern):
            yield f"tap_provider:{pattern.name}"


def test_pages__each_url_name_is_documented_and_no_other_is() -> None:
    documented = [name for name in first_column(read("reference/pages.md")) if name.startswith("tap_provider:")]
    assert sorted(documented) == sorted(url_names(our_urls.urlpatterns))


TEMPLATES = PACKAGE / "templates"


def blocks(template: Path) -> list[str]:
    return re.findall(r"{% block (\w+) %}", template.read_text(encoding="utf-8"))


def blocks_of_its_own(template: Path) -> set[str]:
    """Return the blocks that this template adds to those of the ones it extends."""
    parent = re.match(r'{% extends "(tap_provider/[^"]+)" %}', template.read_text(encoding="utf-8"))
    if parent is None:
        return set(blocks(template))
    inherited, above = set(), TEMPLATES / parent[1]
    while True:
        inherited |= set(blocks(above))
        parent = re.match(r'{% extends "(tap_provider/[^"]+)" %}', above.read_text(encoding="utf-8"))
        if parent is None:
            return set(blocks(template)) - inherited
        above = TEMPLATES / parent[1]


def test_templates__each_block_is_documented_and_no_other_is() -> None:
    own = {str(template.relative_to(TEMPLATES)): blocks_of_its_own(template) for template in TEMPLATES.rglob("*.html")}
    # Of the admin's pages, whose frame extends Django's, only the block that Django does not have is ours.
    own["tap_provider/admin/base.html"] = {"methods_crumb"}
    del own["tap_provider/admin/user_change_form.html"]
    told = read("reference/pages.md") + read("reference/mail.md")
    documented = {name: set(first_column(body)) for name, body in sections(told, level=3).items()}
    assert documented == {name: found for name, found in own.items() if found and not is_admin_page(name)}


def is_admin_page(name: str) -> bool:
    return name.startswith("tap_provider/admin/") and name != "tap_provider/admin/base.html"


@pytest.mark.parametrize("template", sorted(TEMPLATES.rglob("*.html")), ids=lambda template: template.stem)
def test_templates__each_block_that_one_documents_is_in_it(template: Path) -> None:
    comment = re.search(r"{% comment %}(.*?){% endcomment %}", template.read_text(encoding="utf-8"), re.S)
    listed = re.findall(r"^ +([a-z_]+)  +\S", comment[1] if comment else "", re.M)
    assert set(listed) <= set(blocks(template))


def test_pages__each_custom_property_is_documented_and_no_other_is() -> None:
    sheet = (PACKAGE / "static/tap_provider/tap_provider.css").read_text(encoding="utf-8")
    documented = [name for name in first_column(read("reference/pages.md")) if name.startswith("--")]
    assert sorted(documented) == sorted(set(re.findall(r"--tap-[a-z-]+", sheet)))


def test_pages__the_content_security_policy_is_the_documented_one(rf: RequestFactory) -> None:
    documented = re.search(r"```text\n(default-src.*?)```", read("reference/pages.md"), re.S)
    assert documented is not None
    assert documented[1].split("\n")[:-1] == content_security_policy(rf.get("/account/sign-in/")).split("; ")


@pytest.mark.django_db
@pytest.mark.urls("tests.test_docs")
def test_pages__a_page_of_the_sites_own_takes_the_place_of_ours() -> None:
    response = Client().get("/account/security-info/", follow=True)
    assert [url for url, _ in response.redirect_chain[:2]] == [
        "/account/sign-in/?next=%2Faccount%2Fsecurity-info%2F",
        "/login/?next=%2Faccount%2Fsecurity-info%2F",
    ]


@pytest.mark.django_db
def test_admin__each_permission_that_is_documented_exists() -> None:
    documented = set(re.findall(r"`(tap_provider(?:_oidc)?\.[a-z]+_[a-z_]+)`", read("reference/admin.md")))
    assert documented
    known = {f"{permission.content_type.app_label}.{permission.codename}" for permission in Permission.objects.all()}
    assert documented <= known


def test_data__each_table_and_constraint_is_documented() -> None:
    told = read("reference/data.md")
    for label in ("tap_provider", "tap_provider_oidc"):
        for model in apps.get_app_config(label).get_models(include_auto_created=True):
            assert f"`{model._meta.db_table}`" in told
            assert [found.name for found in model._meta.constraints if f"`{found.name}`" not in told] == []


def test_data__every_kind_of_event_and_every_reason_is_documented() -> None:
    told = read("reference/data.md")
    values = [*AuditEvent.Kind.values, *SignIn.EndedReason.values, *Level.values]
    assert [value for value in values if f"`{value}`" not in told] == []


def test_oidc__the_scopes_that_are_left_are_documented() -> None:
    told = re.search(r"cut to `([a-z_ ]+)`", read("reference/oidc.md"))
    assert told is not None
    assert set(told[1].split()) == REGISTRATION_SCOPES


def test_methods__each_part_of_the_protocol_is_documented_and_no_other_is() -> None:
    parts = {*MethodKind.__annotations__, *(name for name in vars(MethodKind) if not name.startswith("_"))}
    told = read("reference/methods.md").partition("## The protocol\n")[2].partition("\n## ")[0]
    assert {re.sub(r"\(.*", "", part) for part in first_column(told)} == parts


# What the explanations say of code and tests.


def test_security__each_failure_of_others_is_met_by_tests_that_exist_or_says_why_it_cannot_occur() -> None:
    names = set()
    for module in (ROOT / "tests").rglob("test_*.py"):
        names |= set(re.findall(r"^\s*(?:async )?def (test_\w+)", module.read_text(encoding="utf-8"), re.M))
    rows = dict(re.findall(r"^\| (\d+) \| (.+)$", read("explanation/security.md"), re.M))
    assert list(map(int, rows)) == list(range(1, PEER_FAILURES + 1))
    for number, row in rows.items():
        told = re.findall(r"`(test_\w+)`", row)
        assert told, f"line {number} names no test"
        assert [name for name in told if name not in names] == [], f"line {number}"


@pytest.mark.parametrize("page", ["explanation/flow.md", "explanation/security.md", "reference/methods.md"])
def test_explanations__each_name_of_code_exists(page: str) -> None:
    modules = {module.stem for module in PACKAGE.glob("*.py")} | {"methods", "oidc", "admin"}
    told = re.findall(r"`((?:tap_provider\.)?([a-z_]+)((?:\.\w+)+))(?:\([^`]*\))?`", read(page))
    missing = [name for name, first, rest in told if first in modules and not exists(f"{first}{rest}")]
    assert missing == []


def exists(dotted: str) -> bool:
    """Tell whether a dotted name below `tap_provider` is a module, or something in one."""
    parts = dotted.split(".")
    if parts[-1] in {"py", "html", "css", "js"}:
        return (PACKAGE / ".".join(parts)).exists()
    for known in range(len(parts), 0, -1):
        try:
            found: Any = import_module(".".join(["tap_provider", *parts[:known]]))
        except ModuleNotFoundError:
            continue
        for name in parts[known:]:
            if not hasattr(found, name) and name not in getattr(found, "__annotations__", {}):
                return False
            found = getattr(found, name, None)
        return True
    return False


# Pages as pages.


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links__each_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        found = (page.parent / name).resolve() if name else page
        assert found.is_relative_to(ROOT), target
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def anchors(page: Path) -> set[str]:
    """Return what a forge makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_contents__list_every_page_in_one_line() -> None:
    text = read("README.md")
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md") if page.parent.name != "decisions"}
    for page in sorted(pages - {"README.md"} | {"decisions/README.md"}):
        assert len(re.findall(rf"^- \[[^]]+\]\({re.escape(page)}\).*\w$", text, re.M)) == 1, page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code__of_every_page_is_python(page: Path) -> None:
    for code in re.findall(r"^ *```python\n(.*?)^ *```$", page.read_text(encoding="utf-8"), re.M | re.S):
        ast.parse(inspect.cleandoc(code))


def test_readme__is_short_and_has_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
    assert lines.count(TRY_IT) == 1
    assert lines.count(TEST_IT) == 1


def test_repository__names_no_machine_and_no_package_registry() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    )
    found = []
    for name in filter(None, listed.stdout.split("\0")):
        file = ROOT / name
        if file.is_file():
            text = file.read_text(encoding="utf-8", errors="replace")
            found += [(name, match[0]) for match in FOREIGN.finditer(text)]
    assert found == []


FOREIGN = re.compile(
    r"(?<![\w.}>~-])/(?:home|root|Users|work|tmp)/[\w.-]+"
    r"|[A-Z]:\\Users"
    r"|\b(?:[\w-]+\.)*(?:pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|crates\.io|golang\.org)\b"
    r"|--(?:extra-)?index-url"
)


# The example of docs/reference/methods.md, as a site would have it: an app of its own in a process of its own.


def test_methods__the_example_is_registered_listed_registrable_and_told(tmp_path: Path) -> None:
    files = re.findall(r"^`([\w/]+\.\w+)`\n\n```\w+\n(.*?)^```$", read("reference/methods.md"), re.M | re.S)
    shown = dict(files)
    settings = shown.pop("settings.py")
    for name, text in shown.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    database = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(tmp_path / "site.sqlite3"),
        "OPTIONS": {"transaction_mode": "IMMEDIATE"},
    }
    lines = ["from tests.settings import *", f"DATABASES = {{'default': {database!r}}}", settings]
    (tmp_path / "site_settings.py").write_text("\n".join(lines), encoding="utf-8")
    walked = subprocess.run(
        [sys.executable, "-c", "import django; django.setup(); from tests.test_docs import walk; walk()"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "DJANGO_SETTINGS_MODULE": "site_settings"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert walked.returncode == 0, walked.stderr
    assert walked.stdout.endswith("walked\n")


HARDWARE_TOKEN = "hardware-token"


def walk() -> None:
    """Live the story with the kind of the example. Runs in the process of the site that has it."""
    setup_test_environment()
    call_command("migrate", verbosity=0)
    call_command("check", databases=["default"], fail_level="WARNING")
    facts = seed(Addresses(port=8000), now=timezone.now())
    token = register_hardware_token(facts)
    sign_in = sign_in_with_hardware_token(facts, token)
    assert sign_in.methods == ["password", HARDWARE_TOKEN]
    assert sign_in.level == Level.MULTI_FACTOR
    print("walked")  # noqa: T201 what the test waits for


def register_hardware_token(facts: dict[str, Any]) -> Any:
    """Register a token that an administrator has entered, in a registration-only session."""
    device_model = apps.get_model("otp_hotp", "HOTPDevice")
    user = get_user_model()._default_manager.get(upn=facts["user"]["upn"])
    token = device_model.objects.create(user=user, name="Token 4711", confirmed=False)
    browser, add = Client(), f"/account/security-info/add/{HARDWARE_TOKEN}/"
    browser.post("/account/sign-in/pass/", {"upn": user.upn, "passcode": facts["pass"]["passcode"]})

    offered = browser.get("/account/security-info/").content.decode()
    assert "Hardware token" in offered
    assert "Confirm a hardware token" in offered
    assert "Token 4711" not in offered  # it does not count before it was verified
    assert browser.post(add, {"begin": "1"}).status_code == 302
    assert browser.get(add).status_code == 200
    assert browser.post(add, {"code": "wrong"}).status_code == 200
    registered = browser.post(add, {"code": code_of(token, 0)}, follow=True)
    assert registered.status_code == 200
    assert "Token 4711" in registered.content.decode()

    event = AuditEvent.objects.get(kind=AuditEvent.Kind.METHOD_REGISTERED)
    assert event.detail == {"method_kind": HARDWARE_TOKEN, "method_id": str(token.pk)}
    assert str(event.pass_id) == facts["pass"]["id"]
    assert browser.get("/members/").status_code == 302  # registering is no step-up
    assert browser.post("/account/security-info/finish/").status_code == 302
    return token


def sign_in_with_hardware_token(facts: dict[str, Any], token: Any) -> SignIn:
    """Sign in with password and token, and let a relying party be told."""
    browser, client = Client(), facts["clients"]["ordinary"]
    first = browser.post("/account/sign-in/", {"upn": facts["user"]["upn"], "password": facts["user"]["password"]})
    assert first.headers["Location"] == "/account/sign-in/verify/"
    assert "Hardware token" in browser.get("/account/sign-in/verify/").content.decode()
    assert browser.post("/account/sign-in/verify/", {"code": code_of(token, 1)}).status_code == 302
    assert browser.get("/members/").status_code == 200

    verifier = "v" * 43
    challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")
    query = {
        "response_type": "code",
        "client_id": client["client_id"],
        "redirect_uri": client["redirect_uri"],
        "scope": "openid",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    answer = browser.get(f"/o/authorize/?{urlencode(query)}")
    sent = {
        "grant_type": "authorization_code",
        "code": parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0],
        "redirect_uri": client["redirect_uri"],
        "code_verifier": verifier,
        "client_id": client["client_id"],
        "client_secret": client["client_secret"],
    }
    id_token = Client().post("/o/token/", sent).json()["id_token"]
    claims = json.loads(urlsafe_b64decode(id_token.split(".")[1] + "=="))
    assert claims["amr"] == ["mfa", "otp", "pwd"]
    return SignIn.objects.get(pk=claims["sid"])


def code_of(token: Any, counter: int) -> str:
    return f"{hotp(token.bin_key, counter):06d}"
