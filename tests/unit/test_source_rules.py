"""Rules of the source that no tool checks: the length of files, `fmt: skip` for tables only, and
texts of the page in its catalogue only, in every language."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.assets import DASHBOARD
from api.texts import LANGUAGES

ROOT = Path(__file__).parents[2]
PACKAGES = ("livestate", "api", "clients/js/src")
MAX_LINES = 350
MIN_VALUES = 6  # a shorter table fits one value a line
SCRIPTS = sorted(
    path
    for path in DASHBOARD.rglob("*.js")
    if not {"languages", "client", "vendor"} & set(path.parts)
)
SERVICE = sorted(DASHBOARD.parent.glob("*.py"))
PAGES = sorted(DASHBOARD.glob("*.html"))
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


def sources(*suffixes: str) -> list[Path]:
    found = [path for name in PACKAGES for path in (ROOT / name).rglob("*.*")]
    return sorted(
        path
        for path in found
        if path.suffix in suffixes and not {"node_modules", "vendor"} & set(path.parts)
    )


def test_no_file_is_longer_than_the_rule() -> None:
    # A language is one file, so that a translator needs no other: a text a line.
    lengths = {
        path: len(path.read_text().splitlines())
        for path in sources(".py", ".js", ".css")
        if path.parent.name != "languages"
    }
    assert len(lengths) > 200
    assert {str(path): lines for path, lines in lengths.items() if lines > MAX_LINES} == {}


@pytest.mark.parametrize("path", sources(".py"), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_formatter_is_switched_off_for_tables_only(path: Path) -> None:
    lines = path.read_text().splitlines()
    skips = {number for number, line in enumerate(lines, 1) if "# fmt: " in line}
    if not skips:
        return
    tree = ast.parse(path.read_text())
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    for node in (*tree.body, *(inner for one in classes for inner in one.body)):
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if value is not None and _values(value) >= MIN_VALUES:
            skips.discard(value.end_lineno or 0)
    assert not skips, "these lines close no table of constants"


def _values(node: ast.expr) -> int:
    """How many values a literal of constants and names has; far below 0 if it is none."""
    match node:
        case ast.Call():
            return sum(map(_values, (*node.args, *(one.value for one in node.keywords))))
        case ast.List() | ast.Tuple() | ast.Set():
            return sum(map(_values, node.elts))
        case ast.Dict():
            return sum(map(_values, node.values))
        case ast.Subscript():
            return _values(node.slice)
        case ast.Constant() | ast.Name() | ast.Attribute() | ast.BinOp() | ast.JoinedStr():
            return 1
        case ast.Starred():
            return _values(node.value)
        case ast.GeneratorExp():
            return _values(node.generators[0].iter)
    return -1_000


# -- the texts of the page -----------------------------------------------------------------------


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


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.relative_to(DASHBOARD).as_posix())
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
    found = "".join(path.read_text() for path in (*SCRIPTS, *PAGES))
    named = set(re.findall(r"\bt\(\s*\"([^\"]+)\"", found))
    named |= set(re.findall(r'data-t(?:-[a-z-]+)?="([^"]+)"', found))
    assert len(named) > 150
    assert named - set(en) == set()


def test_every_text_is_used() -> None:
    found = "".join(path.read_text() for path in (*SCRIPTS, *PAGES, *SERVICE))
    # A key may be put together: `settings.${name}`.
    parts = re.findall(r"[`\"](\w+(?:\.[\w ]*)+)(?=[$`\"])", found)
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
