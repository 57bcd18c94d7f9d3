"""What docker/kubernetes promises, as far as it can be seen without a cluster.

Kinds of Kubernetes itself are checked strictly against its schemas, by kubernetes-validate. Those
of JobSet and Kubeflow are checked against docker/kubernetes/schemas, and the Jobs in them as Jobs.
"""

import hashlib
import json
import re
import runpy
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from entrain.cli_exit_codes import EXIT_CODES
from entrain.config.load import load_config
from entrain.config.run import RunConfig
from entrain.config.variables import arguments_of
from entrain.native.address import check_exposure, parse_address
from entrain.page.exposition import Exposition
from entrain_envs import command_line as entrain_env
from support.served_page import Served

FOLDER = Path(__file__).parents[1] / "docker" / "kubernetes"
VARIANTS = ("job", "jobset", "ranks", "kubeflow")
SECRETS = "/run/secrets/entrain/"
STOPPED = 143
NEEDS_VALIDATE = "kubernetes-validate is missing, which `make setup` installs"

Document = Mapping[str, Any]

each_variant = pytest.mark.parametrize("variant", VARIANTS)
needs_kubectl = pytest.mark.skipif(
    shutil.which("kubectl") is None,
    reason="kubectl is missing; that nothing is stale is tested without it",
)


def read(text: str) -> list[Document]:
    # The loader in C where there is one: these are some thousand lines.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return list(yaml.load_all(text, Loader=loader))


WEBSOCKET = "0.0.0.0:50151"
"""What docs/kubernetes.md lets a run's file say."""


@cache
def documents(variant: str) -> Sequence[Document]:
    """Read once, and never changed."""
    return read((FOLDER / "rendered" / f"{variant}.yaml").read_text(encoding="utf-8"))


def of_kind(variant: str, kind: str, name: str | None = None) -> Document:
    (found,) = [
        it
        for it in documents(variant)
        if it["kind"] == kind and name in {None, it["metadata"]["name"]}
    ]
    return found


def job_set_spec(document: Document) -> Document:
    spec: Document = document["spec"]
    return spec["template"]["spec"] if document["kind"] == "TrainingRuntime" else spec


def jobs(variant: str) -> Mapping[str, Document]:
    """{name: template of a batch/v1 Job}: also those inside a JobSet."""
    found: dict[str, Document] = {}
    for document in documents(variant):
        if document["kind"] == "Job":
            found[document["metadata"]["name"]] = document
        elif document["kind"] in {"JobSet", "TrainingRuntime"}:
            replicated = job_set_spec(document)["replicatedJobs"]
            found.update({it["name"]: it["template"] for it in replicated})
    return found


def pods(variant: str) -> Mapping[str, Document]:
    """{component: pod}."""
    templates = [job["spec"]["template"] for job in jobs(variant).values()]
    templates += [it["spec"]["template"] for it in documents(variant) if it["kind"] == "Deployment"]
    return {it["metadata"]["labels"]["app.kubernetes.io/component"]: it for it in templates}


def container(variant: str, component: str) -> Document:
    (found,) = pods(variant)[component]["spec"]["containers"]
    return found  # type: ignore[no-any-return]


def environment(found: Document) -> Mapping[str, str]:
    """{variable: its value}; of one that is known in a pod alone, where it comes from."""
    return {
        it["name"]: it["value"] if "value" in it else it["valueFrom"]["fieldRef"]["fieldPath"]
        for it in found["env"]
    }


def run_config(variant: str) -> RunConfig:
    """The options that the trainer of a variant is given: the ConfigMap, then the environment."""
    written = of_kind(variant, "ConfigMap")["data"]["run.yaml"]
    assert written == (FOLDER / "base/run.yaml").read_text(encoding="utf-8")
    variables = arguments_of(environment(container(variant, "trainer")))
    return load_config(FOLDER / "base/run.yaml", variables)


# Rendering


def test_what_is_rendered_is_of_the_sources_of_now() -> None:
    folders = ("base", *VARIANTS)
    files = sorted(it for folder in folders for it in (FOLDER / folder).rglob("*") if it.is_file())
    files.sort(key=lambda it: str(it.relative_to(FOLDER)).encode())
    digest = hashlib.sha256(b"".join(it.read_bytes() for it in files)).hexdigest()
    for variant in VARIANTS:
        text = (FOLDER / "rendered" / f"{variant}.yaml").read_text(encoding="utf-8")
        assert f"# sources: {digest}\n" in text, "run `make kubernetes`"


