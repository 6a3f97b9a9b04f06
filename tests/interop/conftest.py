"""What is not in Python is installed once, by npm, beside the tests that use it.

:mod:`tests.interop.table` prints at the end what was run.
"""

from __future__ import annotations

import fcntl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import absent
from tests.interop.table import pytest_terminal_summary, ran

__all__ = ["pytest_terminal_summary", "ran"]  # a hook and a fixture
HERE = Path(__file__).parent


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """``make interop``: a plain ``pytest`` does not run it, because it needs Node.js and npm."""
    named = any("interop" in argument for argument in config.args)
    return None if named else True


@pytest.fixture(scope="session")
def python() -> str:
    """A Python that has the clients of clients.lock."""
    found = HERE.parents[1] / ".venv/clients/bin/python"
    return str(found) if found.exists() else absent("the venv of clients (make interop makes it)")


@pytest.fixture(scope="session")
def modules(program: Callable[[str], str]) -> Path:
    """The directory with the installed packages of package.json."""
    package = HERE / "package.json"
    installed = HERE / "node_modules" / ".installed"  # what package.json was then
    with package.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # pytest-xdist: one worker installs for all
        wanted = file.read()
        if not installed.exists() or installed.read_text() != wanted:
            command = [program("npm"), "install", "--no-audit", "--no-fund", "--no-package-lock"]
            if subprocess.run(command, cwd=HERE, capture_output=True, check=False).returncode:
                absent("the packages of npm")
            installed.write_text(wanted)
    return HERE
