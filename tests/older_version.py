"""Another version of this project, out of git's history, to run beside this one."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest


def older_version(commit: str, home: Path) -> dict[str, str]:
    """The environment in which a process is of that version, whose files are put below ``home``.
    Skips the test where there is no such history."""
    root = Path(__file__).parents[1]
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    files = subprocess.run(["git", "archive", commit], capture_output=True, check=False, cwd=root)
    if files.returncode:  # of a shallow clone, or of an archive without history
        pytest.skip(f"git's history has no {commit}")
    older = home / f"older-{commit}"
    with tarfile.open(fileobj=io.BytesIO(files.stdout)) as archive:
        archive.extractall(older, filter="data")
    return {"PYTHONPATH": str(older)}
