"""The manifests of deploy/kubernetes: what the API server takes, and what they say of each other. No cluster runs here.

Each check is held against what a site may put together, and against manifests that are broken on purpose.
"""

import copy
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from bess_pipeline_tests.deploy import manifest_checks as checks
from bess_pipeline_tests.deploy import manifest_safety as safety
from bess_pipeline_tests.deploy.kustomized import NotKustomizedError, found, kustomized, pods

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"

#: Components that a site may put beside the base, in this order.
COMBINATIONS = [(), ("ray",), ("aws",), ("azure",), ("ray", "aws"), ("ray", "azure")]


def site(to, components):
    """A folder of kustomize that puts the base and some components together."""
    (to / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": ["base"], "components": list(components)}, sort_keys=False)
    )
    for name in ("base", *components):
        shutil.copytree(FOLDER / name, to / name)
    return to


@pytest.fixture(scope="module", params=COMBINATIONS, ids=lambda names: "+".join(("base", *names)))
def folder(request, tmp_path_factory):
    return site(tmp_path_factory.mktemp("site"), request.param)


@pytest.fixture(scope="module")
def combined(folder):
    return kustomized(folder)


@pytest.fixture(scope="module")
def example():
    return kustomized(FOLDER / "site")


@pytest.fixture
def documents(example):
    """Everything that there is, to be broken."""
    return copy.deepcopy(example)


CHECKS = {
    "schema": checks.schema_faults,
    "variables": checks.variable_faults,
    "references": checks.reference_faults,
    "probes": checks.probe_faults,
    "selectors": checks.selector_faults,
    "images": checks.image_faults,
    "hardening": safety.hardening_faults,
    "exposure": safety.exposure_faults,
    "single": safety.single_faults,
    "secrets": safety.secret_faults,
    "commands": checks.command_faults,
    "ray": checks.ray_faults,
}


@pytest.mark.parametrize("check", CHECKS)
def test_whatever_a_site_puts_together_has_no_fault(combined, check):
    assert list(CHECKS[check](combined)) == []


@pytest.mark.parametrize("check", CHECKS)
def test_the_example_of_a_site_has_no_fault(example, check):
    assert list(CHECKS[check](example)) == []


def at(documents, name, *way):
    """What stands in a document at the end of a way."""
    place = found(documents, name)
    for step in way:
        place = place[step]
    return place


def pod(documents, name):
    """The specification of the pod of a Deployment, or of a group of the RayCluster."""
    if name == "head":
        return at(documents, "RayCluster/ray", "spec", "headGroupSpec", "template", "spec")
    if name == "workers":
        return at(documents, "RayCluster/ray", "spec", "workerGroupSpecs", 0, "template", "spec")
    return at(documents, f"Deployment/{name}", "spec", "template", "spec")


def first(documents, name):
    """The container of a pod that stays."""
    return pod(documents, name)["containers"][0]


def settings(documents):
    return at(documents, "ConfigMap/settings", "data")


def policy(documents, name):
    return at(documents, f"NetworkPolicy/{name}", "spec")


def ray(documents):
    return at(documents, "RayCluster/ray", "spec")


def group(documents):
    return ray(documents)["workerGroupSpecs"][0]


def service_to(name, **more):
    spec = {"selector": {"app.kubernetes.io/component": name}, "ports": [{"port": 1, "targetPort": "http"}], **more}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"to-{name}"}, "spec": spec}


