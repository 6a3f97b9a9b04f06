"""Child processes: Kamailio with the lab configuration, SIPp's phones around it, and a bridge."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import orjson

from livestate.bridge.kamailio.netstring import Decoder, encode
from livestate.devtools.child_process import Server, ServerFailed, bound, free_port
from tests.e2e import callees, callers

LAB: Final = Path(__file__).parents[2] / "deploy" / "kamailio" / "lab.cfg"
PATH: Final = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin"  # where Debian has servers
DOMAINS: Final = {"101": "acme.example", "202": "globex.example", "303": "initech.example"}
REFERRED: Final = "4420713"  # the number of a phone that is referred, when it calls by that
LIFE_SECONDS: Final = 8  # of a 4477… call, in lab.cfg


def free_udp_port() -> int:
    """A port that is free for UDP, too; SIPp takes the next one as well."""
    while True:
        port = free_port()
        with contextlib.suppress(OSError), socket.socket(type=socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", port))
            return port


async def rpc(port: int, method: str, *params: str) -> Any:
    """The result of one question over evapi, as a stranger would ask it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        asked = {"jsonrpc": "2.0", "method": method, "params": params, "id": "lab"}
        writer.write(encode(orjson.dumps(asked)))
        decoder = Decoder()
        async with asyncio.timeout(5):
            while piece := await reader.read(65536):
                for frame in decoder.feed(piece):
                    message = orjson.loads(frame)
                    if message.get("id") == "lab":
                        return message.get("result")
        raise EOFError
    finally:
        writer.transport.abort()


class Kamailio(Server):
    """``port`` is its evapi's. ``database``: its dialogs are there again after a restart."""

    name = "kamailio"
    dies_by = signal.SIGTERM  # or its other processes would live on

    def __init__(self, *, database: bool = False, lines: int = 2) -> None:
        # KAMAILIO: another version than the system's.
        super().__init__(os.environ.get("KAMAILIO") or shutil.which("kamailio", path=PATH))
        self.sip_port = free_udp_port()
        self.gateways = [free_udp_port() for _ in range(lines)]
        self.pbx = free_udp_port()
        self._database = database

    @property
    def url(self) -> str:
        return f"evapi://127.0.0.1:{self.port}"

    async def kill(self) -> None:
        # Its main process takes none of the others with it, and has no time to say so.
        if self._process is not None and self.running:
            os.killpg(self._process.pid, signal.SIGKILL)
        await super().kill()

    def _command(self) -> list[str]:
        variables = {
            "LAB_LISTEN": f"udp:127.0.0.1:{self.sip_port}",
            "LAB_GW_A": f'"sip:127.0.0.1:{self.gateways[0]}"',
            "LAB_GW_B": f'"sip:127.0.0.1:{self.gateways[1]}"',
            "LAB_PBX": f'"sip:127.0.0.1:{self.pbx}"',
            "LIVESTATE_EVAPI": f'"127.0.0.1:{self.port}"',
        }
        if self._database:
            variables["LAB_DATABASE"] = f'"text://{self._tables()}"'
        defines = [word for name, value in variables.items() for word in ("-A", f"{name}={value}")]
        return ["-f", str(LAB), "-DD", "-E", "-Y", str(self.data), *defines]

    def _tables(self) -> Path:
        """Debian's empty dbtext tables, for dialogs only."""
        tables = self.data / "tables"
        if not tables.exists():
            tables.mkdir()
            for name in ("version", "dialog", "dialog_vars"):
                shutil.copy(f"/usr/share/kamailio/dbtext/kamailio/{name}", tables)
        return tables

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        processes = await rpc(self.port, "core.psx")
        return bool(processes) and processes[0]["PID"] == self.pid


class BridgeProcess(Server):
    """``livestate bridge`` between a Kamailio and a NATS. It listens nowhere: it answers when it
    has said that it is connected to both."""

    name = "bridge"

    def __init__(self, evapi: int, nats_url: str, spool: Path, *options: str) -> None:
        super().__init__(str(Path(sysconfig.get_path("scripts")) / "livestate"), port=0)
        self.evapi = evapi
        self._told = ["--evapi", f"127.0.0.1:{evapi}", "--nats-url", nats_url,
                      "--spool", str(spool), *options]  # fmt: skip
        self._said = 0

    @property
    def url(self) -> str:
        raise ServerFailed(self.name, "has no address")

    async def start(self) -> None:
        self._said = len(self._log.read_bytes()) if self._log.exists() else 0
        await super().start()

    def said(self) -> str:
        """Its log since it was started."""
        return self._log.read_bytes()[self._said :].decode("utf-8", "replace")

    def _command(self) -> list[str]:
        return ["bridge", *self._told]

    async def _answers(self) -> bool:
        log = self.said()
        return "connected to NATS" in log and "connected to Kamailio" in log

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        raise NotImplementedError  # no client connects to it


