"""The manifests for Kubernetes: against the schemas of its API, and against each other."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from pdp._gen.pdp.v1 import decision_pb2
from pdp.app import running
from pdp.cli import main
from pdp.config import load_config
from pdp.errors import ConfigError
from pdp.tls import ServerCertificate, TlsFiles
from tests.bundles import PERMIT_ALL, manifest, tool, write_bundle
from tests.certificates import Authority
from tests.deploy.kubelet import Mount
from tests.grpc.service import Client, configuration, connect, tool_call
from tests.waiting import wait_until

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
BASE = FOLDER / "base"
#: What the pause before a stop came with, and the newest that there are schemas of.
VERSIONS = ("1.30", kubernetes_validate.latest_version())
#: Image volumes are a field of the API from here on.
IMAGE_VOLUMES = "1.33"

Document = dict[str, Any]


def documents(path: Path) -> list[Document]:
    """The documents of a YAML file."""
    return list(yaml.safe_load_all(path.read_text("utf-8")))


def resources(folder: Path) -> list[Document]:
    """What a kustomization says its resources are, those in files."""
    [kustomization] = documents(folder / "kustomization.yaml")
    files = [folder / name for name in kustomization["resources"] if name.endswith(".yaml")]
    return [document for file in files for document in documents(file)]


ALL = resources(BASE)


def the(kind: str) -> Document:
    """The one resource of a kind in the base, as a copy."""
    [found] = [document for document in ALL if document["kind"] == kind]
    return copy.deepcopy(found)


POD: Document = the("Deployment")["spec"]["template"]
SPEC: Document = POD["spec"]
[CONTAINER] = SPEC["containers"]
PORTS = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("document", [*ALL, *resources(FOLDER / "example")], ids=lambda document: document["kind"])
def test_resources_are_of_the_api(document: Document, version: str) -> None:
    """Every resource is what the API takes, from the oldest version that is supported to the newest."""
    kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("path", [("spec", "replica"), ("spec", "template", "spec", "containers", 0, "readOnly")])
def test_mistakes_are_found(path: tuple[str | int, ...]) -> None:
    """A misspelt field is found by what the test before this one trusts."""
    deployment: Any = the("Deployment")
    place = deployment
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("folder", [BASE, FOLDER / "example"], ids=lambda folder: folder.name)
def test_every_file_is_listed(folder: Path) -> None:
    """Every manifest is in its folder's kustomization, and everything that this lists is there."""
    [kustomization] = documents(folder / "kustomization.yaml")
    files = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
    assert {name for name in kustomization["resources"] if name.endswith(".yaml")} == files
    for name in (*kustomization["resources"], *kustomization.get("components", [])):
        assert (folder / name).exists()


def test_the_configuration_is_accepted() -> None:
    """`pdp config` accepts what is in the ConfigMap."""
    [generator] = documents(BASE / "kustomization.yaml")[0]["configMapGenerator"]
    [name] = generator["files"]
    assert main(["config", "--config", str(BASE / name)]) == 0


def config() -> Any:
    return load_config(BASE / "pdp.toml", {})


def test_nobody_may_call_as_it_is() -> None:
    """The base has TLS and one caller, whose key nobody has; without the caller it is no configuration."""
    effective = config()
    assert not effective.server.allow_insecure_network
    assert effective.server.tls_key is not None
    [caller] = effective.callers.caller
    assert caller.keys_sha256 == ("0" * 64,)
    with pytest.raises(ConfigError):
        load_config(BASE / "pdp.toml", {}, {"callers": {"caller": []}})


def test_ports_are_what_is_listened_on() -> None:
    """Every port of the container is one of the configuration, and the other way round."""
    effective = config()
    listened = {address.rpartition(":")[2] for address in (*effective.server.listen, effective.telemetry.listen)}
    assert {str(port) for port in PORTS.values()} == listened


def named_ports() -> Iterator[str]:
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        yield CONTAINER[probe]["httpGet"]["port"]
    for port in the("Service")["spec"]["ports"]:
        yield port["targetPort"]
        assert port["port"] == PORTS[port["targetPort"]]
    for rule in the("NetworkPolicy")["spec"]["ingress"]:
        yield from (port["port"] for port in rule["ports"])


def test_every_named_port_exists() -> None:
    """Probes, the Service and the NetworkPolicy name ports of the container, and none is left out."""
    assert set(named_ports()) == set(PORTS)


