"""What of Kubernetes manifests does not fit together: each check tells its faults, one text each."""

from __future__ import annotations

import functools
import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from pydantic import ValidationError
from referencing import Registry, Resource

from bess_pipeline.config import Settings
from bess_pipeline_tests.deploy.kustomized import Document, Pod, amount, found, matches, names, of_kind, pods
from bess_pipeline_tests.test_deployment import PROGRAMS, parsed

ROOT = Path(__file__).parents[2]

#: The oldest Kubernetes that the manifests are for, and the newest whose schemas there are.
VERSIONS = ("1.30", "1.37")
#: Variables that are neither ours nor a cloud's.
_OTHERS = {"TMPDIR", "RAY_USAGE_STATS_ENABLED", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"}
_CLOUD = re.compile(r"`((?:AWS|AZURE|GOOGLE)_[A-Z_]+)`")


@functools.cache
def _schemas(version: str) -> Path:
    package = importlib.util.find_spec("kubernetes_validate")
    if package is None or package.origin is None:
        raise LookupError("the schemas of Kubernetes come with the extra: pip install -e '.[dev]'")
    return Path(package.origin).parent / "kubernetes-json-schema" / f"v{version}.0-local-strict"


@functools.cache
def _validator(kind: str, api: str, version: str) -> Draft202012Validator | None:
    group, _, revision = api.rpartition("/")
    file = _schemas(version) / "-".join(filter(None, [kind.lower(), group.partition(".")[0], f"{revision}.json"]))
    if (kind, api) == ("RayCluster", "ray.io/v1"):
        schema = yaml.safe_load(Path(__file__).with_name("raycluster.schema.yaml").read_text())
    elif file.exists():
        schema = json.loads(file.read_text())
    else:
        return None
    common = json.loads((_schemas(version) / "_definitions.json").read_text())
    registry: Registry[Any] = Registry().with_resource(common["$id"], Resource.from_contents(common))
    return Draft202012Validator(schema, registry=registry)


def schema_faults(documents: list[Document]) -> Iterator[str]:
    """What the API server would refuse."""
    for document in documents:
        name = document["metadata"]["name"]
        for version in VERSIONS:
            validator = _validator(document["kind"], document["apiVersion"], version)
            if validator is None:
                yield f"{version}: no {document['kind']} in {document['apiVersion']}"
                continue
            for error in validator.iter_errors(document):
                yield f"{version}: {name}: {error.json_path}: {error.message}"
        # Kubernetes' schemas let that pass.
        yield from (f"{name}: {place} is empty" for place in _empty(document, "$"))


def _empty(part: Any, place: str) -> Iterator[str]:
    """Places where nothing stands."""
    if part is None:
        yield place
    for name, value in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
        yield from _empty(value, f"{place}.{name}")


@functools.cache
def documented_secrets() -> dict[str, set[str]]:
    """Secrets that docs/kubernetes.md says how to make, and what is in them."""
    text = (ROOT / "docs" / "kubernetes.md").read_text().replace("\\\n", " ")
    made = re.findall(r"^kubectl .*create secret generic (\S+)(.*)$", text, re.MULTILINE)
    return {name: set(re.findall(r"--from-literal[= ](\w+)=", rest)) for name, rest in made}


def variable_faults(documents: list[Document]) -> Iterator[str]:
    """Variables that nobody reads, and settings that make no sense."""
    secrets = documented_secrets()
    sets = [document["data"] for document in of_kind(documents, "ConfigMap")]
    for container in (one for pod in pods(documents) for one in pod.all_containers):
        sets.append({one["name"]: one.get("value", "") for one in container.get("env", [])})
        whole = [one["secretRef"]["name"] for one in container.get("envFrom", []) if "secretRef" in one]
        sets += [dict.fromkeys(secrets.get(name, ()), "") for name in whole]
    known = _OTHERS.union(_CLOUD.findall((ROOT / "docs" / "object_stores.md").read_text()))
    for each in sets:
        ours = {name.removeprefix("BESS_").lower(): value for name, value in each.items() if name.startswith("BESS_")}
        yield from (f"BESS_{name.upper()} is no setting" for name in ours.keys() - Settings.model_fields.keys())
        rest = [name for name in each if not name.startswith("BESS_")]
        yield from (f"{name} is read by nobody" for name in rest if name not in known)
        try:
            Settings.model_validate({name: value for name, value in ours.items() if value})
        except ValidationError as error:
            yield from (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())


def reference_faults(documents: list[Document]) -> Iterator[str]:
    """Names of what is neither here nor made by a command of docs/kubernetes.md."""
    for pod in pods(documents):
        account = pod.spec.get("serviceAccountName")
        if account is not None and account not in names(documents, "ServiceAccount"):
            yield f"{pod.name}: no ServiceAccount {account}"
        volumes = [one["persistentVolumeClaim"] for one in pod.spec["volumes"] if "persistentVolumeClaim" in one]
        claims = {volume["claimName"] for volume in volumes}
        yield from (f"{pod.name}: no claim {name}" for name in claims - names(documents, "PersistentVolumeClaim"))
        for container in pod.all_containers:
            faults = _unknown_to(container, {volume["name"] for volume in pod.spec["volumes"]}, documents)
            yield from (f"{pod.name}/{container['name']}: {fault}" for fault in faults)
    for cluster in of_kind(documents, "RayCluster"):
        secret = cluster["spec"]["authOptions"].get("secretName")
        if documented_secrets().get(secret) != {"auth_token"}:
            yield f"{cluster['metadata']['name']}: no auth_token in Secret {secret}"
    for claim in of_kind(documents, "PersistentVolumeClaim"):
        kind = claim["spec"].get("storageClassName")
        if kind is not None and kind not in names(documents, "StorageClass"):
            yield f"{claim['metadata']['name']}: no StorageClass {kind}"


def _unknown_to(container: Document, volumes: set[str], documents: list[Document]) -> Iterator[str]:
    """What a container names and that is not there."""
    secrets = documented_secrets()
    mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
    yield from (f"no volume {name}" for name in mounted - volumes)
    sources = container.get("envFrom", [])
    maps = {one["configMapRef"]["name"] for one in sources if "configMapRef" in one}
    yield from (f"no ConfigMap {name}" for name in maps - names(documents, "ConfigMap"))
    whole = {one["secretRef"]["name"] for one in sources if "secretRef" in one}
    yield from (f"no Secret {name}" for name in whole - secrets.keys())
    for key in (one["valueFrom"]["secretKeyRef"] for one in container.get("env", []) if "valueFrom" in one):
        if key["key"] not in secrets.get(key["name"], ()):
            yield f"no {key['key']} in Secret {key['name']}"


def _ports(container: Document) -> dict[str, int]:
    """Ports of a container by their name, and by their number."""
    ports = container.get("ports", [])
    return {str(key): port["containerPort"] for port in ports for key in (port["name"], port["containerPort"])}


@functools.cache
def _services() -> dict[str, Document]:
    """What Compose runs."""
    services: dict[str, Document] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return services


def probe_faults(documents: list[Document]) -> Iterator[str]:
    """Probes of another port than the container's, missing ones, and those that ask otherwise than Compose does."""
    services = _services()
    for container in (one for pod in pods(documents) for one in pod.spec["containers"]):
        name, ports = container["name"], _ports(container)
        kinds = [kind for kind in ("startup", "readiness", "liveness") if f"{kind}Probe" in container]
        if "liveness" not in kinds:
            yield f"{name}: nobody sees whether it lives"
        if name in services and "startup" not in kinds:
            yield f"{name}: nobody waits until it has started"
        for kind in kinds:
            probe = container[f"{kind}Probe"]
            port = probe.get("grpc", probe.get("httpGet", {})).get("port")
            if port is not None and str(port) not in ports:
                yield f"{name}: {kind} asks on {port}, which is no port of it"
            if name in services:
                check = services[name]["healthcheck"]
                faults = [*_in_time(kind, probe, check), *_asked(probe, check["test"][1:], ports)]
                yield from (f"{name}: {kind} {fault}" for fault in faults)


def _in_time(kind: str, probe: Document, check: Document) -> Iterator[str]:
    """Where a probe has other times than a health check of Compose."""
    told = {name: int(str(value).removesuffix("s")) for name, value in check.items() if name != "test"}
    starts, tries = kind == "startup", probe.get("failureThreshold", 3)
    if probe.get("timeoutSeconds") != told["timeout"]:
        yield f"waits otherwise than {told['timeout']} s"
    if probe.get("periodSeconds") != told["start_interval" if starts else "interval"]:
        yield "asks in other intervals"
    # A restart may be slower than a word that something is not well, never quicker.
    least, most = {"startup": (1, 1000), "readiness": (told["retries"],) * 2, "liveness": (told["retries"], 1000)}[kind]
    if not least <= tries <= most:
        yield f"asks {tries} times"
    if starts and tries * probe["periodSeconds"] < told["start_period"]:
        yield "has less time"


def _asked(probe: Document, words: list[str], ports: dict[str, int]) -> Iterator[str]:
    """Where a probe asks for something else than a health check of Compose."""
    if "exec" in probe and probe["exec"]["command"] != words:
        yield "runs another command"
    if "httpGet" in probe:
        asked = f":{ports.get(str(probe['httpGet']['port']))}{probe['httpGet']['path']}'"
        if asked not in words[-1] or {"name": "Host", "value": "localhost"} not in probe["httpGet"]["httpHeaders"]:
            yield "asks for something else, or under a name that may be refused"
    if "grpc" in probe and (str(probe["grpc"]["port"]) != words[-1] or probe["grpc"]["service"] != "DagsterApi"):
        yield "asks another service"


def selector_faults(documents: list[Document]) -> Iterator[str]:
    """Selectors that match nothing, and ports that what they match does not have."""
    every = list(pods(documents))
    faults_of = {"Deployment": _of_deployment, "Service": _of_service, "NetworkPolicy": _of_policy}
    for kind, faults in faults_of.items():
        for document in of_kind(documents, kind):
            yield from (f"{kind} {document['metadata']['name']}: {fault}" for fault in faults(document["spec"], every))
    for document in of_kind(documents, "PodDisruptionBudget"):
        meant = [
            one["spec"]["replicas"]
            for one in of_kind(documents, "Deployment")
            if matches(document["spec"]["selector"], one["spec"]["template"]["metadata"]["labels"])
        ]
        if not meant or min(meant) <= document["spec"]["minAvailable"]:
            yield f"PodDisruptionBudget {document['metadata']['name']}: of nothing, or no node could be emptied"


def _of_deployment(spec: Document, _: list[Pod]) -> Iterator[str]:
    if not matches(spec["selector"], spec["template"]["metadata"]["labels"]):
        yield "does not know its own pods"


def _of_service(spec: Document, every: list[Pod]) -> Iterator[str]:
    meant = [pod for pod in every if matches({"matchLabels": spec["selector"]}, pod.labels)]
    if len(meant) != 1:
        yield f"leads to {len(meant)} kinds of pods"
    for port in (str(port["targetPort"]) for port in spec["ports"]):
        if not all(port in _ports(pod.spec["containers"][0]) for pod in meant):
            yield f"leads to no port {port}"


def _of_policy(spec: Document, every: list[Pod]) -> Iterator[str]:
    rules = spec.get("ingress", [])
    peers = [peer["podSelector"] for rule in rules for peer in rule["from"] if "podSelector" in peer]
    for selector in (spec["podSelector"], *peers):
        if not any(matches(selector, pod.labels) for pod in every):
            yield "of pods that there are not"
    wanted = {str(port["port"]) for rule in rules for port in rule.get("ports", [])}
    meant = [pod for pod in every if matches(spec["podSelector"], pod.labels)]
    if not all(wanted <= _ports(pod.spec["containers"][0]).keys() for pod in meant):
        yield "of a port that there is not"


def image_faults(documents: list[Document]) -> Iterator[str]:
    """More than one image, or one whose version is not said."""
    images = {container["image"] for pod in pods(documents) for container in pod.all_containers}
    if len(images) != 1:
        yield f"images: {', '.join(sorted(images))}"
    yield from (f"image {image} has no version" for image in images if not re.search(r":\d+\.\d+\.\d+$", image))


def command_faults(documents: list[Document]) -> Iterator[str]:
    """Commands that there are not, and those that are not Compose's."""
    services, here = _services(), str(ROOT / "deploy" / "workspace.yaml")
    for container in (one for pod in pods(documents) for one in pod.all_containers if "command" in one):
        name, words = container["name"], container["command"]
        if words[0] == "sh":
            words = re.findall(r"until (.*?);", words[2])[0].split()
        # The webserver stays in its pod, where Compose publishes it on the machine's loopback.
        outside = ["0.0.0.0" if word == "127.0.0.1" else word for word in words]  # noqa: S104
        if name in services and services[name]["command"] not in (words, outside):
            yield f"{name}: does something else than with Compose"
        try:
            parsed(PROGRAMS[words[0]], [word.replace("/etc/bess/workspace.yaml", here) for word in words[1:]])
        except Exception as error:  # noqa: BLE001 - whatever the program says of its words
            yield f"{name}: {error}"


def ray_faults(documents: list[Document]) -> Iterator[str]:
    """A cluster that is not the one that the settings mean, or has no room for as many runs as there may be."""
    data = found(documents, "ConfigMap/settings")["data"]
    pins = dict(re.findall(r"^(\S+)==([^\s;]+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    for cluster in of_kind(documents, "RayCluster"):
        spec = cluster["spec"]
        if data.get("BESS_RAY_ADDRESS") != f"http://{cluster['metadata']['name']}-head-svc:8265":
            yield "runs are handed to another cluster"
        if spec["rayVersion"] != pins["ray"]:
            yield f"Ray {spec['rayVersion']} is not that of the image, {pins['ray']}"
        if spec["headGroupSpec"]["rayStartParams"].get("num-cpus") != "0":
            yield "the head does runs"
        for group in spec["workerGroupSpecs"]:
            yield from _of_workers(group)
        each = float(data["BESS_RAY_CPUS_PER_RUN"])
        room = sum(one["maxReplicas"] * (_processors(one) // each) for one in spec["workerGroupSpecs"])
        if int(data["BESS_CONCURRENT_RUNS"]) > room:
            yield f"{data['BESS_CONCURRENT_RUNS']} runs at once, and room for {room:.0f}"
        for pod in (pod for pod in pods(documents) if pod.name in {"daemon", "webserver"}):
            told = {one["name"] for one in pod.spec["containers"][0].get("env", [])}
            if not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN"} <= told:
                yield f"{pod.name}: has no token for Ray"


def _processors(group: Document) -> float:
    return float(group["rayStartParams"]["num-cpus"])


def _of_workers(group: Document) -> Iterator[str]:
    if "replicas" in group:
        yield "to apply it again puts the number of workers back"
    if not 0 <= group["minReplicas"] <= group["maxReplicas"]:
        yield f"from {group['minReplicas']} to {group['maxReplicas']} workers"
    if _processors(group) != amount(group["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"]):
        yield "Ray counts other processors than a worker has"
