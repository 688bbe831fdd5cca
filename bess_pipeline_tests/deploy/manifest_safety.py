"""Rights, ways in and secrets that manifests give and that nobody needs: each check tells its faults, one text each."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bess_pipeline_tests.deploy.kustomized import Document, Pod, amount, matches, of_kind, pods

#: Of these there may be only one at any time.
_ONE_ALONE = ("code", "daemon", "webserver")
#: Containers that need what is in a Secret.
_MAY_KNOW = {
    "records": {"prepare", "code", "daemon", "webserver", "ray-worker"},
    "store": {"prepare", "code", "api", "ray-worker"},
    "alerts": {"code"},
}
_SECRET = re.compile("SECRET|TOKEN|PASSWORD|_KEY$|DAGSTER_STORAGE$|ALERT_")


def hardening_faults(documents: list[Document]) -> Iterator[str]:
    """Rights that nobody needs, and containers without a limit."""
    for pod in pods(documents):
        yield from (f"{pod.name}: {fault}" for fault in _of_a_pod(pod))
        for container in pod.all_containers:
            faults = [*_of_a_container(container), *_resource_faults(container.get("resources", {}))]
            yield from (f"{pod.name}/{container['name']}: {fault}" for fault in faults)
    for namespace in of_kind(documents, "Namespace"):
        if namespace["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce") != "restricted":
            yield "the namespace lets any pod in"


def _of_a_pod(pod: Pod) -> Iterator[str]:
    context = pod.spec.get("securityContext", {})
    if (context.get("runAsUser"), context.get("runAsGroup"), context.get("runAsNonRoot")) != (10001, 10001, True):
        yield "may be root, or somebody else than the image's user"
    if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "may make every system call"
    # A Service that is called `bess-api` would become the setting BESS_API_PORT.
    if pod.spec.get("enableServiceLinks", True):
        yield "has variables made of names of Services"
    # KubeRay's autoscaler, in the pod of the head, asks the API server for pods.
    if pod.spec.get("automountServiceAccountToken", True) and pod.labels.get("ray.io/node-type") != "head":
        yield "may ask the API server"
    if shared := pod.spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}:
        yield f"shares {', '.join(sorted(shared))} with the node"


def _of_a_container(container: Document) -> Iterator[str]:
    own = container.get("securityContext", {})
    if own.get("readOnlyRootFilesystem") is not True or own.get("allowPrivilegeEscalation") is not False:
        yield "may write to its root, or get more rights"
    if own.get("capabilities") != {"drop": ["ALL"]} or own.keys() & {"privileged", "runAsUser", "runAsNonRoot"}:
        yield "has capabilities, or another user"


def _resource_faults(resources: Document) -> Iterator[str]:
    for name in ("cpu", "memory"):
        said = [resources.get(kind, {}).get(name) for kind in ("requests", "limits")]
        if None in said:
            yield f"no request or limit of {name}"
            continue
        try:
            request, limit = map(amount, said)
        except ValueError as error:
            yield str(error)
            continue
        if not 0 < request <= limit:
            yield f"{name}: {said[0]} wanted, {said[1]} allowed"


def exposure_faults(documents: list[Document]) -> Iterator[str]:
    """Ways from outside to what asks nobody who they are."""
    for kind in ("Ingress", "Gateway", "HTTPRoute"):
        yield from (f"{kind} {one['metadata']['name']}: leads in from outside" for one in of_kind(documents, kind))
    for service in of_kind(documents, "Service"):
        if service["spec"].get("type", "ClusterIP") != "ClusterIP" or "externalIPs" in service["spec"]:
            yield f"Service {service['metadata']['name']}: is reached from outside"
    yield from _open_policies(documents)
    for pod in pods(documents):
        if pod.name == "webserver":
            yield from _ways_to_the_webserver(documents, pod)
    for cluster in of_kind(documents, "RayCluster"):
        if cluster["spec"].get("authOptions", {}).get("mode") != "token":
            yield "Ray asks nobody for a token"
        if cluster["spec"]["headGroupSpec"].get("serviceType", "ClusterIP") != "ClusterIP":
            yield "Ray's head is reached from outside"


def _open_policies(documents: list[Document]) -> Iterator[str]:
    policies = of_kind(documents, "NetworkPolicy")
    if {"podSelector": {}, "policyTypes": ["Ingress"]} not in [policy["spec"] for policy in policies]:
        yield "whoever no policy names is reached by everybody"
    # The API asks for a key, and is for others.
    closed = [pod for pod in pods(documents) if pod.name != "api"]
    for policy in policies:
        rules = policy["spec"].get("ingress", [])
        is_open = any(
            not rule.get("from") or any(one.keys() != {"podSelector"} for one in rule["from"]) for rule in rules
        )
        meant = [pod.name for pod in closed if matches(policy["spec"]["podSelector"], pod.labels)]
        if is_open and meant:
            yield f"NetworkPolicy {policy['metadata']['name']}: {', '.join(meant)} is reached from outside"


def _ways_to_the_webserver(documents: list[Document], pod: Pod) -> Iterator[str]:
    words = pod.spec["containers"][0]["command"]
    if words[words.index("--host") + 1] != "127.0.0.1":
        yield "the webserver listens beyond its pod"
    for service in of_kind(documents, "Service"):
        if matches({"matchLabels": service["spec"]["selector"]}, pod.labels):
            yield f"Service {service['metadata']['name']}: leads to the webserver"


def single_faults(documents: list[Document]) -> Iterator[str]:
    """Two of what may be there only once."""
    for document in of_kind(documents, "Deployment"):
        spec, name = document["spec"], document["metadata"]["name"]
        if name in _ONE_ALONE and (spec["replicas"], spec.get("strategy")) != (1, {"type": "Recreate"}):
            yield f"{name}: there can be two of it"


def secret_faults(documents: list[Document]) -> Iterator[str]:
    """Secrets in the manifests, and those that go where they are not needed."""
    yield from (f"Secret {one['metadata']['name']}: stands in a file" for one in of_kind(documents, "Secret"))
    for data in (one["data"] for one in of_kind(documents, "ConfigMap")):
        secret = [name for name, value in data.items() if _SECRET.search(name) or "@" in value]
        yield from (f"settings: {name} is a secret" for name in secret)
    for pod in pods(documents):
        for container in pod.all_containers:
            told = [one["name"] for one in container.get("env", []) if "value" in one and _SECRET.search(one["name"])]
            yield from (f"{container['name']}: {name} stands in a file" for name in told)
            known = {one["secretRef"]["name"] for one in container.get("envFrom", []) if "secretRef" in one}
            needless = [name for name in known if container["name"] not in _MAY_KNOW.get(name, ())]
            yield from (f"Secret {name}: {container['name']} need not know it" for name in needless)
        if pod.name in {"daemon", "webserver", "ray-head"} and pod.spec.get("serviceAccountName") == "pipeline":
            yield f"{pod.name}: has the identity that reaches the lake"
