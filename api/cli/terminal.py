"""Prints untrusted text safely, and reads a command's token."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from typing import Final

import click

from api.auth import demo_key
from api.settings import PREFIX

# Printable to Python, but a terminal draws nothing for them (Default_Ignorable_Code_Point), only a
# blank (U+2800), or draws them over other text (the fourth mark of a letter, see text.js).
_UNSEEN: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0d\uffa0\U000e0100-\U000e01ef]"
    "|(?<![\u203c-\u3299\U0001f000-\U0001faff])[\ufe0e\ufe0f]"  # of an emoji: its colours
)
_MARKS: Final = frozenset({"Mn", "Me"})
MOST_MARKS: Final = 3


def plain(text: object) -> str:
    """Text for a terminal: no escape sequence, no control character, no bidi override, nothing
    that cannot be seen. Each is shown as U+FFFD."""
    shown, marks = [], MOST_MARKS  # a mark without a letter stands on the text before it
    for sign in _UNSEEN.sub("�", str(text)):
        marks = marks + 1 if unicodedata.category(sign) in _MARKS else 0
        shown.append(sign if sign.isprintable() and marks <= MOST_MARKS else "�")
    return "".join(shown)


def login_token(given: str | None, file: Path | None) -> str:
    """The token to log in with: ``--token``, else the first line of a file (``-`` is standard
    input), else one of the demo key, as noc. What is given on the command line is seen by every
    user of the machine (``ps``), so the variable LIVESTATE_TOKEN and the file are the better ways.
    Raises :class:`click.ClickException`."""
    if given is not None and file is not None:
        raise click.UsageError("give --token (or LIVESTATE_TOKEN) or --token-file, not both")
    if given is not None:
        return _whole(given, "the token")
    if file is not None:
        return _whole(_first_line(file), str(file))
    directory = Path(os.environ.get(f"{PREFIX}DEMO_KEYS", demo_key.DIRECTORY))
    if not (directory / "demo-key.pem").exists():
        raise click.ClickException(
            f"no token: set {PREFIX}TOKEN or {PREFIX}TOKEN_FILE (there is no demo key here; "
            "see `livestate token`)"
        )
    return demo_key.mint(directory, "noc")


def _first_line(file: Path) -> str:
    try:
        with click.open_file(str(file), encoding="utf-8-sig") as opened:
            return str(opened.readline(64 * 1024))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise click.ClickException(f"{file}: {reason}") from error


def _whole(text: str, where: str) -> str:
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise click.ClickException(f"{where} holds no token")  # and it is not shown
    return token
