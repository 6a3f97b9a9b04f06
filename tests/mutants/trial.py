"""One mutant at a time in a copy of the tree, tried by the tests that call the function it is in.

``baseline`` runs each test file of a household once, unchanged, and learns each test's duration and
the functions it calls. ``killer`` plants a mutant and runs the tests that call the mutant's
function until one fails. First come the few files with the tests that call the least besides, for
the import of all files takes longer than most tests. The tree is whole again afterwards.
"""

from __future__ import annotations

import ast
import compileall
import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.mutants.households import Household
from tests.mutants.operators import Mutation
from tests.mutants.warm import Warm

ROOT: Final = Path(__file__).parents[2]
KEPT: Final = ROOT / ".livestate" / "mutants"  # traces of test files that have not changed since
COPIED: Final = (
    "livestate", "api", "tests", "docs", "deploy", "kamailio", "loadtest", "bench",
    "pyproject.toml",
)  # fmt: skip
TRACE_SECONDS: Final = 900.0
FIRST_FILES: Final = 3


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change, where it is, and the household whose tests must fail."""

    household: Household
    path: str
    function: str  # the qualified name of the innermost one around it; "" for a module's own lines
    mutation: Mutation
    line_of_code: str

    @property
    def name(self) -> str:
        """What stays the same when lines move: the file, the function, the line's text, the
        change."""
        place = f"{self.path} {self.function}".rstrip()
        return f"{place}: {self.line_of_code}  [{self.mutation.what}]"


@dataclass(frozen=True, slots=True)
class Test:
    """A test that passes unchanged, and the functions it calls."""

    name: str
    seconds: float
    called: frozenset[str]

    @property
    def file(self) -> str:
        return self.name.partition("::")[0]

    def may_notice(self, mutant: Mutant) -> bool:
        return not mutant.function or f"{mutant.path} {mutant.function}" in self.called


class BaselineFailed(Exception):
    """A test fails without a mutant, so its failure would say nothing."""


class Tree:
    """A copy of the project with its own warm process. Used by one thread."""

    def __init__(self, place: Path) -> None:
        self._place = place
        for name in COPIED:
            origin = ROOT / name
            if origin.is_dir():
                shutil.copytree(origin, place / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif origin.exists():
                shutil.copy(origin, place / name)
        compileall.compile_dir(place, quiet=2)
        self._warm = Warm(place)

    def close(self) -> None:
        self._warm.close()

    def baseline(self, file: str) -> list[Test]:
        """The tests of a file, run without a mutant. Raises BaselineFailed."""
        kept = KEPT / f"{_digest(file)}.json"
        if kept.exists():
            tests = json.loads(kept.read_text())
        else:
            tests = self._traced(file)
            KEPT.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(tests))
        return [Test(name, one["seconds"], frozenset(one["called"]))
                for name, one in tests.items()]  # fmt: skip

    def _traced(self, file: str) -> dict[str, Any]:
        answer = self._warm.ask({"trace": file}, TRACE_SECONDS)
        if answer is None or not answer["tests"]:
            raise BaselineFailed(f"{file}: no result within {TRACE_SECONDS:.0f} s")
        tests: dict[str, Any] = answer["tests"]
        for name, one in tests.items():
            if not one["passed"]:
                print(f"LEFT OUT, fails without a mutant: {name}\n{one.get('why')}", flush=True)
        return {name: one for name, one in tests.items() if one["passed"]}

    def killer(self, mutant: Mutant, tests: list[Test]) -> str | None:
        """The test that failed with the mutant planted; None if all of them passed."""
        # A function that no test calls may still run while the modules are imported.
        chosen = [test for test in tests if test.may_notice(mutant)] or tests
        path = self._place / mutant.path
        aside = path.with_suffix(".whole")
        # Its bytecode is out of date then even if the size and the second are the same.
        compiled = [one.rename(one.with_suffix(".aside"))
                    for one in path.parent.glob(f"__pycache__/{path.stem}.*.pyc")]  # fmt: skip
        path.rename(aside)
        path.write_text(mutant.mutation.source)
        try:
            for some in _stages(chosen):
                if (killer := self._failed(some)) is not None:
                    return killer
        finally:
            aside.rename(path)
            for one in compiled:
                one.rename(one.with_suffix(".pyc"))
        return None

    def _failed(self, tests: list[Test]) -> str | None:
        """The first of these tests that fails, quickest first."""
        run = [[test.name, 20 + 10 * test.seconds]
               for test in sorted(tests, key=lambda test: test.seconds)]  # fmt: skip
        answer = self._warm.ask({"run": run}, 60 + 5 * sum(test.seconds for test in tests))
        if answer is None:
            return "(no end of its tests)"
        if answer["code"] == 0:
            return None
        return answer["failed"] or "(its tests could not be imported)"


def _stages(tests: list[Test]) -> list[list[Test]]:
    """The tests of the files with the most specific ones, then the others."""
    specific = sorted(tests, key=lambda test: len(test.called))
    first = set(list(dict.fromkeys(test.file for test in specific))[:FIRST_FILES])
    stages = (
        [test for test in tests if (test.file in first) is wanted] for wanted in (True, False)
    )
    return [some for some in stages if some]


def function_around(tree: ast.Module, line: int) -> str:
    """The qualified name (``co_qualname``) of the innermost function whose body holds a line.

    The decorators and defaults of a function run in the function around it.
    """
    name, inner = "", ""
    pending: list[tuple[ast.AST, str]] = [(tree, "")]
    while pending:
        node, prefix = pending.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                pending.append((child, f"{prefix}{child.name}."))
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                if child.body[0].lineno <= line <= (child.end_lineno or 0):
                    inner = f"{prefix}{child.name}"
                    if len(inner) > len(name):
                        name = inner
                pending.append((child, f"{prefix}{child.name}.<locals>."))
            else:
                pending.append((child, prefix))
    return name


def _digest(file: str) -> str:
    """Of a test file, and of every source and helper that its calls depend on."""
    total = hashlib.sha256(file.encode())
    helpers = (path for path in ROOT.glob("tests/*.py") if not path.name.startswith("test_"))
    sources = [*ROOT.glob("livestate/**/*.py"), *ROOT.glob("api/**/*.py"), *helpers, ROOT / file]
    for path in sorted(sources):
        total.update(path.read_bytes())
    return total.hexdigest()
