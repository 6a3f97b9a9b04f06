"""``livestate conformance`` through real proxies: those that are configured as documented conform,
and of others it names what breaks."""

from __future__ import annotations

import asyncio
import sysconfig
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from api.cli.child_service import Instance
from livestate.devtools.child_process import Server
from tests.conformance.traffic import traffic
from tests.conftest import World, absent
from tests.faults.caddy import Caddy
from tests.harness import Node
from tests.interop.proxies import Nginx
from tests.interop.table import Ran
from tests.interop.test_proxies import tls

__all__ = ["tls"]

LIVESTATE = Path(sysconfig.get_path("scripts")) / "livestate"
SECONDS = "12"
COMPANIES = ("101", "102")
CLIENT = "livestate conformance"


class BadNginx(Server):
    """nginx with lines in its ``location`` that break a promise."""

    name = "nginx"

    def __init__(self, program: str, upstream: int, lines: str) -> None:
        super().__init__(program)
        self.upstream = upstream
        self.lines = lines

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _greet(self, reader: object, writer: object) -> bool:
        return True

    def _command(self) -> list[str]:
        self.data.mkdir(exist_ok=True)
        (self.data / "401.html").write_text("<h1>Log in</h1>")
        file = self.data / "nginx.conf"
        file.write_text(
            f"daemon off; pid {self.data}/nginx.pid; error_log stderr; user root;\n"
            "events { worker_connections 512; }\n"
            f"http {{ access_log off; client_body_temp_path {self.data}/body;\n"
            f"proxy_temp_path {self.data}/proxy; fastcgi_temp_path {self.data}/f;\n"
            f"uwsgi_temp_path {self.data}/u; scgi_temp_path {self.data}/s;\n"
            f"server {{ listen 127.0.0.1:{self.port}; root {self.data};\n"
            f"location / {{ proxy_pass http://127.0.0.1:{self.upstream};\n"
            "proxy_http_version 1.1; proxy_set_header Host $http_host;\n"
            f"{self.lines} }} }} }}\n"
        )
        return ["-c", str(file), "-e", "stderr"]


@pytest.fixture
async def busy(world: World) -> AsyncIterator[Instance]:
    async with world.service() as service, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        async with traffic(node, COMPANIES):
            yield service


async def conformance(service: Instance, url: str, *options: str) -> tuple[int, str]:
    """The command's exit code and output."""
    process = await asyncio.create_subprocess_exec(
        LIVESTATE, "conformance", url, "--seconds", SECONDS,
        "--token", service.token(), "--second-token",
        service.token("user", company_id=COMPANIES[0]), *options,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(90):
        output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def test_the_shipped_caddyfile_conforms(busy: Instance, ran: Ran, tmp_path: Path) -> None:
    ran("Caddy", client=CLIENT)
    report = tmp_path / "report.xml"
    async with Caddy(busy.port) as caddy:
        code, output = await conformance(busy, caddy.url, "--junit", str(report))
    assert code == 0, output
    suite = Xml.parse(report).getroot()
    assert int(suite.get("tests", "0")) == len(suite) > 20
    assert suite.get("failures") == suite.get("errors") == suite.get("skipped") == "0"


async def test_the_documented_nginx_conforms(world: World, tls: Path, ran: Ran) -> None:
    if Nginx.found() is None:
        absent("nginx")
    ran("nginx", client=CLIENT)
    service = world.service()
    proxy = Nginx(service.port, tls, below=False)
    service.environment["LIVESTATE_PUBLIC_URL"] = proxy.url
    async with service, proxy, await Node.connect(world.nats.url) as node:
        await service.until_ready()
        async with traffic(node, COMPANIES):
            trust = ("--ca-file", str(tls / "noc.crt"))
            code, output = await conformance(service, proxy.local_url, *trust)
    assert code == 0, output


BUFFERS = "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;"


@pytest.mark.parametrize(
    ("lines", "promise", "title"),
    [
        (f"{BUFFERS} proxy_set_header Accept-Encoding ''; gzip on; gzip_proxied any;"
         "gzip_types text/event-stream; gzip_min_length 0;", "S", "holds the stream back"),
        ("proxy_intercept_errors on; error_page 401 /401.html;", "A", "without a login"),
        ("proxy_hide_header Cache-Control;", "H", "cached"),
        ("if ($request_method = HEAD) { return 403; }", "H", "HEAD"),
    ],
    ids=["compresses", "own errors", "no Cache-Control", "no HEAD"],
)  # fmt: skip
async def test_a_badly_configured_nginx_is_named(
    busy: Instance, program: Callable[[str], str], ran: Ran, tmp_path: Path,
    lines: str, promise: str, title: str,
) -> None:  # fmt: skip
    await _named(busy, program("nginx"), ran, tmp_path, lines, promise, title)


async def test_an_nginx_that_cuts_a_quiet_stream_is_named(
    world: World, program: Callable[[str], str], ran: Ran, tmp_path: Path
) -> None:
    """Heartbeats come every 4 s, so a shorter read timeout ends each quiet stream."""
    async with world.service() as service, await Node.connect(world.nats.url):
        await service.until_ready()
        cuts = "proxy_read_timeout 2s;"
        await _named(service, program("nginx"), ran, tmp_path, cuts, "E", "goodbye before it ends")


async def _named(
    busy: Instance, nginx_program: str, ran: Ran, tmp_path: Path,
    lines: str, promise: str, title: str,
) -> None:  # fmt: skip
    ran("nginx, badly configured", client=CLIENT)
    report = tmp_path / "report.xml"
    async with BadNginx(nginx_program, busy.port, lines) as nginx:
        code, output = await conformance(busy, nginx.url, "--junit", str(report))
    assert code == 1, output
    failed = [
        (case.get("classname"), case.get("name", ""))
        for case in Xml.parse(report).iter("testcase")
        if case.find("failure") is not None
    ]
    assert any(of == f"promise.{promise}" and title in name for of, name in failed), output
