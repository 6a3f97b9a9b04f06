"""Compiles the fold when a wheel is built with ``LIVESTATE_COMPILE=1``; else the wheel is pure.

hatchling calls it (``tool.hatch.build.targets.wheel.hooks.custom``). mypyc compiles the modules of
:data:`COMPILED` from the source that is in the wheel too: Python imports the compiled one. It needs
a C compiler and Python's headers, and the build fails without them (decision 91).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMPILED: Final = (
    *(
        f"livestate/state/{name}.py"
        for name in (
            "access", "active_calls", "call", "call_fields", "call_keys", "call_weight",
            "node_calls", "position", "reconcile", "retention", "transitions", "view", "views",
        )
    ),
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
        shutil.copytree(Path(self.root) / "livestate", tree / "livestate")
        done = subprocess.run([sys.executable, "-c", _COMPILE, *COMPILED], cwd=tree, check=False)
        if done.returncode:
            self.finalize(version, build_data, "")
            raise RuntimeError("livestate was not compiled (is there a C compiler, and Python.h?)")
        made = [*tree.glob("*.so"), *(tree / "livestate").rglob("*.so")]
        build_data["force_include"].update({str(one): str(one.relative_to(tree)) for one in made})
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the copy."""
        if _wanted():
            shutil.rmtree(self._home, ignore_errors=True)


def _wanted() -> bool:
    return os.environ.get("LIVESTATE_COMPILE", "") not in ("", "0")
