"""The forge's workflows and pre-commit run what the Makefile and ``.ci/run`` run, and no less."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = ROOT / ".github/workflows"


def commands(workflow: str) -> str:
    content: dict[str, Any] = yaml.safe_load((WORKFLOWS / workflow).read_text())
    return "\n".join(
        step["run"]
        for job in content["jobs"].values() for step in job.get("steps", []) if "run" in step
    )  # fmt: skip


def test_the_forge_runs_what_ci_runs() -> None:
    assert "bash .ci/run" in commands("check.yml")
    release = yaml.safe_load((WORKFLOWS / "release.yml").read_text())
    assert release["jobs"]["check"]["uses"] == "./.github/workflows/check.yml"
    assert release["jobs"]["build"]["needs"] == "check"
    assert release["jobs"]["publish"]["needs"] == ["build", "wheels"]
    assert release["jobs"]["wheels"]["uses"] == "./.github/workflows/wheels.yml"


def test_every_target_that_a_workflow_makes_exists() -> None:
    targets = set(re.findall(r"^([\w./-]+):", (ROOT / "Makefile").read_text(), re.M))
    made = set(
        re.findall(r"^make ([\w-]+)", commands("check.yml") + "\n" + commands("release.yml"), re.M)
    )
    made |= set(re.findall(r"^sudo .*make ([\w-]+)", commands("check.yml"), re.M))
    assert made == {"check", "test", "dist"}
    assert made <= targets
    script = (ROOT / ".ci/run").read_text()
    ci = set(re.findall(r"^(?:make|twice) ([\w./-]+)", script, re.M))
    for lanes in re.findall(r"^side_by_side (.+)$", script, re.M):
        ci |= set(re.findall(r"[\w-]+", lanes))
    assert ci <= targets
    assert "deploy-check" in ci


def test_a_release_has_compiled_wheels_of_every_python_that_is_supported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheels = project["tool"]["cibuildwheel"]
    assert wheels["environment"] == {"LIVESTATE_COMPILE": "1"}
    built = [re.fullmatch(r"cp3(\d+)-\*", one) for one in wheels["build"]]
    minors = [int(one[1]) for one in built if one is not None]
    oldest = project["project"]["requires-python"].removeprefix(">=3.")
    assert minors == list(range(int(oldest), 15))
    content = yaml.safe_load((WORKFLOWS / "wheels.yml").read_text())
    machines = content["jobs"]["compiled"]["strategy"]["matrix"]["include"]
    assert [one["machine"] for one in machines] == ["x86_64", "aarch64"]
    assert "python -m cibuildwheel --output-dir dist" in commands("wheels.yml")
    (upload,) = (step["with"] for step in content["jobs"]["compiled"]["steps"]
                 if step.get("uses", "").startswith("actions/upload-artifact@"))  # fmt: skip
    assert upload["path"] == "dist"


def test_only_the_job_that_publishes_may_write() -> None:
    for path in WORKFLOWS.glob("*.yml"):
        content = yaml.safe_load(path.read_text())
        assert content["permissions"] == {"contents": "read"}
        for name, job in content["jobs"].items():
            assert ("permissions" in job) == (name == "publish")


def test_pre_commit_runs_what_make_check_runs() -> None:
    makefile = (ROOT / "Makefile").read_text()
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", makefile, re.M)
    assert recipe is not None
    wanted = {line.strip().replace("@$(BIN)/", ".venv/bin/").removesuffix(" .")
              for line in recipe[1].splitlines()}  # fmt: skip
    content = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert {hook["entry"] for hook in content["repos"][0]["hooks"]} == wanted
