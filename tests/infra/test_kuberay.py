"""The KubeRay manifest against Kubernetes' schemas, our config and our placement. No cluster is needed."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import botocore
import confluent_kafka
import kubernetes_validate
import pytest
import yaml

from operators.tokenize import registry
from pipeline.config import Config, modality_of, parse_config
from pipeline.graph import LanePlan
from pipeline.runtime.placement import PoolPlan, place, place_later, pools_of, wish
from pipeline.scale.allocate import GrantReason, Node, allocate
from pipeline.source.kafka_config import KafkaConfig, consumer_properties

ROOT = Path(__file__).parents[2]
KUBERAY = ROOT / "infra" / "kuberay"
MANIFEST = (KUBERAY / "mediatok.yaml").read_text(encoding="utf-8")
SECRET: dict[str, Any] = yaml.safe_load((KUBERAY / "secret.example.yaml").read_text(encoding="utf-8"))
DOCUMENTS: list[dict[str, Any]] = list(yaml.safe_load_all(MANIFEST))
KUBERNETES = ("1.33", "1.37")
OWN_KINDS = ("ConfigMap", "Deployment", "PodDisruptionBudget")
UNITS = {"": 1, "m": 0.001, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}


@dataclass(frozen=True)
class RayNode:
    """A pod that is a node of the Ray cluster.

    Attributes:
        object_store_bytes: that Ray is told to keep.
        cpus, gpus: that Ray counts.
        least, most: how many of them there are.
    """

    name: str
    template: dict[str, Any]
    object_store_bytes: int
    cpus: float
    gpus: int
    least: int
    most: int

    @property
    def pod(self) -> dict[str, Any]:
        return self.template["spec"]

    @property
    def container(self) -> dict[str, Any]:
        (container,) = self.pod["containers"]
        return container

    def limit(self, resource: str) -> float:
        return quantity(self.container["resources"]["limits"].get(resource, "0"))

    def volume_at(self, path: str) -> dict[str, Any]:
        (name,) = [each["name"] for each in self.container["volumeMounts"] if each["mountPath"] == path]
        (volume,) = [each for each in self.pod["volumes"] if each["name"] == name]
        return volume["emptyDir"]


def quantity(text: str) -> float:
    number, unit = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(text)).groups()  # type: ignore[union-attr]
    return float(number) * UNITS[unit]


def only(kind: str) -> dict[str, Any]:
    (document,) = [each for each in DOCUMENTS if each["kind"] == kind]
    return document


def found(where: object, key: str) -> Iterator[Any]:
    """What stands under a key, anywhere in a structure."""
    match where:
        case dict():
            for name, inner in where.items():
                yield from [inner] if name == key else []
                yield from found(inner, key)
        case list():
            for inner in where:
                yield from found(inner, key)
        case _:
            pass


@cache
def config() -> Config:
    return parse_config(yaml.safe_load(only("ConfigMap")["data"]["mediatok.yaml"]))


def pools() -> list[PoolPlan]:
    """As the runtime makes them; which products there are does not matter for their sizes."""
    lanes = [LanePlan(name, modality_of(name, lane), (), lane) for name, lane in config().lanes.items()]
    return [pool for lane in lanes for pool in pools_of(lane)]


def script() -> str:
    (text,) = COORDINATOR.container["args"]
    return text


def _group(group: dict[str, Any], name: str, least: int, most: int) -> RayNode:
    params, template = group["rayStartParams"], group["template"]
    limits = template["spec"]["containers"][0]["resources"]["limits"]
    # KubeRay's generateRayStartCommand: the limits, unless the parameter says otherwise.
    cpus, gpus = params.get("num-cpus", limits["cpu"]), limits.get("nvidia.com/gpu", "0")
    return RayNode(name, template, int(params["object-store-memory"]), quantity(cpus), int(gpus), least, most)


def _ray_nodes() -> Iterator[RayNode]:
    cluster = only("RayCluster")["spec"]
    yield _group(cluster["headGroupSpec"], "head", 1, 1)
    for group in cluster["workerGroupSpecs"]:
        yield _group(group, group["groupName"], group["minReplicas"], group["maxReplicas"])
    template = only("Deployment")["spec"]["template"]
    text = template["spec"]["containers"][0]["args"][0]
    options = dict(re.findall(r"--([a-z-]+)=([0-9]+)", text))
    cpus, gpus = float(options["num-cpus"]), int(options["num-gpus"])
    yield RayNode("coordinator", template, int(options["object-store-memory"]), cpus, gpus, 1, 1)


RAY_NODES = {node.name: node for node in _ray_nodes()}
COORDINATOR = RAY_NODES["coordinator"]
WORKERS = [RAY_NODES["cpu"], RAY_NODES["gpu"]]
every_ray_node = pytest.mark.parametrize("node", RAY_NODES.values(), ids=RAY_NODES.keys())


def as_pod(node: RayNode) -> dict[str, Any]:
    metadata = {"name": node.name, **node.template["metadata"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": node.pod}


def test_the_manifest_holds_these_kinds_and_the_ray_cluster() -> None:
    assert sorted(each["kind"] for each in DOCUMENTS) == sorted([*OWN_KINDS, "RayCluster"])


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize(
    "document", [only(kind) for kind in OWN_KINDS] + [SECRET], ids=lambda document: document["kind"]
)
def test_kubernetes_takes_every_document_of_its_own_kinds(document: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("version", KUBERNETES)
@every_ray_node
def test_kubernetes_takes_the_pods_of_every_group(node: RayNode, version: str) -> None:
    kubernetes_validate.validate(as_pod(node), version, strict=True)


def test_a_misspelt_key_would_be_noticed() -> None:
    pod = as_pod(RAY_NODES["gpu"])
    pod["spec"] = {**pod["spec"], "toleration": pod["spec"]["tolerations"]}
    with pytest.raises(kubernetes_validate.ValidationError, match="toleration"):
        kubernetes_validate.validate(pod, KUBERNETES[-1], strict=True)


def test_the_cluster_scales_by_rays_second_autoscaler_within_bounds() -> None:
    cluster = only("RayCluster")["spec"]
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["autoscalerOptions"]["version"] == "v2"
    for group in cluster["workerGroupSpecs"]:
        assert 0 == group["minReplicas"] < group["maxReplicas"]
        # The autoscaler's field: `kubectl apply` would put it back.
        assert "replicas" not in group
        # KubeRay refuses any other policy with version 2.
        assert group["template"]["spec"].get("restartPolicy", "Never") == "Never"


def test_only_workers_have_cpus_and_only_gpu_workers_have_gpus() -> None:
    assert {name for name, node in RAY_NODES.items() if node.cpus} == {"cpu", "gpu"}
    assert {name for name, node in RAY_NODES.items() if node.gpus} == {"gpu"}
    tolerated = {each["key"] for each in RAY_NODES["gpu"].pod["tolerations"]}
    assert tolerated == {"nvidia.com/gpu"}


def test_the_config_has_a_lane_for_each_modality_with_a_built_in_of_that_modality() -> None:
    built_in = {each.name: each.modality for each in registry.describe()}
    assert {modality_of(name, lane).value for name, lane in config().lanes.items()} == {
        "image",
        "audio",
        "video",
        "text",
    }
    for name, lane in config().lanes.items():
        assert lane.topics == [f"media.{name}"]
        assert {built_in[product.tokenizer] for product in lane.products.values()} == {modality_of(name, lane)}
    assert config().ray.address == "auto"
    assert config().ray.autoscale


def test_sound_pictures_and_films_are_tokenized_on_gpus() -> None:
    on_gpus = {name for name, lane in config().lanes.items() if lane.tokenize is not None and lane.tokenize.gpus > 0}
    assert on_gpus == {"image", "audio", "video"}


def test_pools_are_planned_before_there_is_any_node_and_say_what_they_wait_for() -> None:
    placement = place_later(pools(), [])
    assert [pool.config.max for pool in placement.pools] == [pool.config.max for pool in pools()]
    assert len(placement.notes) == len(pools())


def test_one_node_of_each_group_has_room_for_a_worker_of_every_pool_unshrunk() -> None:
    assert place(pools(), [Node(node.cpus, node.gpus) for node in WORKERS]).notes == ()


def test_a_pool_that_is_at_zero_asks_for_nothing() -> None:
    assert {pool.config.min for pool in pools()} == {0}


def test_all_workers_of_every_pool_fit_the_most_nodes() -> None:
    nodes = [Node(node.cpus, node.gpus) for node in WORKERS for _ in range(node.most)]
    grants = allocate({pool.name: wish(pool, pool.config.max) for pool in pools()}, nodes)
    assert {name: grant.detail for name, grant in grants.items() if grant.reason is not GrantReason.GRANTED} == {}


@every_ray_node
def test_shared_memory_holds_the_object_store_and_leaves_memory_to_processes(node: RayNode) -> None:
    shm = node.volume_at("/dev/shm")
    assert shm["medium"] == "Memory"
    assert node.object_store_bytes < quantity(shm["sizeLimit"]) <= node.limit("memory") / 2


@every_ray_node
def test_object_stores_hold_what_the_lanes_may_hold(node: RayNode) -> None:
    # Windows and tokens are made on workers; tokens go to the packers, which are with the coordinator.
    limits = [lane.limits for lane in config().lanes.values()]
    tokens, windows = sum(each.token_bytes for each in limits), sum(each.window_bytes for each in limits)
    needed = {"head": 0, "coordinator": tokens}
    assert node.object_store_bytes >= needed.get(node.name, tokens + windows)


@every_ray_node
def test_the_disk_holds_media_where_they_are_decoded_and_spools_where_packers_are(node: RayNode) -> None:
    state, fetch = config().state, config().fetch
    mounted = node.volume_at(str(PurePosixPath(state).parent))
    # A seal writes one shard beside the spool.
    spools = sum(lane.packers * (lane.limits.spool_bytes + lane.limits.shard_bytes) for lane in config().lanes.values())
    needed = {"head": 0, "coordinator": spools}.get(node.name, fetch.disk_bytes)
    assert needed <= quantity(mounted["sizeLimit"]) < node.limit("ephemeral-storage")
    assert fetch.max_file_bytes <= fetch.disk_bytes


@every_ray_node
def test_pods_ask_for_all_that_they_may_use(node: RayNode) -> None:
    resources = node.container["resources"]
    assert resources["requests"] == resources["limits"]


def test_every_secret_that_is_referred_to_is_in_the_template() -> None:
    name, keys = SECRET["metadata"]["name"], set(SECRET["stringData"])
    references = list(found(DOCUMENTS, "secretKeyRef"))
    assert references and {each["name"] for each in references} == {name}
    (volume,) = [each for each in COORDINATOR.pod["volumes"] if "secret" in each]
    assert volume["secret"]["secretName"] == name
    assert only("RayCluster")["spec"]["authOptions"] == {"mode": "token", "secretName": name}
    used = {each["key"] for each in references} | {each["key"] for each in volume["secret"]["items"]} | {"auth_token"}
    assert used == keys


def test_the_template_holds_no_secret() -> None:
    assert set(SECRET["stringData"].values()) == {""}


def test_the_coordinator_has_the_variables_and_files_that_the_config_asks_for() -> None:
    text = yaml.safe_load(only("ConfigMap")["data"]["mediatok.yaml"])
    variables = {each["name"] for each in COORDINATOR.container["env"]}
    assert (asked := set(found(text, "env"))) and asked <= variables
    (volume,) = [each for each in COORDINATOR.pod["volumes"] if "secret" in each]
    (mount,) = [each for each in COORDINATOR.container["volumeMounts"] if each["name"] == volume["name"]]
    files = {f"{mount['mountPath']}/{each['path']}" for each in volume["secret"]["items"]}
    assert {*found(text, "file"), text["kafka"]["ssl.ca.location"]} == files


def test_librdkafka_takes_every_property(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIATOK_KAFKA_USER", "mediatok")
    (tmp_path / "password").write_text("secret")
    authorities = str(Path(botocore.__file__).parent / "cacert.pem")
    properties = {**(config().kafka or {}), "bootstrap.servers": "127.0.0.1:1", "ssl.ca.location": authorities}
    assert properties["security.protocol"] == "SASL_SSL"
    properties["sasl.password"] = {"file": str(tmp_path / "password")}
    resolved = consumer_properties(KafkaConfig(("media.image",), properties))
    confluent_kafka.Consumer(dict(resolved.values)).close()


def test_the_coordinator_joins_the_cluster_with_its_token_and_runs_the_mounted_config() -> None:
    (config_at,) = re.findall(r"exec mediatok run (\S+)$", script(), re.MULTILINE)
    assert config_at in {each["mountPath"] for each in COORDINATOR.container["volumeMounts"]}
    env = {each["name"]: each for each in COORDINATOR.container["env"]}
    assert env["RAY_ADDRESS"]["value"] == f"{only('RayCluster')['metadata']['name']}-head-svc:6379"
    assert env["RAY_AUTH_MODE"]["value"] == "token"
    assert "secretKeyRef" in env["RAY_AUTH_TOKEN"]["valueFrom"]


def test_the_coordinators_script_is_bash() -> None:
    assert COORDINATOR.container["command"] == ["/bin/bash", "-euc"]
    assert subprocess.run(["bash", "-n"], input=script(), text=True, capture_output=True).stderr == ""


def test_the_probes_read_the_status_that_the_config_has_written() -> None:
    for probe in ("startupProbe", "livenessProbe"):
        assert COORDINATOR.container[probe]["exec"]["command"] == ["mediatok", "status", "--state", str(config().state)]
    assert f"rm -f {config().state}/status.json" in script()


def test_the_coordinator_is_told_to_end_and_given_time_to_drain() -> None:
    # As process 1 it would not be ended by SIGTERM before it has its handler.
    assert COORDINATOR.pod["shareProcessNamespace"] is True
    assert COORDINATOR.pod["terminationGracePeriodSeconds"] >= 60
    assert only("Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    assert script().rstrip().splitlines()[-1].startswith("exec ")


def test_the_deployment_and_the_budget_select_the_pods_that_they_are_for() -> None:
    selector = only("Deployment")["spec"]["selector"]["matchLabels"]
    assert selector.items() <= COORDINATOR.template["metadata"]["labels"].items()
    budget = only("PodDisruptionBudget")["spec"]["selector"]["matchLabels"]
    assert budget == {"ray.io/cluster": only("RayCluster")["metadata"]["name"], "ray.io/node-type": "head"}


@every_ray_node
def test_metrics_are_scraped_where_ray_exports_them(node: RayNode) -> None:
    ports = {each["name"]: each["containerPort"] for each in node.container["ports"]}
    annotations = node.template["metadata"]["annotations"]
    # 8080 is what KubeRay tells `ray start`; the coordinator starts its own node.
    assert annotations["prometheus.io/port"] == str(ports["metrics"]) == "8080"
    assert "--metrics-export-port=8080" in script()


@every_ray_node
def test_pods_run_as_the_images_user(node: RayNode) -> None:
    dockerfile = (ROOT / "infra" / "Dockerfile").read_text()
    assert re.findall(r"^USER (\d+)$", dockerfile, re.MULTILINE) == [str(node.pod["securityContext"]["runAsUser"])]
    assert node.pod["securityContext"]["runAsNonRoot"] is True


def test_every_image_is_of_this_version_and_ray_is_the_locked_one() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["mediatok"]
    assert {*found(DOCUMENTS, "image"), compose["image"]} == {f"mediatok:{version}"}
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    (ray,) = [each["version"] for each in packages if each["name"] == "ray"]
    assert only("RayCluster")["spec"]["rayVersion"] == ray
