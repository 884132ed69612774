"""Every language that is shipped is complete: nothing untranslated, nothing fuzzy, nothing out of date."""

from __future__ import annotations

import re
import shutil
from typing import Any

import polib
import pytest
from django.conf import settings
from django.test import Client
from django.utils import translation

from .conftest import in_ci
from .messages import APPS, LANGUAGES, extracted, key_of, message_file, mistakes_in

FILES = [pytest.param(app, language, id=f"{app}-{language}") for app in APPS for language in LANGUAGES]
CODES = [language.lower().replace("_", "-") for language in LANGUAGES]


@pytest.mark.parametrize(("app", "language"), FILES)
def test_messages__are_all_translated(app: str, language: str) -> None:
    assert list(mistakes_in(message_file(app, language))) == []


@pytest.mark.parametrize("app", APPS)
def test_messages__are_those_of_the_code(app: str) -> None:
    """`python -m tests.messages` brings them up to date."""
    if shutil.which("xgettext") is None:
        if in_ci():
            pytest.fail("GNU gettext is not installed: apt-get install gettext")
        pytest.skip("needs GNU gettext")
    marked = extracted(app)
    assert len(marked) > 40
    for language in LANGUAGES:
        known = {key_of(entry) for entry in polib.pofile(str(message_file(app, language)))}
        assert known == marked, language


@pytest.mark.parametrize(("app", "language"), FILES)
def test_messages__are_compiled(app: str, language: str) -> None:
    path = message_file(app, language)
    compiled = {
        key_of(entry): (entry.msgstr, entry.msgstr_plural) for entry in polib.mofile(str(path.with_suffix(".mo")))
    }
    written = {key_of(entry): (entry.msgstr, entry.msgstr_plural) for entry in polib.pofile(str(path))}
    assert compiled == written


def test_mistakes_in__finds_each(tmp_path: Any) -> None:
    head = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n'
    head += '"Plural-Forms: nplurals=2; plural=(n != 1);\\n"\n\n'
    bad = {
        "untranslated": 'msgid "a"\nmsgstr ""\n',
        "untranslated ": 'msgid "a %(n)s"\nmsgid_plural "b %(n)s"\nmsgstr[0] "x %(n)s"\nmsgstr[1] ""\n',
        "fuzzy": '#, fuzzy\nmsgid "a"\nmsgstr "b"\n',
        "obsolete": '#~ msgid "a"\n#~ msgstr "b"\n',
        "placeholders": 'msgid "a %(b)s"\nmsgstr "a %(c)s"\n',
        "placeholders or": 'msgid "a <b>b</b>"\nmsgstr "a <b>b"\n',
        "white space": 'msgid "a"\nmsgstr "b "\n',
    }
    for kind, text in bad.items():
        path = tmp_path / "django.po"
        path.write_text(head + text, encoding="utf-8")
        (mistake,) = mistakes_in(path)
        assert mistake.startswith(kind.strip())
    path.write_text(head + 'msgid "a %(b)s"\nmsgstr "%(b)s c"\n', encoding="utf-8")
    assert list(mistakes_in(path)) == []


@pytest.mark.parametrize("code", CODES)
def test_pages__are_in_the_language_of_their_reader(code: str, db: None) -> None:
    html = Client(headers={"accept-language": code}).get("/account/sign-in/pass/").content.decode()
    assert re.search(r'<html lang="([\w-]+)"', html)[1].lower() == code  # type: ignore[index]
    assert "Your administrator gave you a passcode" not in html
    with translation.override(code):
        assert translation.gettext("Passcode") in html


def test_languages__are_some_that_django_offers() -> None:
    assert set(CODES) <= {code.lower() for code, _name in settings.LANGUAGES}