#: A check, what is done to the manifests, and words of the fault that it has to find.
BROKEN = [
    ("schema", lambda d: first(d, "code").update(imagge="x"), "'imagge' was unexpected"),
    ("schema", lambda d: first(d, "workers").update(ports="8080"), "is not of type 'array'"),
    ("schema", lambda d: found(d, "Deployment/api").update(apiVersion="apps/v1beta1"), "no Deployment in apps/v1beta1"),
    ("schema", lambda d: pod(d, "api")["volumes"][1].update(emptyDir=None), "emptyDir is empty"),
    ("schema", lambda d: ray(d).update(enableAutoscaling=True), "'enableAutoscaling' was unexpected"),
    ("schema", lambda d: group(d)["rayStartParams"].update({"num-cpus": 2}), "2 is not of type 'string'"),
    ("schema", lambda d: ray(d)["upgradeStrategy"].update(type="Rolling"), "'Rolling' is not one of"),
    ("variables", lambda d: settings(d).update(BESS_LAKE_URL="s3://x"), "BESS_LAKE_URL is no setting"),
    ("variables", lambda d: settings(d).update(AWS_REGOIN="x"), "AWS_REGOIN is read by nobody"),
    ("variables", lambda d: settings(d).update(BESS_CONCURRENT_RUNS="many"), "concurrent_runs: Input should be"),
    ("variables", lambda d: first(d, "api")["env"].append({"name": "BESS_API_HOSTS", "value": "x"}), "no setting"),
    ("references", lambda d: first(d, "code")["envFrom"][0]["configMapRef"].update(name="x"), "no ConfigMap x"),
    ("references", lambda d: first(d, "daemon")["envFrom"][1]["secretRef"].update(name="record"), "Secret record"),
    ("references", lambda d: first(d, "daemon")["env"][1]["valueFrom"]["secretKeyRef"].update(key="token"), "no token"),
    ("references", lambda d: ray(d)["authOptions"].update(secretName="rays"), "auth_token in Secret rays"),
    ("references", lambda d: pod(d, "workers").update(serviceAccountName="pipelines"), "ServiceAccount pipelines"),
    ("references", lambda d: pod(d, "api")["volumes"][0]["persistentVolumeClaim"].update(claimName="h"), "claim h"),
    ("references", lambda d: first(d, "head")["volumeMounts"][0].update(name="temp"), "volume temp"),
    ("references", lambda d: at(d, "PersistentVolumeClaim/home", "spec").update(storageClassName="x"), "Class x"),
    ("probes", lambda d: first(d, "code")["livenessProbe"]["grpc"].update(port=4001), "asks on 4001"),
    ("probes", lambda d: first(d, "api")["ports"][0].update(containerPort=8001), "asks for something else"),
    ("probes", lambda d: first(d, "workers")["readinessProbe"]["httpGet"].update(port="dashboard"), "on dashboard"),
    ("probes", lambda d: first(d, "webserver").pop("livenessProbe"), "whether it lives"),
    ("probes", lambda d: first(d, "daemon").pop("startupProbe"), "until it has started"),
    ("probes", lambda d: first(d, "daemon")["livenessProbe"].update(timeoutSeconds=1), "otherwise than 30 s"),
    ("probes", lambda d: first(d, "code")["readinessProbe"].update(periodSeconds=1), "other intervals"),
    ("probes", lambda d: first(d, "code")["startupProbe"].update(failureThreshold=3), "has less time"),
    ("probes", lambda d: first(d, "api")["livenessProbe"].update(failureThreshold=1), "asks 1 times"),
    ("probes", lambda d: first(d, "daemon")["livenessProbe"]["exec"].update(command=["true"]), "another command"),
    ("probes", lambda d: first(d, "api")["readinessProbe"]["httpGet"].update(httpHeaders=[]), "may be refused"),
    ("probes", lambda d: first(d, "code")["startupProbe"]["grpc"].update(service=""), "another service"),
    ("selectors", lambda d: at(d, "Deployment/api", "spec", "selector", "matchLabels").update(x="y"), "its own pods"),
    ("selectors", lambda d: at(d, "Service/code", "spec", "selector").update(x="y"), "leads to 0 kinds"),
    ("selectors", lambda d: at(d, "Service/api", "spec", "ports", 0).update(targetPort=8001), "no port 8001"),
    ("selectors", lambda d: at(d, "Deployment/api", "spec").update(replicas=1), "no node could be emptied"),
    ("selectors", lambda d: policy(d, "code")["ingress"][0]["ports"][0].update(port=3000), "port that there is not"),
    ("selectors", lambda d: policy(d, "ray")["podSelector"]["matchLabels"].update({"ray.io/cluster": "r"}), "of pods"),
    ("selectors", lambda d: policy(d, "ray-jobs")["ingress"][0]["from"][0]["podSelector"]["matchExpressions"][0].update(
        values=["deamon"]), "pods that there are not"),
    ("images", lambda d: first(d, "workers").update(image="registry.example/bess-pipeline:0.0.9"), "0.0.9"),
    ("images", lambda d: [one.update(image="x:latest") for p in pods(d) for one in p.all_containers], "no version"),
    ("hardening", lambda d: pod(d, "api")["securityContext"].update(runAsUser=0), "api: may be root"),
    ("hardening", lambda d: pod(d, "workers").pop("securityContext"), "ray-runs: may be root"),
    ("hardening", lambda d: pod(d, "head")["securityContext"].pop("seccompProfile"), "every system call"),
    ("hardening", lambda d: pod(d, "code").pop("enableServiceLinks"), "names of Services"),
    ("hardening", lambda d: pod(d, "workers").pop("automountServiceAccountToken"), "ray-runs: may ask the API"),
    ("hardening", lambda d: pod(d, "daemon").update(hostNetwork=True), "shares hostNetwork"),
    ("hardening", lambda d: first(d, "api")["securityContext"].update(readOnlyRootFilesystem=False), "to its root"),
    ("hardening", lambda d: pod(d, "code")["initContainers"][0]["securityContext"].pop("capabilities"), "prepare: has"),
    ("hardening", lambda d: first(d, "head")["securityContext"].update(runAsUser=0), "another user"),
    ("hardening", lambda d: first(d, "api")["resources"]["limits"].pop("memory"), "no request or limit of memory"),
    ("hardening", lambda d: ray(d)["autoscalerOptions"].pop("resources"), "autoscaler: no request or limit"),
    ("hardening", lambda d: ray(d)["autoscalerOptions"].pop("securityContext"), "autoscaler: may write"),
    ("hardening", lambda d: first(d, "workers")["resources"]["requests"].update(memory="9Gi"), "9Gi wanted, 8Gi"),
    ("hardening", lambda d: first(d, "code")["resources"]["limits"].update(memory="8GB"), "8GB is no quantity"),
    ("hardening", lambda d: found(d, "Namespace/bess")["metadata"].pop("labels"), "lets any pod in"),
    ("exposure", lambda d: first(d, "webserver")["command"].__setitem__(2, "0.0.0.0"), "beyond its pod"),  # noqa: S104
    ("exposure", lambda d: d.append(service_to("webserver")), "leads to the webserver"),
    ("exposure", lambda d: d.append(service_to("api", type="LoadBalancer")), "to-api: is reached from outside"),
    ("exposure", lambda d: d.append({"kind": "Ingress", "metadata": {"name": "in"}}), "in: leads in"),
    ("exposure", lambda d: d.remove(found(d, "NetworkPolicy/nobody")), "reached by everybody"),
    ("exposure", lambda d: policy(d, "code")["ingress"][0].pop("from"), "code is reached from outside"),
    ("exposure", lambda d: policy(d, "ray")["ingress"][0]["from"].append({"namespaceSelector": {}}), "ray: ray-head"),
    ("exposure", lambda d: policy(d, "ray-jobs")["ingress"][0]["from"].append({"ipBlock": {}}), "ray-jobs: ray-head"),
    ("exposure", lambda d: ray(d).pop("authOptions"), "nobody for a token"),
    ("exposure", lambda d: ray(d)["headGroupSpec"].update(serviceType="NodePort"), "Ray's head is reached"),
    ("single", lambda d: at(d, "Deployment/daemon", "spec").update(replicas=2), "daemon: there can be two"),
    ("single", lambda d: at(d, "Deployment/webserver", "spec").pop("strategy"), "webserver: there can be two"),
    ("secrets", lambda d: d.append({"kind": "Secret", "metadata": {"name": "store"}}), "store: stands in a file"),
    ("secrets", lambda d: settings(d).update({"AWS_SECRET_ACCESS_KEY": "x"}), "AWS_SECRET_ACCESS_KEY is a secret"),
    ("secrets", lambda d: settings(d).update(BESS_PAGES_URL="https://a:b@c"), "BESS_PAGES_URL is a secret"),
    ("secrets", lambda d: first(d, "daemon")["env"].append({"name": "X_TOKEN", "value": "x"}), "X_TOKEN stands"),
    ("secrets", lambda d: first(d, "webserver")["envFrom"].append({"secretRef": {"name": "store"}}), "webserver need"),
    ("secrets", lambda d: first(d, "head").update(envFrom=[{"secretRef": {"name": "records"}}]), "ray-head need not"),
    ("secrets", lambda d: pod(d, "daemon").update(serviceAccountName="pipeline"), "identity that reaches the lake"),
    ("commands", lambda d: first(d, "daemon").update(command=["dagster-daemon", "rum"]), "No such command"),
    ("commands", lambda d: first(d, "api").update(command=["bess", "serve", "--port", "1"]), "No such option"),
    ("commands", lambda d: first(d, "code")["command"].__setitem__(6, "4001"), "something else than with Compose"),
    ("commands", lambda d: pod(d, "daemon")["initContainers"][0]["command"].__setitem__(
        2, "until dagster api grpc-health-chek; do sleep 5; done"), "wait: "),
    ("ray", lambda d: settings(d).update(BESS_RAY_ADDRESS="http://ray:8265"), "another cluster"),
    ("ray", lambda d: ray(d).update(rayVersion="2.50.0"), "Ray 2.50.0 is not"),
    ("ray", lambda d: ray(d)["headGroupSpec"]["rayStartParams"].pop("num-cpus"), "the head does runs"),
    ("ray", lambda d: group(d).update(replicas=1), "puts the number of workers back"),
    ("ray", lambda d: group(d).update(minReplicas=5), "from 5 to 4"),
    ("ray", lambda d: group(d)["rayStartParams"].update({"num-cpus": "4"}), "other processors"),
    ("ray", lambda d: settings(d).update(BESS_CONCURRENT_RUNS="5"), "5 runs at once, and room for 4"),
    ("ray", lambda d: first(d, "webserver").pop("env"), "webserver: has no token"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "broken", "words"), BROKEN, ids=[f"{check}: {words}" for check, _, words in BROKEN])
