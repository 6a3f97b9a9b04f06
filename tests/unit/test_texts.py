"""The page's texts on the service's side: the language of a request, and filled pages."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from api.assets import DASHBOARD
from api.cli.child_service import Instance
from api.texts import LANGUAGES, best, page, read, text

PAGES = sorted(DASHBOARD.glob("*.html"))


def test_a_file_of_another_form_is_refused() -> None:
    assert read('// x\nexport default {\n  "a.b": "{n} c",\n};\n') == {"a.b": "{n} c"}
    for source in ('export default {\n  "a": "b"\n};\n', 'export default {\n  a: "b",\n};\n', ""):
        with pytest.raises(ValueError):
            read(source)


@pytest.mark.parametrize(
    ("accepted", "code"),
    [
        ([], "en"), (["fr"], "en"), (["*"], "en"), (["en-GB,en;q=0.9"], "en"), ([""], "en"),
        (["fr, *;q=0.1"], "en"), (["it-CH, fr;q=0.9"], "it"), (["it;q=0.4, en;q=0.5"], "en"),
        (["IT"], "it"), (["it;q=0, *"], "en"), (["de;q=0.9, it;q=0.3", "fr"], "it"),
        (["x" * 8000], "en"), (["it;q=2"], "en"),
    ],
)  # fmt: skip
def test_the_language_is_the_one_accepted_most(accepted: list[str], code: str) -> None:
    assert best(accepted) == code


def test_a_text_with_values_and_one_that_is_not_there() -> None:
    assert text("status.paused_and", "it", word="x") == "in pausa, x"
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
            answer = await client.get(where, headers={"Accept-Language": "fr, it;q=0.5"})
            assert answer.status_code == 200
            assert re.search(r'<html [^>]*lang="it"', answer.text)
            assert "Accept-Language" in answer.headers["vary"]
