"""The Helm chart, rendered with Go's template engine: settings, probes, the end of a pod, scaling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import moorage
from moorage.config.model import Config
from moorage.metrics.catalogue import METRICS
from tests.deploy.checks import CHART, rendered_chart, settings_problems
from tests.support.pages import ROOT

ALL: dict[str, Any] = {
    "autoscaling.enabled": True,
    "ingress.enabled": True,
    "ingress.tlsSecret": "tls",
    "accessKey.secondary": True,
    "nats.existingSecret": "nats-url",
    "cluster.region": "eu-west",
    "nodeSelector": {"pool": "sockets"},
    "tolerations": [{"key": "sockets", "operator": "Exists"}],
}
EVERYWHERE = ["ConfigMap", "Deployment", "PodDisruptionBudget", "Service"]


def pod(chart: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The pod's specification."""
    spec = chart["Deployment"][0]["spec"]["template"]["spec"]
    assert isinstance(spec, dict)
    return spec


def test_resources_by_default_and_with_everything() -> None:
    assert sorted(rendered_chart()) == EVERYWHERE
    assert sorted(rendered_chart(ALL)) == sorted([*EVERYWHERE, "HorizontalPodAutoscaler", "Ingress"])


@pytest.mark.parametrize("changes", [{}, ALL], ids=["default", "all"])
def test_the_settings_are_valid(changes: dict[str, Any], tmp_path: Path) -> None:
    chart = rendered_chart(changes)
    (container,) = pod(chart)["containers"]
    for name in ("primary", "secondary"):
        (tmp_path / name).write_text(f"{name}-0123456789abcdef")
    settings = {}
    for row in container["env"]:
        value = row.get("value", "10.1.2.3" if row["name"] == "POD_IP" else "nats-url-or-pod-name")
        if row["name"] == "MOORAGE_CLUSTER_NATS_URL" and "value" not in row:
            value = "nats://token@nats:4222"
        value = value.replace("/etc/moorage/keys", str(tmp_path))
        settings[row["name"]] = value.replace("$(POD_IP)", "10.1.2.3")
    config = chart["ConfigMap"][0]["data"]["moorage.yaml"]
    assert settings_problems(settings, tmp_path, config) == ""
    names = [row["name"] for row in container["env"]]
    assert names.index("POD_IP") < names.index("MOORAGE_CLUSTER_ADVERTISE"), "Kubernetes reads them in order"
    assert settings["MOORAGE_CLUSTER_ADVERTISE"] == "http://10.1.2.3:8080"


def test_probes_name_real_paths() -> None:
    (container,) = pod(rendered_chart())["containers"]
    kinds = ("startup", "readiness", "liveness")
    paths = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in kinds}
    assert paths == {"startup": "/healthz", "readiness": "/readyz", "liveness": "/healthz"}
    served = (ROOT / "src/moorage/control/ops.py").read_text()
    assert all(f'"{path}"' in served for path in paths.values())
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == {"http": 8080}


def test_a_pod_has_time_to_drain() -> None:
    chart = rendered_chart()
    spec = pod(chart)
    command = spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert command[0] == "sleep"
    shutdown = yaml.safe_load(chart["ConfigMap"][0]["data"]["moorage.yaml"])["shutdown"]
    timeout = int(shutdown["timeout"].removesuffix("s"))
    assert spec["terminationGracePeriodSeconds"] > int(command[1]) + timeout
    assert timeout >= 20_000 / Config().shutdown.rate


def test_a_pod_has_no_rights() -> None:
    spec = pod(rendered_chart())
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_the_key_comes_from_the_secret() -> None:
    chart = rendered_chart()
    (secret,) = (volume["secret"] for volume in pod(chart)["volumes"] if "secret" in volume)
    assert secret["secretName"] == "moorage-keys"
    mounts = {mount["name"]: mount["mountPath"] for mount in pod(chart)["containers"][0]["volumeMounts"]}
    assert mounts == {"config": "/etc/moorage/config", "keys": "/etc/moorage/keys"}


def test_labels_select_the_pods() -> None:
    chart = rendered_chart()
    deployment = chart["Deployment"][0]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert labels == {"app.kubernetes.io/name": "moorage", "app.kubernetes.io/instance": "live"}
    budget = chart["PodDisruptionBudget"][0]["spec"]
    for selector in (deployment["selector"]["matchLabels"], budget["selector"]["matchLabels"]):
        assert selector == labels
    assert chart["Service"][0]["spec"]["selector"] == labels
    assert budget["maxUnavailable"] == 1


def test_autoscaling_follows_the_connections() -> None:
    chart = rendered_chart(ALL)
    spec = chart["HorizontalPodAutoscaler"][0]["spec"]
    (metric,) = spec["metrics"]
    assert metric["pods"]["metric"]["name"] in {row.shown for row in METRICS}
    assert spec["scaleTargetRef"]["name"] == chart["Deployment"][0]["metadata"]["name"]
    assert "replicas" not in chart["Deployment"][0]["spec"]
    assert rendered_chart()["Deployment"][0]["spec"]["replicas"] == 3


def test_the_ingress_shows_only_what_clients_need() -> None:
    (rule,) = rendered_chart(ALL)["Ingress"][0]["spec"]["rules"]
    assert [row["path"] for row in rule["http"]["paths"]] == ["/socket.io/", "/clients/"]
    assert {row["backend"]["service"]["name"] for row in rule["http"]["paths"]} == {"live"}


def test_the_version_is_that_of_the_package() -> None:
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert about["appVersion"] == moorage.__version__
