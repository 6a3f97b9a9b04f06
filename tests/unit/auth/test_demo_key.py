"""The demo key: for a machine of one's own, and refused where strangers can reach it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from api.auth import demo_key
from api.auth.keys import KeySet
from api.http.address import on_loopback
from livestate.devtools.child_process import free_port
from tests.abuse.provider import ED, public
from tests.unit.cli.test_cli import run, start

PROVIDER = "https://login.example"


@pytest.mark.parametrize(
    "bind", ["0.0.0.0:{}", "[::]:{}", "[::ffff:0.0.0.0]:{}", "no-such-host.invalid:{}"]
)
@pytest.mark.parametrize("issuer", [demo_key.ISSUER, PROVIDER])
async def test_the_demo_key_beyond_the_loopback_stops_the_start(
    tmp_path: Path, bind: str, issuer: str
) -> None:
    settings = {"BIND": bind.format(free_port()), "JWT_JWKS": str(demo_key.jwks(tmp_path)),
                "JWT_ISSUER": issuer, "ADMIN_BIND": "127.0.0.1:0"}  # fmt: skip
    code, out = await run("serve", cwd=tmp_path, **settings)
    assert code == 1
    assert "can be reached from other machines" in out
    assert "LIVESTATE_JWT_JWKS" in out
    assert "Traceback" not in out
    code, out = await run("doctor", cwd=tmp_path, **settings)
    assert code == 1
    assert "serve refuses to start" in out


async def test_a_provider_set_that_also_holds_the_demo_key_stops_it_too(tmp_path: Path) -> None:
    jwks = json.loads(demo_key.jwks(tmp_path).read_text())
    jwks["keys"].append(public(ED, "ed"))
    copied = tmp_path / "copied.json"
    copied.write_text(json.dumps(jwks))
    code, out = await run("serve", BIND=f"0.0.0.0:{free_port()}", JWT_JWKS=str(copied),
                          JWT_ISSUER=PROVIDER, ADMIN_BIND="127.0.0.1:0")  # fmt: skip
    assert (code, "can be reached from other machines" in out) == (1, True)
    keys = KeySet(str(copied), demo=False)  # it came into the set later
    await keys.refresh()
    assert [key.kid for key in keys.keys] == ["ed"]
    assert "loopback" in keys.refused[0]


async def test_on_the_loopback_it_is_a_warning(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "localhost", "[::1]"):
        serving = await start("serve", cwd=tmp_path, BIND=f"{host}:{free_port()}",
                              ADMIN_BIND=f"127.0.0.1:{free_port()}",
                              JWT_JWKS=str(demo_key.jwks(tmp_path)))  # fmt: skip
        assert serving.stdout is not None
        output = b""
        async with asyncio.timeout(20):
            while b"serving http" not in output:
                piece = await serving.stdout.read(4096)
                assert piece, output
                output += piece
        assert b"signed with the demo key" in output
        serving.terminate()
        await serving.communicate()


@pytest.mark.parametrize(
    ("bind", "loopback"),
    [("127.0.0.1:1", True), ("127.8.9.1:1", True), ("[::1]:1", True), ("localhost:1", True),
     ("[::ffff:127.0.0.1]:1", True), ("0.0.0.0:1", False), ("[::]:1", False), ("10.0.0.1:1", False),
     ("192.0.2.7:1", False), ("x.invalid:1", False), ("2130706433:1", True)],
)  # fmt: skip
def test_what_the_loopback_is(bind: str, loopback: bool) -> None:
    assert on_loopback(bind) is loopback


async def test_a_demo_login_that_the_service_would_refuse_is_not_made(tmp_path: Path) -> None:
    code, out = await run("token", "--ttl", "401d", cwd=tmp_path)
    assert (code, "at most 400 days" in out) == (1, True)
    code, out = await run("token", "--ttl", "400d", cwd=tmp_path)
    assert code == 0
