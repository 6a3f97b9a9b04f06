"""Files that the page saves: no spreadsheet of any locale runs a cell, and names are readable."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from playwright.async_api import Page

from tests.page.test_vectors import modules
from tests.pages import browser, in_one_loop, page

__all__ = ["browser", "modules", "page"]
pytestmark = in_one_loop

FORMULAS = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "﹦", "﹢", "﹣", "﹫", "−")
HIDERS = ("", " ", "  ", "\t", "\r", "\n", "\r\n", "\u00a0", "\u200b", "\ufeff", "\u202e", "\0",
          '"', "'", '""', ' "', "\u2028")  # fmt: skip
BEFORE = ("", "a;", "a,", "a\t", "a|", "a\n", 'a";', '";"', "a;;", ";", "x\r\n", '",', '\n"')


def hostile() -> list[str]:
    return [f"{before}{hider}{formula}cmd|'/C calc'!A0" for before in BEFORE
            for hider in HIDERS for formula in FORMULAS]  # fmt: skip


async def saved(page: Page, texts: list[str]) -> tuple[str, str]:
    """The two files of calls whose callers have these names."""
    result: list[str] = await page.evaluate(
        """async (texts) => {
            const { csv, json } = await import("/static/table/export.js");
            const calls = () => texts.map((from, at) => [`k${at}`, { from, to: "112", v: at }]);
            const about = { as_of: 1, truth: "live" };
            return [csv(calls(), false, about), json(calls(), false, about)];
        }""",
        texts,
    )
    return result[0], result[1]


def cells(text: str, separator: str) -> list[str]:
    """As a spreadsheet of a locale reads it that separates by ``separator``: with its quotes, and
    where another program has taken those for text."""
    body = text.removeprefix("\ufeff")
    quoted = [one for row in csv.reader(io.StringIO(body, newline=""), delimiter=separator)
              for one in row]  # fmt: skip
    plain = [one for line in body.splitlines() for one in line.split(separator)]
    return [*quoted, *plain]


def runs(cell: str) -> bool:
    begins = cell.lstrip(' \t\r\n"\u00a0')
    return begins[:1] in FORMULAS and not begins.lstrip("+").isdecimal()


async def test_no_cell_is_a_formula_in_any_locale(modules: Page) -> None:
    table, _ = await saved(modules, hostile())
    for separator in ",;\t|":
        assert [one for one in cells(table, separator) if runs(one)][:5] == []


async def test_a_file_for_spreadsheets_is_readable_and_keeps_numbers(modules: Page) -> None:
    texts = ["Zoë Ünal", "+39021234567", "0039 02 111", "a;b, c", 'say "hi"', "山田＝太郎", "-"]
    table, _ = await saved(modules, texts)
    assert table.startswith("\ufeffstate,from,to,")
    read = [row["from"] for row in csv.DictReader(io.StringIO(table.removeprefix("\ufeff")))]
    assert read == [*texts[:-1], "'-"]


async def test_what_cannot_be_seen_is_a_sign_in_a_saved_file(modules: Page) -> None:
    texts = ["\u202egnp.exe", "a\u200bb", "a\x1b[2J", "a\u2028b", "a\nb", "\ufeffx"]
    table, document = await saved(modules, texts)
    for sign in "\u202e\u200b\x1b\u2028":
        assert sign not in table
        assert sign not in document
    assert "⟨U+202E⟩gnp.exe" in table
    assert table.count("\ufeff") == 1
    records: dict[str, Any] = json.loads(document)["calls"]  # a program reads what it was
    assert [one["from"] for one in records.values()] == texts


async def test_a_time_that_no_calendar_has_costs_no_file(modules: Page) -> None:
    result: list[str] = await modules.evaluate(
        """async () => {
            const { csv } = await import("/static/table/export.js");
            const { timeOfDay } = await import("/static/text/text.js");
            const calls = [["k1", { from: "111", setup_at: 2 ** 53 - 1, v: 1 }],
                           ["k2", { from: "222", setup_at: 0, v: 2 }]];
            return [csv(calls, false, { as_of: 2 ** 53, truth: "live" }), timeOfDay(2 ** 53 - 1)];
        }"""
    )
    _, first, second = result[0].splitlines()
    assert "111" in first
    assert "222" in second
    assert "1970-01-01" in second
    assert result[1] == "–"
