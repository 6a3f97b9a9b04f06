"""The manifests: built by ``kubectl kustomize``, validated against the schemas of Kubernetes, and
against what we promise of them. Each check is shown a broken manifest that it must refuse."""

from __future__ import annotations

import copy
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from api.environment import FILE_SUFFIX, from_environment
from api.settings import Settings, variable

ROOT = Path(__file__).parents[3]
MANIFESTS = ROOT / "deploy/kubernetes"
OLDEST, NEWEST = "1.29", kubernetes_validate.latest_version()
CUSTOM = {"ServiceMonitor", "PrometheusRule"}  # of the Prometheus Operator
Object = dict[str, Any]
Objects = dict[str, Object]


@pytest.fixture(scope="module")
def build(program: Callable[[str], str]) -> Callable[[str], Objects]:
    kubectl = program("kubectl")

    def built(name: str) -> Objects:
        made = subprocess.run(
            [kubectl, "kustomize", str(MANIFESTS / name)],
            capture_output=True,
            text=True,
            check=True,
        )
        return {one["kind"]: one for one in yaml.safe_load_all(made.stdout)}

    return built


@pytest.fixture(scope="module")
def base(build: Callable[[str], Objects]) -> Objects:
    return build("base")


def container(objects: Objects) -> Object:
    found: Object = objects["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    return found


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_object_fits_the_schema_of_its_kind(base: Objects, version: str) -> None:
    assert base.keys() == {"Namespace", "ConfigMap", "Service", "Deployment",
                           "PodDisruptionBudget", "NetworkPolicy"}  # fmt: skip
    validate(base, version)


def validate(objects: Objects, version: str) -> None:
    for one in objects.values():
        kubernetes_validate.validate(one, version, strict=True)


BREAKS: dict[str, Callable[[Objects], Any]] = {
    "a replica count that is text": lambda o: o["Deployment"]["spec"].update(replicas="two"),
    "a probe with a wrong key": lambda o: container(o)["readinessProbe"].update(httpget={}),
    "a policy of no type": lambda o: o["NetworkPolicy"]["spec"].update(policyTypes="Ingress"),
    "a budget without a selector's form": lambda o: o["PodDisruptionBudget"]["spec"].update(
        selector="livestate"
    ),
    "a port of a service that is text": lambda o: o["Service"]["spec"]["ports"][0].update(port="a"),
}


@pytest.mark.parametrize("what", BREAKS)
def test_a_broken_object_is_refused(base: Objects, what: str) -> None:
    broken = copy.deepcopy(base)
    BREAKS[what](broken)
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(broken, NEWEST)


def problems(objects: Objects) -> list[str]:
    """What is wrong between the manifests and with the promises that they make."""
    found = []
    deployment, main = objects["Deployment"]["spec"], container(objects)
    pod = deployment["template"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    for kind, selector in (
        ("Deployment", deployment["selector"]["matchLabels"]),
        ("Service", objects["Service"]["spec"]["selector"]),
        ("PodDisruptionBudget", objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]),
        ("NetworkPolicy", objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]),
    ):
        if not selector.items() <= labels.items():
            found.append(f"{kind} selects no pod")
    if not 0 < objects["PodDisruptionBudget"]["spec"]["minAvailable"] < deployment["replicas"]:
        found.append("the budget permits no drain, or both replicas to be gone")
    names = {port["name"]: port["containerPort"] for port in main["ports"]}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = main[probe]["httpGet"]
        wanted = "/readyz" if probe == "readinessProbe" else "/healthz"
        if names.get(asked["port"]) != 9090 or asked["path"] != wanted:
            found.append(f"{probe} asks {asked}")
    for port in objects["Service"]["spec"]["ports"]:
        if port["targetPort"] not in names:
            found.append(f"the service's {port['name']} leads nowhere")
    context = pod["securityContext"] | main["securityContext"]
    for name, value in (("runAsNonRoot", True), ("readOnlyRootFilesystem", True),
                        ("allowPrivilegeEscalation", False)):  # fmt: skip
        if context.get(name) is not value:
            found.append(f"{name} is not {value}")
    if context["capabilities"].get("drop") != ["ALL"]:
        found.append("capabilities are left")
    grace = pod["terminationGracePeriodSeconds"]
    if grace < int(main["lifecycle"]["preStop"]["exec"]["command"][1]) + Settings().drain_seconds:
        found.append("the pod is killed before its streams have said goodbye")
    if pod.get("enableServiceLinks", True):
        found.append("Kubernetes sets LIVESTATE_PORT and the like")
    return found + settings_problems(objects)


