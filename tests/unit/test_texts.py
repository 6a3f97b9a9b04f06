"""The page's texts: all in the catalogue, and every language complete."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.assets import DASHBOARD
from api.cli.child_service import Instance
from api.texts import LANGUAGES, best, page, read, text

SOURCES = sorted(
    path
    for path in DASHBOARD.rglob("*.js")
    if not {"languages", "client", "vendor"} & set(path.parts)
)
PAGES = sorted(DASHBOARD.glob("*.html"))
SERVICE = sorted(DASHBOARD.parent.glob("*.py"))
CATEGORY = re.compile(r"\.(zero|one|two|few|many|other)$")  # of Intl.PluralRules
HOLE = re.compile(r"\{(\w+)\}")
# One literal, comment or regular expression after another; what is left over is code.
TOKEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/|(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`)"""
    r"""|(?:(?<=[=(,:[!&|?])|(?<=return))\s*/(?:[^/\\\n[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/[a-z]*""",
    re.S,
)
SHOWN = re.compile(  # code after which a literal is a text for a person
    r"""(?:textContent|innerText|\btitle|placeholder|ariaLabel)\s*[=:]\s*$"""
    r"""|setText\([^;]*,\s*$|setAttribute\(\s*"(?:title|aria-label|placeholder|alt)",\s*$|showMessage\(\s*$"""
)
WORD = re.compile(r"[^\W\d_]{2,}")
PROSE = re.compile(r"[^\W\d_]{2,},? [^\W\d_]{2,}")
# Literals with a space that no person reads: selectors, media queries, channels, states.
NO_PROSE = {
    "'\"mario rossi\"'", '"(max-width: 800px)"', '"catching up"', '"signed out"', '"code fault"',
    '"input, select, textarea, button, a"', '"noopener noreferrer"', '`${name} number`',
    '`livestate login ${new URL(".", location).pathname}`',
}  # fmt: skip
PROTOCOL = {"responses.js"}  # reason phrases of SIP, which stay as carriers send them


def literals(source: str) -> Iterator[tuple[str, str]]:
    """Each literal of a source with the code in front of it."""
    for found in TOKEN.finditer(source):
        if found["text"] is not None:
            yield source[max(0, found.start() - 80) : found.start()], found["text"]


def prose(source: str) -> list[str]:
    """The literals that look like texts for a person."""
    found = []
    for before, literal in literals(source):
        bare = re.sub(r"\$\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}", "", literal)
        shown = SHOWN.search(before) is not None and WORD.search(bare) is not None
        if literal in NO_PROSE or re.search(r"className\s*[=:]\s*$", before):
            continue
        if shown or PROSE.search(bare):
            found.append(literal)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(DASHBOARD).as_posix())
def test_no_module_of_the_page_holds_a_text_of_its_own(path: Path) -> None:
    if path.name not in PROTOCOL:
        assert prose(path.read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        'setText(byId("x"), "Gone");', "button.textContent = `${count} shown`;",
        'const REASONS = { a: "The service is starting." };', 'element.title = "Close";',
        'box.setAttribute("aria-label", "Views");', 'return `of ${whole(count)} calls now`;',
    ],
)  # fmt: skip
def test_such_a_text_would_be_found(line: str) -> None:
    assert prose(line) != []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_html_holds_a_text_of_its_own(path: Path) -> None:
    source = re.sub(
        r"<!--.*?-->|<a [^>]*rel=\"noreferrer\">[^<]+</a>", "", path.read_text(), flags=re.S
    )
    shown = re.findall(r">([^<]+)<", source)
    assert [one for one in shown if WORD.search(one) and one not in ("CSV", "JSON")] == []
    named = re.findall(r' (?:title|aria-label|placeholder|alt)="([^"]*)"', source)
    assert [one for one in named if len(one) > 1 and one != "Esc"] == []


def test_every_text_that_is_named_is_there() -> None:
    en = LANGUAGES["en"]
    sources = "".join(path.read_text() for path in (*SOURCES, *PAGES))
    named = set(re.findall(r"\bt\(\s*\"([^\"]+)\"", sources))
    named |= set(re.findall(r'data-t(?:-[a-z-]+)?="([^"]+)"', sources))
    assert len(named) > 150
    assert named - set(en) == set()


def test_every_text_is_used() -> None:
    sources = "".join(path.read_text() for path in (*SOURCES, *PAGES, *SERVICE))
    # A key may be put together: `settings.${name}`.
    parts = re.findall(r"[`\"](\w+(?:\.[\w ]*)+)(?=[$`\"])", sources)
    unused = [key for key in LANGUAGES["en"]
              if not any(CATEGORY.sub("", key).startswith(part) for part in parts)]  # fmt: skip
    assert unused == []


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_language_has_the_keys_and_placeholders_of_english(code: str) -> None:
    def holes(texts: dict[str, str]) -> dict[str, set[str]]:
        return {CATEGORY.sub(".*", key): set(HOLE.findall(one)) for key, one in texts.items()}

    texts, en = LANGUAGES[code], LANGUAGES["en"]
    assert holes(texts) == holes(en)
    assert {key for key in en if key.endswith(".other")} <= set(texts)
    assert [key for key, one in texts.items() if not one and en.get(key)] == []
    assert [
        one for one in texts.values() if one != one.strip() and one.strip() not in ("or", "o")
    ] == []


@pytest.mark.parametrize("code", LANGUAGES)
def test_the_page_knows_every_language(code: str) -> None:
    source = (DASHBOARD / "text" / "catalogue.js").read_text()
    assert f'import {code} from "./languages/{code}.js";' in source


def test_a_file_of_another_form_is_refused() -> None:
    assert read('// x\nexport default {\n  "a.b": "{n} c",\n};\n') == {"a.b": "{n} c"}
    for source in ('export default {\n  "a": "b"\n};\n', 'export default {\n  a: "b",\n};\n', ""):
        with pytest.raises(ValueError):
            read(source)


@pytest.mark.parametrize(
    ("accepted", "code"),
    [
        ([], "en"), (["fr"], "en"), (["*"], "en"), (["en-GB,en;q=0.9"], "en"), ([""], "en"),
        (["fr, *;q=0.1"], "en"), (["x" * 8000], "en"), (["it;q=2"], "en"),
    ],
)  # fmt: skip
def test_the_language_is_the_one_accepted_most(accepted: list[str], code: str) -> None:
    assert best(accepted) == code


def test_a_text_with_values_and_one_that_is_not_there() -> None:
    assert text("status.paused_and", "en", word="<b>") == "paused, <b>"
    assert text("no.such.key", "en") == "no.such.key"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
@pytest.mark.parametrize("code", LANGUAGES)
def test_a_page_is_filled_with_texts(path: Path, code: str) -> None:
    filled = page(path.name, code)
    assert f'<html lang="{code}"' in filled
    title = re.search(r"<title[^>]*>([^<]+)</title>", filled)
    assert title is not None
    assert title[1] in LANGUAGES[code].values()
    assert not re.search(r'data-t="[^"]*"[^>]*></', filled)


async def test_the_service_writes_pages_in_the_readers_language(service: Instance) -> None:
    async with httpx.AsyncClient(base_url=service.url) as client:
        for where in ("/live-calls", "/login", "/static/definitions.html"):
            answer = await client.get(where, headers={"Accept-Language": "fr, en;q=0.5"})
            assert answer.status_code == 200
            assert re.search(r'<html [^>]*lang="en"', answer.text)
            assert "Accept-Language" in answer.headers["vary"]
