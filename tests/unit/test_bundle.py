"""The bundles of the pages: what they are made of, and how browsers keep them."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator

import httpx
import pytest

from api import bundle, static_files
from api.assets import ASSETS
from api.cli.child_service import Instance
from api.texts import page

DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
PAGES = ("live-calls.html", "login.html", "device.html", "definitions.html")
NAMED = re.compile(r'(?:src|href)="(?:\.\./)?(?:static/)?([\w.-]+\.bundle\.(?:js|css))\?v=(\w+)"')


def source(name: str) -> str:
    return ASSETS[name].read_text()


def script(**modules: str) -> str:
    named = {f"{name}.js": text for name, text in modules.items()}
    return bundle.script("main.js", lambda name: named[name]).code


def decoded(mappings: str) -> Iterator[tuple[int, int, int]]:
    """(line of the bundle, source, line of the source), all from 0."""
    place = [0, 0, 0, 0]
    for number, line in enumerate(mappings.split(";")):
        if not line:
            continue
        values, value, shift = [], 0, 0
        for character in line:
            digit = DIGITS.index(character)
            value |= (digit & 31) << shift
            shift += 5
            if not digit & 32:
                values.append(-(value >> 1) if value & 1 else value >> 1)
                value = shift = 0
        place = [a + b for a, b in zip(place, values, strict=True)]
        yield number, place[1], place[2]


@pytest.mark.parametrize("entry", ["main.js", "login.js", "device.js", "definitions.js"])
def test_the_source_map_leads_from_each_line_to_its_own(entry: str) -> None:
    made = bundle.script(entry, source)
    lines = made.code.split("\n")
    found = json.loads(made.source_map)
    sources = [source(name).split("\n") for name in found["sources"]]
    mapped = list(decoded(found["mappings"]))
    assert len(mapped) == sum(map(len, sources))
    for line, number, original in mapped:
        wanted = sources[number][original]
        if not wanted.startswith(("import", "export", "  ", "}")) and "import(" not in wanted:
            assert lines[line] == wanted


@pytest.mark.parametrize(
    "form",
    [
        "export let a = 1;", "export var a = 1;", 'import "./b.js";',
        'import a, { c } from "./b.js";', "export default class {}", "export default 1;",
        "export const { a } = b;", "import { a } from './b.js';", 'import { a } from "./b.js"',
    ],
)  # fmt: skip
def test_a_form_that_is_not_known_is_refused(form: str) -> None:
    with pytest.raises(bundle.UnknownForm, match=re.escape(f"main.js: {form}"[:20])):
        script(main=f"// x\n{form}\n", b="export const a = 1;\n")


def test_modules_that_import_each_other_are_refused() -> None:
    with pytest.raises(bundle.UnknownForm, match=r"main.js → b.js → main.js"):
        script(main='import { b } from "./b.js";\n', b='import { c } from "./main.js";\n')


def test_each_module_runs_once_after_those_that_it_imports() -> None:
    code = script(
        main='import { b } from "./b.js";\nimport * as all from "./c.js";\nb(all);\n',
        b='import {\n  c as d,\n} from "./c.js";\nexport async function b() { d(); }\n',
        c='export class c {}\nexport { c as e };\nexport * from "./d.js";\n',
        d="const f = 1;\nexport { f };\n",
    )
    assert re.findall(r"^const (\$\w+) = \(\(\)", code, re.M) == ["$d", "$c", "$b", "$main"]
    assert "const { c: d } = $c;" in code
    assert "return { c, e: c, ...$d };" in code
    assert "const all = $c;" in code


def test_style_sheets_keep_their_order_and_their_pictures() -> None:
    made = static_files.static_file("live-calls.bundle.css")
    assert made is not None
    text = made.body.decode()
    order = [text.index(f"/* styles/{name}.css */") for name in ("base", "table", "screens")]
    assert order == sorted(order)
    assert 'url("../' not in text
    assert text.count('url("data:image/svg+xml,') == text.count("url(")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_names_its_bundles_by_their_content(name: str) -> None:
    filled = page(name, "en")
    found = NAMED.findall(filled)
    assert len(found) == 2 + ("modulepreload" in filled)
    for one, version in found:
        made = static_files.static_file(one)
        assert made is not None
        assert made.version == version
        assert made.gzipped is not None
        assert gzip.decompress(made.gzipped) == made.body
    assert "import {" not in filled


async def test_a_browser_keeps_what_is_named_by_its_content(service: Instance) -> None:
    async with httpx.AsyncClient(base_url=service.url) as client:
        html = (await client.get("/live-calls")).text
        for name, version in NAMED.findall(html):
            address = f"/static/{name}"
            answer = await client.get(f"{address}?v={version}")
            assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert answer.headers["content-encoding"] == "gzip"
            assert answer.headers["vary"] == "Accept-Encoding"
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            plain = await client.get(address, headers={"Accept-Encoding": "identity"})
            assert "content-encoding" not in plain.headers
            assert plain.content == answer.content
            assert plain.headers["etag"] != answer.headers["etag"]
            # A page of the version before, in the middle of an update.
            for other in (address, f"{address}?v=000000000000"):
                checked = await client.get(other)
                assert (checked.status_code, checked.content) == (200, answer.content)
                assert checked.headers["cache-control"] == "public, max-age=0"
                tag = {"If-None-Match": checked.headers["etag"]}
                assert (await client.get(other, headers=tag)).status_code == 304
        for name in ("none.bundle.js", "address.bundle.js", "main.bundle.css", "../app.bundle.js",
                     "main.bundle.js.map.map", ".bundle.js", "live-calls.html"):  # fmt: skip
            assert (await client.get(f"/static/{name}")).status_code == 404, name
        mapped = await client.get("/static/main.bundle.js.map")
        for one in mapped.json()["sources"]:
            assert (await client.get(f"/static/{one}")).content == ASSETS[one].read_bytes()
