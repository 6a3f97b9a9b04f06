"""The pages, and the files below ``/static/``."""

from __future__ import annotations

from collections.abc import Callable

from quart import Blueprint, Response, request

from api import static_files
from api.assets import ASSETS
from api.http.problem import problem
from api.http.site import Site
from api.texts import page_response


def page_routes(site: Site, *, token_login: bool, is_demo: Callable[[], bool]) -> Blueprint:
    """With ``token_login``, ``/login`` is the page that takes a token from a link. It has a form to
    paste one into while ``is_demo()``: people do not have tokens, a demo prints one."""
    routes = Blueprint("pages", __name__)
    static_files.prepare()

    @routes.get("/live-calls")
    async def page() -> Response:
        return page_response("live-calls.html")

    async def login_page() -> Response:
        # Browsers set this header (Fetch Metadata). A link of another site must not log anybody in
        # without a click; a request without the header is treated like one.
        own = request.headers.get("Sec-Fetch-Site") in ("same-origin", "none")
        marks = ('data-opened="here" ' if own else "") + ("data-demo " if is_demo() else "")
        page = page_response("login.html")
        body = await page.get_data(as_text=True)
        page.set_data(body.replace("<html ", "<html " + marks, 1))
        page.vary.add("Sec-Fetch-Site")
        return page

    if token_login:
        routes.add_url_rule("/login", "login", login_page)

    @routes.get("/static/<path:name>")
    async def asset(name: str) -> Response:
        if name in ASSETS and name.endswith(".html"):
            return page_response(name)
        found = await static_files.response(request, name)
        return found or problem(404, "There is nothing here.")

    @routes.get("/")
    async def root() -> Response:
        # A relative address would be wrong where the path is the prefix without a slash.
        where = f"{site.prefix}/live-calls" if site.prefix else "live-calls"
        return Response(status=302, headers={"Location": where})

    return routes
