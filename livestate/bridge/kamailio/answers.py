"""Reads the dialogs in an answer to ``dlg.list``, one after the other.

The source and ``livestate bridge --check`` call :func:`dialogs_in`. With 50,000 dialogs the answer
has 20 to 40 MB. Decoded in one call it would hold the event loop for a second, and Kamailio blocks
all SIP while its evapi client does not read. So one dialog is decoded a step, and the caller lets
the loop run in between. A dialog with bytes that are not UTF-8 costs the slow decoding of that
dialog only. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import orjson

LIST_ID: Final = b'"livestate-list"'
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_WHITE: Final = re.compile(r"[ \t\n\r]*")
# Finds where a value ends. Numbers become their length: Python refuses to convert 5,000 digits.
_DECODER: Final = json.JSONDecoder(strict=False, parse_int=len, parse_float=len)


def decoded(raw: bytes) -> Any:
    """JSON as Kamailio writes it: a caller's name may hold bytes that are not UTF-8, control
    characters, or half of a surrogate pair, which becomes U+FFFD because JSON for clients cannot
    hold it. Raises ValueError or RecursionError."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        text = _SURROGATE.sub(r"\\ufffd", raw.decode("utf-8", "replace"))
        return json.loads(text, strict=False)


def is_list(raw: bytes) -> bool:
    """Whether a frame is an answer to ``dlg.list``, for :func:`dialogs_in` to read."""
    return b'"jsonrpc"' in raw[:200] and (LIST_ID in raw[-200:] or LIST_ID in raw[:200])


# The scanner walks over the outer object and finds where each element of ``result`` ends, then
# decodes the bytes of that element alone. Latin-1 maps each byte to one character, so offsets in
# the text are offsets in ``raw``, whatever the bytes are.
def dialogs_in(raw: bytes) -> Iterator[Any]:
    """Each element of the array ``result`` of a JSON object; one that cannot be decoded, as text.
    Raises ValueError or RecursionError where the frame is not JSON or ``result`` is no array."""
    text = raw.decode("latin-1")
    at = _expect(text, 0, "{")
    found = False
    error = "no result"
    while True:
        key, at = _DECODER.raw_decode(text, at)
        at = _expect(text, at, ":")
        if key == "result" and text[at : at + 1] == "[":
            found = True
            at = _skip(text, at + 1)
            while text[at : at + 1] != "]":
                _, end = _DECODER.raw_decode(text, at)
                yield _dialog(raw[at:end])
                at = _skip(text, end)
                if text[at : at + 1] != "]":
                    at = _expect(text, at, ",")
            at = _skip(text, at + 1)
        else:
            value, end = _DECODER.raw_decode(text, at)
            error = str(value)[:100] if key == "error" else error
            at = _skip(text, end)
        if text[at : at + 1] == "}":
            break
        at = _expect(text, at, ",")
    if not found:
        raise ValueError(f"dlg.list failed: {error}")


def _dialog(raw: bytes) -> Any:
    try:
        return decoded(raw)
    except (ValueError, RecursionError):
        return raw[:200].decode("utf-8", "replace")  # rejected as a dialog; shown in the log


def _skip(text: str, at: int) -> int:
    match = _WHITE.match(text, at)
    return match.end() if match else at


def _expect(text: str, at: int, mark: str) -> int:
    """The offset behind ``mark`` and white space. Raises ValueError for another character."""
    at = _skip(text, at)
    if text[at : at + 1] != mark:
        raise ValueError(f"not JSON: {mark} expected at byte {at}")
    return _skip(text, at + 1)
