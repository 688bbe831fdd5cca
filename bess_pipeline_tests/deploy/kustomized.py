"""The manifests of a folder of deploy/kubernetes, as `kubectl kustomize` makes them, and the pods that these make.

Of kustomize only what the folders use; anything else is refused, so that nothing is passed over. Names of generated
ConfigMaps stay without their fingerprint.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Document = dict[str, Any]

#: What stands in a kustomization.yaml and is read here. `configurations` only tell kustomize where names are.
_KNOWN = {"apiVersion", "kind", "namespace", "resources", "components", "images", "configMapGenerator", "patches"}
_SILENT = {"configurations"}
_CLUSTER_WIDE = {"Namespace", "StorageClass"}
_UNITS = {"": 1, "m": 1e-3, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
#: Labels that KubeRay puts on pods of its own accord.
_HEAD, _WORKER = {"ray.io/node-type": "head"}, {"ray.io/node-type": "worker"}


class NotKustomizedError(ValueError):
    """A folder has something that is not understood here."""


def kustomized(folder: Path, held: list[Document] | None = None) -> list[Document]:
    """All documents of a folder.

    Args:
        folder: It has a kustomization.yaml.
        held: What is there before it, for a component, which changes that.
    """
    said = yaml.safe_load((folder / "kustomization.yaml").read_text())
    if unknown := said.keys() - _KNOWN - _SILENT:
        raise NotKustomizedError(f"{folder.name}: {', '.join(sorted(unknown))}")
    documents = list(held or [])
    for name in said.get("resources", []):
        documents += kustomized(folder / name) if (folder / name).is_dir() else _read(folder / name)
    for name in said.get("components", []):
        documents = kustomized(folder / name, documents)
    for generator in said.get("configMapGenerator", []):
        _generate(documents, folder, generator)
    for patch in said.get("patches", []):
        _patch(documents, patch["target"], yaml.safe_load(patch["patch"]))
    for document in documents:
        if "namespace" in said and document["kind"] not in _CLUSTER_WIDE:
            document["metadata"]["namespace"] = said["namespace"]
        for image in said.get("images", []):
            _rename(document, image)
    return documents


def _read(file: Path) -> list[Document]:
    # By way of JSON, so that what an anchor stands for in several places is there several times.
    return [json.loads(json.dumps(document)) for document in yaml.safe_load_all(file.read_text())]


def _generate(documents: list[Document], folder: Path, generator: Document) -> None:
    if unknown := generator.keys() - {"name", "namespace", "behavior", "envs", "literals"}:
        raise NotKustomizedError(f"{folder.name}: configMapGenerator: {', '.join(sorted(unknown))}")
    lines = [line for name in generator.get("envs", []) for line in (folder / name).read_text().splitlines()]
    pairs = [line for line in lines if line.strip() and not line.startswith("#")] + generator.get("literals", [])
    data = dict(pair.split("=", 1) for pair in pairs)
    if generator.get("behavior", "create") == "merge":
        found(documents, f"ConfigMap/{generator['name']}")["data"].update(data)
    else:
        meta = {"name": generator["name"]}
        documents.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})


def _patch(documents: list[Document], target: Document, operations: list[Document]) -> None:
    for document in documents:
        if document["kind"] == target["kind"] and re.fullmatch(target["name"], document["metadata"]["name"]):
            for operation in operations:
                if operation["op"] not in {"add", "replace"}:
                    raise NotKustomizedError(f"patches: {operation['op']}")
                *way, last = operation["path"].removeprefix("/").split("/")
                place: Any = document
                for step in way:
                    place = place[int(step)] if isinstance(place, list) else place[step]
                place[last.replace("~1", "/")] = json.loads(json.dumps(operation["value"]))


def _rename(part: Any, image: Document) -> None:
    """Give every container of a document the image that a site has."""
    for name, value in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
        if name == "image" and value.partition(":")[0] == image["name"]:
            part[name] = f"{image['newName']}:{image['newTag']}"
        else:
            _rename(value, image)


def found(documents: list[Document], name: str) -> Document:
    """The document of a kind and a name, `Deployment/code`."""
    kind, _, name = name.partition("/")
    (document,) = (one for one in documents if (one["kind"], one["metadata"]["name"]) == (kind, name))
    return document


@dataclass(frozen=True)
class Pod:
    """A pod that a document has made."""

    name: str
    labels: dict[str, str]
    spec: Document
    #: What KubeRay adds to it.
    added: tuple[Document, ...] = ()

    @property
    def containers(self) -> list[Document]:
        """Those that stay."""
        return [*self.spec["containers"], *self.added]

    @property
    def all_containers(self) -> list[Document]:
        """Those that stay, and those that run before them."""
        return [*self.spec.get("initContainers", []), *self.containers]


def pods(documents: list[Document]) -> Iterator[Pod]:
    """Every pod that there will be."""
    for document in documents:
        name, spec = document["metadata"]["name"], document.get("spec", {})
        if document["kind"] == "Deployment":
            yield Pod(name, spec["template"]["metadata"]["labels"], spec["template"]["spec"])
        elif document["kind"] == "RayCluster":
            given = {"ray.io/cluster": name, "app.kubernetes.io/name": "kuberay"}
            head = spec["headGroupSpec"]["template"]
            image = head["spec"]["containers"][0]["image"]
            kept = ("resources", "securityContext", "volumeMounts", "env")
            scaler = {key: spec["autoscalerOptions"][key] for key in kept if key in spec["autoscalerOptions"]}
            labels = head.get("metadata", {}).get("labels", {})
            yield Pod(f"{name}-head", {**labels, **given, **_HEAD}, head["spec"],
                      ({"name": "autoscaler", "image": image, **scaler},))  # fmt: skip
            for group in spec["workerGroupSpecs"]:
                labels = group["template"].get("metadata", {}).get("labels", {})
                yield Pod(f"{name}-{group['groupName']}", {**labels, **given, **_WORKER}, group["template"]["spec"])


def of_kind(documents: list[Document], *kinds: str) -> list[Document]:
    """Documents of some kinds."""
    return [document for document in documents if document["kind"] in kinds]


def names(documents: list[Document], kind: str) -> set[str]:
    """Names of the documents of a kind."""
    return {document["metadata"]["name"] for document in of_kind(documents, kind)}


def matches(selector: Document, labels: dict[str, str]) -> bool:
    """Whether a selector means pods with these labels."""
    wanted = selector.get("matchLabels", {})
    one_of = {one["key"]: one["values"] for one in selector.get("matchExpressions", [])}
    return wanted.items() <= labels.items() and all(labels.get(key) in values for key, values in one_of.items())


def amount(text: str) -> float:
    """A quantity of Kubernetes as a number.

    Raises:
        ValueError: If it is none.
    """
    read = re.fullmatch(r"(\d+(?:\.\d+)?)(m|Ki|Mi|Gi)?", text)
    if read is None:
        raise ValueError(f"{text} is no quantity")
    return float(read[1]) * _UNITS[read[2] or ""]
