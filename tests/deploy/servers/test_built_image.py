"""The image, built by a real builder: buildah, without a registry and without an engine.

The base image is made of Debian packages (debootstrap), under the name that the Containerfile uses:
Debian 13 has Python 3.13 too. ``--isolation chroot`` needs root, but neither user namespaces nor a
runtime. What this leaves untried are the base image of Docker Hub and an engine's network.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from livestate.devtools.child_process import free_port
from livestate.devtools.servers import NatsServer, Valkey
from tests.conftest import absent
from tests.deploy.servers.image import INDEX

ROOT = Path(__file__).parents[3]
CONTAINERFILE = ROOT / "deploy/Containerfile"
PACKAGES = "ca-certificates,python3,python3-venv"
SERVE_SECONDS = 45


class Builder:
    """buildah with a store of its own."""

    def __init__(self, program: str, home: Path) -> None:
        store = ("--root", str(home / "store"), "--runroot", str(home / "run"))
        self._command = [program, "--storage-driver", "vfs", *store]

    def command(self, *arguments: str | Path) -> list[str]:
        return [*self._command, *map(str, arguments)]

    def run(self, *arguments: str | Path) -> str:
        done = subprocess.run(
            self.command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=550
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout.strip()

    def build(self, containerfile: Path) -> str:
        """The name of the image. Nothing is pulled."""
        told = [f"--env={name}={os.environ[name]}" for name in INDEX if name in os.environ]
        certificates = [
            f"--volume={path}:{path}:ro" for path in _CERTIFICATES if Path(path).exists()
        ]
        self.run("build", "--isolation", "chroot", "--format", "docker", "--pull-never", *told,
                 *certificates, "-t", "livestate", "-f", containerfile, ".")  # fmt: skip
        return "localhost/livestate"


_CERTIFICATES = ("/etc/ssl/certs", "/usr/local/share/ca-certificates")


def mirror() -> str:
    """Where this machine gets Debian's packages."""
    apt = Path("/etc/apt")
    for path in (*apt.glob("sources.list.d/*"), apt / "sources.list"):
        if path.is_file():
            text = path.read_text("utf-8", "replace")
            if found := re.search(
                r"^(?:deb (?:\[.*?\] )?|URIs: *)(https?://\S+/debian)/?\s", text, re.M
            ):
                return found[1]
    return "http://deb.debian.org/debian"


@pytest.fixture(scope="module")
def builder(program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """Has the base image, from packages."""
    if os.geteuid() != 0:
        absent("root: debootstrap and chroot")
    (name, suite) = re.findall(r"^FROM (docker\.io/\S+-(\w+)) AS", CONTAINERFILE.read_text(), re.M)[
        0
    ]
    home = tmp_path_factory.mktemp("builder")
    base, archive = home / "base", home / "base.tar"
    debootstrap = [program("debootstrap"), "--variant=minbase", f"--include={PACKAGES}", suite]
    made = subprocess.run([*debootstrap, str(base), mirror()], capture_output=True, text=True,
                          timeout=550)  # fmt: skip
    assert made.returncode == 0, made.stdout[-3000:]
    (base / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    subprocess.run(["tar", "-C", base, "-cf", archive, "."], check=True)
    builder = Builder(program("buildah"), home)
    scratch = builder.run("from", "scratch")
    builder.run("add", "-q", scratch, archive, "/")
    builder.run("commit", "-q", "--rm", scratch, name)
    return builder


@pytest.fixture(scope="module")
def image(builder: Builder) -> str:
    return builder.build(CONTAINERFILE)


def test_the_image_is_what_its_file_says(builder: Builder, image: str) -> None:
    told: dict[str, Any] = json.loads(builder.run("inspect", "--type", "image", image))
    config = told["Docker"]["config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["livestate"]
    assert config["Cmd"] == ["serve"]
    assert config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"] == ["CMD", "livestate", "healthcheck"]
    assert config["ExposedPorts"].keys() == {"8080/tcp", "9090/tcp"}


async def test_the_built_image_serves_as_its_user(builder: Builder, image: str) -> None:
    container = builder.run("from", "--pull-never", image)
    port, admin = free_port(), free_port()
    async with NatsServer() as nats, Valkey() as valkey:
        given = {
            "BIND": f"127.0.0.1:{port}",
            "ADMIN_BIND": f"127.0.0.1:{admin}",
            "NATS_URL": nats.url,
            "REDIS_URL": valkey.url,
            "READY_SECONDS": "1",
            "JWT_ISSUER": "https://idp.example/",
            "JWT_JWKS": "https://idp.example/jwks",
        }
        for name, value in given.items():
            builder.run("config", "--env", f"LIVESTATE_{name}={value}", container)
        serve = ("timeout", "-s", "TERM", str(SERVE_SECONDS), "livestate", "serve")
        serving = subprocess.Popen(builder.command("run", "--isolation", "chroot", container, "--",
                                                   *serve))  # fmt: skip
        async with httpx.AsyncClient() as client, asyncio.timeout(SERVE_SECONDS):
            while not await _answers(client, f"http://127.0.0.1:{admin}/readyz"):
                assert serving.poll() is None
                await asyncio.sleep(0.2)
            status = (await client.get(f"http://127.0.0.1:{admin}/statusz")).json()
            owner = Path(f"/proc/{status['pid']}").stat()
            assert (owner.st_uid, owner.st_gid) == (10001, 10001)
        run = ("run", "--isolation", "chroot", container, "--", "livestate")
        assert await asyncio.to_thread(builder.run, *run, "healthcheck", "--ready")
        os.kill(status["pid"], 15)  # our own service's, as an engine ends it
        assert await asyncio.to_thread(serving.wait, SERVE_SECONDS) == 0
    builder.run("rm", container)


async def _answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == 200
    except httpx.HTTPError:
        return False


def test_a_broken_containerfile_is_refused(builder: Builder, tmp_path: Path) -> None:
    broken = tmp_path / "Containerfile"
    broken.write_text(
        CONTAINERFILE.read_text().replace("COPY deploy/build.lock", "COPY deploy/build.lok")
    )
    with pytest.raises(AssertionError, match=r"build\.lok"):
        builder.build(broken)
