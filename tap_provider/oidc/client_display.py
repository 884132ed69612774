"""How a client is shown to a user: by a name that it may have made up, and by the host that its answer is sent to.

And which names would pass for another client's.
"""

from __future__ import annotations

import re
from copy import copy
from typing import Any
from unicodedata import category, normalize
from urllib.parse import quote, urlsplit

from oauth2_provider.models import get_application_model

IGNORABLE = (
    *((0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F)),
    *((0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x2800, 0x2800), (0x3164, 0x3164), (0xFE00, 0xFE0F)),
    *((0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A)),
    (0xE0000, 0xE0FFF),
)
"""Characters that leave no mark: Unicode's `Default_Ignorable_Code_Point` (DerivedCoreProperties.txt, 16.0), and the
blank of Braille. Python's `unicodedata` does not know the property."""


PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
LOOKS_LIKE = {"i": "l", "1": "l", "|": "l", "0": "o", "rn": "m", "vv": "w"}
"""Letters of ASCII, in lower case, that many typefaces draw like another one."""

LONGEST_OWN_NAME = 40
"""Characters of a name that a client gave itself: a sentence is longer."""

NO_NAME = re.compile(r"[?!:;/@\\<>\"]|\w\.\w|\.\s")
"""What is in sentences, addresses and host names, and not in the name of an application."""


def shown_host(redirect_uri: str) -> str:
    """Return the host of a redirect URI as it is shown: in ASCII, with a port that is not the scheme's own.

    A redirect to an application on the device goes to no host, whatever stands after its scheme, which is shown
    (RFC 8252 §7.1).
    """
    parts = urlsplit(redirect_uri)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return f"{parts.scheme}:"
    host = parts.hostname
    try:
        host = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        host = ascii(host)
    host = f"[{host}]" if ":" in host else host
    return host if parts.port is None else f"{host}:{parts.port}"


def shown_name(application: Any) -> str:
    """Return the name of a client without invisible characters; its id where it has no name of its own.

    A client that registered itself chose its name: if another client has it, an imitation would pass for that client. A
    name of its own that is a whole sentence, or names a host, would pass for what the page says: its id is shown too.
    One query for such a client, none for others.
    """
    name, client_id = _visible(application.name).strip(), str(application.client_id)
    is_trusted = application.registration_source == application.RegistrationSource.MANUAL
    is_own = is_trusted or (_is_plain(name) and not is_name_of_another(name, client_id=client_id))
    return name if name and is_own else shown_id(client_id)


def shown_id(client_id: str) -> str:
    """Return a client id in ASCII: other characters, which may turn the direction of the text, are percent-encoded."""
    return quote(client_id, safe=PRINTABLE)


def as_shown(application: Any) -> Any:
    """Return the application for a template of the toolkit's, which shows `application.name`; not to be saved."""
    shown = copy(application)
    shown.name = shown_name(application)
    return shown


def is_name_of_another(name: str, *, client_id: str = "") -> bool:
    """Tell whether another client than that of this id has this name, as a reader sees it.

    Compared by letters and digits alone, without regard to case, accents, compatible forms (NFKC) and what looks alike
    in ASCII. A client without a name is shown by its id, which counts as its name. One query: names cannot be looked up
    by how they look, and clients are few.
    """
    looks = _looks_of(name)
    if not looks:
        return False
    others = get_application_model().objects.exclude(client_id=client_id).values_list("name", "client_id")
    return any(looks in (_looks_of(other), _looks_of(other_id)) for other, other_id in others.iterator())


def _looks_of(name: str) -> str:
    folded = normalize("NFKD", normalize("NFKC", name).casefold())
    letters = "".join(
        character for character in folded if category(character)[0] in "LN" and not _is_invisible(character)
    )
    for pair, letter in LOOKS_LIKE.items():
        letters = letters.replace(pair, letter)
    return letters


def _is_plain(name: str) -> bool:
    return len(name) <= LONGEST_OWN_NAME and NO_NAME.search(name) is None


def _visible(text: str) -> str:
    return "".join(" " if character.isspace() else character for character in text if not _is_invisible(character))


def _is_invisible(character: str) -> bool:
    is_ignorable = any(first <= ord(character) <= last for first, last in IGNORABLE)
    return is_ignorable or (category(character)[0] == "C" and not character.isspace())
