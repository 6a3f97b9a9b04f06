"""Errors are pages for people and problems for programs."""

from __future__ import annotations

import re

import httpx
import pytest
from quart import Quart, Response, request

from api.cli.child_service import Instance
from api.error_pages import as_page
from api.http.problem import problem, register
from api.http.site import Site

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def resolved(path: str, link: str) -> str:
    """As a browser does (URL Standard, "path state"): ``urljoin`` drops empty segments."""
    segments = path.split("/")[1:-1]
    link = link.removeprefix("./")
    while link.startswith("../"):
        link = link.removeprefix("../")
        segments = segments[:-1]
    return "/".join(["", *segments, link])


@pytest.mark.parametrize(
    ("headers", "page"),
    [
        ({"Accept": BROWSER}, True),
        ({"Accept": "text/html"}, True),
        ({"Accept": "*/*", "Sec-Fetch-Dest": "document"}, True),  # a proxy dropped it
        ({"Accept": "*/*"}, False),  # curl
        ({"Accept": "*/*", "Sec-Fetch-Dest": "script"}, False),
        ({"Accept": "application/json"}, False),
        ({"Accept": "application/json, text/html;q=0.5"}, False),
        ({"Accept": "application/problem+json", "Sec-Fetch-Dest": "document"}, False),
        ({"Accept": "text/html;q=0, */*"}, False),
        ({"Accept": ""}, False),
    ],
)
async def test_a_browser_gets_a_page_and_a_program_a_problem(
    service: Instance, headers: dict[str, str], page: bool
) -> None:
    async with httpx.AsyncClient(base_url=service.url) as client:
        answer = await client.get("/nowhere", headers=headers)
        api = await client.get("/api/v1/nowhere", headers=headers)
    assert answer.status_code == api.status_code == 404
    kind = "text/html; charset=utf-8" if page else "application/problem+json"
    assert answer.headers["content-type"] == kind
    assert {"Accept", "Accept-Language"} <= set(answer.headers["vary"].split(", "))
    assert api.headers["content-type"] == "application/problem+json"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    ["/nowhere", "/a/b/c", "/live-calls/", "//evil.example/", "/static/none.html", "/x%2Fy",
     "/%3Cscript%3Ealert(1)%3C/script%3E", '/"><b>', "/..%2f..%2fetc"],
)  # fmt: skip
@pytest.mark.parametrize("below", ["", "/noc"])
async def test_the_links_of_a_page_lead_to_the_service_below_any_path(
    service: Instance, path: str, below: str
) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.get(service.url + path, headers={"Accept": BROWSER})
    assert answer.status_code == 404
    assert "script>" not in answer.text
    assert path not in answer.text
    links = re.findall(r'href="([^"]*)"', answer.text)
    assert len(links) == 4
    for link, wanted in zip(
        links,
        ("static/icon.svg", "static/styles/base.css", "static/styles/pages.css", "live-calls"),
        strict=True,
    ):
        assert resolved(below + path, link) == f"{below}/{wanted}"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, "no page at this address"),
        (405, "for programs"),
        (500, "Its log has the details"),
        (503, "The provider is away"),
        (400, "It answered 400: &lt;b&gt;"),
    ],
)
async def test_a_page_says_what_happened_and_keeps_status_and_headers(
    status: int, words: str
) -> None:
    app = Quart(__name__, static_folder=None)
    register(app)
    details = {503: "The provider is away.", 400: "<b>"}

    @app.get("/login")
    async def fail() -> Response:
        if status == 500:
            raise RuntimeError("secret")
        return problem(status, details.get(status, "x"), {"Retry-After": "2"})

    @app.after_request
    async def after(response: Response) -> Response:
        await as_page(request, response, Site("/noc"))
        return response

    answer = await app.test_client().get("/login", headers={"Accept": BROWSER})
    body = await answer.get_data(as_text=True)
    assert answer.status_code == status
    assert words in body
    assert "secret" not in body
    assert 'href="/noc/live-calls"' in body
    assert answer.headers["Content-Length"] == str(len(body.encode()))
    assert status == 500 or answer.headers["Retry-After"] == "2"
