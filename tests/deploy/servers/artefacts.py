"""One validator for each file of deploy/: ``None``, or what is wrong with the file in a copy.

``tests/deploy/servers/test_every_artefact.py`` breaks each file and must see its validator red.
Deeper tests of the same files stand beside it and in tests/unit, tests/e2e and tests/abuse.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sysconfig
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import kubernetes_validate
import yaml

from livestate.devtools.servers import nats_program, valkey_program
from tests.conftest import absent
from tests.redis_acl import needed

BIN = Path(sysconfig.get_path("scripts"))
Validator: TypeAlias = Callable[[Path, str], str | None]


def program(name: str) -> str:
    own = BIN / name
    return str(own) if own.exists() else shutil.which(name) or _sbin(name) or absent(name)


def _sbin(name: str) -> str | None:
    return shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin")


def ran(*command: str | Path, **more: Any) -> str | None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, **more)
    return None if done.returncode == 0 else done.stdout + done.stderr or f"code {done.returncode}"


def containerfile(tree: Path, name: str) -> str | None:
    return ran(program("hadolint"), tree / name)


def compose(tree: Path, name: str) -> str | None:
    return ran(program("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", tree / name)


def caddyfile(tree: Path, name: str) -> str | None:
    return ran(program("caddy"), "validate", "--adapter", "caddyfile", "--config", tree / name)


def nats(tree: Path, name: str) -> str | None:
    variables = re.findall(r"\$(\w+)", (tree / name).read_text())
    return ran(nats_program() or "", "-t", "-c", tree / name,
               env=dict.fromkeys(variables, '"x"'))  # fmt: skip


def redis_acl(tree: Path, name: str) -> str | None:
    """The server takes the rule, and it has each command that the service sends."""
    text = (tree / name).read_text()
    missing = {command for command in needed() if f"+{command}" not in text.split()}
    if missing:
        return f"lacks {sorted(missing)}"
    sock = str(tree / "s")
    return _starts(
        [valkey_program() or "", str(tree / name), "--port", "0", "--unixsocket", sock,
         "--save", "", "--dir", str(tree)]
    )  # fmt: skip


def _starts(server: list[str]) -> str | None:
    process = subprocess.Popen(server, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    told = ""
    for line in process.stdout:
        told += line
        if "eady to accept connections" in line:
            break
    alive = "eady to accept connections" in told
    process.kill()
    process.communicate()
    return None if alive else told


def firewall(tree: Path, name: str) -> str | None:
    return ran(program("nft"), "-c", "-f", tree / name)


def unit(tree: Path, name: str) -> str | None:
    """Alone, and livestate.service with the drop-in of its secrets."""
    text = (tree / name).read_text()
    home = tree / "units"
    (home / "livestate.service.d").mkdir(parents=True, exist_ok=True)
    base = name if name.endswith(".service") else "deploy/livestate.service"
    copied = (tree / base).read_text()
    (home / Path(base).name).write_text(re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", copied))
    if not name.endswith(".service"):
        (home / "livestate.service.d/secrets.conf").write_text(text)
    told = ran(program("systemd-analyze"), "verify", "--man=no", home / Path(base).name)
    done = subprocess.run(
        [program("systemd-analyze"), "verify", "--man=no", home / Path(base).name],
        capture_output=True, text=True,
    )  # fmt: skip
    wrong = [
        line for line in done.stderr.splitlines() if "Unknown" in line or "Failed to parse" in line
    ]
    return told or "\n".join(wrong) or None


def kustomized(tree: Path, name: str) -> str | None:
    """The built objects fit the schemas of Kubernetes; what each file brings is there."""
    kubectl, base = program("kubectl"), {
        "Namespace", "ConfigMap", "Service", "Deployment", "PodDisruptionBudget", "NetworkPolicy"
    }  # fmt: skip
    operator = {"ServiceMonitor", "PrometheusRule"}
    for folder, wanted in (("base", base), ("monitoring", base | operator)):
        built = subprocess.run(
            [kubectl, "kustomize", tree / "deploy/kubernetes" / folder],
            capture_output=True,
            text=True,
        )
        if built.returncode:
            return built.stderr
        objects = list(yaml.safe_load_all(built.stdout))
        for one in objects:
            if one["kind"] in operator:
                if one["apiVersion"] != "monitoring.coreos.com/v1" or not one.get("spec"):
                    return f"{one['kind']} is of no known version"
                continue
            try:
                kubernetes_validate.validate(one, "1.29", strict=True)
            except Exception as error:  # noqa: BLE001  # one class per kind of finding
                return str(error)
        kinds = {one["kind"] for one in objects}
        if kinds != wanted:
            return f"{folder} has {kinds ^ wanted} too many or too few"
        labels = {one["metadata"].get("namespace") for one in objects if one["kind"] != "Namespace"}
        if labels != {"livestate"}:
            return f"namespaces {labels}"
        (config,) = [one for one in objects if one["kind"] == "ConfigMap"]
        if not config["data"] or not all(key.startswith("LIVESTATE_") for key in config["data"]):
            return "the settings are none of ours"
    return None


def rules(tree: Path, name: str) -> str | None:
    return ran(program("promtool"), "check", "rules", "--lint=all", "--lint-fatal", tree / name)


def prometheus(tree: Path, name: str) -> str | None:
    """Of the image, /etc/prometheus and /run/secrets are elsewhere."""
    text = (tree / name).read_text().replace("/etc/prometheus", str(tree / "deploy/prometheus"))
    text = re.sub(r"/run/secrets/\w+", str(tree / "deploy/redis-acl.conf"), text)
    path = tree / "deploy/prometheus/elsewhere.yaml"
    path.write_text(text)
    return ran(program("promtool"), "check", "config", path)


def dashboard(tree: Path, name: str) -> str | None:
    """JSON whose queries Prometheus can parse, on the datasource that is provisioned."""
    try:
        board = json.loads((tree / name).read_text())
        targets = [target for panel in board["panels"] for target in panel["targets"]]
        queries = [target["expr"] for target in targets]
        sources = {panel["datasource"]["uid"] for panel in board["panels"]}
        variables = {f"${{{one['name']}}}": one for one in board["templating"]["list"]}
        right = all(variables[uid]["query"] == "prometheus" for uid in sources)
    except (ValueError, KeyError, TypeError) as error:
        return repr(error)
    if not right:
        return f"datasources {sources}"
    recorded = [{"record": f"x{n}", "expr": query.replace("$instance", ".*")}
                for n, query in enumerate(queries)]  # fmt: skip
    path = tree / "queries.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "x", "rules": recorded}]}))
    return ran(program("promtool"), "check", "rules", path)


def provisioning(tree: Path, name: str) -> str | None:
    """Grafana ignores what it does not know: so the names are compared with what they refer to."""
    told = yaml.safe_load((tree / name).read_text())
    mounts = (tree / "deploy/compose.yaml").read_text()
    if told.get("apiVersion") != 1:
        return "no apiVersion 1"
    if "datasources" in name:
        (source,) = told.get("datasources", [{}])
        right = {"uid": "livestate-prometheus", "type": "prometheus", "access": "proxy",
                 "url": "http://prometheus:9090"}  # fmt: skip
        return None if right.items() <= source.items() else f"datasource {source}"
    (provider,) = told.get("providers", [{}])
    path = provider.get("options", {}).get("path", "-")
    good = provider.get("type") == "file" and f":{path}:ro" in mounts
    return None if good else f"provider {provider}"


def lock(tree: Path, name: str) -> str | None:
    """Each line pins a version by hashes, and everything that is asked for is there."""
    text = (tree / name).read_text().replace("\\\n", " ")
    pinned = set()
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = re.match(
            r"([A-Za-z0-9._-]+)(?:\[[\w,-]+\])?==\S+.*--hash=sha256:[0-9a-f]{64}\b", line
        )
        if found is None:
            return f"not pinned by a hash: {line[:60]}"
        pinned.add(_name(found[1]))
    project = tomllib.loads((tree / "pyproject.toml").read_text())["project"]
    wanted = {
        "runtime.lock": project["dependencies"],
        "build.lock": ["hatchling"],
        "tools.lock": (tree / "deploy/tools.in").read_text().splitlines(),
    }[Path(name).name]  # fmt: skip
    lacking = {_name(re.split(r"[\s\[<>=~!;]", one)[0]) for one in wanted if one[:1] not in "#"}
    return f"lacks {lacking - pinned}" if lacking - pinned else None


def _name(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text).lower()


def asked(tree: Path, name: str) -> str | None:
    return lock(tree, "deploy/tools.lock")


def secrets(tree: Path, name: str) -> str | None:
    made = tree / "made"
    shutil.rmtree(made, ignore_errors=True)
    if wrong := ran("sh", tree / name, made, "n:1", "r:2"):
        return wrong
    files = {path.name for path in made.iterdir()}
    wanted = set(re.findall(r"file: secrets/([\w.-]+)", (tree / "deploy/compose.yaml").read_text()))
    if wanted - files:
        return f"{wanted - files} not made"
    if made.stat().st_mode & 0o777 != 0o700:
        return "others may enter the directory"
    acl = (made / "valkey-acl.conf").read_text()
    if "change-this-password" in acl or "user default off" not in acl.splitlines():
        return "the ACL is open"
    (password,) = re.findall(r"on >(\w+)", acl)
    return None if password in (made / "redis_url").read_text() else "two passwords"


def kamailio(tree: Path, name: str) -> str | None:
    """The lab's configuration includes the one that operators include."""
    return ran(program("kamailio"), "-c", "-f", tree / "deploy/kamailio/lab.cfg",
               cwd=tree / "deploy/kamailio")  # fmt: skip
