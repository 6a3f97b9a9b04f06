"""No break without a new version: what the code publishes against what was released last."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.cli.child_service import Instance
from api.openapi import document
from docs import compatibility, release
from docs.asyncapi import specification
from livestate.contract.events import contract_schema

Breaks = Callable[[Any, Any], list[str]]
ROOT = Path(__file__).parents[2]


def released(name: str) -> Any:
    return json.loads((release.RELEASED / name).read_text())


def plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


PUBLISHED: dict[str, tuple[Breaks, Callable[[], Any]]] = {
    "contract.schema.json": (compatibility.contract_breaks, contract_schema),
    "openapi.json": (compatibility.route_breaks, document),
    "wire.json": (compatibility.wire_breaks, lambda: specification()["components"]["schemas"]),
    "settings.json": (compatibility.setting_breaks, release.settings),
}


def parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def may_break() -> bool:
    """A new major version may, and before 1.0.0 a new minor one."""
    now, then = parts(release.version()), parts(released("version.json")["version"])
    return now[0] > then[0] or (now[0] == 0 and now[1] > then[1])


@pytest.mark.parametrize("name", PUBLISHED)
def test_nothing_that_was_published_breaks(name: str) -> None:
    breaks, make = PUBLISHED[name]
    found = breaks(released(name), plain(make()))
    assert may_break() or found == [], "docs/versioning.md says what a break needs"


async def test_no_metric_of_the_last_release_is_gone(service: Instance) -> None:
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{service.admin_url}/metrics")).text
    now = release.metrics(text)
    assert may_break() or compatibility.metric_breaks(released("metrics.json"), now) == []


def test_a_version_is_never_before_the_last_one() -> None:
    assert parts(release.version()) >= parts(released("version.json")["version"])


def change(path: str, value: Any) -> Callable[[Any], None]:
    """Set a value, or with None take it away."""

    def apply(page: Any) -> None:
        *way, last = path.split("/")
        for name in way:
            page = page[name]
        if value is None:
            del page[last]
        else:
            page[last] = value

    return apply


SETUP = "$defs/Setup"
PLANTED = [
    ("contract.schema.json", change("$defs/Notice", None), "Notice is gone"),
    ("contract.schema.json", change(f"{SETUP}/properties/trunk", None), "trunk is ignored now"),
    ("contract.schema.json", change(f"{SETUP}/required", ["v", "node", "trunk"]), "trunk is requi"),
    ("contract.schema.json", change(f"{SETUP}/properties/node/maxLength", 20), "maxLength 20"),
    ("contract.schema.json", change(f"{SETUP}/properties/node/pattern", "^x$"), "another pattern"),
    ("contract.schema.json", change(f"{SETUP}/properties/v/const", 2), "no longer takes the value"),
    ("contract.schema.json", change(f"{SETUP}/properties/seq/type", "string"), "takes integer"),
    ("openapi.json", lambda page: page["paths"].pop("/healthz"), "GET /healthz is gone"),
    ("wire.json", change("Call/properties/trunk", None), "Call.trunk is gone"),
    ("wire.json", change("heartbeat/required", ["as_of"]), "heartbeat.digest may be absent now"),
    ("wire.json", change("kpi/properties/cps/type", ["number", "null"]), "cps can be null now"),
    ("wire.json", change("Call/properties/state/enum", ["trying", "parked"]), "can be parked"),
    ("settings.json", change("LIVESTATE_TICK_MS", None), "LIVESTATE_TICK_MS is gone"),
    ("settings.json", change("LIVESTATE_TICK_MS", 50.0), "is 50.0 by default, not 100.0"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "apply", "found"), PLANTED, ids=[one for *_, one in PLANTED])
def test_a_planted_break_is_found(name: str, apply: Callable[[Any], None], found: str) -> None:
    breaks, make = PUBLISHED[name]
    before = plain(make())
    after = copy.deepcopy(before)
    apply(after)
    assert any(found in one for one in breaks(before, after))
    assert breaks(before, before) == []


def test_additions_are_no_break() -> None:
    contract = plain(contract_schema())
    more = copy.deepcopy(contract)
    more["$defs"]["Parked"] = {}
    more["$defs"]["Setup"]["properties"]["codec"] = {"type": "string"}
    more["$defs"]["Setup"]["properties"]["node"]["maxLength"] += 1
    assert compatibility.contract_breaks(contract, more) == []
    wire = plain(specification()["components"]["schemas"])
    wider = copy.deepcopy(wire)
    wider["Call"]["properties"]["codec"] = {"type": "string"}
    assert compatibility.wire_breaks(wire, wider) == []
    assert compatibility.setting_breaks({"A": 1}, {"A": 1, "B": 2}) == []


def test_metrics_are_compared_by_name_type_and_labels() -> None:
    old = release.metrics('# TYPE a gauge\na 1\n# TYPE b_total counter\nb_total{why="x"} 1\n')
    assert old == {"a": {"type": "gauge", "labels": []},
                   "b_total": {"type": "counter", "labels": ["why"]}}  # fmt: skip
    assert compatibility.metric_breaks(old, old) == []
    for new in ("", "# TYPE a counter\na 1\n", '# TYPE b_total counter\nb_total{who="x"} 1\n'):
        assert compatibility.metric_breaks(old, release.metrics(new)) != []


def test_the_notes_of_a_release_are_its_part_of_the_changelog(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    script = tmp_path / "scripts/release-notes"
    script.write_bytes((ROOT / "scripts/release-notes").read_bytes())
    script.chmod(0o755)
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## Unreleased\n- next\n\n## 0.2.0 (2027-01-01)\n### Added\n- this\n\n"
        "## [0.1.0]\n- first\n\n## 0.0.1\n\n"
    )

    def notes(version: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([script, version], capture_output=True, text=True)

    assert notes("0.2.0").stdout.strip() == "### Added\n- this"
    assert notes("0.1.0").stdout.strip() == "- first"
    assert notes("0.0.1").returncode == 1  # nothing to say
    assert notes("0.3.0").returncode == 1
