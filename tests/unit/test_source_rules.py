"""Rules of the source that no tool checks: the length of files, and `fmt: skip` for tables only."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("livestate", "api", "clients/js/src")
MAX_LINES = 350
MIN_VALUES = 6  # a shorter table fits one value a line


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
