"""The files below ``/static/``: every module that the page imports is one of them."""

from __future__ import annotations

import posixpath
import re

import httpx

from api.assets import ASSETS
from api.cli.child_service import Instance

IMPORT = re.compile(r'^(?:import|export) .*?from "([^"]+)";|^import "([^"]+)";', re.M | re.S)


def test_every_import_of_the_pages_modules_is_served() -> None:
    modules = {name: path for name, path in ASSETS.items() if name.endswith(".js")}
    for name, path in modules.items():
        for found in IMPORT.findall(path.read_text()):
            imported = posixpath.normpath(
                posixpath.join(posixpath.dirname(name), *filter(None, found))
            )
            assert imported in modules, f"{name} imports {imported}"
    assert any(name.startswith("client/") for name in modules)


async def test_the_client_library_is_served_like_the_page(service: Instance) -> None:
    """The same policy, an entity tag that is honoured, and nothing but its modules."""
    async with httpx.AsyncClient(base_url=service.url) as client:
        for name in ("main.js", "client/fold.js"):
            answer = await client.get(f"/static/{name}")
            assert answer.status_code == 200, name
            assert answer.content == ASSETS[name].read_bytes()
            assert answer.headers["content-type"].startswith("text/javascript")
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            tag = {"If-None-Match": answer.headers["etag"]}
            assert (await client.get(f"/static/{name}", headers=tag)).status_code == 304
        for name in ("client/package.json", "client/../package.json", "connection/fold.js"):
            assert (await client.get(f"/static/{name}")).status_code == 404, name
