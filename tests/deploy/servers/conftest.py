"""``make deploy-check``: what needs Prometheus, kubectl, hadolint or bubblewrap.

A plain ``pytest`` does not run it: the tools are no part of requirements.lock.
"""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    named = any("deploy" in argument for argument in config.args)
    return None if named else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(600))  # some install packages
