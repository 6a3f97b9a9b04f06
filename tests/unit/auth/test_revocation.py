"""The list of revocations: no accident with the file readmits a revoked login."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from api.auth.revocation import MAX_BYTES, Revocations, RevocationsUnreadable
from api.cli.child_service import Instance
from livestate.devtools.child_process import ServerFailed
from livestate.state.access import Identity
from tests.conftest import World
from tests.harness import Stream, metrics
from tests.unit.cli.test_cli import run

MALLORY = Identity("mallory", "noc", None, 1e12)
BOB = Identity("bob", "noc", None, 1e12, "token-7")


async def listed(file: Path) -> Revocations:
    file.write_text("mallory\r\n  token-7 \n\n")
    revocations = Revocations(str(file))
    await revocations.refresh()
    assert MALLORY in revocations
    assert BOB in revocations
    return revocations


@pytest.mark.parametrize(
    "what",
    ["removed", "directory", "pipe", "UTF-16", "UTF-16 without BOM", "Latin-1", "too long", "loop",
     "NUL", "unreadable", "keys", "page", "table"],
)  # fmt: skip
async def test_a_list_that_cannot_be_read_is_no_empty_list(tmp_path: Path, what: str) -> None:
    file = tmp_path / "revoked"
    revocations = await listed(file)
    file.unlink()
    match what:
        case "directory":
            file.mkdir()
        case "pipe":
            os.mkfifo(file)
        case "UTF-16":
            file.write_text("zoë\n", encoding="utf-16")
        case "UTF-16 without BOM":
            file.write_text("zoe\n", encoding="utf-16-le")
        case "Latin-1":
            file.write_text("zoë\n", encoding="latin-1")
        case "too long":
            file.write_bytes(b"x\n" * (MAX_BYTES // 2 + 1))
        case "loop":
            file.symlink_to(file)
        case "NUL":
            file.write_bytes(b"mallory\0\n")
        case "unreadable":
            file.symlink_to("/proc/self/mem")
        case "keys":  # the path of the JWKS by mistake
            file.write_text('{"keys": []}')
        case "page":  # what a web server says of a list that is gone
            file.write_text("<html>404</html>")
        case "table":
            file.write_text("mallory\tleft in May\n")
    for looks in (1, 2):
        with pytest.raises(RevocationsUnreadable, match="revoked"):
            await revocations.refresh()
        assert revocations.failures == looks
        assert MALLORY in revocations
    assert revocations.trouble
    if file.is_dir():
        file.rmdir()
    else:
        file.unlink(missing_ok=True)
    file.write_text("zoë\n", encoding="utf-8-sig")
    for _ in range(2):
        await revocations.refresh()
    assert revocations.trouble is None
    assert revocations.names == {"zoë"}


async def test_a_half_written_list_readmits_no_login(tmp_path: Path) -> None:
    """An editor empties the file first, and fills it after that."""
    file = tmp_path / "revoked"
    revocations = await listed(file)
    file.write_text("")
    await revocations.refresh()
    assert MALLORY in revocations
    file.write_text("mallory\ncarol\n")
    await revocations.refresh()
    assert MALLORY in revocations
    assert "carol" in revocations.names
    version = revocations.version
    for _ in range(3):
        await revocations.refresh()
    assert revocations.names == {"mallory", "carol"}
    assert revocations.version == version + 1  # token-7 went; and then nothing changed


async def test_a_list_replaced_by_a_rename_counts_whatever_its_times(tmp_path: Path) -> None:
    file = tmp_path / "revoked"
    revocations = await listed(file)
    for _ in range(2):
        await revocations.refresh()
    about = file.stat()
    other = tmp_path / "other"
    other.write_text("mallorx\r\n  token-8 \n\n")
    os.utime(other, ns=(about.st_atime_ns, about.st_mtime_ns))
    other.replace(file)
    for _ in range(2):
        await revocations.refresh()
    assert revocations.names == {"mallorx", "token-8"}


@pytest.mark.parametrize("what", ["missing", "directory", "UTF-16"])
async def test_a_start_without_its_list_is_refused(world: World, tmp_path: Path, what: str) -> None:
    file = tmp_path / "revoked"
    if what == "directory":
        file.mkdir()
    if what == "UTF-16":
        file.write_text("mallory", encoding="utf-16")
    service = world.service(REVOKED=str(file))
    with pytest.raises(ServerFailed, match=r"LIVESTATE_REVOKED: .*revoked"):
        await service.start()
    await service.close()
    same = {name.removeprefix("LIVESTATE_"): value for name, value in service.environment.items()
            if name.startswith("LIVESTATE_")}  # fmt: skip
    code, out = await run("doctor", **same)
    assert code == 1
    assert "LIVESTATE_REVOKED" in out


async def test_a_deleted_list_is_logged_and_readmits_no_login(world: World, tmp_path: Path) -> None:
    file = tmp_path / "revoked"
    file.write_text("mallory\n")
    async with world.service(REVOKED=str(file)) as service:
        await service.until_ready()
        async with await Stream.open(service.url, service.token()) as good:
            await good.until(lambda s: s.named("heartbeat"))
            file.unlink()
            values: dict[str, float] = {}
            deadline = time.monotonic() + 5
            while not values.get("livestate_revocations_unreadable"):
                assert time.monotonic() < deadline
                values = await metrics(service)
            assert values["livestate_revocations_failures_total"] >= 1
            assert values["livestate_revocations"] == 1
            assert await status_of(service, service.token(subject="mallory")) == 401
            assert await status_of(service, service.token()) == 200
            file.write_text("mallory\ndemo\n")
            await good.until(lambda s: s.dashboard.goodbye == "revoked")
            assert (await metrics(service))["livestate_revocations_unreadable"] == 0
        assert "the list of revocations cannot be read" in service._log.read_text()


async def status_of(service: Instance, token: str) -> int:
    async with await Stream.open(service.url, token) as stream:
        await stream.until(lambda s: s.status)
        return stream.status
