"""The deployment files: what they must hold, and that a broken one is noticed."""

from __future__ import annotations

import copy
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "infra" / "deploy"
STAGES = {
    "render", "fit", "train-base", "train-upsampler", "train-refiner", "train-prior", "sample",
}  # fmt: skip
PINNED = re.compile(r"^(ray|mlflow)==([\d.]+)", re.M)
VERSIONS = dict(PINNED.findall((ROOT / "requirements.lock").read_text()))


def load(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


def groups(cluster: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield cluster["spec"]["headGroupSpec"]
    yield from cluster["spec"]["workerGroupSpecs"]


def pod_faults(spec: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a pod: root, no limits, keys written out."""
    context = spec.get("securityContext", {})
    if not context.get("runAsNonRoot") or context.get("runAsUser") != 1000:
        yield "may run as root"
    for container in spec["containers"]:
        limits, requests = container["resources"]["limits"], container["resources"]["requests"]
        if not {"cpu", "memory"} <= set(limits):
            yield "no limits"
        if limits["memory"] != requests["memory"] and "ray-" in container["name"]:
            yield "Ray is told of memory that it may not get"
        if container.get("securityContext", {}).get("allowPrivilegeEscalation", True):
            yield "may gain rights"
        for entry in container.get("env", []):
            if "value" in entry and re.search("KEY|SECRET|TOKEN|PASSWORD", entry["name"]):
                yield "a key in the open"


def cluster_faults(
    cluster: dict[str, Any], expected: tuple[str, ...] = ("render", "fit", "train")
) -> Iterator[str]:
    spec = cluster["spec"]
    if spec["rayVersion"] != VERSIONS["ray"]:
        yield "another Ray than the lock's"
    if spec.get("authOptions", {}).get("mode") != "token":
        yield "no token"
    if spec["headGroupSpec"]["rayStartParams"].get("num-cpus") != "0":
        yield "work on the head"
    names = [group["groupName"] for group in spec["workerGroupSpecs"]]
    if names != list(expected):
        yield "groups"
    for group in groups(cluster):
        yield from pod_faults(group["template"]["spec"])
        if any(not isinstance(value, str) for value in group["rayStartParams"].values()):
            yield "rayStartParams are strings"
    for group in spec["workerGroupSpecs"]:
        if not group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]:
            yield "replicas"
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        params = group["rayStartParams"]
        if params.get("num-gpus") != limits.get("nvidia.com/gpu"):
            yield "GPUs that Ray does not know of"
        if int(params["num-cpus"]) > int(limits["cpu"]):
            yield "more CPUs than there are"
        image = group["template"]["spec"]["containers"][0]["image"]
        if ("cuda" in image) != ("num-gpus" in params):
            yield "the wrong image"


def test_the_cluster_is_sound() -> None:
    assert list(cluster_faults(load("kuberay/cluster.yaml"))) == []


@pytest.mark.parametrize(
    ("fault", "path", "value"),
    [
        ("no token", ["spec", "authOptions", "mode"], "disabled"),
        ("another Ray than the lock's", ["spec", "rayVersion"], "2.9.0"),
        ("work on the head", ["spec", "headGroupSpec", "rayStartParams", "num-cpus"], "4"),
        ("replicas", ["spec", "workerGroupSpecs", 0, "replicas"], 999),
        (
            "more CPUs than there are",
            ["spec", "workerGroupSpecs", 0, "rayStartParams", "num-cpus"],
            "17",
        ),
        (
            "GPUs that Ray does not know of",
            ["spec", "workerGroupSpecs", 1, "rayStartParams", "num-gpus"],
            "2",
        ),
        (
            "may run as root",
            ["spec", "workerGroupSpecs", 1, "template", "spec", "securityContext"],
            {},
        ),
        (
            "a key in the open",
            ["spec", "headGroupSpec", "template", "spec", "containers", 0, "env"],
            [{"name": "AWS_SECRET_ACCESS_KEY", "value": "x"}],
        ),
    ],
)
def test_the_check_can_fail(fault: str, path: list[Any], value: Any) -> None:
    cluster = copy.deepcopy(load("kuberay/cluster.yaml"))
    place = cluster
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    assert fault in list(cluster_faults(cluster))


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_each_stage_has_a_job_whose_command_parses(stage: str) -> None:
    from pipelines.options import parse

    job = load(f"kuberay/job-{stage}.yaml")
    spec = job["spec"]
    assert spec["clusterSelector"] == {
        "ray.io/cluster": load("kuberay/cluster.yaml")["metadata"]["name"]
    }
    assert "backoffLimit" not in spec and "generateName" in job["metadata"]
    assert list(pod_faults(spec["submitterPodTemplate"]["spec"])) == []
    python, dash, module, *words = shlex.split(spec["entrypoint"])
    assert (python, dash) == ("python", "-m")
    assert module == f"pipelines.{stage.split('-', maxsplit=1)[0]}"
    if "--stage" in words:
        at = words.index("--stage")
        assert words[at + 1] == stage.split("-")[1]
        del words[at : at + 2]
    options, settings = parse("x", "", ("resources",), words)
    assert options.preset == "paper" and options.out.startswith("s3://")
    cluster = {g["groupName"]: g for g in load("kuberay/cluster.yaml")["spec"]["workerGroupSpecs"]}
    got = settings.resources
    if stage == "render":
        most = cluster["render"]["maxReplicas"] * int(
            cluster["render"]["rayStartParams"]["num-cpus"]
        )
        assert got.workers * got.cpus_per_worker <= most
    if stage == "fit":
        node = cluster["fit"]["rayStartParams"]
        assert got.workers * got.gpus_per_fit <= cluster["fit"]["maxReplicas"]
        assert got.cpus_per_worker / got.gpus_per_fit <= int(node["num-cpus"])
    if stage.startswith("train"):
        node = cluster["train"]["rayStartParams"]
        assert got.train_on_gpu and got.train_workers <= int(node["num-gpus"])
        assert got.train_workers * got.cpus_per_train_worker <= int(node["num-cpus"])


def service_faults(service: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a RayService: its cluster, its config, copies that do not fit on it."""
    from ray.serve.schema import ServeDeploySchema

    from pipelines import serve_app

    spec = service["spec"]
    yield from cluster_faults({"spec": spec["rayClusterConfig"]}, ("serve",))
    config = ServeDeploySchema.model_validate(yaml.safe_load(spec["serveConfigV2"]))
    (app,) = config.applications
    module, _, name = app.import_path.partition(":")
    if module != serve_app.__name__ or not hasattr(serve_app, name):
        yield "no such application"
    if app.name != serve_app.APP:
        yield "a name that /healthz does not know"
    try:
        serve_app.build(app.args)
    except ValueError:
        yield "arguments that are refused"
        return
    (nodes,) = spec["rayClusterConfig"]["workerGroupSpecs"]
    ask = app.args
    for kind in ("cpus", "gpus"):
        if ask[kind] > int(nodes["rayStartParams"][f"num-{kind}"]):
            yield "a copy that fits no node"
    if ask["replicas"] > nodes["maxReplicas"]:
        yield "more copies than nodes"
    if ask["timeout"] >= config.http_options.request_timeout_s:
        yield "cut off before the reason is said"
    ports = spec["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["containers"][0]["ports"]
    if config.http_options.port not in [port["containerPort"] for port in ports]:
        yield "a port that no one reaches"


def test_the_service_is_sound() -> None:
    assert list(service_faults(load("serve.yaml"))) == []


@pytest.mark.parametrize(
    ("fault", "old", "new"),
    [
        ("arguments that are refused", "queue: 64", "queue: 0"),
        ("arguments that are refused", "max_steps: 50", "max_stepps: 50"),
        ("a copy that fits no node", "gpus: 1", "gpus: 2"),
        ("more copies than nodes", "replicas: 2", "replicas: 5"),
        ("cut off before the reason is said", "timeout: 300", "timeout: 400"),
        ("a port that no one reaches", "port: 8000", "port: 8001"),
        ("no such application", "serve_app:build", "serve_app:built"),
        ("a name that /healthz does not know", "name: rodin", "name: avatars"),
    ],
)
def test_the_check_of_the_service_can_fail(fault: str, old: str, new: str) -> None:
    service = load("serve.yaml")
    text = service["spec"]["serveConfigV2"]
    assert text.count(old) == 1
    service["spec"]["serveConfigV2"] = text.replace(old, new)
    assert list(service_faults(service)) == [fault]


def test_no_job_without_a_stage() -> None:
    found = {path.stem.removeprefix("job-") for path in (DEPLOY / "kuberay").glob("job-*.yaml")}
    assert found == STAGES


def test_the_launcher_file_fits_rays_own_schema() -> None:
    schema = json.loads((Path(ray.__file__).parent / "autoscaler/ray-schema.json").read_text())
    config = load("ray-up.yaml")
    jsonschema.validate(config, schema)
    types = config["available_node_types"]
    assert config["head_node_type"] in types
    assert config["max_workers"] == sum(entry["max_workers"] for entry in types.values())
    starts = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    assert all("RAY_AUTH_MODE=token" in line for line in starts if "ray start" in line)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**config, "max_worker": 3}, schema)


def test_the_compose_file() -> None:
    services = load("compose.yaml")["services"]
    assert set(services) == {"postgres", "s3", "mlflow"}
    text = (DEPLOY / "compose.yaml").read_text()
    assert not re.search(r"(PASSWORD|_KEY): (?!['\"]*\$\{\w+:\?)", text)  # no default passwords
    for service in services.values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")
    assert "--serve-artifacts" in services["mlflow"]["command"][0]


def test_the_dockerfile() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    stages = re.split(r"(?m)^FROM ", text)[1:]
    names = {stage.split("\n")[0].split(" AS ")[1]: stage for stage in stages}
    assert set(names) == {"base", "cpu", "cuda", "mlflow"}
    for name in ("cpu", "cuda", "mlflow"):
        assert re.findall(r"(?m)^USER (\w+)", names[name])[-1] != "root"
    assert f"mlflow=={VERSIONS['mlflow']}" in names["mlflow"]
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    assert {".git", ".venv", "runs"} <= set(ignored)
    setup = re.search(r'packages="([^"]+)"', (ROOT / "scripts/setup.sh").read_text())
    assert setup is not None and set(setup[1].split()) <= set(text.split())


def test_numbers_carry_their_reasons() -> None:
    """Every limit, replica count and timeout has a comment on its line or the one above."""
    knob = re.compile(
        r"(?<![\w-])(maxReplicas|idleTimeoutSeconds|terminationGracePeriod\w*|shm_size|retries"
        r"|request_timeout_s|queue|timeout|cpus|gpus|max_\w+):"
    )
    for path in sorted(DEPLOY.rglob("*.yaml")):
        lines = path.read_text().splitlines()
        first = {}
        for above, line in zip(["", *lines], lines, strict=False):
            match = knob.search(line)
            if match:
                said = "#" in line or above.strip().startswith("#")
                first[match[1]] = first.get(match[1], False) or said
        assert all(first.values()), (path.name, first)