def settings_problems(objects: Objects) -> list[str]:
    found = []
    main = container(objects)
    environment = objects["ConfigMap"]["data"] | {
        one["name"]: one.get("value", "") for one in main.get("env", [])
    }
    known = {variable(name) for name in Settings.model_fields}
    mounted = {
        f"{mount['mountPath']}/{item['path']}"
        for mount in main["volumeMounts"]
        for volume in objects["Deployment"]["spec"]["template"]["spec"]["volumes"]
        if volume["name"] == mount["name"]
        for item in volume["secret"]["items"]
    }
    for name, value in environment.items():
        if name not in known and name.removesuffix(FILE_SUFFIX) not in known:
            found.append(f"{name} is no setting")
        if name.endswith(FILE_SUFFIX) and value not in mounted:
            found.append(f"{name} names a file that is not mounted")
    plain = {n: v for n, v in environment.items() if not n.endswith(FILE_SUFFIX)}
    found += from_environment(plain)[1]  # raises for a wrong value
    if re.search(r"://[^/@\s]+:[^/@\s]+@", yaml.safe_dump(objects)):
        found.append("a password stands in a manifest")
    if main["envFrom"][0]["configMapRef"]["name"] != objects["ConfigMap"]["metadata"]["name"]:
        found.append("the settings are not those of the ConfigMap")
    return found


def test_the_manifests_fit_together(base: Objects) -> None:
    assert problems(base) == []


MISFITS: dict[str, Callable[[Objects], Any]] = {
    "selects no pod": lambda o: o["Service"]["spec"].update(selector={"app": "other"}),
    "permits no drain": lambda o: o["PodDisruptionBudget"]["spec"].update(minAvailable=2),
    "readinessProbe asks": lambda o: container(o)["readinessProbe"]["httpGet"].update(port="http"),
    "livenessProbe asks": lambda o: container(o)["livenessProbe"]["httpGet"].update(path="/readyz"),
    "leads nowhere": lambda o: o["Service"]["spec"]["ports"][0].update(targetPort="web"),
    "readOnlyRootFilesystem": lambda o: container(o)["securityContext"].pop(
        "readOnlyRootFilesystem"
    ),
    "is no setting": lambda o: o["ConfigMap"]["data"].update(LIVESTATE_NATS_ULR="x"),
    "not mounted": lambda o: container(o)["env"][0].update(value="/run/secrets/other"),
    "a password stands": lambda o: o["ConfigMap"]["data"].update(
        LIVESTATE_REDIS_URL="redis://livestate:secret@redis:6379/0"
    ),
    "LIVESTATE_PORT": lambda o: o["Deployment"]["spec"]["template"]["spec"].pop(
        "enableServiceLinks"
    ),
    "killed before": lambda o: o["Deployment"]["spec"]["template"]["spec"].update(
        terminationGracePeriodSeconds=5
    ),
}


@pytest.mark.parametrize("problem", MISFITS)
def test_a_misfit_is_found(base: Objects, problem: str) -> None:
    broken = copy.deepcopy(base)
    MISFITS[problem](broken)
    assert any(problem in one for one in problems(broken))


def test_the_operator_scrapes_the_admin_port_with_the_token(
    build: Callable[[str], Objects],
) -> None:
    objects = build("monitoring")
    assert objects.keys() >= CUSTOM
    monitor = objects["ServiceMonitor"]["spec"]
    service = objects["Service"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    token = endpoint["authorization"]["credentials"]
    (secret,) = objects["Deployment"]["spec"]["template"]["spec"]["volumes"]
    assert token["name"] == secret["secret"]["secretName"]
    assert token["key"] in {item["key"] for item in secret["secret"]["items"]}
