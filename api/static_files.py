"""What is served below ``/static/``, in memory: each file of the page, and its bundles.

A bundle is all scripts, or all style sheets, of one page (:mod:`api.bundle`). A page names it with
``?v=`` and a hash of its content, so a browser may keep it for a year and asks for nothing when it
comes back. Any other address of a file is checked at each use, by its entity tag: also one with
the ``v`` of another version, which a page has that was loaded just before an update.

Everything is packed once. :func:`prepare` does it for the pages when a process starts, because 50
ms are too long to hold the event loop for.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from functools import cache
from typing import Final, NamedTuple

from quart import Request, Response

from api import bundle
from api.assets import ASSETS, DASHBOARD, PAGES
from api.http.headers import quality

IMMUTABLE: Final = "public, max-age=31536000, immutable"  # RFC 8246
CHECKED: Final = "public, max-age=0"
_SCRIPT: Final = ".bundle.js"
_MAP: Final = ".bundle.js.map"
_SHEET: Final = ".bundle.css"
_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".map": "application/json",
}
_LEAST_BYTES: Final = 512  # below that, gzip saves no packet


class StaticFile(NamedTuple):
    body: bytes
    gzipped: bytes | None  # None: not shorter
    content_type: str
    version: str


def _pages() -> dict[str, bundle.Parts]:
    """Of which files each page is made, by the page's name."""
    names = {name: DASHBOARD / name for name in PAGES}
    names |= {name: path for name, path in ASSETS.items() if path.suffix == ".html"}
    found = {name: bundle.parts(path.read_text()) for name, path in names.items()}
    return {name: parts for name, parts in found.items() if parts.script is not None}


@cache
def _script(name: str) -> bundle.Script:
    return bundle.script(name, _read)


@cache
def _sheets() -> dict[str, str]:
    """Each bundle of style sheets by its name."""
    return {
        name.removesuffix(".html") + _SHEET: bundle.styles(parts.sheets, _read)
        for name, parts in _pages().items()
    }


@cache
def _scripts() -> frozenset[str]:
    return frozenset(parts.script for parts in _pages().values() if parts.script is not None)


def _read(name: str) -> str:
    return ASSETS[name].read_text()


def _content(name: str) -> bytes | None:
    for suffix in (_MAP, _SCRIPT):
        entry = name.removesuffix(suffix) + ".js"
        if name.endswith(suffix) and entry in _scripts():
            made = _script(entry)
            if suffix == _MAP:
                return made.source_map.encode()
            where = name.rpartition("/")[2]
            return f"{made.code}//# sourceMappingURL={where}.map\n".encode()
    if name.endswith(_SHEET) and name in _sheets():
        return _sheets()[name].encode()
    path = ASSETS.get(name)
    return None if path is None else path.read_bytes()


# Bounded by the names that there are: a name that is unknown raises, which `cache` does not keep.
@cache
def _file(name: str) -> StaticFile:
    body = _content(name)
    if body is None:
        raise KeyError(name)
    suffix = "." + name.rpartition(".")[2]
    packed = gzip.compress(body, 6, mtime=0) if len(body) >= _LEAST_BYTES else body
    return StaticFile(
        body,
        packed if len(packed) < len(body) else None,
        _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream",
        hashlib.sha256(body).hexdigest()[:12],
    )


def static_file(name: str) -> StaticFile | None:
    """The file of this name below ``/static/``. An unknown name never reaches the file system."""
    try:
        return _file(name)
    except KeyError:
        return None


def addresses(page: str) -> dict[str, str] | None:
    """The bundles of a page, below ``/static/``, by ``css`` and ``js``. None: it has none."""
    parts = _pages().get(page)
    if parts is None or parts.script is None:
        return None
    names = {
        "css": page.removesuffix(".html") + _SHEET,
        "js": parts.script.removesuffix(".js") + _SCRIPT,
    }
    return {kind: f"{name}?v={_file(name).version}" for kind, name in names.items()}


def prepare() -> None:
    """Make the bundles of all pages."""
    for page in _pages():
        addresses(page)


async def response(request: Request, name: str) -> Response | None:
    """The response to a request for a file; None: there is none of this name."""
    found = static_file(name)
    if found is None:
        return None
    # RFC 9110 §8.8.3.3: each coding has an entity tag of its own.
    wanted = found.gzipped is not None and quality(
        request.headers.getlist("Accept-Encoding"), "gzip"
    )
    body = found.gzipped if wanted and found.gzipped is not None else found.body
    answer = Response(body, content_type=found.content_type)
    if wanted:
        answer.headers["Content-Encoding"] = "gzip"
    if found.gzipped is not None:
        answer.vary.add("Accept-Encoding")
    answer.set_etag(found.version + ("-gzip" if wanted else ""))
    fresh = request.args.get("v") == found.version
    answer.headers["Cache-Control"] = IMMUTABLE if fresh else CHECKED
    await answer.make_conditional(request)
    return answer
