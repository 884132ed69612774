"""The translations: bring the message files up to date with the code, and compile them.

    python -m tests.messages            every language of both apps; needs GNU gettext
    python -m tests.messages --check    say what is missing, change nothing

A message is translated when it has text for every plural form, keeps the placeholders and elements of its original, and
is not marked fuzzy. `tests/test_messages.py` holds all of it.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polib

ROOT = Path(__file__).resolve().parent.parent
APPS = {"tap_provider": ROOT / "tap_provider", "tap_provider.oidc": ROOT / "tap_provider" / "oidc"}
LANGUAGES = ("de", "es", "fr", "ja", "zh_Hans")
KEPT = re.compile(r"%(?:\(\w+\))?[sd]|%%|\{\w+\}|</?\w+[^>]*>")
"""What a translation must have as its original has it: placeholders and elements."""

HEADERS = ("Language", "MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Plural-Forms")


def message_file(app: str, language: str) -> Path:
    return APPS[app] / "locale" / language / "LC_MESSAGES" / "django.po"


def extracted(app: str) -> set[tuple[str | None, str, str]]:
    """Return context, text and plural of every message that the code of this app marks. Needs GNU gettext."""
    sources = [
        path
        for kind in ("*.py", "*.html", "*.txt")
        for path in sorted(APPS[app].rglob(kind))
        if app != "tap_provider" or APPS["tap_provider.oidc"] not in path.parents
    ]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "locale").mkdir()
        for source in sources:
            copy = place / source.relative_to(APPS[app])
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(source.read_bytes())
        _makemessages(place, "xx")
        return {key_of(entry) for entry in polib.pofile(str(place / "locale/xx/LC_MESSAGES/django.po"))}


def key_of(entry: polib.POEntry) -> tuple[str | None, str, str]:
    return entry.msgctxt, entry.msgid, entry.msgid_plural


def mistakes_in(path: Path) -> Iterator[str]:
    """Say what is wrong with each message of this file that is."""
    file = polib.pofile(str(path))
    forms = int(re.search(r"nplurals=(\d+)", file.metadata["Plural-Forms"])[1])  # type: ignore[index]
    for entry in file:
        texts = list(entry.msgstr_plural.values()) if entry.msgid_plural else [entry.msgstr]
        originals = {entry.msgid, entry.msgid_plural or entry.msgid}
        if entry.obsolete:
            yield f"obsolete: {entry.msgid!r}"
        elif entry.fuzzy:
            yield f"fuzzy: {entry.msgid!r}"
        elif not all(texts) or (entry.msgid_plural and len(texts) != forms):
            yield f"untranslated: {entry.msgid!r}"
        elif not all(any(_kept(text) == _kept(original) for original in originals) for text in texts):
            yield f"placeholders or elements differ: {entry.msgid!r}"
        elif any(text != text.strip() for text in texts) and entry.msgid == entry.msgid.strip():
            yield f"white space around it: {entry.msgid!r}"


def _kept(text: str) -> Counter[str]:
    return Counter(KEPT.findall(text))


def update(app: str, language: str) -> None:
    """Bring one message file up to date with the code, keeping its translations."""
    path = message_file(app, language)
    ignored = ["--ignore", "oidc/*"] if app == "tap_provider" else []
    (APPS[app] / "locale").mkdir(exist_ok=True)
    _makemessages(APPS[app], language, *ignored)
    file = polib.pofile(str(path), wrapwidth=110)
    file.header = f"{app}: {language}"
    file.metadata = {"Project-Id-Version": "django-tap-provider", "Language": language} | {
        name: file.metadata[name] for name in HEADERS if name in file.metadata and name != "Language"
    }
    file.metadata_is_fuzzy = False
    for entry in [entry for entry in file if entry.obsolete]:
        file.remove(entry)
    file.save(str(path))
    file.save_as_mofile(str(path.with_suffix(".mo")))


def _makemessages(where: Path, language: str, *more: str) -> None:
    command = [sys.executable, "-m", "django", "makemessages", "-l", language, "--no-location", "--no-wrap", *more]
    subprocess.run(command, cwd=where, check=True, capture_output=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("languages", nargs="*", default=LANGUAGES)
    options = parser.parse_args()
    for app in APPS:
        for language in options.languages:
            if not options.check:
                update(app, language)
            path = message_file(app, language)
            wrong = list(mistakes_in(path))
            sys.stdout.write(f"{path.relative_to(ROOT)}: {len(wrong)} to do\n")
            for mistake in wrong:
                sys.stdout.write(f"  {mistake}\n")


if __name__ == "__main__":
    main()
