"""Print the pods of rendered/job.yaml, for `podman play kube`. Used by docker/containers.sh.

    pods.py claim SECRETS                       the claim of the volume
    pods.py trainer SECRETS NAME=VALUE ...      ConfigMap, and the trainer's pod
    pods.py simulators SECRETS                  two pods of the Deployment

Podman knows neither Jobs nor Deployments of several, and podman 4.3 crashes on volumes of Secrets.
So the pods are taken out of them, and the folder SECRETS takes the place of the Secrets. Ports are
left out, for podman would publish them; NAME=VALUE are added to the environment. All else is as a
cluster is given it.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

RENDERED = Path(__file__).parent / "rendered" / "job.yaml"
SIMULATORS = 2

Document = dict[str, Any]


def of_kind(documents: Sequence[Document], kind: str) -> Document:
    """The only one of its kind."""
    (found,) = [document for document in documents if document["kind"] == kind]
    return found


def pod(name: str, owner: Document, secrets: Path, environment: Mapping[str, str]) -> Document:
    """The pod that `owner` would make."""
    template = owner["spec"]["template"]
    spec = template["spec"]
    volumes = [
        {"name": it["name"], "hostPath": {"path": str(secrets), "type": "Directory"}}
        if "secret" in it
        else it
        for it in spec["volumes"]
    ]
    (container,) = spec["containers"]
    added = [{"name": name, "value": value} for name, value in environment.items()]
    kept = {name: it for name, it in container.items() if name != "ports"}
    containers = [{**kept, "env": [*added, *container["env"]]}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": template["metadata"]["labels"]},
        "spec": {**spec, "volumes": volumes, "containers": containers},
    }


def pods(which: str, secrets: Path, environment: Mapping[str, str]) -> Sequence[Document]:
    """What is printed."""
    documents = list(yaml.safe_load_all(RENDERED.read_text(encoding="utf-8")))
    if which == "simulators":
        owner = of_kind(documents, "Deployment")
        return [pod(f"simulators-{index}", owner, secrets, {}) for index in range(SIMULATORS)]
    if which == "claim":
        return [of_kind(documents, "PersistentVolumeClaim")]
    trainer = pod("trainer", of_kind(documents, "Job"), secrets, environment)
    return [of_kind(documents, "ConfigMap"), trainer]


if __name__ == "__main__":
    which, folder, *added = sys.argv[1:]
    variables = dict(each.split("=", 1) for each in added)
    yaml.safe_dump_all(pods(which, Path(folder), variables), sys.stdout, sort_keys=False)
