"""The pure and the compiled build of one source tree, to be measured side by side.

:func:`both` gives two copies of this tree that differ in nothing but the modules that mypyc has
compiled. ``bench.builds``, ``bench.figures`` and the gate measure in them, each in child processes
with the tree as PYTHONPATH.

mypyc and the C compiler take more than a minute of CPU. Their output is kept in
``.benchmarks/compiled`` under the digest of the sources, so a tree is compiled once.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Final

from hatch_build import COMPILED, missing_tools

ROOT: Final = Path(__file__).parents[1]
KEPT: Final = ROOT / ".benchmarks" / "compiled"
_KEPT_TREES: Final = 4
COMPILE_SECONDS: Final = 240.0
# A base of the gate may be older than a module that is compiled today: it is compiled without it.
_COMPILE: Final = (
    "import sys; from pathlib import Path; from hatch_build import COMPILED, compile_in; "
    "tree = Path(sys.argv[1]); "
    "compile_in(tree, [one for one in COMPILED if (tree / one).exists()])"
)
_KIND: Final = "from livestate.process.build import kind; print(kind())"
_FOLDERS: Final = ("livestate", "api", "bench", "clients")  # of clients, the page's own modules
_NOT_COPIED: Final = shutil.ignore_patterns("__pycache__", "*.so", "node_modules")


class NotMeasured(Exception):
    """A build could not be made, or a run in it did not end; says why."""


def say(began: float, what: str) -> None:
    """Progress, on the error output: the tables go to the other one."""
    print(f"{time.perf_counter() - began:5.0f} s  {what}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def both() -> Iterator[tuple[Path, Path]]:
    """(pure, compiled): two copies of this tree, in directories of equally long names. Raises
    :class:`NotMeasured` if this machine cannot compile."""
    with tempfile.TemporaryDirectory(prefix="livestate-builds-") as home:
        trees = Path(home) / "pure", Path(home) / "mypy"
        for tree in trees:
            copy_sources(tree)
        compile_tree(trees[1])
        for tree, wanted in zip(trees, ("pure", "compiled"), strict=True):
            if run(tree, 60, "-c", _KIND).strip() != wanted:
                raise NotMeasured(f"{tree.name} is not the {wanted} build")
        yield trees


def copy_sources(tree: Path) -> None:
    """All that a service needs which is started there."""
    for folder in _FOLDERS:
        shutil.copytree(ROOT / folder, tree / folder, ignore=_NOT_COPIED)


def compile_tree(tree: Path, seconds: float = COMPILE_SECONDS) -> None:
    """Compile a copy of the source tree in place, or take what was made of the same source before.
    Raises :class:`NotMeasured` with the reason where it cannot, or not in so many seconds."""
    if missing := missing_tools():
        raise NotMeasured(missing)
    kept = KEPT / digest(tree)
    if not kept.exists():
        _compile(tree, seconds)
        made = [*tree.glob("*.so"), *(tree / "livestate").rglob("*.so")]
        unfinished = KEPT / f"{kept.name}.{os.getpid()}"
        for one in made:
            into = unfinished / one.relative_to(tree)
            into.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(one, into)
        with contextlib.suppress(OSError):  # another process was quicker
            unfinished.rename(kept)
        shutil.rmtree(unfinished, ignore_errors=True)
        for old in sorted(KEPT.iterdir(), key=lambda one: one.stat().st_mtime)[:-_KEPT_TREES]:
            shutil.rmtree(old, ignore_errors=True)
    else:
        shutil.copytree(kept, tree, dirs_exist_ok=True)


def _compile(tree: Path, seconds: float) -> None:
    # Without a cache of mypy's own: it would lie in the tree, which is measured.
    words = [sys.executable, "-c", _COMPILE, str(tree)]
    process = subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)  # the compiler too; it is a group of its own
        process.communicate()
        raise NotMeasured(f"mypyc and the C compiler took more than {seconds:.0f} s") from None
    if process.returncode:
        raise NotMeasured(f"mypyc or the C compiler failed:\n{output[-2000:]}")


def digest(tree: Path) -> str:
    """Of all that the compiled modules are made from."""
    digest = blake2b(digest_size=12)
    digest.update(f"{sys.version} {version('mypy')} {COMPILED}".encode())
    for path in sorted((tree / "livestate").rglob("*.py")):
        digest.update(f"{path.relative_to(tree)} {path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def run(tree: Path, seconds: float, *words: str) -> str:
    """What a Python program prints in a tree. Raises :class:`NotMeasured` if it fails, or does not
    end in so many seconds."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
    } | {"PYTHONPATH": str(tree)}
    process = subprocess.Popen(
        [sys.executable, *words], cwd=tree, env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)  # also its children: they are in its process group
        process.communicate()
        raise NotMeasured(f"not done after {seconds:.0f} s") from None
    if process.returncode:
        last = (errors.strip().splitlines() or ["no message"])[-1]
        raise NotMeasured(f"exit status {process.returncode}: {last[:300]}")
    return output
