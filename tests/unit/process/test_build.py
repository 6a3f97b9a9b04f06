"""What a build says of itself."""

from __future__ import annotations

import importlib
from importlib.machinery import EXTENSION_SUFFIXES

from click.testing import CliRunner

import livestate.state.call
from api.cli import main
from hatch_build import COMPILED
from livestate.process import build


def test_a_build_says_whether_the_fold_is_compiled() -> None:
    pure = livestate.state.call.__file__.endswith(".py")
    assert build.kind() == ("pure" if pure else "compiled")


def test_every_module_of_the_compiled_build_is_machine_code() -> None:
    """Otherwise the tests of a compiled wheel could run on the source of some modules."""
    for path in COMPILED:
        name = path.removesuffix(".py").replace("/", ".")
        found = importlib.import_module(name).__file__ or ""
        wanted = (".py",) if build.kind() == "pure" else tuple(EXTENSION_SUFFIXES)
        assert found.endswith(wanted), found


def test_the_version_says_which_build_runs() -> None:
    assert CliRunner().invoke(main, ["--version"]).output.endswith(f"({build.kind()})\n")
