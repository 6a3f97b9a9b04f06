"""The Compose file and the workflows against the schemas that their projects publish."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = Path(sysconfig.get_path("scripts")) / "check-jsonschema"
COMPOSE = ROOT / "deploy/compose.yaml"


def accepted(schema: str, path: Path) -> bool:
    command = [PROGRAM, "--builtin-schema", f"vendor.{schema}", path]
    return subprocess.run(command, capture_output=True).returncode == 0


def test_the_compose_file_fits_the_compose_specification() -> None:
    assert accepted("compose-spec", COMPOSE)


@pytest.mark.parametrize(
    ("was", "broken"),
    [
        ("services:\n", "service:\n"),
        ("restart: unless-stopped", "restart: [always]"),
        ("condition: service_healthy", "condition: healthy"),
        ("mem_limit: 2g", "memory_limit: 2g"),
        ("retries: 10", "retries: [10]"),
    ],
)
def test_a_broken_compose_file_is_refused(tmp_path: Path, was: str, broken: str) -> None:
    text = COMPOSE.read_text()
    assert was in text
    (tmp_path / "compose.yaml").write_text(text.replace(was, broken))
    assert not accepted("compose-spec", tmp_path / "compose.yaml")


@pytest.mark.parametrize("path", sorted((ROOT / ".github/workflows").glob("*.yml")))
def test_the_workflows_fit_the_schema_of_their_forge(path: Path, tmp_path: Path) -> None:
    assert accepted("github-workflows", path)
    broken = tmp_path / path.name
    broken.write_text(path.read_text().replace("runs-on:", "run-on:"))
    assert not accepted("github-workflows", broken)
