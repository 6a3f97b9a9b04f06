"""A Python process that has imported the libraries of the tests and runs tests in forks of itself.

``Warm`` (``make mutants``) starts it in a copy of the tree and asks it for one run at a time. A
fork imports the project's own modules again, so it sees the mutant that stands in the tree at that
moment, and it saves the second of CPU that the libraries take. A request and its answer are a line
of JSON each:

- ``{"trace": file}``: run a test file and report each test's duration, whether it passed, and the
  functions of the project that it called.
- ``{"run": [[test, seconds], …]}``: run these tests in this order until the first failure;
  ``seconds`` is the longest that each may take. The answer names the test that failed.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest
from hypothesis import Phase, settings

PLUGINS: Final = ("_hypothesis_pytestplugin", "pytest_asyncio.plugin", "pytest_benchmark.plugin",
                  "pytest_timeout")  # fmt: skip
OPTIONS: Final = ["-q", "--hypothesis-seed=1", "--timeout-method=signal",
                  "-W", "ignore::pytest.PytestAssertRewriteWarning",
                  *(word for plugin in PLUGINS for word in ("-p", plugin))]  # fmt: skip
LIBRARIES: Final = (
    *PLUGINS, "h11", "httpx", "hypercorn.asyncio", "hypothesis.stateful", "jsonschema", "jwt",
    "nats", "nats.js", "orjson", "prometheus_client", "pydantic_settings", "quart",
    "redis.asyncio", "statistics", "uvloop",
)  # fmt: skip
TRACED_SECONDS: Final = 2.0  # of CPU, of each test: its later examples call nothing else
MAX_BYTES: Final = 3 << 30  # a mutant that allocates without end takes no more than this


class Warm:
    """The process, and how to ask it. Used by one thread."""

    def __init__(self, tree: Path) -> None:
        # The tree comes before the editable install, for `livestate serve` as well. A mutant's
        # bytecode must not be kept: the next mutant may have the same size and second.
        environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1",
                                    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.mutants.warm"], cwd=tree, env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any] | None:
        """The answer; None if there is none within ``seconds`` (the fork is killed then)."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request | {"seconds": seconds}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] | None = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Chosen:
    """A pytest plugin: the tests of the request, in its order, each within its seconds."""

    def __init__(self, tests: list[tuple[str, float]]) -> None:
        self._order = {test: number for number, (test, _) in enumerate(tests)}
        self._seconds = dict(tests)
        self.failed: str | None = None

    def pytest_configure(self) -> None:
        # A failure is enough: Hypothesis need not look for the smallest example of it.
        settings.register_profile(
            "mutants", settings.get_profile("promises"), database=None,
            phases=(Phase.explicit, Phase.generate),
        )  # fmt: skip
        settings.load_profile("mutants")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted(
            (item for item in items if item.nodeid in self._order),
            key=lambda item: self._order[item.nodeid],
        )
        for item in items:
            item.add_marker(pytest.mark.timeout(self._seconds[item.nodeid]))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self.failed is None:
            self.failed = report.nodeid


class Tracer:
    """A pytest plugin: each test's duration, outcome, and functions of the project it called."""

    def __init__(self) -> None:
        self.tests: dict[str, dict[str, Any]] = {}
        self._called: set[str] = set()
        self._seen: dict[Any, str | None] = {}
        self._root = f"{Path.cwd()}/"
        self._until = 0.0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._called = set()
        self._until = time.process_time() + TRACED_SECONDS
        began = time.monotonic()
        threading.settrace(self._trace)
        sys.settrace(self._trace)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]
            test = {"passed": True} | self.tests.get(item.nodeid, {})
            called = {"seconds": time.monotonic() - began, "called": sorted(self._called)}
            self.tests[item.nodeid] = test | called

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.passed:
            test = self.tests.setdefault(report.nodeid, {})
            test |= {"passed": report.skipped, "why": report.longreprtext}

    def _trace(self, frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if code not in self._seen:
            path = code.co_filename.removeprefix(self._root)
            own = path.startswith(("livestate/", "api/"))
            self._seen[code] = f"{path} {code.co_qualname}" if own else None
        if (name := self._seen[code]) is not None:
            self._called.add(name)
            if time.process_time() > self._until:
                sys.settrace(None)


def _in_fork(request: dict[str, Any], answers: int) -> None:
    os.setpgid(0, 0)
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_BYTES, MAX_BYTES))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    answer: dict[str, Any]
    if "trace" in request:
        sys.dont_write_bytecode = False  # nothing is mutated now: later runs need not compile
        tracer = Tracer()
        pytest.main([*OPTIONS, "--timeout=600", request["trace"]], plugins=[tracer])
        answer = {"tests": tracer.tests}
    else:
        tests = [(test, seconds) for test, seconds in request["run"]]
        chosen = Chosen(tests)
        files = dict.fromkeys(test.partition("::")[0] for test, _ in tests)
        code = pytest.main([*OPTIONS, "-x", *files], plugins=[chosen])
        answer = {"code": int(code), "failed": chosen.failed}
    with os.fdopen(answers, "w") as pipe:
        json.dump(answer, pipe)


def _answered(request: dict[str, Any]) -> dict[str, Any] | None:
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        os.close(reading)
        try:
            _in_fork(request, writing)
        finally:
            os._exit(0)
    os.close(writing)
    text = b""
    deadline = time.monotonic() + request["seconds"]
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while (left := deadline - time.monotonic()) > 0:
            if select.select([pipe], [], [], left)[0]:
                piece = pipe.read(1 << 16)
                if not piece:
                    break
                text += piece
    for group in (True, False):  # what the tests started, then the fork: it may be no group yet
        try:
            (os.killpg if group else os.kill)(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    os.waitpid(pid, 0)
    answer: dict[str, Any] | None = json.loads(text) if text else None
    return answer


def main() -> None:
    for library in LIBRARIES:
        __import__(library)
    for line in sys.stdin:
        print(json.dumps(_answered(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
