"""What a build says of itself."""

from __future__ import annotations

from click.testing import CliRunner

import livestate.state.call
from api.cli import main
from livestate.process import build


def test_a_build_says_whether_the_fold_is_compiled() -> None:
    pure = livestate.state.call.__file__.endswith(".py")
    assert build.kind() == ("pure" if pure else "compiled")


def test_the_version_says_which_build_runs() -> None:
    assert CliRunner().invoke(main, ["--version"]).output.endswith(f"({build.kind()})\n")
