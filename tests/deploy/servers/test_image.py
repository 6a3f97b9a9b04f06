"""The image: its Containerfile linted, its instructions carried out, its entry point run read-only
and as its user, against real servers that have the shipped rights and secrets from files."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sysconfig
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from api.auth import demo_key
from livestate.devtools.child_process import free_port
from livestate.devtools.servers import NatsServer, Valkey
from tests.deploy.servers.image import Image, build, instructions

ROOT = Path(__file__).parents[3]
CONTAINERFILE = ROOT / "deploy/Containerfile"
BIN = Path(sysconfig.get_path("scripts"))


def lint(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BIN / "hadolint", path], capture_output=True, text=True)


def test_the_containerfile_has_no_finding_of_hadolint() -> None:
    assert lint(CONTAINERFILE).stdout == ""


@pytest.mark.parametrize(
    ("was", "broken", "rule"),
    [
        (":3.13-slim-trixie AS build", " AS build", "DL3006"),
        ("WORKDIR /src", "WORKDIR src", "DL3000"),
        ('CMD ["serve"]', "CMD serve", "DL3025"),
        ("EXPOSE 8080 9090", "EXPOSE 80800", "DL3011"),
        ("RUN python -m venv /opt/build", "RUN cd /tmp; python -m venv /opt/build", "DL3003"),
    ],
)
def test_hadolint_finds_a_broken_line(tmp_path: Path, was: str, broken: str, rule: str) -> None:
    text = CONTAINERFILE.read_text()
    assert was in text
    (tmp_path / "Containerfile").write_text(text.replace(was, broken))
    assert rule in lint(tmp_path / "Containerfile").stdout


def test_the_context_is_the_same_for_every_engine() -> None:
    ignored = (ROOT / ".containerignore").read_text()
    assert ignored == (ROOT / ".dockerignore").read_text()


def test_the_image_names_user_health_and_signal() -> None:
    written = dict(instructions(CONTAINERFILE.read_text()))
    assert written["USER"] == "10001:10001"
    assert written["STOPSIGNAL"] == "SIGTERM"
    assert 'CMD ["livestate", "healthcheck"]' in written["HEALTHCHECK"]


@pytest.fixture(scope="module")
def image(program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Image:
    program("bwrap")
    return build(CONTAINERFILE, ROOT, tmp_path_factory.mktemp("image"))


class Container:
    """The image's entry point as a process of its own, as an engine would run it."""

    def __init__(self, image: Image, settings: dict[str, str], secrets: Path) -> None:
        self.image, self.settings, self.secrets = image, settings, secrets
        command = [*image.entrypoint, *image.command]
        self.process = subprocess.Popen(self._line(command), stderr=subprocess.PIPE, text=True)

    def _line(self, command: list[str]) -> list[str]:
        return self.image.sandbox(command, building=False, secrets=self.secrets,
                                  environment=self.settings)  # fmt: skip

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self._line(command), capture_output=True, text=True, timeout=20)

    @property
    def pid(self) -> int:
        """Of the service itself: bubblewrap is its parent's parent."""
        pid = self.process.pid
        while children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            pid = int(children[0])
        return pid


@pytest.fixture
async def container(image: Image, tmp_path: Path) -> AsyncIterator[Container]:
    secrets = tmp_path / "secrets"
    nats_port, redis_port, port, admin = (free_port() for _ in range(4))
    subprocess.run(
        [ROOT / "deploy/make-secrets", secrets, f"127.0.0.1:{nats_port}",
         f"127.0.0.1:{redis_port}"], check=True,
    )  # fmt: skip
    secrets.chmod(0o755)
    shutil.copy(demo_key.jwks(tmp_path / "keys"), secrets / "jwks.json")
    settings = {
        "LIVESTATE_BIND": f"127.0.0.1:{port}",  # the demo key is for the loopback only
        "LIVESTATE_ADMIN_BIND": f"0.0.0.0:{admin}",
        "LIVESTATE_NATS_URL_FILE": "/secrets/nats_url",
        "LIVESTATE_REDIS_URL_FILE": "/secrets/redis_url",
        "LIVESTATE_ADMIN_TOKEN_FILE": "/secrets/admin_token",
        "LIVESTATE_JWT_JWKS": "/secrets/jwks.json", "LIVESTATE_JWT_ISSUER": demo_key.ISSUER,
        "LIVESTATE_LOG_FORMAT": "json", "LIVESTATE_READY_SECONDS": "2",
    }  # fmt: skip
    conf = tmp_path / "nats.conf"
    text = (ROOT / "deploy/nats.conf").read_text()
    conf.write_text(text.replace("store_dir: /var/lib/nats, ", ""))
    environment = dict(os.environ)
    for line in (secrets / "nats.env").read_text().splitlines():
        name, _, value = line.partition("=")
        environment[name] = value.strip("'")  # as Compose and systemd read it
    nats = NatsServer(port=nats_port, arguments=("-c", str(conf)))
    nats.environment = environment
    valkey = Valkey(port=redis_port, arguments=_acl(secrets / "valkey-acl.conf"))
    async with nats, valkey:
        subprocess.run(
            image.sandbox(["livestate", "streams", "--create"], building=False, secrets=secrets,
                          environment={"LIVESTATE_NATS_URL_FILE": "/secrets/streams_nats_url"}),
            check=True, timeout=30,
        )  # fmt: skip
        container = Container(image, settings, secrets)
        try:
            yield container
        finally:
            container.process.kill()
            container.process.wait()


def _acl(path: Path) -> tuple[str, ...]:
    """The shipped rules as arguments: without them the server's own helpers would be locked out."""
    (rule,) = [line for line in path.read_text().splitlines() if line.startswith("user livestate")]
    return ("--user", *rule.split()[1:])


async def test_the_entry_point_serves_read_only_as_its_user(container: Container) -> None:
    admin = container.settings["LIVESTATE_ADMIN_BIND"].rpartition(":")[2]
    async with asyncio.timeout(30), httpx.AsyncClient() as client:
        while True:
            assert container.process.poll() is None
            try:
                if (await client.get(f"http://127.0.0.1:{admin}/readyz")).status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.1)
        status = (await client.get(f"http://127.0.0.1:{admin}/statusz")).json()
        page = await client.get(f"http://{container.settings['LIVESTATE_BIND']}/live-calls")
    assert page.status_code == 200
    assert status["nats"]["trouble"] is None
    assert status["redis"]["failures"] == 0
    assert status["cdrs"]["trouble"] is None
    healthy = container.run(container.image.health)
    assert (healthy.returncode, healthy.stdout) == (0, "alive\n")
    me = container.run(["/bin/sh", "-c", "id -u; touch /opt/x /x /tmp/x 2>&1"])
    assert me.stdout.startswith("10001\n")
    assert me.stdout.count("annot touch") == 3, me.stdout
    os.kill(container.pid, signal.SIGTERM)
    _, log = container.process.communicate(timeout=15)
    assert container.process.returncode == 0, log
    lines = [line for line in log.splitlines() if line]
    assert all(line.startswith("{") for line in lines), log
    sick = container.run(container.image.health)
    assert (sick.returncode, sick.stdout) == (1, "")
