"""Two trees that differ in nothing but the code under measure: livestate/ and api/ of this checkout
and of its base, both with this checkout's bench/, in directories of equally long names.

A base from before a move of modules may lack what this checkout's bench/ imports. Then the base is
measured with its own bench/: paths of the same name do the same work on the same seeded day."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
MEASURED: Final = ("livestate", "api")
_NO_CACHE: Final = shutil.ignore_patterns("__pycache__")


class NoBase(Exception):
    """There is nothing to compare with; says why."""


def git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True)
    if done.returncode:
        raise NoBase(f"git {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.strip()


def base_of(wanted: str | None) -> str:
    """The commit to compare with: the one that is asked for; else the merge-base with origin/main,
    if this is a branch; else HEAD if what is measured was edited since; else HEAD's parent.
    Raises :class:`NoBase`."""
    if wanted is not None:
        return git("rev-parse", "--verify", f"{wanted}^{{commit}}")
    head = git("rev-parse", "HEAD")
    with contextlib.suppress(NoBase):  # no such remote
        merge_base = git("merge-base", "HEAD", "origin/main")
        if merge_base != head:
            return merge_base
    if git("status", "--porcelain", "--", *MEASURED):
        return head
    return git("rev-parse", "--verify", "HEAD^1^{commit}")


def named(commit: str) -> str:
    return git("log", "-1", "--format=%h %s", commit)


@contextlib.contextmanager
def two_trees(base: str | None) -> Iterator[tuple[Path, Path]]:
    """(head, base); base None is this checkout once more (A/A)."""
    with tempfile.TemporaryDirectory(prefix="livestate-gate-") as home:
        trees = Path(home) / "head", Path(home) / "base"
        for tree in trees:
            tree.mkdir()
            shutil.copytree(ROOT / "bench", tree / "bench", ignore=_NO_CACHE)
        for name in MEASURED:
            shutil.copytree(ROOT / name, trees[0] / name, ignore=_NO_CACHE)
            if base is None:
                shutil.copytree(ROOT / name, trees[1] / name, ignore=_NO_CACHE)
        if base is not None:
            _unpack(base, trees[1], *MEASURED)
            if not _imports(trees[1]):
                shutil.rmtree(trees[1] / "bench")
                _unpack(base, trees[1], "bench")
                print("the base lacks what this bench/ imports: it is measured with its own bench/")
        yield trees


def _unpack(commit: str, tree: Path, *folders: str) -> None:
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", commit, *folders], capture_output=True, check=True
    )
    subprocess.run(["tar", "-x", "-C", str(tree)], input=archive.stdout, check=True)


def _imports(tree: Path) -> bool:
    """Whether the measuring code can be imported in a tree."""
    run = subprocess.run(
        [sys.executable, "-c", "import bench.gate.child_run"],
        cwd=tree,
        env={"PYTHONPATH": str(tree)},
        capture_output=True,
    )
    return run.returncode == 0