def test_selectors_match() -> None:
    """Everything that selects pods selects those of the Deployment."""
    labels = POD["metadata"]["labels"].items()
    selectors = [
        the("Deployment")["spec"]["selector"]["matchLabels"],
        the("Service")["spec"]["selector"],
        the("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        the("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        *(spread["labelSelector"]["matchLabels"] for spread in SPEC["topologySpreadConstraints"]),
    ]
    for selector in selectors:
        assert selector
        assert selector.items() <= labels
    target = the("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", the("Deployment")["metadata"]["name"])
    assert SPEC["serviceAccountName"] == the("ServiceAccount")["metadata"]["name"]


def test_mounts_are_volumes() -> None:
    """Every mount is a volume, every volume is mounted, and only state and sockets can be written."""
    mounts = CONTAINER["volumeMounts"]
    assert sorted(mount["name"] for mount in mounts) == sorted(volume["name"] for volume in SPEC["volumes"])
    written = {mount["mountPath"] for mount in mounts if not mount.get("readOnly")}
    assert written == {"/var/lib/pdp", "/run/pdp"}
    generated = {generator["name"] for generator in documents(BASE / "kustomization.yaml")[0]["configMapGenerator"]}
    maps = {volume["configMap"]["name"] for volume in SPEC["volumes"] if "configMap" in volume}
    assert maps - generated == {"pdp-bundle"}


def test_the_configuration_names_what_is_mounted() -> None:
    """Every path of the configuration is below a mount, and what is written is below one that can be written."""
    effective = config()
    mounts = {mount["mountPath"]: bool(mount.get("readOnly")) for mount in CONTAINER["volumeMounts"]}
    read = (effective.bundle.source, effective.server.tls_certificate, effective.server.tls_key)
    for path in read:
        assert mounts[str(path.parent)]
    assert str(effective.decision_log.spool_dir).startswith("/var/lib/pdp/")


def test_new_secrets_and_bundles_arrive() -> None:
    """Certificates and bundles are mounted as directories, which follow their source; a `subPath` does not."""
    fixed = {mount["name"] for mount in CONTAINER["volumeMounts"] if "subPath" in mount}
    assert fixed == {"config"}


def test_pods_are_confined() -> None:
    """A pod has no root, no rights to gain, no files to write, no system calls beyond the usual, and no account."""
    pod, container = SPEC["securityContext"], CONTAINER["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert pod["runAsUser"] == pod["runAsGroup"] == pod["fsGroup"] == 65532
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert SPEC["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & SPEC.keys()
    assert CONTAINER["resources"]["limits"]["memory"]
    assert {"cpu", "memory"} == CONTAINER["resources"]["requests"].keys()


def test_there_is_time_to_stop() -> None:
    """A pod is killed only after the pause before the stop and the time that calls in flight have."""
    pause = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert SPEC["terminationGracePeriodSeconds"] > pause + config().server.drain_seconds


def test_a_pod_can_be_away() -> None:
    """There is more than one pod, and an eviction or a new version never takes the last one."""
    scaling = the("HorizontalPodAutoscaler")["spec"]
    assert scaling["minReplicas"] > the("PodDisruptionBudget")["spec"]["maxUnavailable"]
    assert the("Deployment")["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert "replicas" not in the("Deployment")["spec"]


def test_traffic_is_named() -> None:
    """Both directions are closed but for what is named, and no rule is open to everybody."""
    policy = the("NetworkPolicy")["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert all(rule["from"] and rule["ports"] for rule in policy["ingress"])
    assert all(rule["to"] and rule["ports"] for rule in policy["egress"])


@pytest.fixture(scope="module")
def rendered() -> list[Document]:
    """The example as kustomize makes it."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        if os.environ.get("REQUIRE_KUBECTL"):
            pytest.fail("kubectl is missing")
        pytest.skip("kubectl is not here to render with")
    made = subprocess.run([kubectl, "kustomize", FOLDER / "example"], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return list(yaml.safe_load_all(made.stdout))


@pytest.mark.process
def test_the_example_is_rendered(rendered: list[Document]) -> None:
    """The example with all components is of the API, in one namespace, with images by digest and a bundle's image."""
    for document in rendered:
        kubernetes_validate.validate(document, IMAGE_VOLUMES, strict=True)
        assert document["metadata"].get("namespace", document["metadata"]["name"]) == "pdp"
    made = {document["kind"]: document["spec"] for document in rendered if "spec" in document}
    pod = made["Deployment"]["template"]["spec"]
    assert "@sha256:" in pod["containers"][0]["image"]
    [bundle] = [volume for volume in pod["volumes"] if volume["name"] == "bundle"]
    assert set(bundle) == {"name", "image"}
    assert [metric["type"] for metric in made["HorizontalPodAutoscaler"]["metrics"]] == ["Resource", "Pods"]
    [generated] = [document for document in rendered if document["kind"] == "ConfigMap"]
    assert generated["metadata"]["name"] in [
        volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume
    ]


def archive(directory: Path, text: str) -> bytes:
    """A bundle with this policy as an archive."""
    folder = write_bundle(directory / "made", {"policies/a.cedar": text, "tools/srv.json": manifest(tool("read"))})
    path = directory / "made.tar.gz"
    subprocess.run(["tar", "-C", str(folder), "-czf", str(path), "."], check=True)
    return path.read_bytes()


def test_a_changed_config_map_is_served(tmp_path: Path) -> None:
    """An archive that a ConfigMap mounts is loaded, and a new one, swapped in as the kubelet does, is noticed."""
    mount = Mount(tmp_path / "bundle")
    mount.put({"bundle.tar.gz": archive(tmp_path, PERMIT_ALL)})
    source = tmp_path / "bundle" / "bundle.tar.gz"
    settings = configuration(tmp_path, {"bundle": {"source": str(source), "watch": True, "rescan_seconds": 0.0}})
    with running(settings, {}) as app, connect(app.addresses[0]) as channel:
        client = Client(channel)
        assert client.authorize(tool_call(b'{"n":1}')).decision == decision_pb2.DECISION_ALLOW
        mount.put({"bundle.tar.gz": archive(tmp_path, "forbid (principal, action, resource);")})
        wait_until(
            lambda: client.authorize(tool_call(b'{"n":1}')).decision == decision_pb2.DECISION_DENY,
            "the archive swapped in",
        )


def test_a_changed_secret_is_used(tmp_path: Path) -> None:
    """A certificate that a Secret mounts is replaced as a whole, however the kubelet swaps it in."""
    mount = Mount(tmp_path / "tls")
    first, second = (Authority(name).issue("127.0.0.1") for name in ("first", "second"))
    mount.put({"tls.crt": first.certificate, "tls.key": first.key})
    used = ServerCertificate(TlsFiles(tmp_path / "tls" / "tls.crt", tmp_path / "tls" / "tls.key", None))
    mount.put({"tls.crt": second.certificate, "tls.key": second.key})
    used.refresh()
    assert (used.pem.certificate, used.pem.key, used.problems) == (second.certificate, second.key, [])
