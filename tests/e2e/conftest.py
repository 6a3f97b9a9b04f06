"""``make e2e``: a plain ``pytest`` does not run it, for it takes minutes and SIP phones."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.conftest import absent
from tests.e2e.lab import PATH
from tests.e2e.rig import Rig

LINES = pytest.StashKey["list[str]"]()
Rigs: TypeAlias = Callable[..., Rig]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LINES] = []


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    named = any("e2e" in argument for argument in config.args)
    return None if named else True


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """A line for the summary at the end."""
    return request.config.stash[LINES].append


@pytest.fixture
def rigs(tmp_path: Path, program: Callable[[str], str]) -> Rigs:
    """``async with rigs() as rig``, or with a Kamailio of one's own."""
    for name in ("kamailio", "sipp"):
        if shutil.which(name, path=PATH) is None:
            absent(name)
    return lambda kamailio=None: Rig(tmp_path, program("chromium"), kamailio)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if lines := config.stash[LINES]:
        terminalreporter.section("end to end")
        for line in lines:
            terminalreporter.write_line(line)
