"""The page's texts on the service's side: HTML in the language that a browser asks for.

The catalogue is the page's: a language is one file of ``api/dashboard/text/languages/``, whose part
between the braces is JSON but for its last comma. ``api/pages.py`` and ``api/login_setup.py``
fill their HTML from it; the page itself chooses again, because its reader may have set a language.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from functools import cache
from typing import Final

import orjson
from quart import Response, request

from api.assets import DASHBOARD
from api.bundle import joined
from api.http.headers import quality
from api.static_files import addresses

FALLBACK: Final = "en"
_OBJECT: Final = re.compile(r"^export default (\{\n.*),\n\};\n\Z", re.M | re.S)
# `data-t="key"` in a tag names the text of its element, `data-t-title="key"` that of an attribute.
_ELEMENT: Final = re.compile(r'(<[^<>]* data-t="([^"]+)"[^<>]*>)')
_ATTRIBUTE: Final = re.compile(r'data-t-([a-z-]+)="([^"]+)"')


def read(source: str) -> dict[str, str]:
    """The texts of a language's file by key. ValueError: the file has another form."""
    found = _OBJECT.search(source)
    if found is None:
        raise ValueError("not a language file: `export default {`, a text a line, `};`")
    texts: dict[str, str] = orjson.loads(found[1] + "}")
    return texts


def _languages() -> dict[str, dict[str, str]]:
    folder = DASHBOARD / "text" / "languages"
    return {path.stem: read(path.read_text()) for path in sorted(folder.glob("*.js"))}


LANGUAGES: Final = _languages()


def best(accepted: Iterable[str]) -> str:
    """The code of the language that ``Accept-Language`` values want most (RFC 9110 §12.5.4):
    English if they name none that there is. A tag such as ``it-CH`` asks for ``it`` too."""
    values = [re.sub(r"(?i)\b([a-z]{2,3})(?:-[a-z0-9]+)+", r"\1", one) for one in accepted]
    wanted = {code: quality(values, code) for code in LANGUAGES}
    most = max(wanted.values())
    return FALLBACK if wanted[FALLBACK] == most else max(wanted, key=lambda code: wanted[code])


def requested() -> str:
    """The language of the present request. Its response says ``Vary: Accept-Language``."""
    return best(request.headers.getlist("Accept-Language"))


def text(key: str, language: str, **values: str) -> str:
    """The text of a key, with each ``{name}`` replaced by its value."""
    found = LANGUAGES[language].get(key, LANGUAGES[FALLBACK].get(key, key))
    return re.sub(r"\{(\w+)\}", lambda name: values.get(name[1], name[0]), found)


@cache
def page(name: str, language: str) -> str:
    """An HTML file of the dashboard with its texts in a language."""
    source = (DASHBOARD / name).read_text()
    made = addresses(name)
    if made is not None:
        source = joined(source, made)

    def attribute(found: re.Match[str]) -> str:
        return f'{found[0]} {found[1]}="{html.escape(text(found[2], language))}"'

    source = _ATTRIBUTE.sub(attribute, source)
    source = _ELEMENT.sub(
        lambda found: found[1] + html.escape(text(found[2], language), quote=False), source
    )
    return source.replace('<html lang="en"', f'<html lang="{language}"', 1)


def page_response(name: str) -> Response:
    """The file as a response to the present request."""
    response = Response(page(name, requested()), content_type="text/html; charset=utf-8")
    response.headers["Vary"] = "Accept-Language"
    return response