@dataclass(frozen=True, slots=True)
class Planned:
    """One call as SIPp makes it, and what must be seen of it."""

    number: str  # the caller's: no two calls have the same
    company: str
    called: str
    caller: str  # the scenario of the calling phone
    outcome: str
    passes: tuple[str, ...]  # the states that must be seen, in this order
    talk_ms: int = 1200
    inbound: bool = False
    live: bool = True  # the proxy gives it a dialog

    @property
    def line(self) -> tuple[str, ...]:
        domain = DOMAINS.get(self.company, "nobody.example")
        own, other = ("trunk.example", domain) if self.inbound else (domain, domain)
        return (self.number, own, self.called, other, str(self.talk_ms))


class Phones:
    """SIPp processes: the other sides of a Kamailio, and callers. They end with this object."""

    def __init__(self, kamailio: Kamailio) -> None:
        self._kamailio = kamailio
        self._home = tempfile.TemporaryDirectory(prefix="livestate-sipp-")
        self._callees: list[subprocess.Popen[bytes]] = []
        self._callers: list[subprocess.Popen[bytes]] = []
        self._count = 0

    async def __aenter__(self) -> Self:
        gateway_a, gateway_b = self._kamailio.gateways
        for port, has_lines in ((gateway_a, False), (gateway_b, True), (self._kamailio.pbx, True)):
            scenario = self._file("callee.xml", callees.callee(has_lines=has_lines))
            self._callees.append(self._sipp(["-sf", str(scenario), "-p", str(port),
                                             "-s", REFERRED]))  # fmt: skip
        return self

    async def __aexit__(self, *_: object) -> None:
        self.kill()
        self._home.cleanup()

    def call(self, calls: Iterable[Planned], *, per_second: float = 10, **keys: str) -> None:
        """Begin these calls; those of one scenario are made by one phone. ``keys``: values of the
        scenario's keywords."""
        groups: dict[str, list[Planned]] = {}
        for one in calls:
            groups.setdefault(one.caller, []).append(one)
        for name, group in groups.items():
            self._callers.append(self._sipp([
                "-sf", str(self._file(f"{name}.xml", callers.caller(name))),
                "-inf", str(self._numbers(group)), "-p", str(free_udp_port()),
                *(word for key, value in keys.items() for word in ("-key", key, value)),
                # Without an "@", which a URI within a URI had to escape.
                "-cid_str", "%u-%p.phone", "-l", "2000",
                "-m", str(len(group)), "-r", str(max(1, round(per_second))),
                f"127.0.0.1:{self._kamailio.sip_port}",
            ]))  # fmt: skip

    async def done(self, seconds: float = 60) -> list[int]:
        """The exit statuses of the callers, when all have ended: 0 says that each of their calls
        went as its scenario says."""
        return await self.ended(len(self._callers), seconds)

    async def ended(self, count: int, seconds: float = 60) -> list[int]:
        """The same of so many of them, whichever end first; the others go on."""
        deadline = time.monotonic() + seconds
        while len(over := [p for p in self._callers if p.poll() is not None]) < count:
            assert time.monotonic() < deadline, self.log()
            await asyncio.sleep(0.05)
        self._callers = [phone for phone in self._callers if phone not in over]
        return [phone.wait() for phone in over]

    def kill(self) -> None:
        """SIGKILL to every phone: no BYE."""
        for phone in (*self._callers, *self._callees):
            phone.kill()
            phone.wait()
        self._callers.clear()
        self._callees.clear()

    def log(self) -> str:
        return "\n".join(
            f"{path.name}: {path.read_text('utf-8', 'replace')[-2000:]}"
            for path in sorted(Path(self._home.name).glob("*.log"))
        )

    def _sipp(self, arguments: list[str]) -> subprocess.Popen[bytes]:
        self._count += 1
        log = Path(self._home.name) / f"{self._count}.log"
        with log.open("wb") as output:
            return subprocess.Popen(
                bound(
                    str(shutil.which("sipp")), *arguments, "-i", "127.0.0.1",
                    "-cp", str(free_udp_port()), "-mp", str(free_udp_port()), "-nostdin",
                    "-trace_err", "-error_file", str(log.with_suffix(".errors.log")),
                ),
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self._home.name,
                process_group=0,
            )  # fmt: skip

    def _file(self, name: str, text: str) -> Path:
        self._count += 1
        path = Path(self._home.name) / f"{self._count}-{name}"
        path.write_text(text)
        return path

    def _numbers(self, calls: list[Planned]) -> Path:
        self._count += 1
        path = Path(self._home.name) / f"{self._count}.csv"
        with path.open("w", newline="") as file:
            file.write("SEQUENTIAL\n")
            csv.writer(file, delimiter=";", lineterminator="\n").writerows(c.line for c in calls)
        return path
