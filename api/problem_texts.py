"""Problems (RFC 9457) in the language of the person who reads them.

Code writes a problem in English. The same English text stands in the catalogue under a key
``problem.…`` with a ``{hole}`` for each value, and every language of the catalogue has that key:
so a translator adds one file, and code names no key. A request without ``Accept-Language``, as
programs send, gets the English of the code byte for byte; ``type``, ``status`` and extension
members are the same in every language.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Final

import orjson
from quart import Request, Response

from api.texts import FALLBACK, LANGUAGES, best, text

_PREFIX: Final = "problem."
_TITLE: Final = f"{_PREFIX}title."
_HOLE: Final = re.compile(r"\{(\w+)\}")
MEDIA_TYPE: Final = "application/problem+json"


@cache
def _patterns() -> Mapping[str, re.Pattern[str]]:
    """Key → what its English text looks like with values in its holes."""
    texts = {key: one for key, one in LANGUAGES[FALLBACK].items() if key.startswith(_PREFIX)}
    return {
        key: re.compile(
            "".join(
                f"(?P<{part}>.+?)" if number % 2 else re.escape(part)
                for number, part in enumerate(_HOLE.split(english))
            ),
            re.S,
        )
        for key, english in texts.items()
        if not key.startswith(_TITLE)
    }


def translated(detail: str, language: str) -> str | None:
    """The English ``detail`` in a language; None if the catalogue does not have it."""
    for key, pattern in _patterns().items():
        found = pattern.fullmatch(detail)
        if found is not None:
            return text(key, language, **found.groupdict())
    # A reason that was made a sentence: "The token has expired."
    if detail.endswith(".") and detail[0].isupper():
        within = translated(f"{detail[0].lower()}{detail[1:-1]}", language)
        return within and f"{within[0].upper()}{within[1:]}."
    return None


async def in_words(request: Request, response: Response) -> None:
    """Translate a problem for the languages that ``request`` asks for."""
    if response.mimetype != MEDIA_TYPE:
        return
    response.vary.add("Accept-Language")
    language = best(request.headers.getlist("Accept-Language"))
    if language == FALLBACK:
        return
    problem = orjson.loads(await response.get_data())
    detail = translated(problem["detail"], language)
    if detail is None:
        return
    problem["detail"] = detail
    title = LANGUAGES[language].get(f"{_TITLE}{problem['status']}")
    if title is not None and problem["title"] == HTTPStatus(problem["status"]).phrase:
        problem["title"] = title
    response.set_data(orjson.dumps(problem))
    response.content_language.add(language)
