"""The documents agree with the code."""

from __future__ import annotations

import re
from pathlib import Path

from docs.generate import main

ROOT = Path(__file__).parents[2]


def test_the_generated_pages_are_those_of_the_code() -> None:
    assert main(["--check"]) == 0


def test_every_test_that_the_threat_model_names_is_there() -> None:
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", (ROOT / "docs/threat-model.md").read_text())
    assert len(named) > 40
    lost = [
        f"{file}::{name}" for file, name in named
        if not (ROOT / "tests" / file).exists()
        or not re.search(rf"^(?:async )?def {name}\(", (ROOT / "tests" / file).read_text(), re.M)
    ]  # fmt: skip
    assert lost == []