def test_what_is_broken_is_found(documents, check, broken, words):
    broken(documents)
    faults = list(CHECKS[check](documents))
    assert any(words in fault for fault in faults), faults


def test_every_check_has_been_seen_to_fail():
    assert {check for check, _, _ in BROKEN} == CHECKS.keys()


def test_what_is_read_here_is_what_kubectl_makes_of_it(folder):
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not there")
    _agree_with_kubectl(folder)


def test_the_example_of_a_site_is_what_kubectl_makes_of_it():
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not there")
    _agree_with_kubectl(FOLDER / "site")


def _agree_with_kubectl(folder: Path) -> None:
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # A fingerprint stands behind the name of what is generated, wherever it is named.
    text, renamed = re.subn(r"\bsettings-[0-9a-z]{10}\b", "settings", done.stdout)
    theirs = [json.loads(json.dumps(document)) for document in yaml.safe_load_all(text)]

    def ordered(documents):
        return sorted(documents, key=lambda one: (one["kind"], one["metadata"]["name"]))

    ours = kustomized(folder)
    assert ordered(theirs) == ordered(ours)
    named = sum("configMapRef" in one for p in pods(ours) for c in p.all_containers for one in c.get("envFrom", []))
    assert renamed == named + 1


@pytest.mark.parametrize("more", [{"helmCharts": []}, {"patches": [{"target": {"kind": "Namespace", "name": ".*"},
    "patch": "[{op: remove, path: /metadata}]"}]}, {"configMapGenerator": [{"name": "x", "files": ["x"]}]}],
    ids=["key", "operation", "generator"])  # fmt: skip
def test_what_of_kustomize_is_not_understood_is_not_passed_over(tmp_path, more):
    at_site = site(tmp_path, ())
    said = yaml.safe_load((at_site / "kustomization.yaml").read_text())
    (at_site / "kustomization.yaml").write_text(yaml.safe_dump(said | more))
    with pytest.raises(NotKustomizedError):
        kustomized(at_site)


def test_every_file_belongs_to_a_kustomization():
    used = {FOLDER / "site" / "kustomization.yaml"}
    for folder in ("base", "ray", "aws", "azure"):
        said = yaml.safe_load((FOLDER / folder / "kustomization.yaml").read_text())
        files = [*said["resources"], *said.get("configurations", []), "kustomization.yaml"]
        files += [file for generator in said.get("configMapGenerator", []) for file in generator.get("envs", [])]
        used |= {FOLDER / folder / file for file in files}
    assert used == {path for path in FOLDER.rglob("*") if path.is_file()}


def test_the_image_has_the_version_of_the_project():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for components in ("base", "site"):
        images = {one["image"] for p in pods(kustomized(FOLDER / components)) for one in p.all_containers}
        assert {image.rpartition(":")[2] for image in images} == {version}