@needs_kubectl
@each_variant
def test_kubectl_renders_what_is_committed(variant: str) -> None:
    done = subprocess.run(
        ["kubectl", "kustomize", str(FOLDER / variant)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert read(done.stdout) == documents(variant)


@needs_kubectl
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_secrets_are_made_of_what_the_certificate_program_writes(tmp_path: Path) -> None:
    script = FOLDER.parent / "make-certificates.sh"
    subprocess.run(["bash", str(script), str(tmp_path)], check=True, capture_output=True)
    shutil.copy(FOLDER / "secrets/kustomization.yaml", tmp_path)
    text = subprocess.run(
        ["kubectl", "kustomize", str(tmp_path)], check=True, capture_output=True, text=True
    ).stdout
    secrets = {it["metadata"]["name"]: set(it["data"]) for it in read(text)}
    assert secrets == {
        "trainer": {"authority.pem", "trainer.pem", "trainer.key", "token", "read-token"},
        "simulator": {"authority.pem", "token"},
    }
    for variant in VARIANTS:
        for component in ("trainer", "simulator"):
            (volume,) = [
                it for it in pods(variant)[component]["spec"]["volumes"] if it["name"] == "secrets"
            ]
            assert volume["secret"]["secretName"] == component
            named = re.findall(f"{SECRETS}([a-z.-]+)", json.dumps(container(variant, component)))
            assert named
            assert set(named) <= secrets[component]


# Schemas


def schema_of(document: Document) -> Any:
    name = "jobset-0.12.0" if document["kind"] == "JobSet" else "kubeflow-trainer-2.3.0"
    return json.loads((FOLDER / "schemas" / f"{name}.json").read_text(encoding="utf-8"))


@cache
def validate_strictly(document: str) -> None:
    """Of one document as JSON; most are the same in all variants."""
    validate = pytest.importorskip("kubernetes_validate", reason=NEEDS_VALIDATE).validate
    validate(json.loads(document), "1.37", strict=True)


@each_variant
def test_every_field_is_one_that_its_kind_has(variant: str) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason=NEEDS_VALIDATE)
    others = set()
    for document in documents(variant):
        if document["kind"] in {"JobSet", "TrainJob", "TrainingRuntime"}:
            others.add(document["kind"])
            jsonschema.Draft202012Validator(schema_of(document)).validate(document)
        else:
            validate_strictly(json.dumps(document))
    for name, job in jobs(variant).items():
        metadata = {"name": name, **job.get("metadata", {})}
        whole = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": job["spec"]}
        validate_strictly(json.dumps(whole))
    expected = {"kubeflow": {"TrainJob", "TrainingRuntime"}, "job": set()}
    assert others == expected.get(variant, {"JobSet"})


def test_a_field_that_is_misspelt_is_found() -> None:
    jsonschema = pytest.importorskip("jsonschema", reason=NEEDS_VALIDATE)
    for variant, kind, place in (
        ("jobset", "JobSet", ("spec", "successPolicy")),
        ("kubeflow", "TrainJob", ("spec", "trainer")),
        ("kubeflow", "TrainingRuntime", ("spec", "template", "spec")),
    ):
        document = deepcopy(of_kind(variant, kind))
        inside: Any = document
        for part in place:
            inside = inside[part]
        inside["replicatedJbos"] = []
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(schema_of(document)).validate(document)


# Pods


@each_variant
@pytest.mark.parametrize("component", ["trainer", "simulator"])
def test_a_pod_meets_the_restricted_profile_and_more(variant: str, component: str) -> None:
    spec = pods(variant)[component]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["fsGroup"] == 10001
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    # Variables of services, such as those of one called `entrain`, are no options.
    assert spec["enableServiceLinks"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert {next(iter(set(it) - {"name"})) for it in spec["volumes"]} <= {
        "persistentVolumeClaim",
        "configMap",
        "secret",
        "emptyDir",
    }
    confined = container(variant, component)
    assert confined["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert confined["resources"]["limits"]["memory"]
    assert confined["resources"]["requests"]["cpu"]
    assert of_kind(variant, "Namespace")["metadata"]["labels"][
        "pod-security.kubernetes.io/enforce"
    ] == ("restricted")


@each_variant
def test_trainers_of_all_variants_are_the_same_but_for_how_ranks_are_told(variant: str) -> None:
    def without(spec: Document) -> Document:
        (only,) = spec["containers"]
        ranks = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
        env = [it for it in only["env"] if it["name"] not in ranks]
        kept = {name: it for name, it in only.items() if name not in {"name", "command", "args"}}
        return {**spec, "containers": [{**kept, "env": env}]}

    trainer = pods(variant)["trainer"]["spec"]
    assert without(trainer) == without(pods("jobset")["trainer"]["spec"])


@each_variant
def test_what_the_environment_says_are_options_and_the_run_is_safe_to_reach(variant: str) -> None:
    config = run_config(variant)
    found = container(variant, "trainer")
    mounts = {it["name"]: it["mountPath"] for it in found["volumeMounts"]}
    address = parse_address(config.server.address)
    check_exposure(address, config.server)
    assert not config.server.insecure
    assert not config.http.insecure
    assert config.stopped_exit_code == STOPPED
    assert str(config.runs_directory) == mounts["runs"]
    assert f"{mounts['secrets']}/" == SECRETS
    ports = {it["name"]: it["containerPort"] for it in found["ports"]}
    assert config.server.address == f"0.0.0.0:{ports['grpc']}"
    assert config.http.address == f"0.0.0.0:{ports['page']}"
    assert config.http.read_token_file is not None
    # Simulators that speak WebSocket, if the run's file says so, with as many ports for ranks.
    spoken = RunConfig.model_validate(
        {**config.model_dump(), "server": {**config.server.model_dump(), "websocket": WEBSOCKET}}
    )
    assert spoken.server.websocket == f"0.0.0.0:{ports['websocket']}"
    assert config.http.read_token_file != config.server.token_file
    grace_s = pods(variant)["trainer"]["spec"]["terminationGracePeriodSeconds"]
    assert grace_s > 2 * config.stop_timeout_s


@each_variant
def test_the_trainer_goes_on_with_what_is_there_and_is_probed_over_tls(variant: str) -> None:
    found = container(variant, "trainer")
    words = " ".join(found.get("args", found.get("command", ())))
    assert words.rstrip().endswith("train /config/run.yaml --resume-or-start")
    for probe in ("startupProbe", "readinessProbe"):
        assert found[probe]["exec"]["command"] == ["python", "/opt/entrain/healthcheck.py"]
    assert "livenessProbe" not in found
    assert environment(found)["ENTRAIN_HEALTH_CA"] == f"{SECRETS}authority.pem"


@each_variant
def test_exit_codes_decide_whether_a_trainer_is_started_again(variant: str) -> None:
    name = "node" if variant == "kubeflow" else "trainer"
    spec = jobs(variant)[name]["spec"]
    assert spec["podReplacementPolicy"] == "Failed"
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    rules = spec["podFailurePolicy"]["rules"]
    codes: dict[int, str] = {}
    for rule in rules:
        if "onExitCodes" in rule:
            assert rule["onExitCodes"]["containerName"] == container(variant, "trainer")["name"]
            codes.update(dict.fromkeys(rule["onExitCodes"]["values"], rule["action"]))
        else:
            assert rule["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    final = {code for code in codes if code not in {130, STOPPED}}
    assert final == {1, 2, 3, 6}
    assert {codes[code] for code in final} == {"FailJob"}
    assert final <= set(EXIT_CODES)
    # Of several ranks all are started again, by the JobSet.
    expected = ("FailJob", 0) if variant == "ranks" else ("Ignore", 6)
    assert (codes[STOPPED], spec["backoffLimit"]) == expected


def test_ranks_are_started_again_together_unless_it_is_of_no_use() -> None:
    policy = of_kind("ranks", "JobSet")["spec"]["failurePolicy"]
    assert policy["restartStrategy"] == "BlockingRecreate"

    def action(message: str) -> str:
        for rule in policy["rules"]:
            patterns = rule.get("onJobFailureMessagePatterns", [""])
            if any(re.search(pattern, message) for pattern in patterns):
                return str(rule["action"])
        return "RestartJobSet"

    # As Kubernetes words it (pkg/controller/job/pod_failure_policy.go).
    begin = "Container trainer for pod entrain/balance-ball-trainer-0-1-x failed with exit code"
    for code in (1, 2, 3, 6, 78):
        assert action(f"{begin} {code} matching FailJob rule at index 0") == "FailJobSet"
    again = "RestartJobSetAndIgnoreMaxRestarts"
    assert action(f"{begin} 143 matching FailJob rule at index 2") == again
    assert (
        action("Pod a/b has condition DisruptionTarget matching FailJob rule at index 1") == again
    )


def test_each_rank_has_its_place_its_name_and_simulators_of_its_own() -> None:
    job_set = of_kind("ranks", "JobSet")
    trainer, simulators = job_set["spec"]["replicatedJobs"]
    size = trainer["template"]["spec"]["completions"]
    assert trainer["template"]["spec"]["parallelism"] == size == simulators["replicas"]
    variables = environment(container("ranks", "trainer"))
    assert variables["WORLD_SIZE"] == str(size)
    assert variables["RANK"].endswith("['batch.kubernetes.io/job-completion-index']")
    name = job_set["metadata"]["name"]
    assert variables["MASTER_ADDR"] == f"{name}-{trainer['name']}-0-0.{name}"
    (shell, option, script) = container("ranks", "simulator")["command"]
    assert (shell, option) == ("sh", "-c")
    where = subprocess.run(
        ["sh", "-c", script.replace("exec entrain-env", "echo")],
        env={"RANK": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    options = entrain_env.parser().parse_args(where)
    assert options.connect == f"{name}-{trainer['name']}-0-1.{name}:50052"
    assert (
        size * simulators["template"]["spec"]["completions"]
        >= run_config("ranks").simulators.expect
    )
    assert of_kind("ranks", "PodDisruptionBudget")["spec"]["minAvailable"] == size


@pytest.mark.parametrize("variant", ["job", "jobset", "kubeflow"])
def test_simulators_dial_the_service_with_tls_and_the_token(
    variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = container(variant, "simulator")
    for name, value in environment(found).items():
        monkeypatch.setenv(name, value)
    options = entrain_env.parser().parse_args(found["args"])
    service = of_kind(variant, "Service")
    port = next(it for it in service["spec"]["ports"] if it["name"] == "grpc")
    assert options.connect == f"{service['metadata']['name']}:{port['port']}"
    # The name of the service is one that every certificate has.
    script = (FOLDER.parent / "make-certificates.sh").read_text(encoding="utf-8")
    assert f"names=({service['metadata']['name']} " in script
    assert str(options.tls_ca) == f"{SECRETS}authority.pem"
    assert str(options.token_file) == f"{SECRETS}token"
    assert float(options.reconnect_s) >= 600.0


@each_variant
def test_the_trainers_pods_are_those_of_service_network_and_disruption_budget(variant: str) -> None:
    def selected(selector: Mapping[str, str]) -> set[str]:
        return {
            component
            for component, pod in pods(variant).items()
            if selector.items()
            <= {
                **pod["metadata"]["labels"],
                "batch.kubernetes.io/job-completion-index": "0",
            }.items()
        }

    assert selected(of_kind(variant, "Service")["spec"]["selector"]) == {"trainer"}
    budget = of_kind(variant, "PodDisruptionBudget", "trainer")
    assert selected(budget["spec"]["selector"]["matchLabels"]) == {"trainer"}
    opened = {it["name"]: it["port"] for it in of_kind(variant, "Service")["spec"]["ports"]}
    assert f"0.0.0.0:{opened['websocket']}" == WEBSOCKET
    ingress = of_kind(variant, "NetworkPolicy", "trainer")["spec"]["ingress"][0]
    ranges = [(it["port"], it["endPort"]) for it in ingress["ports"]]
    assert ranges == [(opened[name], opened[name] + 63) for name in ("grpc", "websocket")]
    for name, component in (("trainer", "trainer"), ("simulators", "simulator")):
        policy = of_kind(variant, "NetworkPolicy", name)["spec"]
        assert selected(policy["podSelector"]["matchLabels"]) == {component}
        assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in of_kind(variant, "NetworkPolicy", "simulators")["spec"]


@pytest.mark.parametrize(("variant", "name"), [("jobset", "trainer"), ("kubeflow", "node")])
def test_the_set_is_done_when_its_trainer_is_and_simulators_wait_for_it(
    variant: str, name: str
) -> None:
    spec = job_set_spec(of_kind(variant, "TrainingRuntime" if variant == "kubeflow" else "JobSet"))
    assert spec["successPolicy"] == {"operator": "All", "targetReplicatedJobs": [name]}
    first, second = spec["replicatedJobs"]
    assert (first["name"], second["name"]) == (name, "simulators")
    assert second["dependsOn"] == [{"name": name, "status": "Ready"}]
    completions = second["template"]["spec"]["completions"]
    assert completions == run_config(variant).simulators.expect


def test_kubeflow_finds_the_names_that_it_asks_for() -> None:
    runtime, job = of_kind("kubeflow", "TrainingRuntime"), of_kind("kubeflow", "TrainJob")
    assert runtime["metadata"]["labels"]["trainer.kubeflow.org/framework"] == "torch"
    assert runtime["spec"]["mlPolicy"] == {"numNodes": 1, "torch": {}}
    node = jobs("kubeflow")["node"]
    assert node["metadata"]["labels"] == {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
    assert container("kubeflow", "trainer")["name"] == "node"
    assert job["spec"]["runtimeRef"] == {
        "apiGroup": "trainer.kubeflow.org",
        "kind": "TrainingRuntime",
        "name": runtime["metadata"]["name"],
    }
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"]
    own = {it["name"]: it["value"] for it in job["spec"]["trainer"]["env"]}
    assert load_config(FOLDER / "base/run.yaml", arguments_of(own)).policies["ball"].total_steps


def test_the_variables_of_kubeflow_become_those_of_ranks() -> None:
    (shell, option, script) = container("kubeflow", "trainer")["command"]
    assert (shell, option) == ("sh", "-c")
    given = {"NODE_RANK": "1", "NNODES": "2", "MASTER_ADDR": "node-0", "MASTER_PORT": "29500"}
    told = subprocess.run(
        ["sh", "-c", script.replace("exec entrain", "env; echo")],
        env={f"PET_{name}": value for name, value in given.items()} | {"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert {"RANK=1", "WORLD_SIZE=2", "LOCAL_RANK=0"} <= set(told)
    assert {"MASTER_ADDR=node-0", "MASTER_PORT=29500"} <= set(told)
    assert shlex.split(told[-1])[0] == "train"


def test_the_autoscaler_follows_a_metric_that_the_trainer_has() -> None:
    scaler = of_kind("job", "HorizontalPodAutoscaler")["spec"]
    (metric,) = scaler["metrics"]
    name = metric["object"]["metric"]["name"]
    served = Served()
    text = Exposition(served.source.run, served.board).render().decode()
    assert f"\n{name} 0." in text  # a share
    target = scaler["scaleTargetRef"]
    assert of_kind("job", target["kind"], target["name"])
    assert (
        metric["object"]["describedObject"]["name"] == of_kind("job", "Service")["metadata"]["name"]
    )
    config = run_config("job")
    assert config.simulators.expect <= scaler["minReplicas"]
    assert scaler["maxReplicas"] <= config.server.max_sessions


def test_podman_is_given_the_pods_that_a_cluster_would_make() -> None:
    made = runpy.run_path(str(FOLDER / "pods.py"))["pods"]
    config_map, trainer = made("trainer", Path("/secrets"), {"ENTRAIN__SEED": "3"})
    assert config_map == of_kind("job", "ConfigMap")
    assert made("claim", Path("/secrets"), {}) == [of_kind("job", "PersistentVolumeClaim")]
    first, second = made("simulators", Path("/secrets"), {})
    assert (first["metadata"]["name"], second["metadata"]["name"]) == (
        "simulators-0",
        "simulators-1",
    )
    for component, spec in (("trainer", trainer["spec"]), ("simulator", first["spec"])):
        expected = deepcopy(pods("job")[component]["spec"])
        (secrets,) = [it for it in expected["volumes"] if it["name"] == "secrets"]
        del secrets["secret"]
        secrets["hostPath"] = {"path": "/secrets", "type": "Directory"}
        expected["containers"][0].pop("ports", None)
        if component == "trainer":
            variable = {"name": "ENTRAIN__SEED", "value": "3"}
            expected["containers"][0]["env"].insert(0, variable)
        assert spec == expected


def test_make_kubernetes_renders() -> None:
    makefile = (FOLDER.parents[1] / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^kubernetes:.*\n\tdocker/kubernetes/render\.sh$", makefile, re.MULTILINE)


@each_variant
@pytest.mark.parametrize("component", ["trainer", "simulator"])
def test_images_are_those_that_the_docker_files_build(variant: str, component: str) -> None:
    assert container(variant, component)["image"] == f"localhost/entrain-{component}:latest"
    assert (FOLDER.parent / f"{component}.Dockerfile").is_file()
