"""Compiles the fold when a wheel is built with ``LIVESTATE_COMPILE=1``; else the wheel is pure.

hatchling calls it (``tool.hatch.build.targets.wheel.hooks.custom``). mypyc compiles the modules of
:data:`COMPILED` from the source that is in the wheel too: Python imports the compiled one. It needs
a C compiler and Python's headers, and the build fails without them (decision 91).
``bench/builds.py`` compiles a copy of the tree in the same way, to measure both builds.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# What runs for every event, but for what waits, reads a socket or is a pydantic model.
COMPILED: Final = (
    *(
        f"livestate/state/{name}.py"
        for name in (
            "access", "active_calls", "call", "call_fields", "call_keys", "call_weight",
            "combine", "node_calls", "phase_log", "position", "reconcile", "retention",
            "transitions", "view", "views", "kpi/gauges", "kpi/kpis", "kpi/report",
            "kpi/scope_kpis", "kpi/trunk_hour", "kpi/trunk_window", "kpi/trunks",
            "kpi/window", "nodes/clock_offset", "nodes/dialog_list", "nodes/epochs",
            "nodes/health", "nodes/node", "nodes/registry", "nodes/rival_epochs",
            "nodes/sequence", "nodes/trouble",
        )
    ),
    "livestate/ingest/counters.py",
    "livestate/ingest/known_items.py",
    "livestate/ingest/pipeline.py",
    "livestate/ingest/sinks.py",
    "livestate/store/record.py",
    "livestate/fanout/patch.py",
)  # fmt: skip
# Run in a copy of the tree, which mypyc and setuptools fill with what they make.
_COMPILE: Final = """
import sys
from mypyc.build import mypycify
from setuptools import Distribution
from setuptools.command.build_ext import build_ext

modules = mypycify(["--config-file=", "--ignore-missing-imports", *sys.argv[1:]], opt_level="2")
build = build_ext(Distribution({"name": "livestate", "ext_modules": modules}))
build.inplace = True
build.ensure_finalized()
build.run()
"""


class CompileHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the compiled modules to a wheel."""

    def dependencies(self) -> list[str]:
        """What the build needs besides hatchling."""
        return ["mypy >= 1.13", "pydantic >= 2.12", "setuptools"] if _wanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, unless the wheel is pure. Raises if that fails."""
        if not _wanted():
            return
        if version == "editable":
            raise RuntimeError("an editable install cannot be compiled: unset LIVESTATE_COMPILE")
        self._home = tempfile.mkdtemp(prefix="livestate-compile-")
        tree = Path(self._home)
        try:
            shutil.copytree(Path(self.root) / "livestate", tree / "livestate")
            made = compile_in(tree)
        except BaseException:
            self.finalize(version, build_data, "")
            raise
        build_data["force_include"].update({str(one): str(one.relative_to(tree)) for one in made})
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the copy."""
        if _wanted():
            shutil.rmtree(self._home, ignore_errors=True)


def compile_in(tree: Path, modules: Sequence[str] = COMPILED) -> list[Path]:
    """Compile these modules of a copy of the source tree in place; the files of machine code that
    were made. Raises ``RuntimeError`` with what is missing on this machine, or if the compiler
    fails."""
    missing = missing_tools()
    if missing:
        raise RuntimeError(f"livestate was not compiled: {missing}")
    done = subprocess.run([sys.executable, "-c", _COMPILE, *modules], cwd=tree, check=False)
    if done.returncode:
        raise RuntimeError("livestate was not compiled: mypyc or the C compiler failed, see above")
    return [*tree.glob("*.so"), *(tree / "livestate").rglob("*.so")]


def missing_tools() -> str:
    """What this machine lacks to compile, in one sentence; "" if nothing. Found before mypyc works
    for half a minute in vain."""
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.exists():
        return f"the headers of {sys.executable} are not installed (there is no {header})"
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return f"there is no C compiler ({compiler} is not on PATH; CC names another one)"
    return ""


def _wanted() -> bool:
    return os.environ.get("LIVESTATE_COMPILE", "") not in ("", "0")
