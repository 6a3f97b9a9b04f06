"""The wheel and the source archive: both hold what the commands need, and run outside the tree."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from api.assets import ASSETS

ROOT = Path(__file__).parents[2]
BIN = Path(sysconfig.get_path("scripts"))
NEEDED = (".lua", ".js", ".css", ".html", ".svg", ".jsonl", "py.typed")


def hatchling(source: Path, into: Path, *what: str) -> None:
    subprocess.run([BIN / "hatchling", "build", *what, "-d", into], cwd=source, check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("dist")
    hatchling(ROOT, into)
    return into


def wheel_of(folder: Path) -> set[str]:
    (wheel,) = folder.glob("livestate-*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_has_every_file_of_its_packages(made: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "livestate", "api"], cwd=ROOT, check=True,
                            capture_output=True, text=True).stdout.split()  # fmt: skip
    assert {name for name in listed if (ROOT / name).exists()} <= wheel_of(made)
    assert {f"api/dashboard/{name}" for name in ASSETS} <= wheel_of(made)
    for suffix in NEEDED:
        assert any(name.endswith(suffix) for name in wheel_of(made)), suffix


def test_the_source_archive_makes_the_same_wheel(made: Path, tmp_path: Path) -> None:
    (archive,) = made.glob("livestate-*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    hatchling(source, tmp_path / "dist", "-t", "wheel")
    assert wheel_of(tmp_path / "dist") == wheel_of(made)
    for name in ("LICENSE", "CHANGELOG.md", "deploy/Containerfile", "tests/conftest.py"):
        assert (source / name).is_file(), name


@pytest.mark.parametrize("compiler", ["", "no-such-compiler"], ids=["PATH", "CC"])
def test_a_compiled_wheel_without_a_compiler_fails(compiler: str, tmp_path: Path) -> None:
    """It never becomes a pure wheel in silence: who asks for the compiled one needs its speed."""
    environment = {"PATH": "/nowhere", "LIVESTATE_COMPILE": "1"} | (
        {"CC": compiler} if compiler else {}
    )
    done = subprocess.run(
        [BIN / "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=ROOT, env=environment,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode != 0
    assert "livestate was not compiled: there is no C compiler" in done.stderr
    assert not list(tmp_path.glob("*.whl"))


def test_the_pure_wheel_needs_no_compiler(tmp_path: Path) -> None:
    subprocess.run([BIN / "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=ROOT,
                   env={"PATH": "/nowhere"}, check=True, timeout=60,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    assert [path.name.endswith("-py3-none-any.whl") for path in tmp_path.glob("*.whl")] == [True]


def test_the_wheel_runs_outside_the_tree(made: Path, tmp_path: Path) -> None:
    """With this environment's dependencies, but neither its programs nor the tree."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    site = Path(next((tmp_path / "venv").glob("lib/python*/site-packages")))
    (wheel,) = made.glob("livestate-*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))

    def livestate(*arguments: str) -> subprocess.CompletedProcess[str]:
        code = "import sys; from api.cli import main; sys.argv[0] = 'livestate'; main()"
        return subprocess.run(
            [tmp_path / "venv/bin/python", "-I", "-c", code, *arguments], cwd=tmp_path,
            env={"PATH": "/nowhere"}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    where = livestate("--version")
    assert where.returncode == 0
    assert "livestate, version" in where.stdout
    assert '"oneOf"' in livestate("schema").stdout
    listing = "from api.assets import ASSETS; print(*sorted(ASSETS))"
    command = [tmp_path / "venv/bin/python", "-I", "-c", listing]
    served = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert served.stdout.split() == sorted(ASSETS)
    lacking = livestate("demo", "--port", "0", "--seconds", "1")
    assert lacking.returncode == 1
    assert "is not installed (the extra `embedded` brings it)" in lacking.stderr
    assert "Traceback" not in lacking.stderr
