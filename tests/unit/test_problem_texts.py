"""Problems in the language of their reader: none that a person can get is missing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from quart import Quart, Request, Response, request

from api import problem_texts, texts
from api.http.problem import details, problem
from api.problem_texts import in_words, translated

ROOT = Path(__file__).parents[2]
# What writes a problem → which of its arguments is the English text.
WRITERS = {"problem": 1, "Unauthenticated": 0, "Forbidden": 0, "UnknownFilter": 0, "Unavailable": 0,
           "NotAvailable": 0}  # fmt: skip
# What only programs get: of providers (logout), of monitoring; details of a provider's protocol.
PROGRAMS = {"provider_logout.py", "health.py", "oidc.py"}


def written() -> Iterator[tuple[str, str]]:
    """Each English text of a problem in the source, with its place; a value is an ``x``."""
    sources = [*(ROOT / "api").rglob("*.py"), *(ROOT / "livestate" / "state").rglob("*.py")]
    for path in sources:
        if path.name in PROGRAMS or "cli" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            at = WRITERS.get(node.func.id)
            if at is None or len(node.args) <= at:
                continue
            match node.args[at]:
                case ast.Constant(value=str(found)):
                    yield f"{path.name}:{node.lineno}", found
                case ast.JoinedStr(values=parts) if any(
                    isinstance(part, ast.Constant) and str(part.value).strip(". ") for part in parts
                ):
                    yield (
                        f"{path.name}:{node.lineno}",
                        "".join(
                            str(part.value) if isinstance(part, ast.Constant) else "x"
                            for part in parts
                        ),
                    )


def test_every_problem_that_a_person_can_get_is_in_the_catalogue() -> None:
    found = list(written())
    assert len(found) > 80
    assert [one for one in found if translated(one[1], "en") != one[1]] == []


def test_no_text_of_the_catalogue_is_left_over() -> None:
    source = "".join(
        path.read_text() for house in ("api", "livestate") for path in (ROOT / house).rglob("*.py")
    ).replace('\\"', '"')
    parts = {
        key: [part for part in problem_texts._HOLE.split(one)[::2] if part.strip()]
        for key, one in texts.LANGUAGES["en"].items()
        if key.startswith("problem.") and not key.startswith("problem.title.")
    }
    # A long text stands on two lines of the source: compare by its first words.
    assert [
        key for key, of in parts.items() if not any(part[:24].strip() in source for part in of)
    ] == []


@pytest.mark.parametrize(
    ("english", "italian"),
    [
        ("No such call, or not one of yours.", "Questa chiamata non esiste o non è tra le tue."),
        ("the claim 'role' is out of range", "il claim 'role' è fuori dai limiti"),
        ("The keys of the identity provider could not be read yet.",
         "Le chiavi del provider di identità non sono ancora state lette."),
        ("at most 20 trunks of 1 to 64 characters each",
         "al massimo 20 trunk, ciascuno da 1 a 64 caratteri"),
    ],
)  # fmt: skip
def test_a_problem_keeps_its_values(english: str, italian: str) -> None:
    assert translated(english, "it") == italian


async def answer(language: str | None, given: Response) -> Response:
    app = Quart(__name__)
    headers = {} if language is None else {"Accept-Language": language}
    async with app.test_request_context("/api/v1/session", headers=headers):
        assert isinstance(request._get_current_object(), Request)  # type: ignore[attr-defined]
        await in_words(request, given)
    return given


@pytest.mark.parametrize("language", [None, "*", "en", "de, en;q=0.5", "de"])
async def test_who_asks_for_no_language_of_ours_gets_the_bytes_of_before(
    language: str | None,
) -> None:
    found = await answer(language, problem(401, "log in first"))
    assert await found.get_data() == details(401, "log in first")
    assert "Content-Language" not in found.headers
    assert found.headers["Vary"] == "Accept-Language"


async def test_a_problem_is_in_the_language_asked_for() -> None:
    given = problem(404, "No such call, or not one of yours.", members={"kept_seconds": 300})
    found = await answer("it-CH, en;q=0.5", given)
    assert await found.get_json() == {
        "type": "about:blank", "title": "Non trovato", "status": 404, "kept_seconds": 300,
        "detail": "Questa chiamata non esiste o non è tra le tue.",
    }  # fmt: skip
    assert found.headers["Content-Language"] == "it"
    assert found.headers["Vary"] == "Accept-Language"


async def test_a_problem_that_no_language_has_stays_english() -> None:
    found = await answer("it", problem(400, "something of tomorrow"))
    assert (await found.get_json())["detail"] == "something of tomorrow"
    assert (await found.get_json())["title"] == "Bad Request"


async def test_another_language_is_one_file_for_the_api_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A language that nobody speaks: the file of English with one text translated."""
    path = ROOT / "api" / "dashboard" / "text" / "languages" / "en.js"
    source = path.read_text().replace('"log in first"', '"xx: enter"')
    monkeypatch.setitem(texts.LANGUAGES, "xx", texts.read(source))
    found = await answer("xx", problem(401, "log in first"))
    assert (await found.get_json())["detail"] == "xx: enter"
    assert found.headers["Content-Language"] == "xx"
