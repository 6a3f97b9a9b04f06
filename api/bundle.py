"""Joins the modules of a page to one script, and its style sheets to one, when a process starts.

A page of a hundred small files costs a request each: a second of waiting on a busy machine, and
sixteen rounds of a distant network over HTTP/1.1. The files stay what one reads and edits; nothing
is built beforehand, renamed or shortened, and a source map leads a browser's debugger back to them.

:func:`script` knows the forms of ``import`` and ``export`` that the page uses, and refuses every
other one. Each module becomes a function that runs once, after those that it imports, and returns
what it exports. So an import is a constant: a cycle, or an ``export let``, would see an old value.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple
from urllib.parse import quote

_IMPORT: Final = re.compile(
    r'import (?:(?P<default>\w+)|\* as (?P<all>\w+)|\{(?P<names>[^{}]*)\}) from "(?P<path>[^"]+)";'
)
_FORWARD: Final = re.compile(r'export (?:\*|\{(?P<names>[^{}]*)\}) from "(?P<path>[^"]+)";')
_LIST: Final = re.compile(r"export \{(?P<names>[^{}]*)\};")
_DECLARED: Final = re.compile(
    r"export (?P<what>(?:async )?function|class|const) (?P<name>[A-Za-z_$][\w$]*)"
)
_DEFAULT: Final = re.compile(r"export default (?=\{\n)")
_STATEMENT: Final = re.compile(r"^(?:import|export)\b(?!\()", re.M)
_LATER: Final = re.compile(r'\bimport\("([^"]+)"\)')  # stays a request of its own
_URL: Final = re.compile(r'url\("([^"]+)"\)')
_BASE64: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


class UnknownForm(ValueError):
    """A module imports or exports in a way that :func:`script` does not know."""


class Script(NamedTuple):
    code: str
    source_map: str  # JSON (ECMA-426), whose sources are named relative to the code's address


class _Module(NamedTuple):
    imports: list[str]
    code: str  # as many lines as the source has, so a line of one is a line of the other
    result: str  # a JavaScript object of what it exports


def script(entry: str, read: Callable[[str], str]) -> Script:
    """The module ``entry`` and all that it imports. ``read`` gives the source of a module by its
    name, a path from the address of the script. Raises :class:`UnknownForm`."""
    modules: dict[str, _Module] = {}  # each after those that it imports

    def add(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise UnknownForm(f"{name} imports itself: {' → '.join((*above, name))}")
        if name not in modules:
            module = _module(name, read(name))
            for imported in module.imports:
                add(imported, (*above, name))
            modules[name] = module

    add(entry, ())
    lines: list[str] = []
    places: list[tuple[int, int] | None] = []  # of each line: source and line in it
    for number, (name, module) in enumerate(modules.items()):
        body = module.code.split("\n")
        lines += [f"const {_variable(name)} = (() => {{ // {name}", *body]
        lines.append(f"return {module.result}; }})();")
        places += [None, *((number, line) for line in range(len(body))), None]
    return Script("\n".join(lines) + "\n", _source_map(list(modules), places))


def _module(name: str, source: str) -> _Module:
    imports: list[str] = []
    exports: dict[str, None] = {}  # parts of an object literal
    pieces: list[str] = []
    done = 0

    def imported(path: str) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
        imports.append(target)
        return _variable(target)

    for statement in _STATEMENT.finditer(source):
        at = statement.start()
        code = ""
        if found := _DECLARED.match(source, at):
            exports[found["name"]] = None
            code = found["what"] + " " + found["name"]
        elif found := _DEFAULT.match(source, at):
            exports["default: $default"] = None
            code = "const $default = "
        elif found := _IMPORT.match(source, at):
            module = imported(found["path"])
            if found["default"]:
                code = f"const {found['default']} = {module}.default;"
            elif found["all"]:
                code = f"const {found['all']} = {module};"
            else:
                names = ", ".join(a if a == b else f"{a}: {b}" for a, b in _names(found["names"]))
                code = f"const {{ {names} }} = {module};"
        elif found := _FORWARD.match(source, at):
            module = imported(found["path"])
            if found["names"] is None:
                exports[f"...{module}"] = None
            else:
                exports |= {f"{b}: {module}.{a}": None for a, b in _names(found["names"])}
        elif found := _LIST.match(source, at):
            exports |= {f"{b}: {a}": None for a, b in _names(found["names"])}
        else:
            line = source[at:].partition("\n")[0]
            raise UnknownForm(f"{name}: {line}")
        pieces += [source[done:at], code, "\n" * found[0].count("\n")]
        done = found.end()
    pieces.append(source[done:])

    def later(found: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(name), found[1]))
        return f'import("./{path}")'

    code = _LATER.sub(later, "".join(pieces))
    return _Module(imports, code, f"{{ {', '.join(exports)} }}")


def _names(listed: str) -> Iterator[tuple[str, str]]:
    """``a as b, c`` → (a, b), (c, c)."""
    for one in filter(None, map(str.strip, listed.split(","))):
        inner, _, outer = one.partition(" as ")
        yield inner, outer or inner


def _variable(name: str) -> str:
    return "$" + re.sub(r"\W", "_", name.removesuffix(".js"))


def _source_map(names: list[str], places: list[tuple[int, int] | None]) -> str:
    """Whole lines: each place is that of the line's first character (ECMA-426 §6)."""
    mappings: list[str] = []
    last_source = last_line = 0
    for place in places:
        if place is None:
            mappings.append("")
            continue
        source, line = place
        values = (0, source - last_source, line - last_line, 0)
        mappings.append("".join(map(_base64_vlq, values)))
        last_source, last_line = place
    return json.dumps({"version": 3, "sources": names, "names": [], "mappings": ";".join(mappings)})


