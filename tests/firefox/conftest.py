"""``make firefox``: a plain ``pytest`` runs none of it, for Firefox is a large thing to install."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    named = any("firefox" in argument for argument in config.args)
    return None if named else True
