"""``deploy/compose.yaml``: what it names is there, and what it says fits the files beside it."""

from __future__ import annotations

import copy
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.environment import FILE_SUFFIX, from_environment
from api.settings import Settings, variable

DEPLOY = Path(__file__).parents[2] / "deploy"
Compose = dict[str, Any]
OURS = ("livestate", "streams")
YOURS = {"LIVESTATE_JWT_JWKS": "https://idp.example/jwks", "LIVESTATE_JWT_ISSUER": "https://idp"}


@pytest.fixture
def compose() -> Compose:
    found: Compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return found


def filled(text: str) -> str:
    """As Compose fills variables in: the environment's, else the default."""
    return re.sub(
        r"\$\{(\w+)(?::-([^}]*)|:\?[^}]*)?\}", lambda m: YOURS.get(m[1], m[2] or ""), text
    )


def problems(compose: Compose, secrets: Path) -> list[str]:
    found = []
    for name, file in ((n, s["file"]) for n, s in compose["secrets"].items()):
        if not (secrets / Path(file).name).is_file():
            found.append(f"make-secrets makes no {file} for the secret {name}")
    for name, service in compose["services"].items():
        found += [f"{name}: {one}" for one in _service_problems(name, service, compose)]
    return found


def _service_problems(name: str, service: Compose, compose: Compose) -> list[str]:
    found = []
    if not service.get("read_only") or service.get("cap_drop") != ["ALL"]:
        found.append("is not read-only without capabilities")
    if re.search(r":latest$|/[^:]+$", service["image"]) and name not in OURS:
        found.append("has an image without a version")
    for volume in service.get("volumes", []):
        source = volume.partition(":")[0]
        if source.startswith(".") and not (DEPLOY / source).exists():
            found.append(f"mounts {source}, which is not there")
        if not source.startswith(".") and source not in compose["volumes"]:
            found.append(f"mounts {source}, which is no volume")
    secrets = set(service.get("secrets", []))
    if lost := secrets - compose["secrets"].keys():
        found.append(f"wants secrets that are not declared: {lost}")
    for secret in re.findall(r"/run/secrets/(\w+)", str(service)):
        if secret not in secrets:
            found.append(f"reads the secret {secret}, which it does not get")
    for other in service.get("depends_on", {}):
        if other not in compose["services"]:
            found.append(f"waits for {other}, which is no service")
    if name in OURS:
        known = {variable(name) for name in Settings.model_fields}
        environment = {k: filled(str(v)) for k, v in service["environment"].items()}
        for key in environment:
            if key not in known and key.removesuffix(FILE_SUFFIX) not in known:
                found.append(f"{key} is no setting")
        from_environment({k: v for k, v in environment.items() if not k.endswith(FILE_SUFFIX)})
    return found


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "secrets"
    subprocess.run([DEPLOY / "make-secrets", path], check=True, stdout=subprocess.DEVNULL)
    return path


def test_everything_that_compose_names_is_there(compose: Compose, secrets: Path) -> None:
    assert problems(compose, secrets) == []


BREAKS: dict[str, Callable[[Compose], Any]] = {
    "is no setting": lambda c: c["services"]["livestate"]["environment"].update(LIVESTATE_NATS="x"),
    "which is not there": lambda c: c["services"]["caddy"]["volumes"].append("./Caddy:/x"),
    "which is no volume": lambda c: c["services"]["caddy"]["volumes"].append("data:/x"),
    "which is no service": lambda c: c["services"]["caddy"].update(depends_on={"redis": {}}),
    "does not get": lambda c: c["services"]["livestate"].pop("secrets"),
    "not declared": lambda c: c["secrets"].pop("admin_token"),
    "make-secrets makes no": lambda c: c["secrets"]["nats_url"].update(file="secrets/other"),
    "not read-only": lambda c: c["services"]["nats"].pop("read_only"),
    "without a version": lambda c: c["services"]["nats"].update(image="docker.io/library/nats"),
}


@pytest.mark.parametrize("problem", BREAKS)
def test_a_break_is_found(compose: Compose, secrets: Path, problem: str) -> None:
    broken = copy.deepcopy(compose)
    BREAKS[problem](broken)
    assert any(problem in one for one in problems(broken, secrets))


def test_secrets_are_random_kept_and_closed(secrets: Path, tmp_path: Path) -> None:
    other = tmp_path / "secrets"
    made = [DEPLOY / "make-secrets", other, "nats.example:4222", "redis.example:6379"]
    for _ in range(2):
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
        first = {path.name: path.read_text() for path in other.iterdir()}
    assert (other.stat().st_mode & 0o777) == 0o700
    again = {path.name: path.read_text() for path in other.iterdir()}
    assert again == first
    assert first["nats_url"].endswith("@nats.example:4222")
    assert first["redis_url"].endswith("@redis.example:6379/0")
    assert all(len(text) >= 48 for name, text in first.items() if name.endswith("_password"))
    mine = {path.name: path.read_text() for path in secrets.iterdir()}
    assert mine.keys() == first.keys()
    assert not set(mine.values()) & set(first.values())
    assert "change-this-password" not in first["valkey-acl.conf"]
