"""deploy/Caddyfile lets through what the service has for the outside, and nothing else."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_it_lets_every_public_path_through_and_no_other() -> None:
    line = re.search(r"@public path (.+)", (ROOT / "deploy" / "Caddyfile").read_text())
    assert line is not None
    patterns = line.group(1).split()
    document = json.loads((ROOT / "docs" / "openapi.json").read_text())
    admin = {"/healthz", "/readyz", "/statusz", "/metrics"}
    for path in document["paths"]:
        example = re.sub(r"\{\w+\}", "k1", path)
        passed = any(fnmatchcase(example, pattern) for pattern in patterns)
        assert passed is (path not in admin), path
