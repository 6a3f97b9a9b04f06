"""Commands print callers' text so that no character is invisible or leaves its column."""

from __future__ import annotations

import pytest

from api.cli.terminal import plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Zoë Ünal 📞", "Zoë Ünal 📞"), (7, "7"), ("a\x1b[2J\x9b\u202eb", "a�[2J��b"),
        ("Vie\u0323\u0302t \u0939\u093f\u0902\u0926\u0940",
         "Vie\u0323\u0302t \u0939\u093f\u0902\u0926\u0940"),
        ("a" + "\u0301" * 5 + "b", "a\u0301\u0301\u0301��b"), ("\u0301a", "�a"),
        ("\u2764\ufe0f 1\ufe0f", "\u2764\ufe0f 1�"),
        ("\u3164\uffa0\u2800\u115f\u034f\u180b", "�" * 6),
        ("\U000e0000\U000e0041\U000e0100\ufe01\u2065", "�" * 5),
    ],
)  # fmt: skip
def test_what_cannot_be_seen_is_shown_as_a_sign(text: object, shown: str) -> None:
    assert plain(text) == shown