def _base64_vlq(value: int) -> str:
    rest = (-value << 1 | 1) if value < 0 else value << 1
    digits = ""
    while True:
        rest, digit = rest >> 5, rest & 31
        digits += _BASE64[digit | 32 if rest else digit]
        if not rest:
            return digits


def styles(names: list[str], read: Callable[[str], str]) -> str:
    """Style sheets in their order, with the pictures that they name inside: each is smaller than
    the head of the request that would ask for it."""

    def inline(name: str) -> str:
        def picture(found: re.Match[str]) -> str:
            path = posixpath.normpath(posixpath.join(posixpath.dirname(name), found[1]))
            if not path.endswith(".svg"):
                raise UnknownForm(f"{name}: {found[0]}")
            return f'url("data:image/svg+xml,{quote(read(path).strip(), safe=" =:/()")}")'

        return _URL.sub(picture, read(name))

    return "\n".join(f"/* {name} */\n{inline(name)}" for name in names)


_SHEETS: Final = re.compile(r'(?:^ *<link rel="stylesheet" href="[^"]+">\n)+', re.M)
_SHEET: Final = re.compile(r'href="((?:\.\./)*(?:static/)?)([^"]+)"')
_SCRIPT: Final = re.compile(r'(<script type="module" src="(?:\.\./)*(?:static/)?)([^"]+)(")')


class Parts(NamedTuple):
    """Of which files a page is made, by their names below ``/static/``."""

    sheets: list[str]
    script: str | None


def parts(html: str) -> Parts:
    """What an HTML file loads."""
    block = _SHEETS.search(html)
    sheets = [name for _, name in _SHEET.findall(block[0])] if block else []
    found = _SCRIPT.search(html)
    return Parts(sheets, found[2] if found else None)


def joined(html: str, address: Mapping[str, str]) -> str:
    """The HTML file with one style sheet and one script. ``address``: the names of both, by
    ``css`` and ``js``, below ``/static/``."""

    def sheet(found: re.Match[str]) -> str:
        first = _SHEET.search(found[0])
        root = first[1] if first else ""
        return f'  <link rel="stylesheet" href="{root}{address["css"]}">\n'

    html = _SHEETS.sub(sheet, html, count=1)
    return _SCRIPT.sub(lambda found: f"{found[1]}{address['js']}{found[3]}", html, count=1)
