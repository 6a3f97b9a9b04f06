"""The ``livestate`` command as a person types it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sysconfig
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from api.auth import demo_key
from bench import proc
from livestate.nats.jetstream import create_at
from tests.conftest import World
from tests.harness import Node, Stream, agrees

LIVESTATE = str(Path(sysconfig.get_path("scripts")) / "livestate")
CAPTURE = str(files("livestate.devtools") / "captures" / "capture-small.jsonl")
COMMANDS = ("serve", "demo", "replay", "simulate", "tail", "snapshot", "token", "schema", "doctor",
            "bridge")  # fmt: skip


async def start(
    *arguments: str, cwd: Path | None = None, **settings: str
) -> asyncio.subprocess.Process:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LIVESTATE_")}
    environment |= {f"LIVESTATE_{name}": value for name, value in settings.items()}
    return await asyncio.create_subprocess_exec(
        LIVESTATE, *arguments, cwd=cwd, env=environment, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip


async def run(*arguments: str, cwd: Path | None = None, **settings: str) -> tuple[int, str]:
    process = await start(*arguments, cwd=cwd, **settings)
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode()


async def test_help_is_there_for_every_command() -> None:
    code, out = await run("--help")
    assert code == 0
    for command in COMMANDS:
        assert re.search(rf"^  {command} ", out, re.MULTILINE)
        code, usage = await run(command, "--help")
        assert code == 0
        assert len(usage.splitlines()) > 5
    code, usage = await run("serve", "--help")
    assert "LIVESTATE_NATS_URL" in usage


async def test_the_schema_is_one_and_knows_a_good_event_from_a_bad_one() -> None:
    _, out = await run("schema")
    schema = json.loads(out)
    jsonschema.Draft202012Validator.check_schema(schema)
    event = {"v": 1, "phase": "setup", "node": "a", "epoch": 1, "seq": 1, "ts": 1_700_000_000_000,
             "call_id": "x"}  # fmt: skip
    jsonschema.validate(event, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(event | {"seq": "1"}, schema)


async def test_all_wrong_settings_are_reported_at_once(tmp_path: Path) -> None:
    code, out = await run("serve", cwd=tmp_path, BIND="nonsense", TICK_MS="x")
    assert code == 2
    assert "LIVESTATE_BIND" in out
    assert "LIVESTATE_TICK_MS" in out


async def test_a_taken_port_is_reported(world: World, tmp_path: Path) -> None:
    service = world.service()
    async with service:
        code, out = await run("serve", cwd=tmp_path, BIND=f"127.0.0.1:{service.port}",
                              NATS_URL=world.nats.url, REDIS_URL=world.redis.url)  # fmt: skip
        assert code == 1
        assert "cannot listen" in out


async def test_doctor_says_what_is_wrong_and_how_to_mend_it(world: World, tmp_path: Path) -> None:
    code, out = await run("doctor", cwd=tmp_path, NATS_URL="nats://127.0.0.1:1",
                          REDIS_URL="redis://127.0.0.1:1", REDIS_ULR="x")  # fmt: skip
    assert code == 1
    for text in (
        "did you mean LIVESTATE_REDIS_URL",
        "NATS at",
        "Redis at",
        "JWT_JWKS",
        "to correct",
    ):
        assert text in out
    assert "Traceback" not in out
    async with await Node.connect(world.nats.url) as node:
        code, out = await run(
            "doctor", cwd=tmp_path, NATS_URL=world.nats.url, REDIS_URL=world.redis.url,
            JWT_JWKS=str(demo_key.jwks(tmp_path)),
        )  # fmt: skip
        assert code == 0
        assert node.name in out


async def test_replay_simulate_snapshot_and_tail_speak_with_a_service(
    world: World, tmp_path: Path
) -> None:
    await create_at(world.nats.url)
    service = world.service()
    async with service, await Stream.open(service.url, service.token()) as stream:
        tail = await start("tail", "--url", service.url, TOKEN=service.token(), cwd=tmp_path)
        await asyncio.sleep(1)
        replaying = run("replay", CAPTURE, "--speed", "30", NATS_URL=world.nats.url)
        simulating = run(
            "simulate", "--cps", "100", "--calls", "50", "--talk-seconds", "0.5",
            "--ring-seconds", "0.2", "--duplicates", "0.1", "--reorder", "0.1",
            "--losses", "0.05", NATS_URL=world.nats.url,
        )  # fmt: skip
        (code, out), (code2, out2) = await asyncio.gather(replaying, simulating)
        assert (code, code2) == (0, 0), out + out2
        assert "messages" in out
        assert re.search(r"50 calls of 50, 0 live, [\d,]+ messages, \d+ lost", out2)
        await stream.until(lambda s: s.events and not s.dashboard.calls)
        await agrees(service, stream, service.token())
        async with await Node.connect(world.nats.url) as node:
            await node.call("1.1", from_="\x1b[31mred", to="bob")
            await stream.until(lambda s: s.dashboard.calls)
            code, out = await run("snapshot", "--url", service.url, TOKEN=service.token())
            assert code == 0
            assert "bob" in out
            assert "\x1b[31mred" not in out
            assert "1 live calls" in out
        tail.send_signal(signal.SIGINT)
        lines, _ = await tail.communicate()
        assert tail.returncode == 0
        for state in (b"ringing", b"answered", b"busy", b"held", b"bob"):
            assert state in lines


async def test_an_invalid_capture_is_reported_with_its_line(tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"arrival": 1, "frame": {}}\nnonsense\n')
    code, out = await run("replay", str(bad))
    assert code == 1
    assert "line 2" in out


def children(parent: int) -> dict[int, bytes]:
    """The command lines of the processes that it started, by their ids."""
    return {pid: proc.command_line(pid) for pid in proc.children(parent)}


@pytest.mark.slow
async def test_the_demo_shows_moving_calls_and_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    process = await start("demo", "--port", "0", cwd=tmp_path)
    assert process.stdout is not None
    try:
        output = b""
        async with asyncio.timeout(30):
            while b"Ctrl-C" not in output:
                output += await process.stdout.read(4096)
        link = re.search(r"noc\s+(http://([\d.:]+)/login#(\S+))", output.decode())
        assert link is not None
        pids = children(process.pid)
        assert len(pids) == 3
        async with await Stream.open(f"http://{link[2]}", link[3]) as stream:
            await stream.until(lambda s: len(s.named("diff")) > 10, 15)
            victim = next(pid for pid, name in pids.items() if b"\0serve" in name)
            os.kill(victim, signal.SIGKILL)
            await asyncio.wait_for(stream.over.wait(), 5)
        async with asyncio.timeout(30):  # the demo starts it again
            moving = False
            while not moving:
                # For a moment the port is still that of the killed one: it takes us, and is silent.
                with contextlib.suppress(OSError, AssertionError):
                    async with await Stream.open(f"http://{link[2]}", link[3]) as stream:
                        await stream.until(lambda s: s.named("diff"))
                        moving = True
                await asyncio.sleep(0.1)
        pids |= children(process.pid)
        process.send_signal(signal.SIGINT)
        rest, _ = await asyncio.wait_for(process.communicate(), 15)
        assert process.returncode == 0, rest
        assert b"no process or file is left" in rest
        assert not [pid for pid in pids if Path(f"/proc/{pid}/exe").exists()]
    finally:
        if process.returncode is None:
            process.kill()  # and its servers with it
            await process.wait()
